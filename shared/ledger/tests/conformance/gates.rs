//! What closes a gate for every dispatcher at once: its breaker with one probe over all of them (F3, F26 e), the provider's allowance.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{LEASE, World};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::gate::{REST, REST_MAX};
use regua_domain::ids::AttemptId;
use regua_domain::message::{DeferReason, DoubtReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::gates::ProbeEnd;
use regua_ledger::start::{StartAnswer, Started};

/// A channel without a limit, and `count` messages of different people with their hints published.
async fn queued(f: Fixture, count: u32) -> (World, Vec<regua_domain::ids::MessageId>) {
    let w = World::new(f, &Setup { per_second: 0, ..Setup::default() }).await;
    let ids = w.queued(count).await;
    (w, ids)
}

async fn paused_until(w: &World) -> Option<DateTime<Utc>> {
    let until = w.f.number(format!("SELECT paused_until FROM gates WHERE channel_id = '{}'", w.channel)).await;
    until.and_then(DateTime::from_timestamp_micros)
}

async fn pause_reason(w: &World) -> Option<String> {
    w.f.text(format!("SELECT pause_reason FROM gates WHERE channel_id = '{}'", w.channel)).await
}

async fn open(w: &World) -> DateTime<Utc> {
    w.ledger.open_breaker(w.channel, 0.0).await.unwrap().expect("it was closed")
}

/// The rest has ended: the one probe of what the next top-up queues.
async fn probe(w: &World) -> Started {
    let until = paused_until(w).await.unwrap_or(w.now().await);
    w.f.advance((until - w.now().await).max(TimeDelta::zero()) + TimeDelta::milliseconds(1)).await;
    let queued = w.top_up(1000).await;
    assert_eq!(queued.len(), 1, "one is enough to ask whether the provider is back");
    let started = w.started(queued[0]).await;
    assert!(started.is_probe);
    started
}

async fn end(w: &World, attempt: AttemptId, end: ProbeEnd) -> Option<DateTime<Utc>> {
    w.ledger.end_probe(w.channel, attempt, end).await.unwrap()
}

/// F26 e: else each of 16 dispatchers has a probe of its own.
async fn after_a_rest_one_attempt_of_all_dispatchers_is_the_probe(f: Fixture) {
    let (w, ids) = queued(f, 40).await;
    let until = open(&w).await;
    assert!(until >= w.now().await + REST - TimeDelta::seconds(5), "{until}");
    w.f.advance(REST + TimeDelta::seconds(1)).await;
    let batches: Vec<_> = ids.chunks(5).collect();
    let answers = futures::future::join_all(batches.iter().map(|batch| w.start(batch))).await;
    let started: Vec<_> =
        answers.iter().flatten().filter_map(|a| if let StartAnswer::Started(s) = a { Some(s) } else { None }).collect();
    assert_eq!((started.len(), started[0].is_probe), (1, true));
    let postponed = answers.iter().flatten().filter(|a| matches!(a, StartAnswer::Postponed { why: DeferReason::Gate })).count();
    assert_eq!(postponed, 39, "the few that were queued wait in the ledger");
    assert!(w.top_up(1000).await.is_empty(), "and no other is queued");
}

async fn a_probe_that_is_answered_opens_the_gate_for_all_at_once(f: Fixture) {
    let (w, _) = queued(f, 3).await;
    w.released(4, 3, "overdue").await;
    w.ledger.unqueue(TimeDelta::zero()).await.unwrap();
    open(&w).await;
    let probe = probe(&w).await;
    assert_eq!(end(&w, probe.attempt_id, ProbeEnd::Answered).await, None);
    assert_eq!((paused_until(&w).await, pause_reason(&w).await), (None, None));
    let rest = w.top_up(1000).await;
    assert_eq!(rest.len(), 5);
    for answer in w.start(&rest).await {
        assert!(matches!(answer, StartAnswer::Started(started) if !started.is_probe));
    }
}

async fn each_probe_that_fails_makes_the_rest_longer_up_to_a_bound(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 9, max_age: "30d", per_second: 0, ..Setup::default() }).await;
    w.released(1, 12, "overdue").await;
    open(&w).await;
    let mut rests = Vec::new();
    for _ in 0..6 {
        let probe = probe(&w).await;
        let until = end(&w, probe.attempt_id, ProbeEnd::Failed { jitter: 0.0 }).await.expect("it rests");
        assert_eq!(paused_until(&w).await, Some(until));
        rests.push((until - w.now().await + TimeDelta::seconds(1)).num_minutes());
    }
    assert_eq!(rests, [2, 4, 8, 15, 15, 15]);
    assert_eq!(REST_MAX.num_minutes(), 15);
}

