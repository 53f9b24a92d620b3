//! Dashboards and alerts: days in which everything happens, read by a real Prometheus, and then every expression of theirs, as it stands in its
//! file, has something to show. One process on SQLite lives through most of it; what takes several processes, a broker and a pilot has a day of
//! its own.

use chrono::TimeDelta;
use regua_e2e::{Crew, House, Program, Service, World, WorldOptions, until, within};
use regua_simulators::ixc::Payment;
use regua_simulators::{Fault, FaultKind};
use regua_test_servers::Prometheus;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// Families of the ledger are up to ten seconds old when they are scraped.
const SEEN_WITHIN: Duration = Duration::from_mins(1);
const SECRET: (&str, &str) = ("x-regua-secret", "a-secret-of-the-test");

const OPA: &str = "/webhooks/opa/Opa!%20Suite";
const BUDGET: &str = "recipients_per_24h = 5000";

/// What the day in one process doesn't make happen, and the day over RabbitMQ does: an alert, or a part of expressions.
const OVER_RABBITMQ: [&str; 9] = [
    "(abs(regua_ledger_skew_seconds",
    "ReguaQueueStuck",
    "regua_starts_skipped_total",
    "regua_hints_lost_total",
    "regua_dead_lettered_total",
    "regua_broker_reconnects_total",
    "regua_foreign_hints_total",
    "regua_messages_redirected",
    "regua_spans_total",
];

/// What minutes of Prometheus's own clock don't make happen, and why; promtool's tests of the rules do.
const BY_TESTS_OF_THE_RULES: [(&str, &str); 4] = [
    ("ReguaGatePaused", "it takes twenty minutes"),
    ("ReguaDoubtGrows", "receipts settle most of what hangs"),
    ("ReguaEverythingStopped", "the ledger doesn't go back in time"),
    ("ReguaMetricsMissing", "every process can read what it exposes"),
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops").join(name)
}

/// An expression and where it stands.
struct Asked {
    place: String,
    expression: String,
}

impl Asked {
    /// Whether it is this alert, or its expression has this part.
    fn is_about(&self, part: &str) -> bool {
        self.place == part || self.expression.contains(part)
    }
}

/// Every expression of a dashboard: panels, variables, annotations.
fn of_dashboard(name: &str) -> Vec<Asked> {
    let text = std::fs::read_to_string(file(&format!("grafana/dashboards/{name}.json"))).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let asked = |what: &Value, expression: &Value| Asked {
        place: format!("{name}: {}", what.as_str().unwrap()),
        expression: expression.as_str().unwrap().to_owned(),
    };
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| asked(&panel["title"], &target["expr"]))
    });
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter().map(|one| asked(&one["name"], &one["expr"]));
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter().filter(|variable| variable["type"] == "query");
    let variables = variables.map(|variable| {
        let query = asked(&variable["name"], &variable["query"]["query"]);
        let values = query.expression.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (metric, label) = values.and_then(|values| values.split_once(", ")).unwrap();
        Asked { expression: format!("count by ({label}) ({metric})"), ..query }
    });
    targets.chain(annotations).chain(variables).collect()
}

/// A console whose ledger and broker aren't there.
fn out_of_reach(house: &House) -> Service {
    let mut environment = house.cli.environment.clone();
    environment.insert("REGUA_DATABASE_URL".into(), "postgres://regua@127.0.0.1:1/regua".into());
    environment.insert("REGUA_BROKER_URL".into(), "amqp://127.0.0.1:1/%2f".into());
    Service::spawn(Program::Console, &[], &environment, &house.cli.folder)
}

/// Who watches a day.
struct Watch(Prometheus);

impl Watch {
    /// Begins to scrape these jobs, with all our rules.
    fn begin(targets: &[(&str, &str)]) -> Self {
        let rules = ["prometheus/rules/alerts.yml", "prometheus/rules/regua.yml"].map(file);
        Self(Prometheus::start(targets, &rules, SCRAPE_EVERY).unwrap())
    }

    /// Waits until an expression finds something that isn't zero.
    async fn seen(&self, expression: &str) {
        let query = async || self.found(expression).then_some(());
        within(SEEN_WITHIN, expression, query).await;
    }

    fn found(&self, expression: &str) -> bool {
        let samples = tokio::task::block_in_place(|| self.0.query(expression)).unwrap();
        samples.iter().any(|(_, value)| *value != 0.0 && !value.is_nan())
    }

