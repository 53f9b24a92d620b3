//! What time drives: expired leases, expired messages, expired doubt, lost hints. Each sweep is bounded and safe in any number of schedulers.

use crate::Ledger;
use crate::database::{Row, Tx};
use crate::doubt::{self, DOUBT_EXPIRES_AFTER};
use crate::error::LedgerError;
use crate::snapshot::json_ids;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::ids::{AttemptId, MessageId};
use serde_json::json;

/// Rows that one sweep touches at most.
pub const SWEEP_MAX: i64 = 500;
/// A hint that nobody took for this long may be lost.
pub const HINT_LOST_AFTER: TimeDelta = TimeDelta::seconds(60);

/// An attempt that nobody reported within its lease, put in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// The message.
    pub message: MessageId,
    /// The attempt.
    pub attempt: AttemptId,
}

impl Ledger {
    /// Turns attempts whose lease expired into doubt, never back into the queue; which. Those that a receipt names were sent.
    pub async fn rescue(&self) -> Result<Vec<Rescued>, LedgerError> {
        self.db
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    rescue(tx, now, SWEEP_MAX, true).await
                })
            })
            .await
    }

    /// The same of every open attempt at once: a process with an own ledger file starts, so nobody else can be sending (F26 f).
    pub async fn rescue_orphans(&self) -> Result<Vec<Rescued>, LedgerError> {
        self.db.write(|tx| Box::pin(rescue(tx, DateTime::<Utc>::MAX_UTC, i64::MAX, false))).await
    }

    /// Ends waiting messages whose time has passed; how many.
    pub async fn expire(&self) -> Result<u64, LedgerError> {
        self.db
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    tx.execute(
                        sql!(
                            "UPDATE messages SET state = 'skipped', queued_at = NULL, next_attempt_at = NULL, updated_at = $1,
                                    reason = CASE WHEN reason = 'person_cap' THEN 'capped' ELSE 'expired' END
                             WHERE id IN (SELECT id FROM messages WHERE ",
                            live,
                            " AND state <> 'sending' AND expires_at <= $1 LIMIT $2",
                            { postgres: " FOR UPDATE SKIP LOCKED", sqlite: "" },
                            ") AND ",
                            (still "state" "'held', 'scheduled', 'queued'")
                        ),
                        values![now, SWEEP_MAX],
                    )
                    .await
                })
            })
            .await
    }

    /// Ends doubt that nobody settled until long after its message's time; how many. It is never sent again: it may have been.
    pub async fn expire_doubt(&self) -> Result<u64, LedgerError> {
        self.db
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    tx.execute(
                        sql!(
                            "UPDATE messages SET state = 'failed', reason = 'doubt_expired', updated_at = $1
                             WHERE id IN (SELECT id FROM messages WHERE ",
                            unsettled,
                            " AND state = 'in_doubt' AND expires_at <= $2 ORDER BY expires_at, id LIMIT $3",
                            { postgres: " FOR UPDATE SKIP LOCKED", sqlite: "" },
                            ") AND state = 'in_doubt'"
                        ),
                        values![now, now - DOUBT_EXPIRES_AFTER, SWEEP_MAX],
                    )
                    .await
                })
            })
            .await
    }

    /// How many messages wait with a published hint: compared with what the broker has.
    pub async fn queued(&self) -> Result<u64, LedgerError> {
        let row = self
            .db
            .read()
            .await?
            .fetch_one(sql!("SELECT count(*) AS n FROM messages WHERE state = 'queued' AND ", live), vec![])
            .await?;
        row.count("n")
    }

    /// Puts messages back whose hint was published longer than `older_than` ago; how many. They are topped up again, never hinted directly.
    pub async fn unqueue(&self, older_than: TimeDelta) -> Result<u64, LedgerError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    tx.execute(
                        sql!(
                            "UPDATE messages SET state = 'scheduled', next_attempt_at = $1, queued_at = NULL, updated_at = $1
                             WHERE id IN (SELECT id FROM messages WHERE ",
                            live,
                            " AND state = 'queued' AND queued_at <= $2 LIMIT $3",
                            { postgres: " FOR UPDATE SKIP LOCKED", sqlite: "" },
                            ") AND ",
                            (still "state" "'queued'")
                        ),
                        values![now, now - older_than, SWEEP_MAX],
                    )
                    .await
                })
            })
            .await
    }
}

/// Puts open attempts in doubt whose lease expired by then. They are locked first: what a receipt told meanwhile is seen by the statements after.
async fn rescue(tx: &mut Tx, expired_by: DateTime<Utc>, limit: i64, may_be_answered: bool) -> Result<Vec<Rescued>, LedgerError> {
    let open = tx
        .fetch(
            sql!(
                "SELECT id, attempt_id FROM messages WHERE ",
                live,
                " AND state = 'sending' AND lease_expires_at <= $1 LIMIT $2",
                { postgres: " FOR NO KEY UPDATE SKIP LOCKED", sqlite: "" }
            ),
            values![expired_by, limit],
        )
        .await?;
    let ids = open.iter().map(|row| row.id("id")).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let now = tx.now().await?;
    let attempts = open.iter().map(|row| Ok(json!({"id": row.id("id")?, "attempt_id": row.id("attempt_id")?})));
    doubt::settle_by_receipts(tx, &attempts.collect::<Result<Vec<_>, LedgerError>>()?, may_be_answered, now).await?;
    let rescued = tx
        .fetch(
            sql!(
                "UPDATE messages SET state = 'in_doubt', reason = 'lease_expired', lease_expires_at = NULL, updated_at = $2
                 WHERE ",
                (still "state" "'sending'"),
                " AND id",
                (among 1 uuid),
                " RETURNING id, attempt_id"
            ),
            values![json_ids(ids.into_iter()), now],
        )
        .await?;
    let ids = |row: &Row| Ok(Rescued { message: MessageId(row.id("id")?), attempt: AttemptId(row.id("attempt_id")?) });
    rescued.iter().map(ids).collect()
}
