//! Runs: planned once, leased by one, ended once (F9).

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, date, due_for, today};
use chrono::TimeDelta;
use regua_domain::ids::RunId;
use regua_domain::schedule::TaskKind;
use regua_ledger::runs::{AGE_MAX, LEASE, LeaseAnswer, LeasedRun, TRIES_MAX};
use regua_ledger::{LedgerError, new_id};
use uuid::Uuid;

const KIND: TaskKind = TaskKind::UpdateCollections;

async fn world(f: Fixture) -> World {
    World::new(f, &Setup::default()).await
}

async fn planned(w: &World) -> RunId {
    let now = w.now().await;
    w.ledger.plan_run("update-collections".into(), KIND, now, None).await.unwrap().0
}

async fn lease(w: &World, id: RunId, owner: Uuid) -> LeaseAnswer {
    w.ledger.lease_run(id, owner, today(), None).await.unwrap()
}

async fn leased(w: &World, id: RunId) -> LeasedRun {
    match lease(w, id, new_id()).await {
        LeaseAnswer::Leased(run) => *run,
        other => panic!("{other:?}"),
    }
}

async fn state(w: &World, id: RunId) -> (String, u32) {
    let run = w.ledger.run(id).await.unwrap().unwrap();
    (run.state, run.tries)
}

async fn a_run_is_unique_by_task_and_instant(f: Fixture) {
    let w = world(f).await;
    let at = w.now().await;
    let plan = |task: &str, at| w.ledger.plan_run(task.to_owned(), KIND, at, None);
    let (first, was_new) = plan("A", at).await.unwrap();
    assert!(was_new);
    assert_eq!(plan("A", at).await.unwrap(), (first, false));
    assert!(plan("B", at).await.unwrap().1 && plan("A", at - TimeDelta::seconds(1)).await.unwrap().1);
    let many = futures::future::join_all((0..8).map(|_| plan("C", at))).await;
    assert_eq!(many.into_iter().filter(|planned| planned.as_ref().unwrap().1).count(), 1, "two schedulers are harmless");
    assert_eq!(w.f.count("runs").await, 4);
}

async fn f9_a_run_is_never_planned_in_the_ledgers_future(f: Fixture) {
    let w = world(f).await;
    let at = w.now().await + TimeDelta::days(1);
    let error = w.ledger.plan_run("A".into(), KIND, at, None).await.unwrap_err();
    assert!(matches!(error, LedgerError::Refused(_)), "{error:?}");
    assert_eq!(w.f.count("runs").await, 0);
    let distance_of_two_clocks = w.now().await + TimeDelta::milliseconds(900);
    w.ledger.plan_run("A".into(), KIND, distance_of_two_clocks, None).await.unwrap();
    w.f.advance(TimeDelta::days(1)).await;
    let (_, is_new) = w.ledger.plan_run("A".into(), KIND, at, None).await.unwrap();
    assert!(is_new, "tomorrow's own run is planned tomorrow");
}

async fn one_at_a_time_holds_a_run(f: Fixture) {
    let w = world(f).await;
    let id = planned(&w).await;
    let answers = futures::future::join_all((0..8).map(|_| lease(&w, id, new_id()))).await;
    let got = answers.iter().filter(|answer| matches!(answer, LeaseAnswer::Leased(_))).count();
    let held = answers.iter().filter(|answer| matches!(answer, LeaseAnswer::Held)).count();
    assert_eq!((got, held), (1, 7));
    assert_eq!(state(&w, id).await, ("running".into(), 1));
}

async fn a_run_that_nobody_planned_is_unknown(f: Fixture) {
    let w = world(f).await;
    let nobody = RunId(new_id());
    assert!(matches!(lease(&w, nobody, new_id()).await, LeaseAnswer::Unknown));
    assert!(w.ledger.run(nobody).await.unwrap().is_none());
}

async fn an_ended_run_has_nothing_to_do(f: Fixture) {
    let w = world(f).await;
    let (done, failed) = (leased(&w, planned(&w).await).await, leased(&w, planned(&w).await).await);
    w.ledger.finish_run(done.run.id, done.owner, Some("7 títulos sem cliente".into())).await.unwrap();
    w.ledger.fail_run(failed.run.id, failed.owner, "sem memória".into()).await.unwrap();
    for (run, state, note) in [(done, "done", "7 títulos sem cliente"), (failed, "failed", "sem memória")] {
        let seen = w.ledger.run(run.run.id).await.unwrap().unwrap();
        assert_eq!((seen.state.as_str(), seen.note.as_deref(), seen.finished_at.is_some()), (state, Some(note), true));
        assert!(matches!(lease(&w, run.run.id, new_id()).await, LeaseAnswer::NothingToDo));
        let again = w.ledger.finish_run(run.run.id, run.owner, None).await;
        assert!(matches!(again, Err(LedgerError::LeaseLost)), "a run ends once");
    }
    assert!(w.ledger.runs_to_tick(10).await.unwrap().is_empty());
}

