//! SIGTERM: what is on the wire is drained, what was not begun is given back, nobody is in doubt.

use regua_e2e::{Program, World, WorldOptions};
use std::time::{Duration, Instant};

/// REGUA_SHUTDOWN_GRACE_S by default.
const GRACE: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn f2b_a_dispatcher_told_to_end_in_mid_send_leaves_no_doubt_and_its_messages_to_the_others() {
    let world = World::set(WorldOptions::customers(1200)).await;
    let mut crew = world.crew(3).await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.accepted(150).await;
    let mut leaving = crew.dispatchers.remove(0);
    leaving.terminate();
    let asked = Instant::now();
    assert_eq!(leaving.end(GRACE).await, Some(0));
    println!("ended within {:?}", asked.elapsed());
    let left_behind = world.opa.stats().accepted;
    world.settled().await;
    assert!(world.opa.stats().accepted > left_behind, "there was work left when it ended");
    assert_eq!(world.in_state("in_doubt").await, 0);
    assert_eq!(world.database.count("attempts WHERE outcome IS NULL").await, 0, "every attempt has its end");
    world.conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_crew_told_to_end_in_mid_day_goes_on_where_it_was() {
    let world = World::set(WorldOptions::customers(900)).await;
    let mut crew = world.crew(2).await;
    world.cli().run(&["run", "update-collections", "--no-wait"]).await.good();
    regua_e2e::until("the sync is under way", async || {
        world.database.number("SELECT count(*) FROM invoices").await.filter(|n| *n > 0)
    })
    .await;
    for service in crew.all() {
        service.terminate();
    }
    for service in crew.all() {
        assert_eq!(service.end(GRACE).await, Some(0));
    }
    assert_eq!(world.database.number("SELECT tries FROM runs").await, Some(0), "a shutdown is no try");
    let crew = world.crew(2).await;
    regua_e2e::until("the run is done", async || (world.database.count("runs WHERE state = 'done'").await == 1).then_some(()))
        .await;
    world.run("send-queued-messages").await;
    world.settled().await;
    world.conserved().await;
    assert!(world.in_state("sent").await > 200);
    drop(crew);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_waits_for_its_database_ends_when_it_is_told_to() {
    let world = World::set(WorldOptions::customers(1)).await;
    let mut environment = world.environment.clone();
    environment.insert("REGUA_DATABASE_URL".into(), "postgres://regua@127.0.0.1:1/regua".into());
    for program in [Program::Scheduler, Program::BillingEvaluator, Program::Dispatcher] {
        let mut service = regua_e2e::Service::spawn(program, &[], &environment, &world.folder());
        let told = regua_e2e::until("it says what it waits for", async || {
            service.problem("ledger").await.filter(|why| why.contains("can't"))
        })
        .await;
        assert!(told.contains("can't be reached"), "{told}");
        service.terminate();
        assert_eq!(service.end(GRACE).await, Some(0));
    }
}
