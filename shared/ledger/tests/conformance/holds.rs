//! The ERP's switches and our own holds: at the decision, at the top-up, at the start, and when they are over.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, customer, date, due_for, invoice, skipped};
use chrono::TimeDelta;
use regua_domain::ids::{CustomerId, InvoiceId};
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::switches::HoldKind;
use regua_ledger::holds::{Hold, HoldAnswer, NewHold};
use regua_ledger::start::StartAnswer;

fn new(kind: HoldKind, subject: &str, until_on: &str) -> NewHold {
    NewHold {
        source: None,
        kind,
        subject: subject.into(),
        until_on: date(until_on),
        why: "promised to pay".into(),
        set_by: "maria".into(),
        even_if_unknown: false,
    }
}

/// Sets a hold; the last day of the one before it.
pub async fn hold(w: &World, kind: HoldKind, subject: &str, until_on: &str) -> Option<chrono::NaiveDate> {
    match w.ledger.set_hold(new(kind, subject, until_on)).await.unwrap() {
        HoldAnswer::Done { before, .. } => before,
        other => panic!("{other:?}"),
    }
}

async fn lift(w: &World, kind: HoldKind, subject: &str) -> HoldAnswer {
    w.ledger.lift_hold(None, kind, subject.into(), "joao".into(), "paid at the counter".into()).await.unwrap()
}

async fn holds(w: &World) -> Vec<Hold> {
    w.ledger.holds(None, 100).await.unwrap()
}

/// A ledger whose mirror stays young while days pass, and whose messages may wait for days.
async fn world(f: Fixture) -> World {
    World::new(f, &Setup { max_age: "30d", release: "immediate", ..Setup::default() }).await
}

async fn what_is_held_is_written_as_skipped_and_comes_back_after_its_last_day(f: Fixture) {
    let w = world(f).await;
    w.customers(1, 3, due_for("overdue")).await;
    hold(&w, HoldKind::Customer, "c0001", "2026-03-10").await;
    hold(&w, HoldKind::Invoice, "i0002", "2026-03-13").await;
    let (_, counts) = w.evaluate().await;
    assert_eq!((counts.held, counts.skipped), (1, 2));
    for number in [1, 2] {
        assert_eq!(w.state(w.message_of(number).await.id).await, skipped(SkipReason::OnHold));
    }
    w.f.advance(TimeDelta::days(1)).await;
    assert_eq!(w.evaluate().await.1.revived, 0, "10 March is the last day, not the first one after");
    w.f.advance(TimeDelta::days(1)).await;
    assert_eq!(w.evaluate().await.1.revived, 1);
    assert_eq!(w.message_of(1).await.state, State::Held);
    assert_eq!(w.message_of(2).await.reason.as_deref(), Some("on_hold"));
}

async fn a_hold_that_came_after_the_decision_stops_the_top_up_and_the_start(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    let waiting = w.released(11, 1, "overdue").await[0];
    hold(&w, HoldKind::Invoice, "i0001", "2026-03-09").await;
    hold(&w, HoldKind::Customer, "c0002", "2026-03-09").await;
    hold(&w, HoldKind::Customer, "c0011", "2026-03-09").await;
    for (id, answer) in ids.iter().zip(w.start(&ids).await) {
        assert!(matches!(answer, StartAnswer::Skipped { why: SkipReason::OnHold }), "{answer:?}");
        assert_eq!(w.state(*id).await, skipped(SkipReason::OnHold));
    }
    assert_eq!(w.top_up(10).await, []);
    assert_eq!(w.state(waiting).await, skipped(SkipReason::OnHold));
    assert_eq!(w.f.count("attempts").await, 0);
    // Lifted on the same day: the next run decides afresh.
    assert!(matches!(lift(&w, HoldKind::Invoice, "i0001").await, HoldAnswer::Done { .. }));
    assert_eq!(w.evaluate().await.1.revived, 1);
}

