//! `regua up` on a SQLite file, and the command line beside it.

use regua_e2e::{House, Program, Service, own_postgres, until};
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use std::time::Duration;

/// What every program says that finds nothing to do.
const WHAT_NEXT: &str = "regua config apply FILE";
/// The connections that hold the lock of whoever has its broker inside, 7264112310.
const HOLDERS: &str = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 1 AND objid = 2969145014";
/// An ordinary end takes less.
const END_MAX: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_ledger_is_ready_idle_and_says_what_to_run_next() {
    let mut house = House::build(10, &[]).await;
    house.cli = house.cli.without("REGUA_CONFIG");
    let mut up = house.up().await;
    assert_eq!(up.get("/livez").await.unwrap().0, 200);
    assert!(up.log().contains(WHAT_NEXT), "{}", up.log());
    assert!(house.cli.run(&["status"]).await.good().out.contains(WHAT_NEXT));
    assert_eq!(house.cli.run(&["messages", "--json"]).await.good().out, "");
    up.terminate();
    assert_eq!(up.end(END_MAX).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_on_the_same_file_is_refused_and_the_first_goes_on() {
    let house = House::build(10, &[]).await;
    let mut first = house.up().await;
    let mut second = house.start();
    assert_eq!(second.end(END_MAX).await, Some(2));
    assert!(second.log().contains("another `regua up` already runs on"), "{}", second.log());
    first.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_up_with_its_broker_inside_stays_the_only_one_when_its_server_ended_the_connection() {
    let server = tokio::task::spawn_blocking(own_postgres).await.unwrap();
    let mut house = House::build(10, &[]).await;
    house.cli = house.cli.with("REGUA_DATABASE_URL", server.url());
    let mut up = house.up().await;
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    let holders =
        async |connection: &mut PgConnection| -> Vec<i32> { sqlx::query_scalar(HOLDERS).fetch_all(connection).await.unwrap() };
    let first = until("it holds the lock", async || Some(holders(&mut connection).await).filter(|pids| pids.len() == 1)).await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(first[0]).execute(&mut connection).await.unwrap();
    until("it holds the lock again", async || {
        let again = holders(&mut connection).await;
        (again.len() == 1 && again != first).then_some(())
    })
    .await;
    let mut second = house.start();
    assert_eq!(second.end(END_MAX).await, Some(2));
    assert!(second.log().contains("another process with REGUA_BROKER_URL=memory:"), "{}", second.log());
    up.ready().await;

    // Another one is faster.
    let mut other = PgConnection::connect(server.url()).await.unwrap();
    let taken = tokio::spawn(async move {
        sqlx::query("SELECT pg_advisory_lock(7264112310)").execute(&mut other).await.unwrap();
        other
    });
    until("the other waits for the lock", async || {
        let waits: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        (waits == 1).then_some(())
    })
    .await;
    let second_holder = holders(&mut connection).await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(second_holder[0]).execute(&mut connection).await.unwrap();
    let _other = taken.await.unwrap();
    // It looks every 5 s, asks six times, and drains.
    assert_eq!(up.end(2 * END_MAX).await, Some(2));
    assert!(up.log().contains("another process with REGUA_BROKER_URL=memory:"), "{}", up.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_works_while_up_holds_the_file_and_never_finds_it_locked() {
    let house = House::build(400, &[]).await;
    let up = house.up().await;
    house.run("update-collections").await;
    house.cli.run(&["run", "send-queued-messages", "--no-wait"]).await.good();
    let config = house.cli.environment["REGUA_CONFIG"].clone();
    // While it sends: reading and writing commands, several at once.
    let commands: [&[&str]; 8] = [
        &["status", "--json"],
        &["runs", "--json"],
        &["opt-out", "add", "11987654321"],
        &["pause", "--stage", "due_day", "--why", "a test"],
        &["config", "apply", &config],
        &["messages", "--state", "sent"],
        &["run", "update-collections"],
        &["opt-out", "list"],
    ];
    for pair in commands.chunks(2) {
        let (first, second) = tokio::join!(house.cli.run(pair[0]), house.cli.run(pair[1]));
        for done in [first, second] {
            assert_eq!(done.code, Some(0), "{done:?}");
            assert!(!done.err.contains("locked"), "{done:?}");
        }
    }
    let stops = house.cli.run(&["status", "--json"]).await.good().json()["stops"].clone();
    assert_eq!((&stops[0]["scope"], &stops[0]["target"]), (&"stage".into(), &"due_day".into()), "{stops}");
    house.cli.run(&["resume", "--stage", "due_day"]).await.good();
    assert_eq!(house.cli.run(&["status", "--json"]).await.good().json()["stops"], Value::Array(Vec::new()));
    assert!(house.cli.run(&["opt-out", "list"]).await.good().out.contains("1187654321"));
    // What the second evaluation brought back waits for the next release.
    house.run("send-queued-messages").await;
    house.settled().await;
    let stats = house.opa.stats();
    assert_eq!(stats.accepted, stats.distinct_messages);
    assert!(stats.accepted > 100 && !up.log().contains("database is locked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_paused_stage_waits_and_the_others_go() {
    let house = House::build(300, &[]).await;
    let _up = house.up().await;
    house.run("update-collections").await;
    house.cli.run(&["pause", "--stage", "due_day", "--why", "the text is wrong"]).await.good();
    house.run("send-queued-messages").await;
    let database = house.database();
    let others = "messages WHERE stage <> 'due_day' AND state IN ('held', 'scheduled', 'queued', 'sending')";
    until("the other stages are sent", async || (database.count(others).await == 0).then_some(())).await;
    assert_eq!(database.count("messages WHERE stage = 'due_day' AND state IN ('queued', 'sending', 'sent')").await, 0);
    assert!(database.count("messages WHERE stage = 'due_day' AND state = 'held'").await > 10);
    house.cli.run(&["resume", "--stage", "due_day"]).await.good();
    house.settled().await;
    assert!(database.count("messages WHERE stage = 'due_day' AND state = 'sent'").await > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_up_that_is_killed_in_mid_send_leaves_what_was_on_the_wire_in_doubt_and_the_next_goes_on() {
    let house = House::build(600, &[]).await;
    let mut up = house.up().await;
    house.run("update-collections").await;
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    until("it sends", async || (house.opa.stats().accepted > 60).then_some(())).await;
    up.kill();
    let next = house.up().await;
    house.settled().await;
    let database = house.database();
    assert!(database.count("messages WHERE state = 'in_doubt'").await <= 32, "at most the in-flight cap");
    let stats = house.opa.stats();
    assert_eq!(stats.accepted, stats.distinct_messages, "nothing went out twice");
    let at_provider: std::collections::BTreeSet<_> = house.requests().into_iter().filter_map(|request| request.message).collect();
    for sent in database.texts("SELECT id FROM messages WHERE state = 'sent'").await {
        assert!(at_provider.contains(&sent[0].parse().unwrap()), "{} counts as sent", sent[0]);
    }
    drop(next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_at_the_start_with_its_line() {
    let house = House::build(1, &[("days = -3".into(), "days = \"three\"".into())]).await;
    let text = std::fs::read_to_string(&house.cli.environment["REGUA_CONFIG"]).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("days = \"three\"")).unwrap();
    let mut up = house.start();
    assert_eq!(up.end(END_MAX).await, Some(2));
    assert!(up.log().contains(&format!("regua.toml:{line}")), "{}", up.log());
    let config = house.cli.environment["REGUA_CONFIG"].clone();
    house.cli.run(&["config", "check", &config]).await.refused(2, &format!("regua.toml:{line}"));
    house.cli.run(&["config", "apply", &config]).await.refused(2, &format!("regua.toml:{line}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_variable_is_refused_by_name() {
    let house = House::build(1, &[]).await;
    for (name, value) in [("REGUA_SHUTDOWN_GRACE_S", "soon"), ("REGUA_TIMEZONE", "Brasilia"), ("REGUA_DATABASE_URL", "mysql://x")]
    {
        let cli = house.cli.clone().with(name, value);
        let mut up = Service::spawn(Program::Regua, &["up"], &cli.environment, &cli.folder);
        assert_eq!(up.end(END_MAX).await, Some(2), "{name}");
        assert!(up.log().contains(name), "{}", up.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn separate_programs_refuse_what_only_one_process_can_use_and_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let base: BTreeMap<String, String> = [("REGUA_HTTP_ADDR".to_owned(), "127.0.0.1:0".to_owned())].into();
    for program in [Program::Scheduler, Program::BillingEvaluator, Program::Dispatcher, Program::Console] {
        let mut service = Service::spawn(program, &[], &base, folder.path());
        assert_eq!(service.end(END_MAX).await, Some(2));
        let log = service.log();
        for part in ["REGUA_DATABASE_URL", "sqlite", "REGUA_BROKER_URL", "memory:", "postgres://", "amqp://"] {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
}
