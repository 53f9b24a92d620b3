//! Pauses of a gate and stops of any scope.

use crate::databases::Fixture;
use crate::setup::{Setup, TEMPLATE};
use crate::world::{World, by};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::message::DeferReason;
use regua_domain::stop::{BY_ANSWER, StopScope};
use regua_ledger::stops::NewStop;

async fn world(f: Fixture) -> World {
    World::new(f, &Setup::default()).await
}

fn stop(scope: StopScope, target: &str, raised_by: &str) -> NewStop {
    NewStop { scope, target: target.into(), raised_by: raised_by.into(), why: "401".into(), until_at: None }
}

async fn pause(w: &World) -> (Option<DateTime<Utc>>, Option<String>) {
    let row = |column: &str| format!("SELECT {column} FROM gates WHERE channel_id = '{}'", w.channel);
    let until = w.f.number(row("paused_until")).await;
    (until.and_then(DateTime::from_timestamp_micros), w.f.text(row("pause_reason")).await)
}

async fn a_pause_is_never_shortened(f: Fixture) {
    let w = world(f).await;
    let at = w.now().await + TimeDelta::minutes(10);
    w.ledger.pause_channel(w.channel, at, DeferReason::Throttled).await.unwrap();
    w.ledger.pause_channel(w.channel, at - TimeDelta::minutes(5), DeferReason::InService).await.unwrap();
    assert_eq!(pause(&w).await, (Some(at), Some("throttled".into())));
    let later = at + TimeDelta::minutes(5);
    w.ledger.pause_channel(w.channel, later, DeferReason::Gate).await.unwrap();
    assert_eq!(pause(&w).await, (Some(later), Some("gate".into())));
}

async fn many_pauses_at_once_leave_the_longest(f: Fixture) {
    let w = world(f).await;
    let at = w.now().await;
    let pauses = (1..=12).map(|n| w.ledger.pause_channel(w.channel, at + TimeDelta::minutes(n * 7 % 13), DeferReason::Throttled));
    for result in futures::future::join_all(pauses).await {
        result.unwrap();
    }
    assert_eq!(pause(&w).await.0, Some(at + TimeDelta::minutes(12)));
}

async fn a_stop_is_raised_once_per_scope_target_and_author(f: Fixture) {
    let w = world(f).await;
    let by = |who: &str| stop(StopScope::Channel, &w.channel.to_string(), who);
    assert!(w.ledger.raise_stop(by("answer")).await.unwrap());
    assert!(!w.ledger.raise_stop(by("answer")).await.unwrap(), "it stays as it is");
    assert!(w.ledger.raise_stop(by("ana")).await.unwrap(), "a person's is another one");
    assert!(!w.ledger.raise_stop(NewStop { why: "férias".into(), ..by("ana") }).await.unwrap(), "whyever");
    assert!(
        w.ledger.raise_stop(NewStop { why: "131048".into(), ..by("answer") }).await.unwrap(),
        "so is an answer's of another cause"
    );
    let raised = futures::future::join_all((0..8).map(|_| w.ledger.raise_stop(stop(StopScope::Stage, "overdue", "x")))).await;
    assert_eq!(raised.into_iter().filter(|new| *new.as_ref().unwrap()).count(), 1);
    let stops = w.ledger.stops().await.unwrap();
    assert_eq!(
        stops.iter().map(|stop| stop.raised_by.as_str()).collect::<Vec<_>>(),
        ["answer", "ana", "answer", "x"],
        "oldest first"
    );
    assert_eq!(
        (stops[0].scope, stops[0].target.clone(), stops[0].why.as_str()),
        (StopScope::Channel, w.channel.to_string(), "401")
    );
    assert!(stops[0].since_at <= w.now().await && stops[0].until_at.is_none());
}

