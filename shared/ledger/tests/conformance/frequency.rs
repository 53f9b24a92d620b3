//! How often a person is written to: so many a day and on seven days, over every business and channel, and never the lesser message first.

use crate::databases::Fixture;
use crate::setup::{Setup, stage};
use crate::world::{World, customer, due_for, invoice, sent, skipped};
use chrono::{DateTime, Days, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use regua_domain::admission::{PHONE_SPACING, RECHECK};
use regua_domain::configuration::Configuration;
use regua_domain::frequency::Precedence;
use regua_domain::ids::MessageId;
use regua_domain::message::{DeferReason, DoubtReason, FailReason, SkipReason, State};
use regua_domain::mirror::Invoice;
use regua_domain::money::Centavos;
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_ledger::start::StartAnswer;
use regua_ledger::stops::NewStop;

/// One customer with an invoice for each stage, all decided and released; the messages, in the order of the stages that are named.
async fn one_person(w: &World, stages: &[&str]) -> Vec<MessageId> {
    let invoices: Vec<_> = (1..).zip(stages).map(|(n, stage)| invoice(n, 1, due_for(stage))).collect();
    w.sync(&[customer(1)], &invoices).await;
    w.evaluate().await;
    w.release().await;
    let mut ids = Vec::new();
    for number in (1..).take(stages.len()) {
        ids.push(w.message_of(number).await.id);
    }
    ids
}

/// The overdue notice goes through the second channel, which belongs to a business of its own.
fn two_businesses(setup: Setup) -> Setup {
    Setup { channel: "Vendas", ..setup }
}

async fn top_up_both(w: &World) -> Vec<MessageId> {
    let mut queued = w.top_up(100).await;
    queued.extend(w.ledger.top_up(w.other_channel, Some(100)).await.unwrap().queued);
    queued
}

async fn next_attempt_at(w: &World, id: MessageId) -> DateTime<Utc> {
    w.message(id).await.next_attempt_at.unwrap()
}

#[track_caller]
fn is_capped(answer: &StartAnswer) {
    assert!(matches!(answer, StartAnswer::Postponed { why: DeferReason::PersonCap }), "{answer:?}");
}

/// A person has one phone, however many businesses write to it. The spacing is each business's own: WhatsApp's rule is per pair.
async fn the_caps_count_over_every_business(f: Fixture) {
    let w = World::new(f, &two_businesses(Setup { per_day: 2, open_windows: 2, ..Setup::default() })).await;
    let ids = one_person(&w, &["pending_query", "overdue", "pre_due"]).await;
    top_up_both(&w).await;
    w.send(ids[0]).await;
    w.send(ids[1]).await;
    assert_eq!(w.f.count("recipients").await, 2);
    assert_eq!(w.sent_to(1).await, 2);
    is_capped(&w.start_one(ids[2]).await);
}

/// Two on Monday, two on Tuesday: the next place is on the Monday after, when the first two are seven days back.
async fn a_person_over_the_weeks_cap_waits_for_the_first_window_that_fits(f: Fixture) {
    // No later stage takes its place meanwhile.
    let stages = stage("overdue", 3, "Aviso");
    let w = World::new(f, &Setup { stages, open_windows: 9, max_age: "30d", ..Setup::default() }).await;
    let ids = one_person(&w, &["overdue"; 5]).await;
    w.top_up(10).await;
    for two in ids[..4].chunks(2) {
        for id in two {
            w.send(*id).await;
            w.f.advance(PHONE_SPACING).await;
        }
        w.f.advance(TimeDelta::days(1)).await;
    }
    is_capped(&w.start_one(ids[4]).await);
    assert_eq!(next_attempt_at(&w, ids[4]).await, "2026-03-16T12:00:00Z".parse::<DateTime<Utc>>().unwrap());
    w.f.advance(next_attempt_at(&w, ids[4]).await - w.now().await).await;
    assert_eq!(w.top_up(10).await, [ids[4]]);
    w.send(ids[4]).await;
}

async fn a_message_that_ends_before_there_is_a_place_is_capped(f: Fixture) {
    let w = World::new(f, &Setup { per_7_days: Some(2), open_windows: 3, max_age: "30d", ..Setup::default() }).await;
    let ids = one_person(&w, &["overdue"; 3]).await;
    w.top_up(10).await;
    for id in &ids[..2] {
        w.send(*id).await;
        w.f.advance(PHONE_SPACING).await;
    }
    assert!(matches!(w.start_one(ids[2]).await, StartAnswer::Skipped { why: SkipReason::Capped }));
    assert_eq!(w.state(ids[2]).await, skipped(SkipReason::Capped));
}

/// What may have arrived keeps its place, what certainly didn't gives it back: whichever of them was last.
async fn doubt_counts_and_a_proof_that_nothing_left_does_not(f: Fixture) {
    let at = |w: &World| {
        let ledger = w.ledger.clone();
        async move { ledger.now().await.unwrap() + TimeDelta::minutes(5) }
    };
    let w = World::new(f, &Setup { per_day: 4, ..Setup::default() }).await;
    let ids = one_person(&w, &["overdue"; 4]).await;
    w.top_up(10).await;
    let mut attempts = Vec::new();
    for id in &ids {
        attempts.push(w.started(*id).await.attempt_id);
        w.f.advance(PHONE_SPACING).await;
    }
    assert_eq!(w.sent_to(1).await, 4);
    w.finish(ids[0], attempts[0], Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    w.finish(ids[1], attempts[1], Settlement::Fail { why: FailReason::Rejected }).await;
    assert_eq!(w.sent_to(1).await, 4);
    w.finish(ids[2], attempts[2], Settlement::Retry { at: at(&w).await }).await;
    assert_eq!(w.sent_to(1).await, 3, "though another attempt was made since");
    w.finish(ids[0], attempts[0], Settlement::GiveBack).await;
    assert_eq!(w.sent_to(1).await, 2, "a late proof settles doubt");
    for _ in 0..2 {
        w.finish(ids[0], attempts[0], Settlement::GiveBack).await;
        w.finish(ids[2], attempts[2], Settlement::GiveBack).await;
    }
    assert_eq!(w.sent_to(1).await, 2, "once");
    w.finish(ids[3], attempts[3], sent("p")).await;
    assert_eq!(w.sent_to(1).await, 2);
}

/// An attempt that proved unsent, and whose message a restored backup puts in doubt, may be reported again: its place is free only once.
async fn an_attempt_gives_its_place_back_only_once(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 4, ..Setup::default() }).await;
    let ids = one_person(&w, &["overdue"; 2]).await;
    w.top_up(10).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    let unsent = Settlement::Retry { at: w.now().await + TimeDelta::minutes(5) };
    w.finish(ids[0], attempt, unsent.clone()).await;
    w.started(ids[1]).await;
    w.f.execute(format!(
        "UPDATE messages SET state = 'in_doubt', reason = 'restored', next_attempt_at = NULL WHERE id = '{}'",
        ids[0]
    ))
    .await;
    w.finish(ids[0], attempt, unsent).await;
    assert_eq!(w.sent_to(1).await, 1, "the other message's");
}

