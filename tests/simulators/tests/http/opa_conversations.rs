//! Opa! Suite: `/atendimento` and `/atendimento/mensagem` (contracts §1.2 to §1.6), by which a send can be looked up.

use std::time::{Duration, Instant};

use anyhow::ensure;
use regua_simulators::opa::catalogue::{CHANNEL_WHATSAPP, CHANNEL_WHATSAPP_SECOND, TEMPLATE_PAYMENT};
use regua_simulators::{Fault, FaultKind, OpaOptions};
use serde_json::{Value, json};

use crate::client::{Connection, ask};
use crate::opa::{Opa, assert_login, order};

const PHONE: &str = "+5555987654321";
const OTHER_PHONE: &str = "+5511987654321";

/// One whose clock reads noon of 10 March 2026.
async fn opa_in_march() -> anyhow::Result<Opa> {
    Opa::start(OpaOptions { begins_at: Some("2026-03-10T12:00:00Z".parse()?), ..OpaOptions::default() }).await
}

/// Sends what must be accepted; its `messageSentId`.
async fn sent(opa: &Opa, body: &Value) -> anyhow::Result<String> {
    let answer = opa.send(body).await?.json()?;
    Ok(answer["data"]["messageSentId"].as_str().ok_or_else(|| anyhow::anyhow!("not accepted: {answer}"))?.to_owned())
}

fn flagged(message: &str) -> Value {
    let mut body = order(PHONE, message);
    body["allowSendingToStartedCustomerService"] = json!(true);
    body
}

async fn conversations(opa: &Opa, filter: Value) -> anyhow::Result<Vec<Value>> {
    opa.list("/atendimento", &json!({ "filter": filter }).to_string()).await
}

async fn messages_of(opa: &Opa, conversation: &Value) -> anyhow::Result<Vec<Value>> {
    opa.list("/atendimento/mensagem", &json!({ "filter": { "id_rota": conversation["_id"] } }).to_string()).await
}

fn members<'v>(records: &'v [Value], member: &str) -> Vec<&'v str> {
    records.iter().map(|record| record[member].as_str().unwrap_or_default()).collect()
}

async fn set_in_service(opa: &Opa, phone: &str, in_service: bool) -> anyhow::Result<()> {
    let change = json!({ "phones": [phone], "in_service": in_service }).to_string();
    ensure!(opa.admin("POST", "in-service", &change).await?.status == 200);
    Ok(())
}

/// Contracts §1.4, §1.6.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_is_a_message_of_its_phones_conversation_with_the_text_that_the_contact_reads() -> anyhow::Result<()> {
    let opa = opa_in_march().await?;
    let id = sent(&opa, &order(PHONE, "1")).await?;
    let conversations = conversations(&opa, json!({})).await?;
    let (conversation, messages) = (&conversations[0], messages_of(&opa, &conversations[0]).await?);
    assert_eq!((conversations.len(), messages.len()), (1, 1));
    for (member, expected) in [("canal", "whatsapp"), ("canal_id", CHANNEL_WHATSAPP), ("canal_cliente", PHONE), ("status", "AG")]
    {
        assert_eq!(conversation[member], expected, "{member}");
    }
    let text = "Olá Ana! Não identificamos o pagamento da fatura com valor R$99,90 e com data de vencimento 10/12/2026.";
    for (member, expected) in [("_id", &*id), ("mensagem", text), ("tipoDestinatario", "clientes_users"), ("tipo", "texto")] {
        assert_eq!(messages[0][member], expected, "{member}");
    }
    assert_eq!(messages[0]["statusEnvio"], json!({ "status": "sent", "observacao": "" }));
    assert_eq!((&messages[0]["id_rota"], &messages[0]["data"]), (&conversation["_id"], &conversation["date"]));
    assert!(messages[0]["data"].as_str().is_some_and(|at| at.starts_with("2026-03-10T12:0") && at.ends_with('Z')));
    for (path, record) in [(format!("mensagem/{id}"), &messages[0]), (members(&conversations, "_id")[0].to_owned(), conversation)]
    {
        assert_eq!(opa.ask("GET", &format!("/atendimento/{path}"), "").await?.json()?["data"], *record, "{path}");
    }
    Ok(())
}

