//! What metrics show beside the counts: each gauge follows what it is about.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, sent};
use chrono::TimeDelta;
use regua_domain::message::{DeferReason, DoubtReason};
use regua_domain::schedule::TaskKind;
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_ledger::gauges::{ChannelGauges, FirstSend, GateState};
use regua_ledger::runs::LeaseAnswer;
use regua_ledger::stops::NewStop;

async fn world(f: Fixture) -> World {
    let setup =
        Setup { per_second: 80, max_age: "30d", open_windows: 10, per_day: 50, recipients_per_24h: "20", ..Setup::default() };
    World::new(f, &setup).await
}

async fn channel(w: &World) -> ChannelGauges {
    let gauges = w.ledger.gauges().await.unwrap();
    gauges.channels.into_iter().find(|of| of.per_second == Some(80)).unwrap()
}

/// Held, scheduled, due, queued and sending.
async fn waiting(w: &World) -> [u64; 5] {
    let of = channel(w).await;
    [of.held, of.scheduled, of.due, of.queued, of.sending]
}

async fn what_waits_is_told_by_what_it_waits_for(f: Fixture) {
    let w = world(f).await;
    assert_eq!((waiting(&w).await, channel(&w).await.due_since), ([0; 5], None));
    w.customers(0, 6, crate::world::due_for("overdue")).await;
    w.evaluate().await;
    assert_eq!(waiting(&w).await, [6, 0, 0, 0, 0], "nobody released them");
    w.release().await;
    assert_eq!(waiting(&w).await, [0, 0, 6, 0, 0], "their time has come");
    let ids = w.top_up(3).await;
    assert_eq!(waiting(&w).await, [0, 0, 3, 3, 0]);
    let attempt = w.started(ids[0]).await.attempt_id;
    assert_eq!(waiting(&w).await, [0, 0, 3, 2, 1]);
    let until = w.now().await + TimeDelta::hours(1);
    w.finish(ids[0], attempt, Settlement::Defer { until, why: DeferReason::Throttled }).await;
    assert_eq!(waiting(&w).await, [0, 1, 3, 2, 0], "it waits for an instant");
    w.f.advance(TimeDelta::minutes(90)).await;
    assert_eq!(waiting(&w).await, [0, 0, 4, 2, 0]);
    w.f.execute("UPDATE runs SET approval = 'waiting'").await;
    assert_eq!(waiting(&w).await, [4, 0, 0, 2, 0], "a person must agree first");
}

/// Due and withheld.
async fn withheld(w: &World) -> [u64; 2] {
    let of = channel(w).await;
    assert_eq!(of.due_since.is_some(), of.due > 0, "what is withheld isn't waited for");
    assert_eq!(of.gate, GateState::Open);
    [of.due, of.withheld]
}

async fn what_a_top_up_leaves_out_is_withheld_and_not_due(f: Fixture) {
    let w = world(f).await;
    w.customers(0, 6, crate::world::due_for("overdue")).await;
    w.evaluate().await;
    w.release().await;
    let stop = async |scope, target: &str| {
        let stop = NewStop { scope, target: target.into(), raised_by: "ana".into(), why: "w".into(), until_at: None };
        assert!(w.ledger.raise_stop(stop).await.unwrap());
    };
    let policy = w.policy.to_string();
    let of_all = [(StopScope::Stage, "overdue"), (StopScope::Policy, &policy), (StopScope::Template, crate::setup::TEMPLATE)];
    for (scope, target) in of_all {
        stop(scope, target).await;
        assert_eq!((withheld(&w).await, w.top_up(6).await.len()), ([0, 6], 0), "{scope}");
        w.f.execute("UPDATE stops SET lifted_at = 1, lifted_by = 'ana'").await;
        assert_eq!(withheld(&w).await, [6, 0]);
    }
    stop(StopScope::Stage, "pre_due").await;
    assert_eq!(withheld(&w).await, [6, 0], "another stage");
    w.f.execute("UPDATE messages SET stage = 'pre_due' WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT 2)").await;
    assert_eq!(withheld(&w).await, [4, 2], "some of one turn");

    for (holds, lets_go) in [
        ("enabled = false", "enabled = true"),
        ("complete_at = complete_at - 90 * 86400000000", "complete_at = complete_at + 90 * 86400000000"),
        (
            "last_look_s = 60, last_look_unanswered = 'hold', look_again_at = complete_at + 86400000000000",
            "last_look_s = NULL, last_look_unanswered = NULL, look_again_at = NULL",
        ),
    ] {
        w.f.execute(&format!("UPDATE sources SET {holds}")).await;
        assert_eq!((withheld(&w).await, w.top_up(6).await.len()), ([0, 6], 0), "{holds}");
        w.f.execute(&format!("UPDATE sources SET {lets_go}")).await;
        assert_eq!(withheld(&w).await, [4, 2]);
    }
    w.f.advance(TimeDelta::hours(14)).await;
    assert_eq!((withheld(&w).await, w.top_up(6).await.len()), ([0, 6], 0), "it is night everywhere");
}

