//! The mirror of customers and invoices: one fenced sync per source, rows that never go backwards.

pub(crate) mod rows;
pub mod told;

use crate::Ledger;
use crate::audit::{self, By, Entry};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::audit::Action;
use regua_domain::configuration::{LastLook, SecretRef};
use regua_domain::ids::{CustomerId, InvoiceId, SourceId};
use regua_domain::mirror::{Customer, Invoice};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Rows that one write of the mirror may carry.
pub const BATCH_MAX: usize = 1000;
/// On SQLite, whose one writer the dispatcher's starts share.
pub const BATCH_SQLITE: usize = 250;
/// How long a sync may be silent before another may take its source.
pub const SYNC_LEASE: TimeDelta = TimeDelta::seconds(60);

/// A source, as the evaluator reads it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Its name.
    pub name: String,
    /// `ixc` or `files`.
    pub kind: String,
    /// The base of the webservice; empty for files.
    pub url: String,
    /// Where its token is found.
    pub token: SecretRef,
    /// How old the mirror may be before nothing is sent from it.
    pub max_age: TimeDelta,
    /// How many days back from today open titles are listed.
    pub days_back: i64,
    /// How many days ahead.
    pub days_ahead: i64,
    /// When the requests of the newest complete sync began.
    pub complete_at: Option<DateTime<Utc>>,
    /// Whether, and how, a title is read once more before its message starts.
    pub last_look: Option<LastLook>,
}

impl Source {
    /// Whether the mirror is young enough to decide from.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.complete_at.is_some_and(|at| at + self.max_age > now)
    }
}

/// A sync in this process's hands.
#[derive(Clone, Copy, Debug)]
pub struct Sync {
    /// The source.
    pub source_id: SourceId,
    /// The lease's owner: every write of the sync names it.
    pub owner: Uuid,
    /// The number of this sync: rows that it saw carry it.
    pub generation: i64,
    /// Whether this is the source's first: a baseline makes no events.
    pub is_baseline: bool,
    /// The ledger's clock when it began: before any of its requests was issued.
    pub began_at: DateTime<Utc>,
}

/// What a write of the mirror did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MirrorCounts {
    /// Rows written; the others were older than what the mirror had.
    pub written: u64,
    /// Events found.
    pub events: u64,
}

fn read_source(row: &Row) -> Result<Source, LedgerError> {
    Ok(Source {
        id: SourceId(row.id("id")?),
        name: row.text("name")?,
        kind: row.text("kind")?,
        url: row.text("url")?,
        token: crate::configuration::read_secret(row)?,
        max_age: TimeDelta::try_seconds(row.int("max_age_s")?).unwrap_or_default(),
        days_back: row.int("days_back")?,
        days_ahead: row.int("days_ahead")?,
        complete_at: row.opt_instant("complete_at")?,
        last_look: crate::looks::read(row)?,
    })
}

impl Ledger {
    /// Every source that is switched on.
    pub async fn sources(&self) -> Result<Vec<Source>, LedgerError> {
        let rows = self.db.read().await?.fetch(sql!("SELECT * FROM sources WHERE enabled ORDER BY name"), vec![]).await?;
        rows.iter().map(read_source).collect()
    }

    /// Rows that one write of the mirror should carry.
    pub const fn mirror_batch(&self) -> usize {
        if self.is_embedded() { BATCH_SQLITE } else { BATCH_MAX }
    }

