//! Doubt, settled by a person.
//!
//! A doubtful message waits again only if no other has overtaken it: of dated ones any that lives, for one invoice has one; the same stage or a more
//! advanced one of its due date or a later one; and any of a later due date, unless the invoice is due on its own again. Of an event's, a later
//! one of its kind.

use crate::audit::{self, Entry};
use crate::database::Tx;
use crate::error::LedgerError;
use crate::{Ledger, new_id};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::audit::Action;
use regua_domain::ids::MessageId;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How long after its lease an attempt may still report: before that nobody may send the message again (F1).
pub const DOUBT_GRACE: TimeDelta = TimeDelta::minutes(10);

/// How long after its message's time doubt ends, if nothing settled it: far longer than an attempt's lease and [`DOUBT_GRACE`], and a day for the
/// person who looks at it in the morning. Evidence still settles it after that.
pub const DOUBT_EXPIRES_AFTER: TimeDelta = TimeDelta::days(1);

/// What a person knows or decides about a doubtful message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It was sent.
    Sent,
    /// It shall be sent again.
    Resend,
    /// It is let go.
    Drop,
}

impl Resolution {
    /// The name in SQL and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Resend => "resend",
            Self::Drop => "drop",
        }
    }
}

impl Ledger {
    /// Settles a doubtful message as a person says. Evidence that comes later still wins.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when it isn't in doubt, when its attempt may still report, or when it has been overtaken.
    pub async fn resolve_doubt(&self, id: MessageId, how: Resolution, by: String, why: String) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let (by, why) = (by.clone(), why.clone());
                Box::pin(async move { resolve(tx, id, how, &by, &why).await })
            })
            .await
    }
}

/// Of attempts that would leave doubt now, given as `{id, attempt_id}` of their locked messages: those that a receipt names were taken, for the
/// platform speaks of nothing else. Their messages count as sent, by the receipt. All others stay as they are. A failure says so of an
/// attempt that has no answer, and not of one whose answer may still come.
pub(crate) async fn settle_by_receipts(
    tx: &mut Tx,
    attempts: &[serde_json::Value],
    may_be_answered: bool,
    now: DateTime<Utc>,
) -> Result<(), LedgerError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let settled = tx
        .execute(
            sql!(
                "UPDATE messages SET state = 'sent', reason = NULL, lease_expires_at = NULL, updated_at = $2,
                    provider_id = COALESCE(provider_id, (SELECT a.provider_id FROM attempts a WHERE a.id = messages.attempt_id))
             FROM ",
                (rows 1 r id: uuid, attempt_id: uuid),
                " WHERE messages.id = r.id AND messages.attempt_id = r.attempt_id
                AND (messages.state = 'sending' OR (messages.state = 'in_doubt' AND messages.reason <> 'restored' AND $3 = 0))
                AND EXISTS (SELECT 1 FROM receipts t WHERE t.message_id = r.id AND t.attempt_id = r.attempt_id
                    AND (t.status <> 'failed' OR $3 = 0))"
            ),
            values![json!(attempts).to_string(), now, i64::from(may_be_answered)],
        )
        .await?;
    if settled > 0 {
        tracing::warn!(
            messages = settled,
            "doubt.settled_by_receipts: no answer came, but the platform reported what became of them"
        );
    }
    Ok(())
}

async fn resolve(tx: &mut Tx, id: MessageId, how: Resolution, by: &str, why: &str) -> Result<(), LedgerError> {
    let row = tx
        .fetch_optional(
            sql!(
                "SELECT m.state, m.expires_at, a.lease_expires_at AS lease FROM messages m LEFT JOIN attempts a ON a.id = m.attempt_id
                 WHERE m.id = $1",
                { postgres: " FOR UPDATE OF m", sqlite: "" }
            ),
            values![id],
        )
        .await?
        .ok_or_else(|| LedgerError::Refused(format!("message {id}: there is no such message")))?;
    let now = tx.now().await?;
    if row.text("state")? != "in_doubt" {
        return Err(LedgerError::Refused(format!("message {id} is {}, not in_doubt: nothing to resolve", row.text("state")?)));
    }
    if how == Resolution::Resend {
        may_resend(tx, &row, id, now).await?;
    }
    let moved = match how {
        Resolution::Sent => {
            sql!("UPDATE messages SET state = 'sent', reason = NULL, updated_at = $2 WHERE id = $1 AND state = 'in_doubt'")
        }
        Resolution::Drop => {
            sql!("UPDATE messages SET state = 'failed', reason = 'dropped', updated_at = $2 WHERE id = $1 AND state = 'in_doubt'")
        }
        Resolution::Resend => sql!(
            "UPDATE messages SET state = 'scheduled', reason = NULL, next_attempt_at = $2, updated_at = $2 WHERE id = $1 AND state = 'in_doubt'"
        ),
    };
    tx.execute(moved, values![id, now]).await.map_err(LedgerError::or_overtaken)?;
    tx.execute(
        sql!("INSERT INTO resolutions (id, message_id, how, resolved_by, why, resolved_at) VALUES ($1, $2, $3, $4, $5, $6)"),
        values![new_id(), id, how.as_str(), by, why, now],
    )
    .await?;
    let target = id.to_string();
    let entry = Entry {
        by,
        action: Action::DoubtResolved,
        target: &target,
        why: Some(why),
        was: Some(json!({ "state": "in_doubt" })),
        became: Some(json!({ "how": how })),
    };
    audit::note(tx, entry, now).await
}

async fn may_resend(tx: &mut Tx, row: &crate::database::Row, id: MessageId, now: DateTime<Utc>) -> Result<(), LedgerError> {
    if let Some(lease) = row.opt_instant("lease")?
        && now < lease + DOUBT_GRACE
    {
        let until = lease + DOUBT_GRACE;
        return Err(LedgerError::Refused(format!("message {id}: its attempt may still report; send it again after {until}")));
    }
    if row.instant("expires_at")? <= now {
        return Err(LedgerError::Refused(format!("message {id} has expired: drop it, the next stage will follow")));
    }
    // After the lock, so that it sees what was written while that was waited for.
    let others = tx.fetch_one(sql!("SELECT ", overtaken, " AS overtaken FROM messages m WHERE m.id = $1"), values![id]).await?;
    if others.flag("overtaken")? {
        return Err(LedgerError::Refused(format!("message {id} was overtaken by another one about its invoice: drop it")));
    }
    Ok(())
}
