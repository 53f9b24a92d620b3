//! Failure schedules of processes, broker and files, played with what they need (F1, F2, F3, F8, F16); the others stand with their rules and in
//! the ledger's conformance suite. `ops/docs/guarantees.md` names them all.

use chrono::TimeDelta;
use regua_domain::ids::MessageId;
use regua_e2e::{House, Program, World, WorldOptions, until};
use regua_simulators::{Fault, FaultKind};
use std::collections::BTreeSet;
use std::time::Duration;

/// A service that is told to end takes no longer.
const END_MAX: Duration = Duration::from_secs(25);
/// What is waited for after a doubt before anybody may have it sent again, and more.
const GRACE: TimeDelta = TimeDelta::minutes(12);

/// Results go to Opa! Suite's sends, not to the lists that others ask for.
fn sends(kind: FaultKind) -> Fault {
    Fault { path: Some("/template/send".into()), ..Fault::always(kind) }
}

async fn decided_and_released(world: &World) {
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
}

async fn ids_in_doubt(world: &World) -> BTreeSet<MessageId> {
    let rows = world.database.texts("SELECT CAST(id AS TEXT) FROM messages WHERE state = 'in_doubt'").await;
    rows.iter().map(|row| row[0].parse().unwrap()).collect()
}

async fn nothing_is_in_doubt(world: &World) {
    until("no doubt is left", async || (world.in_state("in_doubt").await == 0).then_some(())).await;
}

/// Opa! Suite has taken them. Their dispatcher finds no ledger for its results until t70; the scheduler finds it at t61 and rescues.
#[tokio::test(flavor = "multi_thread")]
async fn f1_results_that_find_no_ledger_for_longer_than_their_lease_settle_their_doubt() {
    let world = World::set(WorldOptions::customers(150)).await;
    let _crew = world.crew(1).await;
    let away = "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN RAISE EXCEPTION ''away'' USING ERRCODE = ''57P01''; END';
                CREATE TRIGGER away BEFORE UPDATE ON attempts FOR EACH STATEMENT EXECUTE FUNCTION away()";
    world.database.execute(away).await;
    decided_and_released(&world).await;
    world.accepted(10).await;
    world.database.pass(TimeDelta::seconds(61)).await;
    until("they are rescued", async || (world.in_state("in_doubt").await >= 10).then_some(())).await;
    let one = ids_in_doubt(&world).await.pop_first().unwrap().to_string();
    let resend = ["in-doubt", "resolve", &one, "--resend", "--why", "it may not have arrived"];
    world.cli().run(&resend).await.refused(1, "may still report");
    world.database.execute("DROP TRIGGER away ON attempts").await;
    nothing_is_in_doubt(&world).await;
    world.settled().await;
    world.conserved().await;
    assert!(world.in_state("sent").await > 50);
}

/// Suspended between the start and its request, rescued, resent by a person through another dispatcher; then it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn f2c_a_dispatcher_that_wakes_after_its_messages_were_resent_sends_none_of_them() {
    let world = World::set(WorldOptions::customers(500)).await;
    let mut crew = world.crew(1).await;
    decided_and_released(&world).await;
    let mut accepted = 0;
    let (asleep, not_begun) = loop {
        accepted = world.opa.stats().accepted.max(accepted) + 20;
        world.accepted(accepted).await;
        crew.dispatchers[0].freeze();
        // Whose slot is this far away had not been looked at for the last time: of one that had, nobody can say whether its request leaves when
        // it wakes (guarantees.md, "What is not guaranteed").
        let now = world.ledger.now().await.unwrap().timestamp_micros();
        let not_begun =
            format!("SELECT CAST(message_id AS TEXT) FROM attempts WHERE outcome IS NULL AND slot_at > {now} + 20000");
        let not_begun = world.database.texts(&not_begun).await;
        if !not_begun.is_empty() {
            let not_begun: BTreeSet<MessageId> = not_begun.iter().map(|row| row[0].parse().unwrap()).collect();
            break (crew.dispatchers.remove(0), not_begun);
        }
        crew.dispatchers[0].thaw();
    };
    world.database.pass(TimeDelta::seconds(61)).await;
    until("they are rescued", async || (world.in_state("sending").await == 0).then_some(())).await;
    world.database.pass(GRACE).await;
    // Whoever has them sent again has looked at Opa! Suite: these aren't there.
    let there: BTreeSet<_> = world.requests().into_iter().filter_map(|request| request.message).collect();
    assert!(not_begun.is_subset(&ids_in_doubt(&world).await) && not_begun.is_disjoint(&there));
    for id in &not_begun {
        let id = id.to_string();
        world.cli().run(&["in-doubt", "resolve", &id, "--resend", "--why", "it isn't there"]).await.good();
    }
    let mut other = world.spawn(Program::Dispatcher);
    other.ready().await;
    world.settled().await;
    let given_back = "attempts WHERE outcome = 'given_back'";
    let before = world.database.count(given_back).await;
    asleep.thaw();
    let open = "attempts WHERE outcome IS NULL";
    until("it has reported", async || (world.database.count(open).await == 0).then_some(())).await;
    assert!(world.database.count(given_back).await > before, "what it had not begun");
    // Asleep for longer than a request may take, it finds the time over before it reads the answer: doubt about what had reached Opa! Suite stays.
    assert!(not_begun.is_disjoint(&ids_in_doubt(&world).await));
    let requests = world.requests();
    let mut sent = 0;
    for id in not_begun {
        // Its person may have had enough for a day meanwhile: then it ends unsent.
        let is_sent = world.database.count(&format!("messages WHERE id = '{id}' AND state = 'sent'")).await;
        let taken = requests.iter().filter(|request| request.message == Some(id)).count();
        assert_eq!(i64::try_from(taken).unwrap(), is_sent, "{id}");
        sent += is_sent;
    }
    assert!(sent > 0);
    world.conserved().await;
}

