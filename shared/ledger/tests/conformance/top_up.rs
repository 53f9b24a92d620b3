//! The bounded top-up: the only maker of hints.

use crate::databases::Fixture;
use crate::setup::{OTHER_TEMPLATE, Setup, TEMPLATE};
use crate::world::{World, by, customer, due_for, invoice, paid, skipped};
use chrono::TimeDelta;
use regua_domain::admission::RECHECK;
use regua_domain::ids::ChannelId;
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::money::Centavos;
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_ledger::new_id;
use regua_ledger::release::{BOUND_MIN, BOUND_UNLIMITED, COUNTS_FOR, FLOOD};
use regua_ledger::stops::NewStop;

async fn world(f: Fixture) -> World {
    World::new(f, &Setup::default()).await
}

async fn a_channel_has_a_second_of_its_limit_queued(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 20, ..Setup::default() }).await;
    let ids = w.released(1, 50, "overdue").await;
    let first = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((first.queued.len(), first.more), (20, true));
    let full = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((full.queued.len(), full.more), (0, true));
    w.send(first.queued[0]).await;
    assert_eq!(w.ledger.top_up(w.channel, None).await.unwrap().queued.len(), 1, "one left, one comes");
    assert_eq!(w.ledger.queued().await.unwrap(), 20);
    w.f.advance(COUNTS_FOR + TimeDelta::seconds(1)).await;
    let later = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!(later.queued.len(), 20, "a hint nobody takes doesn't close the channel for ever");
    assert!(ids.len() == 50 && w.ledger.queued().await.unwrap() == 40);
}

async fn only_channels_for_which_something_waits_have_their_turn(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 2, ..Setup::default() }).await;
    assert_eq!(w.ledger.waiting_channels().await.unwrap(), []);
    w.customers(1, 3, due_for("overdue")).await;
    w.evaluate().await;
    assert_eq!(
        w.ledger.waiting_channels().await.unwrap(),
        [w.channel],
        "what is held waits, for an integration may release at once"
    );
    w.release().await;
    let queued = w.ledger.top_up(w.channel, None).await.unwrap().queued;
    assert_eq!((queued.len(), w.ledger.waiting_channels().await.unwrap()), (2, vec![w.channel]), "one is left");
    w.send(queued[0]).await;
    let last = w.ledger.top_up(w.channel, None).await.unwrap().queued;
    assert_eq!((last.len(), w.ledger.waiting_channels().await.unwrap()), (1, vec![]), "what is queued waits for nobody");
    w.ledger.unqueue_unpublished(last).await.unwrap();
    assert_eq!(w.ledger.waiting_channels().await.unwrap(), [w.channel]);
}

async fn the_slowest_channel_has_two_and_an_unlimited_one_a_thousand(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 1, ..Setup::default() }).await;
    w.released(1, 10, "overdue").await;
    assert_eq!(w.ledger.top_up(w.channel, None).await.unwrap().queued.len(), BOUND_MIN as usize);
    w.ledger.apply_configuration(Setup { per_second: 0, ..Setup::default() }.configuration()).await.unwrap();
    let all = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((all.queued.len(), all.more), (8, false));
    assert_eq!(BOUND_UNLIMITED, 1000);
}

async fn the_best_go_first(f: Fixture) {
    let w = world(f).await;
    let dues = ["pre_due", "overdue", "due_day", "pending_query", "overdue", "overdue"].map(due_for);
    let mut invoices: Vec<_> = (1..).zip(dues).map(|(n, due)| invoice(n, n, due)).collect();
    invoices[5].due_on = "2026-03-05".parse().unwrap();
    w.sync(&(1..=6).map(customer).collect::<Vec<_>>(), &invoices).await;
    w.evaluate().await;
    w.release().await;
    let mut order = Vec::new();
    for bound in 1..=6 {
        let queued = w.top_up(bound).await;
        assert_eq!(queued.len(), 1);
        order.push(w.message(queued[0]).await.subject);
    }
    assert_eq!(
        order,
        ["i0004", "i0006", "i0002", "i0005", "i0003", "i0001"],
        "most advanced stage, oldest due date, first written"
    );
}

async fn held_and_scheduled_ones_compete_fairly(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(1).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    w.finish(ids[0], attempt, Settlement::GiveBack).await;
    w.released(2, 2, "pending_query").await;
    let order = w.top_up(2).await;
    assert!(order.len() == 2 && !order.contains(&ids[0]), "a more advanced stage goes before one that was given back");
    assert_eq!(w.top_up(3).await, ids);
}

