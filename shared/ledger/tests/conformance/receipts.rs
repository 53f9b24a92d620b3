//! Receipts: evidence that beats doubt and contrary answers, comes twice, out of order and too early, and takes nothing backwards.

use crate::databases::Fixture;
use crate::setup::{Setup, TEMPLATE};
use crate::world::{LEASE, World, by, finished, phone_key, sent};
use chrono::TimeDelta;
use regua_domain::audit::Action;
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DeferReason, DoubtReason, FailReason, SkipReason, State};
use regua_domain::receipt::{Proof, ReceiptStatus};
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_ledger::audit::Filter;
use regua_ledger::finish::FinishAnswer;
use regua_ledger::receipts::{About, BATCH_MAX, Consequence, NewReceipt, ReceiptAnswer, Received};
use regua_ledger::start::StartAnswer;
use regua_ledger::{LedgerError, new_id};

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { per_second: 0, per_day: 50, ..Setup::default() }).await
}

/// A receipt with our ids in it.
pub fn receipt(w: &World, message: MessageId, attempt: Option<AttemptId>, status: ReceiptStatus) -> NewReceipt {
    let about = About::Metadata { message, attempt };
    let integration_id = w.integration;
    NewReceipt { integration_id, about, status, provider_id: None, provider_code: None, consequence: None, came_at: None }
}

/// One with the provider's id alone.
pub fn of_provider(w: &World, provider_id: &str, status: ReceiptStatus) -> NewReceipt {
    let about = About::ProviderId(provider_id.into());
    NewReceipt { about, ..receipt(w, MessageId(new_id()), None, status) }
}

fn failure(w: &World, message: MessageId, attempt: AttemptId, code: u32, consequence: Option<Consequence>) -> NewReceipt {
    NewReceipt { provider_code: Some(code), consequence, ..receipt(w, message, Some(attempt), ReceiptStatus::Failed) }
}

pub async fn receive(w: &World, receipts: &[NewReceipt]) -> Received {
    let received = w.ledger.receive(receipts.to_vec()).await.unwrap();
    assert_eq!(received.answers.len(), receipts.len());
    received
}

/// Nothing of the message is on its way any more, whatever is asked.
pub async fn is_never_sent_again(w: &World, id: MessageId) {
    w.evaluate().await;
    w.release().await;
    assert_eq!(w.top_up(1000).await, []);
    assert!(matches!(w.start_one(id).await, StartAnswer::NotWaiting));
}

async fn a_receipt_settles_doubt(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.f.advance(LEASE).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 1);
    let told = NewReceipt { provider_id: Some("opa-1".into()), ..receipt(&w, id, Some(attempt), ReceiptStatus::Delivered) };
    let moved = ReceiptAnswer::Moved { message: id, from: State::InDoubt, to: State::Delivered, contradicts: false };
    assert_eq!(receive(&w, &[told]).await.answers, [moved]);
    assert_eq!(w.state(id).await, (State::Delivered, None));
    assert_eq!(w.message(id).await.provider_id.as_deref(), Some("opa-1"));
    let record = w.ledger.receipts(id).await.unwrap().remove(0);
    assert_eq!((record.proved_by, record.attempt, record.state_before), (Proof::Metadata, Some(attempt), State::InDoubt));
    is_never_sent_again(&w, id).await;
}

/// F1: the platform may be faster than its own answer.
async fn a_receipt_that_is_faster_than_the_answer_leaves_its_record_to_the_answer(f: Fixture) {
    let w = world(f).await;
    for (n, settlement) in [(0, sent("opa-1")), (1, Settlement::Doubt { why: DoubtReason::TimedOut })] {
        let id = w.released(n + 1, 1, "overdue").await[0];
        assert_eq!(w.top_up(10).await, [id]);
        let attempt = w.started(id).await.attempt_id;
        let told = receipt(&w, id, Some(attempt), ReceiptStatus::Read);
        let moved = ReceiptAnswer::Moved { message: id, from: State::Sending, to: State::Read, contradicts: false };
        assert_eq!(receive(&w, &[told]).await.answers, [moved]);
        let outcome = settlement.outcome();
        assert_eq!(w.finish(id, attempt, settlement.clone()).await, FinishAnswer::Confirmed);
        let (message, attempts) = w.ledger.message(id).await.unwrap().unwrap();
        assert_eq!(
            (message.state, attempts[0].outcome.as_deref(), attempts[0].latency_ms),
            (State::Read, Some(outcome), Some(12))
        );
        assert_eq!(message.provider_id.as_deref(), (n == 0).then_some("opa-1"));
        assert_eq!(w.sent_to(n + 1).await, 1, "it stays counted");
        assert_eq!(w.finish(id, attempt, settlement).await, FinishAnswer::Repeated);
    }
}

