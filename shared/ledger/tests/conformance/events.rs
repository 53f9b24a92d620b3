//! Events: seen once, told once, and never what is no longer so (F4, F7).

use crate::databases::Fixture;
use crate::setup::{Setup, stage};
use crate::world::{World, begin, by, customer, date, due_for, invoice, phone_key, sent, skipped, today};
use chrono::{NaiveDate, TimeDelta};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use regua_domain::events::{EventOutcome, still_holds};
use regua_domain::ids::{AttemptId, CustomerId, InvoiceId, MessageId};
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::settlement::Settlement;
use regua_domain::stage::Stage;
use regua_ledger::evaluation::EvaluationCounts;
use regua_ledger::events::EventCursor;
use regua_ledger::finish::FinishAnswer;
use regua_ledger::mirror::MirrorCounts;
use regua_ledger::new_id;
use regua_ledger::start::StartAnswer;
use std::collections::BTreeMap;

/// Repeat a failed run with its seed.
const SEED: &str = "REGUA_TEST_SEED";
const STEPS: u32 = 60;

/// A policy that tells of every event, with notices for each.
pub fn telling() -> Setup {
    let notice = |name: &str, digit: u8, variables: &str| {
        format!(
            "[[notice]]\nname = \"{name}\"\nchannel = \"Cobrança\"\ntemplate = \"64f1c0de0a1b2c3d4e5f70a{digit}\"\nvariables = \"{variables}\"\n"
        )
    };
    let told = |stage: &str, notice: &str| format!("[[policy.stage]]\nstage = \"{stage}\"\nnotice = \"{notice}\"\n");
    let stages = stage("overdue", 3, "Aviso")
        + &told("settled", "Baixa")
        + &told("cancelled", "Baixa")
        + &told("renegotiated", "Acordo")
        + &told("bureau_removed", "Negativação");
    let more = notice("Baixa", 1, "#cliente_razao#,#areceber_valor#")
        + &notice("Acordo", 2, "#cliente_razao#,#renegociacao_vencimento#")
        + &notice("Negativação", 3, "#cliente_razao#");
    Setup { stages, more, per_day: 50, max_age: "30d", open_windows: 30, ..Setup::default() }
}

/// A world in which so many customers had their overdue notice.
async fn noticed(f: Fixture, count: u32) -> World {
    let w = World::new(f, &telling()).await;
    for id in w.queued(count).await {
        w.f.advance(TimeDelta::seconds(1)).await;
        w.send(id).await;
    }
    w
}

fn open(number: u32) -> Invoice {
    invoice(number, number, due_for("overdue"))
}

fn paid_on(number: u32, on: NaiveDate) -> Invoice {
    Invoice { status: InvoiceStatus::Received, open_amount: Centavos(0), paid_on: Some(on), ..open(number) }
}

fn cancelled_on(number: u32, on: NaiveDate) -> Invoice {
    Invoice { status: InvoiceStatus::Cancelled, open_amount: Centavos(0), cancelled_on: Some(on), ..open(number) }
}

fn renegotiated(number: u32, into: &str) -> Invoice {
    Invoice { renegotiation_id: into.into(), ..cancelled_on(number, today()) }
}

/// What a renegotiation put in the place of titles of a customer.
fn successor(number: u32, customer: u32, of: &str, due_on: NaiveDate) -> Invoice {
    Invoice { renegotiation_id: of.into(), ..invoice(number, customer, due_on) }
}

fn listed(number: u32, is_listed: bool) -> Customer {
    Customer { negatively_listed: Some(is_listed), ..customer(number) }
}

/// The messages of event stages: subject, stage and occasion, with where they are.
async fn told(w: &World) -> BTreeMap<(String, String, String), String> {
    let sql = "SELECT subject || '/' || stage || '/' || occasion || '/' || state || '/' || COALESCE(reason, '')
               FROM messages WHERE due_on IS NULL";
    let rows = w.f.texts(sql).await.into_iter().flatten();
    let told = rows.map(|row| {
        let parts: Vec<&str> = row.split('/').collect();
        let is = [parts[3], parts[4]].join(" ").trim().to_owned();
        ((parts[0].to_owned(), parts[1].to_owned(), parts[2].to_owned()), is)
    });
    told.collect()
}

