//! Retention: personal data that no rule needs any more is deleted (F22; LGPD arts. 15 and 16).
//!
//! A row of `messages` is never deleted: it is its key that keeps an invoice's stage from being sent a second time, for as long as the ERP can list
//! the invoice, which no retention knows. What identifies a person is taken from it. Opt-outs stay for ever, as does the audit log; runs stay
//! because invariant 2 adds them up; the mirror is the ERP's copy, and `bureau_removed` asks it years later which invoices were a customer's.
//!
//! Each step looks at one page of each table along its key and deletes what is due, so that it is bounded and takes no index of its own; rows that
//! another transaction holds are left for the next round.

use crate::Ledger;
use crate::database::{Row, Sql, Tx, Value};
use crate::error::LedgerError;
use crate::settings::{self, Settings};
use crate::snapshot::json_ids;
use chrono::{DateTime, Days, TimeDelta, Utc};
use regua_domain::admission::{BUDGET_PERIOD, PHONE_SPACING};
use regua_domain::frequency::{CAP_DAYS, SentByDay};
use regua_domain::ids::{BusinessId, MessageId};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// Rows of one table that one step looks at.
pub const STEP_MAX: u32 = 500;
/// What is kept beyond the time for which it counts: far more than two clocks, or a transaction, can be apart.
const MARGIN: TimeDelta = TimeDelta::days(1);
/// How long an answered command is kept for whoever asked: its JSON may name phones.
const COMMANDS_KEPT: TimeDelta = TimeDelta::days(1);

/// Where the walks through the tables stand. Each process has its own; a new one begins at the beginning.
#[derive(Clone, Debug, Default)]
pub struct Walks {
    texts: Uuid,
    events: Uuid,
    holds: Uuid,
    people: String,
    recipients: (Uuid, String),
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages that lost their phone and their text.
    pub anonymised: u64,
    /// Rows of other tables deleted.
    pub deleted: u64,
    /// Whether a walk hasn't come to its end.
    pub more: bool,
}

/// What the walks go by.
#[derive(Clone, Copy)]
struct Cutoffs {
    now: DateTime<Utc>,
    /// What changed last before this is finished with.
    personal: DateTime<Utc>,
    /// What counted last before this counts no more.
    counted: DateTime<Utc>,
    /// The last day on which a person's messages no longer count.
    day: chrono::NaiveDate,
    /// The last day on which a hold that is over ended.
    hold: chrono::NaiveDate,
}

impl Cutoffs {
    fn of(settings: &Settings, now: DateTime<Utc>) -> Self {
        let kept = TimeDelta::days(settings.retention.personal_data_days.into());
        let today = settings.times().date_at(now);
        let before = |days| today.checked_sub_days(Days::new(days)).unwrap_or(chrono::NaiveDate::MIN);
        Self {
            now,
            personal: now - kept,
            counted: now - BUDGET_PERIOD - PHONE_SPACING - MARGIN,
            day: before(2 * CAP_DAYS + 1),
            hold: before(settings.retention.personal_data_days.into()),
        }
    }
}

impl Ledger {
    /// One step of every walk. Safe in any number of processes: two that meet do a row's work once.
    pub async fn retain(&self, walks: &mut Walks) -> Result<Swept, LedgerError> {
        let cutoffs = {
            let mut tx = self.db.read().await?;
            let settings = settings::load(&mut tx).await?;
            Cutoffs::of(&settings, tx.now().await?)
        };
        let mut swept = Swept::default();
        swept.more |= self.anonymise(walks, cutoffs, &mut swept).await?;
        swept.more |= self.delete_events(walks, cutoffs, &mut swept).await?;
        swept.more |= self.delete_holds(walks, cutoffs, &mut swept).await?;
        swept.more |= self.delete_people(walks, cutoffs, &mut swept).await?;
        swept.more |= self.delete_recipients(walks, cutoffs, &mut swept).await?;
        swept.deleted += self.delete_small(cutoffs).await?;
        Ok(swept)
    }

    /// Finished messages, along their texts: one that has lost its text is never read again. Whether there may be more.
    async fn anonymise(&self, walks: &mut Walks, cutoffs: Cutoffs, swept: &mut Swept) -> Result<bool, LedgerError> {
        let page = sql!(
            "SELECT t.message_id AS id, m.created_at AS made_at,
                    (m.state IN ('sent', 'delivered', 'read', 'skipped', 'failed') AND m.updated_at <= $2) AS due
             FROM (SELECT message_id FROM message_texts WHERE message_id > $1 ORDER BY message_id LIMIT $3) t
             JOIN messages m ON m.id = t.message_id ORDER BY t.message_id"
        );
        let (due, more) = self.page(page, &mut walks.texts, cutoffs.personal).await?;
        if !due.is_empty() {
            let due = Arc::new(due);
            swept.anonymised += self
                .db
                .write(move |tx| {
                    let due = Arc::clone(&due);
                    Box::pin(async move { anonymise(tx, &due, cutoffs).await })
                })
                .await?;
        }
        Ok(more)
    }