async fn an_answer_that_contradicts_an_earlier_receipt_moves_and_refunds_nothing(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    receive(&w, &[receipt(&w, id, Some(attempt), ReceiptStatus::Sent)]).await;
    let at = w.now().await + TimeDelta::minutes(1);
    assert_eq!(w.finish(id, attempt, Settlement::Retry { at }).await, FinishAnswer::Late);
    assert_eq!((w.state(id).await.0, w.sent_to(1).await), (State::Sent, 1));
    is_never_sent_again(&w, id).await;
}

/// A receipt proves a contrary answer wrong: an alarm, and never a second message.
async fn a_receipt_beats_a_contrary_answer_and_says_so(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(4).await;
    let at = w.now().await + TimeDelta::minutes(30);
    let settlements = [
        Settlement::Fail { why: FailReason::Rejected },
        Settlement::Retry { at },
        Settlement::Defer { until: at, why: DeferReason::Throttled },
    ];
    let mut attempts = Vec::new();
    for (id, settlement) in ids.iter().zip(settlements) {
        let attempt = w.started(*id).await.attempt_id;
        assert_eq!(w.finish(*id, attempt, settlement).await, FinishAnswer::Settled);
        attempts.push(Some(attempt));
    }
    w.opt_out(&[4], "ana").await;
    assert!(matches!(w.start_one(ids[3]).await, StartAnswer::Skipped { why: SkipReason::OptedOut }));
    attempts.push(None);
    for (id, attempt) in ids.iter().zip(attempts) {
        let from = w.state(*id).await.0;
        let received = receive(&w, &[receipt(&w, *id, attempt, ReceiptStatus::Delivered)]).await;
        let moved = ReceiptAnswer::Moved { message: *id, from, to: State::Delivered, contradicts: true };
        assert_eq!((received.answers.as_slice(), received.lost.len()), (&[moved][..], 0));
    }
    w.ledger.remove_opt_out(phone_key(4).parse().unwrap(), None, by("ana")).await.unwrap();
    w.f.advance(TimeDelta::minutes(31)).await;
    for id in ids {
        is_never_sent_again(&w, id).await;
    }
}

async fn receipts_that_come_twice_or_out_of_order_end_at_the_best_once(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.send(id).await;
    let of = |status| receipt(&w, id, Some(attempt), status);
    let (first, last) = (of(ReceiptStatus::Sent), of(ReceiptStatus::Read));
    let received = receive(&w, &[last.clone(), first.clone(), last.clone(), of(ReceiptStatus::Delivered)]).await;
    let moved = ReceiptAnswer::Moved { message: id, from: State::Sent, to: State::Read, contradicts: false };
    assert_eq!(received.answers, [moved, ReceiptAnswer::Noted, ReceiptAnswer::Repeated, ReceiptAnswer::Noted]);
    let changed_at = w.message(id).await.updated_at;
    w.f.advance(TimeDelta::seconds(5)).await;
    assert_eq!(receive(&w, &[first, last]).await.answers, [ReceiptAnswer::Repeated, ReceiptAnswer::Repeated]);
    let message = w.message(id).await;
    assert_eq!((message.state, message.updated_at, w.ledger.receipts(id).await.unwrap().len()), (State::Read, changed_at, 3));
}

async fn a_receipt_with_the_providers_id_alone_is_its_own_integrations_attempts(f: Fixture) {
    let other = "[[integration]]\nname = \"Filial\"\nurl = \"https://filial.example.com/api/v1\"\ntoken_env = \"FILIAL\"\n";
    let setup = Setup { per_second: 0, more: other.into(), ..Setup::default() };
    let text = setup.text().replace("token_env = \"OPA_TOKEN\"", "token_env = \"OPA_TOKEN\"\ndefault = true");
    let w = World::new(f, &Setup::default()).await;
    w.ledger.apply_configuration(crate::setup::parse(&text)).await.unwrap();
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, sent("opa-1")).await;
    let stranger = w.f.text("SELECT CAST(id AS TEXT) FROM integrations WHERE name = 'Filial'").await.unwrap().parse().unwrap();
    let known = of_provider(&w, "opa-1", ReceiptStatus::Delivered);
    let foreign = NewReceipt { integration_id: stranger, ..known.clone() };
    let received = receive(&w, &[foreign, of_provider(&w, "opa-2", ReceiptStatus::Read), known]).await;
    let moved = ReceiptAnswer::Moved { message: id, from: State::Sent, to: State::Delivered, contradicts: false };
    assert_eq!(received.answers, [ReceiptAnswer::Early, ReceiptAnswer::Early, moved]);
    let record = w.ledger.receipts(id).await.unwrap().remove(0);
    assert_eq!((record.proved_by, record.attempt), (Proof::ProviderId, Some(attempt)));
}

