//! The answer of `get_pix` (contracts §2.4): "success" is often no Pix at all.

use super::answer::read_json;
use super::client::IxcClient;
use super::error::{IxcError, Refusal};
use super::titles::erp_number;
use crate::columns::Scalar;
use chrono::NaiveDateTime;
use regua_domain::ids::InvoiceId;
use regua_domain::payment_codes::PixCode;
use serde::Deserialize;
use std::time::Duration;

/// How long one answer is waited for: many are asked for, and a list's patience would hold up their run.
const PIX_WITHIN: Duration = Duration::from_secs(20);

/// A Pix charge that can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pix {
    /// The copy-and-paste code, whole and with the right CRC.
    pub code: PixCode,
    /// When the ERP says that it expires, in the provider's local time; `None` where it doesn't say or says the epoch.
    pub expires_at_local: Option<NaiveDateTime>,
}

impl IxcClient {
    /// Asks for the Pix charge of an open title. `None`: there is none that could be paid, although the ERP may say success.
    ///
    /// # Errors
    /// Any [`IxcError`]; [`IxcError::Refused`] for a title that is closed, or where the token may not ask; [`IxcError::IdNotNumeric`] before
    /// anything is asked.
    pub async fn pix(&self, id: &InvoiceId) -> Result<Option<Pix>, IxcError> {
        let id = erp_number(&id.0)?;
        let body = serde_json::json!({ "id_areceber": id.to_string() }).to_string();
        parse_pix(&self.post("get_pix", body.into_bytes(), Some(PIX_WITHIN)).await?)
    }
}

/// Reads the body of a 2xx answer of `get_pix`. `None`: no Pix that could be paid, although the ERP says success.
///
/// # Errors
/// [`IxcError::Refused`] for `type: error`, [`IxcError::Html`] and [`IxcError::Unparsable`] as for a list.
pub fn parse_pix(body: &[u8]) -> Result<Option<Pix>, IxcError> {
    let answer: Answer = read_json(body)?;
    match answer.kind.as_text() {
        Some("success") => {}
        Some("error") => {
            let refusal = Refusal::read(answer.message.as_text().unwrap_or_default());
            return Err(IxcError::Refused { resource: "get_pix", refusal });
        }
        _ => return Err(IxcError::Unparsable { line: 0, column: 0 }),
    }
    let Some(charge) = answer.pix else { return Ok(None) };
    let is_active = matches!(charge.details.status.as_text(), Some("" | "ATIVA"));
    let codes = [&charge.details.code, &charge.image.code];
    let code = codes.into_iter().filter_map(Scalar::as_text).find_map(|code| PixCode::parse(code).ok());
    let expires_at_local = charge.details.expires_at.as_text().and_then(expiry);
    Ok(code.filter(|_| is_active).map(|code| Pix { code, expires_at_local }))
}

/// `DD/MM/YYYY HH:MM:SS`. The epoch, as local time shows it, is how the ERP writes "never set".
fn expiry(text: &str) -> Option<NaiveDateTime> {
    let at = NaiveDateTime::parse_from_str(text.trim(), "%d/%m/%Y %H:%M:%S").ok()?;
    (chrono::Datelike::year(&at) > 1970).then_some(at)
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default, rename = "type")]
    kind: Scalar,
    #[serde(default)]
    message: Scalar,
    #[serde(default)]
    pix: Option<Charge>,
}

#[derive(Deserialize)]
struct Charge {
    #[serde(default, rename = "dadosPix")]
    details: Details,
    #[serde(default, rename = "qrCode")]
    image: Image,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    status: Scalar,
    #[serde(default, rename = "pixCopiaECola")]
    code: Scalar,
    #[serde(default, rename = "expiracaoPix")]
    expires_at: Scalar,
}

#[derive(Default, Deserialize)]
struct Image {
    #[serde(default, rename = "qrcode")]
    code: Scalar,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = include_bytes!("../../tests/samples/ixc-get_pix-empty.json");
    const WITHOUT_CODE: &[u8] = include_bytes!("../../tests/samples/ixc-get_pix.json");
    /// BACEN, "Manual de Padrões para Iniciação do Pix", section 2: the static and the dynamic example.
    const STATIC: &str = "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D";
    const DYNAMIC: &str = "00020101021226700014br.gov.bcb.pix2548pix.example.com/8b3da2f39a4140d1a91abd93113bd4415204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***630464E4";

    const ERROR: &[u8] = include_bytes!("../../tests/samples/ixc-error-200.json");

    #[test]
    fn success_without_a_code_is_no_pix() {
        assert_eq!(parse_pix(EMPTY).expect("an answer"), None);
        assert_eq!(parse_pix(WITHOUT_CODE).expect("an answer"), None);
        assert_eq!(parse_pix(br#"{"type":"success"}"#).expect("an answer"), None);
    }

    #[test]
    fn a_code_is_taken_from_either_place() {
        let details = format!(
            r#"{{"type":"success","pix":{{"dadosPix":{{"status":"ATIVA","pixCopiaECola":" {STATIC} ","expiracaoPix":"12/01/2027 00:00:00"}}}}}}"#
        );
        let pix = parse_pix(details.as_bytes()).expect("an answer").expect("a Pix");
        let expiry = chrono::NaiveDate::from_ymd_opt(2027, 1, 12).and_then(|day| day.and_hms_opt(0, 0, 0));
        assert_eq!((pix.code.as_str(), pix.expires_at_local), (STATIC, expiry));

        let image = format!(
            r#"{{"type":"success","pix":{{"dadosPix":{{"expiracaoPix":"31/12/1969 21:00:00"}},"qrCode":{{"qrcode":"{DYNAMIC}"}}}}}}"#
        );
        let pix = parse_pix(image.as_bytes()).expect("an answer").expect("a Pix");
        assert_eq!((pix.code.as_str(), pix.expires_at_local), (DYNAMIC, None));
    }

    #[test]
    fn what_is_not_a_payable_code_is_no_pix() {
        let changed = STATIC.replace("Fulano", "Sicrano");
        for details in [
            r#""pixCopiaECola":"txid-123""#.to_owned(),
            format!(r#""status":"REMOVIDA","pixCopiaECola":"{STATIC}""#),
            format!(r#""pixCopiaECola":["{STATIC}"]"#),
            format!(r#""pixCopiaECola":"{changed}""#),
            format!(r#""pixCopiaECola":"{}""#, &STATIC[..60]),
        ] {
            let body = format!(r#"{{"type":"success","pix":{{"dadosPix":{{{details}}}}}}}"#);
            assert_eq!(parse_pix(body.as_bytes()).expect("an answer"), None, "{body}");
        }
    }

    #[test]
    fn errors_are_told_apart() {
        let Err(IxcError::Refused { refusal: Refusal::Other(text), .. }) = parse_pix(ERROR) else { panic!("a refusal") };
        assert_eq!(text, "Parcela já está recebida ou cancelada!");
        assert!(matches!(parse_pix(b"<div>Ocorreu um erro</div>"), Err(IxcError::Html)));
        assert!(matches!(parse_pix(b"{}"), Err(IxcError::Unparsable { .. })));
        assert!(matches!(parse_pix(b""), Err(IxcError::Unparsable { .. })));
    }
}
