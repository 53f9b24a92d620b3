//! SIGTERM: what is on the wire is drained, what was not begun is given back, nobody is in doubt.

use regua_e2e::{Crew, Program, Service, World, WorldOptions, until};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::watch;

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

const SECRET: &str = "a-secret-of-the-test";
const WAITING: &str = "messages WHERE state IN ('held', 'scheduled', 'queued')";

/// Asks a service to end, and starts another in its place, with work left for both.
async fn replace(world: &World, service: &mut Service, program: Program) {
    service.terminate();
    assert_eq!(service.end(GRACE).await, Some(0), "{}", program.name());
    *service = world.spawn(program);
    service.ready().await;
    assert!(world.database.count(WAITING).await > 0, "nothing waits any more when {} is back", program.name());
}

/// Restarts every role in turn; the console's new address is told to those who call it.
async fn roll(world: &World, crew: &mut Crew, console: &mut Service, address: watch::Sender<String>) {
    world.cli().run(&["run", "update-collections", "--no-wait"]).await.good();
    until("a run is under way", async || (world.database.count("runs WHERE state = 'running'").await == 1).then_some(())).await;
    replace(world, &mut crew.evaluator, Program::BillingEvaluator).await;
    replace(world, &mut crew.dispatchers[0], Program::Dispatcher).await;
    replace(world, console, Program::Console).await;
    address.send_replace(console.address().await);
    replace(world, &mut crew.scheduler, Program::Scheduler).await;
    replace(world, &mut crew.dispatchers[1], Program::Dispatcher).await;
    let done = "runs WHERE state = 'done' AND kind = 'update-collections' AND tries <= 1";
    until("the run is done", async || (world.database.count(done).await == 2).then_some(())).await;
    world.settled().await;
    // It ends the calls once they have told of everything.
    drop(address);
}

/// Reports of each message that was sent that it was read, as a platform does that repeats a call until it is taken; how often it had to.
async fn report(world: &World, mut address: watch::Receiver<String>) -> u32 {
    let (http, ledger) = (reqwest::Client::new(), world.ledger.id().await.unwrap());
    let (mut reported, mut repeated) = (0, 0);
    loop {
        let sending = address.has_changed().is_ok();
        let sent = world.requests();
        for request in &sent[reported..] {
            let body = json!({ "metadata": { "ledger": ledger, "message": request.message }, "status": "read" });
            until("the call is taken", async || {
                let url = format!("http://{}/webhooks/opa/Opa!%20Suite", *address.borrow_and_update());
                let answer = http.post(url).header("x-regua-secret", SECRET).json(&body).send().await;
                let is_taken = answer.is_ok_and(|answer| answer.status() == 200);
                repeated += u32::from(!is_taken);
                is_taken.then_some(())
            })
            .await;
        }
        reported = sent.len();
        if !sending {
            return repeated;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_restarted_in_turn_under_load_doubts_loses_and_doubles_nothing() {
    let secret = "token_env = \"REGUA_DEMO_OPA_TOKEN\"\nwebhook_secret_env = \"HOOK\"";
    let options = WorldOptions::customers(3500).replacing("token_env = \"REGUA_DEMO_OPA_TOKEN\"", secret);
    let mut world = World::set(options).await;
    world.environment.insert("HOOK".into(), SECRET.into());
    let mut crew = world.crew(2).await;
    let mut console = world.spawn(Program::Console);
    console.ready().await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.accepted(100).await;
    let (address, told) = watch::channel(console.address().await);
    let ((), repeated) = tokio::join!(roll(&world, &mut crew, &mut console, address), report(&world, told));
    println!("{repeated} calls were repeated");

    let accepted = i64::try_from(world.opa.stats().accepted).unwrap();
    assert_eq!(world.database.count("receipts WHERE status = 'read'").await, accepted, "no webhook is lost");
    assert_eq!((world.in_state("read").await, world.in_state("in_doubt").await), (accepted, 0));
    assert_eq!(world.database.count("attempts WHERE outcome IS NULL OR outcome = 'doubt'").await, 0);
    world.conserved().await;
}
