//! The pilot: a few phones get messages, or one gets all; asked when a message is decided, topped up and started.

use crate::databases::Fixture;
use crate::setup::{Setup, stage};
use crate::world::{World, due_for, invoice, phone_key, sent, skipped};
use chrono::TimeDelta;
use regua_domain::admission::PHONE_RESERVATION;
use regua_domain::ids::InvoiceId;
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_ledger::start::StartAnswer;

/// Only customer 1.
fn only() -> Setup {
    Setup { more: "[pilot]\nphones = [\"11 98000-0001\"]".into(), ..Setup::default() }
}

/// Everything to a phone of the provider's own.
fn redirect() -> Setup {
    Setup { more: "[pilot]\nredirect_to = \"+5521999990000\"".into(), ..Setup::default() }
}

async fn apply(w: &World, setup: &Setup) {
    w.ledger.apply_configuration(setup.configuration()).await.unwrap();
}

async fn who_takes_no_part_is_skipped_when_it_is_decided(f: Fixture) {
    let w = World::new(f, &only()).await;
    w.customers(1, 3, due_for("overdue")).await;
    let (_, counts) = w.evaluate().await;
    assert_eq!((counts.held, counts.skipped), (1, 2));
    assert_eq!(w.state(w.message_of(2).await.id).await, skipped(SkipReason::Pilot));
    let (_, counts) = w.evaluate().await;
    assert_eq!((counts.held, counts.revived, counts.skipped), (0, 0, 0), "and stays so");
}

/// A pilot that begins while messages wait: neither top-up nor a hint that is on its way gets past it.
async fn a_pilot_that_begins_ends_what_waits(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let ids = w.released(1, 4, "overdue").await;
    assert_eq!(w.top_up(2).await, ids[..2]);
    apply(&w, &only()).await;
    let answers = w.start(&ids[..2]).await;
    assert!(matches!(answers[0], StartAnswer::Started(_)), "{:?}", answers[0]);
    assert!(matches!(answers[1], StartAnswer::Skipped { why: SkipReason::Pilot }), "{:?}", answers[1]);
    assert!(w.top_up(10).await.is_empty());
    for id in &ids[1..] {
        assert_eq!(w.state(*id).await, skipped(SkipReason::Pilot));
    }
}

/// The end of a pilot is no flood: only what is still caught up comes back, and only when it is evaluated again.
async fn after_a_pilot_only_what_is_still_caught_up_comes_back(f: Fixture) {
    let usual = || Setup { stages: stage("overdue", 3, "Aviso"), max_age: "30d", ..Setup::default() };
    let w = World::new(f, &Setup { more: only().more, ..usual() }).await;
    let numbers = [2_u32, 3];
    let customers: Vec<_> = numbers.map(crate::world::customer).into();
    let older = invoice(2, 2, due_for("overdue") - TimeDelta::days(3));
    w.sync(&customers, &[older, invoice(3, 3, due_for("overdue"))]).await;
    w.evaluate().await;
    assert_eq!(w.ledger.counts().await.unwrap().of(State::Skipped), 2);
    apply(&w, &usual()).await;
    w.release().await;
    assert!(w.top_up(10).await.is_empty(), "nothing comes back by itself");
    w.f.advance(TimeDelta::days(2)).await;
    let (_, counts) = w.evaluate().await;
    assert_eq!(counts.revived, 1);
    w.release().await;
    assert_eq!(w.top_up(10).await, [w.message_of(3).await.id]);
}

/// The phone gets every text, six seconds apart and without a cap; the messages say that their customers got nothing.
async fn everything_goes_to_one_phone_and_is_marked(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 1, ..redirect() }).await;
    let ids = w.queued(3).await;
    for (place, id) in ids.iter().enumerate() {
        let started = w.started(*id).await;
        assert_eq!(started.text.phone, "+5521999990000");
        assert!(started.text.values.by_position()[0].starts_with("Cliente"), "the text is the customer's");
        w.finish(*id, started.attempt_id, sent("p")).await;
        assert!(w.message(*id).await.redirected);
        if let Some(next) = ids.get(place + 1) {
            assert!(matches!(w.start_one(*next).await, StartAnswer::Postponed { why: DeferReason::PhoneSpacing }));
            w.f.advance(PHONE_RESERVATION).await;
            assert_eq!(w.top_up(10).await, [*next]);
        }
    }
    assert_eq!(w.ledger.counts().await.unwrap().redirected, 3);
    assert_eq!(w.f.count("people").await, 0, "nobody's caps are charged");
    assert_eq!(w.f.count(&format!("recipients WHERE phone_key = '{}'", phone_key(1))).await, 0);
}

/// What was rendered for the pilot is rendered again before it goes to a customer, and the other way round.
async fn what_waits_when_a_redirection_begins_or_ends_goes_to_the_right_phone(f: Fixture) {
    let w = World::new(f, &redirect()).await;
    let ids = w.queued(2).await;
    apply(&w, &Setup::default()).await;
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::Postponed { why: DeferReason::FactsChanged }));
    assert_eq!(w.top_up(10).await, [ids[0]]);
    let started = w.started(ids[0]).await;
    assert_eq!((started.text.phone.as_str(), w.message(ids[0]).await.redirected), ("+5511980000001", false));
    assert_eq!(w.sent_to(1).await, 1, "and counts for them");
    w.ledger.unqueue(TimeDelta::zero()).await.unwrap();
    apply(&w, &redirect()).await;
    assert_eq!(w.top_up(10).await, [ids[1]]);
    w.f.advance(TimeDelta::seconds(1)).await;
    assert_eq!(w.started(ids[1]).await.text.phone, "+5521999990000");
}

/// Who opted out has opted out of the pilot, too: what is tried out is what will be.
async fn a_redirection_sends_nothing_about_who_opted_out(f: Fixture) {
    let w = World::new(f, &redirect()).await;
    w.opt_out(&[1], "ana").await;
    let ids = w.released(1, 2, "overdue").await;
    assert_eq!(w.state(ids[0]).await, skipped(SkipReason::OptedOut));
    assert_eq!(w.top_up(10).await, [ids[1]]);
}

/// The days between two messages count from what the customer heard, and nobody is thanked for what nobody asked for.
async fn what_went_to_the_pilots_phone_is_no_notice_to_the_customer(f: Fixture) {
    let w = World::new(f, &redirect()).await;
    let id = w.queued(1).await[0];
    w.send(id).await;
    let known = w.ledger.candidates_by_id(&InvoiceId("i0001".into())).await.unwrap().remove(0).1.known;
    assert_eq!((known.len(), known[0].state, known[0].begun_on), (1, State::Sent, None));
}

conformance! {
    what_went_to_the_pilots_phone_is_no_notice_to_the_customer
    who_takes_no_part_is_skipped_when_it_is_decided
    a_pilot_that_begins_ends_what_waits
    after_a_pilot_only_what_is_still_caught_up_comes_back
    everything_goes_to_one_phone_and_is_marked
    what_waits_when_a_redirection_begins_or_ends_goes_to_the_right_phone
    a_redirection_sends_nothing_about_who_opted_out
}