    /// Takes a source for one sync; `None` while another sync has it.
    pub async fn begin_sync(&self, source_id: SourceId, owner: Uuid) -> Result<Option<Sync>, LedgerError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    let row = tx
                        .fetch_optional(
                            sql!(
                                "UPDATE sources SET lease_owner = $2, lease_expires_at = $3, generation = generation + 1
                                 WHERE id = $1 AND (lease_owner IS NULL OR lease_expires_at <= $4)
                                 RETURNING generation, complete_at"
                            ),
                            values![source_id, owner, now + SYNC_LEASE, now],
                        )
                        .await?;
                    row.map(|row| {
                        Ok(Sync {
                            source_id,
                            owner,
                            generation: row.int("generation")?,
                            is_baseline: row.opt_int("complete_at")?.is_none(),
                            began_at: now,
                        })
                    })
                    .transpose()
                })
            })
            .await
    }

    /// Ends a sync: complete, so that the mirror is as young as its beginning; or given up, so that another may begin.
    pub async fn end_sync(&self, sync: Sync, complete: bool) -> Result<(), LedgerError> {
        self.db.write(move |tx| Box::pin(end_sync(tx, sync, complete))).await
    }

    /// Ends a sync that was an import by a person, and writes it down: `told` is what was read.
    pub async fn end_import(&self, sync: Sync, complete: bool, told: serde_json::Value, by: By) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let (told, by) = (told.clone(), by.clone());
                Box::pin(async move {
                    end_sync(tx, sync, complete).await?;
                    let row = tx.fetch_one(sql!("SELECT name FROM sources WHERE id = $1"), values![sync.source_id]).await?;
                    let (target, why, now) = (row.text("name")?, by.why.as_deref(), tx.now().await?);
                    let became = Some(told);
                    let entry = Entry { by: &by.who, action: Action::Imported, target: &target, why, was: None, became };
                    audit::note(tx, entry, now).await
                })
            })
            .await
    }

    /// Writes customers as they were at `observed_at`, the ledger's clock before their request was issued, with the events between what the
    /// mirror had and what it gets.
    pub async fn write_customers(
        &self,
        sync: Sync,
        customers: Vec<Customer>,
        observed_at: DateTime<Utc>,
    ) -> Result<MirrorCounts, LedgerError> {
        if customers.is_empty() {
            return Ok(MirrorCounts::default());
        }
        self.db
            .write(move |tx| {
                let customers = by_id(&customers, |customer| &customer.id);
                Box::pin(async move {
                    fence(tx, sync).await?;
                    rows::write_customers(tx, sync, &customers, observed_at).await
                })
            })
            .await
    }

    /// Writes invoices as they were at `observed_at`, with the events between what the mirror had and what it gets.
    pub async fn write_invoices(
        &self,
        sync: Sync,
        invoices: Vec<Invoice>,
        observed_at: DateTime<Utc>,
    ) -> Result<MirrorCounts, LedgerError> {
        if invoices.is_empty() {
            return Ok(MirrorCounts::default());
        }
        self.db
            .write(move |tx| {
                let invoices = by_id(&invoices, |invoice| &invoice.id);
                Box::pin(async move {
                    fence(tx, sync).await?;
                    rows::write_invoices(tx, sync, &invoices, observed_at).await
                })
            })
            .await
    }

    /// Open titles due from `due_from` on, which this sync's list did not have: to be re-read by id. Keyset pages by id.
    pub async fn unseen_titles(
        &self,
        sync: Sync,
        due_from: NaiveDate,
        after: Option<InvoiceId>,
        limit: u32,
    ) -> Result<Vec<InvoiceId>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT id FROM invoices WHERE source_id = $1 AND is_open AND due_on >= $2 AND generation < $3 AND id > $4
                     ORDER BY id LIMIT $5"
                ),
                values![sync.source_id, due_from, sync.generation, after.map(|id| id.0).unwrap_or_default(), limit],
            )
            .await?;
        rows.iter().map(|row| row.text("id").map(InvoiceId)).collect()
    }

    /// Titles that ended and that a waiting message speaks of, which this sync has not looked at: to be re-read by id, for what the message
    /// says must still be so. Keyset pages by id.
    pub async fn titles_of_waiting_events(
        &self,
        sync: Sync,
        after: Option<InvoiceId>,
        limit: u32,
    ) -> Result<Vec<InvoiceId>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT DISTINCT i.id FROM messages m JOIN invoices i ON i.source_id = m.source_id AND i.id = m.subject
                     WHERE m.source_id = $1 AND m.subject > $3 AND m.due_on IS NULL AND m.stage <> 'bureau_removed' AND m.",
                    live,
                    " AND i.generation < $2 ORDER BY i.id LIMIT $4"
                ),
                values![sync.source_id, sync.generation, after.map(|id| id.0).unwrap_or_default(), limit],
            )
            .await?;
        rows.iter().map(|row| row.text("id").map(InvoiceId)).collect()
    }

    /// Customers who are negatively listed, or to whom a waiting message says that they no longer are, and whom this sync has not looked at:
    /// to be re-read by id, for most of them owe nothing any more and stand in no list. Keyset pages by id.
    pub async fn listed_customers(
        &self,
        sync: Sync,
        after: Option<CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerId>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT id FROM (
                       SELECT * FROM (SELECT id FROM customers WHERE source_id = $1 AND is_listed AND observed_at < $2 AND id > $3
                                      ORDER BY id LIMIT $4) l
                       UNION
                       SELECT * FROM (SELECT c.id FROM messages m JOIN customers c ON c.source_id = m.source_id AND c.id = m.subject
                                      WHERE m.source_id = $1 AND m.subject > $3 AND m.due_on IS NULL AND m.stage = 'bureau_removed' AND m.",
                    live,
                    " AND c.observed_at < $2 ORDER BY m.subject LIMIT $4) w) b ORDER BY id LIMIT $4"
                ),
                values![sync.source_id, sync.began_at, after.map(|id| id.0).unwrap_or_default(), limit],
            )
            .await?;
        rows.iter().map(|row| row.text("id").map(CustomerId)).collect()
    }

    /// These invoices as the mirror has them.
    pub async fn invoices_by_id(&self, source_id: SourceId, ids: &[InvoiceId]) -> Result<Vec<Invoice>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!("SELECT record FROM invoices WHERE source_id = $1 AND id", (among 2 text), " ORDER BY id"),
                values![source_id, json!(ids).to_string()],
            )
            .await?;
        rows.iter().map(|row| row.json("record")).collect()
    }

    /// Which of these customers the mirror has.
    pub async fn known_customers(&self, source_id: SourceId, ids: &[CustomerId]) -> Result<Vec<CustomerId>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!("SELECT id FROM customers WHERE source_id = $1 AND id", (among 2 text)),
                values![source_id, json!(ids).to_string()],
            )
            .await?;
        rows.iter().map(|row| row.text("id").map(CustomerId)).collect()
    }
}

