//! What a run writes: messages with its own counters and cursor, in one transaction under its lease.

use crate::databases::Fixture;
use crate::setup::{Setup, TEMPLATE, stage};
use crate::world::{World, customer, date, due_for, invoice, paid, sent, skipped, today};
use chrono::TimeDelta;
use regua_domain::ids::{MessageId, PolicyId};
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::Customer;
use regua_domain::settlement::Settlement;
use regua_domain::stage::Stage;
use regua_ledger::evaluation::EvaluationCounts;
use regua_ledger::runs::{Cursor, LEASE, LeaseAnswer};
use regua_ledger::{LedgerError, new_id};
use uuid::Uuid;

fn without_phone(number: u32) -> Customer {
    Customer { mobile_phone: "3333-4444".into(), ..customer(number) }
}

/// Long offsets and lives, so that days may pass.
fn patient() -> Setup {
    Setup { open_windows: 10, max_age: "30d", ..Setup::default() }
}

async fn a_run_writes_one_message_per_invoice_that_is_due(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let customers: Vec<_> = (1..=4).map(customer).chain([without_phone(5)]).collect();
    let dues = ["pre_due", "due_day", "overdue", "pending_query", "overdue"].map(due_for);
    let mut invoices: Vec<_> = (1..).zip(dues).map(|(n, due)| invoice(n, n, due)).collect();
    invoices.extend([
        invoice(6, 1, date("2026-03-25")),
        paid(&invoice(7, 1, due_for("overdue"))),
        invoice(8, 99, due_for("overdue")),
    ]);
    w.sync(&customers, &invoices).await;
    let (run, counts) = w.evaluate().await;
    assert_eq!(counts, EvaluationCounts { held: 4, skipped: 2, ..EvaluationCounts::default() });
    for (number, stage) in (1..).zip([Stage::PreDue, Stage::DueDay, Stage::Overdue, Stage::PendingQuery]) {
        let message = w.message_of(number).await;
        assert_eq!((message.stage, message.state, message.run_id), (stage, State::Held, run));
        assert_eq!((message.attempts, message.next_attempt_at, message.provider_id), (0, None, None));
        assert_eq!(message.expires_at, "2026-03-09T21:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap(), "18:00");
    }
    assert_eq!(w.state(w.message_of(5).await.id).await, skipped(SkipReason::NoValidPhone));
    assert_eq!(w.state(w.message_of(8).await.id).await, skipped(SkipReason::NoCustomer));
    assert!(w.messages_of(6).await.is_empty() && w.messages_of(7).await.is_empty());
    let run = w.ledger.run(run).await.unwrap().unwrap();
    assert_eq!((run.evaluated, run.held, run.skipped, run.revived, run.superseded, run.blocked), (6, 4, 2, 0, 0, 0));
    assert_eq!(w.f.count("message_texts").await, 4);
}

async fn what_a_message_says_is_kept_to_the_letter(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.sync(&[Customer { name: "João \"Zé\" D'Ávila\\ 😀".into(), ..customer(1) }], &[invoice(1, 1, due_for("overdue"))]).await;
    w.evaluate().await;
    w.release().await;
    let id = w.top_up(10).await[0];
    let text = w.started(id).await.text;
    assert_eq!(text.values.by_position(), ["João \"Zé\" D'Ávila\\ 😀", "R$100,00", "06/03/2026"]);
    assert_eq!((text.phone.as_str(), text.phone_key.as_str()), ("+5511980000001", "1180000001"));
    assert_eq!((text.provider_channel_id.as_str(), text.template_id.as_str()), ("64f1c0de0a1b2c3d4e5f6001", TEMPLATE));
}

async fn a_lost_lease_writes_nothing(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 3, due_for("overdue")).await;
    let run = w.leased_run().await;
    let batch = w.decide(&run).await;
    w.f.advance(LEASE).await;
    let LeaseAnswer::Leased(next) = w.ledger.lease_run(run.run.id, new_id(), today(), None).await.unwrap() else { panic!() };
    let error = w.ledger.commit_evaluation(batch.clone()).await.unwrap_err();
    assert!(matches!(error, LedgerError::LeaseLost), "{error:?}");
    assert_eq!(w.ledger.counts().await.unwrap().total(), 0);
    w.ledger.finish_run(run.run.id, next.owner, None).await.unwrap();
    let mut ended = batch;
    ended.owner = next.owner;
    assert!(matches!(w.ledger.commit_evaluation(ended).await, Err(LedgerError::LeaseLost)), "an ended run writes nothing");
    assert_eq!(w.ledger.run(run.run.id).await.unwrap().unwrap().evaluated, 0);
}

