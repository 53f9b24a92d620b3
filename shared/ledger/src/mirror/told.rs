//! What the ERP's webhook tells of titles ahead of the next sync.
//!
//! The title's record stays what the ERP's list said. Beside it stands what was told, and when; that holds until a look at the title whose
//! request was issued later says otherwise, so an older page of a sync doesn't undo it. Of a title that the mirror doesn't have it waits, and goes with
//! the title into the mirror; a complete sync that began later ends it, for it has looked. Events, as the thanks for a payment, come from syncs alone.

use crate::Ledger;
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::start::skip;
use chrono::{DateTime, Utc};
use regua_domain::ids::{InvoiceId, SourceId};
use regua_domain::mirror::{Invoice, Told};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Titles that one transaction takes.
pub const TOLD_MAX: usize = 500;
/// Titles of a source that the mirror doesn't have and of which it is kept what was told: what was told first gives way.
pub const EARLY_MAX: usize = 10_000;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldAnswer {
    /// Titles of which it is noted.
    pub noted: u64,
    /// Messages that were waiting and are skipped now.
    pub skipped: u64,
    /// Titles that the mirror doesn't have: what was told of them waits for them.
    pub unknown: BTreeSet<InvoiceId>,
    /// What was told of others and waited, and gave way.
    pub dropped: u64,
}

impl Ledger {
    /// Notes what became of titles, and skips what waits to be said about them. What is being sent goes on.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] for more than [`TOLD_MAX`] titles.
    pub async fn tell(&self, source_id: SourceId, told: BTreeMap<InvoiceId, Told>) -> Result<ToldAnswer, LedgerError> {
        if told.len() > TOLD_MAX {
            return Err(LedgerError::Refused(format!("{} titles are more than one call takes: {TOLD_MAX}", told.len())));
        }
        let told = Arc::new(told);
        self.db
            .write(move |tx| {
                let told = Arc::clone(&told);
                Box::pin(async move { tell(tx, source_id, &told).await })
            })
            .await
    }
}

/// A row's title with what was told of it since the row's look; the column `told` is NULL where nothing was.
pub(crate) fn with_what_was_told(row: &Row, invoice: Invoice) -> Result<Invoice, LedgerError> {
    Ok(match row.opt_named("told", Told::parse)? {
        Some(told) => invoice.after(told),
        None => invoice,
    })
}

async fn tell(tx: &mut Tx, source_id: SourceId, told: &BTreeMap<InvoiceId, Told>) -> Result<ToldAnswer, LedgerError> {
    let ids = json!(told.keys().collect::<Vec<_>>()).to_string();
    let in_mirror = sql!("SELECT id FROM invoices WHERE source_id = $1 AND id", (among 2 text));
    if tx.fetch(in_mirror, values![source_id, &ids]).await?.len() < told.len() {
        // A sync writes under this lock: a title that it brings meanwhile is seen below, or finds there what is kept here.
        tx.lock(sql!("SELECT id FROM sources WHERE id = $1", for_update), values![source_id]).await?;
    }
    let known = tx
        .fetch(
            sql!("SELECT id FROM invoices WHERE source_id = $1 AND id", (among 2 text), " ORDER BY id", for_update),
            values![source_id, &ids],
        )
        .await?;
    let mut answer = ToldAnswer { unknown: told.keys().cloned().collect(), ..ToldAnswer::default() };
    for row in &known {
        answer.unknown.remove(&InvoiceId(row.text("id")?));
    }
    let messages = tx
        .fetch(
            sql!(
                "SELECT id, subject FROM messages WHERE source_id = $1 AND due_on IS NOT NULL AND ",
                (still "state" "'held', 'scheduled', 'queued', 'sending'"),
                " AND subject",
                (among 2 text),
                " ORDER BY id",
                for_update
            ),
            values![source_id, &ids],
        )
        .await?;
    let now = tx.now().await?;
    let rows: Vec<_> = told.iter().map(|(id, told)| json!({"id": id, "told": told})).collect();
    answer.noted = tx
        .execute(
            sql!(
                "UPDATE invoices SET told = r.told, told_at = $3 FROM ",
                (rows 1 r id: text, told: text),
                " WHERE invoices.source_id = $2 AND invoices.id = r.id"
            ),
            values![json!(rows).to_string(), source_id, now],
        )
        .await?;
    let unknown = told.iter().filter(|(id, _)| answer.unknown.contains(id));
    answer.dropped = keep(tx, source_id, unknown, now).await?;
    let mut waiting = Vec::with_capacity(messages.len());
    for row in &messages {
        // The skip's reason has the same name.
        if let Some(told) = told.get(&InvoiceId(row.text("subject")?)) {
            waiting.push(json!({"id": row.id("id")?, "reason": told}));
        }
    }
    answer.skipped = skip(tx, &waiting, now).await?;
    Ok(answer)
}

