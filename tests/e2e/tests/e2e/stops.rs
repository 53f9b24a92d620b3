//! Stops by answers: what they hold back, and the check that lifts them when their cause is gone.

use chrono::TimeDelta;
use regua_e2e::{Database, House, Service, until};
use regua_simulators::opa::catalogue::{CHANNEL_WHATSAPP, TEMPLATE_OVERDUE};
use regua_simulators::{Fault, FaultKind};

const OPEN_STOPS: &str = "stops WHERE lifted_at IS NULL";
/// What may still be sent.
const WAITING: &str = "state IN ('held', 'scheduled', 'queued')";

/// A house whose messages are decided, and its `regua up`.
async fn decided() -> (House, Service) {
    let house = House::build(300, &[]).await;
    let up = house.up().await;
    house.run("update-collections").await;
    (house, up)
}

async fn nothing_on_the_wire(database: &Database) {
    until("nothing is on the wire", async || (database.count("messages WHERE state = 'sending'").await == 0).then_some(())).await;
}

/// Lets the stop's first check find its cause still there, then puts `removed` back and lets the next one lift it. Those that met the stop are
/// sent a minute later at the latest.
async fn lifted_when_back(house: &House, up: &Service, (removed, stop): (&str, &str)) {
    let database = house.database();
    let attempts = database.count("attempts").await;
    database.pass(TimeDelta::seconds(61)).await;
    until("the check finds it still there", async || up.log().contains("stop.checked: it stays").then_some(())).await;
    assert_eq!(database.count(OPEN_STOPS).await, 1);
    assert_eq!(database.count("attempts").await, attempts, "a check sends nothing, and nobody else does");
    house.opa.set_removed(removed, false);
    database.pass(TimeDelta::seconds(121)).await;
    until("the next one lifts it", async || (database.count(OPEN_STOPS).await == 0).then_some(())).await;
    until("and says so", async || up.log().contains("stop.lifted").then_some(())).await;
    let audit = house.cli.run(&["audit", "--json", "--action", "stop_lifted"]).await.good().json();
    assert_eq!((&audit["by"], &audit["target"]), (&"check".into(), &stop.into()), "{audit}");
    database.pass(TimeDelta::seconds(61)).await;
    house.settled().await;
    assert_eq!(database.count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
    let stats = house.opa.stats();
    assert_eq!(stats.accepted, stats.distinct_messages);
}

/// Slots that lie behind what was taken already when the stop was raised, up to its end.
fn slots_of_the_stop() -> String {
    "attempts a JOIN messages m ON m.id = a.message_id JOIN stops s ON a.slot_at > s.since_at + 200000 AND a.slot_at < s.lifted_at".into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_opa_suite_does_not_have_sends_nothing_until_a_check_finds_it_again() {
    let (house, mut up) = decided().await;
    let database = house.database();
    house.opa.set_removed(CHANNEL_WHATSAPP, true);
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    until("the stop is raised", async || (database.count(OPEN_STOPS).await == 1).then_some(())).await;
    nothing_on_the_wire(&database).await;
    let told = until("/readyz tells", async || up.problem("stops").await).await;
    assert!(told.contains("channel Cobrança") && told.contains("lifted when its cause is gone"), "{told}");
    assert!(house.opa.stats().rejected["unknown_channel"] <= 2 * 32, "what had its slot already: {:?}", house.opa.stats());
    let waiting = database.count(&format!("messages WHERE {WAITING}")).await;
    assert!(waiting > 100, "{waiting}");
    lifted_when_back(&house, &up, (CHANNEL_WHATSAPP, "channel Cobrança")).await;
    assert_eq!(database.count(&slots_of_the_stop()).await, 0, "nothing was sent meanwhile");
    assert!(house.opa.stats().accepted > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_opa_suite_does_not_have_stops_its_messages_alone_until_a_check_finds_it_again() {
    let (house, mut up) = decided().await;
    let database = house.database();
    house.opa.set_removed(TEMPLATE_OVERDUE, true);
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    until("the stop is raised", async || (database.count(OPEN_STOPS).await == 1).then_some(())).await;
    let told = until("/readyz tells", async || up.problem("stops").await).await;
    assert!(told.contains(&format!("template {TEMPLATE_OVERDUE}")) && told.contains("lifted when its cause is gone"), "{told}");
    let others = format!("messages WHERE stage <> 'overdue' AND {WAITING}");
    until("the others all go", async || (database.count(&others).await == 0).then_some(())).await;
    nothing_on_the_wire(&database).await;
    let overdue = database.count(&format!("messages WHERE stage = 'overdue' AND {WAITING}")).await;
    assert!(overdue > 20 && house.opa.stats().accepted > 20, "{overdue}");
    assert_eq!(database.count("messages WHERE stage = 'overdue' AND state = 'sent'").await, 0);
    lifted_when_back(&house, &up, (TEMPLATE_OVERDUE, &format!("template {TEMPLATE_OVERDUE}"))).await;
    let meanwhile = format!("{} AND m.stage = 'overdue'", slots_of_the_stop());
    assert_eq!(database.count(&meanwhile).await, 0, "none of its messages was sent meanwhile");
    assert!(database.count("messages WHERE stage = 'overdue' AND state = 'sent'").await > 20);
}

/// A ledger that takes everything but what this statement of a trigger is about.
async fn refuse(database: &Database, statement: &str) {
    database.execute(&format!("CREATE TRIGGER away BEFORE {statement} BEGIN SELECT RAISE(ABORT, 'away'); END")).await;
}

/// Waits until Opa! Suite's answer couldn't be noted and has been tried again many times; how many requests it has answered by then.
async fn not_noted(house: &House, up: &Service) -> u64 {
    let tried = async |again: &str| until("it is tried again", async || up.log().contains(again).then_some(())).await;
    tried("effect.not_noted").await;
    nothing_on_the_wire(&house.database()).await;
    let answered = house.opa.stats().faults["status"];
    assert!(answered <= 32, "no more than what was in flight: {answered}");
    tried("\"tries\":8").await;
    assert_eq!(house.opa.stats().faults["status"], answered, "nothing is sent meanwhile");
    answered
}

fn answer(code: u16, retry_after: Option<&str>) -> Vec<Fault> {
    let kind = FaultKind::Status { code, body: None, retry_after: retry_after.map(Into::into) };
    vec![Fault { path: Some("/template/send".into()), ..Fault::always(kind) }]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_the_ledger_does_not_take_holds_this_dispatcher_back_until_it_does() {
    let (house, up) = decided().await;
    let database = house.database();
    refuse(&database, "INSERT ON stops").await;
    house.opa.faults(answer(401, None)).unwrap();
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    not_noted(&house, &up).await;
    assert_eq!(database.count(OPEN_STOPS).await, 0);
    database.execute("DROP TRIGGER away").await;
    until("the stop is raised", async || (database.count(OPEN_STOPS).await == 1).then_some(())).await;
    house.opa.clear_faults();
    database.pass(TimeDelta::seconds(61)).await;
    until("a check lifts it", async || (database.count(OPEN_STOPS).await == 0).then_some(())).await;
    database.pass(TimeDelta::seconds(61)).await;
    house.settled().await;
    assert_eq!(database.count("stops").await, 1, "it is raised once, and not again when a check has lifted it");
    assert_eq!(database.count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_the_ledger_does_not_take_holds_this_dispatcher_back_until_it_does() {
    let (house, up) = decided().await;
    let database = house.database();
    refuse(&database, "UPDATE ON gates WHEN NEW.pause_reason = 'throttled'").await;
    house.opa.faults(answer(429, Some("600"))).unwrap();
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    let answered = not_noted(&house, &up).await;
    database.execute("DROP TRIGGER away").await;
    let paused = "gates WHERE pause_reason = 'throttled'";
    until("the channel is paused", async || (database.count(paused).await == 1).then_some(())).await;
    assert_eq!(house.opa.stats().faults["status"], answered);
    house.opa.clear_faults();
    database.pass(TimeDelta::seconds(606)).await;
    house.settled().await;
    assert_eq!(database.count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
}