    /// Events that a run has decided: the mirror, not they, tells what is new.
    async fn delete_events(&self, walks: &mut Walks, cutoffs: Cutoffs, swept: &mut Swept) -> Result<bool, LedgerError> {
        let page = sql!(
            "SELECT id, observed_at AS made_at, (consumed_by IS NOT NULL AND observed_at <= $2) AS due
             FROM events WHERE id > $1 ORDER BY id LIMIT $3"
        );
        let (due, more) = self.page(page, &mut walks.events, cutoffs.personal).await?;
        swept.deleted +=
            self.delete(due, sql!("DELETE FROM events WHERE consumed_by IS NOT NULL AND id", (among 1 uuid))).await?;
        Ok(more)
    }

    /// Holds that are over or lifted: what people wrote about a customer.
    async fn delete_holds(&self, walks: &mut Walks, cutoffs: Cutoffs, swept: &mut Swept) -> Result<bool, LedgerError> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .fetch(
                sql!(
                    "SELECT id, since_at AS made_at, (since_at <= $2 AND (COALESCE(lifted_at <= $2, FALSE) OR until_on < $4)) AS due
                     FROM holds WHERE id > $1 ORDER BY id LIMIT $3"
                ),
                values![walks.holds, cutoffs.personal, STEP_MAX, cutoffs.hold],
            )
            .await?;
        let (due, more) = turn(&rows, &mut walks.holds, cutoffs.personal)?;
        // A connection that reads isn't held while it is written.
        drop(tx);
        swept.deleted += self.delete(due, sql!("DELETE FROM holds WHERE id", (among 1 uuid))).await?;
        Ok(more)
    }

    /// A page of a walk along ids, which ascend with time: the rows that are due, and whether older ones may follow.
    async fn page(&self, sql: Sql, after: &mut Uuid, cutoff: DateTime<Utc>) -> Result<(Vec<Uuid>, bool), LedgerError> {
        let rows = self.db.read().await?.fetch(sql, values![*after, cutoff, STEP_MAX]).await?;
        turn(&rows, after, cutoff)
    }

    async fn delete(&self, due: Vec<Uuid>, sql: Sql) -> Result<u64, LedgerError> {
        if due.is_empty() { Ok(0) } else { self.execute(sql, values![json_ids(due.into_iter())]).await }
    }

    /// One statement in its own transaction.
    async fn execute(&self, sql: Sql, values: Vec<Value>) -> Result<u64, LedgerError> {
        self.db
            .write(move |tx| {
                let values = values.clone();
                Box::pin(async move { tx.execute(sql, values).await })
            })
            .await
    }

    /// People whom nobody wrote to for longer than the caps look back.
    async fn delete_people(&self, walks: &mut Walks, cutoffs: Cutoffs, swept: &mut Swept) -> Result<bool, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!("SELECT phone_key, days, version FROM people WHERE phone_key > $1 ORDER BY phone_key LIMIT $2"),
                values![walks.people.clone(), STEP_MAX],
            )
            .await?;
        let mut due = Vec::new();
        for row in &rows {
            let sent: SentByDay = row.json("days")?;
            if sent.last_day().is_none_or(|last| last <= cutoffs.day) {
                due.push(json!({ "phone_key": row.text("phone_key")?, "version": row.int("version")? }));
            }
        }
        let more = rows.len() == STEP_MAX as usize;
        walks.people = if more { rows[rows.len() - 1].text("phone_key")? } else { String::new() };
        if !due.is_empty() {
            // Only as it was read: whom a start counts for meanwhile has another version.
            let sql = sql!(
                "DELETE FROM people WHERE phone_key IN (SELECT p.phone_key FROM ",
                (rows 1 r phone_key: text, version: bigint),
                " JOIN people p ON p.phone_key = r.phone_key AND p.version = r.version ORDER BY p.phone_key",
                { postgres: " FOR UPDATE OF p SKIP LOCKED", sqlite: "" },
                ")"
            );
            swept.deleted += self.execute(sql, values![json!(due).to_string()]).await?;
        }
        Ok(more)
    }

    /// Recipients who count for no budget and no spacing any more.
    async fn delete_recipients(&self, walks: &mut Walks, cutoffs: Cutoffs, swept: &mut Swept) -> Result<bool, LedgerError> {
        let (business, phone_key) = walks.recipients.clone();
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT business_id, phone_key, ",
                    uncounted,
                    " AS due FROM recipients WHERE (business_id, phone_key) > ($2, $3) ORDER BY business_id, phone_key LIMIT $4"
                ),
                values![cutoffs.counted, business, phone_key, STEP_MAX],
            )
            .await?;
        let key = |row: &Row| Ok::<_, LedgerError>((row.id("business_id")?, row.text("phone_key")?));
        let mut due = Vec::new();
        for row in &rows {
            if row.flag("due")? {
                let (business, phone_key) = key(row)?;
                due.push(json!({ "business_id": BusinessId(business), "phone_key": phone_key }));
            }
        }
        let more = rows.len() == STEP_MAX as usize;
        walks.recipients = if more { key(&rows[rows.len() - 1])? } else { (Uuid::nil(), String::new()) };
        if !due.is_empty() {
            let sql = sql!(
                "DELETE FROM recipients WHERE ",
                uncounted,
                " AND (business_id, phone_key) IN (SELECT t.business_id, t.phone_key FROM ",
                (rows 2 r business_id: uuid, phone_key: text),
                " JOIN recipients t ON t.business_id = r.business_id AND t.phone_key = r.phone_key ORDER BY 1, 2",
                { postgres: " FOR UPDATE OF t SKIP LOCKED", sqlite: "" },
                ")"
            );
            swept.deleted += self.execute(sql, values![cutoffs.counted, json!(due).to_string()]).await?;
        }
        Ok(more)
    }

    /// Buckets of days past and commands that were answered: few, and found at once.
    async fn delete_small(&self, cutoffs: Cutoffs) -> Result<u64, LedgerError> {
        let buckets = sql!(
            "DELETE FROM budget_buckets WHERE (business_id, bucket_at) IN (SELECT business_id, bucket_at FROM budget_buckets
             WHERE bucket_at <= $1 ORDER BY business_id, bucket_at LIMIT $2",
            { postgres: " FOR UPDATE SKIP LOCKED", sqlite: "" },
            ")"
        );
        let commands =
            sql!("DELETE FROM commands WHERE id IN (SELECT id FROM commands WHERE done_at <= $1 ORDER BY id LIMIT $2)");
        let deleted = self.execute(buckets, values![cutoffs.counted, STEP_MAX]).await?;
        Ok(deleted + self.execute(commands, values![cutoffs.now - COMMANDS_KEPT, STEP_MAX]).await?)
    }
}