/// Keeps what was told of titles that the mirror doesn't have; how much of what was told before gave way.
async fn keep(
    tx: &mut Tx,
    source_id: SourceId,
    told: impl Iterator<Item = (&InvoiceId, &Told)>,
    now: DateTime<Utc>,
) -> Result<u64, LedgerError> {
    let rows: Vec<_> = told.map(|(id, told)| json!({"id": id, "told": told})).collect();
    if rows.is_empty() {
        return Ok(0);
    }
    tx.execute(
        sql!(
            "INSERT INTO early_told (source_id, invoice_id, told, told_at) SELECT $2, r.id, r.told, $3 FROM ",
            (rows 1 r id: text, told: text),
            " WHERE true ON CONFLICT (source_id, invoice_id) DO UPDATE SET told = excluded.told, told_at = excluded.told_at"
        ),
        values![json!(rows).to_string(), source_id, now],
    )
    .await?;
    tx.execute(
        sql!(
            "DELETE FROM early_told WHERE source_id = $1 AND invoice_id IN (SELECT invoice_id FROM early_told WHERE source_id = $1
                ORDER BY told_at DESC, invoice_id LIMIT $2 OFFSET $3)"
        ),
        values![source_id, TOLD_MAX, EARLY_MAX],
    )
    .await
}

/// Puts what was told of these titles into the mirror, which has them now. As for any other title, it counts until a look that was asked for later.
pub(super) async fn enter(tx: &mut Tx, source_id: SourceId, ids: &str) -> Result<(), LedgerError> {
    let early = tx
        .fetch(
            sql!(
                "DELETE FROM early_told WHERE source_id = $1 AND invoice_id",
                (among 2 text),
                " RETURNING invoice_id, told, told_at"
            ),
            values![source_id, ids],
        )
        .await?;
    if early.is_empty() {
        return Ok(());
    }
    let row = |row: &Row| Ok(json!({"id": row.text("invoice_id")?, "told": row.text("told")?, "told_at": row.int("told_at")?}));
    let rows = early.iter().map(row).collect::<Result<Vec<_>, LedgerError>>()?;
    tx.execute(
        sql!(
            "UPDATE invoices SET told = r.told, told_at = r.told_at FROM ",
            (rows 1 r id: text, told: text, told_at: bigint),
            " WHERE invoices.source_id = $2 AND invoices.id = r.id AND (invoices.told_at IS NULL OR invoices.told_at < r.told_at)"
        ),
        values![json!(rows).to_string(), source_id],
    )
    .await?;
    Ok(())
}

/// Ends what was told of titles before a sync began that is complete now and hasn't found them.
pub(super) async fn forget(tx: &mut Tx, source_id: SourceId, began_at: DateTime<Utc>) -> Result<(), LedgerError> {
    tx.execute(sql!("DELETE FROM early_told WHERE source_id = $1 AND told_at < $2"), values![source_id, began_at]).await?;
    Ok(())
}
