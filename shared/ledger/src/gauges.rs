//! What metrics show of the ledger beside its counts: what waits, gates, budgets, runs. Each is one bounded question, along an index of what is
//! on its way.

use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::stops::Stops;
use crate::{Ledger, SKEW_MAX, first_id_of, looks, settings};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::admission::BUDGET_PERIOD;
use regua_domain::gate::Closing;
use regua_domain::ids::{BusinessId, ChannelId, IntegrationId};
use regua_domain::schedule::TaskKind;

/// Doubtful messages among which the oldest is looked for.
const DOUBTS_MAX: u32 = 10_000;

/// What waits in a channel, and how its gate is.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelGauges {
    /// Its name.
    pub channel: String,
    /// Messages per second; `None` is unlimited.
    pub per_second: Option<u32>,
    /// Its gate.
    pub gate: GateState,
    /// Messages that aren't released.
    pub held: u64,
    /// Released messages whose time hasn't come.
    pub scheduled: u64,
    /// Released messages whose time has come: only a slot, or an open gate, is missing.
    pub due: u64,
    /// Those that can't start for another reason: a stop of their stage, policy or template; a source that is stale, switched off or doesn't
    /// answer the last look; or nobody's window is open.
    pub withheld: u64,
    /// Messages with a published hint.
    pub queued: u64,
    /// Messages with an open attempt.
    pub sending: u64,
    /// Since when the oldest of those that are due has been due. What was held counts from its last release.
    pub due_since: Option<DateTime<Utc>>,
}

/// How a gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    /// It gives starts.
    Open,
    /// It is closed until an instant.
    Paused,
    /// Its breaker is open: it gives one probe at a time.
    Probing,
    /// The business's recipients, or the provider's allowance, are used up.
    BudgetSpent,
    /// A stop holds all its messages, or its integration is switched off.
    Stopped,
}

impl GateState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Open, Self::Paused, Self::Probing, Self::BudgetSpent, Self::Stopped];

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Probing => "probing",
            Self::BudgetSpent => "budget_spent",
            Self::Stopped => "stopped",
        }
    }
}

/// The budget of a business that has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessGauges {
    /// Its name.
    pub business: String,
    /// Different people that it wrote to first within the moving 24 hours.
    pub used: u64,
    /// How many it may.
    pub limit: u32,
}

/// The runs of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunGauges {
    /// The kind.
    pub kind: TaskKind,
    /// Those that are planned or worked on.
    pub waiting: u64,
    /// The planned instant of the oldest of them.
    pub oldest_planned_at: Option<DateTime<Utc>>,
    /// The planned instant of the newest one that ended done.
    pub done_planned_at: Option<DateTime<Utc>>,
}

/// All of it, as of about one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauges {
    /// The ledger's clock.
    pub now: DateTime<Utc>,
    /// Every channel.
    pub channels: Vec<ChannelGauges>,
    /// Every business with a limit.
    pub businesses: Vec<BusinessGauges>,
    /// Both kinds of runs.
    pub runs: Vec<RunGauges>,
    /// Runs that wait for a person's consent.
    pub runs_waiting_for_approval: u64,
    /// Since when the oldest doubtful message has been so.
    pub doubt_since: Option<DateTime<Utc>>,
}

impl Ledger {
    /// Reads all gauges.
    pub async fn gauges(&self) -> Result<Gauges, LedgerError> {
        let mut tx = self.db.read().await?;
        let (now, settings, stops) = settings::now_in_force(&mut tx).await?;
        let is_open = settings.times().any_open(&settings.own_hours, now);
        let withheld = if is_open { withheld(&mut tx, now).await? } else { Withheld::Everything };
        let channels = channels(&mut tx, now, &stops, withheld).await?;
        let businesses = businesses(&mut tx, now).await?;
        let runs = runs(&mut tx).await?;
        let row = tx
            .fetch_one(
                sql!(
                    "SELECT (SELECT count(*) FROM runs WHERE approval = 'waiting') AS unapproved,
                            (SELECT MIN(d.updated_at) FROM (SELECT updated_at FROM messages WHERE ",
                    unsettled,
                    " AND state = 'in_doubt' ORDER BY expires_at, id LIMIT $1) AS d) AS doubt_since"
                ),
                values![DOUBTS_MAX],
            )
            .await?;
        Ok(Gauges {
            now,
            channels,
            businesses,
            runs,
            runs_waiting_for_approval: row.count("unapproved")?,
            doubt_since: row.opt_instant("doubt_since")?,
        })
    }
}

/// A release, and the first attempt after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSend {
    /// The planned instant of the run of send-queued-messages.
    pub planned_at: DateTime<Utc>,
    /// The slot of the first attempt that was begun since.
    pub slot_at: DateTime<Utc>,
}

impl Ledger {
    /// The newest release, if it was planned later than `after` and something was sent since.
    pub async fn first_send(&self, after: DateTime<Utc>) -> Result<Option<FirstSend>, LedgerError> {
        let mut tx = self.db.read().await?;
        let done = newest_done(&mut tx).await?;
        let newest = row_of(&done, TaskKind::SendQueuedMessages).map(|row| row.instant("newest")).transpose()?;
        let Some(planned_at) = newest.filter(|planned_at| *planned_at > after) else { return Ok(None) };
        let offset = tx.fetch_one(sql!("SELECT clock_offset_us FROM ledger"), vec![]).await?.int("clock_offset_us")?;
        // The ids of attempts sort by the clocks of the hosts that made them, and so lead to the first ones without an index of their own.
        let made_from = planned_at - TimeDelta::microseconds(offset) - SKEW_MAX;
        let floor = first_id_of(made_from);
        let first = tx
            .fetch_optional(
                sql!(
                    "SELECT slot_at FROM attempts WHERE id >= $1 AND slot_at >= $2 AND COALESCE(outcome, '') <> 'given_back' ORDER BY id LIMIT 1"
                ),
                values![floor, planned_at],
            )
            .await?;
        first.map(|row| Ok(FirstSend { planned_at, slot_at: row.instant("slot_at")? })).transpose()
    }
}

/// Which of the messages that are due can't start, whatever their gate says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Withheld {
    Nothing,
    /// Those that `startable` names: this costs a look at each message that waits, and not only at the index of turns.
    Some,
    Everything,
}

