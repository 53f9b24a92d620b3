//! Receipts that come before their attempt's answer: the platform is faster than its own answer, or than our commit of it.

use crate::databases::Fixture;
use crate::receipts::{is_never_sent_again, of_provider, receipt, receive};
use crate::setup::Setup;
use crate::world::{LEASE, World, finished, sent};
use chrono::TimeDelta;
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DoubtReason, FailReason, State};
use regua_domain::receipt::{AttemptFate, Proof, ReceiptStatus};
use regua_domain::settlement::Settlement;
use regua_ledger::doubt::DOUBT_GRACE;
use regua_ledger::finish::FinishAnswer;
use regua_ledger::receipts::early::{EARLY_FOR, EARLY_MAX};
use regua_ledger::receipts::{BATCH_MAX, Consequence, NewReceipt, ReceiptAnswer};

const DOUBT: Settlement = Settlement::Doubt { why: DoubtReason::TimedOut };

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { per_second: 0, per_day: 50, ..Setup::default() }).await
}

/// How an attempt ends that never got an answer.
#[derive(Clone, Copy, Debug)]
enum End {
    TimeOut,
    Rescue,
    Orphan,
}

impl End {
    /// Whose lease ended may still be answered. An orphan's process is gone, which only that process's rescue knows.
    const fn leaves(self, is_early: bool) -> AttemptFate {
        match self {
            Self::Orphan if is_early => AttemptFate::Undecided,
            Self::Rescue | Self::Orphan => AttemptFate::Open,
            Self::TimeOut => AttemptFate::Undecided,
        }
    }
}

/// Ends an attempt without an answer; whether its message is put in doubt by that.
async fn end(w: &World, id: MessageId, attempt: AttemptId, how: End) -> bool {
    match how {
        End::TimeOut => w.finish(id, attempt, DOUBT).await == FinishAnswer::Settled,
        End::Rescue => {
            w.f.advance(LEASE).await;
            w.ledger.rescue().await.unwrap().len() == 1
        }
        End::Orphan => w.ledger.rescue_orphans().await.unwrap().len() == 1,
    }
}

/// The platform speaks of nothing that it didn't take.
async fn what_a_receipt_proves_of_an_attempt_is_the_same_before_and_after_its_doubt(f: Fixture) {
    let w = world(f).await;
    let mut invoice = 0;
    for how in [End::TimeOut, End::Rescue, End::Orphan] {
        for &status in ReceiptStatus::ALL {
            for is_early in [true, false] {
                invoice += 1;
                let id = w.released(invoice, 1, "overdue").await[0];
                assert_eq!(w.top_up(10).await, [id]);
                let attempt = w.started(id).await.attempt_id;
                let told = NewReceipt { provider_id: Some(format!("opa-{invoice}")), ..receipt(&w, id, Some(attempt), status) };
                if is_early {
                    receive(&w, &[told]).await;
                    let is_doubtful = status.state_after(State::InDoubt, how.leaves(is_early)) == State::InDoubt;
                    assert_eq!(end(&w, id, attempt, how).await, is_doubtful, "{how:?} {status}");
                } else {
                    assert!(end(&w, id, attempt, how).await, "{how:?} {status}");
                    receive(&w, &[told]).await;
                }
                let expected = status.state_after(State::InDoubt, how.leaves(is_early));
                assert_eq!(w.state(id).await.0, expected, "{how:?} {status}, early: {is_early}");
                let provider_id = (expected != State::InDoubt).then(|| format!("opa-{invoice}"));
                assert_eq!(w.message(id).await.provider_id, provider_id);
                is_never_sent_again(&w, id).await;
            }
        }
    }
}

/// A failure doesn't say whether the answer refused the message or took it.
async fn a_failure_that_is_faster_than_the_answer_leaves_it_its_say(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    let at = w.now().await + TimeDelta::minutes(1);
    let answers = [
        (sent("opa-1"), State::Sent),
        (Settlement::Fail { why: FailReason::Undeliverable }, State::Failed),
        (Settlement::Retry { at }, State::Scheduled),
    ];
    for (id, (answer, state)) in ids.into_iter().zip(answers) {
        let attempt = w.started(id).await.attempt_id;
        receive(&w, &[receipt(&w, id, Some(attempt), ReceiptStatus::Failed)]).await;
        assert_eq!(w.state(id).await.0, State::Sending);
        assert_eq!(w.finish(id, attempt, answer).await, FinishAnswer::Settled);
        assert_eq!(w.state(id).await.0, state);
    }
}

