//! Tasks: their fires are settled once, missed ones are counted, and a queue that no task empties is seen.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, begin, due_for};
use chrono::TimeDelta;
use regua_domain::configuration::Configuration;
use regua_domain::schedule::{DueFires, Missed, SendOutlook, TaskKind, WatchedTask, due_fires};
use regua_ledger::new_id;
use regua_ledger::runs::LeaseAnswer;
use regua_ledger::tasks::{MissedFires, Settled, Task};
use std::collections::{BTreeSet, HashMap};

async fn update_task(w: &World) -> Task {
    w.ledger.tasks().await.unwrap().into_iter().find(|task| task.kind == TaskKind::UpdateCollections).unwrap()
}

/// What the scheduler decides about a task now.
async fn due(w: &World, task: &Task) -> Option<DueFires> {
    let schedule = task.schedule().unwrap();
    let watched = WatchedTask {
        schedule: &schedule,
        zone: task.zone,
        missed: task.missed,
        catch_up: task.catch_up,
        settled_through: task.settled_through(),
        last_run_at: task.last_planned_at,
    };
    due_fires(&watched, w.now().await)
}

/// A look at the task as a scheduler does it: what it settled, if anything was due.
async fn look(w: &World) -> Option<Settled> {
    let task = update_task(w).await;
    let due = due(w, &task).await?;
    w.ledger.settle_fires(&task, due).await.unwrap()
}

async fn change(w: &World, change: impl Fn(&mut Configuration)) {
    let mut configuration = Setup::default().configuration();
    change(&mut configuration);
    w.ledger.apply_configuration(configuration).await.unwrap();
}

async fn missed(w: &World) -> (u64, u64) {
    let task = update_task(w).await;
    (task.fires_caught_up, task.fires_dropped)
}

/// The world begins on Monday, 9 March, 10:00; the task fires daily at 08:00.
async fn world(f: Fixture) -> World {
    World::new(f, &Setup::default()).await
}

/// Brings the ledger's clock to an instant.
async fn wait_until(w: &World, instant: &str) {
    let instant: chrono::DateTime<chrono::Utc> = instant.parse().unwrap();
    w.f.advance(instant - w.now().await).await;
}

async fn any_number_of_schedulers_settle_a_fire_once(f: Fixture) {
    let w = world(f).await;
    wait_until(&w, "2026-03-12T12:00:00-03:00").await;
    let task = update_task(&w).await;
    let decided = due(&w, &task).await.unwrap();
    assert_eq!((decided.is_late, decided.dropped), (true, 2));
    let answers = futures::future::join_all((0..8).map(|_| w.ledger.settle_fires(&task, decided))).await;
    let settled: Vec<_> = answers.into_iter().filter_map(|answer| answer.unwrap()).collect();
    assert!(matches!(settled[..], [Settled { run: Some(_) }]), "{settled:?}");
    assert_eq!((missed(&w).await, w.f.count("runs").await), ((1, 2), 1));
    assert_eq!(look(&w).await, None, "nothing is left to do");
}

async fn a_task_that_skips_counts_and_runs_nothing_late(f: Fixture) {
    let w = world(f).await;
    change(&w, |configuration| configuration.tasks[0].missed = Missed::Skip).await;
    wait_until(&w, "2026-03-12T12:00:00-03:00").await;
    assert_eq!(look(&w).await, Some(Settled { run: None }));
    assert_eq!((look(&w).await, missed(&w).await, w.f.count("runs").await), (None, (0, 3), 0));
    wait_until(&w, "2026-03-13T08:00:10-03:00").await;
    assert!(matches!(look(&w).await, Some(Settled { run: Some(_) })));
    assert_eq!(missed(&w).await, (0, 3));
}

