//! F11: evaluators of two runs meet at the same invoices.

use crate::counts;
use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, customer, due_for, invoice};
use chrono::TimeDelta;
use regua_domain::message::State;
use regua_domain::mirror::Customer;
use regua_domain::stage::Stage;
use regua_ledger::evaluation::{EvaluationBatch, EvaluationCounts};

const INVOICES: u32 = 40;

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { open_windows: 10, max_age: "30d", ..Setup::default() }).await
}

/// Commits two batches at once; what each did.
async fn at_once(w: &World, one: EvaluationBatch, other: EvaluationBatch) -> [EvaluationCounts; 2] {
    let (one, other) = tokio::join!(w.ledger.commit_evaluation(one), w.ledger.commit_evaluation(other));
    [one.unwrap(), other.unwrap()]
}

async fn sums_hold(w: &World) {
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!(counts.evaluated, counts.total(), "the runs' own sums");
    let live = w.f.count("(SELECT subject FROM messages WHERE state IN ('held', 'scheduled', 'queued', 'sending') GROUP BY subject HAVING count(*) > 1) t");
    assert_eq!(live.await, 0, "one live message per invoice");
    counts::agree(w).await;
}

async fn f26b_two_runs_of_one_day_write_each_message_once(f: Fixture) {
    let w = world(f).await;
    w.customers(1, INVOICES, due_for("overdue")).await;
    let (one, other) = (w.leased_run().await, w.leased_run().await);
    let (one, mut other) = (w.decide(&one).await, w.decide(&other).await);
    other.messages.reverse();
    let [one, other] = at_once(&w, one, other).await;
    assert_eq!(one.held + other.held, u64::from(INVOICES));
    assert_eq!(w.ledger.counts().await.unwrap().of(State::Held), u64::from(INVOICES));
    sums_hold(&w).await;
}

async fn f11_of_two_stages_at_once_the_more_advanced_one_stays(f: Fixture) {
    let w = world(f).await;
    w.customers(1, INVOICES, due_for("overdue")).await;
    let yesterdays = w.leased_run().await;
    let earlier = w.decide(&yesterdays).await;
    w.f.advance(TimeDelta::days(4)).await;
    // Time has passed for the ledger, so the first run's lease is taken over by the same evaluator.
    w.ledger.heartbeat(yesterdays.run.id, yesterdays.owner).await.unwrap();
    let later = w.decide(&w.leased_run().await).await;
    assert_eq!((earlier.messages[0].stage, later.messages[0].stage), (Stage::Overdue, Stage::PendingQuery));
    at_once(&w, earlier, later).await;
    sums_hold(&w).await;
    // Whoever was second: the later stage came first and bars the earlier, or takes its place, or comes with the next run.
    w.evaluate().await;
    for number in 1..=INVOICES {
        let live: Vec<_> = w.messages_of(number).await.into_iter().filter(|m| m.state.is_live()).map(|m| m.stage).collect();
        assert_eq!(live, [Stage::PendingQuery], "invoice {number}");
    }
    sums_hold(&w).await;
}

/// One brings an earlier stage back while the other writes the next.
async fn revived_and_new(w: &World) -> [EvaluationBatch; 2] {
    let numbers = 1..=INVOICES;
    let invoices: Vec<_> = numbers.clone().map(|n| invoice(n, n, due_for("overdue"))).collect();
    let without_phone: Vec<_> = numbers.clone().map(|n| Customer { mobile_phone: String::new(), ..customer(n) }).collect();
    w.sync(&without_phone, &invoices).await;
    assert_eq!(w.evaluate().await.1.skipped, u64::from(INVOICES));
    w.sync(&numbers.clone().map(customer).collect::<Vec<_>>(), &[]).await;
    let first = w.leased_run().await;
    let revived = w.decide(&first).await;
    assert!(revived.messages.iter().all(|message| message.revives));
    w.f.advance(TimeDelta::days(4)).await;
    w.ledger.heartbeat(first.run.id, first.owner).await.unwrap();
    let mut new = w.decide(&w.leased_run().await).await;
    assert!(new.messages.iter().all(|message| !message.revives));
    new.messages.reverse();
    [revived, new]
}

/// Neither batch may fail over the other, whichever comes first.
async fn a_revived_and_a_new_message_of_one_invoice_never_live_together(f: Fixture) {
    let w = world(f).await;
    let [revived, new] = revived_and_new(&w).await;
    at_once(&w, revived, new).await;
    sums_hold(&w).await;
}

async fn a_new_and_a_revived_message_of_one_invoice_never_live_together(f: Fixture) {
    let w = world(f).await;
    let [revived, new] = revived_and_new(&w).await;
    at_once(&w, new, revived).await;
    sums_hold(&w).await;
}

conformance! {
    f26b_two_runs_of_one_day_write_each_message_once
    f11_of_two_stages_at_once_the_more_advanced_one_stays
    a_revived_and_a_new_message_of_one_invoice_never_live_together
    a_new_and_a_revived_message_of_one_invoice_never_live_together
}
