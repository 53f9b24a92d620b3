//! The last look at the ERP: titles that are read once more, by their ids, just before their messages start.
//!
//! A top-up that meets a message whose title was looked at too long ago lets it wait and wants the look. An evaluator takes what is wanted, a
//! batch at a time, asks the ERP, and writes what it said into the mirror as a sync does; the messages are due again at once. The start asks
//! under its locks whether the look is young enough. While the ERP can't be asked, messages wait or do without, as the source says.

use crate::Ledger;
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::mirror::{MirrorCounts, Sync, by_id, rows};
use crate::snapshot::json_ids;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::admission::TitleLook;
use regua_domain::configuration::{LastLook, Unanswered};
use regua_domain::ids::{InvoiceId, SourceId};
use regua_domain::mirror::Invoice;
use regua_domain::stage::Stage;
use serde_json::{Value, json};
use uuid::Uuid;

/// What a message may need from its top-up to its start: a look that won't count so long is too old to be queued by.
pub const AHEAD: TimeDelta = TimeDelta::seconds(10);
/// Titles that are asked for in one look.
pub const BATCH_MAX: u32 = 200;
/// Looks of one source that may be wanted at once: beyond that its messages wait where they are, unread.
pub const WANTED_MAX: u32 = 1000;
/// How long a look that was taken has until another may take it.
const TAKEN_FOR: TimeDelta = TimeDelta::seconds(60);
/// How long the ERP is left alone after a look without an answer.
pub const AGAIN: TimeDelta = TimeDelta::seconds(30);

/// Looks in this process's hands.
#[derive(Clone, Debug)]
pub struct Look {
    /// The titles.
    pub titles: Vec<InvoiceId>,
    /// Under whose number their rows are written.
    of: Sync,
}

pub(crate) fn read(row: &Row) -> Result<Option<LastLook>, LedgerError> {
    if row.opt_int("last_look_s")?.is_none() {
        return Ok(None);
    }
    let unanswered = row.opt_named("last_look_unanswered", Unanswered::parse)?.unwrap_or(Unanswered::Hold);
    Ok(Some(LastLook { max_age_s: row.small("last_look_s")?, unanswered }))
}

/// The look at a message's title. A message about a customer has no title.
pub(crate) fn of_title(row: &Row, stage: Stage) -> Result<Option<TitleLook>, LedgerError> {
    let Some(LastLook { max_age_s, unanswered }) = read(row)?.filter(|_| stage != Stage::BureauRemoved) else { return Ok(None) };
    let looked_at = row.opt_instant("observed_at")?.unwrap_or(DateTime::UNIX_EPOCH);
    let again_at = row.opt_instant("look_again_at")?;
    Ok(Some(TitleLook {
        counts_until: looked_at + TimeDelta::seconds(i64::from(max_age_s)),
        does_without_until: again_at.filter(|_| unanswered == Unanswered::Send),
    }))
}

/// Wants titles to be read once more.
pub(crate) async fn want(tx: &mut Tx, titles: &[(SourceId, &InvoiceId)]) -> Result<(), LedgerError> {
    if titles.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = titles.iter().map(|(source, title)| json!({"source_id": source, "invoice_id": title})).collect();
    tx.execute(
        sql!(
            "INSERT INTO looks (source_id, invoice_id) SELECT DISTINCT r.source_id, r.invoice_id FROM ",
            (rows 1 r source_id: uuid, invoice_id: text),
            " WHERE true ORDER BY r.source_id, r.invoice_id ON CONFLICT DO NOTHING"
        ),
        values![json!(rows).to_string()],
    )
    .await?;
    Ok(())
}

impl Ledger {
    /// Takes some of a source's wanted looks; `None` while there are none that nobody has, or the ERP is left alone.
    pub async fn take_looks(&self, source_id: SourceId) -> Result<Option<Look>, LedgerError> {
        let is_any = self
            .db
            .read()
            .await?
            .fetch_optional(sql!("SELECT invoice_id FROM looks WHERE source_id = $1 LIMIT 1"), values![source_id])
            .await?;
        if is_any.is_none() {
            return Ok(None);
        }
        self.db.write(move |tx| Box::pin(take(tx, source_id))).await
    }