    /// Panics unless every expression that is of this day found something.
    fn every_expression_found_something(&self, is_of_this_day: impl Fn(&Asked) -> bool) {
        let rules = self.0.rules().unwrap().into_iter();
        let mut asked: Vec<Asked> = rules.map(|(place, expression)| Asked { place, expression }).collect();
        asked.extend(["operacao", "entrega", "sistema"].into_iter().flat_map(of_dashboard));
        for part in OVER_RABBITMQ.into_iter().chain(BY_TESTS_OF_THE_RULES.map(|(part, _)| part)) {
            assert!(asked.iter().any(|one| one.is_about(part)), "nothing asks for {part} any more");
        }
        let variables =
            [("$__rate_interval", "4s"), ("$__range", "5m"), ("$channel", ".*"), ("$integration", ".*"), ("$job", ".*")];
        let empty: Vec<String> = asked
            .iter()
            .filter(|one| is_of_this_day(one))
            .filter(|one| {
                let filled = variables.iter().fold(one.expression.clone(), |text, (name, value)| text.replace(name, value));
                !self.found(&format!("max_over_time(({filled})[5m:1s])"))
            })
            .map(|one| format!("{}: {}", one.place, one.expression))
            .collect();
        assert!(empty.is_empty(), "nothing, or only zeros:\n{}", empty.join("\n"));
    }
}

/// A small provider, its one process, and who watches it.
struct Day {
    house: House,
    up: Service,
    _lost: Service,
    watch: Watch,
}

impl Day {
    async fn begin() -> Self {
        let [opa, ixc] = ["OPA", "IXC"].map(|product| format!("token_env = \"REGUA_DEMO_{product}_TOKEN\""));
        let replace = [
            (opa.clone(), format!("{opa}\nlook_up = true\nwebhook_secret_env = \"HOOK\"")),
            (ixc.clone(), format!("{ixc}\nwebhook_secret_env = \"HOOK\"")),
            ("per_second = 200".into(), "per_second = 20".into()),
            ("recipients_per_24h = 100000".into(), BUDGET.into()),
            ("above = 100000".into(), "above = 2".into()),
        ];
        let mut house = House::build(1200, &replace).await;
        house.cli = house.cli.with("HOOK", SECRET.1);
        let mut up = house.up().await;
        let address = up.address().await;
        // One role doesn't answer, others aren't known.
        let mut lost = out_of_reach(&house);
        let lost_address = lost.address().await;
        let targets = [("scheduler", address.as_str()), ("dispatcher", "127.0.0.1:1"), ("console", &lost_address)];
        let watch = Watch::begin(&targets);
        let hears = async || (up.post(OPA, SECRET, &json!({})).await.0 == 200).then_some(());
        until("the console knows its secrets", hears).await;
        let statuses = ["sent", "delivered"];
        let webhook = json!({ "url": format!("http://{address}{OPA}"), "header": SECRET.0, "value": SECRET.1, "statuses": statuses,
                              "delay_ms": 200, "twice": 0.1 });
        house.opa.set_webhook(Some(serde_json::from_value(webhook).unwrap()));
        Self { house, up, _lost: lost, watch }
    }

    async fn seen(&self, expression: &str) {
        self.watch.seen(expression).await;
    }

    /// From here on `count` requests to send end so, or all.
    fn sending(&self, kind: FaultKind, count: Option<u64>, after_accept: bool) {
        let fault = Fault { count, after_accept, path: Some("/template/send".into()), ..Fault::always(kind) };
        self.house.opa.faults(vec![fault]).unwrap();
    }

    async fn regua(&self, words: &[&str]) {
        self.house.cli.run(words).await.good();
    }

    /// Moves the ledger's clock.
    async fn pass(&self, minutes: i64) {
        self.house.database().pass(TimeDelta::minutes(minutes)).await;
    }
}

