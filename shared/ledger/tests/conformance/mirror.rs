//! The mirror: one sync per source at a time, rows that never go backwards, events between two looks (F7, F10).

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, customer, date, due_for, invoice, paid, today};
use chrono::TimeDelta;
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::mirror::{Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_ledger::mirror::{MirrorCounts, SYNC_LEASE, Sync};
use regua_ledger::{LedgerError, new_id};

async fn world(f: Fixture) -> World {
    World::new(f, &Setup::default()).await
}

async fn begun(w: &World) -> Sync {
    w.ledger.begin_sync(w.source, new_id()).await.unwrap().expect("nobody else syncs")
}

/// The mirror's invoice 1 and its events.
async fn mirrored(w: &World) -> (Invoice, Vec<String>) {
    let span = (date("2000-01-01"), date("2100-01-01"));
    let record = w.f.text("SELECT record FROM invoices WHERE id = 'i0001'").await.unwrap();
    let events = w.f.texts("SELECT kind FROM events WHERE subject = 'i0001' ORDER BY id").await;
    let invoice: Invoice = serde_json::from_str(&record).unwrap();
    let listed = w
        .ledger
        .candidates(w.source, span, chrono::DateTime::UNIX_EPOCH, None, 10, false)
        .await
        .unwrap()
        .iter()
        .any(|c| c.invoice.id == invoice.id);
    assert_eq!(listed, invoice.is_open(), "a candidate is what is open");
    (invoice, events.into_iter().flatten().collect())
}

async fn f10b_a_source_has_one_sync_at_a_time(f: Fixture) {
    let w = world(f).await;
    let syncs = futures::future::join_all((0..8).map(|_| w.ledger.begin_sync(w.source, new_id()))).await;
    let got: Vec<_> = syncs.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].generation, got[0].is_baseline), (1, true));
    w.ledger.end_sync(got[0], true).await.unwrap();
    let second = begun(&w).await;
    assert_eq!((second.generation, second.is_baseline), (2, false));
}

async fn a_silent_sync_loses_its_source_and_writes_nothing_more(f: Fixture) {
    let w = world(f).await;
    let silent = begun(&w).await;
    w.f.advance(SYNC_LEASE).await;
    let next = begun(&w).await;
    let now = w.now().await;
    let lost = [
        w.ledger.write_customers(silent, vec![customer(1)], now).await.err(),
        w.ledger.write_invoices(silent, vec![invoice(1, 1, today())], now).await.err(),
        w.ledger.end_sync(silent, true).await.err(),
    ];
    assert!(lost.iter().all(|error| matches!(error, Some(LedgerError::LeaseLost))), "{lost:?}");
    assert_eq!((w.f.count("customers").await, w.f.count("invoices").await), (0, 0));
    w.ledger.end_sync(next, true).await.unwrap();
}

async fn each_write_prolongs_a_syncs_lease(f: Fixture) {
    let w = world(f).await;
    let sync = begun(&w).await;
    for _ in 0..3 {
        w.f.advance(SYNC_LEASE - TimeDelta::seconds(5)).await;
        w.ledger.write_customers(sync, vec![customer(1)], w.now().await).await.unwrap();
    }
    assert!(w.ledger.begin_sync(w.source, new_id()).await.unwrap().is_none());
}

async fn the_mirror_is_as_young_as_the_beginning_of_the_newest_complete_sync(f: Fixture) {
    let w = world(f).await;
    let source = async || w.ledger.sources().await.unwrap().remove(0);
    assert!(source().await.complete_at.is_none() && !source().await.is_fresh(w.now().await));
    let given_up = begun(&w).await;
    w.ledger.end_sync(given_up, false).await.unwrap();
    assert_eq!(source().await.complete_at, None);
    let sync = begun(&w).await;
    assert!(sync.is_baseline, "no sync was complete yet");
    w.f.advance(TimeDelta::seconds(30)).await;
    w.ledger.end_sync(sync, true).await.unwrap();
    assert_eq!(source().await.complete_at, Some(sync.began_at));
    assert!(source().await.is_fresh(sync.began_at + TimeDelta::hours(6) - TimeDelta::microseconds(1)));
    assert!(!source().await.is_fresh(sync.began_at + TimeDelta::hours(6)));
    let later = begun(&w).await;
    w.ledger.end_sync(later, false).await.unwrap();
    assert_eq!(source().await.complete_at, Some(sync.began_at), "a sync that was given up makes nothing younger");
}