async fn what_cannot_go_yet_keeps_no_other_from_going_however_good_it_is(f: Fixture) {
    let w = world(f).await;
    let put_off = w.queued(1).await[0];
    let attempt = w.started(put_off).await.attempt_id;
    let until = w.now().await + TimeDelta::minutes(5);
    w.finish(put_off, attempt, Settlement::Defer { until, why: DeferReason::InService }).await;
    let released = w.released(2, 2, "pre_due").await;
    w.customers(11, 2, due_for("pending_query")).await;
    w.evaluate().await;
    let mut queued = w.top_up(2).await;
    queued.sort_unstable();
    assert_eq!(queued, released, "of three runs one may go");
    w.release().await;
    w.f.advance(TimeDelta::minutes(5)).await;
    let mut subjects = Vec::new();
    for bound in 1..=3 {
        subjects.push(w.message(w.top_up(bound).await[0]).await.subject);
    }
    assert_eq!(subjects, ["i0011", "i0012", "i0001"], "the best of all runs and instants");
}

async fn one_channel_takes_no_place_of_another(f: Fixture) {
    let w = world(f).await;
    w.released(1, 3, "overdue").await;
    w.ledger.apply_configuration(Setup { channel: "Vendas", ..Setup::default() }.configuration()).await.unwrap();
    w.released(11, 3, "overdue").await;
    let other = w.ledger.top_up(w.other_channel, Some(2)).await.unwrap();
    assert_eq!((other.queued.len(), other.more), (2, true));
    for id in &other.queued {
        assert!(w.message(*id).await.subject.as_str() > "i0010");
    }
    assert_eq!(w.ledger.top_up(ChannelId(new_id()), None).await.unwrap().queued, [], "a channel that isn't there");
}

async fn what_waits_for_its_time_is_not_queued_before_it(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    let until = w.now().await + TimeDelta::minutes(5);
    w.finish(id, attempt, Settlement::Defer { until, why: DeferReason::InService }).await;
    assert!(w.top_up(10).await.is_empty());
    w.f.advance(TimeDelta::minutes(5)).await;
    assert_eq!(w.top_up(10).await, [id]);
}

async fn a_closed_window_queues_nothing(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 3, max_age: "30d", ..Setup::default() }).await;
    let ids = w.released(1, 2, "overdue").await;
    w.f.advance(TimeDelta::hours(9)).await;
    let closed = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((closed.queued.len(), closed.skipped, closed.more), (0, 0, false));
    w.f.advance(TimeDelta::hours(14)).await;
    assert_eq!(w.top_up(10).await, ids, "09:00 the next morning");
}

async fn a_paused_gate_queues_nothing(f: Fixture) {
    let w = world(f).await;
    w.released(1, 2, "overdue").await;
    w.ledger.pause_channel(w.channel, w.now().await + TimeDelta::minutes(5), DeferReason::Throttled).await.unwrap();
    assert!(w.top_up(10).await.is_empty());
    w.f.advance(TimeDelta::minutes(5)).await;
    assert_eq!(w.top_up(10).await.len(), 2);
}

async fn a_stale_source_queues_nothing(f: Fixture) {
    let w = World::new(f, &Setup { max_age: "1h", ..Setup::default() }).await;
    w.released(1, 1, "overdue").await;
    w.f.advance(TimeDelta::minutes(61)).await;
    assert!(w.top_up(10).await.is_empty());
    w.customers(1, 1, due_for("overdue")).await;
    assert_eq!(w.top_up(10).await.len(), 1);
}

/// A title that the newest sync didn't look at is as old as its own look; it keeps no place from others.
async fn f10a_a_row_that_no_sync_confirmed_waits_for_a_look(f: Fixture) {
    let w = World::new(f, &Setup { max_age: "1h", ..Setup::default() }).await;
    let ids = w.released(1, 2, "overdue").await;
    w.f.advance(TimeDelta::minutes(61)).await;
    w.customers(2, 1, due_for("overdue")).await;
    assert!(w.top_up(1).await.is_empty(), "the first one had the only place");
    assert_eq!(w.state(ids[0]).await, (State::Held, Some("stale_source".into())));
    assert_eq!(w.top_up(1).await, ids[1..]);
    w.customers(1, 1, due_for("overdue")).await;
    w.f.advance(RECHECK).await;
    assert_eq!(w.top_up(2).await, ids[..1]);
}