async fn a_switch_thrown_after_the_decision_stops_the_start_with_its_reason(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(8).await;
    let open = |n| invoice(n, n, due_for("overdue"));
    let thrown = [
        Invoice { notifies_overdue: false, ..open(1) },
        Invoice { no_notice_until: Some(date("2026-03-09")), ..open(2) },
        Invoice { protested: true, ..open(3) },
        Invoice { forecast: true, ..open(4) },
        Invoice { released: false, ..open(5) },
        Invoice { reversed: true, ..open(6) },
        Invoice { no_notice_until: Some(date("2026-03-08")), ..open(8) },
    ];
    // The overdue stage comes on the third day.
    w.sync(&[Customer { days_before_collection: 4, ..customer(7) }], &thrown).await;
    let reasons = [
        SkipReason::OverdueNoticesOff,
        SkipReason::NoNoticeUntil,
        SkipReason::Protested,
        SkipReason::Forecast,
        SkipReason::Unreleased,
        SkipReason::Reversed,
        SkipReason::BeforeCollection,
    ];
    let answers = w.start(&ids).await;
    for ((id, answer), reason) in ids.iter().zip(&answers).zip(reasons) {
        assert!(matches!(answer, StartAnswer::Skipped { why } if *why == reason), "{answer:?} {reason}");
        assert_eq!(w.state(*id).await, skipped(reason));
    }
    assert!(matches!(answers[7], StartAnswer::Started(_)), "its last day without a notice is over: {:?}", answers[7]);
}

async fn a_contract_without_notices_of_delay_gets_its_reminder_and_comes_back_when_the_switch_does(f: Fixture) {
    let w = world(f).await;
    let off = |n, stage| Invoice { notifies_overdue: false, ..invoice(n, n, due_for(stage)) };
    let invoices = [off(1, "pre_due"), off(2, "due_day"), off(3, "overdue")];
    w.sync(&[1, 2, 3].map(customer), &invoices).await;
    let (_, counts) = w.evaluate().await;
    assert_eq!((counts.held, counts.skipped), (2, 1));
    assert_eq!(w.state(w.message_of(3).await.id).await, skipped(SkipReason::OverdueNoticesOff));
    w.f.advance(TimeDelta::hours(1)).await;
    w.sync(&[], &[invoice(3, 3, due_for("overdue"))]).await;
    assert_eq!(w.evaluate().await.1.revived, 1);
}

async fn a_hold_is_one_per_subject_and_the_one_before_stays_as_a_record(f: Fixture) {
    let w = world(f).await;
    w.customers(1, 1, due_for("overdue")).await;
    assert_eq!(hold(&w, HoldKind::Customer, "c0001", "2026-03-20").await, None);
    assert_eq!(hold(&w, HoldKind::Customer, "c0001", "2026-03-12").await, Some(date("2026-03-20")), "a shorter one counts, too");
    assert_eq!(hold(&w, HoldKind::Invoice, "i0001", "2026-03-09").await, None);
    let [one, other] = &holds(&w).await[..] else { panic!("two holds") };
    assert_eq!((one.kind, one.subject.as_str(), one.until_on), (HoldKind::Customer, "c0001", date("2026-03-12")));
    assert_eq!((one.why.as_str(), one.set_by.as_str(), other.kind), ("promised to pay", "maria", HoldKind::Invoice));
    assert_eq!(w.ledger.holds(Some(one.id), 1).await.unwrap().len(), 1, "pages go on after an id");
    let on = w.ledger.holds_on(w.source, &InvoiceId("i0001".into()), Some(&CustomerId("c0001".into()))).await.unwrap();
    assert_eq!(on.iter().map(|hold| hold.kind).collect::<Vec<_>>(), [HoldKind::Customer, HoldKind::Invoice], "the longest first");
    let counts = w.ledger.holds_in_force().await.unwrap();
    assert_eq!((counts.get(&HoldKind::Customer), counts.get(&HoldKind::Invoice)), (Some(&1), Some(&1)));
    let lifted = HoldAnswer::Done { source: on[0].source.clone(), before: Some(date("2026-03-12")) };
    assert_eq!(lift(&w, HoldKind::Customer, "c0001").await, lifted);
    assert_eq!(lift(&w, HoldKind::Customer, "c0001").await, HoldAnswer::Unknown);
    w.f.advance(TimeDelta::days(1)).await;
    assert_eq!(holds(&w).await, [], "the other one is over");
    assert_eq!(lift(&w, HoldKind::Invoice, "i0001").await, HoldAnswer::Unknown);
    assert_eq!(hold(&w, HoldKind::Invoice, "i0001", "2026-03-10").await, None, "one that is over makes room in silence");
    assert_eq!(w.f.count("holds").await, 4);
    assert_eq!(w.f.count("holds WHERE lifted_by = 'joao' AND lifted_why = 'paid at the counter' AND lifted_at > 0").await, 1);
}