async fn a_batch_that_fails_writes_nothing_and_counts_nothing(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 3, due_for("overdue")).await;
    let run = w.leased_run().await;
    let good = w.decide(&run).await;
    let mut bad = good.clone();
    bad.messages[1].policy_id = PolicyId(new_id());
    let error = w.ledger.commit_evaluation(bad).await.unwrap_err();
    assert!(matches!(error, LedgerError::Database(_)) && !error.is_unreachable(), "{error:?}");
    assert_eq!((w.ledger.counts().await.unwrap().total(), w.f.count("message_texts").await), (0, 0));
    assert_eq!(w.ledger.run(run.run.id).await.unwrap().unwrap().evaluated, 0);
    assert_eq!(w.ledger.commit_evaluation(good).await.unwrap().held, 3, "the run goes on");
}

async fn the_same_batch_twice_is_written_once(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 3, due_for("overdue")).await;
    let run = w.leased_run().await;
    let batch = w.decide(&run).await;
    assert_eq!(w.ledger.commit_evaluation(batch.clone()).await.unwrap().held, 3);
    assert_eq!(w.ledger.commit_evaluation(batch.clone()).await.unwrap(), EvaluationCounts::default());
    let mut renamed = batch;
    for message in &mut renamed.messages {
        message.id = MessageId(new_id());
    }
    assert_eq!(w.ledger.commit_evaluation(renamed).await.unwrap(), EvaluationCounts::default(), "under other ids too");
    assert_eq!(w.ledger.run(run.run.id).await.unwrap().unwrap().evaluated, 3);
}

async fn a_second_run_of_a_day_writes_nothing_new(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 3, due_for("overdue")).await;
    let (first, _) = w.evaluate().await;
    let (second, counts) = w.evaluate().await;
    assert_eq!(counts, EvaluationCounts::default());
    assert_ne!(first, second);
    assert_eq!(w.message_of(1).await.run_id, first);
}

async fn runs_add_up_over_their_batches(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 5, due_for("overdue")).await;
    let run = w.leased_run().await;
    let batch = w.decide(&run).await;
    for message in &batch.messages {
        let mut one = batch.clone();
        one.messages = vec![message.clone()];
        one.cursor.as_mut().unwrap().invoice_id.clone_from(&message.subject);
        w.ledger.commit_evaluation(one).await.unwrap();
    }
    let seen = w.ledger.run(run.run.id).await.unwrap().unwrap();
    assert_eq!((seen.evaluated, seen.held), (5, 5));
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!((counts.evaluated, counts.total()), (5, 5));
}

async fn an_empty_batch_moves_the_cursor(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let run = w.leased_run().await;
    let batch = w.decide(&run).await;
    assert_eq!(w.ledger.commit_evaluation(batch.clone()).await.unwrap(), EvaluationCounts::default());
    w.f.advance(LEASE).await;
    let LeaseAnswer::Leased(again) = w.ledger.lease_run(run.run.id, new_id(), today(), None).await.unwrap() else { panic!() };
    assert_eq!(again.cursor, batch.cursor);
}

async fn f25_candidates_come_page_by_page_in_the_order_of_due_date_and_id(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let dues = ["2026-03-07", "2026-03-05", "2026-03-07", "2026-03-06", "2026-03-20"].map(date);
    let invoices: Vec<_> = (1..).zip(dues).map(|(n, due)| invoice(n, n, due)).collect();
    w.sync(&[customer(1)], &invoices).await;
    let span = (date("2026-03-05"), date("2026-03-07"));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = w.ledger.candidates(w.source, span, chrono::DateTime::UNIX_EPOCH, after.as_ref(), 2, false).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(Cursor { source_id: w.source, due_on: last.invoice.due_on, invoice_id: last.invoice.id.0.clone() });
        seen.extend(page.iter().map(|c| (c.invoice.id.0.clone(), c.customer.is_some())));
    }
    let expected = [("i0002", false), ("i0004", false), ("i0001", true), ("i0003", false)];
    assert_eq!(seen, expected.map(|(id, has_customer)| (id.to_owned(), has_customer)));
}

async fn a_candidate_tells_the_messages_that_exist_for_it(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.sync(&[without_phone(1)], &[invoice(1, 1, due_for("overdue"))]).await;
    w.evaluate().await;
    let span = (date("2026-03-01"), date("2026-03-31"));
    let known = w.ledger.candidates(w.source, span, chrono::DateTime::UNIX_EPOCH, None, 10, false).await.unwrap().remove(0).known;
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].stage, known[0].due_on), (Stage::Overdue, Some(due_for("overdue"))));
    assert_eq!((known[0].state, known[0].skip_reason), (State::Skipped, Some(SkipReason::NoValidPhone)));
}