/// What a top-up would leave out while windows are open.
async fn withheld(tx: &mut Tx, now: DateTime<Utc>) -> Result<Withheld, LedgerError> {
    let row = tx
        .fetch_one(
            sql!(
                "WITH ",
                (withholding 1 2),
                " SELECT (SELECT count(*) FROM fresh) AS fresh, (SELECT count(*) FROM sources) AS sources,
                         (SELECT count(*) FROM open_stops WHERE scope IN ('stage', 'policy', 'template')) AS stops"
            ),
            values![now, looks::WANTED_MAX],
        )
        .await?;
    Ok(match (row.count("fresh")?, row.count("stops")?) {
        (0, _) => Withheld::Everything,
        (fresh, 0) if fresh == row.count("sources")? => Withheld::Nothing,
        _ => Withheld::Some,
    })
}

/// What waits, counted by turns first (see [`crate::release`]): few, whatever waits in them. `by` is what a turn is told apart by beside that.
macro_rules! by_channel {
    (with: [$($with:tt),*], by: $by:literal, startable: $startable:tt) => {
        sql!(
            "WITH ", $($with, ", ",)*
            "turns AS (SELECT state, channel_id, run_id, COALESCE(next_attempt_at, 0) AS comes_at, ", $by, " count(*) AS n FROM messages WHERE ",
            live,
            " GROUP BY ", $by, " state, channel_id, run_id, COALESCE(next_attempt_at, 0)),
             placed AS (SELECT b.channel_id, b.n,
                    CASE WHEN b.state IN ('queued', 'sending') THEN b.state
                         WHEN COALESCE(r.approval, '') = 'waiting' OR NOT (b.state = 'scheduled' OR i.release = 'immediate'
                                OR COALESCE(r.planned_at <= i.released_through_at, false)) THEN 'held'
                         WHEN b.comes_at > $1 THEN 'scheduled' WHEN ", $startable, " THEN 'due' ELSE 'withheld' END AS place,
                    CASE WHEN b.comes_at > 0 AND (b.state = 'scheduled' OR b.comes_at > COALESCE(i.released_through_at, r.planned_at)) THEN b.comes_at
                         WHEN i.release = 'immediate' THEN r.planned_at ELSE i.released_through_at END AS since_at
                FROM turns b JOIN runs r ON r.id = b.run_id JOIN channels c ON c.id = b.channel_id
                JOIN integrations i ON i.id = c.integration_id),
             waiting AS (SELECT channel_id,
                    CAST(SUM(CASE WHEN place = 'held' THEN n ELSE 0 END) AS BIGINT) AS held,
                    CAST(SUM(CASE WHEN place = 'scheduled' THEN n ELSE 0 END) AS BIGINT) AS scheduled,
                    CAST(SUM(CASE WHEN place = 'due' THEN n ELSE 0 END) AS BIGINT) AS due,
                    CAST(SUM(CASE WHEN place = 'withheld' THEN n ELSE 0 END) AS BIGINT) AS withheld,
                    CAST(SUM(CASE WHEN place = 'queued' THEN n ELSE 0 END) AS BIGINT) AS queued,
                    CAST(SUM(CASE WHEN place = 'sending' THEN n ELSE 0 END) AS BIGINT) AS sending,
                    MIN(CASE WHEN place = 'due' THEN since_at END) AS due_since
                FROM placed GROUP BY channel_id)
             SELECT c.id, c.name, c.per_second, c.business_id, c.integration_id, i.enabled, g.paused_until, g.pause_reason, g.trips,
                    COALESCE(w.held, 0) AS held, COALESCE(w.scheduled, 0) AS scheduled, COALESCE(w.due, 0) AS due,
                    COALESCE(w.withheld, 0) AS withheld, COALESCE(w.queued, 0) AS queued, COALESCE(w.sending, 0) AS sending, w.due_since
             FROM channels c JOIN integrations i ON i.id = c.integration_id JOIN gates g ON g.channel_id = c.id
             LEFT JOIN waiting w ON w.channel_id = c.id ORDER BY c.name"
        )
    };
}

