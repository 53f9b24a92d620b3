//! *finish*: attempt, state and counters in one transaction, fenced by the attempt's id (K4).

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{LEASE, World, finished, sent};
use chrono::TimeDelta;
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DeferReason, DoubtReason, FailReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::finish::{BATCH_MAX, FinishAnswer, Finished};
use regua_ledger::{LedgerError, new_id};

async fn world(f: Fixture) -> World {
    World::new(f, &Setup::default()).await
}

/// A message with an open attempt.
async fn sending(w: &World) -> (MessageId, AttemptId) {
    let id = w.queued(1).await[0];
    (id, w.started(id).await.attempt_id)
}

/// A message whose attempt's lease expired.
async fn rescued(w: &World) -> (MessageId, AttemptId) {
    let open = sending(w).await;
    w.f.advance(LEASE).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 1);
    open
}

async fn recipient(w: &World) -> (Option<i64>, i64, Option<i64>) {
    let of = async |column: &str| w.f.number(format!("SELECT {column} FROM recipients")).await;
    (of("last_start_at").await, w.sent_to(1).await, of("counted_at").await)
}

async fn each_answer_has_its_state_reason_and_attempts(f: Fixture) {
    let w = world(f).await;
    let at = w.now().await + TimeDelta::minutes(30);
    let doubt = Settlement::Doubt { why: DoubtReason::ServerError };
    let table = [
        (sent("opa-1"), State::Sent, None, 1, None, "sent"),
        (Settlement::Retry { at }, State::Scheduled, Some("retry"), 1, Some(at), "retry"),
        (
            Settlement::Defer { until: at, why: DeferReason::InService },
            State::Scheduled,
            Some("in_service"),
            0,
            Some(at),
            "defer",
        ),
        (Settlement::Fail { why: FailReason::ParameterCount }, State::Failed, Some("parameter_count"), 1, None, "fail"),
        (doubt, State::InDoubt, Some("server_error"), 1, None, "doubt"),
    ];
    let ids = w.queued(u32::try_from(table.len()).unwrap()).await;
    for (id, (settlement, state, reason, attempts, next, outcome)) in ids.into_iter().zip(table) {
        let attempt = w.started(id).await.attempt_id;
        let report = Finished {
            http_status: Some(418),
            provider_code: Some("131000".into()),
            latency_ms: 345,
            ..finished(id, attempt, settlement)
        };
        assert_eq!(w.ledger.finish(vec![report]).await.unwrap(), [(attempt, FinishAnswer::Settled)]);
        let (message, records) = w.ledger.message(id).await.unwrap().unwrap();
        assert_eq!((message.state, message.reason.as_deref(), message.attempts), (state, reason, attempts), "{outcome}");
        assert_eq!((message.next_attempt_at, records[0].outcome.as_deref()), (next, Some(outcome)));
        let record = &records[0];
        assert_eq!(
            (record.http_status, record.provider_code.as_deref(), record.latency_ms),
            (Some(418), Some("131000"), Some(345))
        );
        assert_eq!(message.provider_id.as_deref(), (state == State::Sent).then_some("opa-1"));
    }
}

/// What was not begun is due at once, as if it had never been started.
async fn what_is_given_back_uses_no_attempt_and_restores_its_recipient(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    for _ in 0..3 {
        let attempt = w.started(id).await.attempt_id;
        assert_eq!(w.message(id).await.attempts, 1);
        assert_eq!(w.finish(id, attempt, Settlement::GiveBack).await, FinishAnswer::Settled);
        assert_eq!((w.state(id).await, w.message(id).await.attempts), ((State::Scheduled, Some("given_back".into())), 0));
        assert_eq!(recipient(&w).await, (None, 0, None));
        assert_eq!(w.f.number("SELECT CAST(SUM(recipients) AS BIGINT) FROM budget_buckets").await, Some(0));
        assert_eq!(w.top_up(10).await, [id]);
    }
    w.send(id).await;
    assert_eq!(recipient(&w).await.1, 1);
}