/// [inferred] A payment's details are no part of the text.
#[tokio::test(flavor = "multi_thread")]
async fn a_payments_message_is_its_templates_text() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let mut body = order(PHONE, "1");
    body["template"] = json!({
        "_id": TEMPLATE_PAYMENT,
        "variaveis": { "valor": "9990", "tipoPagamento": "boleto", "linhaDigitavel": "84670000001" },
    });
    sent(&opa, &body).await?;
    assert_eq!(
        members(&opa.list("/atendimento/mensagem", "").await?, "mensagem"),
        ["Olá! Sua fatura está pronta para pagamento."]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_flag_a_send_goes_on_with_the_open_conversation_of_its_channel_and_else_opens_one() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let mut other_channel = flagged("4");
    other_channel["canal"] = json!(CHANNEL_WHATSAPP_SECOND);
    let mut ids = Vec::new();
    for body in [flagged("1"), flagged("2"), order(PHONE, "3"), other_channel, flagged("5")] {
        ids.push(sent(&opa, &body).await?);
    }
    set_in_service(&opa, PHONE, false).await?;
    ids.push(sent(&opa, &flagged("6")).await?);
    let conversations = conversations(&opa, json!({})).await?;
    let mut held = Vec::new();
    for conversation in &conversations {
        held.push(members(&messages_of(&opa, conversation).await?, "_id").into_iter().map(str::to_owned).collect::<Vec<_>>());
    }
    let of = |numbers: &[usize]| numbers.iter().map(|number| ids[*number].clone()).collect::<Vec<_>>();
    assert_eq!(held, [of(&[0, 1]), of(&[2, 4]), of(&[3]), of(&[5])]);
    let logged: Vec<String> = opa.simulator.log()?.map(|sent| sent.map(|sent| sent.conversation)).collect::<Result<_, _>>()?;
    let routes = members(&conversations, "_id");
    assert_eq!(logged, [0, 0, 1, 2, 1, 3].map(|number| routes[number]));
    Ok(())
}

