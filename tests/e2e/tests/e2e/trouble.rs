//! What only the other side can say never ends a process: it waits, tells, and goes on.

use regua_e2e::{Cli, House, Program, Service, until};
use regua_simulators::{Fault, FaultKind};

/// What was decided and isn't at its end.
const WAITING: &str = "messages WHERE state IN ('held', 'scheduled', 'queued', 'sending')";

/// A house whose day is decided, with nobody sending yet, and how many messages wait.
async fn decided(customers: u32) -> (House, i64) {
    let house = House::build(customers, &[]).await;
    let up = house.up().await;
    house.run("update-collections").await;
    drop(up);
    let waiting = house.database().count(WAITING).await;
    assert!(waiting > 20, "{waiting}");
    (house, waiting)
}

fn up(house: &House, cli: &Cli) -> Service {
    Service::spawn(Program::Regua, &["up"], &cli.environment, &house.cli.folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_token_stops_its_integration_alone_and_loses_nothing() {
    let (house, waiting) = decided(150).await;
    let mut tokenless = up(&house, &house.cli.clone().without("REGUA_DEMO_OPA_TOKEN"));
    tokenless.ready().await;
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    let told = until("it says so", async || tokenless.problem("integration Opa! Suite").await).await;
    assert!(told.contains("REGUA_DEMO_OPA_TOKEN"), "{told}");
    until("hints were published", async || (house.database().count("messages WHERE state = 'queued'").await > 0).then_some(()))
        .await;
    assert_eq!((house.opa.stats().accepted, house.database().count(WAITING).await), (0, waiting));
    tokenless.terminate();
    assert_eq!(tokenless.end(std::time::Duration::from_secs(25)).await, Some(0));
    let _up = house.up().await;
    house.settled().await;
    assert_eq!(house.database().count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
    assert!(house.opa.stats().accepted > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_stops_the_integration_with_an_alarm_and_the_messages_wait() {
    let (house, waiting) = decided(150).await;
    let mut refused = up(&house, &house.cli.clone().with("REGUA_DEMO_OPA_TOKEN", "of-yesterday"));
    refused.ready().await;
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    let stop = until("the stop is raised", async || {
        let status = house.cli.run(&["status", "--json"]).await.good().json();
        status["stops"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&stop["scope"], &stop["raised_by"]), (&"integration".into(), &"answer".into()), "{stop}");
    assert!(refused.log().contains("stop.raised"), "an alarm: {}", refused.log());
    let told = until("/readyz tells", async || refused.problem("stops").await).await;
    assert!(told.contains("integration") && told.contains("regua resume"), "{told}");
    let attempts = "SELECT CAST(MAX(attempts) AS INTEGER) FROM messages";
    until("nothing is on the wire", async || {
        (house.database().count("messages WHERE state = 'sending'").await == 0).then_some(())
    })
    .await;
    assert_eq!(house.database().count(WAITING).await, waiting, "every message waits");
    assert_eq!(house.database().number(attempts).await, Some(0), "and no attempt is used");
    refused.terminate();
    assert_eq!(refused.end(std::time::Duration::from_secs(25)).await, Some(0));
    let _up = house.up().await;
    house.cli.run(&["resume", "--integration", "Opa! Suite", "--why", "a new token"]).await.good();
    // Those that met the stop are looked at again after a minute.
    house.database().pass(chrono::TimeDelta::seconds(61)).await;
    house.settled().await;
    assert_eq!(house.database().count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_provider_is_waited_for_and_told_and_uses_nobody_up() {
    let (house, waiting) = decided(150).await;
    let open_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", open_port.local_addr().unwrap());
    drop(open_port);
    let mut away = up(&house, &house.cli.clone().with("REGUA_DEMO_OPA_URL", &nowhere));
    away.ready().await;
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    let told = until("/readyz tells", async || away.problem("provider Opa! Suite").await).await;
    assert!(told.contains("can't be reached"), "{told}");
    // An outage of a quarter of an hour, in which each rest is twice as long as the one before. An attempt is at its end when the channel rests
    // again.
    let ended = "attempts WHERE outcome IS NOT NULL";
    for rest_s in [66, 126, 246, 486] {
        until("nothing is on the wire", async || {
            (house.database().count("messages WHERE state = 'sending'").await == 0).then_some(())
        })
        .await;
        let before = house.database().count(ended).await;
        house.database().pass(chrono::TimeDelta::seconds(rest_s)).await;
        until("it tries again", async || (house.database().count(ended).await > before).then_some(())).await;
    }
    until("nothing is on the wire", async || {
        (house.database().count("messages WHERE state = 'sending'").await == 0).then_some(())
    })
    .await;
    assert_eq!(house.database().count(WAITING).await, waiting, "every message waits");
    away.terminate();
    assert_eq!(away.end(std::time::Duration::from_secs(25)).await, Some(0));
    let _up = house.up().await;
    house.database().pass(chrono::TimeDelta::minutes(16)).await;
    house.settled().await;
    assert_eq!(house.database().count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
    assert!(house.opa.stats().accepted > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_channel_waits_as_asked_and_sends_everything_once() {
    let (house, _) = decided(150).await;
    let throttled = FaultKind::Status { code: 429, body: None, retry_after: Some("20".into()) };
    house.opa.faults(vec![Fault { count: Some(3), ..Fault::always(throttled) }]).unwrap();
    let _up = house.up().await;
    house.run("send-queued-messages").await;
    let paused = "SELECT CAST((paused_until - next_free_at) / 1000000 AS INTEGER) FROM gates WHERE paused_until IS NOT NULL";
    let seconds = until("the channel is paused", async || house.database().number(paused).await).await;
    assert!((15..=30).contains(&seconds), "Retry-After and a little more: {seconds}");
    house.database().pass(chrono::TimeDelta::seconds(31)).await;
    house.settled().await;
    let stats = house.opa.stats();
    assert_eq!(stats.accepted, stats.distinct_messages);
    assert_eq!(house.database().count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_answers_that_prove_nothing_leave_doubt_that_only_a_person_ends() {
    let (house, _) = decided(150).await;
    let accepted_and_lost = |kind| Fault { count: Some(1), after_accept: true, ..Fault::always(kind) };
    let never_taken = |kind| Fault { count: Some(1), ..Fault::always(kind) };
    house
        .opa
        .faults(vec![
            accepted_and_lost(FaultKind::ResetAfterReading),
            never_taken(FaultKind::Status { code: 500, body: None, retry_after: None }),
            accepted_and_lost(FaultKind::Html200),
        ])
        .unwrap();
    let _up = house.up().await;
    house.run("send-queued-messages").await;
    house.settled().await;
    let database = house.database();
    let doubtful = database.texts("SELECT id FROM messages WHERE state = 'in_doubt' ORDER BY id").await;
    assert_eq!(doubtful.len(), 3);
    let stats = house.opa.stats();
    assert_eq!(stats.accepted, stats.distinct_messages, "doubt is never retried by itself");
    let [sent, resent, dropped] = [0, 1, 2].map(|at| doubtful[at][0].as_str());
    let resolve =
        async |id: &str, how: &str| house.cli.run(&["in-doubt", "resolve", id, how, "--why", "the customer said so"]).await;
    resolve(resent, "--resend").await.refused(1, "may still report");
    database.pass(chrono::TimeDelta::minutes(12)).await;
    for (id, how) in [(sent, "--sent"), (resent, "--resend"), (dropped, "--drop")] {
        resolve(id, how).await.good();
    }
    house.settled().await;
    let now_is = async |id: &str| database.texts(&format!("SELECT state FROM messages WHERE id = '{id}'")).await[0][0].clone();
    assert_eq!(
        (now_is(sent).await, now_is(resent).await, now_is(dropped).await),
        ("sent".into(), "sent".into(), "failed".into())
    );
    assert_eq!(house.cli.run(&["in-doubt", "list", "--json"]).await.good().out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_erp_is_waited_for_and_told_and_costs_the_run_no_try() {
    let house = House::build(100, &[]).await;
    house.ixc.faults(vec![Fault::always(FaultKind::Status { code: 502, body: None, retry_after: None })]).unwrap();
    let up = house.up().await;
    house.cli.run(&["run", "update-collections", "--no-wait"]).await.good();
    let database = house.database();
    until("the run says what it waits for", async || {
        let run = database.texts("SELECT note FROM runs WHERE state = 'planned'").await;
        run.first().filter(|row| row[0].contains("can't be read")).map(drop)
    })
    .await;
    assert_eq!(database.number("SELECT tries FROM runs").await, Some(0));
    assert_eq!(database.count("messages").await, 0, "nothing is decided from a mirror that isn't there");
    house.ixc.clear_faults();
    database.pass(chrono::TimeDelta::minutes(6)).await;
    until("the run is done", async || (database.count("runs WHERE state = 'done'").await == 1).then_some(())).await;
    assert!(database.count("messages").await > 20);
    drop(up);
}

/// F26a, of decisions: what the schema refuses is left out by name, and whatever stands beside it goes its way.
#[tokio::test(flavor = "multi_thread")]
async fn f26a_an_invoice_that_the_ledger_refuses_is_told_by_name_and_holds_up_no_other() {
    let (others, waiting) = decided(150).await;
    let first = "SELECT subject FROM messages WHERE state = 'held' ORDER BY due_on, subject LIMIT 1 OFFSET 7";
    let refused = others.database().texts(first).await[0][0].clone();
    let house = House::build(150, &[]).await;
    let up = house.up().await;
    let database = house.database();
    let refuse = format!(
        "CREATE TABLE refusals (refused INTEGER CONSTRAINT nothing_is_refused CHECK (refused = 0));
         CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.subject = '{refused}' BEGIN INSERT INTO refusals VALUES (1); END"
    );
    database.execute(&refuse).await;
    house.run("update-collections").await;
    assert_eq!(database.count(WAITING).await, waiting - 1);
    assert!(up.log().contains("evaluation.refused") && up.log().contains("nothing_is_refused"), "{}", up.log());
    let run = house.cli.run(&["runs", "--json"]).await.good();
    assert!(run.out.contains(&format!("invoice {refused}")), "{run:?}");
    house.run("send-queued-messages").await;
    house.settled().await;
    database.execute("DROP TRIGGER refuse").await;
    house.run("update-collections").await;
    assert_eq!(
        database.count(&format!("messages WHERE subject = '{refused}' AND reason IS NULL")).await,
        1,
        "the next run decides it"
    );
    let sums = "SELECT (SELECT SUM(evaluated) FROM runs) - (SELECT count(*) FROM messages)";
    assert_eq!(database.number(sums).await, Some(0), "the runs have added up what they wrote");
}
