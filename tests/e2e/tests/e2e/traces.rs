//! Traces: what arrives at a collector tells one story from tick to receipt, and a collector that is gone changes nothing.

use crate::webhooks;
use chrono::TimeDelta;
use regua_e2e::{Collected, Collector, House, Program, World, WorldOptions, tree, until};
use regua_simulators::{Fault, FaultKind};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;
use uuid::Uuid;

const TICK: &str = "publish regua.ticks";
const RUN: &str = "process regua.ticks";
const ATTEMPT: &str = "process regua.hints";
const REQUEST: &str = "POST /template/send";

fn busy_once() -> Fault {
    let kind = FaultKind::Status { code: 503, body: None, retry_after: Some("1".into()) };
    Fault { path: Some("/template/send".into()), count: Some(1), ..Fault::always(kind) }
}

fn named<'a>(spans: &'a [Collected], name: &'a str) -> impl Iterator<Item = &'a Collected> {
    spans.iter().filter(move |span| span.name == name)
}

async fn only_id(world: &World, sql: &str) -> Uuid {
    world.database.texts(sql).await[0][0].parse().unwrap()
}

/// Attempt 1 is made by one process, attempt 2 by another that knows nothing of it but the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn one_story_from_tick_to_run_to_batch_and_from_attempt_to_attempt_over_processes() {
    let collector = Collector::start().await;
    let mut world = World::set(WorldOptions::customers(60)).await;
    world.environment.extend(collector.environment());
    let mut crew = world.crew(1).await;
    world.run("update-collections").await;
    world.opa.faults(vec![busy_once()]).unwrap();
    world.run("send-queued-messages").await;
    until("the provider was busy", async || (world.opa.stats().faults.get("status") == Some(&1)).then_some(())).await;
    let refused = "attempts WHERE http_status = 503";
    until("that is in the ledger", async || (world.database.count(refused).await == 1).then_some(())).await;
    crew.dispatchers[0].terminate();
    assert_eq!(crew.dispatchers[0].end(Duration::from_secs(30)).await, Some(0));
    let mut second = world.spawn(Program::Dispatcher);
    second.ready().await;
    world.database.pass(TimeDelta::hours(2)).await;
    world.settled().await;
    second.terminate();
    assert_eq!(second.end(Duration::from_secs(30)).await, Some(0));
    for service in [&mut crew.evaluator, &mut crew.scheduler] {
        service.terminate();
        assert_eq!(service.end(Duration::from_secs(30)).await, Some(0));
    }

    let run = only_id(&world, "SELECT CAST(id AS TEXT) FROM runs WHERE kind = 'update-collections'").await;
    let spans = collector.trace(run);
    println!("{}", tree(&spans));
    let [tick] = named(&spans, TICK).collect::<Vec<_>>()[..] else { panic!("{}", tree(&spans)) };
    let [process] = named(&spans, RUN).collect::<Vec<_>>()[..] else { panic!("{}", tree(&spans)) };
    assert_eq!((tick.parent.as_str(), process.parent.as_str()), ("", tick.id.as_str()));
    assert_eq!((tick.service.as_str(), process.service.as_str()), ("scheduler", "billing-evaluator"));
    let batches: i64 = named(&spans, "regua.batch")
        .inspect(|batch| assert_eq!(batch.parent, process.id))
        .map(|batch| batch.attributes["regua.batch.messages"].parse::<i64>().unwrap())
        .sum();
    assert_eq!(batches, world.database.count("messages").await, "spans with counts, not one per message");
    assert_eq!(named(&spans, "regua.sync").next().unwrap().parent, process.id);

    let message = only_id(&world, "SELECT CAST(message_id AS TEXT) FROM attempts WHERE http_status = 503").await;
    let spans = collector.trace(message);
    println!("{}", tree(&spans));
    let attempts: Vec<_> = named(&spans, ATTEMPT).collect();
    let statuses = named(&spans, REQUEST).map(|request| request.attributes["http.response.status_code"].as_str());
    assert_eq!(statuses.collect::<Vec<_>>(), ["503", "200"]);
    let (first, last) = (attempts[0], attempts[attempts.len() - 1]);
    assert_eq!((first.parent.as_str(), first.error.as_deref()), ("", Some("throttled")));
    assert_eq!(last.error, None);
    let ids: BTreeSet<_> = attempts.iter().map(|attempt| &attempt.id).collect();
    // Of an attempt that a dispatcher gave back before it had made anything of it there is no span.
    let later = attempts.iter().skip(1);
    assert!(later.clone().all(|attempt| !attempt.parent.is_empty()), "each goes on with the one before");
    assert!(attempts.len() > 2 || later.clone().all(|attempt| ids.contains(&attempt.parent)), "{}", tree(&spans));
    assert!(attempts.iter().all(|attempt| attempt.links.iter().any(|link| *link == (tick.trace.clone(), tick.id.clone()))));
    let instances: BTreeSet<_> = spans.iter().map(|span| &span.service).collect();
    assert_eq!(instances.len(), 1, "only a dispatcher speaks to a customer: {instances:?}");
    world.conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_part_of_its_messages_trace() {
    let collector = Collector::start().await;
    let mut house = webhooks::house(60).await;
    house.cli.environment.extend(collector.environment());
    let (mut up, webhook) = webhooks::up(&house, &["delivered", "read"]).await;
    house.opa.set_webhook(Some(webhook));
    webhooks::send(&house).await;
    let accepted = i64::try_from(house.opa.stats().accepted).unwrap();
    let read = "messages WHERE state = 'read'";
    until("all are read", async || (house.database().count(read).await == accepted).then_some(())).await;
    up.terminate();
    assert_eq!(up.end(Duration::from_secs(30)).await, Some(0));
    let spans = collector.spans();
    let attempts: BTreeSet<_> = named(&spans, ATTEMPT).map(|attempt| (&attempt.trace, &attempt.id)).collect();
    let receipts: Vec<_> = named(&spans, "regua.receipt").collect();
    assert!(receipts.len() >= attempts.len() && !attempts.is_empty(), "{} of {}", receipts.len(), attempts.len());
    assert!(receipts.iter().all(|receipt| attempts.contains(&(&receipt.trace, &receipt.parent))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doubt_that_a_killed_dispatcher_leaves_is_exported_by_who_finds_it() {
    let collector = Collector::start().await;
    let mut world = World::set(WorldOptions::customers(60)).await;
    world.environment.extend(collector.environment());
    world.environment.insert("OTEL_TRACES_SAMPLER".into(), "always_off".into());
    let mut crew = world.crew(1).await;
    world.run("update-collections").await;
    let hangs = Fault { path: Some("/template/send".into()), ..Fault::always(FaultKind::HangAfterAccept) };
    world.opa.faults(vec![hangs]).unwrap();
    world.run("send-queued-messages").await;
    until("one is on the wire", async || world.opa.stats().faults.get("hang_after_accept").filter(|hung| **hung > 0).copied())
        .await;
    crew.dispatchers[0].kill();
    world.database.pass(TimeDelta::seconds(61)).await;
    let sending = "messages WHERE state = 'sending'";
    until("the leases have expired", async || (world.database.count(sending).await == 0).then_some(())).await;
    crew.scheduler.terminate();
    assert_eq!(crew.scheduler.end(Duration::from_secs(30)).await, Some(0));
    let spans = collector.spans();
    let found: BTreeSet<_> = named(&spans, "regua.rescue").map(|rescue| rescue.attributes["regua.message.id"].clone()).collect();
    let doubtful = world.database.texts("SELECT CAST(id AS TEXT) FROM messages WHERE state = 'in_doubt'").await;
    assert_eq!(found, doubtful.into_iter().map(|mut row| row.remove(0)).collect());
    assert!(named(&spans, "regua.rescue").all(|rescue| rescue.error.as_deref() == Some("lease_expired")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_went_well_only_the_share_is_exported_and_every_failure_and_run() {
    let collector = Collector::start().await;
    let mut house = House::build(120, &[]).await;
    house.cli.environment.extend(collector.environment());
    for (name, value) in [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")] {
        house.cli.environment.insert(name.into(), value.into());
    }
    let mut up = house.up().await;
    house.run("update-collections").await;
    let hangs_up = Fault { path: Some("/template/send".into()), count: Some(1), ..Fault::always(FaultKind::CloseWithoutAnswer) };
    house.opa.faults(vec![hangs_up]).unwrap();
    house.run("send-queued-messages").await;
    house.settled().await;
    let sifted = up.metric("regua_spans_total{fate=\"sifted_out\"}").await.unwrap();
    up.terminate();
    assert_eq!(up.end(Duration::from_secs(30)).await, Some(0));
    let spans = collector.spans();
    assert_eq!(named(&spans, RUN).count(), 2);
    let attempts: Vec<_> = named(&spans, ATTEMPT).map(|attempt| attempt.error.as_deref()).collect();
    assert_eq!(attempts, [Some("doubt")], "of {} that were made", house.opa.stats().accepted + 1);
    assert_eq!(named(&spans, REQUEST).count(), 1);
    assert!(sifted > 0.0, "the rest is counted: {sifted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_is_told_once_and_nothing_waits_for_it() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut house = House::build(300, &[]).await;
    house.cli.environment.insert("OTEL_EXPORTER_OTLP_ENDPOINT".into(), format!("http://{closed}"));
    house.cli.environment.insert("OTEL_BSP_SCHEDULE_DELAY".into(), "50".into());
    let mut up = house.up().await;
    house.run("update-collections").await;
    house.run("send-queued-messages").await;
    house.settled().await;
    until("some spans are lost", async || up.metric("regua_spans_total{fate=\"lost\"}").await.filter(|lost| *lost > 100.0)).await;
    let log = up.log();
    let told: Vec<_> =
        log.lines().filter(|line| ["collector", "opentelemetry", "OTLP"].iter().any(|word| line.contains(word))).collect();
    assert!(matches!(&told[..], [once] if once.contains("the trace collector takes no spans")), "told once: {told:#?}");
    let accepted = i64::try_from(house.opa.stats().accepted).unwrap();
    assert_eq!(house.database().count("messages WHERE state = 'sent'").await, accepted);
    up.terminate();
    assert_eq!(up.end(Duration::from_secs(30)).await, Some(0));
}