fn said(subject: &str, stage: &str, occasion: &str, is: &str) -> ((String, String, String), String) {
    ((subject.to_owned(), stage.to_owned(), occasion.to_owned()), is.to_owned())
}

/// What the events of an invoice led to, the earliest first.
async fn outcomes(w: &World, number: u32) -> Vec<Option<EventOutcome>> {
    let events = w.ledger.events_of_invoice(w.source, &format!("i{number:04}")).await.unwrap();
    events.iter().map(|event| event.outcome).collect()
}

/// The only message of an event stage.
async fn the_one(w: &World) -> MessageId {
    let messages = w.ledger.messages(None, None, None, 1000).await.unwrap();
    let mut told = messages.iter().filter(|message| message.due_on.is_none());
    let id = told.next().expect("one was written").id;
    assert!(told.next().is_none(), "only one was written");
    id
}

async fn each_event_is_told_once_to_whom_a_notice_may_have_reached(f: Fixture) {
    let w = noticed(f, 4).await;
    // The fifth never had a notice; of the fourth a part was paid.
    w.sync(&[customer(5)], &[invoice(5, 5, date("2026-03-20"))]).await;
    let partly = Invoice { status: InvoiceStatus::Partial, open_amount: Centavos(4_000), ..open(4) };
    let unnoticed = Invoice { due_on: date("2026-03-20"), ..paid_on(5, today()) };
    let new = successor(31, 3, "77", date("2026-04-01"));
    w.sync(&[], &[paid_on(1, today()), cancelled_on(2, today()), renegotiated(3, "77"), partly, unnoticed, new]).await;
    let (run, counts) = w.evaluate().await;
    assert_eq!(counts, EvaluationCounts { held: 3, events: 4, ..EvaluationCounts::default() });
    let day = "2026-03-09";
    let expected = [
        said("i0001", "settled", day, "held"),
        said("i0002", "cancelled", day, "held"),
        said("i0003", "renegotiated", "77", "held"),
    ];
    assert_eq!(told(&w).await, BTreeMap::from(expected.clone()));
    assert_eq!(outcomes(&w, 5).await, [Some(EventOutcome::NotNoticed)]);
    assert_eq!(outcomes(&w, 4).await, []);
    assert_eq!(w.f.number(format!("SELECT events FROM runs WHERE id = '{run}'")).await, Some(4));
    let texts =
        w.f.texts("SELECT variables FROM message_texts t JOIN messages m ON m.id = t.message_id WHERE stage = 'renegotiated'");
    assert_eq!(texts.await, [Some(r#"["Cliente 3","01/04/2026"]"#.to_owned())]);
    // Nothing more, however often it is looked at and decided.
    for _ in 0..2 {
        w.sync(&[], &[paid_on(1, today()), cancelled_on(2, today()), renegotiated(3, "77")]).await;
        assert_eq!(w.evaluate().await.1, EvaluationCounts::default());
    }
    assert_eq!(told(&w).await, BTreeMap::from(expected));
    w.release().await;
    w.f.advance(TimeDelta::seconds(10)).await;
    for id in w.top_up(10).await {
        w.send(id).await;
    }
    assert!(told(&w).await.values().all(|is| is == "sent"));
    let side = w.ledger.conservation().await.unwrap();
    assert_eq!((side.counts.evaluated, side.counts.total(), side.sent.len()), (7, 7, 7));
}

async fn a_stage_may_tell_those_too_who_had_no_notice(f: Fixture) {
    let setup = telling();
    let stages = setup.stages.replace("stage = \"settled\"", "stage = \"settled\"\nonly_after_notice = false");
    let w = World::new(f, &Setup { stages, ..setup }).await;
    w.sync(&[customer(1)], &[open(1)]).await;
    w.sync(&[], &[paid_on(1, today())]).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    let policies = w.ledger.configuration().await.unwrap().unwrap().policies;
    let only: Vec<_> = policies[0].stages.iter().map(|stage| (stage.stage, stage.only_after_notice)).collect();
    assert_eq!(only[..3], [(Stage::Overdue, None), (Stage::Settled, Some(false)), (Stage::Cancelled, Some(true))]);
}

async fn f7_a_first_sync_and_a_first_look_tell_nothing(f: Fixture) {
    let w = World::new(f, &telling()).await;
    w.sync(&[listed(1, false)], &[paid_on(1, today())]).await;
    w.sync(&[listed(2, false)], &[paid_on(2, today())]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default());
    assert_eq!(w.f.count("events").await, 0);
}

async fn what_is_older_than_two_days_sends_nothing(f: Fixture) {
    let w = noticed(f, 3).await;
    w.sync(&[], &[paid_on(1, date("2026-03-07")), paid_on(2, date("2026-03-06"))]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { held: 1, events: 2, ..EvaluationCounts::default() });
    assert_eq!(
        (outcomes(&w, 1).await, outcomes(&w, 2).await),
        (vec![Some(EventOutcome::Message)], vec![Some(EventOutcome::TooOld)])
    );
    // Seen in time, but no run looked at it before it was too old.
    w.sync(&[], &[paid_on(3, today())]).await;
    w.f.advance(TimeDelta::days(3)).await;
    assert_eq!(w.evaluate().await.1.held, 0);
    assert_eq!(outcomes(&w, 3).await, [Some(EventOutcome::TooOld)]);
}

async fn f7_a_payment_after_a_reversal_is_another_one_unless_it_is_of_the_same_day(f: Fixture) {
    let w = noticed(f, 1).await;
    let mut expected = BTreeMap::new();
    w.f.advance(TimeDelta::minutes(1)).await;
    for (on, written) in [("2026-03-09", 1), ("2026-03-09", 0), ("2026-03-10", 1)] {
        while w.local_today().await < date(on) {
            w.f.advance(TimeDelta::days(1)).await;
        }
        w.sync(&[], &[paid_on(1, date(on))]).await;
        assert_eq!(w.evaluate().await.1.held, written, "{on}");
        w.release().await;
        for id in w.top_up(10).await {
            w.send(id).await;
        }
        w.f.advance(TimeDelta::minutes(1)).await;
        w.sync(&[], &[open(1)]).await;
        w.evaluate().await;
        w.f.advance(TimeDelta::minutes(1)).await;
        expected.extend([said("i0001", "settled", on, "sent")]);
        assert_eq!(told(&w).await, expected);
    }
}

async fn a_later_payment_takes_the_place_of_one_that_was_not_told_yet(f: Fixture) {
    let w = noticed(f, 1).await;
    w.sync(&[], &[paid_on(1, today())]).await;
    w.evaluate().await;
    w.sync(&[], &[open(1)]).await;
    w.f.advance(TimeDelta::days(1)).await;
    w.sync(&[], &[paid_on(1, date("2026-03-10"))]).await;
    let counts = w.evaluate().await.1;
    assert_eq!((counts.held, counts.superseded), (1, 1));
    let old = said("i0001", "settled", "2026-03-09", "skipped superseded");
    assert_eq!(told(&w).await, BTreeMap::from([old, said("i0001", "settled", "2026-03-10", "held")]));
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default(), "the older one doesn't come back");
}

async fn the_titles_of_one_renegotiation_have_one_message(f: Fixture) {
    let w = noticed(f, 3).await;
    let titles = |owner: u32| {
        [1, 2, 3].map(|n| Invoice { customer_id: Some(CustomerId(format!("c{owner:04}"))), ..renegotiated(n, "77") })
    };
    w.sync(&[], &[titles(1)[2].clone(), titles(1)[1].clone(), successor(31, 1, "77", date("2026-04-01"))]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { held: 1, events: 2, ..EvaluationCounts::default() });
    assert_eq!(told(&w).await, BTreeMap::from([said("i0002", "renegotiated", "77", "held")]));
    // The first title stands for all from now on, also for the message that comes back.
    let new = successor(31, 1, "77", date("2026-04-01"));
    w.sync(&[], &[Invoice { status: InvoiceStatus::Received, ..new.clone() }]).await;
    w.release().await;
    assert_eq!(w.ledger.top_up(w.channel, Some(10)).await.unwrap().skipped, 1, "nothing is due any more");
    w.sync(&[], &titles(1)).await;
    w.sync(&[], &[new]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { revived: 1, events: 3, ..EvaluationCounts::default() });
    assert_eq!(told(&w).await, BTreeMap::from([said("i0001", "renegotiated", "77", "held")]));
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default());
    assert_eq!(outcomes(&w, 1).await, [Some(EventOutcome::Message)]);
}

async fn what_is_missing_may_come_within_two_days(f: Fixture) {
    let w = noticed(f, 2).await;
    w.sync(&[], &[renegotiated(1, "77"), renegotiated(2, "88")]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { skipped: 2, events: 2, ..EvaluationCounts::default() });
    let missing = |n, id| said(n, "renegotiated", id, "skipped missing_value");
    assert_eq!(told(&w).await, BTreeMap::from([missing("i0001", "77"), missing("i0002", "88")]));
    w.f.advance(TimeDelta::days(2)).await;
    w.sync(&[], &[successor(31, 1, "77", date("2026-04-01"))]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { revived: 1, ..EvaluationCounts::default() });
    let revived = said("i0001", "renegotiated", "77", "held");
    assert_eq!(told(&w).await, BTreeMap::from([revived.clone(), missing("i0002", "88")]));
    w.f.advance(TimeDelta::days(1)).await;
    w.sync(&[], &[successor(32, 2, "88", date("2026-04-01"))]).await;
    assert_eq!(w.evaluate().await.1.revived, 0, "that was three days ago");
    assert_eq!(told(&w).await, BTreeMap::from([revived, missing("i0002", "88")]));
}

async fn f7_a_listing_that_is_removed_is_told_once_for_each(f: Fixture) {
    let w = noticed(f, 1).await;
    for (customer, held) in [(listed(1, true), 0), (customer(1), 0), (listed(1, false), 1), (listed(1, false), 0)] {
        w.sync(&[customer], &[]).await;
        assert_eq!(w.evaluate().await.1.held, held);
    }
    // Nobody may have heard of the second.
    w.sync(&[listed(2, true)], &[]).await;
    w.sync(&[listed(2, false)], &[]).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { events: 1, ..EvaluationCounts::default() });
    assert_eq!(told(&w).await, BTreeMap::from([said("c0001", "bureau_removed", "2026-03-09", "held")]));
    let id = the_one(&w).await;
    w.release().await;
    w.sync(&[listed(1, true)], &[]).await;
    assert_eq!(w.top_up(10).await, []);
    assert_eq!(w.state(id).await, skipped(SkipReason::ListedAgain));
    w.f.advance(TimeDelta::days(1)).await;
    w.sync(&[listed(1, false)], &[]).await;
    assert_eq!(w.evaluate().await.1.held, 1, "another listing");
    let old = said("c0001", "bureau_removed", "2026-03-09", "skipped listed_again");
    assert_eq!(told(&w).await, BTreeMap::from([old, said("c0001", "bureau_removed", "2026-03-10", "held")]));
    w.release().await;
    let id = w.top_up(10).await[0];
    assert_eq!(w.started(id).await.text.phone_key, phone_key(1));
}

