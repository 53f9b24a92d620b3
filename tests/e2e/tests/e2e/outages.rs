//! A provider that is away, slow or out of patience: what several dispatchers do about it together.

use chrono::TimeDelta;
use regua_e2e::{House, Service, World, WorldOptions, until};
use regua_simulators::{Fault, FaultKind};

/// A certain fault of what is sent.
fn sending(kind: FaultKind) -> Fault {
    Fault { path: Some("/template/send".into()), ..Fault::always(kind) }
}

fn status(code: u16, retry_after: Option<&str>) -> FaultKind {
    FaultKind::Status { code, body: None, retry_after: retry_after.map(Into::into) }
}

/// A column of the one gate that isn't as it was made.
async fn gate(world: &World, column: &str) -> Option<i64> {
    world.database.number(&format!("SELECT {column} FROM gates ORDER BY trips DESC, paused_until DESC NULLS LAST LIMIT 1")).await
}

/// F26 e: three dispatchers and a provider that fails: one request per rest over all of them, none before.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_away_all_dispatchers_together_send_one_request_per_rest() {
    let world = World::set(WorldOptions::customers(600)).await;
    let _crew = world.crew(3).await;
    world.run("update-collections").await;
    world.opa.faults(vec![sending(status(500, None))]).unwrap();
    world.run("send-queued-messages").await;
    until("the breaker opens", async || gate(&world, "trips").await.filter(|trips| *trips > 0)).await;
    let on_the_wire = "messages WHERE state = 'sending'";
    until("nothing is on the wire", async || (world.database.count(on_the_wire).await == 0).then_some(())).await;
    let struck = || world.opa.stats().faults["status"];
    let before = struck();
    assert!(before <= 96, "no more than was in flight: {before}");
    for (trips, rest_s) in [(2, 66), (3, 126), (4, 246)] {
        world.database.pass(TimeDelta::seconds(rest_s)).await;
        until("the probe fails", async || gate(&world, "trips").await.filter(|now| *now >= trips)).await;
        until("nothing is on the wire", async || (world.database.count(on_the_wire).await == 0).then_some(())).await;
        assert_eq!(struck() - before, u64::try_from(trips).unwrap() - 1, "one request per rest");
    }
    world.opa.clear_faults();
    world.database.pass(TimeDelta::seconds(486)).await;
    world.settled().await;
    assert_eq!(gate(&world, "trips").await, Some(0), "the probe that was answered closed the breaker");
    assert_eq!(
        world.in_state("in_doubt").await,
        i64::try_from(struck()).unwrap(),
        "each failure is one doubt, none is sent again"
    );
    world.conserved().await;
}

/// A house whose messages all wait for Opa! Suite, which refuses whatever is asked.
async fn refused() -> (House, Service) {
    let house = House::build(150, &[]).await;
    let up = house.up().await;
    house.run("update-collections").await;
    house.opa.faults(vec![Fault::always(status(401, None))]).unwrap();
    house.cli.run(&["run", "send-queued-messages"]).await.good();
    until("the stop is raised", async || (house.database().count(OPEN_STOPS).await == 1).then_some(())).await;
    (house, up)
}

const OPEN_STOPS: &str = "stops WHERE lifted_at IS NULL";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_stops_the_integration_until_a_check_finds_it_accepted() {
    let (house, mut up) = refused().await;
    let database = house.database();
    let told = until("/readyz tells", async || up.problem("stops").await).await;
    assert!(told.contains("integration Opa! Suite") && told.contains("lifted when its cause is gone"), "{told}");
    // The first check, after a minute: it is refused still.
    database.pass(TimeDelta::seconds(61)).await;
    until("it is checked", async || (database.count("stops WHERE checks = 1").await == 1).then_some(())).await;
    until("the check says so", async || up.log().contains("stop.checked").then_some(())).await;
    assert_eq!(database.count(OPEN_STOPS).await, 1);
    let status = house.cli.run(&["status"]).await.good().out;
    assert!(status.contains("STOPPED      integration Opa! Suite by answer since"), "{status}");
    house.opa.clear_faults();
    database.pass(TimeDelta::seconds(121)).await;
    until("the next one lifts it", async || (database.count(OPEN_STOPS).await == 0).then_some(())).await;
    until("and says so", async || up.log().contains("stop.lifted").then_some(())).await;
    for (line, value) in [("regua_stops", 0.0), ("regua_stops_raised_total", 1.0), ("regua_stops_lifted_total", 1.0)] {
        assert_eq!(up.metric(&format!("{line}{{scope=\"integration\"}}")).await, Some(value), "{line}");
    }
    database.pass(TimeDelta::seconds(61)).await;
    house.settled().await;
    assert_eq!(database.count("messages WHERE state IN ('failed', 'in_doubt')").await, 0);
    assert!(house.opa.stats().accepted > 20);
}

/// F17: an operator's pause holds from the next start on, in every process, and ends by itself if it was given an end.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_within_a_second_and_ends_when_it_was_said_to() {
    let world = World::set(WorldOptions::customers(1500)).await;
    let _crew = world.crew(2).await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.accepted(50).await;
    let until_at = (world.ledger.now().await.unwrap() + TimeDelta::minutes(20)).to_rfc3339();
    world.cli().run(&["pause", "--everything", "--until", &until_at, "--why", "a test"]).await.good();
    let paused_at = world.ledger.now().await.unwrap();
    world
        .cli()
        .run(&["pause", "--channel", "Cobrança", "--until", "2020-01-01T00:00:00Z", "--why", "x"])
        .await
        .refused(1, "has passed");
    until("nothing is on the wire", async || (world.in_state("sending").await == 0).then_some(())).await;
    let waiting = "messages WHERE state IN ('held', 'scheduled', 'queued')";
    assert!(world.database.count(waiting).await > 100, "it came in mid-send");
    let last = world.database.number("SELECT MAX(slot_at) FROM attempts").await.unwrap();
    let late = last - paused_at.timestamp_micros();
    assert!(late < 1_000_000, "the last slot was {late} µs after the pause");
    world.database.pass(TimeDelta::minutes(21)).await;
    world.settled().await;
    world.conserved().await;
}