async fn the_oldest_due_message_says_since_when_it_has_been_due(f: Fixture) {
    let w = world(f).await;
    w.customers(0, 2, crate::world::due_for("overdue")).await;
    w.evaluate().await;
    w.release().await;
    let released = w.now().await;
    w.f.advance(TimeDelta::minutes(10)).await;
    let since = channel(&w).await.due_since.unwrap();
    assert!((released - since).abs() < TimeDelta::minutes(1), "{since} is not {released}");
    let ids = w.top_up(2).await;
    assert_eq!(channel(&w).await.due_since, None);
    let attempt = w.started(ids[0]).await.attempt_id;
    let at = w.now().await + TimeDelta::minutes(5);
    w.finish(ids[0], attempt, Settlement::Retry { at }).await;
    w.f.advance(TimeDelta::minutes(20)).await;
    assert_eq!(channel(&w).await.due_since, Some(at));
    let given_back = w.started(ids[1]).await.attempt_id;
    w.finish(ids[1], given_back, Settlement::GiveBack).await;
    assert_eq!(channel(&w).await.due_since, Some(since), "what was given back goes first, and counts from its release");
}

async fn a_gate_is_in_one_state_and_a_stop_comes_first(f: Fixture) {
    let w = world(f).await;
    let gate = async || channel(&w).await.gate;
    assert_eq!(gate().await, GateState::Open);
    let until = w.now().await + TimeDelta::minutes(5);
    w.ledger.pause_channel(w.channel, until, DeferReason::Throttled).await.unwrap();
    assert_eq!(gate().await, GateState::Paused);
    w.f.execute("UPDATE gates SET pause_reason = 'budget' WHERE paused_until IS NOT NULL").await;
    assert_eq!(gate().await, GateState::BudgetSpent);
    w.f.execute("UPDATE gates SET pause_reason = 'allowance' WHERE paused_until IS NOT NULL").await;
    assert_eq!(gate().await, GateState::BudgetSpent);
    w.f.advance(TimeDelta::minutes(6)).await;
    assert_eq!(gate().await, GateState::Open, "it is over");
    w.ledger.open_breaker(w.channel, 0.5).await.unwrap().unwrap();
    assert_eq!(gate().await, GateState::Probing);
    for (scope, target) in [
        (StopScope::Everything, String::new()),
        (StopScope::Business, w.business.to_string()),
        (StopScope::Integration, w.integration.to_string()),
        (StopScope::Channel, w.channel.to_string()),
    ] {
        let stop = NewStop { scope, target: target.clone(), raised_by: "ana".into(), why: "w".into(), until_at: None };
        assert!(w.ledger.raise_stop(stop).await.unwrap());
        assert_eq!(gate().await, GateState::Stopped, "{scope}");
        w.f.execute("UPDATE stops SET lifted_at = 1, lifted_by = 'ana'").await;
        assert_eq!(gate().await, GateState::Probing);
    }
    w.f.execute("UPDATE integrations SET enabled = false").await;
    assert_eq!(gate().await, GateState::Stopped, "switched off");
}

async fn a_business_with_a_limit_shows_what_it_used(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    w.send(ids[0]).await;
    w.send(ids[1]).await;
    let of = w.ledger.gauges().await.unwrap().businesses;
    assert_eq!(of.iter().map(|of| (of.used, of.limit)).collect::<Vec<_>>(), [(2, 20)]);
    w.f.advance(TimeDelta::hours(25)).await;
    assert_eq!(w.ledger.gauges().await.unwrap().businesses[0].used, 0, "they moved out of the 24 hours");
    w.f.execute("UPDATE businesses SET recipients_per_24h = NULL").await;
    assert!(w.ledger.gauges().await.unwrap().businesses.is_empty());
}