/// F1: its dispatcher finds no ledger until it was rescued.
async fn a_failure_leaves_a_rescued_attempts_late_answer_its_say(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(4).await;
    let mut attempts = Vec::new();
    for id in &ids {
        attempts.push(w.started(*id).await.attempt_id);
    }
    let failure = |n: usize| receipt(&w, ids[n], Some(attempts[n]), ReceiptStatus::Failed);
    receive(&w, &[failure(0)]).await;
    w.f.advance(LEASE).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 4);
    receive(&w, &[failure(1), failure(2)]).await;
    let at = w.now().await + TimeDelta::minutes(1);
    for (n, answer, state) in [
        (0, Settlement::Fail { why: FailReason::Undeliverable }, State::Failed),
        (1, Settlement::Retry { at }, State::Scheduled),
        (2, DOUBT, State::Sent),
    ] {
        w.finish(ids[n], attempts[n], answer).await;
        assert_eq!(w.state(ids[n]).await.0, state);
    }
    w.f.advance(DOUBT_GRACE).await;
    receive(&w, &[failure(3)]).await;
    assert_eq!(w.state(ids[3]).await.0, State::Sent, "no answer will come any more");
}

/// A message whose first attempt was refused, and whose second one is on the wire.
async fn tried_again(w: &World) -> (MessageId, AttemptId, AttemptId) {
    let id = w.queued(1).await[0];
    let first = w.started(id).await.attempt_id;
    let at = w.now().await;
    w.finish(id, first, Settlement::Retry { at }).await;
    w.f.advance(TimeDelta::seconds(10)).await;
    assert_eq!(w.top_up(10).await, [id]);
    let second = w.started(id).await.attempt_id;
    (id, first, second)
}

/// What was refused and is reported as failed was told twice, and says nothing of the next attempt.
async fn a_failure_of_one_attempt_leaves_another_ones_doubt(f: Fixture) {
    let w = world(f).await;
    let (id, first, second) = tried_again(&w).await;
    let failure = |attempt| receipt(&w, id, Some(attempt), ReceiptStatus::Failed);
    assert_eq!(receive(&w, &[failure(first)]).await.answers, [ReceiptAnswer::Noted]);
    assert_eq!(w.finish(id, second, DOUBT).await, FinishAnswer::Settled);
    assert_eq!(receive(&w, &[failure(first)]).await.answers, [ReceiptAnswer::Repeated]);
    assert_eq!(w.state(id).await.0, State::InDoubt);
    let moved = ReceiptAnswer::Moved { message: id, from: State::InDoubt, to: State::Sent, contradicts: false };
    assert_eq!(receive(&w, &[failure(second)]).await.answers, [moved]);
}

/// A late result of an attempt says nothing of the one that is on the wire.
async fn the_doubt_of_an_earlier_attempt_ends_no_later_one(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let first = w.started(id).await.attempt_id;
    w.finish(id, first, Settlement::GiveBack).await;
    assert_eq!(w.top_up(10).await, [id]);
    let second = w.started(id).await.attempt_id;
    receive(&w, &[receipt(&w, id, Some(second), ReceiptStatus::Failed)]).await;
    assert_eq!(w.finish(id, first, DOUBT).await, FinishAnswer::Late);
    assert_eq!(w.state(id).await.0, State::Sending, "its own answer is still to come");
    assert_eq!(w.finish(id, second, sent("opa-2")).await, FinishAnswer::Settled);
}

/// An answer said that nothing was taken, so another attempt followed: a person has to look.
async fn proof_against_an_earlier_answer_is_told_while_another_attempt_is_on_the_wire(f: Fixture) {
    let w = world(f).await;
    let (id, first, second) = tried_again(&w).await;
    let told = receipt(&w, id, Some(first), ReceiptStatus::Delivered);
    let moved = ReceiptAnswer::Moved { message: id, from: State::Sending, to: State::Delivered, contradicts: true };
    assert_eq!(receive(&w, &[told]).await.answers, [moved]);
    assert_eq!(w.finish(id, second, DOUBT).await, FinishAnswer::Confirmed);
    assert_eq!(w.state(id).await.0, State::Delivered);
}

