//! Doubt, settled by a person; and the doubt that a restored backup leaves.
//!
//! A doubtful message waits again only if no other has overtaken it: of dated ones any that lives, for one invoice has one; the same stage or a more
//! advanced one of its due date or a later one; and any of a later due date, unless the invoice is due on its own again. Of an event's, a later
//! one of its kind.

use crate::audit::{self, Entry};
use crate::database::Tx;
use crate::error::LedgerError;
use crate::stops::{self, NewStop};
use crate::{Ledger, new_id};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::audit::Action;
use regua_domain::ids::MessageId;
use regua_domain::stop::{BY_LEDGER, StopScope};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

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

/// The period that a restored backup knows nothing of: its stages may have been sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LostPeriod {
    /// The first day of it, for the record: whatever is still due was due, or became so, in it.
    pub since_on: NaiveDate,
    /// The last: the day of the restoration.
    pub until_on: NaiveDate,
    /// An id of then: what the ledger doesn't have and is older was lost with the backup, as has been said.
    #[serde(default)]
    pub ids_before: Option<Uuid>,
}

impl LostPeriod {
    /// Whether a message that is decided now, for a stage of that day, may have been sent in the period. What is due still, after the
    /// restoration, was due in the lost time unless its day came later: closed days may put the end of a stage off for weeks.
    pub fn may_have_sent(self, stage_day: NaiveDate) -> bool {
        stage_day <= self.until_on
    }

    /// Whether the restoration explains that the ledger doesn't have what bears this id: ids ascend with time.
    pub fn explains(self, id: Uuid) -> bool {
        self.ids_before.is_some_and(|before| id < before)
    }
}

pub(crate) async fn lost_period(tx: &mut Tx) -> Result<Option<LostPeriod>, LedgerError> {
    let row = tx.fetch_optional(sql!("SELECT value FROM settings WHERE name = 'lost_period'"), vec![]).await?;
    row.map(|row| row.json("value")).transpose()
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

    /// Says that a backup was restored and that nothing since `lost_since` is known. Every live message, and every message
    /// written later for a stage that was due in the lost time, counts as doubtful; the stop that the restoration caused is lifted.
    ///
    /// How many messages are in doubt now because of it.
    pub async fn restored(&self, lost_since: DateTime<Utc>, by: String) -> Result<u64, LedgerError> {
        let who = by.clone();
        self.db
            .write(move |tx| {
                let by = who.clone();
                Box::pin(async move { note_lost_period(tx, lost_since, &by).await })
            })
            .await?;
        let mut doubtful = 0;
        loop {
            let swept = self.db.write(|tx| Box::pin(doubt_live_messages(tx))).await?;
            doubtful += swept;
            if swept == 0 {
                break;
            }
        }
        self.db.write(move |tx| Box::pin(lift(tx, by.clone()))).await?;
        Ok(doubtful)
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

/// Writes down what is lost, and holds everything while the messages are gone through. Batches that are being committed come first, for they
/// don't know of it: the messages that they write are gone through too.
async fn note_lost_period(tx: &mut Tx, lost_since: DateTime<Utc>, by: &str) -> Result<(), LedgerError> {
    tx.lock(sql!("SELECT id FROM sources ORDER BY id", for_update), vec![]).await?;
    let now = tx.now().await?;
    if lost_since > now {
        return Err(LedgerError::Refused(format!("--lost-since {lost_since} lies in the future: the ledger's clock says {now}")));
    }
    let settings = crate::settings::load(tx).await?;
    let (since_on, until_on) = (settings.times().date_at(lost_since), settings.times().date_at(now));
    // A second restoration loses no less than the first.
    let since_on = lost_period(tx).await?.map_or(since_on, |known| known.since_on.min(since_on));
    let text = serde_json::to_string(&LostPeriod { since_on, until_on, ids_before: Some(new_id()) })
        .map_err(|_| LedgerError::unreadable("settings", "a period that is no JSON"))?;
    tx.execute(
        sql!("INSERT INTO settings (name, value) VALUES ('lost_period', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value"),
        values![text],
    )
    .await?;
    let stop = NewStop {
        scope: StopScope::Everything,
        target: String::new(),
        raised_by: BY_LEDGER.into(),
        why: "a backup was restored".into(),
        until_at: None,
    };
    stops::raise(tx, &stop, now).await?;
    let became = Some(json!({ "lost_since": lost_since, "first_day": since_on, "last_day": until_on }));
    audit::note(tx, Entry { by, action: Action::Restored, target: "", why: None, was: None, became }, now).await
}

/// Puts some of the live messages in doubt; how many.
async fn doubt_live_messages(tx: &mut Tx) -> Result<u64, LedgerError> {
    let now = tx.now().await?;
    tx.execute(
        sql!(
            "UPDATE messages SET state = 'in_doubt', reason = 'restored', queued_at = NULL, next_attempt_at = NULL, lease_expires_at = NULL,
                    updated_at = $1
             WHERE id IN (SELECT id FROM messages WHERE ",
            live,
            " ORDER BY id LIMIT $2",
            for_update,
            ")"
        ),
        values![now, crate::sweeps::SWEEP_MAX],
    )
    .await
}

/// Lifts the ledger's own stop; a person's stays.
async fn lift(tx: &mut Tx, by: String) -> Result<(), LedgerError> {
    let now = tx.now().await?;
    stops::lift(tx, StopScope::Everything, "", Some(BY_LEDGER), &by, now).await?;
    Ok(())
}