async fn channels(tx: &mut Tx, now: DateTime<Utc>, stops: &Stops, withheld: Withheld) -> Result<Vec<ChannelGauges>, LedgerError> {
    let rows = match withheld {
        Withheld::Nothing => tx.fetch(by_channel!(with: [], by: "", startable: "true"), values![now]).await?,
        Withheld::Everything => tx.fetch(by_channel!(with: [], by: "", startable: "false"), values![now]).await?,
        Withheld::Some => {
            let sql = by_channel!(with: [(withholding 1 2)], by: "source_id, stage, policy_id,", startable: startable);
            tx.fetch(sql, values![now, looks::WANTED_MAX]).await?
        }
    };
    rows.iter()
        .map(|row| {
            let of = (BusinessId(row.id("business_id")?), IntegrationId(row.id("integration_id")?), ChannelId(row.id("id")?));
            let is_stopped = !row.flag("enabled")? || stops.hold_channel(of.0, of.1, of.2);
            Ok(ChannelGauges {
                channel: row.text("name")?,
                per_second: row.opt_int("per_second")?.and_then(|limit| u32::try_from(limit).ok()),
                gate: if is_stopped { GateState::Stopped } else { gate(row, now)? },
                held: row.count("held")?,
                scheduled: row.count("scheduled")?,
                due: row.count("due")?,
                withheld: row.count("withheld")?,
                queued: row.count("queued")?,
                sending: row.count("sending")?,
                due_since: row.opt_instant("due_since")?,
            })
        })
        .collect()
}

/// How a gate is that no stop holds.
fn gate(row: &Row, now: DateTime<Utc>) -> Result<GateState, LedgerError> {
    if row.int("trips")? > 0 {
        return Ok(GateState::Probing);
    }
    if row.opt_instant("paused_until")?.is_none_or(|until| until <= now) {
        return Ok(GateState::Open);
    }
    Ok(match row.opt_text("pause_reason")?.as_deref().and_then(Closing::parse) {
        Some(Closing::Budget | Closing::Allowance) => GateState::BudgetSpent,
        Some(Closing::Probe) | None => GateState::Paused,
    })
}

async fn businesses(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<BusinessGauges>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT b.name, b.recipients_per_24h, CAST(COALESCE(
                    (SELECT SUM(k.recipients) FROM budget_buckets k WHERE k.business_id = b.id AND k.bucket_at > $1 AND k.recipients > 0), 0) AS BIGINT) AS used
                 FROM businesses b WHERE b.recipients_per_24h IS NOT NULL ORDER BY b.name"
            ),
            values![now - BUDGET_PERIOD - crate::budgets::BUCKET],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(BusinessGauges { business: row.text("name")?, used: row.count("used")?, limit: row.small("recipients_per_24h")? })
        })
        .collect()
}

async fn runs(tx: &mut Tx) -> Result<Vec<RunGauges>, LedgerError> {
    let open = tx
        .fetch(
            sql!(
                "SELECT kind, count(*) AS waiting, MIN(planned_at) AS oldest FROM runs WHERE state IN ('planned', 'running') GROUP BY kind"
            ),
            vec![],
        )
        .await?;
    let done = newest_done(tx).await?;
    [TaskKind::UpdateCollections, TaskKind::SendQueuedMessages]
        .into_iter()
        .map(|kind| {
            let (waiting, newest) = (row_of(&open, kind), row_of(&done, kind));
            Ok(RunGauges {
                kind,
                waiting: waiting.map_or(Ok(0), |row| row.count("waiting"))?,
                oldest_planned_at: waiting.map(|row| row.instant("oldest")).transpose()?,
                done_planned_at: newest.map(|row| row.instant("newest")).transpose()?,
            })
        })
        .collect()
}

/// The newest run of each kind that ended done: looked for in each task by one step along the index of its runs, however many there are.
async fn newest_done(tx: &mut Tx) -> Result<Vec<Row>, LedgerError> {
    tx
        .fetch(
            sql!(
                "WITH RECURSIVE named (task_name) AS (SELECT MIN(task_name) FROM runs
                    UNION ALL SELECT (SELECT MIN(r.task_name) FROM runs r WHERE r.task_name > n.task_name) FROM named n WHERE n.task_name IS NOT NULL),
                 newest AS (SELECT (SELECT r.id FROM runs r WHERE r.task_name = n.task_name AND r.state = 'done' ORDER BY r.planned_at DESC LIMIT 1) AS id
                    FROM named n WHERE n.task_name IS NOT NULL)
                 SELECT r.kind, MAX(r.planned_at) AS newest FROM newest n JOIN runs r ON r.id = n.id GROUP BY r.kind"
            ),
            vec![],
        )
        .await
}

fn row_of(rows: &[Row], kind: TaskKind) -> Option<&Row> {
    rows.iter().find(|row| row.text("kind").is_ok_and(|name| name == kind.as_str()))
}