/// F20, also for how missed fires are treated: a task that is told to catch up doesn't do so for what it skipped before.
async fn f20_fires_before_the_tasks_last_change_are_neither_run_nor_counted(f: Fixture) {
    let w = world(f).await;
    wait_until(&w, "2026-03-12T12:00:00-03:00").await;
    change(&w, |configuration| configuration.tasks[0].minute = "30".into()).await;
    assert_eq!((look(&w).await, missed(&w).await), (None, (0, 0)));
    change(&w, |configuration| {
        configuration.tasks[0].minute = "30".into();
        configuration.tasks[0].missed = Missed::Skip;
    })
    .await;
    wait_until(&w, "2026-03-13T08:40:00-03:00").await;
    change(&w, |configuration| configuration.tasks[0].minute = "30".into()).await;
    assert_eq!((look(&w).await, missed(&w).await), (None, (0, 0)));
}

async fn a_decision_from_before_a_change_is_not_carried_out(f: Fixture) {
    let w = world(f).await;
    wait_until(&w, "2026-03-10T08:00:05-03:00").await;
    let task = update_task(&w).await;
    let decided = due(&w, &task).await.unwrap();
    change(&w, |configuration| configuration.tasks[0].enabled = false).await;
    assert_eq!(w.ledger.settle_fires(&task, decided).await.unwrap(), None);
    change(&w, |_| ()).await;
    assert_eq!(w.ledger.settle_fires(&task, decided).await.unwrap(), None, "it was switched on later than the fire");
    assert_eq!(w.f.count("runs").await, 0);
}

async fn missed_fires_are_summed_by_kind_and_stay(f: Fixture) {
    let w = world(f).await;
    wait_until(&w, "2026-03-12T12:00:00-03:00").await;
    look(&w).await.unwrap();
    change(&w, |configuration| configuration.tasks.truncate(1)).await;
    let [send, update] = w.ledger.missed_fires().await.unwrap()[..] else { panic!("two kinds") };
    assert_eq!(send, MissedFires { kind: TaskKind::SendQueuedMessages, caught_up: 0, dropped: 0 });
    assert_eq!(update, MissedFires { kind: TaskKind::UpdateCollections, caught_up: 1, dropped: 2 });
    change(&w, |configuration| configuration.tasks.clear()).await;
    assert_eq!(w.ledger.missed_fires().await.unwrap(), [send, update]);
}

async fn a_run_may_be_begun_within_its_tasks_catch_up_time(f: Fixture) {
    let w = world(f).await;
    let half_an_hour = |configuration: &mut Configuration| configuration.tasks[0].catch_up_s = 1800;
    change(&w, half_an_hour).await;
    for (day, minutes, begun) in [("10", 29, true), ("11", 31, false)] {
        wait_until(&w, &format!("2026-03-{day}T08:00:00-03:00")).await;
        let Some(Settled { run: Some(run) }) = look(&w).await else { panic!("it fires") };
        // A task that is changed doesn't shorten what was promised to a run.
        change(&w, |configuration| configuration.tasks[0].catch_up_s = 60).await;
        w.f.advance(TimeDelta::minutes(minutes)).await;
        let answer = w.ledger.lease_run(run, new_id(), w.local_today().await, None).await.unwrap();
        assert_eq!(matches!(answer, LeaseAnswer::Leased(_)), begun, "{answer:?}");
        change(&w, half_an_hour).await;
    }
}

/// Two messages that wait for send-queued-messages, in a world whose tasks are `tasks`.
async fn holding(f: Fixture, change_it: impl Fn(&mut Configuration)) -> World {
    let w = world(f).await;
    change(&w, change_it).await;
    w.customers(1, 2, due_for("overdue")).await;
    w.evaluate().await;
    w
}

async fn parked(w: &World) -> Option<(Vec<(String, u64)>, SendOutlook)> {
    w.ledger.parked().await.unwrap().map(|parked| (parked.by_integration, parked.outlook))
}