/// An id that is told before the answer came serves the receipts that have nothing else.
async fn the_providers_id_in_a_receipt_is_kept_with_its_attempt(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    let told = NewReceipt { provider_id: Some("opa-9".into()), ..receipt(&w, id, Some(attempt), ReceiptStatus::Sent) };
    receive(&w, &[told]).await;
    receive(&w, &[of_provider(&w, "opa-9", ReceiptStatus::Read)]).await;
    assert_eq!(w.state(id).await.0, State::Read);
}

/// F8: what we once sent and don't have any more means that the ledger has gone back in time.
async fn our_own_ids_that_the_ledger_does_not_have_are_told(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let (stranger, lost) = (MessageId(new_id()), AttemptId(new_id()));
    let received = receive(
        &w,
        &[receipt(&w, stranger, Some(lost), ReceiptStatus::Sent), receipt(&w, id, Some(lost), ReceiptStatus::Delivered)],
    )
    .await;
    let moved = ReceiptAnswer::Moved { message: id, from: State::Queued, to: State::Delivered, contradicts: true };
    assert_eq!(received.answers, [ReceiptAnswer::Unknown, moved]);
    assert_eq!(received.lost, [format!("message {stranger}"), format!("attempt {lost}")]);
    is_never_sent_again(&w, id).await;
}

/// A person has said what was lost: what is told of it for days still stops nothing, and what came after would.
async fn what_a_restoration_explains_is_not_told_again(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let (stranger, lost) = (MessageId(new_id()), AttemptId(new_id()));
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "ana".into()).await.unwrap();
    let of_then = [receipt(&w, stranger, Some(lost), ReceiptStatus::Read), receipt(&w, id, Some(lost), ReceiptStatus::Delivered)];
    let received = receive(&w, &of_then).await;
    assert_eq!((received.answers[0], received.lost), (ReceiptAnswer::Unknown, vec![]));
    assert_eq!(w.state(id).await.0, State::Delivered, "it is evidence all the same");
    let later = MessageId(new_id());
    let received = receive(&w, &[receipt(&w, later, None, ReceiptStatus::Read)]).await;
    assert_eq!(received.lost, [format!("message {later}")]);
}