async fn runs_are_told_by_kind_the_oldest_open_and_the_newest_done(f: Fixture) {
    let w = world(f).await;
    let of = async |kind| w.ledger.gauges().await.unwrap().runs.into_iter().find(|of| of.kind == kind).unwrap();
    let none = of(TaskKind::UpdateCollections).await;
    assert_eq!((none.waiting, none.oldest_planned_at, none.done_planned_at), (0, None, None));
    let first = w.leased_run().await;
    w.ledger.finish_run(first.run.id, first.owner, None).await.unwrap();
    w.f.advance(TimeDelta::minutes(1)).await;
    let second = w.leased_run().await;
    w.f.advance(TimeDelta::minutes(1)).await;
    w.leased_run().await;
    let found = of(TaskKind::UpdateCollections).await;
    assert_eq!(
        (found.waiting, found.oldest_planned_at, found.done_planned_at),
        (2, Some(second.run.planned_at), Some(first.run.planned_at))
    );
    let other = of(TaskKind::SendQueuedMessages).await;
    assert_eq!((other.waiting, other.done_planned_at), (0, None));
    w.f.execute("UPDATE runs SET approval = 'waiting' WHERE state = 'done'").await;
    assert_eq!(w.ledger.gauges().await.unwrap().runs_waiting_for_approval, 1);
}

async fn the_oldest_doubt_says_since_when(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    let mut since = Vec::new();
    for id in &ids {
        let attempt = w.started(*id).await.attempt_id;
        w.finish(*id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
        since.push((w.message(*id).await.updated_at, attempt));
        w.f.advance(TimeDelta::minutes(3)).await;
    }
    let oldest = async || w.ledger.gauges().await.unwrap().doubt_since;
    assert_eq!(oldest().await, Some(since[0].0));
    w.finish(ids[0], since[0].1, sent("late")).await;
    assert_eq!(oldest().await, Some(since[1].0));
    w.finish(ids[1], since[1].1, sent("late")).await;
    assert_eq!(oldest().await, None);
}

async fn the_first_send_is_the_first_attempt_since_the_newest_release(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    w.send(ids[0]).await;
    w.f.advance(TimeDelta::seconds(30)).await;
    let (planned_at, long_ago) = (w.now().await, w.now().await - TimeDelta::days(1));
    let (plan, _) = w.ledger.plan_run("send".into(), TaskKind::SendQueuedMessages, planned_at, None).await.unwrap();
    let owner = regua_ledger::new_id();
    assert!(matches!(w.ledger.lease_run(plan, owner, crate::world::today(), None).await.unwrap(), LeaseAnswer::Leased(_)));
    assert_eq!(w.ledger.first_send(long_ago).await.unwrap(), None, "it isn't done");
    w.ledger.finish_run(plan, owner, None).await.unwrap();
    assert_eq!(w.ledger.first_send(long_ago).await.unwrap(), None, "what was sent before isn't sent after it");
    w.f.advance(TimeDelta::seconds(3)).await;
    let given_back = w.started(ids[1]).await.attempt_id;
    w.finish(ids[1], given_back, Settlement::GiveBack).await;
    assert_eq!(w.ledger.first_send(long_ago).await.unwrap(), None, "it was never begun");
    let slot_at = w.started(ids[2]).await.slot_at;
    w.f.advance(TimeDelta::seconds(1)).await;
    w.top_up(10).await;
    w.send(ids[1]).await;
    let first = w.ledger.first_send(long_ago).await.unwrap();
    assert_eq!(first, Some(FirstSend { planned_at: first.unwrap().planned_at, slot_at }));
    assert!((first.unwrap().planned_at - planned_at).abs() < TimeDelta::milliseconds(1), "the ledger keeps microseconds");
    assert_eq!(w.ledger.first_send(first.unwrap().planned_at).await.unwrap(), None, "it was seen");
}

conformance! {
    the_first_send_is_the_first_attempt_since_the_newest_release
    what_waits_is_told_by_what_it_waits_for
    what_a_top_up_leaves_out_is_withheld_and_not_due
    the_oldest_due_message_says_since_when_it_has_been_due
    a_gate_is_in_one_state_and_a_stop_comes_first
    a_business_with_a_limit_shows_what_it_used
    runs_are_told_by_kind_the_oldest_open_and_the_newest_done
    the_oldest_doubt_says_since_when
}