/// The ERP doesn't date it: it may have been seen, and told, in the time that a backup lost. A later listing's end is told as ever.
async fn f8_an_event_without_a_date_of_its_own_may_have_been_told_in_the_lost_time(f: Fixture) {
    let w = noticed(f, 1).await;
    w.sync(&[listed(1, true)], &[]).await;
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "ana".into()).await.unwrap();
    w.f.advance(TimeDelta::days(1)).await;
    w.sync(&[listed(1, false)], &[]).await;
    w.evaluate().await;
    assert_eq!(told(&w).await, BTreeMap::from([said("c0001", "bureau_removed", "2026-03-10", "in_doubt restored")]));
    w.sync(&[listed(1, true)], &[]).await;
    w.f.advance(TimeDelta::days(1)).await;
    w.sync(&[listed(1, false)], &[]).await;
    assert_eq!(w.evaluate().await.1.held, 1);
}

async fn what_was_undone_is_not_started_and_comes_back_when_it_is_done_again(f: Fixture) {
    let w = noticed(f, 1).await;
    for (now, why) in [
        (open(1), SkipReason::Reopened),
        (Invoice { reversed: true, ..paid_on(1, today()) }, SkipReason::Reopened),
        (cancelled_on(1, today()), SkipReason::Cancelled),
        (renegotiated(1, "77"), SkipReason::Renegotiated),
    ] {
        w.sync(&[], &[paid_on(1, today())]).await;
        let counts = w.evaluate().await.1;
        assert_eq!(counts.held + counts.revived, 1, "{why}");
        let id = the_one(&w).await;
        w.release().await;
        w.f.advance(TimeDelta::seconds(10)).await;
        assert_eq!(w.top_up(10).await, [id], "{why}");
        w.sync(&[], &[now]).await;
        assert!(matches!(w.start_one(id).await, StartAnswer::Skipped { why: said } if said == why), "{why}");
        assert_eq!(w.state(id).await, skipped(why));
        w.f.advance(TimeDelta::minutes(1)).await;
    }
}

