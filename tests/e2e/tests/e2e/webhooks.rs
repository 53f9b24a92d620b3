//! Webhooks: the simulated Opa! Suite tells `regua up` what became of messages, faithfully and not; the ERP tells of payments; others try.

use regua_domain::ids::MessageId;
use regua_e2e::{House, SOON, Service, until, within};
use regua_ledger::Ledger;
use regua_ledger::conservation::compare;
use regua_simulators::opa::Webhook;
use regua_simulators::{Fault, FaultKind};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SECRET: &str = "a-secret-of-the-test";
const OPA: &str = "/webhooks/opa/Opa!%20Suite";
const ERP: &str = "/webhooks/erp/IXC%20Provedor";
const HEADER: (&str, &str) = ("x-regua-secret", SECRET);

/// A house whose integration and source have webhooks.
pub(crate) async fn house(customers: u32) -> House {
    let secrets = [
        (
            "token_env = \"REGUA_DEMO_OPA_TOKEN\"".to_owned(),
            "token_env = \"REGUA_DEMO_OPA_TOKEN\"\nwebhook_secret_env = \"HOOK\"".to_owned(),
        ),
        (
            "token_env = \"REGUA_DEMO_IXC_TOKEN\"".to_owned(),
            "token_env = \"REGUA_DEMO_IXC_TOKEN\"\nwebhook_secret_env = \"HOOK\"".to_owned(),
        ),
    ];
    let mut house = House::build(customers, &secrets).await;
    house.cli = house.cli.with("HOOK", SECRET);
    house
}

/// Starts `regua up`, waits until it hears webhooks, and has the simulator tell it these statuses.
pub(crate) async fn up(house: &House, statuses: &[&str]) -> (Service, Webhook) {
    let mut up = house.up().await;
    until("the console knows its secrets", async || (up.post(OPA, HEADER, &json!({})).await.0 == 200).then_some(())).await;
    let webhook = Webhook {
        url: format!("http://{}{OPA}", up.address().await),
        header: HEADER.0.into(),
        value: SECRET.into(),
        statuses: statuses.iter().map(|status| (*status).to_owned()).collect(),
        delay_ms: 0,
        twice: 0.0,
        reversed: 0.0,
        lost: 0.0,
        without_metadata: false,
    };
    (up, webhook)
}

pub(crate) async fn send(house: &House) {
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
}