async fn f5_hints_that_nobody_takes_never_become_a_flood(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 4, ..Setup::default() }).await;
    w.released(1, 30, "overdue").await;
    for _ in 0..6 {
        w.ledger.top_up(w.channel, None).await.unwrap();
        w.f.advance(COUNTS_FOR + TimeDelta::seconds(1)).await;
    }
    assert_eq!(w.ledger.queued().await.unwrap(), u64::from(4 * FLOOD));
}

/// Whoever points a notice away from a stopped channel wants its messages to go the other way.
async fn messages_leave_a_stopped_channel_with_their_notice(f: Fixture) {
    let w = world(f).await;
    let ids = w.released(1, 3, "overdue").await;
    let stop = NewStop {
        scope: StopScope::Channel,
        target: w.channel.to_string(),
        raised_by: "answer".into(),
        why: "368".into(),
        until_at: None,
    };
    w.ledger.raise_stop(stop).await.unwrap();
    assert_eq!(w.ledger.top_up(w.channel, None).await.unwrap().rendered_again, 0);
    w.ledger.apply_configuration(Setup { channel: "Vendas", ..Setup::default() }.configuration()).await.unwrap();
    let here = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((here.queued.len(), here.rendered_again), (0, 3));
    let mut there = w.ledger.top_up(w.other_channel, None).await.unwrap().queued;
    there.sort_unstable();
    assert_eq!(there, ids);
}

async fn a_stop_of_any_scope_queues_nothing(f: Fixture) {
    let w = world(f).await;
    w.released(1, 1, "overdue").await;
    let targets = [
        (StopScope::Everything, String::new()),
        (StopScope::Business, w.business.to_string()),
        (StopScope::Integration, w.integration.to_string()),
        (StopScope::Channel, w.channel.to_string()),
        (StopScope::Template, TEMPLATE.into()),
        (StopScope::Policy, w.policy.to_string()),
        (StopScope::Stage, "overdue".into()),
    ];
    assert_eq!(targets.len(), StopScope::ALL.len());
    for (scope, target) in targets {
        let stop = NewStop { scope, target: target.clone(), raised_by: "ana".into(), why: "texto errado".into(), until_at: None };
        assert!(w.ledger.raise_stop(stop.clone()).await.unwrap());
        assert!(w.top_up(10).await.is_empty(), "{scope}");
        assert_eq!(w.ledger.resume(scope, target, by("ana")).await.unwrap(), 1);
        let elsewhere = NewStop { target: "elsewhere".into(), ..stop };
        w.ledger.raise_stop(elsewhere).await.unwrap();
    }
    let id = w.top_up(10).await;
    assert_eq!(id.len(), 1, "stops of something else hold nothing back");
}

async fn what_is_not_called_for_any_more_is_skipped(f: Fixture) {
    let w = world(f).await;
    let open: Vec<_> = (1..=5).map(|n| invoice(n, n, due_for("overdue"))).collect();
    w.sync(&(1..=5).map(customer).collect::<Vec<_>>(), &open).await;
    w.evaluate().await;
    w.release().await;
    let moved = Invoice { due_on: "2026-03-20".parse().unwrap(), ..open[2].clone() };
    w.sync(&[Customer { takes_part_in_collection: false, ..customer(4) }], &[paid(&open[1]), moved]).await;
    w.opt_out(&[5], "ana").await;
    let result = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((result.queued.len(), result.skipped, result.rendered_again), (1, 4, 0));
    let reasons = [SkipReason::Paid, SkipReason::DueDateMoved, SkipReason::NotInCollection, SkipReason::OptedOut];
    for (number, why) in (2..).zip(reasons) {
        assert_eq!(w.state(w.message_of(number).await.id).await, skipped(why));
    }
}

