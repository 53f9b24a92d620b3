//! Invariant 6: a day on which all kinds of things go wrong, with customers and secrets that are known, and a search for each of them in every
//! log, span, metric, broker message, health page and error.

use aho_corasick::AhoCorasick;
use chrono::TimeDelta;
use regua_e2e::{Collector, Program, Service, World, WorldOptions, until};
use regua_simulators::opa::Webhook;
use regua_simulators::{Fault, FaultKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const SECRET: &str = "a-webhook-secret-that-is-known";
const WEBHOOK: &str = "/webhooks/opa/Opa!%20Suite";
const CUSTOMERS: u32 = 250;

/// Whatever is shorter stands in other texts by accident.
const NEEDLE_MIN: usize = 8;

/// What must not be found, and what it is.
async fn known(world: &World) -> BTreeMap<String, &'static str> {
    let mut known = BTreeMap::from([
        (world.opa.token().to_owned(), "the token of Opa! Suite"),
        (world.ixc.token().to_owned(), "the token of IXC"),
        (SECRET.to_owned(), "the webhook's secret"),
    ]);
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let provider = world.ixc.provider();
    for customer in (1..=u64::from(CUSTOMERS)).filter_map(|id| provider.customer(id)) {
        known.insert(digits(&customer.tax_id), "a tax id");
        known.insert(customer.tax_id, "a tax id");
        known.insert(customer.name, "a name");
        for phone in [customer.whatsapp, customer.mobile] {
            known.insert(digits(&phone), "a phone");
            known.insert(phone, "a phone");
        }
    }
    for row in world.database.texts("SELECT phone FROM message_texts").await {
        let phone = digits(&row[0]);
        // As opt-outs and caps know it: area code and last eight digits.
        known.insert(format!("{}{}", &phone[2..4], &phone[phone.len() - 8..]), "a phone");
        known.insert(row[0].clone(), "a phone");
    }
    for row in world.database.texts("SELECT record FROM invoices").await {
        let record: Value = serde_json::from_str(&row[0]).unwrap();
        for field in ["digitable_line", "pix_code", "payment_link"] {
            known.extend(record[field].as_str().map(|code| (code.to_owned(), "a payment code")));
        }
    }
    known.retain(|needle, _| needle.chars().count() >= NEEDLE_MIN);
    known
}

/// A provider that answers with what it was asked: names and phones in every error.
fn echoing(world: &World) -> Vec<Fault> {
    let customer = world.ixc.provider().customer(1).unwrap();
    let text = format!("{} ({}, {}) não existe; Bearer {}", customer.name, customer.whatsapp, customer.tax_id, world.opa.token());
    let path = || Some("/template/send".to_owned());
    let status = |code, count| Fault {
        path: path(),
        count: Some(count),
        ..Fault::always(FaultKind::Status {
            code,
            body: Some(json!({ "status": "error", "message": text, "data": { "message": text } })),
            retry_after: Some("1".into()),
        })
    };
    let of = |kind| Fault { path: path(), count: Some(2), ..Fault::always(kind) };
    vec![
        status(400, 3),
        status(401, 1),
        status(500, 2),
        of(FaultKind::Html200),
        of(FaultKind::MalformedBody),
        of(FaultKind::TruncatedBody),
        of(FaultKind::CloseWithoutAnswer),
        status(503, 1),
        status(429, 1),
    ]
}

/// What a command said, whatever it came to.
async fn said(world: &World, command: &[&str]) -> (String, String) {
    let done = world.cli().run(command).await;
    (command.join(" "), done.out + &done.err)
}

async fn shown(service: &mut Service, name: &str) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for path in ["/metrics", "/readyz", "/livez"] {
        shown.push((format!("{name}{path}"), service.get(path).await.unwrap().1));
    }
    shown
}

