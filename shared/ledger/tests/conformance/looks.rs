//! The last look at the ERP before a message starts.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, customer, date, invoice, paid, skipped};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::ids::MessageId;
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::mirror::Invoice;
use regua_domain::money::Centavos;
use regua_ledger::looks::{AGAIN, AHEAD, BATCH_MAX, Look, WANTED_MAX};
use regua_ledger::start::StartAnswer;

/// How old a look may be.
const LOOK: TimeDelta = TimeDelta::minutes(10);
const OVERDUE: &str = "2026-03-06";

/// A source that wants a last look, and what becomes of messages when there is none.
async fn world(f: Fixture, unanswered: &str) -> World {
    let source = format!(
        "kind = \"ixc\"\nurl = \"https://ixc.example.com\"\ntoken_env = \"IXC_TOKEN\"\nlast_look = \"10m\"\nlast_look_unanswered = \"{unanswered}\""
    );
    World::new(f, &Setup { source, per_second: 0, ..Setup::default() }).await
}

/// `count` released messages, whose titles were looked at too long ago.
async fn old(w: &World, count: u32) -> Vec<MessageId> {
    let ids = w.released(1, count, "overdue").await;
    w.f.advance(LOOK).await;
    ids
}

fn titles(count: u32) -> Vec<Invoice> {
    (1..=count).map(|number| invoice(number, number, date(OVERDUE))).collect()
}

async fn taken(w: &World) -> Look {
    w.ledger.take_looks(w.source).await.unwrap().expect("a look is wanted")
}

/// What the ERP says now of a look's titles.
async fn looked(w: &World, look: Look, titles: Vec<Invoice>) {
    w.ledger.write_look(look, titles, w.now().await).await.unwrap();
}

async fn waits_for_a_look(w: &World, id: MessageId) -> bool {
    w.state(id).await.1.as_deref() == Some(DeferReason::LastLook.as_str())
}

async fn a_title_looked_at_too_long_ago_is_read_once_more_before_its_message_starts(f: Fixture) {
    let w = world(f, "hold").await;
    let ids = old(&w, 3).await;
    assert_eq!(w.top_up(100).await, []);
    assert!(w.ledger.message(ids[0]).await.unwrap().unwrap().0.state == State::Held && waits_for_a_look(&w, ids[0]).await);
    let look = taken(&w).await;
    assert_eq!(look.titles, titles(3).into_iter().map(|title| title.id).collect::<Vec<_>>());
    let [one, two, three] = <[Invoice; 3]>::try_from(titles(3)).unwrap();
    let partly = Invoice { open_amount: Centavos(4000), ..three };
    looked(&w, look, vec![one, paid(&two), partly]).await;
    let mut queued = w.top_up(100).await;
    queued.sort_unstable();
    assert_eq!(queued, [ids[0], ids[2]], "due at once");
    assert_eq!(w.state(ids[1]).await, skipped(SkipReason::Paid));
    let StartAnswer::Started(started) = w.start_one(ids[2]).await else { panic!("it starts") };
    assert!(format!("{:?}", started.text).contains("R$40,00"), "{started:?}");
    assert!(w.ledger.take_looks(w.source).await.unwrap().is_none(), "nothing is wanted any more");
}

async fn a_young_look_is_not_repeated(f: Fixture) {
    let w = world(f, "hold").await;
    let ids = w.released(1, 1, "overdue").await;
    w.f.advance(LOOK - AHEAD - TimeDelta::seconds(2)).await;
    assert_eq!(w.top_up(100).await, ids);
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::Started(_)));
}

async fn a_start_asks_for_a_look_again_that_has_grown_old_since_the_top_up(f: Fixture) {
    let w = world(f, "hold").await;
    let ids = w.released(1, 1, "overdue").await;
    w.f.advance(LOOK - AHEAD - TimeDelta::seconds(2)).await;
    assert_eq!(w.top_up(100).await, ids);
    w.f.advance(AHEAD + TimeDelta::seconds(3)).await;
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::Postponed { why: DeferReason::LastLook }));
    assert_eq!(w.top_up(100).await, [], "at once, not in a minute");
    let look = taken(&w).await;
    looked(&w, look, titles(1)).await;
    assert_eq!(w.top_up(100).await, ids);
}

async fn nothing_starts_while_the_erp_cannot_be_asked(f: Fixture) {
    let w = world(f, "hold").await;
    let ids = old(&w, 2).await;
    w.top_up(100).await;
    taken(&w).await;
    w.ledger.looks_failed(w.source).await.unwrap();
    w.f.advance(AGAIN - TimeDelta::seconds(2)).await;
    assert_eq!(w.top_up(100).await, []);
    assert!(w.ledger.take_looks(w.source).await.unwrap().is_none(), "it is left alone");
    w.f.advance(TimeDelta::minutes(1)).await;
    assert_eq!(w.top_up(100).await, []);
    let look = taken(&w).await;
    looked(&w, look, titles(2)).await;
    assert_eq!(w.top_up(100).await, ids, "it answers again");
}