/// What a client has in doubt: accepted, whatever it was told.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_accepted_behind_a_fault_is_found_and_one_struck_before_is_not() -> anyhow::Result<()> {
    let failed = FaultKind::Status { code: 500, body: None, retry_after: None };
    let kinds =
        [failed, FaultKind::ResetAfterReading, FaultKind::CloseWithoutAnswer, FaultKind::Html200, FaultKind::MalformedBody];
    for (kind, after_accept) in kinds.into_iter().flat_map(|kind| [(kind.clone(), true), (kind, false)]) {
        let opa = Opa::start(OpaOptions::default()).await?;
        let fault = Fault { count: Some(1), after_accept, ..Fault::always(kind.clone()) };
        opa.simulator.faults(vec![fault])?;
        if let Ok(answer) = opa.send(&order(PHONE, "1")).await {
            assert!(answer.json().is_err(), "{kind:?} hides what became of the send");
        }
        let conversations = conversations(&opa, json!({})).await?;
        let expected: &[&str] = if after_accept { &[PHONE] } else { &[] };
        assert_eq!(members(&conversations, "canal_cliente"), expected, "{kind:?}");
        for conversation in &conversations {
            assert_eq!(messages_of(&opa, conversation).await?.len(), 1, "{kind:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_answer_hangs_is_found_while_it_hangs_and_after_its_client_went_away() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let hangs = Fault { count: Some(1), after_accept: true, ..Fault::always(FaultKind::LatencyMs { ms: 600_000 }) };
    opa.simulator.faults(vec![hangs])?;
    let mut connection = Connection::open(&opa.simulator.url()).await?;
    connection.send("POST", "/api/v1/template/send", &opa.headers(), &order(PHONE, "1").to_string()).await?;
    let begun = Instant::now();
    while conversations(&opa, json!({})).await?.is_empty() {
        ensure!(begun.elapsed() < Duration::from_secs(20), "it is not found");
    }
    drop(connection);
    assert_eq!(members(&conversations(&opa, json!({})).await?, "canal_cliente"), [PHONE]);
    Ok(())
}

/// Contracts §1.3.
#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_filtered_by_protocol_status_client_and_the_days_they_were_opened_and_ended() -> anyhow::Result<()> {
    let opa = opa_in_march().await?;
    let third = "+5521987654321";
    for phone in [PHONE, OTHER_PHONE, third] {
        sent(&opa, &order(phone, phone)).await?;
    }
    set_in_service(&opa, OTHER_PHONE, true).await?;
    set_in_service(&opa, third, false).await?;
    let all = conversations(&opa, json!({})).await?;
    assert_eq!(
        (members(&all, "status"), members(&all, "canal_cliente")),
        (vec!["AG", "EA", "F"], vec![PHONE, OTHER_PHONE, third])
    );
    assert!(all[0]["fim"].is_null() && all[2]["fim"].as_str().is_some_and(|at| at.starts_with("2026-03-10T12:0")));
    let (first, second, all_three) = (vec![PHONE], vec![OTHER_PHONE], vec![PHONE, OTHER_PHONE, third]);
    for (filter, expected) in [
        (json!({ "protocolo": all[0]["protocolo"] }), &first),
        (json!({ "id_cliente": all[1]["id_cliente"] }), &second),
        (json!({ "status": "F" }), &vec![third]),
        (json!({ "status": "NV" }), &vec![]),
        (json!({ "status": "AG", "dataInicialAbertura": "2026-03-10" }), &first),
        (json!({ "dataInicialAbertura": "2026-03-10", "dataFinalAbertura": "2026-03-10" }), &all_three),
        (json!({ "dataInicialAbertura": "2026-03-11" }), &vec![]),
        (json!({ "dataFinalAbertura": "2026-03-09" }), &vec![]),
        (json!({ "dataInicialEncerramento": "2026-03-10", "dataFinalEncerramento": "2026-03-10" }), &vec![third]),
        (json!({ "dataFinalEncerramento": "2026-03-09" }), &vec![]),
        (json!({ "dataInicialEncerramento": "2026-03-11" }), &vec![]),
    ] {
        assert_eq!(members(&conversations(&opa, filter.clone()).await?, "canal_cliente"), *expected, "{filter}");
    }
    for day in [json!("10/03/2026"), json!("2026-3-10"), json!("2026-03-10T12:00:00Z"), json!(""), json!(20)] {
        let answer = opa.ask("GET", "/atendimento", &json!({ "filter": { "dataInicialAbertura": day } }).to_string()).await?;
        assert_eq!((answer.status, &answer.json()?["status"]), (400, &json!("error")), "{day}");
    }
    Ok(())
}

/// Contracts §1.3: messages are oldest first, in pages too.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_writes_stands_among_the_messages_of_the_open_conversation() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let writes = |text: &str| json!({ "phone": PHONE, "channel": CHANNEL_WHATSAPP, "text": text }).to_string();
    assert_eq!(opa.admin("POST", "customer-message", &writes("Oi")).await?.status, 400, "no conversation is open");
    let first = sent(&opa, &flagged("1")).await?;
    let written = opa.admin("POST", "customer-message", &writes("Olá Ana!")).await?.json()?;
    let last = sent(&opa, &flagged("2")).await?;
    opa.admin("POST", "customer-message", &writes("Paguei")).await?;
    sent(&opa, &order(OTHER_PHONE, "3")).await?;
    let conversation = &conversations(&opa, json!({})).await?[0];
    let messages = messages_of(&opa, conversation).await?;
    let written = written["_id"].as_str().unwrap_or_default();
    assert_eq!(members(&messages, "_id")[..3], [&*first, written, &*last]);
    assert_eq!(members(&messages, "tipoDestinatario"), ["clientes_users", "usuarios", "clientes_users", "usuarios"]);
    assert_eq!((&messages[1]["mensagem"], &messages[3]["mensagem"]), (&json!("Olá Ana!"), &json!("Paguei")));
    assert_eq!(opa.ask("GET", &format!("/atendimento/mensagem/{written}"), "").await?.json()?["data"], messages[1]);
    let page = json!({ "filter": { "id_rota": conversation["_id"] }, "options": { "skip": 1, "limit": 2 } }).to_string();
    assert_eq!(opa.list("/atendimento/mensagem", &page).await?, messages[1..3]);
    assert_eq!(opa.list("/atendimento/mensagem", "").await?.len(), 5);
    assert_eq!(opa.simulator.log()?.count(), 3, "the log is of sends alone");
    assert_eq!(opa.admin("POST", "customer-message", &writes(&"x".repeat(4097))).await?.status, 400);
    set_in_service(&opa, PHONE, false).await?;
    assert_eq!(opa.admin("POST", "customer-message", &writes("Oi")).await?.status, 400, "it was finished");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_can_show_more_spaces_than_were_sent() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions { double_spaces: true, ..OpaOptions::default() }).await?;
    let mut body = order(PHONE, "1");
    body["template"]["variaveis"] = json!(["Ana Lima", "R$ 99,90", "10/12/2026"]);
    sent(&opa, &body).await?;
    let text = "Olá Ana  Lima! Não identificamos o pagamento da fatura com valor R$  99,90 e com data de vencimento 10/12/2026.";
    assert_eq!(members(&opa.list("/atendimento/mensagem", "").await?, "mensagem"), [text]);
    assert_eq!(
        opa.simulator.log()?.next().transpose()?.map(|sent| sent.variaveis.positional()[0].clone()),
        Some("Ana Lima".to_owned())
    );
    Ok(())
}

/// Contracts §1.1, §1.2.
#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_for_get_with_a_token_and_unknown_ones_are_404() -> anyhow::Result<()> {
    let opa = Opa::start(OpaOptions::default()).await?;
    let id = sent(&opa, &order(PHONE, "1")).await?;
    for path in ["/atendimento", "/atendimento/mensagem", &format!("/atendimento/mensagem/{id}")] {
        assert_login(&opa.ask("POST", path, "{}").await?, path);
        assert_login(&ask(&opa.simulator.url(), "GET", &format!("/api/v1{path}"), &[], "").await?, path);
    }
    for path in
        [format!("/atendimento/{id}"), "/atendimento/mensagem/64f1c0de0a1b2c3d4e5fffff".to_owned(), "/atendimento/x".to_owned()]
    {
        let answer = opa.ask("GET", &path, "").await?;
        assert_eq!((answer.status, &answer.json()?["error"]), (404, &json!("NOT_FOUND_ERROR")), "{path}");
    }
    assert_login(&opa.ask("GET", &format!("/atendimento/mensagem/{id}/x"), "").await?, "no such path");
    Ok(())
}