/// A dispatcher that died with the probe in its hands: its lease ends, and the next probe goes.
async fn a_probe_that_nobody_reports_holds_the_gate_for_its_lease_and_no_longer(f: Fixture) {
    let (w, _) = queued(f, 2).await;
    w.ledger.unqueue(TimeDelta::zero()).await.unwrap();
    open(&w).await;
    let lost = probe(&w).await;
    assert!(paused_until(&w).await.unwrap() >= w.now().await + LEASE - TimeDelta::seconds(5));
    let next = probe(&w).await;
    assert_ne!(next.attempt_id, lost.attempt_id);
    assert_eq!(end(&w, lost.attempt_id, ProbeEnd::Failed { jitter: 0.0 }).await, None, "it isn't the probe any more");
    assert_eq!(end(&w, lost.attempt_id, ProbeEnd::Answered).await, None);
    assert_eq!(pause_reason(&w).await.as_deref(), Some("probe"), "the one that is on its way is waited for");
    end(&w, next.attempt_id, ProbeEnd::Answered).await;
    assert_eq!(paused_until(&w).await, None);
}

async fn a_probe_that_was_never_begun_is_the_next_ones_at_once(f: Fixture) {
    let (w, _) = queued(f, 2).await;
    w.ledger.unqueue(TimeDelta::zero()).await.unwrap();
    open(&w).await;
    let late = probe(&w).await;
    end(&w, late.attempt_id, ProbeEnd::NotMade).await;
    assert_eq!(paused_until(&w).await, None);
    assert!(probe(&w).await.is_probe);
}

/// What was on the wire when the breaker opened fails too, in every dispatcher: that is the same outage, not the next.
async fn a_breaker_opens_once_however_many_ask_for_it(f: Fixture) {
    let (w, _) = queued(f, 1).await;
    let opened = futures::future::join_all((0..8).map(|_| w.ledger.open_breaker(w.channel, 0.5))).await;
    assert_eq!(opened.into_iter().filter(|until| until.as_ref().unwrap().is_some()).count(), 1);
    assert_eq!(w.f.number(format!("SELECT trips FROM gates WHERE channel_id = '{}'", w.channel)).await, Some(1));
}

async fn a_longer_pause_outlasts_rest_and_probe(f: Fixture) {
    let (w, _) = queued(f, 2).await;
    w.ledger.unqueue(TimeDelta::zero()).await.unwrap();
    let asked = w.now().await + TimeDelta::minutes(30);
    w.ledger.pause_channel(w.channel, asked, DeferReason::Throttled).await.unwrap();
    open(&w).await;
    assert_eq!((paused_until(&w).await, pause_reason(&w).await), (Some(asked), Some("throttled".into())));
    let probe = probe(&w).await;
    let again = w.now().await + TimeDelta::minutes(30);
    w.ledger.pause_channel(w.channel, again, DeferReason::Throttled).await.unwrap();
    end(&w, probe.attempt_id, ProbeEnd::Answered).await;
    assert_eq!((paused_until(&w).await, pause_reason(&w).await), (Some(again), Some("throttled".into())));
}

async fn a_breaker_slows_no_other_channel(f: Fixture) {
    let (w, ids) = queued(f, 3).await;
    w.f.execute(format!("UPDATE messages SET channel_id = '{}' WHERE id = '{}'", w.other_channel, ids[0])).await;
    open(&w).await;
    let answers = w.start(&ids).await;
    assert!(matches!(&answers[0], StartAnswer::Started(started) if !started.is_probe), "{answers:?}");
    assert!(answers[1..].iter().all(|answer| matches!(answer, StartAnswer::Postponed { why: DeferReason::Gate })), "{answers:?}");
}

/// F3: a provider that takes and never answers leaves one doubt per rest, not one per dispatcher and second.
async fn an_outage_leaves_one_doubt_per_rest(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 9, max_age: "30d", per_second: 0, ..Setup::default() }).await;
    w.released(1, 30, "overdue").await;
    open(&w).await;
    let began = w.now().await;
    while w.now().await < began + TimeDelta::hours(1) {
        let probe = probe(&w).await;
        end(&w, probe.attempt_id, ProbeEnd::Failed { jitter: 0.9 }).await;
        let id = w.f.text(format!("SELECT CAST(message_id AS TEXT) FROM attempts WHERE id = '{}'", probe.attempt_id)).await;
        let id = id.unwrap().parse().unwrap();
        w.finish(id, probe.attempt_id, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    }
    let doubts = w.ledger.counts().await.unwrap().of(State::InDoubt);
    assert!((5..=8).contains(&doubts), "{doubts} in an hour");
}

conformance! {
    after_a_rest_one_attempt_of_all_dispatchers_is_the_probe
    a_probe_that_is_answered_opens_the_gate_for_all_at_once
    each_probe_that_fails_makes_the_rest_longer_up_to_a_bound
    a_probe_that_nobody_reports_holds_the_gate_for_its_lease_and_no_longer
    a_probe_that_was_never_begun_is_the_next_ones_at_once
    a_breaker_opens_once_however_many_ask_for_it
    a_longer_pause_outlasts_rest_and_probe
    a_breaker_slows_no_other_channel
    an_outage_leaves_one_doubt_per_rest
}
