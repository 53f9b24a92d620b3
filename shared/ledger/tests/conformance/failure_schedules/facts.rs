//! F4, F7, F26 i: what a message says, and what the mirror learns, changes between the decision and the sending.

use crate::databases::Fixture;
use crate::events::telling;
use crate::setup::Setup;
use crate::world::{World, customer, date, due_for, invoice, paid, skipped};
use chrono::TimeDelta;
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::money::Centavos;
use regua_ledger::evaluation::EvaluationCounts;
use regua_ledger::mirror::SYNC_LEASE;
use regua_ledger::new_id;

/// Decided with R$ 100,00 at ten. One pays R$ 60,00, the other's due date moves; the queue drains on the next day.
async fn f4b_a_queue_that_drains_the_next_day_says_what_is_owed_then(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 3, max_age: "30d", ..Setup::default() }).await;
    let ids = w.released(1, 2, "overdue").await;
    let partly = Invoice { open_amount: Centavos(4_000), ..invoice(1, 1, due_for("overdue")) };
    w.sync(&[], &[partly, invoice(2, 2, date("2026-03-20"))]).await;
    w.f.advance(TimeDelta::days(1)).await;
    assert_eq!(w.top_up(10).await, ids[..1]);
    assert_eq!(w.state(ids[1]).await, skipped(SkipReason::DueDateMoved));
    assert_eq!(w.started(ids[0]).await.text.values.by_position()[1], "R$40,00");
    assert_eq!((w.messages_of(1).await.len(), w.messages_of(2).await.len()), (1, 1), "the same rows");
}

/// A world in which three customers had their overdue notice.
async fn noticed(f: Fixture) -> World {
    let w = World::new(f, &telling()).await;
    for id in w.queued(3).await {
        w.f.advance(TimeDelta::seconds(1)).await;
        w.send(id).await;
    }
    w
}

/// A page is committed, then the sync is killed before anything was decided. To the next sync the invoice is paid as before.
async fn f7_an_event_outlives_the_sync_that_saw_it(f: Fixture) {
    let w = noticed(f).await;
    let payment = paid(&invoice(1, 1, due_for("overdue")));
    let killed = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    let page = w.ledger.write_invoices(killed, vec![payment.clone()], w.now().await).await.unwrap();
    assert_eq!((page.written, page.events), (1, 1));
    w.f.advance(SYNC_LEASE).await;
    w.sync(&[], &[payment]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { held: 1, events: 1, ..EvaluationCounts::default() });
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default(), "told once");
}

/// The list breaks off after its first page; what wasn't listed is neither settled nor forgotten.
async fn f7_a_list_that_breaks_off_settles_nothing(f: Fixture) {
    let w = noticed(f).await;
    let broken = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    w.ledger.write_invoices(broken, vec![invoice(1, 1, due_for("overdue"))], w.now().await).await.unwrap();
    w.ledger.end_sync(broken, false).await.unwrap();
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default());
    assert_eq!((w.f.count("events").await, w.f.count("invoices WHERE is_open").await), (0, 3));
}

/// A removed listing is the customer's event, not each title's.
async fn f7_a_customer_of_twelve_titles_hears_once_of_a_removed_listing(f: Fixture) {
    let w = World::new(f, &telling()).await;
    let titles: Vec<_> = (1..=12).map(|number| invoice(number, 1, due_for("overdue"))).collect();
    let listed = |is_listed| Customer { negatively_listed: Some(is_listed), ..customer(1) };
    w.sync(&[listed(true)], &titles).await;
    w.evaluate().await;
    w.release().await;
    let first = w.top_up(1).await[0];
    w.send(first).await;
    w.sync(&[listed(false)], &titles).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { held: 1, events: 1, ..EvaluationCounts::default() });
}

/// A title whose customer the ERP doesn't give is decided like any other, and stops no batch.
async fn f26i_an_invoice_without_a_customer_is_skipped_alone(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let orphan = Invoice { customer_id: None, ..invoice(1, 1, due_for("overdue")) };
    w.sync(&[customer(2)], &[orphan, invoice(2, 2, due_for("overdue"))]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { held: 1, skipped: 1, ..EvaluationCounts::default() });
    assert_eq!(w.state(w.message_of(1).await.id).await, skipped(SkipReason::NoCustomer));
    assert_eq!(w.message_of(2).await.state, State::Held);
}

conformance! {
    f4b_a_queue_that_drains_the_next_day_says_what_is_owed_then
    f7_an_event_outlives_the_sync_that_saw_it
    f7_a_list_that_breaks_off_settles_nothing
    f7_a_customer_of_twelve_titles_hears_once_of_a_removed_listing
    f26i_an_invoice_without_a_customer_is_skipped_alone
}