async fn the_next_stage_takes_the_place_of_what_still_waits(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.customers(1, 1, due_for("overdue")).await;
    w.evaluate().await;
    w.f.advance(TimeDelta::days(4)).await;
    let (_, counts) = w.evaluate().await;
    assert_eq!(counts, EvaluationCounts { held: 1, superseded: 1, ..EvaluationCounts::default() });
    let messages = w.messages_of(1).await;
    let states: Vec<_> = messages.iter().map(|m| (m.stage, m.state, m.reason.as_deref())).collect();
    assert_eq!(states, [(Stage::Overdue, State::Skipped, Some("superseded")), (Stage::PendingQuery, State::Held, None)]);
}

async fn a_newer_due_date_takes_the_place_of_what_still_waits(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.customers(1, 1, due_for("overdue")).await;
    w.evaluate().await;
    w.sync(&[], &[invoice(1, 1, today())]).await;
    let (_, counts) = w.evaluate().await;
    assert_eq!(counts, EvaluationCounts { held: 1, superseded: 1, ..EvaluationCounts::default() });
    let due: Vec<_> = w.messages_of(1).await.iter().map(|m| (m.due_on, m.state)).collect();
    assert_eq!(due, [(Some(due_for("overdue")), State::Skipped), (Some(today()), State::Held)]);
}

/// The ERP corrects a due date after a reminder for the wrong, later one: what is due for the right one is said all the same.
async fn a_due_date_that_was_moved_back_is_told(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.customers(1, 1, due_for("due_day")).await;
    w.evaluate().await;
    w.release().await;
    let id = w.top_up(10).await[0];
    w.send(id).await;
    w.sync(&[], &[invoice(1, 1, due_for("overdue"))]).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    let stages: Vec<_> = w.messages_of(1).await.into_iter().map(|m| (m.due_on.unwrap(), m.stage, m.state)).collect();
    let (overdue, due_day) = (due_for("overdue"), due_for("due_day"));
    assert_eq!(stages, [(overdue, Stage::Overdue, State::Held), (due_day, Stage::DueDay, State::Sent)]);
}

/// F11: an evaluator that read before the due date moved writes nothing for the old one after the new one was said.
async fn f11_what_was_read_before_the_due_date_moved_is_not_written(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.customers(1, 1, due_for("overdue")).await;
    let slow = w.leased_run().await;
    let read = w.decide(&slow).await;
    assert_eq!(read.messages.len(), 1);
    w.sync(&[], &[invoice(1, 1, due_for("due_day"))]).await;
    w.f.advance(TimeDelta::seconds(1)).await;
    w.evaluate().await;
    w.release().await;
    let id = w.top_up(10).await[0];
    w.send(id).await;
    assert_eq!(w.ledger.commit_evaluation(read).await.unwrap(), EvaluationCounts::default());
    assert_eq!(w.messages_of(1).await.len(), 1);
}

async fn an_earlier_stage_never_follows_one_that_may_have_arrived(f: Fixture) {
    let w = World::new(f, &patient()).await;
    let id = w.queued(1).await[0];
    w.send(id).await;
    // The due date moves back, so that an earlier occasion becomes due.
    w.sync(&[], &[invoice(1, 1, date("2026-03-05"))]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default());
    assert_eq!(w.messages_of(1).await.len(), 1);
}

/// A message in somebody's hands can't be superseded: its invoice is left to the next run.
async fn f11_a_sending_sibling_blocks_its_invoice_for_this_run(f: Fixture) {
    let w = World::new(f, &patient()).await;
    let ids = w.queued(2).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    w.f.advance(TimeDelta::days(4)).await;
    let (run, counts) = w.evaluate().await;
    assert_eq!(counts, EvaluationCounts { held: 1, superseded: 1, blocked: 1, ..EvaluationCounts::default() });
    let seen = w.ledger.run(run).await.unwrap().unwrap();
    assert_eq!((seen.evaluated, seen.blocked), (1, 1));
    assert_eq!(w.message_of(1).await.state, State::Sending);
    w.finish(ids[0], attempt, sent("p")).await;
    assert_eq!(w.evaluate().await.1.held, 1, "then its time has come");
    let states: Vec<_> = w.messages_of(1).await.iter().map(|m| m.state).collect();
    assert_eq!(states, [State::Sent, State::Held]);
}