async fn what_a_message_says_follows_what_the_mirror_learns(f: Fixture) {
    let w = noticed(f, 1).await;
    w.sync(&[], &[renegotiated(1, "77"), successor(31, 1, "77", date("2026-04-01"))]).await;
    w.evaluate().await;
    w.release().await;
    w.sync(&[], &[successor(31, 1, "77", date("2026-04-20"))]).await;
    let top_up = w.ledger.top_up(w.channel, Some(10)).await.unwrap();
    assert_eq!((top_up.queued.len(), top_up.rendered_again), (1, 1));
    w.f.advance(TimeDelta::seconds(10)).await;
    assert_eq!(w.started(top_up.queued[0]).await.text.values.by_position()[1], "20/04/2026");
}

async fn caps_and_opt_outs_hold_for_events_too(f: Fixture) {
    let w = noticed(f, 1).await;
    w.sync(&[], &[paid_on(1, today())]).await;
    w.evaluate().await;
    let id = the_one(&w).await;
    w.opt_out(&[1], "test").await;
    w.release().await;
    assert_eq!(w.top_up(10).await, []);
    assert_eq!(w.state(id).await, skipped(SkipReason::OptedOut));
    assert_eq!(w.evaluate().await.1, EvaluationCounts::default(), "it stays so, and counts as nothing to send");
    w.ledger.remove_opt_out(phone_key(1).parse().unwrap(), None, by("ana")).await.unwrap();
    assert_eq!(w.evaluate().await.1.revived, 1);
}

