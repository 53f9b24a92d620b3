//! Stops that an answer raised: who checks them, how often, and what a check that passes lifts.

use crate::databases::Fixture;
use crate::setup::{OTHER_TEMPLATE, Setup, TEMPLATE};
use crate::world::{World, by};
use chrono::TimeDelta;
use regua_domain::stop::{BY_ANSWER, BY_CHECK, StopScope};
use regua_ledger::stop_checks::{DueCheck, StopTotals};
use regua_ledger::stops::NewStop;

const WHYS: &[&str] = &["unauthorized", "channel_not_found"];

async fn raise(w: &World, scope: StopScope, target: &str, by: &str, why: &str) {
    let stop = NewStop { scope, target: target.into(), raised_by: by.into(), why: why.into(), until_at: None };
    assert!(w.ledger.raise_stop(stop).await.unwrap());
}

/// The integration of a refused token.
async fn refused(f: Fixture) -> World {
    let w = World::new(f, &Setup::default()).await;
    raise(&w, StopScope::Integration, &w.integration.to_string(), BY_ANSWER, "unauthorized").await;
    w
}

async fn take(w: &World) -> Option<DueCheck> {
    w.ledger.take_stop_check(WHYS).await.unwrap()
}

/// In minutes, how long after the last one each of the next checks is due.
async fn paces(w: &World, number: usize) -> Vec<i64> {
    let mut paces = Vec::new();
    while paces.len() < number {
        let mut minutes = 0;
        while take(w).await.is_none() {
            w.f.advance(TimeDelta::minutes(1)).await;
            minutes += 1;
            assert!(minutes < 60, "no check is due");
        }
        paces.push(minutes);
    }
    paces
}

async fn the_first_check_comes_after_a_minute_and_each_later_one_twice_as_late_up_to_15(f: Fixture) {
    let w = refused(f).await;
    assert_eq!(paces(&w, 7).await, [1, 2, 4, 8, 15, 15, 15]);
    let stop = w.ledger.stops().await.unwrap().remove(0);
    assert!(stop.next_check_at.unwrap() > w.now().await + TimeDelta::minutes(14), "it says when it is looked at again");
}

async fn of_many_who_look_one_has_the_check(f: Fixture) {
    let w = refused(f).await;
    w.f.advance(TimeDelta::seconds(61)).await;
    let taken = futures::future::join_all((0..8).map(|_| w.ledger.take_stop_check(WHYS))).await;
    let taken: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert_eq!((taken[0].scope, taken[0].why.as_str()), (StopScope::Integration, "unauthorized"));
}

/// What a person decided, what ended, and what no check can prove.
async fn only_stops_of_answers_that_can_be_checked_are(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let channel = w.channel.to_string();
    raise(&w, StopScope::Channel, &channel, "ana", "unauthorized").await;
    raise(&w, StopScope::Channel, &channel, BY_ANSWER, "spam_limited").await;
    raise(&w, StopScope::Everything, "", "ledger", "unauthorized").await;
    let until_at = Some(w.now().await + TimeDelta::seconds(30));
    let ends = NewStop {
        scope: StopScope::Stage,
        target: "overdue".into(),
        raised_by: BY_ANSWER.into(),
        why: "unauthorized".into(),
        until_at,
    };
    w.ledger.raise_stop(ends).await.unwrap();
    w.f.advance(TimeDelta::hours(1)).await;
    assert_eq!(take(&w).await, None);
}

async fn a_check_that_passes_lifts_the_answers_stop_and_no_persons(f: Fixture) {
    let w = refused(f).await;
    raise(&w, StopScope::Integration, &w.integration.to_string(), "ana", "férias").await;
    w.f.advance(TimeDelta::seconds(61)).await;
    let due = take(&w).await.unwrap();
    assert!(w.ledger.pass_stop_check(due.clone()).await.unwrap());
    let left = w.ledger.stops().await.unwrap();
    assert_eq!(left.iter().map(|stop| stop.raised_by.as_str()).collect::<Vec<_>>(), ["ana"]);
    assert_eq!(w.f.count(&format!("stops WHERE lifted_by = '{BY_CHECK}'")).await, 1);
    assert!(!w.ledger.pass_stop_check(due).await.unwrap(), "it is lifted already");
}