/// F10: a page that was asked for before a payment was seen doesn't write "open" back.
async fn f10b_rows_never_go_backwards(f: Fixture) {
    let w = world(f).await;
    let open = invoice(1, 1, due_for("overdue"));
    w.sync(&[customer(1)], std::slice::from_ref(&open)).await;
    let sync = begun(&w).await;
    let page_asked_at = w.now().await;
    w.f.advance(TimeDelta::seconds(3)).await;
    let payment_seen_at = w.now().await;
    let counts = w.ledger.write_invoices(sync, vec![paid(&open)], payment_seen_at).await.unwrap();
    assert_eq!(counts, MirrorCounts { written: 1, events: 1 });
    let counts = w.ledger.write_invoices(sync, vec![open.clone()], page_asked_at).await.unwrap();
    assert_eq!(counts, MirrorCounts { written: 0, events: 0 });
    let again = w.ledger.write_invoices(sync, vec![paid(&open)], payment_seen_at).await.unwrap();
    assert_eq!(again, MirrorCounts { written: 0, events: 0 }, "the same look twice is one event");
    assert_eq!(mirrored(&w).await, (paid(&open), vec!["settled".into()]));

    let mut renamed = customer(1);
    renamed.name = "Outro".into();
    assert_eq!(
        w.ledger.write_customers(sync, vec![renamed], page_asked_at).await.unwrap().written,
        1,
        "newer than the first sync"
    );
    assert_eq!(
        w.ledger.write_customers(sync, vec![customer(1)], page_asked_at - TimeDelta::seconds(1)).await.unwrap().written,
        0
    );
}

async fn a_baseline_makes_no_events_not_even_when_it_is_repeated(f: Fixture) {
    let w = world(f).await;
    let open = invoice(1, 1, due_for("overdue"));
    for look in [open.clone(), paid(&open)] {
        let sync = begun(&w).await;
        let counts = w.ledger.write_invoices(sync, vec![look], w.now().await).await.unwrap();
        assert_eq!(counts, MirrorCounts { written: 1, events: 0 });
        w.ledger.end_sync(sync, false).await.unwrap();
    }
}

async fn an_event_is_a_change_between_two_looks(f: Fixture) {
    let w = world(f).await;
    let open = invoice(1, 1, due_for("overdue"));
    w.sync(&[customer(1)], std::slice::from_ref(&open)).await;
    let partly = Invoice { status: InvoiceStatus::Partial, open_amount: Centavos(4_000), ..open.clone() };
    let cancelled = Invoice { status: InvoiceStatus::Cancelled, ..open.clone() };
    let renegotiated = Invoice { renegotiation_id: "77".into(), ..cancelled.clone() };
    for look in [partly, paid(&open), open.clone(), cancelled, open.clone(), renegotiated] {
        w.sync(&[], &[look]).await;
    }
    let (_, events) = mirrored(&w).await;
    assert_eq!(events, ["settled", "reopened", "cancelled", "reopened", "renegotiated"]);
}

async fn a_first_look_is_no_event(f: Fixture) {
    let w = world(f).await;
    w.sync(&[customer(1)], &[]).await;
    let first = paid(&invoice(1, 1, due_for("overdue")));
    w.sync(&[], std::slice::from_ref(&first)).await;
    assert_eq!(mirrored(&w).await, (first, vec![]));
}

async fn a_row_that_comes_twice_in_one_batch_is_written_once(f: Fixture) {
    let w = world(f).await;
    let sync = begun(&w).await;
    let now = w.now().await;
    let twice = vec![customer(1), customer(2), customer(1)];
    assert_eq!(w.ledger.write_customers(sync, twice, now).await.unwrap().written, 2);
    let (first, last) = (invoice(1, 1, today()), Invoice { open_amount: Centavos(5), ..invoice(1, 1, today()) });
    let counts = w.ledger.write_invoices(sync, vec![first, invoice(2, 2, today()), last.clone()], now).await.unwrap();
    assert_eq!(counts.written, 2);
    assert_eq!(mirrored(&w).await.0, last, "the later one");
}