async fn a_hold_that_could_not_be_meant_is_refused(f: Fixture) {
    let more = "[[source]]\nname = \"Filial\"\nkind = \"files\"\n".to_owned();
    let w = World::new(f, &Setup { more, ..Setup::default() }).await;
    let set = async |hold: NewHold| w.ledger.set_hold(hold).await.unwrap();
    let sources: Vec<_> = w.ledger.sources().await.unwrap().into_iter().map(|source| source.name).collect();
    w.customers(1, 1, due_for("overdue")).await;
    let yesterday = new(HoldKind::Customer, "c0001", "2026-03-08");
    assert_eq!(set(yesterday).await, HoldAnswer::Past { today: date("2026-03-09") });
    let stranger = new(HoldKind::Invoice, "c0001", "2026-03-09");
    assert_eq!(set(stranger.clone()).await, HoldAnswer::Unknown, "a customer's id is no invoice's");
    let forced = NewHold { even_if_unknown: true, ..stranger.clone() };
    assert_eq!(set(forced.clone()).await, HoldAnswer::WhichSource { names: sources.clone() });
    let nowhere = NewHold { source: Some("Matriz".into()), ..forced.clone() };
    assert_eq!(set(nowhere).await, HoldAnswer::NoSource);
    let done = |source: &str| HoldAnswer::Done { source: source.into(), before: None };
    for name in &sources {
        assert_eq!(set(NewHold { source: Some(name.clone()), ..forced.clone() }).await, done(name));
    }
    assert_eq!(lift(&w, HoldKind::Invoice, "c0001").await, HoldAnswer::WhichSource { names: sources });
    let known = NewHold { even_if_unknown: true, ..new(HoldKind::Customer, "c0001", "2026-03-09") };
    assert!(matches!(set(known).await, HoldAnswer::Done { .. }), "only one source has it");
}

async fn a_hold_of_one_source_holds_nothing_of_another(f: Fixture) {
    let more = "[[source]]\nname = \"Filial\"\nkind = \"files\"\n".to_owned();
    let w = World::new(f, &Setup { more, ..Setup::default() }).await;
    w.customers(1, 1, due_for("overdue")).await;
    let own = w.ledger.sources().await.unwrap().into_iter().find(|source| source.id == w.source).unwrap().name;
    let other = if own == "Filial" { "ERP" } else { "Filial" };
    for (kind, subject) in [(HoldKind::Invoice, "i0001"), (HoldKind::Customer, "c0001")] {
        let hold = NewHold { source: Some(other.into()), even_if_unknown: true, ..new(kind, subject, "2026-03-09") };
        let answer = w.ledger.set_hold(hold).await.unwrap();
        assert_eq!(answer, HoldAnswer::Done { source: other.into(), before: None });
    }
    assert_eq!(w.evaluate().await.1.held, 1);
    w.release().await;
    let ids = w.top_up(10).await;
    assert_eq!(ids.len(), 1);
    w.started(ids[0]).await;
}

conformance! {
    what_is_held_is_written_as_skipped_and_comes_back_after_its_last_day
    a_hold_that_came_after_the_decision_stops_the_top_up_and_the_start
    a_switch_thrown_after_the_decision_stops_the_start_with_its_reason
    a_contract_without_notices_of_delay_gets_its_reminder_and_comes_back_when_the_switch_does
    a_hold_is_one_per_subject_and_the_one_before_stays_as_a_record
    a_hold_that_could_not_be_meant_is_refused
    a_hold_of_one_source_holds_nothing_of_another
}
