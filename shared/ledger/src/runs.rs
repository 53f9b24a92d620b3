//! Runs: planned by the scheduler, leased by one evaluator at a time, ended once.

use crate::Ledger;
use crate::audit::{self, By, Entry};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::new_id;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::audit::Action;
use regua_domain::ids::{RunId, SourceId};
use regua_domain::schedule::{CATCH_UP, TaskKind};
use serde_json::json;
use uuid::Uuid;

/// Tries of a run without progress before it fails.
pub const TRIES_MAX: u32 = 3;
/// How long a lease holds without a heartbeat.
pub const LEASE: TimeDelta = TimeDelta::seconds(30);
/// How long after its instant a run may still be begun, unless its task says otherwise: what it would decide then belongs to a newer one.
pub const AGE_MAX: TimeDelta = CATCH_UP;
/// How far in the ledger's future a run may be planned: the distance of two clocks, not more (F9).
pub const PLANNED_AHEAD_MAX: TimeDelta = TimeDelta::seconds(1);
/// What is said of a run that ends because its time is over.
const TOO_LATE: &str = "nobody could do it within the catch-up time after its instant";

/// One execution of a task.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The task's name.
    pub task_name: String,
    /// What it does.
    pub kind: TaskKind,
    /// The instant that it stands for.
    pub planned_at: DateTime<Utc>,
    /// `planned`, `running`, `done`, `failed`.
    pub state: String,
    /// Tries so far.
    pub tries: u32,
    /// The date that it evaluates, pinned at its first start.
    pub evaluates_on: Option<NaiveDate>,
    /// Messages that it wrote: held + skipped.
    pub evaluated: u64,
    /// Messages that it wrote to be sent.
    pub held: u64,
    /// Messages that it wrote as skipped.
    pub skipped: u64,
    /// Skipped messages that it brought back.
    pub revived: u64,
    /// Earlier stages that its messages took the place of.
    pub superseded: u64,
    /// Invoices that it left for the next run because a message was being sent.
    pub blocked: u64,
    /// Open invoices that no policy speaks for.
    pub no_policy: u64,
    /// `waiting` or `approved`, for a run that holds more than may go without a person's consent.
    pub approval: Option<String>,
    /// What went wrong, or what is worth knowing.
    pub note: Option<String>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How long after its instant it may still be begun, or tried again because of others' faults.
    pub catch_up: TimeDelta,
}

/// Where an evaluation stands in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The source being paged through.
    pub source_id: SourceId,
    /// The last invoice's due date.
    pub due_on: NaiveDate,
    /// The last invoice.
    pub invoice_id: String,
}

/// A run in this process's hands.
#[derive(Clone, Debug)]
pub struct LeasedRun {
    /// The run.
    pub run: Run,
    /// The lease's owner: every write of the run names it.
    pub owner: Uuid,
    /// Where an earlier try stopped.
    pub cursor: Option<Cursor>,
}

/// What a run's lease said.
#[derive(Clone, Debug)]
pub enum LeaseAnswer {
    /// It is ours.
    Leased(Box<LeasedRun>),
    /// Somebody else works on it.
    Held,
    /// It has ended, or isn't to be tried yet.
    NothingToDo,
    /// It failed just now: it was dropped too often, or its time is long past.
    Over {
        /// Of which task it is.
        kind: TaskKind,
        /// Which.
        why: &'static str,
    },
    /// The ledger has no such run.
    Unknown,
}

fn read_run(row: &Row) -> Result<Run, LedgerError> {
    Ok(Run {
        id: RunId(row.id("id")?),
        task_name: row.text("task_name")?,
        kind: row.named("kind", TaskKind::parse)?,
        planned_at: row.instant("planned_at")?,
        state: row.text("state")?,
        tries: row.small("tries")?,
        evaluates_on: row.opt_date("evaluates_on")?,
        evaluated: row.count("evaluated")?,
        held: row.count("held")?,
        skipped: row.count("skipped")?,
        revived: row.count("revived")?,
        superseded: row.count("superseded")?,
        blocked: row.count("blocked")?,
        no_policy: row.count("no_policy")?,
        approval: row.opt_text("approval")?,
        note: row.opt_text("note")?,
        finished_at: row.opt_instant("finished_at")?,
        catch_up: TimeDelta::seconds(row.small("catch_up_s")?.into()),
    })
}