async fn any_text_is_kept_to_the_letter(f: Fixture) {
    let w = world(f).await;
    let sync = begun(&w).await;
    let mut odd = customer(1);
    odd.name = "😀 \u{2028} \u{7f} \"'\\u0041".into();
    w.ledger.write_customers(sync, vec![odd, customer(2)], w.now().await).await.unwrap();
    w.ledger.write_invoices(sync, vec![invoice(1, 1, due_for("overdue"))], w.now().await).await.unwrap();
    let span = (date("2000-01-01"), date("2100-01-01"));
    let candidate = w.ledger.candidates(w.source, span, chrono::DateTime::UNIX_EPOCH, None, 10, false).await.unwrap().remove(0);
    assert_eq!(candidate.customer.unwrap().name, "😀 \u{2028} \u{7f} \"'\\u0041");
}

async fn an_empty_batch_writes_nothing_and_needs_no_lease(f: Fixture) {
    let w = world(f).await;
    let sync = begun(&w).await;
    w.ledger.end_sync(sync, true).await.unwrap();
    let now = w.now().await;
    assert_eq!(w.ledger.write_customers(sync, vec![], now).await.unwrap(), MirrorCounts::default());
    assert_eq!(w.ledger.write_invoices(sync, vec![], now).await.unwrap(), MirrorCounts::default());
}

/// Absence is never an event: what a list no longer has is re-read by id.
async fn f7_open_titles_that_a_list_no_longer_has_are_re_read_by_id(f: Fixture) {
    let w = world(f).await;
    let old = invoice(9, 9, date("2025-01-01"));
    let all: Vec<_> = (1..=5).map(|n| invoice(n, n, due_for("overdue"))).chain([paid(&invoice(6, 6, today())), old]).collect();
    w.sync(&[], &all).await;
    let sync = begun(&w).await;
    w.ledger.write_invoices(sync, vec![all[1].clone()], w.now().await).await.unwrap();
    let unseen = async |after: Option<&str>, limit| {
        let after = after.map(|id| InvoiceId(id.into()));
        let ids = w.ledger.unseen_titles(sync, date("2026-01-01"), after, limit).await.unwrap();
        ids.into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!(
        unseen(None, 10).await,
        ["i0001", "i0003", "i0004", "i0005"],
        "not the paid one, not the one seen, not before the date"
    );
    assert_eq!(unseen(None, 2).await, ["i0001", "i0003"]);
    assert_eq!(unseen(Some("i0003"), 2).await, ["i0004", "i0005"]);
    w.ledger.write_invoices(sync, vec![paid(&all[0])], w.now().await).await.unwrap();
    assert_eq!(unseen(None, 10).await, ["i0003", "i0004", "i0005"]);
    assert_eq!(mirrored(&w).await.1, ["settled"]);
}

async fn the_mirror_tells_which_customers_it_has(f: Fixture) {
    let w = world(f).await;
    w.sync(&[customer(1), customer(2)], &[]).await;
    let ids: Vec<_> = ["c0002", "c0003", "c0001"].map(|id| CustomerId(id.into())).into();
    let mut known = w.ledger.known_customers(w.source, &ids).await.unwrap();
    known.sort();
    assert_eq!(known, [CustomerId("c0001".into()), CustomerId("c0002".into())]);
    assert!(w.ledger.known_customers(w.source, &[]).await.unwrap().is_empty());
}

async fn invoices_are_found_by_id(f: Fixture) {
    let w = world(f).await;
    let all = [invoice(1, 1, today()), paid(&invoice(2, 2, today()))];
    w.sync(&[], &all).await;
    let ids = ["i0002", "i0009", "i0001"].map(|id| InvoiceId(id.into()));
    assert_eq!(w.ledger.invoices_by_id(w.source, &ids).await.unwrap(), all);
    assert!(w.ledger.invoices_by_id(w.source, &[]).await.unwrap().is_empty());
}

conformance! {
    invoices_are_found_by_id
    f10b_a_source_has_one_sync_at_a_time
    a_silent_sync_loses_its_source_and_writes_nothing_more
    each_write_prolongs_a_syncs_lease
    the_mirror_is_as_young_as_the_beginning_of_the_newest_complete_sync
    f10b_rows_never_go_backwards
    a_baseline_makes_no_events_not_even_when_it_is_repeated
    an_event_is_a_change_between_two_looks
    a_first_look_is_no_event
    a_row_that_comes_twice_in_one_batch_is_written_once
    any_text_is_kept_to_the_letter
    an_empty_batch_writes_nothing_and_needs_no_lease
    f7_open_titles_that_a_list_no_longer_has_are_re_read_by_id
    the_mirror_tells_which_customers_it_has
}