/// Two businesses that first write to one person at the same moment: one start is repeated and finds what the other counted.
async fn f11_two_businesses_that_first_write_to_one_person_at_once_keep_the_cap(f: Fixture) {
    let w = World::new(f, &two_businesses(Setup { per_second: 0, per_day: 1, ..Setup::default() })).await;
    let people = 1..=20_u32;
    let pair = |n: u32| [invoice(2 * n, n, due_for("pending_query")), invoice(2 * n + 1, n, due_for("overdue"))];
    let invoices: Vec<_> = people.clone().flat_map(pair).collect();
    w.sync(&people.clone().map(customer).collect::<Vec<_>>(), &invoices).await;
    w.evaluate().await;
    w.release().await;
    top_up_both(&w).await;
    for person in people {
        let (first, second) = (w.message_of(2 * person).await.id, w.message_of(2 * person + 1).await.id);
        let answers = tokio::join!(w.start_one(first), w.start_one(second));
        let started = [&answers.0, &answers.1].into_iter().filter(|answer| matches!(answer, StartAnswer::Started(_))).count();
        assert_eq!((started, w.sent_to(person).await), (1, 1), "{answers:?}");
    }
}

/// Caps that are changed hold from the next start on.
async fn a_raised_cap_frees_places_at_once(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 1, open_windows: 2, ..Setup::default() }).await;
    let ids = one_person(&w, &["overdue"; 2]).await;
    w.top_up(10).await;
    w.send(ids[0]).await;
    w.f.advance(PHONE_SPACING).await;
    let raised: Configuration = Setup { per_day: 2, open_windows: 2, ..Setup::default() }.configuration();
    w.ledger.apply_configuration(raised).await.unwrap();
    w.send(ids[1]).await;
}