async fn a_recipients_counters_go_back_only_while_its_last_attempt_is_this_one(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 50, ..Setup::default() }).await;
    let invoices: Vec<_> = [1, 2].map(|n| crate::world::invoice(n, 1, crate::world::due_for("overdue"))).into();
    w.sync(&[crate::world::customer(1)], &invoices).await;
    w.evaluate().await;
    w.release().await;
    let mut ids = w.top_up(10).await;
    ids.sort_unstable();
    let first = w.started(ids[0]).await.attempt_id;
    w.f.advance(TimeDelta::seconds(7)).await;
    let second = w.started(ids[1]).await;
    let both = recipient(&w).await;
    assert_eq!(w.finish(ids[0], first, Settlement::GiveBack).await, FinishAnswer::Settled);
    assert_eq!(recipient(&w).await, (both.0, 1, both.2), "somebody else counted on it since; its own place in the caps is free");
    assert_eq!(w.f.number("SELECT CAST(SUM(recipients) AS BIGINT) FROM budget_buckets").await, Some(1));
    w.finish(ids[1], second.attempt_id, Settlement::GiveBack).await;
    assert_eq!(recipient(&w).await.1, 0);
}

async fn only_an_attempts_own_result_settles_it(f: Fixture) {
    let w = world(f).await;
    let (id, old) = sending(&w).await;
    w.finish(id, old, Settlement::GiveBack).await;
    w.top_up(10).await;
    let new = w.started(id).await.attempt_id;
    assert_eq!(w.finish(id, old, sent("late")).await, FinishAnswer::Late);
    assert_eq!(w.message(id).await.state, State::Sending);
    assert_eq!(w.finish(id, AttemptId(new_id()), sent("stranger")).await, FinishAnswer::Unknown);
    assert_eq!(w.message(id).await.state, State::Sending);
    assert_eq!(w.finish(id, new, sent("p")).await, FinishAnswer::Settled);
    assert_eq!(w.message(id).await.provider_id.as_deref(), Some("p"));
}

/// A finish whose commit had no known outcome is repeated: the ledger knows the attempt.
async fn a_result_that_comes_twice_changes_nothing_and_says_so(f: Fixture) {
    let w = world(f).await;
    let (id, attempt) = sending(&w).await;
    assert_eq!(w.finish(id, attempt, sent("p")).await, FinishAnswer::Settled);
    assert_eq!(w.finish(id, attempt, sent("p")).await, FinishAnswer::Repeated);
    assert_eq!(w.finish(id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await, FinishAnswer::Confirmed);
    let (message, attempts) = w.ledger.message(id).await.unwrap().unwrap();
    assert_eq!((message.state, attempts[0].outcome.as_deref()), (State::Sent, Some("sent")), "what is definite stays");
}

async fn f1_a_late_refusal_settles_doubt_too(f: Fixture) {
    let w = world(f).await;
    let (id, attempt) = sending(&w).await;
    w.finish(id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    assert_eq!(w.finish(id, attempt, Settlement::Fail { why: FailReason::Undeliverable }).await, FinishAnswer::Settled);
    assert_eq!(w.state(id).await, (State::Failed, Some("undeliverable".into())));
}

async fn what_proves_nothing_leaves_doubt_as_it_is(f: Fixture) {
    let w = world(f).await;
    let (id, attempt) = rescued(&w).await;
    let before = recipient(&w).await;
    assert_eq!(w.finish(id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await, FinishAnswer::Late);
    assert_eq!(w.state(id).await, (State::InDoubt, Some("lease_expired".into())));
    assert_eq!((w.message(id).await.attempts, recipient(&w).await), (1, before));
}

async fn a_late_proof_that_nothing_was_taken_settles_doubt(f: Fixture) {
    let w = world(f).await;
    let (id, attempt) = rescued(&w).await;
    let at = w.now().await + TimeDelta::minutes(1);
    assert_eq!(w.finish(id, attempt, Settlement::Retry { at }).await, FinishAnswer::Settled);
    assert_eq!(w.state(id).await, (State::Scheduled, Some("retry".into())));
}

/// F1: what moves back into the queue asks first whether something took its place.
async fn f1_a_late_proof_that_nothing_was_taken_brings_back_nothing_that_was_overtaken(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 10, max_age: "30d", ..Setup::default() }).await;
    let (id, attempt) = rescued(&w).await;
    w.f.advance(TimeDelta::days(4)).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    let at = w.now().await + TimeDelta::minutes(1);
    assert_eq!(w.finish(id, attempt, Settlement::Retry { at }).await, FinishAnswer::Settled);
    assert_eq!(w.state(id).await, (State::Skipped, Some("superseded".into())));
}

/// Evidence that comes after a person's word is kept on its attempt, whatever the message became.
async fn f1_a_late_answer_is_never_discarded(f: Fixture) {
    let w = world(f).await;
    let (id, attempt) = rescued(&w).await;
    w.ledger.resolve_doubt(id, regua_ledger::doubt::Resolution::Drop, "ana".into(), "já pagou".into()).await.unwrap();
    assert_eq!(w.finish(id, attempt, sent("opa-9")).await, FinishAnswer::Late);
    let (message, attempts) = w.ledger.message(id).await.unwrap().unwrap();
    assert_eq!((message.state, attempts[0].outcome.as_deref()), (State::Failed, Some("sent")));
    let kept = w.f.text(format!("SELECT provider_id FROM attempts WHERE id = '{attempt}'")).await;
    assert_eq!(kept.as_deref(), Some("opa-9"));
}

async fn a_batch_settles_each_by_itself(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 0, ..Setup::default() }).await;
    let ids = w.queued(30).await;
    let mut batch = Vec::new();
    for (turn, answer) in w.start(&ids).await.into_iter().enumerate() {
        let regua_ledger::start::StartAnswer::Started(started) = answer else { panic!("{answer:?}") };
        let settlement = match turn % 3 {
            0 => sent(&format!("p{turn}")),
            1 => Settlement::GiveBack,
            _ => Settlement::Fail { why: FailReason::Rejected },
        };
        batch.push(finished(ids[turn], started.attempt_id, settlement));
    }
    batch.reverse();
    let stranger = finished(MessageId(new_id()), AttemptId(new_id()), sent("x"));
    batch.insert(5, stranger.clone());
    let answers = w.ledger.finish(batch).await.unwrap();
    assert_eq!(answers.len(), 31);
    for (attempt, answer) in answers {
        assert_eq!(answer, if attempt == stranger.attempt_id { FinishAnswer::Unknown } else { FinishAnswer::Settled });
    }
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!([State::Sent, State::Scheduled, State::Failed].map(|state| counts.of(state)), [10, 10, 10]);
    assert_eq!(w.f.count("attempts WHERE counted_on IS NOT NULL").await, 20);
    assert_eq!(w.message(ids[27]).await.provider_id.as_deref(), Some("p27"), "each with its own id");
}