/// A run that waits for a person; what Opa! Suite refuses, loses and puts off; webhooks of friends and strangers.
async fn morning(day: &mut Day) {
    day.house.run("update-collections").await;
    day.seen("regua_runs_waiting_approval").await;
    let status = day.house.cli.run(&["status", "--json"]).await.good().json();
    day.regua(&["runs", "approve", status["unapproved"][0]["run"].as_str().unwrap(), "--why", "the first one"]).await;
    // Refused by its answer, and sent all the same, as its receipt will tell.
    let body = json!({ "status": "error", "code": 400, "data": { "message": "(#131026) Message undeliverable" } });
    let undeliverable = FaultKind::Status { code: 400, body: Some(body), retry_after: None };
    day.sending(undeliverable.clone(), Some(1), true);
    day.regua(&["run", "send-queued-messages"]).await;
    day.seen("regua_receipts_contradicting_total").await;
    day.sending(undeliverable, Some(2), false);
    day.sending(FaultKind::CloseWithoutAnswer, Some(2), false);
    day.sending(FaultKind::ResetBeforeReading, Some(2), false);
    day.sending(FaultKind::Status { code: 503, body: None, retry_after: Some("12".into()) }, Some(1), false);
    let strangers = ("x-regua-secret", "of-yesterday");
    for _ in 0..8 {
        day.up.post(OPA, strangers, &json!({})).await;
    }
    let due = day.house.database().texts("SELECT subject FROM messages WHERE state IN ('held', 'scheduled') LIMIT 1").await;
    let paid = json!([{ "invoice": due[0][0], "event": "paid" }]);
    assert_eq!(day.up.post("/webhooks/erp/IXC%20Provedor", SECRET, &paid).await.0, 200);
    day.seen("regua_channel_gate{state=\"paused\"}").await;
}

/// Requests that nobody answers, until their leases end; a token that is refused; a pause by a person, while the ERP is away.
async fn noon(day: &mut Day) {
    day.pass(1).await;
    day.sending(FaultKind::HangAfterAccept, None, false);
    day.seen("regua_brake").await;
    day.pass(2).await;
    day.seen("regua_rescued_total").await;
    day.house.opa.clear_faults();
    // The breaker's rest, then its probe, whose answer opens the gate.
    day.seen("regua_channel_gate{state=\"probing\"}").await;
    day.pass(2).await;
    day.seen("rate(regua_attempts_total{outcome=\"accepted\"}[3s])").await;

    day.sending(FaultKind::Status { code: 401, body: None, retry_after: None }, None, false);
    day.seen("regua_stops{scope=\"integration\"}").await;
    day.house.opa.clear_faults();
    day.regua(&["resume", "--integration", "Opa! Suite", "--why", "a new token"]).await;
    day.regua(&["pause", "--channel", "Cobrança", "--why", "lunch"]).await;
    day.house.ixc.faults(vec![Fault::always(FaultKind::Status { code: 500, body: None, retry_after: None })]).unwrap();
    day.pass(6 * 60 + 7).await;
    day.seen("ALERTS{alertname=\"ReguaSourceStale\"}").await;
    day.regua(&["resume", "--channel", "Cobrança", "--why", "lunch is over"]).await;
}