/// Both are on the phone: nothing moves, and a person has to know.
async fn proof_that_two_attempts_were_taken_is_told(f: Fixture) {
    let w = world(f).await;
    let (id, first, second) = tried_again(&w).await;
    w.finish(id, second, sent("opa-2")).await;
    let of = |attempt| receipt(&w, id, Some(attempt), ReceiptStatus::Sent);
    let received = receive(&w, &[of(second), of(first)]).await;
    assert_eq!((received.answers, received.doubled), (vec![ReceiptAnswer::Noted; 2], vec![id]));
    assert_eq!(receive(&w, &[of(first)]).await.doubled, [], "once");
}

/// Whichever transaction comes first, the proof is there for the other.
async fn receipts_and_rescues_at_once_leave_no_doubt(f: Fixture) {
    let w = world(f).await;
    let mut told = Vec::new();
    for id in w.queued(60).await {
        let attempt = w.started(id).await.attempt_id;
        told.push(receipt(&w, id, Some(attempt), ReceiptStatus::Sent));
    }
    w.f.advance(LEASE).await;
    let receipts = told.chunks(4).map(|chunk| w.ledger.receive(chunk.to_vec()));
    let rescues = async {
        for _ in 0..20 {
            w.ledger.rescue().await.unwrap();
        }
    };
    let (received, ()) = tokio::join!(futures::future::join_all(receipts), rescues);
    assert!(received.into_iter().all(|received| received.is_ok()));
    w.ledger.rescue().await.unwrap();
    assert_eq!(w.ledger.counts().await.unwrap().of(State::Sent), 60);
}

/// An early receipt whose turn comes, and what comes of it.
async fn turn(w: &World) -> ReceiptAnswer {
    let next_at = w.f.number("SELECT MIN(next_at) FROM early_receipts").await.expect("one waits");
    w.f.advance(TimeDelta::microseconds(next_at - w.now().await.timestamp_micros())).await;
    let answers = w.ledger.receive_early(consequence).await.unwrap().answers;
    assert_eq!(answers.len(), 1);
    answers[0]
}

fn consequence(code: u32) -> Option<Consequence> {
    (code == 131_050).then_some(Consequence::OptOut)
}

/// The webhook's call was answered, and doesn't come again.
async fn a_receipt_that_has_only_the_providers_id_waits_for_the_answer(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    let told = of_provider(&w, "opa-1", ReceiptStatus::Read);
    assert_eq!(receive(&w, &[told.clone(), told]).await.answers, [ReceiptAnswer::Early; 2]);
    let came_at = w.now().await;
    assert_eq!(w.ledger.receive_early(consequence).await.unwrap().answers, [], "not yet");
    assert_eq!(turn(&w).await, ReceiptAnswer::Early);
    w.finish(id, attempt, sent("opa-1")).await;
    let moved = ReceiptAnswer::Moved { message: id, from: State::Sent, to: State::Read, contradicts: false };
    assert_eq!(turn(&w).await, moved);
    let record = w.ledger.receipts(id).await.unwrap().remove(0);
    assert_eq!((record.proved_by, record.attempt), (Proof::ProviderId, Some(attempt)));
    assert!(record.received_at <= came_at, "when it came, not when it was understood");
    assert_eq!(w.f.count("early_receipts").await, 0);
}

/// Most are another sender's: each is tried a few times, ever more seldom.
async fn what_matches_nothing_to_the_end_is_told_and_gone(f: Fixture) {
    let w = world(f).await;
    receive(&w, &[of_provider(&w, "of somebody else", ReceiptStatus::Sent)]).await;
    let came_at = w.now().await;
    let mut ages = Vec::new();
    loop {
        let answer = turn(&w).await;
        ages.push(((w.now().await - came_at).num_milliseconds() + 500) / 1000);
        if answer != ReceiptAnswer::Early {
            assert_eq!(answer, ReceiptAnswer::Unmatched);
            break;
        }
    }
    // Three times as old, or two minutes older; and what the test itself takes.
    let is_next = |pair: &[i64]| (pair[1] - (3 * pair[0]).min(pair[0] + 120)).abs() <= 5;
    assert!(ages.windows(2).all(is_next) && ages.len() <= 11, "{ages:?}");
    assert!(ages.last().is_some_and(|age| *age >= EARLY_FOR.num_seconds()));
    assert_eq!(w.f.count("early_receipts").await, 0);
}

