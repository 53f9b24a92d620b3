//! What the ERP's webhook tells of titles ahead of the next sync.
//!
//! The title's record stays what the ERP's list said. Beside it stands what was told, and when; that holds until a look at the title whose
//! request was issued later says otherwise, so an older page of a sync doesn't undo it. Events, as the thanks for a payment, come from syncs alone.

use crate::Ledger;
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::start::skip;
use regua_domain::ids::{InvoiceId, SourceId};
use regua_domain::mirror::{Invoice, Told};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Titles that one transaction takes.
pub const TOLD_MAX: usize = 500;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldAnswer {
    /// Titles of which it is noted.
    pub noted: u64,
    /// Messages that were waiting and are skipped now.
    pub skipped: u64,
    /// Titles that the mirror doesn't have.
    pub unknown: BTreeSet<InvoiceId>,
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
                live,
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