async fn held_messages_that_no_task_releases_are_parked(f: Fixture) {
    let w = holding(f, |configuration| configuration.tasks[1].enabled = false).await;
    let two = vec![("Opa! Suite".to_owned(), 2)];
    assert_eq!(parked(&w).await, Some((two.clone(), SendOutlook::NoTask)));
    let why = w.ledger.parked().await.unwrap().unwrap().why();
    assert!(why.contains("2 messages are held") && why.contains("fila parada"), "{why}");
    // On Wednesdays only: not within a day of this Monday.
    change(&w, |configuration| configuration.tasks[1].day_of_week = "3".into()).await;
    let next = "2026-03-11T11:30:00Z".parse().ok();
    assert_eq!(parked(&w).await, Some((two, SendOutlook::Later { next })));
    w.f.advance(TimeDelta::days(1)).await;
    assert_eq!(parked(&w).await, None, "it fires within a day");
    let fired: chrono::DateTime<chrono::Utc> = "2026-03-11T11:30:02Z".parse().unwrap();
    w.f.advance(fired - w.now().await).await;
    assert_eq!(parked(&w).await, None, "it fired two seconds ago: its run is about to be planned");
    w.f.advance(TimeDelta::minutes(2)).await;
    assert!(parked(&w).await.is_some(), "nobody planned it");
    change(&w, |configuration| configuration.tasks[1].enabled = false).await;
    w.release().await;
    assert_eq!(parked(&w).await, None, "what was released waits for its window");
}

async fn a_queue_that_needs_no_task_is_not_parked(f: Fixture) {
    let w = holding(f, |configuration| configuration.tasks[1].enabled = false).await;
    let (run, _) = w.ledger.plan_run("by hand".into(), TaskKind::SendQueuedMessages, w.now().await, None).await.unwrap();
    assert_eq!(parked(&w).await, None, "a run is about to release it");
    let LeaseAnswer::Leased(leased) = w.ledger.lease_run(run, new_id(), begin().date_naive(), None).await.unwrap() else {
        panic!()
    };
    w.ledger.finish_run(run, leased.owner, None).await.unwrap();
    assert!(parked(&w).await.is_some(), "that run released nothing");
    let immediate = Setup { release: "immediate", ..Setup::default() };
    w.ledger.apply_configuration(Configuration { tasks: Vec::new(), ..immediate.configuration() }).await.unwrap();
    assert_eq!(parked(&w).await, None, "nothing waits for a task");
}

/// What `regua check opa` compares with a channel's daily allowance.
async fn what_waits_and_what_comes_due_is_counted(f: Fixture) {
    let w = world(f).await;
    let dates = [due_for("overdue"), due_for("pre_due")];
    assert!(!w.ledger.volume(&dates.into()).await.unwrap().is_known, "nothing was ever synced");
    w.customers(1, 2, dates[0]).await;
    w.customers(3, 1, dates[1]).await;
    w.evaluate().await;
    let volume = w.ledger.volume(&dates.into()).await.unwrap();
    assert!(volume.is_known);
    assert_eq!(volume.waiting, HashMap::from([("Cobrança".to_owned(), 3)]));
    assert_eq!(volume.open_invoices, HashMap::from([(dates[0], 2), (dates[1], 1)]));
    let one = w.ledger.volume(&[dates[1]].into()).await.unwrap();
    assert_eq!(one.open_invoices, HashMap::from([(dates[1], 1)]), "only the dates asked for");
    assert!(w.ledger.volume(&BTreeSet::new()).await.unwrap().open_invoices.is_empty());
}

conformance! {
    any_number_of_schedulers_settle_a_fire_once
    a_task_that_skips_counts_and_runs_nothing_late
    f20_fires_before_the_tasks_last_change_are_neither_run_nor_counted
    a_decision_from_before_a_change_is_not_carried_out
    missed_fires_are_summed_by_kind_and_stay
    a_run_may_be_begun_within_its_tasks_catch_up_time
    held_messages_that_no_task_releases_are_parked
    a_queue_that_needs_no_task_is_not_parked
    what_waits_and_what_comes_due_is_counted
}