async fn messages_do_without_where_the_configuration_says_so_and_ask_again_later(f: Fixture) {
    let w = world(f, "send").await;
    let ids = old(&w, 2).await;
    w.top_up(100).await;
    taken(&w).await;
    w.ledger.looks_failed(w.source).await.unwrap();
    assert_eq!(w.top_up(1).await.len(), 1, "by what the mirror knows");
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::Started(_)));
    w.f.advance(AGAIN + TimeDelta::seconds(1)).await;
    assert_eq!(w.top_up(100).await, [], "the ERP is asked again");
    assert_eq!(taken(&w).await.titles.len(), 1);
}

async fn what_the_erp_says_nothing_of_waits_and_keeps_no_other_waiting(f: Fixture) {
    let w = world(f, "hold").await;
    let ids = old(&w, 2).await;
    w.top_up(100).await;
    let look = taken(&w).await;
    looked(&w, look, titles(1)).await;
    assert_eq!(w.top_up(100).await, ids[..1]);
    assert!(waits_for_a_look(&w, ids[1]).await);
    w.f.advance(TimeDelta::minutes(1)).await;
    w.top_up(100).await;
    assert_eq!(taken(&w).await.titles.len(), 1, "it is asked for again with its next turn");
}

/// `count` looks that somebody wants.
async fn wanted(w: &World, count: u32) {
    let rows: Vec<_> = (1..=count).map(|number| format!("('{}', 'i{number:04}')", w.source)).collect();
    w.f.execute(format!("INSERT INTO looks (source_id, invoice_id) VALUES {}", rows.join(", "))).await;
}

async fn each_look_is_taken_once_and_again_when_its_taker_has_died(f: Fixture) {
    let w = world(f, "hold").await;
    wanted(&w, BATCH_MAX + 50).await;
    let mut looks = futures::future::join_all((0..4).map(|_| w.ledger.take_looks(w.source))).await;
    looks.push(w.ledger.take_looks(w.source).await);
    let mut titles: Vec<_> = looks.into_iter().filter_map(Result::unwrap).flat_map(|look| look.titles).collect();
    titles.sort_unstable();
    assert_eq!(titles.len(), BATCH_MAX as usize + 50);
    titles.dedup();
    assert_eq!(titles.len(), BATCH_MAX as usize + 50, "each once");
    assert!(w.ledger.take_looks(w.source).await.unwrap().is_none());
    w.f.advance(TimeDelta::minutes(1)).await;
    assert_eq!(taken(&w).await.titles.len(), BATCH_MAX as usize);
}

async fn an_older_look_never_takes_the_mirror_back(f: Fixture) {
    let w = world(f, "hold").await;
    let ids = old(&w, 1).await;
    w.top_up(100).await;
    let look = taken(&w).await;
    let asked_at: DateTime<Utc> = w.now().await;
    w.f.advance(TimeDelta::seconds(1)).await;
    w.sync(&[customer(1)], &[paid(&titles(1)[0])]).await;
    w.ledger.write_look(look, titles(1), asked_at).await.unwrap();
    assert_eq!(w.top_up(100).await, []);
    assert_eq!(w.state(ids[0]).await, skipped(SkipReason::Paid));
}

async fn what_a_look_finds_is_an_event_once(f: Fixture) {
    let w = world(f, "hold").await;
    old(&w, 1).await;
    w.top_up(100).await;
    let look = taken(&w).await;
    looked(&w, look, vec![paid(&titles(1)[0])]).await;
    w.f.advance(TimeDelta::seconds(1)).await;
    w.sync(&[customer(1)], &[paid(&titles(1)[0])]).await;
    let events = "SELECT count(*) FROM events WHERE kind = 'settled'";
    assert_eq!(w.f.number(events).await, Some(1));
}

async fn the_looks_that_are_wanted_at_once_are_bounded(f: Fixture) {
    let w = world(f, "hold").await;
    let ids = old(&w, 2).await;
    wanted(&w, WANTED_MAX).await;
    assert_eq!(w.top_up(100).await, []);
    assert!(!waits_for_a_look(&w, ids[0]).await, "no message is touched");
    let look = taken(&w).await;
    looked(&w, look, Vec::new()).await;
    w.top_up(100).await;
    assert!(waits_for_a_look(&w, ids[0]).await);
}

conformance! {
    a_title_looked_at_too_long_ago_is_read_once_more_before_its_message_starts
    a_young_look_is_not_repeated
    a_start_asks_for_a_look_again_that_has_grown_old_since_the_top_up
    nothing_starts_while_the_erp_cannot_be_asked
    messages_do_without_where_the_configuration_says_so_and_ask_again_later
    what_the_erp_says_nothing_of_waits_and_keeps_no_other_waiting
    each_look_is_taken_once_and_again_when_its_taker_has_died
    an_older_look_never_takes_the_mirror_back
    what_a_look_finds_is_an_event_once
    the_looks_that_are_wanted_at_once_are_bounded
}