async fn two_evaluators_at_once_write_one_message(f: Fixture) {
    let w = noticed(f, 2).await;
    w.sync(&[], &[paid_on(1, today()), cancelled_on(2, today())]).await;
    let one = w.leased_run().await;
    w.f.advance(TimeDelta::seconds(1)).await;
    let two = w.leased_run().await;
    let start = EventCursor::default();
    let (first, second) = (w.decide_events(&one, &start).await.0, w.decide_events(&two, &start).await.0);
    assert_eq!(w.ledger.commit_evaluation(first.clone()).await.unwrap().held, 2);
    assert_eq!(w.ledger.commit_evaluation(second).await.unwrap(), EvaluationCounts::default());
    // A repeated commit of the same batch, as after an unknown outcome.
    assert_eq!(w.ledger.commit_evaluation(first).await.unwrap(), EvaluationCounts::default());
    assert_eq!(told(&w).await.len(), 2);
    let side = w.ledger.conservation().await.unwrap();
    assert_eq!(side.counts.evaluated, side.counts.total());
}

async fn f7_a_batch_that_was_not_committed_leaves_its_events_to_the_next_run(f: Fixture) {
    let w = noticed(f, 1).await;
    w.sync(&[], &[paid_on(1, today())]).await;
    let dead = w.leased_run().await;
    let batch = w.decide_events(&dead, &EventCursor::default()).await.0;
    assert_eq!((batch.messages.len(), batch.events.len()), (1, 1));
    drop(batch);
    w.f.advance(TimeDelta::seconds(1)).await;
    assert_eq!(w.evaluate().await.1, EvaluationCounts { held: 1, events: 1, ..EvaluationCounts::default() });
}