impl Ledger {
    /// Plans a run; the one that exists for this task and instant, if somebody was faster.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] for an instant in the ledger's future: a host with a wrong clock must not take tomorrow's run (F9).
    pub async fn plan_run(
        &self,
        task_name: String,
        kind: TaskKind,
        planned_at: DateTime<Utc>,
        evaluates_on: Option<NaiveDate>,
    ) -> Result<(RunId, bool), LedgerError> {
        let id = new_id();
        self.db
            .write(move |tx| {
                let run = NewRun { id, task_name: task_name.clone(), kind, planned_at, evaluates_on, catch_up: AGE_MAX };
                Box::pin(async move { insert_run(tx, &run).await })
            })
            .await
    }

    /// Plans a run by hand, for `planned_at` under its task's name, and writes down who did. The one that exists, if somebody was faster.
    ///
    /// # Errors
    /// As [`Ledger::plan_run`].
    pub async fn plan_run_by(
        &self,
        task_name: String,
        kind: TaskKind,
        planned_at: DateTime<Utc>,
        evaluates_on: Option<NaiveDate>,
        by: By,
    ) -> Result<RunId, LedgerError> {
        let id = new_id();
        self.db
            .write(move |tx| {
                let run = NewRun { id, task_name: task_name.clone(), kind, planned_at, evaluates_on, catch_up: AGE_MAX };
                let by = by.clone();
                Box::pin(async move {
                    let (planned, _) = insert_run(tx, &run).await?;
                    let became = Some(json!({ "run": planned, "evaluates_on": run.evaluates_on }));
                    let (target, why, now) = (run.task_name.as_str(), by.why.as_deref(), tx.now().await?);
                    let entry = Entry { by: &by.who, action: Action::RunPlanned, target, why, was: None, became };
                    audit::note(tx, entry, now).await?;
                    Ok(planned)
                })
            })
            .await
    }

    /// The runs that nobody holds and whose time has come: each gets its tick again.
    pub async fn runs_to_tick(&self, limit: u32) -> Result<Vec<RunId>, LedgerError> {
        let mut tx = self.db.read().await?;
        let now = tx.now().await?;
        let rows = tx
            .fetch(
                sql!(
                    "SELECT id FROM runs WHERE state IN ('planned', 'running')
                        AND ((state = 'planned' AND next_try_at <= $1) OR (state = 'running' AND lease_expires_at <= $1))
                     ORDER BY planned_at LIMIT $2"
                ),
                values![now, limit],
            )
            .await?;
        rows.iter().map(|row| row.id("id").map(RunId)).collect()
    }

