//! The provider's daily allowance of a channel: who asks, what it closes, and what it touches.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::World;
use chrono::TimeDelta;
use regua_domain::gate::ALLOWANCE_HOLDS;
use regua_domain::message::{DeferReason, State};
use regua_ledger::allowances::{ASK_EVERY, AllowanceLook};

/// `count` released messages, on a channel with this limit per second; 0 is none.
async fn released(f: Fixture, per_second: u32, count: u32) -> World {
    let w = World::new(f, &Setup { per_second, open_windows: 9, max_age: "30d", ..Setup::default() }).await;
    w.released(1, count, "overdue").await;
    w
}

async fn look(w: &World) -> AllowanceLook {
    w.ledger.take_allowance_look(w.channel).await.unwrap().expect("one is due")
}

async fn report(w: &World, available: Option<u64>) {
    let look = look(w).await;
    w.ledger.note_allowance(look, available).await.unwrap();
}

/// Tops up and starts until nothing more goes; how many went.
async fn starts(w: &World) -> usize {
    let mut started = 0;
    for _ in 0..4 {
        let queued = w.top_up(10).await;
        started += queued.len();
        for id in queued {
            w.started(id).await;
            w.f.advance(TimeDelta::milliseconds(200)).await;
        }
    }
    started
}

async fn waits(w: &World) -> u64 {
    w.ledger.counts().await.unwrap().of(State::Held)
}

async fn pause_reason(w: &World) -> Option<String> {
    w.f.text(format!("SELECT pause_reason FROM gates WHERE channel_id = '{}'", w.channel)).await
}

async fn of_many_processes_one_asks_and_not_too_often(f: Fixture) {
    let w = released(f, 80, 1).await;
    let asked = || async {
        let looks = futures::future::join_all((0..8).map(|_| w.ledger.take_allowance_look(w.channel))).await;
        looks.into_iter().filter(|look| look.as_ref().unwrap().is_some()).count()
    };
    assert_eq!((asked().await, asked().await), (1, 0));
    w.f.advance(ASK_EVERY).await;
    assert_eq!(asked().await, 1);
    assert!(w.ledger.take_allowance_look(w.other_channel).await.unwrap().is_some(), "each channel is asked about");
}

async fn nothing_left_closes_the_gate_and_touches_no_message(f: Fixture) {
    let w = released(f, 80, 5).await;
    report(&w, Some(0)).await;
    assert_eq!(starts(&w).await, 0);
    assert_eq!((waits(&w).await, pause_reason(&w).await.as_deref()), (5, Some("allowance")));
    w.f.advance(ALLOWANCE_HOLDS + TimeDelta::seconds(1)).await;
    assert_eq!(starts(&w).await, 5, "an old report says nothing");
}

async fn three_are_left(f: Fixture, per_second: u32) {
    let w = released(f, per_second, 9).await;
    report(&w, Some(3)).await;
    assert_eq!((starts(&w).await, waits(&w).await), (3, 6), "the rest is not touched");
}

async fn little_left_bounds_the_starts(f: Fixture) {
    three_are_left(f, 80).await;
}

async fn little_left_bounds_the_starts_of_a_channel_without_a_limit(f: Fixture) {
    three_are_left(f, 0).await;
}

/// Those that go while the provider is asked may not be in its count yet.
async fn what_starts_after_the_question_counts_against_its_answer(f: Fixture) {
    let w = released(f, 80, 9).await;
    let look = look(&w).await;
    for id in w.top_up(2).await {
        w.started(id).await;
        w.f.advance(TimeDelta::milliseconds(200)).await;
    }
    w.ledger.note_allowance(look, Some(3)).await.unwrap();
    assert_eq!(starts(&w).await, 1);
}

/// What was queued before the report waits in the ledger, and closes the gate for whatever isn't queued.
async fn what_was_queued_before_the_report_does_not_go_over_it(f: Fixture) {
    let w = released(f, 0, 9).await;
    let queued = w.top_up(6).await;
    report(&w, Some(2)).await;
    let answers = w.start(&queued).await;
    let started = answers.iter().filter(|answer| matches!(answer, regua_ledger::start::StartAnswer::Started(_))).count();
    assert_eq!((started, waits(&w).await, pause_reason(&w).await.as_deref()), (2, 3, Some("allowance")));
}

async fn a_report_of_more_opens_the_gate_at_once_and_one_of_no_limit_too(f: Fixture) {
    let w = released(f, 80, 9).await;
    for available in [Some(4), None] {
        report(&w, Some(0)).await;
        assert_eq!(starts(&w).await, 0);
        w.f.advance(ASK_EVERY).await;
        report(&w, available).await;
        let more = starts(&w).await;
        assert_eq!(more, if available.is_some() { 4 } else { 5 });
        w.f.advance(ASK_EVERY).await;
    }
}

async fn a_report_shortens_no_other_pause(f: Fixture) {
    let w = released(f, 80, 2).await;
    let until = w.now().await + TimeDelta::minutes(1);
    w.ledger.pause_channel(w.channel, until, DeferReason::Throttled).await.unwrap();
    report(&w, Some(100)).await;
    assert_eq!((starts(&w).await, pause_reason(&w).await.as_deref()), (0, Some("throttled")));
}

/// The view is the channel's: another number of the same business goes by its own.
async fn a_report_closes_its_own_channel_alone(f: Fixture) {
    let w = released(f, 80, 3).await;
    let look = w.ledger.take_allowance_look(w.other_channel).await.unwrap().unwrap();
    w.ledger.note_allowance(look, Some(0)).await.unwrap();
    assert_eq!(starts(&w).await, 3);
}

conformance! {
    of_many_processes_one_asks_and_not_too_often
    nothing_left_closes_the_gate_and_touches_no_message
    little_left_bounds_the_starts
    little_left_bounds_the_starts_of_a_channel_without_a_limit
    what_starts_after_the_question_counts_against_its_answer
    what_was_queued_before_the_report_does_not_go_over_it
    a_report_of_more_opens_the_gate_at_once_and_one_of_no_limit_too
    a_report_shortens_no_other_pause
    a_report_closes_its_own_channel_alone
}
