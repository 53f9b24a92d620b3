//! F6, F11, F12: many dispatchers at once, a gate that stands still, hosts whose clocks are wrong.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{LEASE, World, customer, due_for, invoice, start_batch};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use regua_domain::admission::RECHECK;
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::new_id;
use regua_ledger::start::{StartAnswer, StartReply};
use regua_ledger::sweeps::HINT_LOST_AFTER;

/// Four dispatchers ask at t0, and a checkpoint keeps the gate's row for 800 ms: by t0's clock all of that time's slots would be over, and
/// leave at once. They get what lies ahead of the moment in which they have the row.
async fn f6_starts_that_waited_for_the_gate_get_slots_that_lie_ahead(f: Fixture) {
    let limit = 80;
    let w = World::new(f, &Setup { per_second: limit, ..Setup::default() }).await;
    let ids = w.queued(128).await;
    let starts = async || join_all(ids.chunks(32).map(|chunk| start_elsewhere(&w, chunk))).await;
    let (replies, freed_at) = if let Some(pool) = w.f.postgres() {
        let mut checkpoint = pool.begin().await.unwrap();
        sqlx::raw_sql("SELECT channel_id FROM gates FOR NO KEY UPDATE").execute(&mut *checkpoint).await.unwrap();
        let stall = async {
            w.f.blocked_by(&mut checkpoint).await;
            w.f.advance(TimeDelta::milliseconds(800)).await;
            let freed_at = w.now().await;
            checkpoint.commit().await.unwrap();
            freed_at
        };
        tokio::join!(starts(), stall)
    } else {
        // One writer: nothing waits inside a transaction.
        let freed_at = w.now().await;
        (starts().await, freed_at)
    };
    let mut slots: Vec<DateTime<Utc>> = Vec::new();
    for (_, answer) in replies.into_iter().flat_map(|reply| reply.answers) {
        match answer {
            StartAnswer::Started(started) => slots.push(started.slot_at),
            StartAnswer::NoSlot { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    slots.sort_unstable();
    assert!(slots.first().is_some_and(|first| *first > freed_at), "{slots:?} {freed_at}");
    let interval = TimeDelta::microseconds(1_000_000 / i64::from(limit));
    assert!(slots.windows(2).all(|pair| pair[1] - pair[0] >= interval), "{slots:?}");
}

/// Starts messages as a dispatcher with connections of its own.
async fn start_elsewhere(w: &World, ids: &[MessageId]) -> StartReply {
    let requests = ids.iter().map(|id| (*id, AttemptId(new_id()))).collect();
    if w.f.is_sqlite() {
        return w.ledger.start(start_batch(requests)).await.unwrap();
    }
    w.f.open().await.start(start_batch(requests)).await.unwrap()
}

/// Starts all of them at once, each by a dispatcher of its own; how many started.
async fn at_once(w: &World, ids: &[MessageId]) -> usize {
    let answers = join_all(ids.iter().map(|id| w.start_one(*id))).await;
    answers.iter().filter(|answer| matches!(answer, StartAnswer::Started(_))).count()
}

/// Three invoices, one phone, three dispatchers: each alone would find nothing sent in six seconds, and a place free of today's two.
async fn f11_three_dispatchers_at_once_keep_one_phones_spacing_and_cap(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 0, per_day: 2, ..Setup::default() }).await;
    let people = 1..=8_u32;
    let of = |person: u32| (0..3).map(move |n| 3 * person + n);
    let invoices: Vec<_> = people.clone().flat_map(|p| of(p).map(move |n| invoice(n, p, due_for("overdue")))).collect();
    w.sync(&people.clone().map(customer).collect::<Vec<_>>(), &invoices).await;
    w.evaluate().await;
    w.release().await;
    assert_eq!(w.top_up(1000).await.len(), invoices.len());
    let mut threes = Vec::new();
    for person in people.clone() {
        let mut ids = Vec::new();
        for number in of(person) {
            ids.push(w.message_of(number).await.id);
        }
        threes.push(ids);
    }
    for _ in 0..4 {
        for ids in &threes {
            assert!(at_once(&w, ids).await <= 1);
        }
        w.f.advance(RECHECK).await;
    }
    for (person, ids) in people.zip(&threes) {
        assert_eq!(w.sent_to(person).await, 2);
        let mut ends = Vec::new();
        for id in ids {
            ends.push(w.state(*id).await);
        }
        assert_eq!(ends.iter().filter(|end| end.0 == State::Sending).count(), 2, "{ends:?}");
        assert!(ends.contains(&(State::Skipped, Some(SkipReason::Capped.as_str().into()))), "{ends:?}");
    }
}

/// The ledger's clock is months behind that of the host on which these schedulers run. No lease, no wait and no hint is over for that.
async fn f12_a_hosts_clock_ends_no_lease_no_wait_and_no_message(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 0, ..Setup::default() }).await;
    assert!(Utc::now() - w.now().await > TimeDelta::days(30), "this host is far ahead");
    let ids = w.queued(3).await;
    w.started(ids[0]).await;
    let waiting = w.started(ids[1]).await.attempt_id;
    let until = w.now().await + TimeDelta::minutes(5);
    w.finish(ids[1], waiting, Settlement::Defer { until, why: DeferReason::InService }).await;
    let sweep = async || {
        let swept = join_all((0..6).map(|_| async {
            let (rescued, expired) = (w.ledger.rescue().await.unwrap().len(), w.ledger.expire().await.unwrap());
            (rescued, expired, w.ledger.unqueue(HINT_LOST_AFTER).await.unwrap(), w.top_up(10).await.len())
        }))
        .await;
        swept.iter().fold((0, 0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2, sum.3 + one.3))
    };
    assert_eq!(sweep().await, (0, 0, 0, 0));
    assert!(matches!(w.start_one(ids[1]).await, StartAnswer::NotWaiting), "not due yet");
    w.f.advance(LEASE).await;
    let (rescued, expired, unqueued, _) = sweep().await;
    assert_eq!((rescued, expired, unqueued), (1, 0, 1), "by the ledger's own clock");
}

conformance! {
    f6_starts_that_waited_for_the_gate_get_slots_that_lie_ahead
    f11_three_dispatchers_at_once_keep_one_phones_spacing_and_cap
    f12_a_hosts_clock_ends_no_lease_no_wait_and_no_message
}