/// F17: an operator who switches a stage off means it.
async fn f17_a_stage_or_policy_that_was_switched_off_is_skipped(f: Fixture) {
    let w = world(f).await;
    let id = w.released(1, 1, "overdue").await[0];
    let mut off = Setup::default().configuration();
    off.policies[0].stages.iter_mut().for_each(|stage| stage.enabled = false);
    w.ledger.apply_configuration(off).await.unwrap();
    assert!(w.top_up(10).await.is_empty());
    assert_eq!(w.state(id).await, skipped(SkipReason::StageOff));
    w.ledger.apply_configuration(Setup::default().configuration()).await.unwrap();
    let id = w.released(2, 1, "overdue").await[0];
    let mut off = Setup::default().configuration();
    off.policies[0].enabled = false;
    w.ledger.apply_configuration(off).await.unwrap();
    assert!(w.top_up(10).await.is_empty());
    assert_eq!(w.state(id).await, skipped(SkipReason::StageOff));
}

async fn what_expired_is_skipped(f: Fixture) {
    let w = World::new(f, &Setup { max_age: "30d", ..Setup::default() }).await;
    let id = w.released(1, 1, "overdue").await[0];
    w.f.advance(TimeDelta::days(1)).await;
    assert!(w.top_up(10).await.is_empty());
    assert_eq!(w.state(id).await, skipped(SkipReason::Expired));
}

/// F4: the text says what is true now, in the same row.
async fn f4b_a_changed_amount_or_phone_is_rendered_again_in_place(f: Fixture) {
    let w = world(f).await;
    let ids = w.released(1, 2, "overdue").await;
    let rest = Invoice { open_amount: Centavos(4_000), ..invoice(1, 1, due_for("overdue")) };
    let moved = Customer { whatsapp: "11 97777-6666".into(), ..customer(2) };
    w.sync(&[moved], &[rest]).await;
    let result = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((result.queued.clone(), result.rendered_again), (ids.clone(), 2));
    assert_eq!(w.started(ids[0]).await.text.values.by_position()[1], "R$40,00");
    let other = w.started(ids[1]).await.text;
    assert_eq!((other.phone.as_str(), other.phone_key.as_str()), ("+5511977776666", "1177776666"));
    assert_eq!(w.ledger.counts().await.unwrap().total(), 2);
}

async fn a_notice_that_moved_to_another_channel_takes_its_messages_along(f: Fixture) {
    let w = world(f).await;
    let id = w.released(1, 1, "overdue").await[0];
    w.ledger
        .apply_configuration(Setup { channel: "Vendas", template: OTHER_TEMPLATE, ..Setup::default() }.configuration())
        .await
        .unwrap();
    let here = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((here.queued.len(), here.rendered_again), (0, 1));
    assert_eq!(w.ledger.locate(&[id]).await.unwrap(), [(id, w.other_channel)]);
    assert_eq!(w.ledger.top_up(w.other_channel, None).await.unwrap().queued, [id]);
    let started = w.started(id).await;
    assert_eq!((started.channel_id, started.text.template_id.as_str()), (w.other_channel, OTHER_TEMPLATE));
}

async fn two_top_ups_at_once_publish_no_hint_twice(f: Fixture) {
    let w = world(f).await;
    w.released(1, 40, "overdue").await;
    let results = futures::future::join_all((0..8).map(|_| w.ledger.top_up(w.channel, Some(30)))).await;
    let mut queued: Vec<_> = results.into_iter().flat_map(|result| result.unwrap().queued).collect();
    queued.sort_unstable();
    let published = queued.len();
    queued.dedup();
    assert_eq!((queued.len(), published), (30, 30));
}

conformance! {
    a_channel_has_a_second_of_its_limit_queued
    only_channels_for_which_something_waits_have_their_turn
    the_slowest_channel_has_two_and_an_unlimited_one_a_thousand
    the_best_go_first
    held_and_scheduled_ones_compete_fairly
    what_cannot_go_yet_keeps_no_other_from_going_however_good_it_is
    one_channel_takes_no_place_of_another
    what_waits_for_its_time_is_not_queued_before_it
    a_closed_window_queues_nothing
    a_paused_gate_queues_nothing
    a_stale_source_queues_nothing
    f10a_a_row_that_no_sync_confirmed_waits_for_a_look
    f5_hints_that_nobody_takes_never_become_a_flood
    messages_leave_a_stopped_channel_with_their_notice
    a_stop_of_any_scope_queues_nothing
    what_is_not_called_for_any_more_is_skipped
    f17_a_stage_or_policy_that_was_switched_off_is_skipped
    what_expired_is_skipped
    f4b_a_changed_amount_or_phone_is_rendered_again_in_place
    a_notice_that_moved_to_another_channel_takes_its_messages_along
    two_top_ups_at_once_publish_no_hint_twice
}
