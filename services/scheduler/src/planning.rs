//! Ticks: the next fire of each task becomes a run, missed ones are counted, and each run that nobody holds gets its tick.

use chrono::{DateTime, Utc};
use regua_broker::{Envelope, Tick};
use regua_domain::ids::RunId;
use regua_domain::schedule::{DueFires, WatchedTask, due_fires};
use regua_ledger::LedgerError;
use regua_ledger::tasks::Task;
use regua_pipeline::{Pipeline, story};
use regua_telemetry::spans;
use regua_telemetry::trace_context::TraceContext;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A run that nobody took gets its tick again after this.
const TICK_AGAIN: Duration = Duration::from_secs(5);
/// Ticks of one round.
const TICKS_MAX: u32 = 100;

/// Plans runs and publishes their ticks.
pub struct Ticker {
    pipeline: Pipeline,
    ticked: Mutex<Ticked>,
}

impl Ticker {
    pub fn new(pipeline: Pipeline) -> Self {
        Self { pipeline, ticked: Mutex::default() }
    }

    /// Plans the runs that are due and ticks those that nobody holds. The tick carries no facts: the ledger has them.
    pub async fn plan_and_tick(&self) -> Result<(), LedgerError> {
        let now = self.pipeline.ledger.now().await?;
        for task in self.pipeline.ledger.tasks().await? {
            if let Some(due) = due(&task, now) {
                self.settle(&task, due).await?;
            }
        }
        self.tick().await
    }

    async fn settle(&self, task: &Task, due: DueFires) -> Result<(), LedgerError> {
        let Some(settled) = self.pipeline.ledger.settle_fires(task, due).await? else { return Ok(()) };
        if due.dropped > 0 {
            tracing::warn!(task = %task.name, fires = due.dropped, through = %due.through, missed = task.missed.as_str(), "task.fires_dropped");
        }
        if let Some(run) = settled.run {
            tracing::info!(%run, trace_id = %run.0.simple(), task = %task.name, planned_at = %due.through, late = due.is_late, "run.planned");
        }
        Ok(())
    }

