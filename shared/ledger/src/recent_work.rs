//! Who has worked lately and how far the day's runs are, for whoever looks at the ledger at any hour.

use crate::error::LedgerError;
use crate::{Ledger, SKEW_MAX, first_id_of};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::ids::{ChannelId, RunId};
use regua_domain::message::State;
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A dispatcher that has started nothing for so long isn't told of any more.
pub const SEEN_WITHIN: TimeDelta = TimeDelta::minutes(10);
/// Over how long a rate is measured.
pub const RATE_OVER: TimeDelta = TimeDelta::minutes(1);
/// Attempts that one look reads: ten minutes at 200 a second.
const ATTEMPTS_MAX: u32 = 120_000;

/// What was done lately, as attempts tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentWork {
    /// Dispatchers that started something within [`SEEN_WITHIN`], by name.
    pub dispatchers: Vec<DispatcherSeen>,
    /// Attempts made within [`RATE_OVER`], by channel; those that were given back are none.
    pub made: BTreeMap<ChannelId, u64>,
}

/// A dispatcher that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispatcherSeen {
    /// What it calls itself.
    pub name: String,
    /// The slot of its last attempt.
    pub last_at: DateTime<Utc>,
    /// Its attempts within [`SEEN_WITHIN`].
    pub attempts: u64,
}

/// A gate that is closed for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedGate {
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why, as a closed name.
    pub why: String,
}

/// A run that an evaluator holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRun {
    /// The run.
    pub run: RunId,
    /// Which process of an evaluator's.
    pub owner: Uuid,
    /// Until when, if it gives no sign of life.
    pub lease_expires_at: DateTime<Utc>,
}

impl Ledger {
    /// Who made attempts lately, and how many. It goes along the attempts' ids, which sort by the instant of their making, so that the
    /// millions of earlier ones cost nothing.
    pub async fn recent_work(&self) -> Result<RecentWork, LedgerError> {
        let mut tx = self.db.read().await?;
        let now = tx.now().await?;
        // Attempts' ids are made by the dispatchers' clocks: two hosts may be off the ledger's in two directions.
        let first = first_id_of(Utc::now() - SEEN_WITHIN - 2 * SKEW_MAX);
        let rows = tx
            .fetch(
                sql!(
                    "SELECT dispatcher, channel_id, MAX(slot_at) AS last_at, count(*) AS attempts,
                            CAST(SUM(CASE WHEN slot_at > $2 AND COALESCE(outcome, 'open') <> 'given_back' THEN 1 ELSE 0 END) AS BIGINT) AS made
                     FROM (SELECT * FROM attempts WHERE id > $1 ORDER BY id DESC LIMIT $3) lately GROUP BY dispatcher, channel_id
                     ORDER BY dispatcher, channel_id"
                ),
                values![first, now - RATE_OVER, ATTEMPTS_MAX],
            )
            .await?;
        let mut work = RecentWork::default();
        for row in &rows {
            let (name, last_at, attempts) = (row.text("dispatcher")?, row.instant("last_at")?, row.count("attempts")?);
            *work.made.entry(ChannelId(row.id("channel_id")?)).or_default() += row.count("made")?;
            match work.dispatchers.last_mut().filter(|known| known.name == name) {
                Some(known) => {
                    known.last_at = known.last_at.max(last_at);
                    known.attempts += attempts;
                }
                None => work.dispatchers.push(DispatcherSeen { name, last_at, attempts }),
            }
        }
        Ok(work)
    }

    /// The messages of runs, by state: of each run those that it wrote anew, for one that it only brought back is older than the run. It goes
    /// along the messages' ids from the oldest of the runs on.
    pub async fn run_progress(&self, runs: &[RunId]) -> Result<BTreeMap<RunId, BTreeMap<State, u64>>, LedgerError> {
        let Some(oldest) = runs.iter().map(|run| run.0).min() else { return Ok(BTreeMap::new()) };
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT run_id, state, count(*) AS n FROM messages WHERE id > $2 AND run_id",
                    (among 1 uuid),
                    " GROUP BY run_id, state"
                ),
                values![json!(runs).to_string(), oldest],
            )
            .await?;
        let mut progress: BTreeMap<RunId, BTreeMap<State, u64>> = BTreeMap::new();
        for row in &rows {
            let of_run = progress.entry(RunId(row.id("run_id")?)).or_default();
            of_run.insert(row.named("state", State::parse)?, row.count("n")?);
        }
        Ok(progress)
    }

    /// The gates that are closed now.
    pub async fn closed_gates(&self) -> Result<BTreeMap<ChannelId, ClosedGate>, LedgerError> {
        let mut tx = self.db.read().await?;
        let now = tx.now().await?;
        let sql = sql!("SELECT channel_id, paused_until, pause_reason FROM gates WHERE paused_until > $1");
        let rows = tx.fetch(sql, values![now]).await?;
        rows.iter()
            .map(|row| {
                let closed = ClosedGate { until: row.instant("paused_until")?, why: row.text("pause_reason")? };
                Ok((ChannelId(row.id("channel_id")?), closed))
            })
            .collect()
    }

    /// The runs that evaluators hold now.
    pub async fn held_runs(&self) -> Result<Vec<HeldRun>, LedgerError> {
        let sql = sql!("SELECT id, lease_owner, lease_expires_at FROM runs WHERE state = 'running' ORDER BY planned_at, id");
        let rows = self.db.read().await?.fetch(sql, vec![]).await?;
        rows.iter()
            .map(|row| {
                Ok(HeldRun {
                    run: RunId(row.id("id")?),
                    owner: row.id("lease_owner")?,
                    lease_expires_at: row.instant("lease_expires_at")?,
                })
            })
            .collect()
    }
}