/// Whatever the console is told, it writes down shapes alone.
async fn strange_webhooks(world: &World, console: &mut Service) {
    let customer = world.ixc.provider().customer(2).unwrap();
    let header = ("x-regua-secret", SECRET);
    for body in [
        json!({ "nome": customer.name, "telefone": customer.whatsapp, customer.tax_id.clone(): { "token": world.opa.token() } }),
        json!([{ "message": customer.whatsapp, "status": customer.name }]),
    ] {
        console.post(WEBHOOK, header, &body).await;
        console.post("/webhooks/erp/IXC%20Provedor", header, &json!({ "invoice": customer.tax_id, "event": "paid" })).await;
    }
    console.post(WEBHOOK, ("x-regua-secret", &customer.tax_id), &json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_customer_and_no_secret_is_in_any_log_span_metric_message_or_error() {
    let collector = Collector::start().await;
    let mut options = WorldOptions::customers(CUSTOMERS);
    for token in ["REGUA_DEMO_OPA_TOKEN", "REGUA_DEMO_IXC_TOKEN"] {
        let old = format!("token_env = \"{token}\"");
        options = options.replacing(&old, &format!("{old}\nwebhook_secret_env = \"HOOK\""));
    }
    let mut world = World::set(options).await;
    world.environment.extend(collector.environment());
    world.environment.extend([("HOOK", SECRET), ("REGUA_LOG", "trace")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut crew = world.crew(1).await;
    let mut console = world.spawn(Program::Console);
    console.ready().await;
    let tap = world.queues.tap().await;
    until("the console knows its secrets", async || {
        (console.post(WEBHOOK, ("x-regua-secret", SECRET), &json!({})).await.0 == 200).then_some(())
    })
    .await;
    world.opa.set_webhook(Some(Webhook {
        url: format!("http://{}{WEBHOOK}", console.address().await),
        header: "x-regua-secret".into(),
        value: SECRET.into(),
        statuses: ["sent", "delivered", "failed"].map(Into::into).to_vec(),
        delay_ms: 0,
        twice: 0.1,
        reversed: 0.1,
        lost: 0.1,
        without_metadata: false,
    }));

    let away = FaultKind::Status { code: 500, body: Some(json!({ "message": SECRET })), retry_after: None };
    for fault in [away, FaultKind::Html200, FaultKind::MalformedBody] {
        world.ixc.faults(vec![Fault { count: Some(1), ..Fault::always(fault) }]).unwrap();
        world.cli().run(&["run", "update-collections", "--no-wait"]).await.good();
    }
    world.run("update-collections").await;
    world.opa.set_in_service(world.ixc.provider().mobile_of(3), true);
    let faults = echoing(&world);
    let struck: u64 = faults.iter().filter_map(|fault| fault.count).sum();
    world.opa.faults(faults).unwrap();
    world.run("send-queued-messages").await;
    until("the refused token stops the integration", async || {
        (world.database.count("stops WHERE lifted_at IS NULL").await > 0).then_some(())
    })
    .await;
    let mut found = vec![said(&world, &["status"]).await, said(&world, &["check"]).await];
    world.cli().run(&["resume", "--integration", "Opa! Suite", "--why", "a test"]).await.good();
    // The breaker opens meanwhile: its rests pass by.
    until("every fault has struck, and nothing waits but for the customer who is in service", async || {
        world.database.pass(TimeDelta::seconds(5)).await;
        let busy = world.database.count("messages WHERE state IN ('scheduled', 'queued', 'sending')").await > 1;
        (world.opa.stats().faults.values().sum::<u64>() == struck && !busy).then_some(())
    })
    .await;
    strange_webhooks(&world, &mut console).await;
    let message = world.database.texts("SELECT CAST(id AS TEXT) FROM messages WHERE state = 'failed' LIMIT 1").await;
    for command in [
        &["status", "--json"][..],
        &["runs"],
        &["messages"],
        &["failures", "list"],
        &["in-doubt", "list"],
        &["config", "export"],
        &["webhooks", "samples"],
        &["audit"],
        &["message", &message[0][0]],
        &["import", "customers", "missing.csv"],
        &["opt-out", "list", "--nonsense"],
    ] {
        found.push(said(&world, command).await);
    }
    for (service, name) in crew.all().zip(["scheduler", "billing-evaluator", "dispatcher"]).chain([(&mut console, "console")]) {
        found.extend(shown(service, name).await);
        service.terminate();
        assert_eq!(service.end(std::time::Duration::from_secs(40)).await, Some(0), "{name}");
        found.push((format!("{name}'s log"), service.log() + &service.printed()));
    }
    found.extend(collector.spans().into_iter().map(|span| (format!("span {}", span.name), format!("{span:?}"))));
    found.extend(tap.taken().await.into_iter().map(|message| ("a broker's message".to_owned(), message)));

    let kinds = found.iter().map(|(place, _)| place.as_str()).collect::<BTreeSet<_>>();
    for place in ["a broker's message", "span POST /template/send", "span regua.receipt", "dispatcher's log", "console/metrics"] {
        assert!(kinds.contains(place), "{place} isn't in {kinds:?}");
    }
    let traced = |(place, text): &(String, String)| place == "a broker's message" && text.contains("traceparent=00-");
    assert!(found.iter().any(traced), "headers are read as texts");
    for outcome in ["rejected", "doubt", "throttled", "stop", "accepted"] {
        let told = format!("regua.attempt.outcome\": \"{outcome}\"");
        assert!(found.iter().any(|(_, text)| text.contains(&told)), "no attempt ended as {outcome}");
    }
    let known = known(&world).await;
    assert!(known.len() > 1000, "{} needles", known.len());
    let needles: Vec<&str> = known.keys().map(String::as_str).collect();
    let search = AhoCorasick::new(&needles).unwrap();
    let provider_has = format!("{:?}", world.requests());
    let sought: BTreeSet<_> = search.find_iter(&provider_has).map(|hit| known[needles[hit.pattern().as_usize()]]).collect();
    assert!(sought.is_superset(&["a name", "a phone"].into()), "the search finds what stands there: {sought:?}");
    let mut leaks = BTreeSet::new();
    for (place, text) in &found {
        for hit in search.find_iter(text) {
            let needle = needles[hit.pattern().as_usize()];
            let line = text[..hit.end()].rsplit('\n').next().unwrap_or_default();
            leaks.insert(format!("{place}: {} in {line:.300}", known[needle]));
        }
    }
    assert!(leaks.is_empty(), "{} leaks, among them {:#?}", leaks.len(), leaks.iter().take(10).collect::<Vec<_>>());
}