/// Goes one page on: the ids of its rows that are due. The walk begins anew after the last page, and after one that ends with what was made too
/// late to be due.
fn turn(rows: &[Row], after: &mut Uuid, cutoff: DateTime<Utc>) -> Result<(Vec<Uuid>, bool), LedgerError> {
    let mut due = Vec::new();
    let mut last = None;
    for row in rows {
        last = Some((row.id("id")?, row.instant("made_at")?));
        if row.flag("due")? {
            due.push(row.id("id")?);
        }
    }
    let goes_on = last.filter(|(_, made_at)| rows.len() == STEP_MAX as usize && *made_at <= cutoff);
    *after = goes_on.map_or(Uuid::nil(), |(id, _)| id);
    Ok((due, goes_on.is_some()))
}

/// Takes from messages what identifies their customers.
async fn anonymise(tx: &mut Tx, due: &[Uuid], cutoffs: Cutoffs) -> Result<u64, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT id FROM messages WHERE state IN ('sent', 'delivered', 'read', 'skipped', 'failed') AND updated_at <= $2 AND id",
                (among 1 uuid),
                " ORDER BY id",
                { postgres: " FOR NO KEY UPDATE SKIP LOCKED", sqlite: "" }
            ),
            values![json_ids(due.iter().copied()), cutoffs.personal],
        )
        .await?;
    let ids: Vec<MessageId> = rows.iter().map(|row| row.id("id").map(MessageId)).collect::<Result<_, _>>()?;
    let ids = json_ids(ids.iter().map(|id| id.0));
    tx.execute(sql!("DELETE FROM message_texts WHERE message_id", (among 1 uuid)), values![&ids]).await?;
    tx.execute(
        sql!("UPDATE messages SET phone_key = NULL, anonymised_at = $2 WHERE id", (among 1 uuid)),
        values![ids, cutoffs.now],
    )
    .await
}
