//! A provider that is away, slow or out of patience: what several dispatchers do about it together.

use chrono::TimeDelta;
use regua_e2e::{World, WorldOptions, until};
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
