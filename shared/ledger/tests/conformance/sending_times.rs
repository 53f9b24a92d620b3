//! Windows of recipients: when a message may be tried first, what closes while it waits, and what it is overtaken by.

use crate::databases::Fixture;
use crate::setup::{Setup, stage};
use crate::world::{World, customer, date, due_for, invoice, paid};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::mirror::Customer;
use regua_domain::policy::ClosedDay;
use regua_domain::stage::Stage;
use regua_ledger::start::StartAnswer;

/// Messages wait over several windows.
fn patient() -> Setup {
    Setup { open_windows: 10, ..Setup::default() }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Two hours behind São Paulo.
fn in_acre(number: u32) -> Customer {
    Customer { city: "Rio Branco".into(), state: "AC".into(), ..customer(number) }
}

/// Ten o'clock in São Paulo is eight in Acre.
async fn nobody_is_written_to_before_the_window_of_its_own_place_opens(f: Fixture) {
    let w = World::new(f, &patient()).await;
    let due = due_for("overdue");
    w.sync(&[customer(1), in_acre(2)], &[invoice(1, 1, due), invoice(2, 2, due)]).await;
    w.evaluate().await;
    w.release().await;
    assert_eq!(w.top_up(10).await, [w.message_of(1).await.id], "Acre's is not looked at");
    let waits = w.message_of(2).await;
    assert_eq!((waits.state, waits.next_attempt_at), (State::Held, Some(at("2026-03-09T14:00:00Z"))));
    w.f.advance(TimeDelta::minutes(59)).await;
    assert!(w.top_up(10).await.is_empty());
    w.f.advance(TimeDelta::minutes(1)).await;
    assert_eq!(w.top_up(10).await, [waits.id]);
    assert!(matches!(w.start_one(waits.id).await, StartAnswer::Started(_)));
}

/// A message that is queued when its customer turns out to live where it is still closed waits for that place's window.
async fn a_place_that_changes_before_the_start_has_its_own_window(f: Fixture) {
    let w = World::new(f, &patient()).await;
    let ids = w.queued(1).await;
    w.sync(&[in_acre(1)], &[]).await;
    let answer = w.start_one(ids[0]).await;
    assert!(matches!(answer, StartAnswer::Postponed { why: DeferReason::WindowClosed }), "{answer:?}");
    let waits = w.message_of(1).await;
    assert_eq!((waits.state, waits.next_attempt_at), (State::Scheduled, Some(at("2026-03-09T14:00:00Z"))));
}

/// The city's own holiday, configured after the message was decided, keeps it until the day after.
async fn a_holiday_of_the_city_keeps_its_messages(f: Fixture) {
    let w = World::new(f, &patient()).await;
    let due = due_for("overdue");
    let at_home = |number| Customer { city: "Chapecó".into(), state: "SC".into(), ..customer(number) };
    w.sync(&[at_home(1), customer(2)], &[invoice(1, 1, due), invoice(2, 2, due)]).await;
    w.evaluate().await;
    let holiday = "[[holiday]]\nname = \"Aniversário\"\nuf = \"SC\"\ncity = \"chapeco\"\nevery = \"09/03\"\n";
    w.ledger.apply_configuration(Setup { more: holiday.into(), ..patient() }.configuration()).await.unwrap();
    w.release().await;
    assert_eq!(w.top_up(10).await, [w.message_of(2).await.id]);
    let waits = w.message_of(1).await;
    assert_eq!((waits.reason.as_deref(), waits.next_attempt_at), (Some("window_closed"), Some(at("2026-03-10T12:00:00Z"))));
}

/// A message whose window closed is decided afresh when it opens: paid, overtaken, or still right.
async fn what_waits_for_a_window_is_decided_afresh_when_it_opens(f: Fixture) {
    let stages = stage("overdue", 3, "Aviso") + &stage("pending_query", 4, "Pendência");
    let w = World::new(f, &Setup { stages, ..patient() }).await;
    w.f.advance(TimeDelta::hours(8)).await;
    let (overdue, not_yet) = (due_for("overdue"), date("2026-03-07"));
    let invoices = [invoice(1, 1, overdue), invoice(2, 2, overdue), invoice(3, 3, not_yet)];
    w.sync(&[1, 2, 3].map(customer), &invoices).await;
    assert_eq!(w.evaluate().await.1.held, 2, "at six in the evening");
    w.release().await;
    w.f.advance(TimeDelta::hours(15)).await;
    w.sync(&[], &[paid(&invoices[0]), invoices[1].clone(), invoices[2].clone()]).await;
    assert!(w.top_up(10).await.is_empty());
    let ends = [w.message_of(1).await, w.message_of(2).await].map(|m| (m.state, m.reason));
    let skipped = |why: SkipReason| (State::Skipped, Some(why.as_str().to_owned()));
    assert_eq!(ends, [skipped(SkipReason::Paid), skipped(SkipReason::Superseded)]);
    assert_eq!(w.evaluate().await.1.held, 2, "the stage that overtook it, and the third's own");
    assert_eq!(w.messages_of(2).await.last().unwrap().stage, Stage::PendingQuery);
}

async fn a_stage_that_is_switched_off_overtakes_nothing(f: Fixture) {
    let off = stage("pending_query", 4, "Pendência").replace("notice", "enabled = false\nnotice");
    let w = World::new(f, &Setup { stages: stage("overdue", 3, "Aviso") + &off, ..patient() }).await;
    w.customers(1, 1, due_for("overdue")).await;
    w.evaluate().await;
    w.release().await;
    w.f.advance(TimeDelta::days(1)).await;
    w.sync(&[customer(1)], &[invoice(1, 1, due_for("overdue"))]).await;
    assert_eq!(w.top_up(10).await.len(), 1);
}

/// *No vencimento* is right on its own day only, however long messages may wait.
async fn the_due_days_message_ends_with_its_day(f: Fixture) {
    let w = World::new(f, &patient()).await;
    w.customers(1, 1, due_for("due_day")).await;
    w.evaluate().await;
    assert_eq!(w.message_of(1).await.expires_at, at("2026-03-09T21:00:00Z"));
}

async fn hours_and_closed_days_are_kept_and_read_back(f: Fixture) {
    let stages = stage("due_day", 0, "Vence hoje")
        + "closed_day = \"previous\"\nhours = [\"6 08:00-12:00\"]\n"
        + &stage("overdue", 3, "Aviso");
    let policy = "activated_on = 2026-01-01\nhours = [\"1-5 10:00-16:00\"]".to_owned();
    let more =
        "[[holiday]]\nname = \"Aniversário\"\nuf = \"SC\"\ncity = \"chapeco\"\nevery = \"25/08\"\n[window]\nstates = \"law\"\n";
    let setup = Setup { stages, policy, more: more.into(), ..patient() };
    let w = World::new(f, &setup).await;
    assert_eq!(w.ledger.configuration().await.unwrap().unwrap(), setup.configuration());
    let policies = w.ledger.policies().await.unwrap();
    let stages =
        policies[0].stages.iter().map(|stage| (stage.stage, stage.closed_day, stage.hours.map(|hours| hours.to_string())));
    let expected = [
        (Stage::DueDay, ClosedDay::Previous, Some("6 08:00-12:00".to_owned())),
        (Stage::Overdue, ClosedDay::Next, Some("1-5 10:00-16:00".to_owned())),
    ];
    assert_eq!(stages.collect::<Vec<_>>(), expected, "a stage without hours has its policy's");
    assert_eq!(w.ledger.settings().await.unwrap().own_hours.len(), 2);
}

conformance! {
    nobody_is_written_to_before_the_window_of_its_own_place_opens
    a_place_that_changes_before_the_start_has_its_own_window
    a_holiday_of_the_city_keeps_its_messages
    what_waits_for_a_window_is_decided_afresh_when_it_opens
    a_stage_that_is_switched_off_overtakes_nothing
    the_due_days_message_ends_with_its_day
    hours_and_closed_days_are_kept_and_read_back
}