    async fn tick(&self) -> Result<(), LedgerError> {
        let due = self.pipeline.ledger.runs_to_tick(TICKS_MAX).await?;
        let due = not_ticked_lately(&mut self.ticked(), due, Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        let broker = &*self.pipeline.broker;
        let spans: Vec<_> = due.iter().map(|&run| story::tick(broker, run)).collect();
        let tick =
            |(&run, span)| Envelope { body: Tick { run }, trace: TraceContext::within(span).map(|trace| trace.to_string()) };
        let ticks: Vec<_> = due.iter().zip(&spans).map(tick).collect();
        if let Err(error) = broker.publish_ticks(&ticks).await {
            for span in &spans {
                spans::fail(span, "not_published");
            }
            tracing::warn!(%error, runs = due.len(), "run.tick_not_published");
            let mut ticked = self.ticked();
            for run in &due {
                ticked.remove(run);
            }
        }
        Ok(())
    }

    fn ticked(&self) -> MutexGuard<'_, Ticked> {
        self.ticked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When each run got its last tick.
type Ticked = HashMap<RunId, Instant>;

/// Those of the runs whose last tick is long enough ago, noted as ticked now. Asking for a run that was ticked lately puts nothing off.
fn not_ticked_lately(ticked: &mut Ticked, mut runs: Vec<RunId>, now: Instant) -> Vec<RunId> {
    ticked.retain(|_, at| now.saturating_duration_since(*at) < TICK_AGAIN);
    runs.retain(|run| !ticked.contains_key(run));
    ticked.extend(runs.iter().map(|run| (*run, now)));
    runs
}

/// What a task's fires since the last look ask for: fires before its last change are never caught up (F20).
fn due(task: &Task, now: DateTime<Utc>) -> Option<DueFires> {
    let schedule = task.schedule()?;
    let watched = WatchedTask {
        schedule: &schedule,
        zone: task.zone,
        missed: task.missed,
        catch_up: task.catch_up,
        settled_through: task.settled_through(),
        last_run_at: task.last_planned_at,
    };
    due_fires(&watched, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use regua_domain::ids::TaskId;
    use regua_domain::schedule::{CATCH_UP, Missed, TaskKind};

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn daily(hour: &str, effective_from: &str, last: Option<&str>) -> Task {
        Task {
            id: TaskId(regua_ledger::new_id()),
            name: "update-collections".into(),
            kind: TaskKind::UpdateCollections,
            fields: ["0".into(), hour.into(), "*".into(), "*".into(), "*".into()],
            zone: chrono_tz::America::Sao_Paulo,
            effective_from_at: instant(effective_from),
            last_planned_at: last.map(instant),
            missed: Missed::Latest,
            catch_up: CATCH_UP,
            settled_through_at: None,
            fires_caught_up: 0,
            fires_dropped: 0,
        }
    }

    #[track_caller]
    fn check(task: &Task, now: &str, expected: Option<(&str, u32)>) {
        let due = due(task, instant(now)).and_then(|due| Some((due.run_at?, due.dropped)));
        assert_eq!(due, expected.map(|(fire, dropped)| (instant(fire), dropped)));
    }

    #[test]
    fn a_run_that_nobody_takes_gets_its_tick_again_however_often_it_is_asked_for() {
        let (mut ticked, run, begin) = (Ticked::new(), RunId(regua_ledger::new_id()), Instant::now());
        let rounds = (0..=15).filter(|second| {
            let now = begin + Duration::from_secs(*second);
            !not_ticked_lately(&mut ticked, vec![run], now).is_empty()
        });
        assert_eq!(rounds.collect::<Vec<_>>(), [0, 5, 10, 15]);
    }

    #[test]
    fn a_task_fires_in_its_own_zone() {
        let task = daily("8", "2026-11-23T00:00:00Z", None);
        check(&task, "2026-11-23T10:59:59Z", None);
        check(&task, "2026-11-23T11:00:00Z", Some(("2026-11-23T11:00:00Z", 0)));
    }

    #[test]
    fn f20_a_task_that_was_changed_after_its_hour_waits_for_the_next_one() {
        let task = daily("8", "2026-11-23T18:00:00Z", None);
        check(&task, "2026-11-23T18:00:05Z", None);
        check(&task, "2026-11-24T11:00:01Z", Some(("2026-11-24T11:00:00Z", 0)));
    }

    #[test]
    fn a_planned_fire_is_not_planned_again() {
        let task = daily("8", "2026-11-01T00:00:00Z", Some("2026-11-23T11:00:00Z"));
        check(&task, "2026-11-23T12:00:00Z", None);
    }

    #[test]
    fn of_several_missed_fires_only_the_newest_is_caught_up_and_none_older_than_the_window() {
        let hourly = Task {
            fields: ["0".into(), "*".into(), "*".into(), "*".into(), "*".into()],
            ..daily("8", "2026-11-01T00:00:00Z", None)
        };
        let hourly = Task { settled_through_at: Some(instant("2026-11-22T12:00:00Z")), ..hourly };
        check(&hourly, "2026-11-23T12:30:00Z", Some(("2026-11-23T12:00:00Z", 23)));
        let daily = daily("8", "2026-11-01T00:00:00Z", Some("2026-11-20T11:00:00Z"));
        check(&daily, "2026-11-23T10:00:00Z", None);
    }

    #[test]
    fn what_was_settled_or_lies_before_the_last_change_is_not_looked_at_again() {
        let changed =
            Task { settled_through_at: Some(instant("2026-11-01T11:00:00Z")), ..daily("8", "2026-11-23T10:00:00Z", None) };
        check(&changed, "2026-11-23T11:30:00Z", Some(("2026-11-23T11:00:00Z", 0)));
        let settled = Task { settled_through_at: Some(instant("2026-11-23T11:00:00Z")), ..changed };
        check(&settled, "2026-11-23T20:00:00Z", None);
        let skips = Task { missed: Missed::Skip, ..daily("8", "2026-11-01T00:00:00Z", None) };
        check(&skips, "2026-11-23T11:00:59Z", Some(("2026-11-23T11:00:00Z", 22)));
        check(&skips, "2026-11-23T11:01:00Z", None);
        let hasty = Task { catch_up: TimeDelta::minutes(30), ..daily("8", "2026-11-23T00:00:00Z", None) };
        check(&hasty, "2026-11-23T11:30:00Z", Some(("2026-11-23T11:00:00Z", 0)));
        check(&hasty, "2026-11-23T11:30:01Z", None);
    }
}
