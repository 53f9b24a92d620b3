//! F1: the ledger doesn't know how an attempt ended; somebody else does.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{LEASE, World, sent};
use chrono::TimeDelta;
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::State;
use regua_domain::settlement::Settlement;
use regua_ledger::LedgerError;
use regua_ledger::doubt::{DOUBT_GRACE, Resolution};
use regua_ledger::finish::FinishAnswer;

async fn resend(w: &World, id: MessageId) -> Result<(), LedgerError> {
    w.ledger.resolve_doubt(id, Resolution::Resend, "ana".into(), "não chegou".into()).await
}

async fn is_refused(w: &World, id: MessageId, because: &str) {
    let refused = resend(w, id).await;
    assert!(matches!(&refused, Err(LedgerError::Refused(why)) if why.contains(because)), "{refused:?}");
}

/// t0 an attempt starts. t61 a scheduler that reaches the ledger before its dispatcher does has put it in doubt.
async fn rescued_at_t61(f: Fixture) -> (World, MessageId, AttemptId) {
    let w = World::new(f, &Setup { open_windows: 10, ..Setup::default() }).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.f.advance(LEASE + TimeDelta::seconds(1)).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 1);
    assert_eq!(w.state(id).await, (State::InDoubt, Some("lease_expired".into())));
    (w, id, attempt)
}

/// The provider took it at t5, the ledger was away from t4 to t70: the only one who knows is heard, and nobody had it sent again before.
async fn f1_the_proof_of_a_send_settles_the_doubt_that_a_rescue_left(f: Fixture) {
    let (w, id, attempt) = rescued_at_t61(f).await;
    w.f.advance(TimeDelta::seconds(1)).await;
    is_refused(&w, id, "may still report").await;
    w.f.advance(TimeDelta::seconds(8)).await;
    assert_eq!(w.finish(id, attempt, sent("opa-7")).await, FinishAnswer::Settled);
    let (message, attempts) = w.ledger.message(id).await.unwrap().unwrap();
    assert_eq!((message.state, message.reason, message.provider_id.as_deref()), (State::Sent, None, Some("opa-7")));
    assert_eq!(attempts.iter().map(|attempt| attempt.outcome.as_deref()).collect::<Vec<_>>(), [Some("sent")]);
    w.f.advance(DOUBT_GRACE).await;
    is_refused(&w, id, "not in_doubt").await;
    assert!(w.top_up(10).await.is_empty());
}

/// The dispatcher was only suspended before its request. It wakes within the grace, finds its time over and gives the attempt back.
async fn f1_a_suspended_attempt_that_wakes_is_given_back_before_anybody_may_resend_it(f: Fixture) {
    let (w, id, attempt) = rescued_at_t61(f).await;
    w.f.advance(DOUBT_GRACE - TimeDelta::seconds(2)).await;
    is_refused(&w, id, "may still report").await;
    assert_eq!(w.finish(id, attempt, Settlement::GiveBack).await, FinishAnswer::Settled);
    assert_eq!((w.state(id).await.0, w.message(id).await.attempts, w.sent_to(1).await), (State::Scheduled, 0, 0));
    assert_eq!(w.top_up(10).await, [id]);
    w.send(id).await;
}

/// It wakes after the grace, and a person had the message sent again: what it says is kept and moves nothing that is another attempt's.
async fn f1_a_suspended_attempt_that_wakes_after_a_resend_moves_nothing(f: Fixture) {
    let (w, id, first) = rescued_at_t61(f).await;
    w.f.advance(DOUBT_GRACE).await;
    resend(&w, id).await.unwrap();
    assert_eq!(w.top_up(10).await, [id]);
    let second = w.started(id).await.attempt_id;
    assert_eq!(w.finish(id, first, Settlement::GiveBack).await, FinishAnswer::Late);
    assert_eq!((w.state(id).await.0, w.message(id).await.attempts), (State::Sending, 2));
    assert_eq!(w.finish(id, second, sent("opa-8")).await, FinishAnswer::Settled);
    assert_eq!(w.message(id).await.provider_id.as_deref(), Some("opa-8"));
}

conformance! {
    f1_the_proof_of_a_send_settles_the_doubt_that_a_rescue_left
    f1_a_suspended_attempt_that_wakes_is_given_back_before_anybody_may_resend_it
    f1_a_suspended_attempt_that_wakes_after_a_resend_moves_nothing
}