async fn f9_a_run_dropped_three_times_without_progress_fails(f: Fixture) {
    let w = world(f).await;
    let id = planned(&w).await;
    for tries in 1..=TRIES_MAX {
        assert_eq!(leased(&w, id).await.run.tries, tries);
        w.f.advance(LEASE).await;
    }
    assert!(matches!(lease(&w, id, new_id()).await, LeaseAnswer::Over { .. }));
    let run = w.ledger.run(id).await.unwrap().unwrap();
    assert_eq!((run.state.as_str(), run.note.is_some(), run.finished_at.is_some()), ("failed", true, true));
    assert!(matches!(lease(&w, id, new_id()).await, LeaseAnswer::NothingToDo), "it is said once");
}

async fn progress_gives_a_run_its_tries_back(f: Fixture) {
    let w = world(f).await;
    w.customers(1, 1, due_for("overdue")).await;
    let id = planned(&w).await;
    for _ in 0..2 * TRIES_MAX {
        let run = leased(&w, id).await;
        w.ledger.commit_evaluation(w.decide(&run).await).await.unwrap();
        w.f.advance(LEASE).await;
    }
    assert_eq!(state(&w, id).await, ("running".into(), 1));
}

async fn a_source_that_is_down_or_a_shutdown_is_no_try(f: Fixture) {
    let w = world(f).await;
    let id = planned(&w).await;
    for _ in 0..2 * TRIES_MAX {
        let run = leased(&w, id).await;
        let wait = TimeDelta::seconds(10);
        w.ledger.replan_run(id, run.owner, wait, false, "o ERP não responde".into()).await.unwrap();
        assert!(matches!(lease(&w, id, new_id()).await, LeaseAnswer::NothingToDo), "not before its time");
        assert!(w.ledger.runs_to_tick(10).await.unwrap().is_empty());
        w.f.advance(wait).await;
        assert_eq!(w.ledger.runs_to_tick(10).await.unwrap(), [id]);
    }
    let run = w.ledger.run(id).await.unwrap().unwrap();
    assert_eq!((run.state.as_str(), run.tries, run.note.as_deref()), ("planned", 0, Some("o ERP não responde")));
}

async fn a_fault_of_ours_is_a_try(f: Fixture) {
    let w = world(f).await;
    let id = planned(&w).await;
    for _ in 0..TRIES_MAX {
        let run = leased(&w, id).await;
        w.ledger.replan_run(id, run.owner, TimeDelta::zero(), true, "erro".into()).await.unwrap();
    }
    assert!(matches!(lease(&w, id, new_id()).await, LeaseAnswer::Over { .. }));
    assert_eq!(state(&w, id).await, ("failed".into(), 3));
}

async fn a_run_whose_time_is_long_past_is_not_begun(f: Fixture) {
    let w = world(f).await;
    let (late, over) = (planned(&w).await, planned(&w).await);
    let run = leased(&w, late).await;
    w.f.advance(AGE_MAX - TimeDelta::seconds(5)).await;
    w.ledger.heartbeat(late, run.owner).await.unwrap();
    w.f.advance(TimeDelta::seconds(6)).await;
    assert!(matches!(lease(&w, over, new_id()).await, LeaseAnswer::Over { .. }));
    assert_eq!(state(&w, over).await, ("failed".into(), 0));
    w.ledger.finish_run(late, run.owner, None).await.unwrap();
}