/// The ledger and the provider agree, and nothing went out twice.
async fn is_conserved(house: &House) {
    let ledger = Ledger::open(&house.cli.environment["REGUA_DATABASE_URL"]).await.unwrap();
    let side = ledger.conservation().await.unwrap();
    ledger.close().await;
    assert_eq!(compare(&side, house.requests().into_iter().map(|request| request.message)), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_move_messages_to_read_however_they_come() {
    let house = house(300).await;
    let (mut up, webhook) = up(&house, &["sent", "delivered", "read"]).await;
    house.opa.set_webhook(Some(Webhook { twice: 0.3, reversed: 0.3, ..webhook }));
    // Some answers come after what is told of their messages.
    let late = Fault {
        probability: Some(0.2),
        after_accept: true,
        path: Some("/template/send".into()),
        ..Fault::always(FaultKind::LatencyMs { ms: 300 })
    };
    house.opa.faults(vec![late]).unwrap();
    send(&house).await;
    let database = house.database();
    let accepted = i64::try_from(house.opa.stats().accepted).unwrap();
    assert!(accepted > 50, "{accepted}");
    until("all are read", async || (database.count("messages WHERE state = 'read'").await == accepted).then_some(())).await;
    // Of a message that is told of in the opposite order the rest comes after that it was read.
    until("each thing is told once", async || (database.count("receipts").await == 3 * accepted).then_some(())).await;
    let answered = "attempts WHERE outcome = 'sent' AND provider_id IS NOT NULL";
    until("the last answers are written, too", async || (database.count(answered).await == accepted).then_some(())).await;
    assert_eq!(database.count("messages WHERE state = 'read' AND provider_id IS NULL").await, 0);
    assert!(!up.log().contains("attempt.late") && !up.log().contains("receipt.contradicts"), "{}", up.log());
    assert!(up.metric("regua_receipts_total{outcome=\"moved\"}").await.unwrap() > 0.0);
    is_conserved(&house).await;
    up.terminate();
    assert_eq!(up.end(Duration::from_secs(30)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_answer_was_lost_is_settled_by_its_receipt() {
    let house = house(150).await;
    let (_up, webhook) = up(&house, &["delivered"]).await;
    house.opa.set_webhook(Some(Webhook { delay_ms: 300, ..webhook }));
    let dropped = Fault {
        count: Some(3),
        after_accept: true,
        path: Some("/template/send".into()),
        ..Fault::always(FaultKind::CloseWithoutAnswer)
    };
    house.opa.faults(vec![dropped]).unwrap();
    send(&house).await;
    let database = house.database();
    let accepted = i64::try_from(house.opa.stats().accepted).unwrap();
    until("all are delivered", async || (database.count("messages WHERE state = 'delivered'").await == accepted).then_some(()))
        .await;
    assert_eq!(database.count("attempts WHERE outcome = 'doubt'").await, 3, "their records stay what they were");
    assert_eq!(database.count("messages WHERE state = 'in_doubt'").await, 0);
    is_conserved(&house).await;
}

/// The message counts as taken, though nobody ever answers: the platform speaks of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_told_before_an_answer_that_never_comes_leaves_no_doubt() {
    let house = house(60).await;
    let (_up, webhook) = up(&house, &["failed:131026"]).await;
    house.opa.set_webhook(Some(webhook));
    let late_and_lost = [FaultKind::LatencyMs { ms: 1500 }, FaultKind::CloseWithoutAnswer];
    let faults = late_and_lost.map(|kind| Fault {
        count: Some(3),
        after_accept: true,
        path: Some("/template/send".into()),
        ..Fault::always(kind)
    });
    house.opa.faults(faults.into()).unwrap();
    send(&house).await;
    let database = house.database();
    let doubtful =
        "receipts r JOIN attempts a ON a.id = r.attempt_id JOIN messages m ON m.id = r.message_id WHERE a.outcome = 'doubt'";
    until("three end without an answer", async || (database.count("attempts WHERE outcome = 'doubt'").await == 3).then_some(()))
        .await;
    assert_eq!(database.count(&format!("{doubtful} AND r.state_before = 'sending' AND m.state = 'sent'")).await, 3);
    assert_eq!(database.count("messages WHERE state = 'in_doubt'").await, 0);
    is_conserved(&house).await;
}

/// A receipt without our ids can't be matched before the answer tells Opa!'s: it waits in the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_have_only_opas_id_and_are_faster_than_the_answer_move_their_messages_in_the_end() {
    let house = house(60).await;
    let (mut up, webhook) = up(&house, &["delivered", "read"]).await;
    house.opa.set_webhook(Some(Webhook { without_metadata: true, ..webhook }));
    let late =
        Fault { after_accept: true, path: Some("/template/send".into()), ..Fault::always(FaultKind::LatencyMs { ms: 500 }) };
    house.opa.faults(vec![late]).unwrap();
    send(&house).await;
    let database = house.database();
    let accepted = i64::try_from(house.opa.stats().accepted).unwrap();
    until("all are read", async || (database.count("messages WHERE state = 'read'").await == accepted).then_some(())).await;
    until("all have found their messages", async || (database.count("early_receipts").await == 0).then_some(())).await;
    assert_eq!(database.count("receipts WHERE proved_by = 'provider_id'").await, 2 * accepted);
    assert!(up.metric("regua_receipts_total{outcome=\"early\"}").await.unwrap() > 0.0);
    assert_eq!(up.metric("regua_receipts_total{outcome=\"unmatched\"}").await, None);
    is_conserved(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_answer_is_shown_beside_the_message() {
    let house = house(60).await;
    let (_up, webhook) = up(&house, &["failed:131026"]).await;
    house.opa.set_webhook(Some(Webhook { delay_ms: 500, without_metadata: true, ..webhook }));
    send(&house).await;
    let database = house.database();
    until("a failure is told", async || {
        (database.count("receipts WHERE status = 'failed' AND provider_code = 131026").await > 0).then_some(())
    })
    .await;
    let failed = database.texts("SELECT message_id FROM receipts LIMIT 1").await[0][0].clone();
    let shown = house.cli.run(&["message", &failed, "--json"]).await.good().json();
    assert_eq!((&shown["message"]["state"], &shown["receipts"][0]["status"]), (&json!("sent"), &json!("failed")));
    assert_eq!(shown["receipts"][0]["proved_by"], "provider_id");
    assert!(house.cli.run(&["message", &failed]).await.good().out.contains("131026"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_secret_learns_nothing_and_what_is_not_understood_is_kept_without_names() {
    let house = house(10).await;
    let (mut up, _) = up(&house, &[]).await;
    let body = json!({ "evento": "conversa", "cliente": "Maria da Silva", "fone": "+5511987654321" });
    let refused = up.post(OPA, ("x-regua-secret", "wrong"), &body).await;
    assert_eq!(refused.0, 401);
    for (path, header) in [
        (OPA, ("accept", "*/*")),
        ("/webhooks/opa/Nobody", HEADER),
        ("/webhooks/erp/Opa!%20Suite", HEADER),
        ("/webhooks/opa/IXC%20Provedor", HEADER),
    ] {
        assert_eq!(up.post(path, header, &body).await, refused, "{path}");
    }
    assert_eq!(up.metric("regua_webhooks_total{outcome=\"wrong_secret\",webhook=\"opa\"}").await, Some(1.0));
    assert_eq!(up.post(OPA, ("authorization", &format!("Bearer {SECRET}")), &body).await.0, 200);
    let stranger = json!({ "ledger": MessageId(uuid::Uuid::nil()), "message": MessageId(uuid::Uuid::nil()) });
    assert_eq!(up.post(OPA, HEADER, &json!({ "metadata": stranger, "status": "read" })).await.0, 200);
    assert_eq!(up.metric("regua_receipts_total{outcome=\"foreign\"}").await, Some(1.0));
    // Samples are written after the answer: who calls waits for receipts alone.
    let samples = until("what was not understood is kept", async || {
        let samples = house.cli.run(&["webhooks", "samples", "--json"]).await.good().out;
        samples.contains("digits(14)").then_some(samples)
    })
    .await;
    assert!(samples.contains("no_message"), "{samples}");
    assert!(!samples.contains("Maria") && !samples.contains("98765"), "{samples}");
    assert!(house.cli.run(&["status", "--json"]).await.good().json()["stops"].as_array().unwrap().is_empty());
}

/// F8: the platform tells of a message that this very ledger once sent and doesn't have any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_a_message_that_the_ledger_lost_stops_everything() {
    let house = house(10).await;
    let (mut up, _) = up(&house, &[]).await;
    let ledger = house.database().texts("SELECT id FROM ledger").await[0][0].clone();
    let lost = json!({ "ledger": ledger, "message": MessageId(uuid::Uuid::nil()) });
    assert_eq!(up.post(OPA, HEADER, &json!({ "metadata": lost, "status": "delivered" })).await.0, 200);
    let stops = house.cli.run(&["status", "--json"]).await.good().json()["stops"].clone();
    assert_eq!((&stops[0]["scope"], &stops[0]["raised_by"]), (&json!("everything"), &json!("ledger")), "{stops}");
    house.cli.run(&["resume"]).await.refused(1, "regua restored");
}

/// Sends a head and then pieces of a body until the other side has had enough; what it said.
async fn flood(address: &str, length: Option<u64>, piece: &[u8], pause: Duration) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = length.map_or_else(|| "Transfer-Encoding: chunked".to_owned(), |length| format!("Content-Length: {length}"));
    let head = format!("POST {OPA} HTTP/1.1\r\nHost: a\r\n{}: {SECRET}\r\n{length}\r\n\r\n", HEADER.0);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut told = vec![0; 12];
    let write = async {
        while writer.write_all(piece).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write => {}
        read = reader.read_exact(&mut told) => { read.unwrap(); }
    }
    String::from_utf8(told).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_end_is_refused_by_name_and_the_others_are_heard() {
    let house = house(10).await;
    let (mut up, _) = up(&house, &[]).await;
    let address = up.address().await;
    let chunk = [b"4000\r\n".as_slice(), &[b'['; 0x4000], b"\r\n"].concat();
    let now = Duration::ZERO;
    assert_eq!(flood(&address, Some(1 << 30), b"[", now).await, "HTTP/1.1 413");
    assert_eq!(flood(&address, None, &chunk, now).await, "HTTP/1.1 413");
    let slow = within(SOON, "a byte a second", async || Some(flood(&address, Some(1000), b"[", Duration::from_secs(1)).await));
    let (slow, heard) = tokio::join!(slow, async { up.post(OPA, HEADER, &json!({})).await.0 });
    assert_eq!((slow.as_str(), heard), ("HTTP/1.1 408", 200));
    let deep: Value = (0..100).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(up.post(OPA, HEADER, &deep).await.0, 200);
    assert_eq!(up.metric("regua_webhooks_total{outcome=\"too_slow\",webhook=\"opa\"}").await, Some(1.0));
    assert_eq!(up.metric("regua_webhooks_total{outcome=\"too_large\",webhook=\"opa\"}").await, Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_erp_says_is_paid_is_not_sent_any_more() {
    let house = house(200).await;
    let (mut up, _) = up(&house, &[]).await;
    house.run("update-collections").await;
    let database = house.database();
    let held =
        database.texts("SELECT subject FROM messages WHERE state = 'held' AND due_on IS NOT NULL ORDER BY id LIMIT 2").await;
    let told = json!([{ "invoice": held[0][0], "event": "paid" }, { "invoice": held[1][0], "event": "cancelled" }, { "invoice": 0, "event": "paid" }]);
    let (status, answer) = up.post(ERP, HEADER, &told).await;
    assert_eq!((status, serde_json::from_str(&answer).unwrap()), (200, json!({ "noted": 2, "skipped": 2, "unknown": ["0"] })));
    assert_eq!(up.post(ERP, HEADER, &json!({ "invoice": "1" })).await.0, 400);
    house.run("send-queued-messages").await;
    house.settled().await;
    for (subject, reason) in [(&held[0][0], "paid"), (&held[1][0], "cancelled")] {
        let found = format!("messages WHERE subject = '{subject}' AND state = 'skipped' AND reason = '{reason}'");
        assert_eq!(database.count(&found).await, 1, "{subject}");
    }
    is_conserved(&house).await;
}