async fn a_failure_of_a_message_that_was_taken_is_written_beside_it(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    let attempt = w.send(ids[0]).await;
    assert_eq!(receive(&w, &[failure(&w, ids[0], attempt, 131_026, None)]).await.answers, [ReceiptAnswer::Noted]);
    assert_eq!(w.state(ids[0]).await, (State::Sent, None), "the platform took it, and it is not sent again");
    let record = w.ledger.receipts(ids[0]).await.unwrap().remove(0);
    assert_eq!((record.status, record.provider_code), (ReceiptStatus::Failed, Some(131_026)));
    // The platform speaks of what it took: doubt is over. An answer that refused it is not contradicted.
    let doubtful = w.started(ids[1]).await.attempt_id;
    w.finish(ids[1], doubtful, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    let refused = w.started(ids[2]).await.attempt_id;
    w.finish(ids[2], refused, Settlement::Fail { why: FailReason::Undeliverable }).await;
    let failures = [failure(&w, ids[1], doubtful, 131_026, None), failure(&w, ids[2], refused, 131_026, None)];
    receive(&w, &failures).await;
    assert_eq!((w.state(ids[1]).await.0, w.state(ids[2]).await.0), (State::Sent, State::Failed));
}

async fn a_failure_stops_what_its_code_stops_and_only_once(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(4).await;
    let stop = |scope| Some(Consequence::Stop { scope, why: "a code" });
    let scopes = [StopScope::Channel, StopScope::Business, StopScope::Template, StopScope::Integration];
    let targets = [w.channel.to_string(), w.business.to_string(), TEMPLATE.to_owned(), w.integration.to_string()];
    let mut failures = Vec::new();
    for (id, scope) in ids.iter().zip(scopes) {
        let attempt = w.send(*id).await;
        failures.push(failure(&w, *id, attempt, 131_048, stop(scope)));
    }
    let received = receive(&w, &failures).await;
    let raised: Vec<_> = received.stops.iter().map(|stop| (stop.scope, stop.target.clone())).collect();
    assert_eq!(raised, scopes.into_iter().zip(targets.clone()).collect::<Vec<_>>());
    assert_eq!(w.ledger.stops().await.unwrap().len(), 4);
    for (scope, target) in scopes.into_iter().zip(targets) {
        assert_eq!(w.ledger.resume(scope, target, by("ana")).await.unwrap(), 1);
    }
    assert!(receive(&w, &failures).await.stops.is_empty(), "a receipt that comes again raises nothing that was lifted");
    assert!(w.ledger.stops().await.unwrap().is_empty());
}

async fn who_stopped_messages_at_whatsapp_is_opted_out_of_the_business(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    let (attempt, piloted) = (w.send(ids[0]).await, w.send(ids[1]).await);
    w.f.execute(format!(
        "UPDATE messages SET redirected = {} WHERE id = '{}'",
        if w.f.is_sqlite() { "1" } else { "true" },
        ids[1]
    ))
    .await;
    let failures = [
        failure(&w, ids[0], attempt, 131_050, Some(Consequence::OptOut)),
        failure(&w, ids[1], piloted, 131_050, Some(Consequence::OptOut)),
    ];
    assert_eq!((receive(&w, &failures).await.opted_out, receive(&w, &failures).await.opted_out), (1, 0));
    let opt_outs = w.ledger.opt_outs(None, 10).await.unwrap();
    let [opt_out] = opt_outs.as_slice() else { panic!("{opt_outs:?}") };
    assert_eq!((opt_out.phone_key.as_str(), opt_out.source), (phone_key(1).as_str(), OptOutSource::Webhook));
    assert_eq!(opt_out.scope, OptOutScope::Business(w.business));
    let noted = w.ledger.audit_log(&Filter { action: Some(Action::OptOutAdded), ..Filter::default() }).await.unwrap();
    assert_eq!(
        noted.iter().map(|record| (record.by.as_str(), record.target.as_str())).collect::<Vec<_>>(),
        [("webhook", format!("…{}", &phone_key(1)[6..]).as_str())]
    );
}

async fn receipts_and_answers_at_once_settle_every_message_once(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(20).await;
    let (mut results, mut told) = (Vec::new(), Vec::new());
    for answer in w.start(&ids).await.into_iter().zip(&ids) {
        let (StartAnswer::Started(started), id) = answer else { panic!("{answer:?}") };
        results.push(finished(*id, started.attempt_id, sent("p")));
        told.push(receipt(&w, *id, Some(started.attempt_id), ReceiptStatus::Delivered));
        told.push(receipt(&w, *id, Some(started.attempt_id), ReceiptStatus::Sent));
    }
    let finishes = results.chunks(3).map(|chunk| w.ledger.finish(chunk.iter().rev().cloned().collect()));
    let receipts = told.chunks(7).map(|chunk| w.ledger.receive(chunk.iter().rev().cloned().collect()));
    let (finishes, receipts) = tokio::join!(futures::future::join_all(finishes), futures::future::join_all(receipts));
    for answers in finishes {
        let ok = |answer| matches!(answer, FinishAnswer::Settled | FinishAnswer::Confirmed);
        assert!(answers.unwrap().iter().all(|(_, answer)| ok(*answer)));
    }
    for received in receipts {
        assert!(received.unwrap().lost.is_empty());
    }
    for id in ids {
        let (message, attempts) = w.ledger.message(id).await.unwrap().unwrap();
        assert_eq!((message.state, message.provider_id.as_deref()), (State::Delivered, Some("p")));
        assert_eq!(attempts[0].outcome.as_deref(), Some("sent"));
    }
}

async fn a_batch_of_receipts_is_bounded(f: Fixture) {
    let w = world(f).await;
    let many = vec![of_provider(&w, "opa", ReceiptStatus::Read); BATCH_MAX + 1];
    assert!(matches!(w.ledger.receive(many).await, Err(LedgerError::Refused(_))));
    assert!(w.ledger.receive(Vec::new()).await.unwrap().answers.is_empty());
}

conformance! {
    a_receipt_settles_doubt
    a_receipt_that_is_faster_than_the_answer_leaves_its_record_to_the_answer
    an_answer_that_contradicts_an_earlier_receipt_moves_and_refunds_nothing
    a_receipt_beats_a_contrary_answer_and_says_so
    receipts_that_come_twice_or_out_of_order_end_at_the_best_once
    a_receipt_with_the_providers_id_alone_is_its_own_integrations_attempts
    the_providers_id_in_a_receipt_is_kept_with_its_attempt
    our_own_ids_that_the_ledger_does_not_have_are_told
    what_a_restoration_explains_is_not_told_again
    a_failure_of_a_message_that_was_taken_is_written_beside_it
    a_failure_stops_what_its_code_stops_and_only_once
    who_stopped_messages_at_whatsapp_is_opted_out_of_the_business
    receipts_and_answers_at_once_settle_every_message_once
    a_batch_of_receipts_is_bounded
}