    /// Writes what the ERP said of a look's titles, as they were at `observed_at`, the ledger's clock before they were asked for. Messages about
    /// those are due at once; those of titles that it said nothing of are looked at again with their next top-up.
    pub async fn write_look(
        &self,
        look: Look,
        invoices: Vec<Invoice>,
        observed_at: DateTime<Utc>,
    ) -> Result<MirrorCounts, LedgerError> {
        self.db
            .write(move |tx| {
                let (look, invoices) = (look.clone(), by_id(&invoices, |invoice| &invoice.id));
                Box::pin(async move {
                    let counts = match invoices.as_slice() {
                        [] => MirrorCounts::default(),
                        invoices => rows::write_invoices(tx, look.of, invoices, observed_at).await?,
                    };
                    let seen: Vec<_> = invoices.iter().map(|invoice| &invoice.id).collect();
                    due_now(tx, look.of.source_id, &json!(seen)).await?;
                    forget(tx, look.of.source_id, &json!(look.titles)).await?;
                    Ok(counts)
                })
            })
            .await
    }

    /// Notes that the ERP gave no answer: it is left alone for a while, and nothing is wanted of it until then. Where the source does without,
    /// the messages that waited for a look are due at once; else they wait on.
    pub async fn looks_failed(&self, source_id: SourceId) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    let source = tx
                        .fetch_one(
                            sql!(
                                "UPDATE sources SET look_again_at = $2 WHERE id = $1 RETURNING last_look_s, last_look_unanswered"
                            ),
                            values![source_id, now + AGAIN],
                        )
                        .await?;
                    let rows = tx.fetch(sql!("SELECT invoice_id FROM looks WHERE source_id = $1"), values![source_id]).await?;
                    let titles = rows.iter().map(|row| row.text("invoice_id")).collect::<Result<Vec<_>, _>>()?;
                    if read(&source)?.is_none_or(|look| look.unanswered == Unanswered::Send) {
                        due_now(tx, source_id, &json!(titles)).await?;
                    }
                    forget(tx, source_id, &json!(titles)).await
                })
            })
            .await
    }
}

async fn take(tx: &mut Tx, source_id: SourceId) -> Result<Option<Look>, LedgerError> {
    let now = tx.now().await?;
    let source = tx
        .fetch_optional(
            sql!("SELECT generation FROM sources WHERE id = $1 AND (look_again_at IS NULL OR look_again_at <= $2)"),
            values![source_id, now],
        )
        .await?;
    let Some(source) = source else { return Ok(None) };
    let rows = tx
        .fetch(
            sql!(
                "UPDATE looks SET taken_until = $3 WHERE source_id = $1 AND invoice_id IN (SELECT invoice_id FROM looks
                    WHERE source_id = $1 AND taken_until <= $2 ORDER BY invoice_id LIMIT $4",
                { postgres: " FOR UPDATE SKIP LOCKED", sqlite: "" },
                ") RETURNING invoice_id"
            ),
            values![source_id, now, now + TAKEN_FOR, BATCH_MAX],
        )
        .await?;
    let titles = rows.iter().map(|row| row.text("invoice_id").map(InvoiceId)).collect::<Result<Vec<_>, _>>()?;
    if titles.is_empty() {
        return Ok(None);
    }
    // Rows get the number of the latest sync: one that begins later still looks at them.
    let of = Sync { source_id, owner: Uuid::nil(), generation: source.int("generation")?, is_baseline: false, began_at: now };
    Ok(Some(Look { titles, of }))
}

/// Messages that wait for a look at these titles are due now.
async fn due_now(tx: &mut Tx, source_id: SourceId, titles: &Value) -> Result<(), LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT id FROM messages WHERE source_id = $2 AND ",
                (still "state" "'held', 'scheduled'"),
                " AND reason = 'last_look' AND subject",
                (among 1 text),
                " ORDER BY id",
                for_update
            ),
            values![titles.to_string(), source_id],
        )
        .await?;
    let ids = rows.iter().map(|row| row.id("id")).collect::<Result<Vec<_>, _>>()?;
    let now = tx.now().await?;
    tx.execute(
        sql!("UPDATE messages SET next_attempt_at = $2, reason = NULL, updated_at = $2 WHERE id", (among 1 uuid)),
        values![json_ids(ids.into_iter()), now],
    )
    .await?;
    Ok(())
}

async fn forget(tx: &mut Tx, source_id: SourceId, titles: &Value) -> Result<(), LedgerError> {
    tx.execute(
        sql!("DELETE FROM looks WHERE source_id = $2 AND invoice_id", (among 1 text)),
        values![titles.to_string(), source_id],
    )
    .await?;
    Ok(())
}