/// Lifted by a person and raised anew while it was asked: what was asked was about the old one.
async fn a_check_lifts_no_stop_that_was_raised_after_it(f: Fixture) {
    let w = refused(f).await;
    w.f.advance(TimeDelta::seconds(61)).await;
    let due = take(&w).await.unwrap();
    w.ledger.resume(due.scope, due.target.clone(), by("ana")).await.unwrap();
    raise(&w, due.scope, &due.target, BY_ANSWER, "unauthorized").await;
    assert!(!w.ledger.pass_stop_check(due).await.unwrap());
    assert_eq!(w.ledger.stops().await.unwrap().len(), 1);
}

/// A check can pass where sending is refused all the same: without this it would be tried every minute, all day.
async fn a_stop_that_comes_back_is_checked_ever_later(f: Fixture) {
    let w = refused(f).await;
    let mut first = Vec::new();
    for _ in 0..6 {
        let mut minutes = 0;
        let due = loop {
            if let Some(due) = take(&w).await {
                break due;
            }
            w.f.advance(TimeDelta::minutes(1)).await;
            minutes += 1;
        };
        first.push(minutes);
        assert!(w.ledger.pass_stop_check(due.clone()).await.unwrap());
        raise(&w, due.scope, &due.target, BY_ANSWER, "unauthorized").await;
    }
    assert_eq!(first, [1, 2, 4, 8, 15, 15]);
    let due = NewStop {
        scope: StopScope::Channel,
        target: w.channel.to_string(),
        raised_by: BY_ANSWER.into(),
        why: "channel_not_found".into(),
        until_at: None,
    };
    w.ledger.raise_stop(due).await.unwrap();
    w.f.advance(TimeDelta::minutes(1)).await;
    assert_eq!(take(&w).await.map(|due| due.scope), Some(StopScope::Channel), "another stop begins at a minute");
}

async fn stops_have_the_names_that_people_know(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let named = [
        (StopScope::Everything, String::new(), ""),
        (StopScope::Business, w.business.to_string(), "Provedor"),
        (StopScope::Integration, w.integration.to_string(), "Opa! Suite"),
        (StopScope::Channel, w.channel.to_string(), "Cobrança"),
        (StopScope::Template, TEMPLATE.to_owned(), TEMPLATE),
        (StopScope::Policy, w.policy.to_string(), "Todos"),
        (StopScope::Stage, "overdue".to_owned(), "overdue"),
    ];
    for (scope, target, name) in &named {
        raise(&w, *scope, target, "ana", "x").await;
        let stops = w.ledger.stops().await.unwrap();
        let stop = stops.iter().find(|stop| stop.scope == *scope).unwrap();
        assert_eq!(&stop.name, name, "{scope}");
    }
    w.ledger.resume(StopScope::Stage, "overdue".into(), by("ana")).await.unwrap();
    raise(&w, StopScope::Stage, "overdue", "ana", "x").await;
    let totals = w.ledger.stop_totals().await.unwrap();
    assert_eq!(totals.len(), named.len());
    assert!(totals.contains(&StopTotals { scope: StopScope::Stage, raised: 2, lifted: 1 }), "{totals:?}");
}

async fn a_template_is_looked_for_where_it_is_sent(f: Fixture) {
    let w = World::new(f, &Setup { channel: "Vendas", ..Setup::default() }).await;
    assert_eq!(w.ledger.channels_of_template(TEMPLATE).await.unwrap(), [w.other_channel]);
    assert!(w.ledger.channels_of_template(OTHER_TEMPLATE).await.unwrap().is_empty());
}

/// What a check finds gone hides no cause that only a person may lift.
async fn a_second_cause_stays_when_the_first_is_gone(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let channel = w.channel.to_string();
    raise(&w, StopScope::Channel, &channel, BY_ANSWER, "channel_not_found").await;
    raise(&w, StopScope::Channel, &channel, BY_ANSWER, "spam_limited").await;
    w.f.advance(TimeDelta::seconds(61)).await;
    let due = take(&w).await.unwrap();
    assert!(w.ledger.pass_stop_check(due).await.unwrap());
    let left: Vec<_> = w.ledger.stops().await.unwrap().into_iter().map(|stop| stop.why).collect();
    assert_eq!(left, ["spam_limited"]);
}

conformance! {
    a_second_cause_stays_when_the_first_is_gone
    the_first_check_comes_after_a_minute_and_each_later_one_twice_as_late_up_to_15
    of_many_who_look_one_has_the_check
    only_stops_of_answers_that_can_be_checked_are
    a_check_that_passes_lifts_the_answers_stop_and_no_persons
    a_check_lifts_no_stop_that_was_raised_after_it
    a_stop_that_comes_back_is_checked_ever_later
    stops_have_the_names_that_people_know
    a_template_is_looked_for_where_it_is_sent
}
