//! The lists: asked for with GET and a JSON body, page by page.

use crate::server::{Behaviour, Request, Server, Then, config, http, refusing};
use regua_opa_suite::{Channel, DailyAllowance, LIST_PAGES_MAX, ListError, OpaClient, Template};
use serde_json::{Value, json};
use std::{error::Error, time::Duration};

const CHANNEL: &str = "a1b2c3d4e5f60718293a4b5c";

fn envelope(data: &Value) -> Vec<u8> {
    http(200, "Content-Type: application/json\r\n", json!({ "status": "success", "code": 200, "data": data }).to_string())
}

fn record(number: usize) -> Value {
    json!({ "_id": format!("{number:024x}"), "atalho": format!("modelo_{number}"), "texto": "Olá {{nome}}" })
}

/// A server with so many templates that obeys `skip` and, up to 1000, `limit`.
async fn server_with(templates: usize) -> Server {
    Server::start(Behaviour::by(move |request: &Request| {
        let options = request.json()["options"].clone();
        let number = |field: &str| usize::try_from(options[field].as_u64().expect("a number")).expect("small");
        let page = (number("skip")..templates).take(number("limit").min(1000));
        envelope(&page.map(record).collect())
    }))
    .await
}

#[tokio::test]
async fn every_page_is_read_once() {
    for (templates, pages) in [(0, 1), (1, 1), (999, 1), (1000, 2), (1001, 2), (2500, 3)] {
        let server = server_with(templates).await;
        let listed = server.client().templates().await.expect("the list");
        assert_eq!(listed.len(), templates);
        assert!(listed.iter().enumerate().all(|(number, template)| template.name == format!("modelo_{number}")));
        assert_eq!(server.seen().requests.len(), pages, "{templates} templates");
    }
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let server = server_with(1_000_000).await;
    assert!(matches!(server.client().templates().await, Err(ListError::TooManyPages { .. })));
    assert_eq!(server.seen().requests.len(), LIST_PAGES_MAX);
}

#[tokio::test]
async fn a_server_that_ignores_skip_gives_each_record_once() {
    let page: Value = (0..1000).map(record).collect();
    let server = Server::start(Behaviour::bytes(envelope(&page), Then::Wait)).await;
    assert_eq!(server.client().templates().await.expect("the list").len(), 1000);
    assert_eq!(server.seen().requests.len(), 2);
}

