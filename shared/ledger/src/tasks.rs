//! Tasks: the schedules that are on, and the settling of their fires.

use crate::Ledger;
use crate::database::Tx;
use crate::error::LedgerError;
use crate::new_id;
use crate::runs::{NewRun, insert_run};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::ids::{RunId, TaskId};
use regua_domain::schedule::{DueFires, Missed, Schedule, TaskKind};
use uuid::Uuid;

/// A schedule, as the scheduler reads it.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its name: the key of its runs.
    pub name: String,
    /// What it does.
    pub kind: TaskKind,
    /// Minute, hour, day of month, month, day of week.
    pub fields: [String; 5],
    /// The zone of those fields.
    pub zone: chrono_tz::Tz,
    /// Fires before this instant are not caught up (F20).
    pub effective_from_at: DateTime<Utc>,
    /// The newest run, if there was one.
    pub last_planned_at: Option<DateTime<Utc>>,
    /// What becomes of missed fires.
    pub missed: Missed,
    /// How long after its fire a run may still be begun.
    pub catch_up: TimeDelta,
    /// Every fire up to here became a run or was counted; see [`Ledger::settle_fires`].
    pub settled_through_at: Option<DateTime<Utc>>,
    /// Missed fires that ran late, ever.
    pub fires_caught_up: u64,
    /// Missed fires that never ran, ever.
    pub fires_dropped: u64,
}

impl Task {
    /// Its five fields, read; `None` only for what no configuration can hold.
    pub fn schedule(&self) -> Option<Schedule> {
        let [minute, hour, day_of_month, month, day_of_week] = &self.fields;
        Schedule::parse(minute, hour, day_of_month, month, day_of_week).ok()
    }

    /// The instant up to which nothing is left to do about its fires: those before its last change are never caught up (F20).
    pub fn settled_through(&self) -> DateTime<Utc> {
        self.settled_through_at.or(self.last_planned_at).map_or(self.effective_from_at, |at| at.max(self.effective_from_at))
    }
}

/// Missed fires of all tasks of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissedFires {
    /// The kind.
    pub kind: TaskKind,
    /// Those that ran late.
    pub caught_up: u64,
    /// Those that never ran.
    pub dropped: u64,
}

/// What became of a task's fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The run that was planned; `None` if none was called for, or one stood for that fire already.
    pub run: Option<RunId>,
}

impl Ledger {
    /// The enabled tasks that Régua itself runs, with their newest run.
    pub async fn tasks(&self) -> Result<Vec<Task>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT tasks.*,
                            (SELECT MAX(planned_at) FROM runs WHERE task_name = tasks.name) AS last_planned_at
                     FROM tasks WHERE enabled AND kind <> 'reserved' ORDER BY name"
                ),
                vec![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Task {
                    id: TaskId(row.id("id")?),
                    name: row.text("name")?,
                    kind: row.named("kind", TaskKind::parse)?,
                    fields: [
                        row.text("minute")?,
                        row.text("hour")?,
                        row.text("day_of_month")?,
                        row.text("month")?,
                        row.text("day_of_week")?,
                    ],
                    zone: row.named("zone", |zone| zone.parse().ok())?,
                    effective_from_at: row.instant("effective_from_at")?,
                    last_planned_at: row.opt_instant("last_planned_at")?,
                    missed: row.named("missed", Missed::parse)?,
                    catch_up: TimeDelta::seconds(row.small("catch_up_s")?.into()),
                    settled_through_at: row.opt_instant("settled_through_at")?,
                    fires_caught_up: row.count("fires_caught_up")?,
                    fires_dropped: row.count("fires_dropped")?,
                })
            })
            .collect()
    }

    /// The missed fires of all tasks, enabled or not, by kind: they only grow.
    pub async fn missed_fires(&self) -> Result<Vec<MissedFires>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT kind, CAST(SUM(fires_caught_up) AS BIGINT) AS caught_up, CAST(SUM(fires_dropped) AS BIGINT) AS dropped
                     FROM tasks WHERE kind <> 'reserved' GROUP BY kind ORDER BY kind"
                ),
                vec![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let kind = row.named("kind", TaskKind::parse)?;
                Ok(MissedFires { kind, caught_up: row.count("caught_up")?, dropped: row.count("dropped")? })
            })
            .collect()
    }

    /// Settles a task's fires as [`regua_domain::schedule::due_fires`] decided from this very `task`: the run is planned and what was missed
    /// is counted, in one transaction. `None` when somebody else settled them, or the task was changed or switched off meanwhile: then
    /// nothing is written, and the next look decides from what there is now.
    pub async fn settle_fires(&self, task: &Task, due: DueFires) -> Result<Option<Settled>, LedgerError> {
        let (id, task) = (new_id(), task.clone());
        self.db
            .write(move |tx| {
                let task = task.clone();
                Box::pin(async move { settle_fires(tx, id, &task, due).await })
            })
            .await
    }
}

/// Settles fires under the task's row lock, which keeps two schedulers apart: the second one finds that `settled_through_at` moved.
async fn settle_fires(tx: &mut Tx, id: Uuid, task: &Task, due: DueFires) -> Result<Option<Settled>, LedgerError> {
    let Some(row) = tx
        .fetch_optional(
            sql!("SELECT enabled, effective_from_at, settled_through_at FROM tasks WHERE id = $1", for_update),
            values![task.id],
        )
        .await?
    else {
        return Ok(None);
    };
    let as_it_was = row.flag("enabled")?
        && row.instant("effective_from_at")? == task.effective_from_at
        && row.opt_instant("settled_through_at")? == task.settled_through_at;
    if !as_it_was {
        return Ok(None);
    }
    let run = match due.run_at {
        None => None,
        Some(planned_at) => {
            let new = NewRun {
                id,
                task_name: task.name.clone(),
                kind: task.kind,
                planned_at,
                evaluates_on: None,
                catch_up: task.catch_up,
            };
            let (run, is_new) = insert_run(tx, &new).await?;
            is_new.then_some(run)
        }
    };
    tx.execute(
        sql!(
            "UPDATE tasks SET settled_through_at = $2, fires_caught_up = fires_caught_up + $3, fires_dropped = fires_dropped + $4
             WHERE id = $1"
        ),
        values![task.id, due.through, i64::from(due.is_late && run.is_some()), due.dropped],
    )
    .await?;
    Ok(Some(Settled { run }))
}
