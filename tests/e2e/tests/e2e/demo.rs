//! `regua demo`: a machine with nothing but the binary, and invariant 2 broken part by part.

use regua_e2e::{Cli, Database, Done, Program, Service, until, within};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tempfile::TempDir;

/// A small demo ends within this time, on a busy machine too.
const DEMO_MAX: Duration = Duration::from_mins(2);

/// An environment without anything of Régua's.
fn bare() -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    [("PATH".to_owned(), path), ("HOME".to_owned(), "/nonexistent".to_owned())].into()
}

async fn demo(arguments: &[&str]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli { environment: bare(), folder: folder.path().to_owned() };
    cli.run(&[&["demo", "--once", "--json"], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_nothing_else_plays_a_whole_day_and_the_numbers_add_up() {
    let report = demo(&["--customers", "600", "--seed", "7"]).await.good().json();
    let members = report.as_object().unwrap();
    let states = ["held", "scheduled", "queued", "sending", "sent", "delivered", "read", "failed", "in_doubt"];
    let others = ["evaluated", "skipped", "provider_received", "provider_distinct", "conserved", "seconds"];
    for member in states.iter().chain(&others) {
        assert!(members.contains_key(*member), "{member} is missing: {report}");
    }
    assert_eq!(members.len(), states.len() + others.len(), "{report}");
    let number = |member: &str| report[member].as_u64().unwrap();
    let skipped: u64 = report["skipped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(report["conserved"], true);
    assert_eq!(number("evaluated"), states.iter().map(|state| number(state)).sum::<u64>() + skipped);
    assert_eq!((number("provider_received"), number("provider_distinct")), (number("sent"), number("sent")));
    assert!(number("sent") > 200, "{report}");
    for reason in ["paid", "no_valid_phone", "opted_out"] {
        assert!(report["skipped"][reason].as_u64().unwrap() > 0, "a table worth reading has {reason}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_day() {
    let (first, second) = tokio::join!(demo(&["--customers", "300"]), demo(&["--customers", "300"]));
    let counts = |done: Done| {
        let mut report = done.good().json();
        report["seconds"] = Value::Null;
        report
    };
    assert_eq!(counts(first), counts(second));
}

/// A demo that is being sent: its ledger, and the way to its provider.
struct Playing {
    service: Service,
    ledger: Database,
    _folder: TempDir,
}

impl Playing {
    /// Starts a demo and waits until messages are on their way.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keep = folder.path().join("kept");
        let arguments = ["demo", "--once", "--json", "--customers", "600", "--keep", keep.to_str().unwrap()];
        let service = Service::spawn(Program::Regua, &arguments, &bare(), folder.path());
        until("the demo makes its ledger", async || keep.join("regua.db").exists().then_some(())).await;
        let ledger = Database::sqlite(&keep.join("regua.db"));
        within(DEMO_MAX, "messages are being sent", async || {
            (ledger.count("messages WHERE state = 'sent'").await > 10).then_some(())
        })
        .await;
        Self { service, ledger, _folder: folder }
    }

    /// One text that the ledger has.
    async fn text(&self, sql: &str) -> String {
        self.ledger.texts(sql).await[0][0].clone()
    }

    /// Has the provider take one more request, past Régua.
    async fn request(&self, metadata: Value) {
        let url = self.text("SELECT url FROM integrations").await;
        let url = format!("{}/api/v1/template/send", url.trim_end_matches('/').trim_end_matches("/api/v1"));
        let body = json!({
            "contato": { "canalCliente": "+5511987654321" },
            "template": { "_id": "64f1c0de0a1b2c3d4e5f7001", "variaveis": ["Ana", "R$1,00", "24/11/2026"] },
            "canal": "64f1c0de0a1b2c3d4e5f6001",
            "metadata": metadata,
        });
        let request = reqwest::Client::new().post(url).bearer_auth("opa-simulator-token").json(&body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// Waits for its end, which must be 1, not conserved, and say this.
    async fn ends_not_conserved(mut self, text: &str) {
        assert!(self.service.ended().is_none(), "the demo ended before it could be broken");
        let code = self.service.end(DEMO_MAX).await;
        let log = self.service.log();
        let report: Value = serde_json::from_str(&self.service.printed()).unwrap();
        assert_eq!((code, &report["conserved"]), (Some(1), &json!(false)), "{report} {log}");
        assert!(log.contains("NOT CONSERVED") && log.contains(text), "expected {text:?}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_counter_of_a_run_is_not_conserved() {
    let demo = Playing::start().await;
    let changed = "UPDATE runs SET evaluated = evaluated + 1, held = held + 1 WHERE evaluated > 0 AND state = 'done'";
    assert!(demo.ledger.execute(changed).await >= 1);
    demo.ends_not_conserved("the runs wrote").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_message_is_not_conserved() {
    let demo = Playing::start().await;
    let lost =
        "DELETE FROM messages WHERE id = (SELECT id FROM messages WHERE state = 'skipped' AND reason = 'no_valid_phone' LIMIT 1)";
    assert_eq!(demo.ledger.execute(lost).await, 1);
    demo.ends_not_conserved("the runs wrote").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_message_that_the_provider_never_took_is_not_conserved() {
    let demo = Playing::start().await;
    let unsent = "SELECT id FROM messages WHERE state = 'skipped' AND reason = 'no_valid_phone' LIMIT 1";
    assert_eq!(demo.ledger.execute(&format!("UPDATE messages SET state = 'sent' WHERE id = ({unsent})")).await, 1);
    demo.ends_not_conserved("the provider never took it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_message_neither_sent_nor_in_doubt_is_not_conserved() {
    let demo = Playing::start().await;
    let unsent = demo.text("SELECT id FROM messages WHERE state = 'skipped' AND reason = 'no_valid_phone' LIMIT 1").await;
    demo.request(json!({ "message": unsent })).await;
    demo.ends_not_conserved("neither sent nor in doubt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_names_no_message_is_not_conserved() {
    let demo = Playing::start().await;
    demo.request(json!({})).await;
    demo.ends_not_conserved("names no message of ours").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_provider_took_twice_is_not_conserved() {
    let demo = Playing::start().await;
    let sent = demo.text("SELECT id FROM messages WHERE state = 'sent' LIMIT 1").await;
    demo.request(json!({ "message": sent })).await;
    demo.ends_not_conserved("more than once").await;
}
