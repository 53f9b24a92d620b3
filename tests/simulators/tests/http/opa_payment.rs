//! Opa! Suite: payment templates and the media of a send (contracts §1.5).

use regua_simulators::OpaOptions;
use regua_simulators::opa::catalogue::{CHANNEL_WHATSAPP, TEMPLATE_OVERDUE, TEMPLATE_PAYMENT};
use serde_json::{Value, json};

use crate::opa::{Opa, order};

const PHONE: &str = "+5555987654321";

fn pix() -> Value {
    json!({
        "valor": "9990", "tipoPagamento": "pix", "codigo": "00020126", "merchantName": "Provedor", "pixKey": "00000000000191",
        "pixKeyType": "CNPJ",
    })
}

fn boleto() -> Value {
    json!({ "valor": "9990", "tipoPagamento": "boleto", "linhaDigitavel": "84670000001" })
}

fn payment(variables: Value) -> Value {
    let mut body = order(PHONE, "1");
    body["template"] = json!({ "_id": TEMPLATE_PAYMENT });
    body["template"]["variaveis"] = variables;
    body
}

/// What `change` makes of an object.
fn changed(mut object: Value, member: &str, value: Option<Value>) -> Value {
    let members = object.as_object_mut().expect("an object");
    match value {
        Some(value) => members.insert(member.to_owned(), value),
        None => members.remove(member),
    };
    object
}

/// Sends what must be refused, and that it was neither taken nor refused for another reason.
async fn is_refused(opa: &Opa, body: &Value, reason: &str) -> anyhow::Result<()> {
    let counted = |opa: &Opa| opa.simulator.stats().rejected.get(reason).copied().unwrap_or_default();
    let before = counted(opa);
    let answer = opa.send(body).await?;
    let error = answer.json()?;
    assert_eq!((answer.status, &error["status"], &error["code"]), (400, &json!("error"), &json!(400)), "{body}");
    assert_eq!(counted(opa), before + 1, "{body}: {error}");
    assert_eq!(opa.simulator.log()?.count(), 0, "{body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_template_is_marked_in_its_channels_list_and_no_other_is() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let templates = opa.list(&format!("/canal-comunicacao/{CHANNEL_WHATSAPP}/template"), "").await?;
    let marked: Vec<&Value> = templates.iter().filter(|template| template.get("paymentDetailTemplate").is_some()).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!((&marked[0]["_id"], &marked[0]["paymentDetailTemplate"]), (&json!(TEMPLATE_PAYMENT), &json!(true)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_template_takes_the_details_of_a_pix_or_a_boleto_and_the_log_has_them() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    for details in [pix(), boleto()] {
        let answer = opa.send(&payment(details.clone())).await?;
        assert_eq!(answer.status, 200, "{details}: {}", answer.text());
    }
    let log = opa.admin("GET", "log", "").await?.text();
    let kept: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(kept.iter().map(|sent| sent["variaveis"].clone()).collect::<Vec<_>>(), [pix(), boleto()]);
    assert!(kept.iter().all(|sent| sent["template"] == TEMPLATE_PAYMENT));
    let entries = opa.simulator.log()?.collect::<Result<Vec<_>, _>>()?;
    let read: Vec<Value> = entries.iter().map(|sent| json!(sent.variaveis)).collect();
    assert_eq!(read, [pix(), boleto()], "read back, too");
    let message = opa.ask("GET", &format!("/atendimento/mensagem/{}", entries[0].message_sent_id), "").await?.json()?;
    assert_eq!(message["data"]["mensagem"], "Olá! Sua fatura está pronta para pagamento.");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_exactly_the_texts_of_its_payment_is_refused() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    for (shape, members) in [
        (pix(), ["valor", "tipoPagamento", "codigo", "merchantName", "pixKey", "pixKeyType"].as_slice()),
        (boleto(), ["valor", "tipoPagamento", "linhaDigitavel"].as_slice()),
    ] {
        for member in members {
            is_refused(&opa, &payment(changed(shape.clone(), member, None)), "payment_detail").await?;
            is_refused(&opa, &payment(changed(shape.clone(), member, Some(json!(9990)))), "payment_detail").await?;
            if *member != "tipoPagamento" {
                is_refused(&opa, &payment(changed(shape.clone(), member, Some(json!("")))), "variable_empty").await?;
                is_refused(&opa, &payment(changed(shape.clone(), member, Some(json!("a\nb")))), "variable_text").await?;
            }
        }
        is_refused(&opa, &payment(changed(shape.clone(), "desconto", Some(json!("1")))), "missing_member").await?;
    }
    is_refused(&opa, &payment(changed(pix(), "tipoPagamento", Some(json!("boleto")))), "payment_detail").await?;
    is_refused(&opa, &payment(changed(boleto(), "tipoPagamento", Some(json!("cartao")))), "payment_detail").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_for_a_payment_and_an_object_for_an_ordinary_template_are_refused() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    for variables in [json!([]), json!(["9990", "pix"]), Value::Null, json!("pix")] {
        is_refused(&opa, &payment(variables), "missing_member").await?;
    }
    for details in [pix(), json!({})] {
        let mut body = payment(details);
        body["template"]["_id"] = json!(TEMPLATE_OVERDUE);
        is_refused(&opa, &body, "missing_member").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn alternative_media_is_an_absolute_url_and_the_log_has_it() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let with = |mut body: Value, media: Value| {
        body["template"]["midiaAlternativa"] = media;
        body
    };
    for media in [json!("boleto.pdf"), json!("/boleto.pdf"), json!("ftp://example.invalid/b"), json!(""), json!(7), json!({})] {
        is_refused(&opa, &with(order(PHONE, "1"), media), "media_url").await?;
    }
    let url = "https://example.invalid/boleto.pdf?id=1";
    for body in [order(PHONE, "1"), payment(boleto())] {
        assert_eq!(opa.send(&with(body, json!(url))).await?.status, 200);
    }
    assert_eq!(opa.send(&order(PHONE, "2")).await?.status, 200, "it is optional");
    let log = opa.admin("GET", "log", "").await?.text();
    let kept: Vec<Value> = log
        .lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?["midiaAlternativa"].clone()))
        .collect::<anyhow::Result<_>>()?;
    assert_eq!(kept, [json!(url), json!(url), Value::Null]);
    Ok(())
}
