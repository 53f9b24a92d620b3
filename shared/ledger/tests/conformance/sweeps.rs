//! What time drives: expired leases, expired messages, lost hints.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{LEASE, World, skipped};
use chrono::TimeDelta;
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::sweeps::{HINT_LOST_AFTER, SWEEP_MAX};

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { per_second: 0, ..Setup::default() }).await
}

async fn an_expired_lease_becomes_doubt_and_never_goes_back(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    w.start(&ids[..2]).await;
    w.f.advance(LEASE - TimeDelta::seconds(10)).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 0);
    w.f.advance(TimeDelta::seconds(10)).await;
    w.start(&ids[2..]).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 2);
    for id in &ids[..2] {
        assert_eq!(w.state(*id).await, (State::InDoubt, Some("lease_expired".into())));
    }
    assert_eq!(w.message(ids[2]).await.state, State::Sending);
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 0);
    w.f.advance(TimeDelta::hours(5)).await;
    assert!(w.top_up(10).await.is_empty(), "doubt is never retried by itself");
}

/// F26 f: nobody else can be sending from a file that this process has just taken.
async fn f26f_a_process_that_takes_its_file_leaves_no_orphan(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    w.start(&ids[..2]).await;
    assert_eq!(w.ledger.rescue_orphans().await.unwrap().len(), 2);
    assert_eq!((w.message(ids[0]).await.state, w.message(ids[2]).await.state), (State::InDoubt, State::Queued));
    assert_eq!(w.ledger.rescue_orphans().await.unwrap().len(), 0);
}

/// F19: held ones of a task that never ran expire too.
async fn f19_every_waiting_state_expires_and_nothing_else(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(5).await;
    let held = w.released(11, 1, "overdue").await[0];
    let later = w.now().await + TimeDelta::days(2);
    let waiting = w.started(ids[0]).await.attempt_id;
    w.finish(ids[0], waiting, Settlement::Defer { until: later, why: DeferReason::InService }).await;
    w.send(ids[1]).await;
    let doubtful = w.started(ids[2]).await.attempt_id;
    w.finish(ids[2], doubtful, Settlement::Doubt { why: regua_domain::message::DoubtReason::TimedOut }).await;
    w.started(ids[3]).await;
    assert_eq!(w.ledger.expire().await.unwrap(), 0, "not before its time");
    let expires_at = w.message(held).await.expires_at;
    w.f.advance(expires_at - w.now().await).await;
    assert_eq!(w.ledger.expire().await.unwrap(), 3);
    for id in [held, ids[0], ids[4]] {
        assert_eq!(w.state(id).await, skipped(SkipReason::Expired));
        assert_eq!(w.message(id).await.next_attempt_at, None);
    }
    let others = [w.message(ids[1]).await.state, w.message(ids[2]).await.state, w.message(ids[3]).await.state];
    assert_eq!(others, [State::Sent, State::InDoubt, State::Sending]);
}

async fn f14_a_lost_hint_waits_again_and_is_topped_up(f: Fixture) {
    let w = world(f).await;
    let old = w.queued(2).await;
    w.f.advance(HINT_LOST_AFTER - TimeDelta::seconds(20)).await;
    let new = w.released(11, 1, "overdue").await[0];
    w.top_up(10).await;
    assert_eq!(w.ledger.unqueue(HINT_LOST_AFTER).await.unwrap(), 0);
    w.f.advance(TimeDelta::seconds(20)).await;
    assert_eq!(w.ledger.unqueue(HINT_LOST_AFTER).await.unwrap(), 2);
    assert_eq!((w.state(old[0]).await.0, w.state(new).await.0), (State::Scheduled, State::Queued));
    let mut again = w.top_up(10).await;
    again.sort_unstable();
    assert_eq!(again, old);
}

async fn every_hint_of_a_broker_without_a_memory_is_lost(f: Fixture) {
    let w = world(f).await;
    w.queued(3).await;
    assert_eq!((w.ledger.queued().await.unwrap(), w.ledger.unqueue(TimeDelta::zero()).await.unwrap()), (3, 3));
    assert_eq!(w.ledger.queued().await.unwrap(), 0);
}

async fn f14_a_hint_that_could_not_be_published_waits_again(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    w.send(ids[0]).await;
    assert_eq!(w.ledger.unqueue_unpublished(ids[..2].to_vec()).await.unwrap(), 1, "only what is still queued");
    assert_eq!(
        (w.state(ids[0]).await.0, w.state(ids[1]).await.0, w.state(ids[2]).await.0),
        (State::Sent, State::Scheduled, State::Queued)
    );
    assert_eq!(w.top_up(10).await, [ids[1]]);
    assert_eq!(w.ledger.unqueue_unpublished(vec![]).await.unwrap(), 0);
}

/// Whatever piled up, one sweep touches a bounded number of rows; the next goes on.
async fn a_sweep_is_bounded(f: Fixture) {
    let w = world(f).await;
    w.released(1, 1, "overdue").await;
    let id = w.message_of(1).await.id;
    let more = SWEEP_MAX + 1;
    let copy = |state: &str, queued_at: &str| {
        format!(
            "INSERT INTO messages (id, source_id, subject, stage, stage_rank, occasion, due_on, state, policy_id, notice_id, channel_id, phone_key,
                    run_id, run_planned_at, expires_at, facts_version, created_at, updated_at, queued_at)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {more})
             SELECT {new_id}, source_id, 'x' || i, stage, stage_rank, occasion, due_on, '{state}', policy_id, notice_id, channel_id,
                    phone_key, run_id, run_planned_at, 0, facts_version, created_at, updated_at, {queued_at} FROM messages, n WHERE id = '{id}'",
            new_id = if w.f.is_sqlite() {
                "'00000000-0000-7000-8000-' || printf('%012d', i)"
            } else {
                "CAST('00000000-0000-7000-8000-' || lpad(CAST(i AS TEXT), 12, '0') AS uuid)"
            }
        )
    };
    w.f.execute(copy("queued", "0")).await;
    let bound = u64::try_from(SWEEP_MAX).unwrap();
    assert_eq!(
        (w.ledger.unqueue(TimeDelta::zero()).await.unwrap(), w.ledger.unqueue(TimeDelta::zero()).await.unwrap()),
        (bound, 1)
    );
    assert_eq!((w.ledger.expire().await.unwrap(), w.ledger.expire().await.unwrap()), (bound, 1));
}

async fn f26j_sweeps_of_several_schedulers_at_once_do_the_work_once(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(60).await;
    w.start(&ids[..30]).await;
    w.f.advance(LEASE + HINT_LOST_AFTER).await;
    let results = futures::future::join_all((0..6).map(|_| async {
        let rescued = w.ledger.rescue().await.unwrap().len();
        let unqueued = w.ledger.unqueue(HINT_LOST_AFTER).await.unwrap();
        (rescued, unqueued)
    }))
    .await;
    let sums = results.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sums, (30, 30));
}

conformance! {
    an_expired_lease_becomes_doubt_and_never_goes_back
    f26f_a_process_that_takes_its_file_leaves_no_orphan
    f19_every_waiting_state_expires_and_nothing_else
    f14_a_lost_hint_waits_again_and_is_topped_up
    every_hint_of_a_broker_without_a_memory_is_lost
    f14_a_hint_that_could_not_be_published_waits_again
    a_sweep_is_bounded
    f26j_sweeps_of_several_schedulers_at_once_do_the_work_once
}