/// A payment's message is being sent, the invoice is owed again, and a day has passed.
async fn reopened_while_told(w: &World) -> (MessageId, AttemptId) {
    w.sync(&[], &[paid_on(1, today())]).await;
    w.evaluate().await;
    w.release().await;
    w.f.advance(TimeDelta::seconds(10)).await;
    let id = w.top_up(10).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.sync(&[], &[open(1)]).await;
    w.f.advance(TimeDelta::days(1)).await;
    (id, attempt)
}

async fn an_event_whose_older_message_is_being_sent_waits_for_the_next_run(f: Fixture) {
    let w = noticed(f, 1).await;
    let (id, attempt) = reopened_while_told(&w).await;
    w.sync(&[], &[paid_on(1, date("2026-03-10"))]).await;
    let counts = w.evaluate().await.1;
    // The reopening is consumed, the payment isn't.
    assert_eq!((counts.held, counts.blocked, counts.events), (0, 1, 1));
    assert_eq!(w.finish(id, attempt, sent("p")).await, FinishAnswer::Settled);
    assert_eq!(w.evaluate().await.1, EvaluationCounts { held: 1, events: 1, ..EvaluationCounts::default() });
}

async fn a_doubtful_message_that_proves_unsent_gives_way_to_a_later_payments(f: Fixture) {
    let w = noticed(f, 1).await;
    let (id, attempt) = reopened_while_told(&w).await;
    w.ledger.rescue().await.unwrap();
    assert_eq!(w.state(id).await.0, State::InDoubt);
    w.sync(&[], &[paid_on(1, date("2026-03-10"))]).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    assert_eq!(w.finish(id, attempt, Settlement::GiveBack).await, FinishAnswer::Settled);
    assert_eq!(w.state(id).await, skipped(SkipReason::Superseded));
}