/// A day on which nobody planned in time and the ERP is away at first, with a smaller budget and no task that sends; and one on which our own
/// ledger refuses what runs write.
async fn next_days(day: &mut Day) {
    let file = std::fs::read_to_string(&day.house.cli.environment["REGUA_CONFIG"]).unwrap();
    let kind = "kind = \"send-queued-messages\"";
    let less = file.replace(kind, &format!("enabled = false\n{kind}")).replace(BUDGET, "recipients_per_24h = 30");
    day.regua(&["config", "apply", &day.house.write("less.toml", less.as_bytes())]).await;
    day.seen("regua_business_recipients / regua_business_recipients_limit > 0.9").await;
    day.pass(17 * 60).await;
    day.seen("regua_task_fires_missed_total").await;
    day.seen("regua_oldest_run_age_seconds > 3600").await;
    day.seen("regua_expired_total").await;
    day.house.ixc.clear_faults();
    // The backoff of the run.
    day.pass(15).await;
    day.seen("regua_queue_parked").await;

    let database = day.house.database();
    let refuse = async |name: &str, when: &str| {
        database
            .execute(&format!("CREATE TRIGGER {name} BEFORE {when} ON messages BEGIN SELECT RAISE(ABORT, 'away'); END"))
            .await;
    };
    refuse("inserted", "INSERT").await;
    refuse("changed", "UPDATE").await;
    day.pass(24 * 60).await;
    let failed = "runs WHERE state = 'failed'";
    within(SEEN_WITHIN, "the run has failed", async || {
        database.pass(TimeDelta::seconds(5)).await;
        (database.count(failed).await > 0).then_some(())
    })
    .await;
    day.seen("regua_runs_total{outcome=\"failed\"}").await;
    let untrue = "UPDATE runs SET evaluated = evaluated + 1, held = held + 1 WHERE evaluated > 0 AND state = 'done'";
    database.execute(untrue).await;
    day.seen("regua_duty_failing").await;
    // What is asked of the whole time below looks at whole seconds.
    day.seen("ALERTS{alertname=\"ReguaConservationBroken\"} offset 2s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_of_panels_variables_and_alerts_finds_what_happened() {
    let mut day = Day::begin().await;
    morning(&mut day).await;
    noon(&mut day).await;
    next_days(&mut day).await;
    let elsewhere = |one: &Asked| {
        let mut parts = BY_TESTS_OF_THE_RULES.iter().map(|(part, _)| part).chain(&OVER_RABBITMQ);
        parts.any(|part| one.is_about(part))
    };
    day.watch.every_expression_found_something(|one| !elsewhere(one));
}

/// A pilot whose messages go to one phone, and whose spans no collector takes.
async fn pilot() -> World {
    let pilot = "[pilot]\nredirect_to = \"+5549900000001\"\n\n[approval]";
    let options = WorldOptions::customers(600).replacing("per_second = 200", "per_second = 20").replacing("[approval]", pilot);
    let mut world = World::set(options).await;
    for (name, value) in [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_BSP_SCHEDULE_DELAY", "200")] {
        world.environment.insert(name.into(), value.into());
    }
    world
}

/// A console to whom the ledger's clock is three seconds ahead, as to one on a host whose clock is behind: there is one clock for all of us here.
async fn behind(world: &World) -> Service {
    let ahead = "SELECT pg_catalog.clock_timestamp() + INTERVAL '3 seconds'";
    let clock = format!("CREATE FUNCTION clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE SQL AS $$ {ahead} $$");
    world.database.execute(&clock).await;
    let mut environment = world.environment.clone();
    // Our schema is looked into first only where the other one is named.
    environment.insert("REGUA_DATABASE_URL".into(), format!("{}%2Cpg_catalog", world.database.url));
    Service::spawn(Program::Console, &[], &environment, &world.folder())
}

/// A dispatcher that hangs while messages are due: the hints that it holds are taken for lost, and all that it has hints of is paid before it goes on.
async fn hanging(world: &World, crew: &Crew, watch: &Watch) {
    world.run("update-collections").await;
    crew.dispatchers[0].freeze();
    world.run("send-queued-messages").await;
    until("hints are published", async || (world.in_state("queued").await > 10).then_some(())).await;
    world.database.pass(TimeDelta::minutes(6)).await;
    watch.seen("increase(regua_hints_lost_total[30m]) > 10").await;
    watch.seen("ALERTS{alertname=\"ReguaQueueStuck\"}").await;
    until("other hints are published", async || (world.in_state("queued").await > 10).then_some(())).await;
    let hinted = world.database.texts("SELECT subject FROM messages WHERE state IN ('queued', 'scheduled')").await;
    let invoices: Vec<u64> = hinted.iter().map(|row| row[0].parse().unwrap()).collect();
    world.ixc.pay(&invoices, Payment::Full).unwrap();
    world.run("update-collections").await;
    crew.dispatchers[0].thaw();
    watch.seen("regua_starts_skipped_total").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_about_several_processes_their_broker_and_a_pilot_finds_what_happened() {
    let world = pilot().await;
    let mut crew = world.crew(1).await;
    let mut console = behind(&world).await;
    let addresses = [crew.scheduler.address().await, crew.dispatchers[0].address().await, console.address().await];
    let watch = Watch::begin(&[("scheduler", &addresses[0]), ("dispatcher", &addresses[1]), ("console", &addresses[2])]);
    watch.seen("regua_ledger_skew_seconds > 1").await;
    hanging(&world, &crew, &watch).await;
    watch.seen("regua_messages_redirected").await;
    // Bytes that nobody can read, and a hint of nobody's.
    world.queues.publish("hints", "hint", Some(1), None, b"\xff\x00 no JSON").await;
    let stranger = format!("{{\"message\":\"{}\"}}", uuid::Uuid::now_v7());
    world.queues.publish("hints", "hint", Some(1), None, stranger.as_bytes()).await;
    watch.seen("regua_dead_lettered_total").await;
    watch.seen("regua_foreign_hints_total").await;
    world.queues.delete("regua.hints").await;
    watch.seen("increase(regua_broker_reconnects_total[5m] offset 2s)").await;
    watch.every_expression_found_something(|one| OVER_RABBITMQ.iter().any(|part| one.is_about(part)));
}