/// Whether or not an evaluator comes to it: of a kind that is no more, none does.
async fn a_run_that_nobody_holds_ends_when_its_time_is_over(f: Fixture) {
    let w = world(f).await;
    let (waits, dropped, held, done) = (planned(&w).await, planned(&w).await, planned(&w).await, planned(&w).await);
    w.f.execute(format!("UPDATE runs SET kind = 'of_a_future_version' WHERE id = '{waits}'")).await;
    let finished = leased(&w, done).await;
    w.ledger.finish_run(done, finished.owner, None).await.unwrap();
    leased(&w, dropped).await;
    let run = leased(&w, held).await;
    w.f.advance(AGE_MAX - TimeDelta::seconds(5)).await;
    assert_eq!(w.ledger.end_overdue_runs().await.unwrap(), 0, "there is time yet");
    w.ledger.heartbeat(held, run.owner).await.unwrap();
    w.f.advance(TimeDelta::seconds(6)).await;
    let swept = futures::future::join_all((0..3).map(|_| w.ledger.end_overdue_runs())).await;
    assert_eq!(swept.into_iter().map(Result::unwrap).sum::<u64>(), 2);
    let states = w.f.texts("SELECT state || COALESCE(': ' || note, '') FROM runs ORDER BY id").await;
    let over = "failed: nobody could do it within the catch-up time after its instant";
    assert_eq!(states.iter().map(|state| state.as_deref().unwrap()).collect::<Vec<_>>(), [over, over, "running", "done"]);
    w.ledger.finish_run(held, run.owner, None).await.unwrap();
}

/// Suspended for longer than its lease: what it decided is checked again by whoever sends it.
async fn an_evaluator_whose_lease_expired_goes_on_while_nobody_took_its_run(f: Fixture) {
    let w = world(f).await;
    w.customers(1, 1, due_for("overdue")).await;
    let run = leased(&w, planned(&w).await).await;
    let batch = w.decide(&run).await;
    w.f.advance(LEASE + LEASE).await;
    assert_eq!(w.ledger.commit_evaluation(batch.clone()).await.unwrap().held, 1);
    assert!(matches!(lease(&w, run.run.id, new_id()).await, LeaseAnswer::Held), "progress prolongs the lease");
    w.f.advance(LEASE).await;
    leased(&w, run.run.id).await;
    assert!(matches!(w.ledger.commit_evaluation(batch).await, Err(LedgerError::LeaseLost)));
}

async fn a_run_whose_source_was_removed_goes_on_with_the_others_and_ends(f: Fixture) {
    let w = world(f).await;
    let id = planned(&w).await;
    let run = leased(&w, id).await;
    w.ledger.commit_evaluation(w.decide(&run).await).await.unwrap();
    let other = "kind = \"ixc\"\nurl = \"https://ixc.example.com/webservice/v1\"\ntoken_env = \"IXC_TOKEN\"";
    let text = Setup::default().text().replace("name = \"ERP\"", "name = \"Novo\"").replace("kind = \"files\"", other);
    w.ledger.apply_configuration(crate::setup::parse(&text)).await.unwrap();
    assert!(w.ledger.sources().await.unwrap().iter().all(|source| source.id != w.source));
    w.f.advance(LEASE).await;
    let again = leased(&w, id).await;
    assert_eq!(again.cursor.map(|cursor| cursor.source_id), Some(w.source));
    w.ledger.finish_run(id, again.owner, None).await.unwrap();
}

/// A run that reads a slow source shows that it lives: nobody else takes the source meanwhile.
async fn a_heartbeat_keeps_the_source_that_the_run_syncs(f: Fixture) {
    let w = world(f).await;
    let run = leased(&w, planned(&w).await).await;
    let sync = w.ledger.begin_sync(w.source, run.owner).await.unwrap().unwrap();
    for _ in 0..3 {
        w.f.advance(TimeDelta::seconds(25)).await;
        w.ledger.heartbeat(run.run.id, run.owner).await.unwrap();
    }
    assert!(w.ledger.begin_sync(w.source, new_id()).await.unwrap().is_none());
    w.ledger.end_sync(sync, true).await.unwrap();
}

async fn f9_a_run_that_nobody_holds_gets_its_tick_again(f: Fixture) {
    let w = world(f).await;
    let mut ids = Vec::new();
    for ago in [30, 20, 10] {
        let at = w.now().await - TimeDelta::minutes(ago);
        ids.push(w.ledger.plan_run("A".into(), KIND, at, None).await.unwrap().0);
    }
    assert_eq!(w.ledger.runs_to_tick(10).await.unwrap(), ids, "oldest first");
    assert_eq!(w.ledger.runs_to_tick(2).await.unwrap(), ids[..2], "bounded");
    let run = leased(&w, ids[0]).await;
    assert_eq!(w.ledger.runs_to_tick(10).await.unwrap(), ids[1..], "somebody works on it");
    w.f.advance(LEASE).await;
    assert_eq!(w.ledger.runs_to_tick(10).await.unwrap(), ids, "its lease expired");
    w.ledger.heartbeat(run.run.id, run.owner).await.unwrap();
    assert_eq!(w.ledger.runs_to_tick(10).await.unwrap(), ids[1..]);
}