    /// Ends runs that nobody holds and whose time is over, whether or not an evaluator lives that could: of a task, a kind or a source
    /// that is no more as well; how many.
    pub async fn end_overdue_runs(&self) -> Result<u64, LedgerError> {
        self.db
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    tx.execute(
                        sql!(
                            "UPDATE runs SET state = 'failed', lease_owner = NULL, lease_expires_at = NULL, finished_at = $1, note = COALESCE(note, $2)
                             WHERE id IN (SELECT id FROM runs WHERE state IN ('planned', 'running') AND planned_at + catch_up_s * 1000000 < $1
                                          AND (state = 'planned' OR lease_expires_at <= $1) ORDER BY planned_at LIMIT $3",
                            { postgres: " FOR UPDATE SKIP LOCKED", sqlite: "" },
                            ") AND state IN ('planned', 'running')"
                        ),
                        values![now, TOO_LATE, crate::sweeps::SWEEP_MAX],
                    )
                    .await
                })
            })
            .await
    }

    /// Takes a run's lease. A run whose lease expired was dropped by a crash: that was a try; after the third it fails.
    ///
    /// `evaluates_on` pins the date at the first start; a later one keeps it. So does `trace`, the `traceparent` of the tick: what the run decides is
    /// linked to it.
    pub async fn lease_run(
        &self,
        id: RunId,
        owner: Uuid,
        evaluates_on: NaiveDate,
        trace: Option<String>,
    ) -> Result<LeaseAnswer, LedgerError> {
        self.db
            .write(move |tx| {
                let trace = trace.clone();
                Box::pin(async move { lease_run(tx, id, owner, evaluates_on, trace).await })
            })
            .await
    }

    /// Prolongs a run's lease, and that of the source which it syncs.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] when somebody else has the run: stop working on it.
    pub async fn heartbeat(&self, id: RunId, owner: Uuid) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    guarded(
                        tx.execute(
                            sql!(
                                "UPDATE runs SET lease_expires_at = $3 WHERE id = $1 AND lease_owner = $2 AND state = 'running'"
                            ),
                            values![id, owner, now + LEASE],
                        )
                        .await?,
                    )?;
                    tx.execute(
                        sql!("UPDATE sources SET lease_expires_at = $2 WHERE lease_owner = $1"),
                        values![owner, now + crate::mirror::SYNC_LEASE],
                    )
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Ends a run.
    pub async fn finish_run(&self, id: RunId, owner: Uuid, note: Option<String>) -> Result<(), LedgerError> {
        self.end_run(id, owner, "done", note).await
    }

    /// Ends a run that can't be done: a fault of ours, three times.
    pub async fn fail_run(&self, id: RunId, owner: Uuid, why: String) -> Result<(), LedgerError> {
        self.end_run(id, owner, "failed", Some(why)).await
    }

    async fn end_run(&self, id: RunId, owner: Uuid, state: &'static str, note: Option<String>) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let note = note.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    guarded(
                        tx.execute(
                            sql!(
                                "UPDATE runs SET state = $3, lease_owner = NULL, lease_expires_at = NULL, finished_at = $4,
                                        note = COALESCE(CAST($5 AS TEXT), note)
                                 WHERE id = $1 AND lease_owner = $2 AND state = 'running'"
                            ),
                            values![id, owner, state, now, note],
                        )
                        .await?,
                    )
                })
            })
            .await
    }

    /// Gives a run back, to be tried again after `wait`. `counts` says whether this was a try: a source that is down, or a
    /// shutdown, is none, and then it begins afresh: what was decided already is found and left as it is. A try goes on where it stopped.
    pub async fn replan_run(
        &self,
        id: RunId,
        owner: Uuid,
        wait: TimeDelta,
        counts: bool,
        why: String,
    ) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let why = why.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    guarded(
                        tx.execute(
                            sql!(
                                "UPDATE runs SET state = 'planned', lease_owner = NULL, lease_expires_at = NULL, next_try_at = $3, note = $4,
                                        tries = tries - $5,
                                        cursor_source = CASE WHEN $5 = 1 THEN NULL ELSE cursor_source END,
                                        cursor_due_on = CASE WHEN $5 = 1 THEN NULL ELSE cursor_due_on END,
                                        cursor_invoice = CASE WHEN $5 = 1 THEN NULL ELSE cursor_invoice END
                                 WHERE id = $1 AND lease_owner = $2 AND state = 'running'"
                            ),
                            values![id, owner, now + wait, why, i64::from(!counts)],
                        )
                        .await?,
                    )
                })
            })
            .await
    }

    /// One run.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, LedgerError> {
        let row = self.db.read().await?.fetch_optional(sql!("SELECT * FROM runs WHERE id = $1"), values![id]).await?;
        row.as_ref().map(read_run).transpose()
    }

    /// The runs whose messages wait for a person's consent, newest first.
    pub async fn runs_waiting_for_approval(&self) -> Result<Vec<Run>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(sql!("SELECT * FROM runs WHERE approval = 'waiting' ORDER BY planned_at DESC, id DESC"), vec![])
            .await?;
        rows.iter().map(read_run).collect()
    }

    /// The newest runs, newest first.
    pub async fn runs(&self, limit: u32) -> Result<Vec<Run>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(sql!("SELECT * FROM runs ORDER BY planned_at DESC, id DESC LIMIT $1"), values![limit])
            .await?;
        rows.iter().map(read_run).collect()
    }
}