/// F4: no notice is lost because an earlier run skipped it.
async fn f4a_a_skip_whose_reason_went_away_comes_back(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.sync(&[without_phone(1)], &[invoice(1, 1, due_for("overdue"))]).await;
    let (first, _) = w.evaluate().await;
    let id = w.message_of(1).await.id;
    w.f.advance(TimeDelta::days(1)).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default(), "still without a phone");
    w.sync(&[customer(1)], &[]).await;
    w.release().await;
    let (second, counts) = w.evaluate().await;
    assert_eq!(counts, EvaluationCounts { revived: 1, ..EvaluationCounts::default() });
    let message = w.message_of(1).await;
    assert_eq!((message.id, message.state, message.reason, message.run_id), (id, State::Held, None, second));
    assert_ne!(first, second);
    assert!(w.top_up(10).await.is_empty(), "it carries its new run's time: the release before it doesn't hold for it");
    w.release().await;
    assert_eq!(w.top_up(10).await, [id]);
    let started = w.started(id).await;
    assert_eq!(started.text.phone, "+5511980000001");
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!((counts.evaluated, counts.total()), (1, 1), "the sums hold");
}

async fn a_message_that_came_back_already_is_left_as_it_is(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.sync(&[without_phone(1)], &[invoice(1, 1, due_for("overdue"))]).await;
    w.evaluate().await;
    w.sync(&[customer(1)], &[]).await;
    let (one, other) = (w.leased_run().await, w.leased_run().await);
    let batches = (w.decide(&one).await, w.decide(&other).await);
    assert_eq!(w.ledger.commit_evaluation(batches.0).await.unwrap().revived, 1);
    w.release().await;
    let id = w.top_up(10).await[0];
    assert_eq!(w.ledger.commit_evaluation(batches.1).await.unwrap(), EvaluationCounts::default());
    assert_eq!(w.state(id).await, (State::Queued, None));
}

async fn a_failed_message_does_not_come_back(f: Fixture) {
    let w = World::new(f, &patient()).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, Settlement::Fail { why: regua_domain::message::FailReason::Rejected }).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default());
    assert_eq!(w.state(id).await.0, State::Failed);
}

async fn a_stage_that_cannot_be_sent_leaves_the_earlier_one_waiting(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.customers(1, 1, due_for("overdue")).await;
    w.evaluate().await;
    w.f.advance(TimeDelta::days(4)).await;
    w.sync(&[without_phone(1)], &[]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { skipped: 1, ..EvaluationCounts::default() });
    let states: Vec<_> = w.messages_of(1).await.iter().map(|m| m.state).collect();
    assert_eq!(states, [State::Held, State::Skipped]);
}

async fn no_stage_is_due_before_its_offset_or_after_its_time(f: Fixture) {
    let stages = stage("overdue", 1, "Aviso") + &stage("pending_query", 10, "Pendência");
    let w = World::new(f, &Setup { stages, ..patient() }).await;
    let dues = ["2026-03-10", "2026-03-05", "2026-03-04", "2026-02-27", "2026-02-24", "2026-02-23"].map(date);
    let numbers = 1..=6;
    let invoices: Vec<_> = numbers.clone().zip(dues).map(|(n, due)| invoice(n, n, due)).collect();
    w.sync(&numbers.map(customer).collect::<Vec<_>>(), &invoices).await;
    w.evaluate().await;
    let mut stages = Vec::new();
    for number in 1..=6 {
        stages.push(w.messages_of(number).await.first().map(|m| m.stage));
    }
    assert_eq!(stages, [None, Some(Stage::Overdue), None, Some(Stage::PendingQuery), Some(Stage::PendingQuery), None]);
    assert!(w.ledger.message(MessageId(Uuid::nil())).await.unwrap().is_none());
}

conformance! {
    a_run_writes_one_message_per_invoice_that_is_due
    what_a_message_says_is_kept_to_the_letter
    a_lost_lease_writes_nothing
    a_batch_that_fails_writes_nothing_and_counts_nothing
    the_same_batch_twice_is_written_once
    a_second_run_of_a_day_writes_nothing_new
    runs_add_up_over_their_batches
    an_empty_batch_moves_the_cursor
    f25_candidates_come_page_by_page_in_the_order_of_due_date_and_id
    a_candidate_tells_the_messages_that_exist_for_it
    the_next_stage_takes_the_place_of_what_still_waits
    a_newer_due_date_takes_the_place_of_what_still_waits
    a_due_date_that_was_moved_back_is_told
    f11_what_was_read_before_the_due_date_moved_is_not_written
    an_earlier_stage_never_follows_one_that_may_have_arrived
    f11_a_sending_sibling_blocks_its_invoice_for_this_run
    f4a_a_skip_whose_reason_went_away_comes_back
    a_message_that_came_back_already_is_left_as_it_is
    a_failed_message_does_not_come_back
    a_stage_that_cannot_be_sent_leaves_the_earlier_one_waiting
    no_stage_is_due_before_its_offset_or_after_its_time
}