async fn nothing_and_no_more_than_a_batch_may_be_reported(f: Fixture) {
    let w = world(f).await;
    assert!(w.ledger.finish(vec![]).await.unwrap().is_empty());
    let many = (0..=BATCH_MAX).map(|_| finished(MessageId(new_id()), AttemptId(new_id()), sent("x"))).collect();
    assert!(matches!(w.ledger.finish(many).await, Err(LedgerError::Refused(_))), "a result is never dropped in silence");
}

/// PostgreSQL has no text with a NUL. Whoever reports it halves its batch and gives it up alone (F26a), instead of trying it for ever.
async fn f26a_what_no_column_can_hold_is_told_as_refused(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    match w.ledger.finish(vec![finished(id, attempt, sent("a\0b"))]).await {
        Ok(_) => assert!(w.f.is_sqlite()),
        Err(error) => assert!(error.is_violation() && !w.f.is_sqlite(), "{error:?}"),
    }
}

conformance! {
    each_answer_has_its_state_reason_and_attempts
    what_is_given_back_uses_no_attempt_and_restores_its_recipient
    a_recipients_counters_go_back_only_while_its_last_attempt_is_this_one
    only_an_attempts_own_result_settles_it
    a_result_that_comes_twice_changes_nothing_and_says_so
    f1_a_late_refusal_settles_doubt_too
    what_proves_nothing_leaves_doubt_as_it_is
    a_late_proof_that_nothing_was_taken_settles_doubt
    f1_a_late_proof_that_nothing_was_taken_brings_back_nothing_that_was_overtaken
    f1_a_late_answer_is_never_discarded
    a_batch_settles_each_by_itself
    nothing_and_no_more_than_a_batch_may_be_reported
    f26a_what_no_column_can_hold_is_told_as_refused
}