async fn lease_run(
    tx: &mut Tx,
    id: RunId,
    owner: Uuid,
    evaluates_on: NaiveDate,
    trace: Option<String>,
) -> Result<LeaseAnswer, LedgerError> {
    let Some(row) = tx.fetch_optional(sql!("SELECT * FROM runs WHERE id = $1", for_update), values![id]).await? else {
        return Ok(LeaseAnswer::Unknown);
    };
    let now = tx.now().await?;
    let mut run = read_run(&row)?;
    let ours = match run.state.as_str() {
        "planned" => row.instant("next_try_at")? <= now,
        "running" if row.instant("lease_expires_at")? > now => return Ok(LeaseAnswer::Held),
        "running" => true,
        _ => false,
    };
    if !ours {
        return Ok(LeaseAnswer::NothingToDo);
    }
    let over = if run.tries >= TRIES_MAX {
        Some("dropped three times without progress")
    } else if run.planned_at + run.catch_up < now {
        Some(TOO_LATE)
    } else {
        None
    };
    if let Some(why) = over {
        tx.execute(
            sql!(
                "UPDATE runs SET state = 'failed', lease_owner = NULL, lease_expires_at = NULL, finished_at = $2,
                        note = COALESCE(note, $3) WHERE id = $1"
            ),
            values![id, now, why],
        )
        .await?;
        return Ok(LeaseAnswer::Over { kind: run.kind, why });
    }
    let evaluates_on = run.evaluates_on.unwrap_or(evaluates_on);
    run.evaluates_on = Some(evaluates_on);
    run.tries += 1;
    tx.execute(
        sql!(
            "UPDATE runs SET state = 'running', tries = $2, lease_owner = $3, lease_expires_at = $4, evaluates_on = $5,
                    trace = COALESCE(trace, $6) WHERE id = $1"
        ),
        values![id, run.tries, owner, now + LEASE, evaluates_on, trace],
    )
    .await?;
    let cursor = match row.opt_id("cursor_source")? {
        Some(source) => Some(Cursor {
            source_id: SourceId(source),
            due_on: row.date("cursor_due_on")?,
            invoice_id: row.text("cursor_invoice")?,
        }),
        None => None,
    };
    Ok(LeaseAnswer::Leased(Box::new(LeasedRun { run, owner, cursor })))
}

/// A run that doesn't exist yet.
pub(crate) struct NewRun {
    pub id: Uuid,
    pub task_name: String,
    pub kind: TaskKind,
    pub planned_at: DateTime<Utc>,
    pub evaluates_on: Option<NaiveDate>,
    pub catch_up: TimeDelta,
}

/// Inserts a run, unless one exists for its task and instant; that one's id, and whether it is new.
pub(crate) async fn insert_run(tx: &mut Tx, run: &NewRun) -> Result<(RunId, bool), LedgerError> {
    let (now, planned_at) = (tx.now().await?, run.planned_at);
    if planned_at > now + PLANNED_AHEAD_MAX {
        return Err(LedgerError::Refused(format!("a run can't be planned for {planned_at}: the ledger's clock says {now}")));
    }
    let planned = tx
        .execute(
            sql!(
                "INSERT INTO runs (id, task_name, kind, planned_at, state, next_try_at, evaluates_on, created_at, catch_up_s)
                 VALUES ($1, $2, $3, $4, 'planned', $5, CAST($6 AS TEXT), $5, $7) ON CONFLICT (task_name, planned_at) DO NOTHING"
            ),
            values![run.id, &run.task_name, run.kind.as_str(), planned_at, now, run.evaluates_on, run.catch_up.num_seconds()],
        )
        .await?;
    let row = tx
        .fetch_one(sql!("SELECT id FROM runs WHERE task_name = $1 AND planned_at = $2"), values![&run.task_name, planned_at])
        .await?;
    Ok((RunId(row.id("id")?), planned == 1))
}

/// Exactly one row was ours.
pub(crate) fn guarded(rows: u64) -> Result<(), LedgerError> {
    if rows == 1 { Ok(()) } else { Err(LedgerError::LeaseLost) }
}