async fn a_failure_that_waited_means_what_its_code_means(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    let told = |code| NewReceipt { provider_code: Some(code), ..of_provider(&w, "opa-1", ReceiptStatus::Failed) };
    receive(&w, &[told(131_050)]).await;
    w.finish(id, attempt, sent("opa-1")).await;
    assert_eq!(turn(&w).await, ReceiptAnswer::Noted);
    assert_eq!(w.ledger.opt_outs(None, 10).await.unwrap().len(), 1);
    assert_eq!(w.ledger.receipts(id).await.unwrap()[0].provider_code, Some(131_050));
}

async fn of_too_many_early_receipts_the_oldest_give_way_and_are_counted(f: Fixture) {
    let w = world(f).await;
    let of = |n: usize| of_provider(&w, &format!("x{n}"), ReceiptStatus::Sent);
    let all: Vec<_> = (0..EARLY_MAX + 2).map(of).collect();
    let mut dropped = 0;
    for batch in all.chunks(BATCH_MAX) {
        dropped += receive(&w, batch).await.dropped;
    }
    assert_eq!((dropped, w.f.count("early_receipts").await), (2, i64::try_from(EARLY_MAX).unwrap()));
    assert_eq!(w.f.count("early_receipts WHERE provider_id IN ('x0', 'x1')").await, 0);
}

/// Answers, receipts and two consoles' turns in any order.
async fn early_receipts_and_their_answers_at_once_settle_every_message(f: Fixture) {
    let w = world(f).await;
    let (mut results, mut told) = (Vec::new(), Vec::new());
    for (n, id) in w.queued(40).await.into_iter().enumerate() {
        let attempt = w.started(id).await.attempt_id;
        results.push(finished(id, attempt, sent(&format!("opa-{n}"))));
        told.push(of_provider(&w, &format!("opa-{n}"), ReceiptStatus::Read));
    }
    let finishes = futures::future::join_all(results.chunks(3).map(|chunk| w.ledger.finish(chunk.to_vec())));
    let receipts = futures::future::join_all(told.chunks(3).map(|chunk| w.ledger.receive(chunk.to_vec())));
    let console = || async {
        for _ in 0..10 {
            w.f.execute("UPDATE early_receipts SET next_at = 0").await;
            w.ledger.receive_early(consequence).await.unwrap();
        }
    };
    let (finishes, receipts, (), ()) = tokio::join!(finishes, receipts, console(), console());
    assert!(finishes.into_iter().all(|finish| finish.is_ok()) && receipts.into_iter().all(|receipt| receipt.is_ok()));
    w.f.execute("UPDATE early_receipts SET next_at = 0").await;
    w.ledger.receive_early(consequence).await.unwrap();
    assert_eq!((w.ledger.counts().await.unwrap().of(State::Read), w.f.count("early_receipts").await), (40, 0));
    assert_eq!(w.f.count("receipts").await, 40);
}

conformance! {
    a_receipt_that_has_only_the_providers_id_waits_for_the_answer
    what_matches_nothing_to_the_end_is_told_and_gone
    a_failure_that_waited_means_what_its_code_means
    of_too_many_early_receipts_the_oldest_give_way_and_are_counted
    early_receipts_and_their_answers_at_once_settle_every_message
    what_a_receipt_proves_of_an_attempt_is_the_same_before_and_after_its_doubt
    a_failure_that_is_faster_than_the_answer_leaves_it_its_say
    a_failure_leaves_a_rescued_attempts_late_answer_its_say
    a_failure_of_one_attempt_leaves_another_ones_doubt
    the_doubt_of_an_earlier_attempt_ends_no_later_one
    proof_against_an_earlier_answer_is_told_while_another_attempt_is_on_the_wire
    proof_that_two_attempts_were_taken_is_told
    receipts_and_rescues_at_once_leave_no_doubt
}
