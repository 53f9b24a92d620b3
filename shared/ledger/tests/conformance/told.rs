//! What the ERP's webhook tells: payments and cancellations ahead of the next sync, neither undone by an older look nor lasting past a newer.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, due_for, invoice, paid, skipped};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::ids::InvoiceId;
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Invoice, Told};
use regua_ledger::mirror::told::{EARLY_MAX, TOLD_MAX, ToldAnswer};
use regua_ledger::start::StartAnswer;
use regua_ledger::{LedgerError, new_id};
use std::collections::BTreeMap;

async fn world(f: Fixture) -> World {
    World::new(f, &Setup::default()).await
}

async fn tell(w: &World, told: &[(u32, Told)]) -> ToldAnswer {
    let told = told.iter().map(|(n, told)| (InvoiceId(format!("i{n:04}")), *told)).collect();
    w.ledger.tell(w.source, told).await.unwrap()
}

/// A look at an invoice whose request was issued then.
async fn look(w: &World, invoice: Invoice, issued_at: DateTime<Utc>) {
    let sync = w.ledger.begin_sync(w.source, new_id()).await.unwrap().expect("nobody else syncs");
    w.ledger.write_invoices(sync, vec![invoice], issued_at).await.unwrap();
    w.ledger.end_sync(sync, true).await.unwrap();
}

async fn waiting_notices_of_what_is_paid_or_cancelled_are_skipped_at_once(f: Fixture) {
    let w = world(f).await;
    let ids = w.released(1, 4, "overdue").await;
    assert_eq!(w.top_up(1).await, [ids[0]]);
    let answer = tell(&w, &[(1, Told::Paid), (2, Told::Cancelled), (77, Told::Paid)]).await;
    let unknown = [InvoiceId("i0077".into())].into();
    assert_eq!(answer, ToldAnswer { noted: 2, skipped: 2, unknown, dropped: 0 });
    assert_eq!(w.state(ids[0]).await, skipped(SkipReason::Paid));
    assert_eq!(w.state(ids[1]).await, skipped(SkipReason::Cancelled));
    assert_eq!(w.state(ids[2]).await.0, State::Held, "of the others nothing was told");
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::NotWaiting));
    let again = tell(&w, &[(1, Told::Paid)]).await;
    assert_eq!((again.noted, again.skipped), (1, 0));
}

async fn what_is_being_sent_goes_on(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    w.started(id).await;
    assert_eq!(tell(&w, &[(1, Told::Paid)]).await.skipped, 0);
    assert_eq!(w.state(id).await.0, State::Sending);
}

/// The record stays what the ERP's list said, and nothing is decided or started from it.
async fn nothing_is_decided_or_started_after_it_until_a_newer_look(f: Fixture) {
    let w = world(f).await;
    let id = w.released(1, 1, "overdue").await[0];
    let issued_at = w.now().await;
    w.f.advance(TimeDelta::seconds(10)).await;
    tell(&w, &[(1, Told::Paid)]).await;
    w.evaluate().await;
    assert_eq!(w.state(id).await, skipped(SkipReason::Paid), "the mirror's record alone would bring it back");
    // A page of a sync that was asked for before comes after it.
    look(&w, invoice(1, 1, due_for("overdue")), issued_at).await;
    w.evaluate().await;
    assert_eq!(w.state(id).await, skipped(SkipReason::Paid));
    let record: Invoice = serde_json::from_str(&w.f.text("SELECT record FROM invoices").await.unwrap()).unwrap();
    assert!(record.is_open(), "nobody looked at it since");
    // The ERP's list, asked for later, says that it is owed.
    w.f.advance(TimeDelta::seconds(10)).await;
    look(&w, invoice(1, 1, due_for("overdue")), w.now().await).await;
    w.evaluate().await;
    assert_eq!(w.state(id).await.0, State::Held);
}

/// A message that was written from what a run read before is caught by the start.
async fn a_start_and_a_top_up_honour_what_was_told(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    tell(&w, &[(1, Told::Paid), (2, Told::Paid)]).await;
    for (id, state) in [(ids[0], "'queued', queued_at = 1"), (ids[1], "'scheduled', next_attempt_at = 1")] {
        w.f.execute(format!("UPDATE messages SET reason = NULL, state = {state} WHERE id = '{id}'")).await;
    }
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::Skipped { why: SkipReason::Paid }));
    assert_eq!(w.top_up(10).await, []);
    assert_eq!(w.state(ids[1]).await, skipped(SkipReason::Paid));
}

/// The thanks for a payment are the sync's to say.
async fn a_payment_that_was_told_still_becomes_an_event_of_the_sync(f: Fixture) {
    let w = world(f).await;
    w.released(1, 1, "overdue").await;
    tell(&w, &[(1, Told::Paid)]).await;
    let events = "SELECT count(*) FROM events WHERE kind = 'settled'";
    assert_eq!(w.f.number(events).await, Some(0));
    w.f.advance(TimeDelta::seconds(10)).await;
    look(&w, paid(&invoice(1, 1, due_for("overdue"))), w.now().await).await;
    assert_eq!(w.f.number(events).await, Some(1));
}

async fn what_was_told_is_owed_no_more_in_a_total(f: Fixture) {
    let setup = Setup { variables: "#total_em_aberto#", ..Setup::default() };
    let w = World::new(f, &setup).await;
    let due = due_for("overdue");
    w.sync(&[crate::world::customer(1)], &[invoice(1, 1, due), invoice(2, 1, due)]).await;
    let total = async || {
        let found = w.ledger.candidates_by_id(&InvoiceId("i0001".into())).await.unwrap();
        found[0].1.totals.map(|totals| (totals.open_amount.0, totals.invoices))
    };
    assert_eq!(total().await, Some((20_000, 2)));
    w.f.advance(TimeDelta::seconds(1)).await;
    tell(&w, &[(2, Told::Paid)]).await;
    assert_eq!(total().await, Some((10_000, 1)));
}