/// Five a second for the 15 s until the first time-out would be 75 in doubt, or all of a dispatcher's 32 places: it stops after 2 s of silence.
#[tokio::test(flavor = "multi_thread")]
async fn f3_a_provider_that_hangs_leaves_less_in_doubt_than_rate_times_time_out() {
    let world = World::set(WorldOptions::customers(300).replacing("per_second = 200", "per_second = 5")).await;
    world.opa.faults(vec![sends(FaultKind::HangAfterAccept)]).unwrap();
    let _crew = world.crew(1).await;
    decided_and_released(&world).await;
    until("the first time is out", async || (world.in_state("in_doubt").await > 0).then_some(())).await;
    let begun = world.database.count("attempts WHERE outcome IS NULL OR outcome <> 'given_back'").await;
    assert!((4..20).contains(&begun), "{begun} were on the wire");
}

/// A backup of the night, a day of sending, and the backup is put back: the ledger knows nothing of that day.
#[tokio::test(flavor = "multi_thread")]
async fn f8_a_day_whose_ledger_was_restored_is_not_sent_again() {
    let house = House::build(200, &[]).await;
    let file = house.cli.folder.join("regua.db");
    let mut night = house.up().await;
    house.run("update-collections").await;
    night.terminate();
    assert_eq!(night.end(END_MAX).await, Some(0));
    let backup = std::fs::read(&file).unwrap();

    let mut day = house.up().await;
    house.run("send-queued-messages").await;
    house.settled().await;
    day.terminate();
    assert_eq!(day.end(END_MAX).await, Some(0));
    let sent = house.opa.stats().accepted;
    assert!(sent > 30, "{sent}");

    std::fs::write(&file, backup).unwrap();
    for leftover in ["regua.db-wal", "regua.db-shm"] {
        let leftover = house.cli.folder.join(leftover);
        if leftover.exists() {
            std::fs::remove_file(leftover).unwrap();
        }
    }
    house.cli.run(&["restored", "--lost-since", "2026-11-24T13:00:00Z"]).await.good();
    let _up = house.up().await;
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
    assert_eq!(house.opa.stats().accepted, sent, "nothing went out");
    let doubtful = house.database().count("messages WHERE state = 'in_doubt'").await;
    assert!(u64::try_from(doubtful).unwrap() >= sent, "{doubtful} wait for a person");
}

/// Throttled for ten minutes: what was hinted at is settled in the ledger. A hint that were held, or put back, would be in the queue when its
/// consumer is gone.
#[tokio::test(flavor = "multi_thread")]
async fn f16_a_channel_that_cannot_send_keeps_no_hint_from_the_broker() {
    let world = World::set(WorldOptions::customers(600)).await;
    let retry_after = Some("600".to_owned());
    world.opa.faults(vec![sends(FaultKind::Status { code: 429, body: None, retry_after })]).unwrap();
    let mut crew = world.crew(1).await;
    decided_and_released(&world).await;
    let paused = "gates WHERE pause_reason = 'throttled'";
    until("the channel is paused", async || (world.database.count(paused).await > 0).then_some(())).await;
    let in_hand = "messages WHERE state IN ('queued', 'sending')";
    until("no message waits for a hint", async || (world.database.count(in_hand).await == 0).then_some(())).await;
    // Told to end, it acks what it has settled and returns what it holds.
    crew.dispatchers[0].terminate();
    assert_eq!(crew.dispatchers[0].end(END_MAX).await, Some(0));
    until("its consumer is gone", async || (world.queues.consumers("regua.hints").await == 0).then_some(())).await;
    assert_eq!(world.queues.ready("regua.hints").await, 0);
    assert_eq!(world.database.count("attempts WHERE outcome IS NULL").await, 0);
    assert!(world.database.count("messages WHERE state IN ('held', 'scheduled')").await > 100, "they wait in the ledger");
}