/// The last place of a day is the better message's, though the lesser one's hint comes first and through another channel and business.
async fn a_lesser_message_leaves_the_last_place_to_a_better_one(f: Fixture) {
    let w = World::new(f, &two_businesses(Setup { per_day: 1, open_windows: 2, max_age: "30d", ..Setup::default() })).await;
    let ids = one_person(&w, &["pending_query", "overdue", "pre_due"]).await;
    top_up_both(&w).await;
    for lesser in &ids[1..] {
        is_capped(&w.start_one(*lesser).await);
        assert!(next_attempt_at(&w, *lesser).await - w.now().await <= RECHECK, "it is looked at again soon");
    }
    w.send(ids[0]).await;
    w.f.advance(RECHECK).await;
    assert_eq!(top_up_both(&w).await.len(), 2);
    for lesser in &ids[1..] {
        is_capped(&w.start_one(*lesser).await);
        assert_eq!(next_attempt_at(&w, *lesser).await, "2026-03-10T12:00:00Z".parse::<DateTime<Utc>>().unwrap());
    }
}

/// In one batch, too, and while the better one only waits for its turn at the phone.
async fn a_batch_gives_the_places_to_the_best(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 2, ..Setup::default() }).await;
    let ids = one_person(&w, &["pre_due", "overdue", "pending_query"]).await;
    top_up_both(&w).await;
    let answers = w.start(&ids).await;
    is_capped(&answers[0]);
    assert!(matches!(answers[1], StartAnswer::Postponed { why: DeferReason::PhoneSpacing }), "{:?}", answers[1]);
    assert!(matches!(answers[2], StartAnswer::Started(_)), "{:?}", answers[2]);
    w.f.execute(format!("UPDATE messages SET state = 'queued', queued_at = 1, next_attempt_at = NULL WHERE id = '{}'", ids[0]))
        .await;
    is_capped(&w.start_one(ids[0]).await);
}

/// Only what could go now competes.
async fn a_better_message_that_cannot_go_keeps_nobody_waiting(f: Fixture) {
    let w = World::new(f, &two_businesses(Setup { per_day: 1, open_windows: 2, ..Setup::default() })).await;
    let ids = one_person(&w, &["overdue", "pre_due"]).await;
    let queue_again = format!(
        "UPDATE messages SET state = 'queued', queued_at = 1, next_attempt_at = NULL, reason = NULL WHERE id = '{}'",
        ids[1]
    );
    let set = async |column: &str| w.f.execute(format!("UPDATE messages SET {column} WHERE id = '{}'", ids[0])).await;
    let later = (w.now().await + TimeDelta::minutes(30)).timestamp_micros();
    top_up_both(&w).await;
    for (hinders, lets) in [
        (format!("state = 'scheduled', queued_at = NULL, next_attempt_at = {later}"), "next_attempt_at = 1"),
        (format!("state = 'held', next_attempt_at = NULL, run_planned_at = {later}"), "run_planned_at = 1"),
        ("expires_at = 1".into(), "expires_at = 9000000000000000"),
    ] {
        set(&hinders).await;
        goes_and_is_given_back(&w, ids[1]).await;
        set(lets).await;
        w.f.execute(queue_again.clone()).await;
        is_capped(&w.start_one(ids[1]).await);
        w.f.execute(queue_again.clone()).await;
    }
    w.ledger.pause_channel(w.other_channel, w.now().await + TimeDelta::minutes(1), DeferReason::Throttled).await.unwrap();
    goes_and_is_given_back(&w, ids[1]).await;
    w.f.execute("UPDATE gates SET paused_until = NULL, pause_reason = NULL").await;
    w.f.execute(queue_again).await;
    let stop =
        NewStop { scope: StopScope::Stage, target: "overdue".into(), raised_by: "ana".into(), why: "x".into(), until_at: None };
    assert!(w.ledger.raise_stop(stop).await.unwrap());
    goes_and_is_given_back(&w, ids[1]).await;
}

async fn goes_and_is_given_back(w: &World, id: MessageId) {
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, Settlement::GiveBack).await;
}

/// An invoice of a person whose message has some claim: a stage, a due date that stage still catches up, an amount.
fn some_invoice(number: u32, person: u32, rng: &mut StdRng) -> Invoice {
    let due_on = due_for(["pending_query", "overdue", "pre_due"][rng.random_range(0..3)]) - Days::new(rng.random_range(0..3));
    Invoice { open_amount: Centavos(rng.random_range(1..4) * 10_000), ..invoice(number, person, due_on) }
}