async fn lifting_lifts_everybodys_and_can_be_repeated(f: Fixture) {
    let w = world(f).await;
    for who in ["answer", "ana"] {
        w.ledger.raise_stop(stop(StopScope::Policy, &w.policy.to_string(), who)).await.unwrap();
    }
    w.ledger.raise_stop(stop(StopScope::Everything, "", "ana")).await.unwrap();
    let lift = || w.ledger.resume(StopScope::Policy, w.policy.to_string(), by("bia"));
    assert_eq!((lift().await.unwrap(), lift().await.unwrap()), (2, 0));
    let rest = w.ledger.stops().await.unwrap();
    assert_eq!(rest.iter().map(|stop| stop.scope).collect::<Vec<_>>(), [StopScope::Everything]);
    assert_eq!(w.f.count("stops WHERE lifted_by = 'bia'").await, 2);
    assert!(w.ledger.raise_stop(stop(StopScope::Policy, &w.policy.to_string(), "ana")).await.unwrap(), "and raised again");
}

async fn a_stop_with_an_end_ends_by_itself(f: Fixture) {
    let w = world(f).await;
    w.queued(2).await;
    let until_at = Some(w.now().await + TimeDelta::minutes(10));
    let timed = NewStop { until_at, ..stop(StopScope::Template, TEMPLATE, "answer") };
    assert!(w.ledger.raise_stop(timed.clone()).await.unwrap());
    assert_eq!(w.ledger.stops().await.unwrap()[0].until_at, until_at);
    w.ledger.unqueue(TimeDelta::zero()).await.unwrap();
    assert!(w.top_up(10).await.is_empty());
    w.f.advance(TimeDelta::minutes(10)).await;
    assert!(w.ledger.stops().await.unwrap().is_empty());
    assert_eq!(w.top_up(10).await.len(), 2);
    let again = NewStop { until_at: None, ..timed };
    assert!(w.ledger.raise_stop(again).await.unwrap(), "the one that ended is in nobody's way");
}

async fn people_name_what_they_stop(f: Fixture) {
    let w = world(f).await;
    let target = async |scope, name: &str| w.ledger.stop_target(scope, name).await.unwrap();
    let known = [
        (StopScope::Everything, "", String::new()),
        (StopScope::Business, "Provedor", w.business.to_string()),
        (StopScope::Integration, "Opa! Suite", w.integration.to_string()),
        (StopScope::Channel, "Cobrança", w.channel.to_string()),
        (StopScope::Template, TEMPLATE, TEMPLATE.to_owned()),
        (StopScope::Policy, "Todos", w.policy.to_string()),
        (StopScope::Stage, "overdue", "overdue".to_owned()),
    ];
    assert_eq!(known.len(), StopScope::ALL.len());
    for (scope, name, id) in known {
        assert_eq!(target(scope, name).await, Some(id), "{scope}");
    }
    for scope in [StopScope::Business, StopScope::Integration, StopScope::Channel, StopScope::Policy, StopScope::Stage] {
        assert_eq!(target(scope, "Inexistente").await, None, "{scope}");
    }
}

/// Two dispatchers learned the same; one of them had no ledger until a person had mended the cause.
async fn a_late_note_of_what_an_answer_taught_raises_nothing_that_was_lifted_since(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let stop = NewStop {
        scope: StopScope::Channel,
        target: w.channel.to_string(),
        raised_by: BY_ANSWER.into(),
        why: "spam_limited".into(),
        until_at: None,
    };
    let answered_at = w.now().await;
    assert!(w.ledger.raise_answered_stop(stop.clone(), answered_at).await.unwrap());
    w.f.advance(TimeDelta::minutes(1)).await;
    assert_eq!(w.ledger.resume(StopScope::Channel, stop.target.clone(), by("ana")).await.unwrap(), 1);
    assert!(!w.ledger.raise_answered_stop(stop.clone(), answered_at).await.unwrap());
    assert!(w.ledger.stops().await.unwrap().is_empty());
    w.f.advance(TimeDelta::seconds(1)).await;
    assert!(w.ledger.raise_answered_stop(stop, w.now().await).await.unwrap(), "a new answer is new evidence");
}

conformance! {
    a_late_note_of_what_an_answer_taught_raises_nothing_that_was_lifted_since
    people_name_what_they_stop
    a_pause_is_never_shortened
    many_pauses_at_once_leave_the_longest
    a_stop_is_raised_once_per_scope_target_and_author
    lifting_lifts_everybodys_and_can_be_repeated
    a_stop_with_an_end_ends_by_itself
}
