//! What comes out of the queues is never trusted.

use chrono::TimeDelta;
use regua_e2e::{Program, World, WorldOptions, until};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn f26h_what_cannot_be_understood_is_dead_lettered_alone_and_the_rest_flows() {
    let world = World::set(WorldOptions::customers(200)).await;
    let mut crew = world.crew(1).await;
    let ours = world.ledger.id().await.unwrap().to_string();
    let foreign = Uuid::now_v7().to_string();
    let (hint, tick) = (format!("{{\"message\":\"{foreign}\"}}"), format!("{{\"run\":\"{foreign}\"}}"));
    for (key, kind, body) in [("hints", "hint", &hint), ("ticks", "tick", &tick)] {
        world.queues.publish(key, kind, Some(1), Some(&ours), b"\xff\x00 no JSON").await;
        world.queues.publish(key, kind, Some(2), Some(&ours), body.as_bytes()).await;
        world.queues.publish(key, kind, None, Some(&ours), body.as_bytes()).await;
        world.queues.publish(key, "letter", Some(1), Some(&ours), body.as_bytes()).await;
        // Of another ledger, and of none: counted, ignored.
        world.queues.publish(key, kind, Some(1), Some(&foreign), body.as_bytes()).await;
        world.queues.publish(key, kind, Some(1), None, body.as_bytes()).await;
    }
    for queue in ["regua.hints.dead", "regua.ticks.dead"] {
        until("the four are dead-lettered", async || (world.queues.ready(queue).await == 4).then_some(())).await;
    }
    let foreign = until("the two others are counted", async || {
        crew.dispatchers[0].metric("regua_foreign_hints_total").await.filter(|count| *count > 1.0)
    })
    .await;
    assert!((foreign - 2.0).abs() < f64::EPSILON, "{foreign}");
    assert_eq!(world.database.count("stops").await, 0, "they stop nothing");
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.settled().await;
    world.conserved().await;
    assert!(world.in_state("sent").await > 50);
    assert_eq!((world.queues.ready("regua.hints.dead").await, world.queues.ready("regua.ticks.dead").await), (4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_a_hint_for_a_message_that_our_ledger_lacks_stops_everything_until_a_person_says_what_was_lost() {
    let world = World::set(WorldOptions::customers(900)).await;
    let mut crew = world.crew(2).await;
    world.run("update-collections").await;
    world.run("send-queued-messages").await;
    world.accepted(60).await;
    let ours = world.ledger.id().await.unwrap().to_string();
    let unknown = format!("{{\"message\":\"{}\"}}", Uuid::now_v7());
    world.queues.publish("hints", "hint", Some(1), Some(&ours), unknown.as_bytes()).await;

    let stop = until("everything is stopped", async || {
        let status = world.cli().run(&["status", "--json"]).await.good().json();
        status["stops"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&stop["scope"], &stop["raised_by"]), (&"everything".into(), &"ledger".into()), "{stop}");
    for service in crew.all() {
        let told = until("/readyz tells", async || service.problem("stops").await).await;
        assert!(told.contains("regua restored"), "{told}");
    }
    until("nothing is on the wire", async || (world.in_state("sending").await == 0).then_some(())).await;
    let sent = world.opa.stats().accepted;
    world.cli().run(&["resume"]).await.refused(1, "regua restored --lost-since");
    world.database.pass(TimeDelta::seconds(61)).await;
    let mut another = world.spawn(Program::Dispatcher);
    another.ready().await;
    assert_eq!(world.opa.stats().accepted, sent, "nothing is sent while it stands");

    let live = world.database.count("messages WHERE state IN ('held', 'scheduled', 'queued')").await;
    assert!(live > 0);
    world.cli().run(&["restored", "--lost-since", "2026-11-24T12:00:00Z"]).await.good();
    assert_eq!(world.in_state("in_doubt").await, live, "every live message may have been sent in the time that is lost");
    assert_eq!(world.cli().run(&["status", "--json"]).await.good().json()["stops"].as_array().unwrap().len(), 0);
    for service in crew.all() {
        until("/readyz is content", async || service.problem("stops").await.is_none().then_some(())).await;
    }
    assert_eq!(world.opa.stats().accepted, sent, "doubt is not sent by itself");
    world.conserved().await;
}