/// Each row once, the last of its id, in the order of the ids.
pub(crate) fn by_id<T: Clone, I: Ord>(rows: &[T], id: impl Fn(&T) -> &I) -> Vec<T> {
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (id(row), row)).collect();
    rows.into_values().cloned().collect()
}

/// The sync still has its source; its lease is prolonged.
async fn fence(tx: &mut Tx, sync: Sync) -> Result<(), LedgerError> {
    let now = tx.now().await?;
    crate::runs::guarded(
        tx.execute(
            sql!("UPDATE sources SET lease_expires_at = $3 WHERE id = $1 AND lease_owner = $2"),
            values![sync.source_id, sync.owner, now + SYNC_LEASE],
        )
        .await?,
    )
}

async fn end_sync(tx: &mut Tx, sync: Sync, complete: bool) -> Result<(), LedgerError> {
    let complete_at = complete.then_some(sync.began_at);
    let ended = tx
        .execute(
            sql!(
                "UPDATE sources SET lease_owner = NULL, lease_expires_at = NULL, complete_at = COALESCE(CAST($3 AS BIGINT), complete_at)
                 WHERE id = $1 AND lease_owner = $2"
            ),
            values![sync.source_id, sync.owner, complete_at],
        )
        .await?;
    crate::runs::guarded(ended)?;
    if complete {
        told::forget(tx, sync.source_id, sync.began_at).await?;
    }
    Ok(())
}