/// The rule of all: whatever order hints come in, whatever is given back, exactly the best of each person are sent.
async fn of_many_messages_exactly_the_best_of_each_person_are_sent(f: Fixture) {
    const PEOPLE: u32 = 12;
    const EACH: u32 = 5;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let w = World::new(f, &two_businesses(Setup { per_second: 0, ..Setup::default() })).await;
    let invoices: Vec<_> = (0..PEOPLE * EACH).map(|n| some_invoice(n, n % PEOPLE, &mut rng)).collect();
    w.sync(&(0..PEOPLE).map(customer).collect::<Vec<_>>(), &invoices).await;
    w.evaluate().await;
    w.release().await;
    let messages = w.ledger.messages(None, None, None, 1000).await.unwrap();
    assert_eq!(messages.len(), (PEOPLE * EACH) as usize);
    while w.ledger.counts().await.unwrap().live() > 0 {
        let mut hints = top_up_both(&w).await;
        hints.shuffle(&mut rng);
        for batch in hints.chunks(rng.random_range(1..9)) {
            for (id, answer) in batch.iter().zip(w.start(batch).await) {
                let StartAnswer::Started(started) = answer else { continue };
                let settlement = if rng.random_bool(0.3) { Settlement::GiveBack } else { sent("p") };
                w.finish(*id, started.attempt_id, settlement).await;
            }
        }
        w.f.advance(TimeDelta::seconds(rng.random_range(1..20))).await;
    }
    for person in 0..PEOPLE {
        let of_person = |subject: &str| invoices.iter().find(|i| i.id.0 == subject && i.customer_id == Some(customer(person).id));
        let mut claims: Vec<_> = messages
            .iter()
            .filter_map(|message| Some((message, of_person(&message.subject)?)))
            .map(|(message, invoice)| Precedence::new(message.stage, message.due_on, invoice.open_amount, message.id))
            .collect();
        claims.sort_unstable();
        for (place, claim) in claims.iter().enumerate() {
            let expected = if place < 2 { State::Sent } else { State::Skipped };
            assert_eq!(w.state(claim.id()).await.0, expected, "person {person}, place {place}");
        }
    }
}

/// Top-up queues the larger amount first where stage and due date are alike.
async fn of_equal_stages_and_dates_the_larger_amount_is_queued_first(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let amounts = [20_000, 5_000, 90_000];
    let invoices: Vec<_> = (1..)
        .zip(amounts)
        .map(|(n, amount)| Invoice { open_amount: Centavos(amount), ..invoice(n, n, due_for("overdue")) })
        .collect();
    w.sync(&[1, 2, 3].map(customer), &invoices).await;
    w.evaluate().await;
    w.release().await;
    for number in [3, 1] {
        assert_eq!(w.top_up(1).await, [w.message_of(number).await.id]);
        w.f.execute("UPDATE messages SET queued_at = 1 WHERE state = 'queued'").await;
    }
    let paid_in_part = Invoice { open_amount: Centavos(1_000), ..invoices[1].clone() };
    w.sync(&[], &[paid_in_part]).await;
    assert_eq!(w.top_up(1).await.len(), 1);
    assert_eq!(w.f.number("SELECT MIN(amount) FROM messages").await, Some(1_000), "rendered again, it asks for less");
}

/// Who waited for a place to the end is told from who waited for something else.
async fn what_waits_for_a_place_to_its_end_is_capped(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 1, open_windows: 2, max_age: "30d", ..Setup::default() }).await;
    let ids = one_person(&w, &["overdue", "pre_due"]).await;
    w.top_up(10).await;
    is_capped(&w.start_one(ids[1]).await);
    w.f.advance(TimeDelta::days(2)).await;
    assert_eq!(w.ledger.expire().await.unwrap(), 2);
    assert_eq!(w.state(ids[1]).await, skipped(SkipReason::Capped));
    assert_eq!(w.state(ids[0]).await, skipped(SkipReason::Expired));
}

conformance! {
    a_lesser_message_leaves_the_last_place_to_a_better_one
    a_batch_gives_the_places_to_the_best
    a_better_message_that_cannot_go_keeps_nobody_waiting
    of_many_messages_exactly_the_best_of_each_person_are_sent
    of_equal_stages_and_dates_the_larger_amount_is_queued_first
    what_waits_for_a_place_to_its_end_is_capped
    the_caps_count_over_every_business
    a_person_over_the_weeks_cap_waits_for_the_first_window_that_fits
    a_message_that_ends_before_there_is_a_place_is_capped
    doubt_counts_and_a_proof_that_nothing_left_does_not
    an_attempt_gives_its_place_back_only_once
    f11_two_businesses_that_first_write_to_one_person_at_once_keep_the_cap
    a_raised_cap_frees_places_at_once
}
