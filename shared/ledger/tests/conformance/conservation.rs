//! Invariant 2: a law that can fail. Each part is broken once, on purpose, and seen.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{LEASE, World, sent};
use chrono::TimeDelta;
use regua_domain::ids::MessageId;
use regua_domain::message::{DoubtReason, FailReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::conservation::{Violation, compare};
use regua_ledger::doubt::{DOUBT_GRACE, Resolution};
use regua_ledger::new_id;

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { open_windows: 10, max_age: "30d", per_second: 0, ..Setup::default() }).await
}

/// What the comparison finds when the provider took these.
async fn violations(w: &World, provider: &[MessageId]) -> Vec<Violation> {
    compare(&w.ledger.conservation().await.unwrap(), provider.iter().copied().map(Some))
}

/// Messages sent, failed, waiting, in doubt and in hand; what the provider took, the doubtful one with or without.
async fn a_day(w: &World) -> Vec<MessageId> {
    let ids = w.queued(6).await;
    w.send(ids[0]).await;
    w.send(ids[1]).await;
    for (id, settlement) in
        [(ids[2], Settlement::Fail { why: FailReason::Rejected }), (ids[3], Settlement::Doubt { why: DoubtReason::TimedOut })]
    {
        let attempt = w.started(id).await.attempt_id;
        w.finish(id, attempt, settlement).await;
    }
    w.started(ids[4]).await;
    ids
}

async fn a_good_day_has_no_violation_whatever_became_of_the_doubtful_one(f: Fixture) {
    let w = world(f).await;
    let ids = a_day(&w).await;
    assert_eq!(violations(&w, &[ids[1], ids[0]]).await, []);
    assert_eq!(violations(&w, &[ids[0], ids[3], ids[1]]).await, []);
    let side = w.ledger.conservation().await.unwrap();
    assert_eq!((side.counts.evaluated, side.counts.total(), side.counts.live()), (6, 6, 2));
    assert_eq!((side.sent.len(), side.doubtful.len(), side.resent.len()), (2, 1, 0));
}

async fn f21_runs_that_wrote_more_or_less_than_there_is_are_seen(f: Fixture) {
    let w = world(f).await;
    let ids = a_day(&w).await;
    w.f.execute("UPDATE runs SET evaluated = evaluated + 1, held = held + 1").await;
    let expected = Violation::RunsAndMessages { evaluated: 7, messages: 6 };
    assert_eq!(violations(&w, &ids[..2]).await, std::slice::from_ref(&expected));
    assert_eq!(expected.to_string(), "the runs wrote 7 messages, the ledger has 6");
}

async fn f21_a_sent_message_that_the_provider_never_took_is_seen(f: Fixture) {
    let w = world(f).await;
    let ids = a_day(&w).await;
    assert_eq!(violations(&w, &ids[..1]).await, [Violation::SentButNotAtProvider(ids[1])]);
}

async fn f21_a_message_at_the_provider_that_never_left_is_seen(f: Fixture) {
    let w = world(f).await;
    let ids = a_day(&w).await;
    for id in [ids[2], ids[5], MessageId(new_id())] {
        assert_eq!(
            violations(&w, &[ids[0], ids[1], id]).await,
            [Violation::AtProviderButNotSent(id)],
            "failed, queued, a stranger"
        );
    }
}

async fn f21_a_duplicate_is_seen_once(f: Fixture) {
    let w = world(f).await;
    let ids = a_day(&w).await;
    assert_eq!(violations(&w, &[ids[0], ids[1], ids[0], ids[0]]).await, [Violation::Duplicate(ids[0])]);
    assert_eq!(
        violations(&w, &[ids[0], ids[1], ids[3], ids[3]]).await,
        [Violation::Duplicate(ids[3])],
        "doubt excuses no second one"
    );
}

async fn what_names_no_message_of_ours_is_seen(f: Fixture) {
    let w = world(f).await;
    let ids = a_day(&w).await;
    let log = [Some(ids[0]), None, Some(ids[1])];
    assert_eq!(compare(&w.ledger.conservation().await.unwrap(), log.into_iter()), [Violation::Unnamed]);
}

/// A person had it sent again: it may be there twice, not three times.
async fn a_recorded_resend_excuses_one_duplicate(f: Fixture) {
    let w = world(f).await;
    let ids = a_day(&w).await;
    w.f.advance(LEASE + DOUBT_GRACE).await;
    w.ledger.rescue().await.unwrap();
    w.ledger.resolve_doubt(ids[3], Resolution::Resend, "ana".into(), "não chegou".into()).await.unwrap();
    assert_eq!(violations(&w, &[ids[0], ids[1], ids[3]]).await, [], "the doubtful one had arrived");
    w.top_up(100).await;
    let second = w.started(ids[3]).await.attempt_id;
    assert_eq!(violations(&w, &[ids[0], ids[1], ids[3]]).await, [], "while the second is in hand too");
    w.finish(ids[3], second, sent("p")).await;
    assert_eq!(violations(&w, &[ids[0], ids[1], ids[3]]).await, []);
    assert_eq!(violations(&w, &[ids[0], ids[1], ids[3], ids[3]]).await, []);
    let thrice = [ids[0], ids[1], ids[3], ids[3], ids[3]];
    assert_eq!(violations(&w, &thrice).await, [Violation::Duplicate(ids[3])]);
}

/// The late answer is kept on its attempt, and the message stays as the person said: no violation, for the doubt was real.
async fn a_message_that_was_let_go_and_had_arrived_is_no_violation(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    let mut attempts = Vec::new();
    for id in &ids {
        attempts.push(w.started(*id).await.attempt_id);
    }
    w.f.advance(LEASE).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 2);
    for (id, attempt) in ids.iter().zip(attempts) {
        w.ledger.resolve_doubt(*id, Resolution::Drop, "ana".into(), "já pagou".into()).await.unwrap();
        w.finish(*id, attempt, sent("p")).await;
    }
    assert_eq!(w.message(ids[0]).await.state, State::Failed);
    assert_eq!(violations(&w, &ids).await, []);
}

async fn what_a_backup_lost_may_have_arrived(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    w.ledger.restored(w.now().await - TimeDelta::hours(1), "ana".into()).await.unwrap();
    assert_eq!(violations(&w, &ids).await, []);
    w.f.execute(format!("UPDATE messages SET expires_at = 1 WHERE id = '{}'", ids[2])).await;
    assert_eq!(w.ledger.expire_doubt().await.unwrap(), 1);
    assert_eq!(violations(&w, &ids).await, [], "nor does the end of its doubt make it unsent");
    w.ledger.resolve_doubt(ids[0], Resolution::Drop, "ana".into(), "já pagou".into()).await.unwrap();
    w.ledger.resolve_doubt(ids[1], Resolution::Sent, "ana".into(), "chegou".into()).await.unwrap();
    assert_eq!(violations(&w, &ids).await, []);
}

conformance! {
    a_good_day_has_no_violation_whatever_became_of_the_doubtful_one
    f21_runs_that_wrote_more_or_less_than_there_is_are_seen
    f21_a_sent_message_that_the_provider_never_took_is_seen
    f21_a_message_at_the_provider_that_never_left_is_seen
    f21_a_duplicate_is_seen_once
    what_names_no_message_of_ours_is_seen
    a_recorded_resend_excuses_one_duplicate
    a_message_that_was_let_go_and_had_arrived_is_no_violation
    what_a_backup_lost_may_have_arrived
}