#[tokio::test]
async fn lists_are_asked_for_with_get_and_a_json_body() {
    let server = Server::start(Behaviour::by(|_| envelope(&json!([])))).await;
    let client = server.client();
    assert_eq!(client.channels().await.expect("the list"), vec![]);
    assert_eq!(client.channel_templates(CHANNEL).await.expect("the list"), vec![]);
    assert_eq!(client.templates().await.expect("the list"), vec![]);
    assert!(client.daily_allowance(CHANNEL).await.is_err(), "a list is not an allowance");
    let requests = server.seen().requests;
    let lines: Vec<_> = requests.iter().map(Request::line).collect();
    assert_eq!(
        lines,
        [
            "GET /api/v1/canal-comunicacao/ HTTP/1.1".to_owned(),
            format!("GET /api/v1/canal-comunicacao/{CHANNEL}/template HTTP/1.1"),
            "GET /api/v1/template HTTP/1.1".to_owned(),
            format!("GET /api/v1/canal-comunicacao/{CHANNEL}/template/limites-diarios-envio HTTP/1.1"),
        ]
    );
    for request in &requests {
        assert_eq!(request.json(), json!({ "filter": {}, "options": { "skip": 0, "limit": 1000 } }));
        assert_eq!(request.header("authorization"), Some("Bearer secret-token"));
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn talks_are_asked_for_by_their_days_and_what_was_said_by_its_talk() {
    let server = Server::start(Behaviour::by(|_| envelope(&json!([])))).await;
    let day = |text: &str| text.parse().expect("a day");
    let (client, first, last) = (server.client(), day("2026-01-01"), day("2026-01-02"));
    assert_eq!(client.conversations(first, last, 1000).await.expect("a page"), vec![]);
    assert!(client.conversation_messages(CHANNEL).await.expect("a page").is_empty());
    let requests = server.seen().requests;
    let asked: Vec<_> = requests.iter().map(|request| (request.line(), request.json())).collect();
    let days = json!({ "dataInicialAbertura": "2026-01-01", "dataFinalAbertura": "2026-01-02" });
    assert_eq!(
        asked,
        [
            ("GET /api/v1/atendimento HTTP/1.1", json!({ "filter": days, "options": { "skip": 1000, "limit": 1000 } })),
            (
                "GET /api/v1/atendimento/mensagem HTTP/1.1",
                json!({ "filter": { "id_rota": CHANNEL }, "options": { "skip": 0, "limit": 1000 } })
            ),
        ]
    );
}

#[tokio::test]
async fn records_are_read_as_the_contracts_show_them() {
    let channels = json!([
        { "_id": CHANNEL, "nome": "Cobrança WhatsApp", "id_atendente": "x", "status": "A", "canal": "Whatsapp", "integracao": "dialog360" },
        { "_id": "b1", "status": "I", "canal": null },
    ]);
    let server = Server::start(Behaviour::bytes(envelope(&channels), Then::Wait)).await;
    let expected = [
        Channel { id: CHANNEL.into(), name: "Cobrança WhatsApp".into(), is_active: true, medium: "Whatsapp".into() },
        Channel { id: "b1".into(), name: String::new(), is_active: false, medium: String::new() },
    ];
    assert_eq!(server.client().channels().await.expect("the list"), expected);

    let templates = json!([{
        "_id": "b1c2d3e4f5a60718293a4b5c", "atalho": "lembrete_vencimento", "texto": "Olá {{nome_cliente}}, vence em {{vencimento}}.",
        "tipo_mensagem": "dialog360", "identificadorCanal": "Ab3dEf7h", "dados": "{}", "departamentos": [], "anexo": null, "flow": null,
    }]);
    let server = Server::start(Behaviour::bytes(envelope(&templates), Then::Wait)).await;
    let listed = server.client().channel_templates(CHANNEL).await.expect("the list");
    let text = "Olá {{nome_cliente}}, vence em {{vencimento}}.".to_owned();
    assert_eq!(listed, [Template { id: "b1c2d3e4f5a60718293a4b5c".into(), name: "lembrete_vencimento".into(), text }]);
    assert_eq!(listed[0].placeholders(), 2);
}

#[tokio::test]
async fn an_empty_allowance_is_no_limit() {
    let full = json!({ "messagesSent": 12, "dailyLimit": 1000, "availableAmount": 988 });
    let over = json!({ "messagesSent": 1005, "dailyLimit": 1000, "availableAmount": -5 });
    for (data, expected) in [
        (json!({}), None),
        (full, Some(DailyAllowance { sent: 12, limit: 1000, available: 988 })),
        (over, Some(DailyAllowance { sent: 1005, limit: 1000, available: 0 })),
    ] {
        let server = Server::start(Behaviour::bytes(envelope(&data), Then::Wait)).await;
        assert_eq!(server.client().daily_allowance(CHANNEL).await.expect("an allowance"), expected, "{data}");
    }
    let server = Server::start(Behaviour::bytes(envelope(&json!({ "dailyLimit": 1000 })), Then::Wait)).await;
    let error = server.client().daily_allowance(CHANNEL).await.expect_err("half an allowance");
    assert!(error.to_string().contains("messagesSent"), "{error}");
}

#[tokio::test]
async fn an_allowance_whose_numbers_can_not_be_is_none() {
    for (sent, limit, available) in
        [(-1, 1000, 1000), (0, -1, -1), (0, 1000, 1001), (0, 1000, -5), (0, i64::MAX, i64::MAX), (0, 1000, i64::MIN)]
    {
        let data = json!({ "messagesSent": sent, "dailyLimit": limit, "availableAmount": available });
        let server = Server::start(Behaviour::bytes(envelope(&data), Then::Wait)).await;
        let error = server.client().daily_allowance(CHANNEL).await.expect_err("it can't be");
        assert!(matches!(error, ListError::Unparsable { .. }) && error.to_string().contains("contradict"), "{data}: {error}");
    }
}

/// The list's error for that answer, whose text names `names`.
async fn check(answer: Vec<u8>, is_expected: fn(&ListError) -> bool, names: &str) {
    let shown = String::from_utf8_lossy(&answer).into_owned();
    let server = Server::start(Behaviour::bytes(answer, Then::Close)).await;
    let error = server.client().channels().await.expect_err("no list");
    assert!(is_expected(&error), "{error:?} for {shown}");
    assert!(error.to_string().contains(names), "{error} should name {names}");
    assert_eq!(server.seen().requests.len(), 1, "one request for {shown}");
}

#[tokio::test]
async fn each_failure_says_what_to_mend() {
    use ListError::{NotFound, Redirected, Refused, Throttled, TooLarge, Unauthorized, Unparsable, Unreachable};
    let json = |status, body: Value| http(status, "", body.to_string());
    check(http(401, "", ""), |error| matches!(error, Unauthorized { status: 401, .. }), "token_env").await;
    check(http(403, "", ""), |error| matches!(error, Unauthorized { status: 403, .. }), "token_env").await;
    check(http(302, "Location: /auth/login\r\n", ""), |error| matches!(error, Redirected { status: 302, .. }), "/api/v1").await;
    check(http(404, "", ""), |error| matches!(error, NotFound { .. }), "channel's id").await;
    check(json(200, json!({ "error": "NOT_FOUND_ERROR" })), |error| matches!(error, NotFound { .. }), "channel's id").await;
    let seven = |error: &ListError| matches!(error, Throttled { retry_after: Some(wait), .. } if *wait == Duration::from_secs(7));
    check(http(429, "Retry-After: 7\r\n", ""), seven, "429").await;
    check(http(503, "Retry-After: 7\r\n", ""), seven, "503").await;
    check(http(500, "", ""), |error| matches!(error, Refused { status: 500, .. }), "500").await;
    check(json(200, json!({ "status": "error", "code": 500 })), |error| matches!(error, Refused { status: 500, .. }), "500")
        .await;
    check(http(200, "", "<html>"), |error| matches!(error, Unparsable { .. }), "not JSON").await;
    check(http(200, "", "[]"), |error| matches!(error, Unparsable { .. }), "status").await;
    check(json(200, json!({ "status": "success" })), |error| matches!(error, Unparsable { .. }), "data").await;
    check(envelope(&json!({})), |error| matches!(error, Unparsable { .. }), "data").await;
    check(envelope(&json!([{ "nome": "sem id" }])), |error| matches!(error, Unparsable { .. }), "_id").await;
    check(Vec::new(), |error| matches!(error, Unreachable { source: Some(_), .. }), "url").await;
    let cut = http(200, "", "{}")[..30].to_vec();
    check(cut, |error| matches!(error, Unreachable { .. }), "url").await;
    let large = envelope(&json!([" ".repeat(9 << 20)]));
    check(large, |error| matches!(error, TooLarge { .. }), "8388608 bytes").await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_cause() {
    let (_socket, address) = refusing();
    let client = OpaClient::new(config(&format!("http://{address}"))).expect("a client");
    let error = client.channels().await.expect_err("no list");
    assert!(matches!(error, ListError::Unreachable { .. }) && error.source().is_some(), "{error:?}");
}
