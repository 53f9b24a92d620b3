//! `get_pix` (contracts §2.4): a code, or "success" without one, in both forms that the vendor's samples have.

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::payment_codes::{pix_code, pix_txid};
use super::provider::{Provider, Title};
use super::value::written_cents;
use crate::mix::draw;

const PIX: u64 = 501;

/// Of ten open titles seven get a code, one a charge whose code is empty, two nothing at all.
pub(crate) fn answer(provider: &Provider, title: &Title) -> Value {
    match draw(provider.seed, PIX, title.id) % 10 {
        0..7 => charge(provider, title, &pix_code(title.id, title.amount_cents), &pix_txid(title.id)),
        7 => charge(provider, title, "", ""),
        _ => nothing(),
    }
}

fn charge(provider: &Provider, title: &Title, code: &str, txid: &str) -> Value {
    let name = provider.customer(title.customer).map(|customer| customer.name).unwrap_or_default();
    let due = title.due_on.format("%Y-%m-%d").to_string();
    let discount =
        json!({ "modalidade": 1, "descontoDataFixa": [{ "data": format!("{due}T00:00:00.000Z"), "valorPerc": "0.00" }] });
    json!({
        "pix": {
            "dadosPix": {
                "revisao": 0,
                "loc": { "id": title.id, "location": "", "tipoCob": "cobv", "criacao": created(title.issued_on) },
                "calendario": { "criacao": created(title.issued_on), "dataDeVencimento": due, "validadeAposVencimento": 90 },
                "devedor": { "cpf": "00000000191", "nome": name },
                "valor": {
                    "original": written_cents(title.amount_cents), "abatimento": [], "desconto": discount,
                    "juros": { "valorPerc": "0.03", "modalidade": 2 }, "multa": { "valorPerc": "2.00", "modalidade": 2 },
                },
                "chave": "", "txid": txid, "status": "ATIVA", "solicitacaoPagador": "", "infoAdicionais": [],
                "pixCopiaECola": code,
                "expiracaoPix": (title.due_on + chrono::Days::new(90)).format("%d/%m/%Y 00:00:00").to_string(),
            },
            "qrCode": { "qrcode": code, "imagemQrcode": "", "imagemSrc": "" },
        },
        "gateway": { "gatewayNome": "MB" },
        "type": "success",
    })
}

/// Contracts §2.4: the second documented success, with the epoch as expiry and no Pix.
fn nothing() -> Value {
    json!({
        "pix": {
            "dadosPix": { "expiracaoPix": "31/12/1969 21:00:00" },
            "qrCode": { "qrcode": "", "imagemQrcode": "", "imagemSrc": "https://erp.example.invalid/get-qr-code?code=" },
        },
        "gateway": { "gatewayNome": "MB" },
        "type": "success",
    })
}

fn created(on: NaiveDate) -> String {
    format!("{on}T12:03:01Z")
}