async fn a_heartbeat_keeps_a_lease_and_tells_who_lost_it(f: Fixture) {
    let w = world(f).await;
    let id = planned(&w).await;
    let first = leased(&w, id).await;
    w.f.advance(LEASE - TimeDelta::seconds(5)).await;
    w.ledger.heartbeat(id, first.owner).await.unwrap();
    w.f.advance(LEASE - TimeDelta::seconds(5)).await;
    assert!(matches!(lease(&w, id, new_id()).await, LeaseAnswer::Held));
    w.f.advance(TimeDelta::seconds(5)).await;
    let second = leased(&w, id).await;
    let lost = [
        w.ledger.heartbeat(id, first.owner).await,
        w.ledger.finish_run(id, first.owner, None).await,
        w.ledger.fail_run(id, first.owner, "tarde".into()).await,
        w.ledger.replan_run(id, first.owner, TimeDelta::zero(), true, "tarde".into()).await,
    ];
    assert!(lost.iter().all(|result| matches!(result, Err(LedgerError::LeaseLost))), "{lost:?}");
    w.ledger.finish_run(id, second.owner, None).await.unwrap();
}

async fn f9_the_date_is_pinned_at_the_first_start(f: Fixture) {
    let w = world(f).await;
    let id = planned(&w).await;
    assert_eq!(leased(&w, id).await.run.evaluates_on, Some(today()));
    w.f.advance(LEASE).await;
    let LeaseAnswer::Leased(second) = w.ledger.lease_run(id, new_id(), date("2026-03-10"), None).await.unwrap() else { panic!() };
    assert_eq!(second.run.evaluates_on, Some(today()), "after midnight too");

    let at = w.now().await;
    let asked = Some(date("2026-02-01"));
    let (id, _) = w.ledger.plan_run("by hand".into(), KIND, at, asked).await.unwrap();
    assert_eq!(leased(&w, id).await.run.evaluates_on, asked, "the date that a person asked for");
}

async fn a_try_goes_on_at_its_cursor_and_a_run_that_waited_begins_afresh(f: Fixture) {
    let w = world(f).await;
    w.customers(1, 3, due_for("overdue")).await;
    let id = planned(&w).await;
    let run = leased(&w, id).await;
    assert_eq!(run.cursor, None);
    let batch = w.decide(&run).await;
    let cursor = batch.cursor.clone();
    w.ledger.commit_evaluation(batch).await.unwrap();
    w.f.advance(LEASE).await;
    let again = leased(&w, id).await;
    assert_eq!(again.cursor, cursor, "after a crash");
    w.ledger.replan_run(id, again.owner, TimeDelta::zero(), true, "erro".into()).await.unwrap();
    let again = leased(&w, id).await;
    assert_eq!(again.cursor, cursor, "after a fault of ours");
    w.ledger.replan_run(id, again.owner, TimeDelta::zero(), false, "encerrando".into()).await.unwrap();
    assert_eq!(leased(&w, id).await.cursor, None);
}

async fn the_newest_runs_are_listed_first(f: Fixture) {
    let w = world(f).await;
    let mut ids = Vec::new();
    for ago in [30, 20, 10] {
        let at = w.now().await - TimeDelta::minutes(ago);
        ids.insert(0, w.ledger.plan_run("A".into(), KIND, at, None).await.unwrap().0);
    }
    let listed: Vec<_> = w.ledger.runs(2).await.unwrap().iter().map(|run| run.id).collect();
    assert_eq!(listed, ids[..2]);
}

conformance! {
    a_run_is_unique_by_task_and_instant
    f9_a_run_is_never_planned_in_the_ledgers_future
    one_at_a_time_holds_a_run
    a_run_that_nobody_planned_is_unknown
    an_ended_run_has_nothing_to_do
    f9_a_run_dropped_three_times_without_progress_fails
    progress_gives_a_run_its_tries_back
    a_source_that_is_down_or_a_shutdown_is_no_try
    a_fault_of_ours_is_a_try
    a_run_whose_time_is_long_past_is_not_begun
    a_run_that_nobody_holds_ends_when_its_time_is_over
    an_evaluator_whose_lease_expired_goes_on_while_nobody_took_its_run
    a_run_whose_source_was_removed_goes_on_with_the_others_and_ends
    a_heartbeat_keeps_the_source_that_the_run_syncs
    f9_a_run_that_nobody_holds_gets_its_tick_again
    a_heartbeat_keeps_a_lease_and_tells_who_lost_it
    f9_the_date_is_pinned_at_the_first_start
    a_try_goes_on_at_its_cursor_and_a_run_that_waited_begins_afresh
    the_newest_runs_are_listed_first
}