async fn what_a_waiting_message_speaks_of_is_looked_at_again_by_id(f: Fixture) {
    let w = noticed(f, 3).await;
    w.sync(&[listed(3, true), listed(4, true), listed(5, false)], &[]).await;
    w.sync(&[listed(3, false)], &[paid_on(1, today()), paid_on(2, today())]).await;
    w.evaluate().await;
    let sync = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
    let titles = async |after: Option<&str>| {
        let after = after.map(|id| InvoiceId(id.into()));
        let ids = w.ledger.titles_of_waiting_events(sync, after, 10).await.unwrap();
        ids.into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    let customers = async |after: Option<&str>| {
        let after = after.map(|id| CustomerId(id.into()));
        let ids = w.ledger.listed_customers(sync, after, 10).await.unwrap();
        ids.into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!(
        (titles(None).await, titles(Some("i0001")).await),
        (vec!["i0001".into(), "i0002".into()], vec!["i0002".to_owned()])
    );
    assert_eq!(customers(None).await, ["c0003", "c0004"], "one who may be told, one who is still listed");
    assert_eq!(customers(Some("c0003")).await, ["c0004"]);
    w.ledger.write_invoices(sync, vec![paid_on(1, today())], w.now().await).await.unwrap();
    w.ledger.write_customers(sync, vec![listed(3, false)], w.now().await).await.unwrap();
    assert_eq!((titles(None).await, customers(None).await), (vec!["i0002".to_owned()], vec!["c0004".to_owned()]));
}

async fn a_restored_backup_leaves_what_may_have_been_told_in_doubt(f: Fixture) {
    let w = noticed(f, 1).await;
    w.ledger.restored(w.now().await - TimeDelta::hours(1), "test".into()).await.unwrap();
    w.sync(&[], &[paid_on(1, today())]).await;
    w.evaluate().await;
    assert_eq!(w.state(the_one(&w).await).await.0, State::InDoubt);
}

/// Any sequence of looks, older ones among them, of runs, of sends and of days: a message for each occasion at most, none that starts
/// though what it says is not so, and none that an earlier run lost.
async fn nothing_is_told_twice_nothing_false_and_nothing_is_lost(f: Fixture) {
    let seed: u64 = std::env::var(SEED).ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let w = noticed(f, 2).await;
    w.sync(&[], &[successor(31, 1, "77", date("2026-09-01")), successor(32, 2, "88", date("2026-09-01"))]).await;
    let mut looked_at: BTreeMap<InvoiceId, _> = [1, 2].map(|number| (open(number).id, begin())).into();
    for _ in 0..STEPS {
        // Long enough for the spacing of two messages to one phone.
        w.f.advance(TimeDelta::seconds(10)).await;
        match rng.random_range(0..10) {
            0..4 => {
                let row = any_look(&mut rng, w.local_today().await);
                w.sync(&any_phone(&mut rng), std::slice::from_ref(&row)).await;
                looked_at.insert(row.id, w.now().await);
            }
            4 => {
                let row = any_look(&mut rng, w.local_today().await);
                let sync = w.ledger.begin_sync(w.source, new_id()).await.unwrap().unwrap();
                let older = looked_at[&row.id] - TimeDelta::minutes(2);
                let counts = w.ledger.write_invoices(sync, vec![row], older).await.unwrap();
                assert_eq!(counts, MirrorCounts::default(), "an older look changes nothing and tells nothing");
                w.ledger.end_sync(sync, true).await.unwrap();
            }
            5..7 => {
                w.evaluate().await;
            }
            7 => w.f.advance(TimeDelta::days(1)).await,
            _ => send_what_may_go(&w, &mut rng).await,
        }
    }
    // What still holds and is young enough has its message by the next run, whatever runs before it made of it.
    w.sync(&[customer(1), customer(2)], &[]).await;
    w.evaluate().await;
    let young = w.local_today().await - TimeDelta::days(2);
    for number in [1, 2] {
        let row: Invoice =
            serde_json::from_str(&w.f.text(format!("SELECT record FROM invoices WHERE id = 'i{number:04}'")).await.unwrap())
                .unwrap();
        let last = format!("FROM events WHERE subject = 'i{number:04}' ORDER BY id DESC LIMIT 1");
        let Some(event) = w.f.texts(format!("SELECT kind || '/' || occasion || '/' || happened_on {last}")).await.pop().flatten()
        else {
            continue;
        };
        let parts: Vec<&str> = event.split('/').collect();
        let (kind, occasion, happened_on) = (parts[0], parts[1], date(parts[2]));
        let Some(stage) = Stage::parse(kind) else { continue };
        // A renegotiation may be undone and leave its title cancelled: nothing happened then, and nothing is said.
        let undone = kind == "renegotiated" && row.renegotiation_id.is_empty();
        assert_eq!(still_holds(stage, occasion, Some(&row), None).is_err(), undone, "{event} of {row:?}");
        if undone || happened_on < young {
            continue;
        }
        let of = format!(
            "messages WHERE stage = '{stage}' AND occasion = '{occasion}' AND (subject = 'i{number:04}' OR stage = 'renegotiated')"
        );
        assert_eq!(w.f.count(&of).await, 1, "{kind} {occasion} of {number}");
        assert_eq!(w.f.count(&format!("{of} AND state = 'skipped'")).await, 0, "{kind} {occasion} of {number} was lost");
    }
    let side = w.ledger.conservation().await.unwrap();
    assert_eq!(side.counts.evaluated, side.counts.total());
    assert!(w.f.count("events").await > 0, "something happened");
    assert_eq!(w.f.count("events WHERE consumed_by IS NULL").await, 0);
}

/// An invoice as it may be found, paid or cancelled in the last days.
fn any_look(rng: &mut StdRng, today: NaiveDate) -> Invoice {
    let number = rng.random_range(1..3);
    let on = today - TimeDelta::days(rng.random_range(0..4));
    match rng.random_range(0..6) {
        0 | 1 => paid_on(number, on),
        2 => cancelled_on(number, on),
        3 => Invoice { reversed: true, ..paid_on(number, on) },
        4 => Invoice { cancelled_on: Some(on), ..renegotiated(number, ["77", "88"][rng.random_range(0..2)]) },
        _ => open(number),
    }
}

/// Sometimes a customer has no phone for a while.
fn any_phone(rng: &mut StdRng) -> [Customer; 1] {
    let customer = customer(rng.random_range(1..3));
    [if rng.random_bool(0.3) { Customer { mobile_phone: "3333-4444".into(), ..customer } } else { customer }]
}

/// Tops up, lets the mirror learn something before the start, and sends what starts: then what it says is so.
async fn send_what_may_go(w: &World, rng: &mut StdRng) {
    w.release().await;
    let queued = w.top_up(10).await;
    if rng.random_bool(0.5) {
        w.sync(&[], &[any_look(rng, w.local_today().await)]).await;
    }
    for id in queued {
        w.f.advance(TimeDelta::seconds(10)).await;
        let StartAnswer::Started(started) = w.start_one(id).await else { continue };
        let message = w.message(id).await;
        if message.due_on.is_none() {
            let sql = format!("SELECT record FROM invoices WHERE id = '{}'", message.subject);
            let row: Invoice = serde_json::from_str(&w.f.text(sql).await.unwrap()).unwrap();
            let occasion = w.f.text(format!("SELECT occasion FROM messages WHERE id = '{id}'")).await.unwrap();
            assert_eq!(still_holds(message.stage, &occasion, Some(&row), None), Ok(()));
        }
        let settlement = if rng.random_bool(0.7) { sent("p") } else { Settlement::GiveBack };
        w.finish(id, started.attempt_id, settlement).await;
    }
}

conformance! {
    nothing_is_told_twice_nothing_false_and_nothing_is_lost
    each_event_is_told_once_to_whom_a_notice_may_have_reached
    a_stage_may_tell_those_too_who_had_no_notice
    f7_a_first_sync_and_a_first_look_tell_nothing
    what_is_older_than_two_days_sends_nothing
    f7_a_payment_after_a_reversal_is_another_one_unless_it_is_of_the_same_day
    a_later_payment_takes_the_place_of_one_that_was_not_told_yet
    the_titles_of_one_renegotiation_have_one_message
    what_is_missing_may_come_within_two_days
    f7_a_listing_that_is_removed_is_told_once_for_each
    f8_an_event_without_a_date_of_its_own_may_have_been_told_in_the_lost_time
    what_was_undone_is_not_started_and_comes_back_when_it_is_done_again
    what_a_message_says_follows_what_the_mirror_learns
    caps_and_opt_outs_hold_for_events_too
    two_evaluators_at_once_write_one_message
    f7_a_batch_that_was_not_committed_leaves_its_events_to_the_next_run
    an_event_whose_older_message_is_being_sent_waits_for_the_next_run
    a_doubtful_message_that_proves_unsent_gives_way_to_a_later_payments
    what_a_waiting_message_speaks_of_is_looked_at_again_by_id
    a_restored_backup_leaves_what_may_have_been_told_in_doubt
}