async fn a_call_is_bounded(f: Fixture) {
    let w = world(f).await;
    let many: BTreeMap<_, _> = (0..=TOLD_MAX).map(|n| (InvoiceId(n.to_string()), Told::Paid)).collect();
    assert!(matches!(w.ledger.tell(w.source, many).await, Err(LedgerError::Refused(_))));
}

/// A title is issued and paid while a sync is under way: the page that has it as open was asked for before.
async fn what_was_told_of_a_title_that_the_mirror_lacks_holds_when_an_older_look_brings_it(f: Fixture) {
    let w = world(f).await;
    w.sync(&[crate::world::customer(1)], &[]).await;
    let sync = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    let issued_at = w.now().await;
    w.f.advance(TimeDelta::seconds(10)).await;
    assert_eq!(tell(&w, &[(1, Told::Cancelled)]).await.noted, 0);
    assert_eq!(tell(&w, &[(1, Told::Paid), (2, Told::Paid)]).await.unknown.len(), 2);
    w.ledger.write_invoices(sync, vec![invoice(1, 1, due_for("overdue"))], issued_at).await.unwrap();
    w.ledger.end_sync(sync, true).await.unwrap();
    assert_eq!(w.evaluate().await.1.held, 0);
    assert_eq!(w.f.texts("SELECT told FROM invoices").await, [Some("paid".into())], "of two statements the later one");
    assert_eq!(w.f.texts("SELECT invoice_id FROM early_told").await, [Some("i0002".into())]);
    // The ERP's list, asked for later, says that it is owed.
    w.f.advance(TimeDelta::seconds(10)).await;
    look(&w, invoice(1, 1, due_for("overdue")), w.now().await).await;
    assert_eq!(w.evaluate().await.1.held, 1);
}

/// Whatever a sync that began later found, and whatever it found not, it has looked.
async fn what_was_told_of_a_title_that_the_mirror_lacks_ends_with_a_complete_sync_that_began_later(f: Fixture) {
    let w = world(f).await;
    let kept = async || w.f.count("early_told").await;
    let sync = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    w.f.advance(TimeDelta::seconds(1)).await;
    tell(&w, &[(1, Told::Paid)]).await;
    w.ledger.end_sync(sync, true).await.unwrap();
    assert_eq!(kept().await, 1, "it began before");
    w.f.advance(TimeDelta::seconds(1)).await;
    let sync = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    w.ledger.end_sync(sync, false).await.unwrap();
    assert_eq!(kept().await, 1, "it was given up");
    w.sync(&[], &[]).await;
    assert_eq!(kept().await, 0);
}

async fn what_was_told_of_titles_that_the_mirror_lacks_is_bounded_and_the_oldest_gives_way(f: Fixture) {
    let w = world(f).await;
    let mut dropped = 0;
    let numbers: Vec<usize> = (0..EARLY_MAX + 3).collect();
    for chunk in numbers.chunks(TOLD_MAX) {
        let told = chunk.iter().map(|n| (InvoiceId(format!("{n:05}")), Told::Paid)).collect();
        dropped += w.ledger.tell(w.source, told).await.unwrap().dropped;
    }
    assert_eq!((dropped, w.f.count("early_told").await), (3, i64::try_from(EARLY_MAX).unwrap()));
    assert_eq!(w.f.count("early_told WHERE invoice_id >= '00500'").await, i64::try_from(EARLY_MAX + 3 - TOLD_MAX).unwrap());
}

/// A title enters the mirror while it is told paid: one of the two finds what the other wrote.
async fn a_title_that_is_told_and_read_at_once_counts_as_told(f: Fixture) {
    let w = world(f).await;
    w.sync(&[crate::world::customer(1)], &[]).await;
    let sync = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    let issued_at = w.now().await;
    w.f.advance(TimeDelta::seconds(1)).await;
    for n in 1..=30 {
        let told = [(InvoiceId(format!("i{n:04}")), Told::Paid)].into();
        let written = w.ledger.write_invoices(sync, vec![invoice(n, 1, due_for("overdue"))], issued_at);
        let (told, written) = tokio::join!(w.ledger.tell(w.source, told), written);
        assert_eq!((told.unwrap().dropped, written.unwrap().written), (0, 1));
    }
    w.ledger.end_sync(sync, true).await.unwrap();
    assert_eq!((w.f.count("invoices WHERE told = 'paid'").await, w.f.count("early_told").await), (30, 0));
    assert_eq!(w.evaluate().await.1.held, 0);
}

conformance! {
    what_was_told_of_a_title_that_the_mirror_lacks_holds_when_an_older_look_brings_it
    what_was_told_of_a_title_that_the_mirror_lacks_ends_with_a_complete_sync_that_began_later
    what_was_told_of_titles_that_the_mirror_lacks_is_bounded_and_the_oldest_gives_way
    a_title_that_is_told_and_read_at_once_counts_as_told
    waiting_notices_of_what_is_paid_or_cancelled_are_skipped_at_once
    what_is_being_sent_goes_on
    nothing_is_decided_or_started_after_it_until_a_newer_look
    a_start_and_a_top_up_honour_what_was_told
    a_payment_that_was_told_still_becomes_an_event_of_the_sync
    what_was_told_is_owed_no_more_in_a_total
    a_call_is_bounded
}
