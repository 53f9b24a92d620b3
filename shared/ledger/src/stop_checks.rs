//! Stops that a check may lift: whoever takes a check has it alone, and none is taken more often than its pace.

use crate::Ledger;
use crate::database::Tx;
use crate::error::LedgerError;
use crate::stops;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::ids::{ChannelId, StopId};
use regua_domain::stop::{BY_ANSWER, BY_CHECK, StopScope, check_after};
use serde_json::json;
use std::sync::Arc;

/// Stops among which the next check is looked for.
const LOOK_MAX: u32 = 200;
/// A stop that a check lifted and that comes back within this time is checked later than it was: the check proves less than it seems to.
const COMES_BACK_WITHIN: TimeDelta = TimeDelta::hours(24);

/// A stop whose cause is to be looked for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCheck {
    /// The stop.
    pub stop: StopId,
    /// What it holds back.
    pub scope: StopScope,
    /// Which one of that scope.
    pub target: String,
    /// The answer that raised it, by its name.
    pub why: String,
}

/// How many stops there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopTotals {
    /// What they held back.
    pub scope: StopScope,
    /// Raised so far.
    pub raised: u64,
    /// Of these, lifted.
    pub lifted: u64,
}

impl Ledger {
    /// Takes the check of one stop that an answer of one of these names raised, if one is due: the first a minute after it, then twice as much
    /// later each time, up to 15 minutes. Nobody else gets it before the next is due, so a process that dies with it in its hands loses one turn.
    pub async fn take_stop_check(&self, whys: &[&str]) -> Result<Option<DueCheck>, LedgerError> {
        let answered = sql!("SELECT 1 AS one FROM stops WHERE lifted_at IS NULL AND raised_by = $1 LIMIT 1");
        if self.db.read().await?.fetch_optional(answered, values![BY_ANSWER]).await?.is_none() {
            return Ok(None);
        }
        let whys = Arc::new(json!(whys).to_string());
        self.db
            .write(move |tx| {
                let whys = Arc::clone(&whys);
                Box::pin(async move { take(tx, &whys).await })
            })
            .await
    }

    /// Lifts the stop whose check passed, and no other of its scope; false if it had been lifted meanwhile.
    pub async fn pass_stop_check(&self, check: DueCheck) -> Result<bool, LedgerError> {
        let check = Arc::new(check);
        self.db
            .write(move |tx| {
                let check = Arc::clone(&check);
                Box::pin(async move {
                    let now = tx.now().await?;
                    stops::lift_one(tx, check.stop, (check.scope, &check.target), BY_CHECK, now).await
                })
            })
            .await
    }

    /// The channels through which a template is sent.
    pub async fn channels_of_template(&self, template_id: &str) -> Result<Vec<ChannelId>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!("SELECT DISTINCT channel_id FROM notices WHERE template_id = $1 ORDER BY channel_id"),
                values![template_id],
            )
            .await?;
        rows.iter().map(|row| row.id("channel_id").map(ChannelId)).collect()
    }

    /// How many stops of each scope were raised and lifted so far.
    pub async fn stop_totals(&self) -> Result<Vec<StopTotals>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!("SELECT scope, count(*) AS raised, count(lifted_at) AS lifted FROM stops GROUP BY scope ORDER BY scope"),
                vec![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let scope = row.named("scope", StopScope::parse)?;
                Ok(StopTotals { scope, raised: row.count("raised")?, lifted: row.count("lifted")? })
            })
            .collect()
    }
}

async fn take(tx: &mut Tx, whys: &str) -> Result<Option<DueCheck>, LedgerError> {
    let now = tx.now().await?;
    let rows = tx
        .fetch(
            sql!(
                "SELECT s.id, s.scope, s.target, s.why, s.since_at, s.next_check_at, s.checks,
                        (SELECT count(*) FROM stops e WHERE e.scope = s.scope AND e.target = s.target AND e.why = s.why
                            AND e.lifted_by = $3 AND e.lifted_at > $4) AS earlier
                 FROM stops s WHERE s.lifted_at IS NULL AND (s.until_at IS NULL OR s.until_at > $5) AND s.raised_by = $2 AND s.why",
                (among 1 text),
                " ORDER BY s.id LIMIT $6",
                { postgres: " FOR NO KEY UPDATE OF s SKIP LOCKED", sqlite: "" }
            ),
            values![whys, BY_ANSWER, BY_CHECK, now - COMES_BACK_WITHIN, now, LOOK_MAX],
        )
        .await?;
    for row in &rows {
        let (earlier, checks) = (row.small("earlier")?, row.small("checks")?);
        let due_at: DateTime<Utc> = match row.opt_instant("next_check_at")? {
            Some(at) => at,
            None => row.instant("since_at")? + check_after(earlier),
        };
        if due_at > now {
            continue;
        }
        let next_at = now + check_after(earlier.saturating_add(checks).saturating_add(1));
        let stop = StopId(row.id("id")?);
        tx.execute(sql!("UPDATE stops SET next_check_at = $2, checks = checks + 1 WHERE id = $1"), values![stop, next_at])
            .await?;
        let (scope, target) = (row.named("scope", StopScope::parse)?, row.text("target")?);
        return Ok(Some(DueCheck { stop, scope, target, why: row.text("why")? }));
    }
    Ok(None)
}
