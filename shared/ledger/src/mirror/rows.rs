//! Rows of the mirror. Most are as they were at the last look: of those only the look is noted, and their records are neither parsed nor
//! written again.

use super::{MirrorCounts, Sync, told};
use crate::database::{Row, Sql, Tx, micros};
use crate::error::LedgerError;
use crate::restored::{LostPeriod, lost_period};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use regua_domain::events::{self, Event, Looks};
use regua_domain::mirror::{Customer, Invoice};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;

/// A row's record as it stands in the mirror, and when it was looked at.
struct Known {
    record: String,
    observed_at: DateTime<Utc>,
}

/// A row with the text of its record.
type Written<'a, T> = (&'a T, String);

/// Writes customers, each id once and in their order, with what happened to their listings.
pub(super) async fn write_customers(
    tx: &mut Tx,
    sync: Sync,
    customers: &[Customer],
    observed_at: DateTime<Utc>,
) -> Result<MirrorCounts, LedgerError> {
    let customers = texts(customers)?;
    let ids = json!(customers.iter().map(|(customer, _)| &customer.id).collect::<Vec<_>>()).to_string();
    let sql = sql!(
        "SELECT id, record, observed_at FROM customers WHERE source_id = $1 AND observed_at < $3 AND id",
        (among 2 text),
        " ORDER BY id",
        for_update
    );
    let known = known(tx, sync, sql, &ids, observed_at).await?;
    let (same, changed): (Vec<_>, Vec<_>) =
        customers.into_iter().partition(|(customer, text)| is_same(&known, &customer.id.0, text));
    let found = if sync.is_baseline { Vec::new() } else { unlisted_customers(tx, sync, &changed, observed_at).await? };
    let mut written = upsert_customers(tx, sync, &changed, observed_at).await?;
    if !same.is_empty() {
        let ids: Vec<_> = same.iter().map(|(customer, _)| &customer.id).collect();
        written += tx
            .execute(
                sql!("UPDATE customers SET observed_at = $3 WHERE source_id = $1 AND observed_at < $3 AND id", (among 2 text)),
                values![sync.source_id, json!(ids).to_string(), observed_at],
            )
            .await?;
    }
    let events = crate::events::write(tx, sync.source_id, &found, observed_at).await?;
    Ok(MirrorCounts { written, events })
}

/// Writes invoices, each id once and in their order, with what happened to them.
pub(crate) async fn write_invoices(
    tx: &mut Tx,
    sync: Sync,
    invoices: &[Invoice],
    observed_at: DateTime<Utc>,
) -> Result<MirrorCounts, LedgerError> {
    let invoices = texts(invoices)?;
    let ids = json!(invoices.iter().map(|(invoice, _)| &invoice.id).collect::<Vec<_>>()).to_string();
    let sql = sql!(
        "SELECT id, record, observed_at FROM invoices WHERE source_id = $1 AND observed_at < $3 AND id",
        (among 2 text),
        " ORDER BY id",
        for_update
    );
    let known = known(tx, sync, sql, &ids, observed_at).await?;
    let (same, changed): (Vec<_>, Vec<_>) =
        invoices.into_iter().partition(|(invoice, text)| is_same(&known, &invoice.id.0, text));
    let found = if known.is_empty() { Vec::new() } else { changed_invoices(tx, &known, &changed, observed_at).await? };
    let mut written = upsert_invoices(tx, sync, &changed, observed_at).await?;
    if !same.is_empty() {
        let ids: Vec<_> = same.iter().map(|(invoice, _)| &invoice.id).collect();
        written += tx
            .execute(
                sql!(
                    "UPDATE invoices SET observed_at = $3, generation = $4 WHERE source_id = $1 AND observed_at < $3 AND id",
                    (among 2 text)
                ),
                values![sync.source_id, json!(ids).to_string(), observed_at, sync.generation],
            )
            .await?;
    }
    told::enter(tx, sync.source_id, &ids).await?;
    let events = crate::events::write(tx, sync.source_id, &found, observed_at).await?;
    Ok(MirrorCounts { written, events })
}

fn texts<T: Serialize>(rows: &[T]) -> Result<Vec<Written<'_, T>>, LedgerError> {
    let unreadable = |_| LedgerError::unreadable("mirror", "a record that is no JSON");
    rows.iter().map(|row| Ok((row, serde_json::to_string(row).map_err(unreadable)?))).collect()
}

/// Whether the mirror has this very record. What a row derives from it (`is_open` and the like) is right then too; a migration that changes such a
/// rule must rewrite the rows, for no sync does.
fn is_same(known: &HashMap<String, Known>, id: &str, text: &str) -> bool {
    known.get(id).is_some_and(|known| known.record == text)
}

/// What the mirror has of these ids and looked at before `observed_at`, by `sql`, locked in their order. A first look is not among it.
async fn known(
    tx: &mut Tx,
    sync: Sync,
    sql: Sql,
    ids: &str,
    observed_at: DateTime<Utc>,
) -> Result<HashMap<String, Known>, LedgerError> {
    if sync.is_baseline {
        return Ok(HashMap::new());
    }
    let rows = tx.fetch(sql, values![sync.source_id, ids, observed_at]).await?;
    let known =
        |row: &Row| Ok((row.text("id")?, Known { record: row.text("record")?, observed_at: row.instant("observed_at")? }));
    rows.iter().map(known).collect()
}

/// The provider's calendar, and what the ledger has lost of it.
struct Days {
    zone: Tz,
    lost: Option<LostPeriod>,
}

impl Days {
    async fn load(tx: &mut Tx) -> Result<Self, LedgerError> {
        Ok(Self { zone: crate::settings::load(tx).await?.window.zone, lost: lost_period(tx).await? })
    }

    /// The dates of two looks.
    fn looks(&self, before_at: DateTime<Utc>, after_at: DateTime<Utc>) -> Looks {
        let date = |at: DateTime<Utc>| at.with_timezone(&self.zone).date_naive();
        let before_on = date(before_at);
        let lost = self.lost.filter(|lost| before_on <= lost.until_on);
        Looks { before_on, after_on: date(after_at), lost_until_on: lost.map(|lost| lost.until_on) }
    }
}

/// What happened to invoices since the mirror's last look at them.
async fn changed_invoices(
    tx: &mut Tx,
    known: &HashMap<String, Known>,
    changed: &[Written<'_, Invoice>],
    observed_at: DateTime<Utc>,
) -> Result<Vec<(String, Event)>, LedgerError> {
    let days = Days::load(tx).await?;
    let mut found = Vec::new();
    for (after, _) in changed {
        let Some(known) = known.get(&after.id.0) else { continue };
        let before: Invoice = serde_json::from_str(&known.record)
            .map_err(|_| LedgerError::unreadable("invoices.record", "a record of no version of Régua"))?;
        let event = events::between(&before, after, days.looks(known.observed_at, observed_at));
        found.extend(event.map(|event| (after.id.0.clone(), event)));
    }
    Ok(found)
}

/// The customers who were negatively listed when that was last known, and are no more.
async fn unlisted_customers(
    tx: &mut Tx,
    sync: Sync,
    customers: &[Written<'_, Customer>],
    observed_at: DateTime<Utc>,
) -> Result<Vec<(String, Event)>, LedgerError> {
    let unlisted = customers.iter().filter(|(customer, _)| customer.negatively_listed == Some(false));
    let ids: Vec<_> = unlisted.map(|(customer, _)| &customer.id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let days = Days::load(tx).await?;
    let rows = tx
        .fetch(
            sql!(
                "SELECT id, observed_at FROM customers WHERE source_id = $1 AND is_listed AND observed_at < $3 AND id",
                (among 2 text),
                " ORDER BY id",
                for_update
            ),
            values![sync.source_id, json!(ids).to_string(), observed_at],
        )
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let looks = days.looks(row.instant("observed_at")?, observed_at);
        let event = events::between_listings(Some(true), Some(false), looks);
        found.extend(event.map(|event| Ok::<_, LedgerError>((row.text("id")?, event))).transpose()?);
    }
    Ok(found)
}

/// What isn't known of a listing leaves what was known.
async fn upsert_customers(
    tx: &mut Tx,
    sync: Sync,
    customers: &[Written<'_, Customer>],
    observed_at: DateTime<Utc>,
) -> Result<u64, LedgerError> {
    if customers.is_empty() {
        return Ok(0);
    }
    let rows: Vec<_> = customers
        .iter()
        .map(|(customer, record)| json!({"id": customer.id, "record": record, "is_listed": customer.negatively_listed}))
        .collect();
    tx.execute(
        sql!(
            "INSERT INTO customers (source_id, id, record, observed_at, is_listed)
             SELECT $2, r.id, r.record, $3, COALESCE(r.is_listed, c.is_listed, $4) FROM ",
            (rows 1 r id: text, record: text, is_listed: boolean),
            " LEFT JOIN customers c ON c.source_id = $2 AND c.id = r.id
              WHERE true ON CONFLICT (source_id, id) DO UPDATE SET record = excluded.record, observed_at = excluded.observed_at,
                     is_listed = excluded.is_listed
              WHERE customers.observed_at < excluded.observed_at"
        ),
        values![json!(rows).to_string(), sync.source_id, observed_at, false],
    )
    .await
}

async fn upsert_invoices(
    tx: &mut Tx,
    sync: Sync,
    invoices: &[Written<'_, Invoice>],
    observed_at: DateTime<Utc>,
) -> Result<u64, LedgerError> {
    if invoices.is_empty() {
        return Ok(0);
    }
    let rows: Vec<_> = invoices
        .iter()
        .map(|(invoice, record)| {
            json!({
                "id": invoice.id, "customer_id": invoice.customer_id, "is_open": invoice.is_open(), "due_on": invoice.due_on,
                "open_amount": invoice.open_amount, "record": record, "renegotiation_id": invoice.renegotiation_id,
            })
        })
        .collect();
    tx.execute(
        sql!(
            "INSERT INTO invoices (source_id, id, customer_id, is_open, due_on, open_amount, record, observed_at, generation, renegotiation_id)
             SELECT $2, r.id, r.customer_id, r.is_open, r.due_on, r.open_amount, r.record, $3, $4, r.renegotiation_id FROM ",
            (rows 1 r id: text, customer_id: text, is_open: boolean, due_on: text, open_amount: bigint, record: text, renegotiation_id: text),
            " WHERE true ON CONFLICT (source_id, id) DO UPDATE SET customer_id = excluded.customer_id, is_open = excluded.is_open,
                     due_on = excluded.due_on, open_amount = excluded.open_amount, record = excluded.record, observed_at = excluded.observed_at,
                     generation = excluded.generation, renegotiation_id = excluded.renegotiation_id
              WHERE invoices.observed_at < excluded.observed_at"
        ),
        values![json!(rows).to_string(), sync.source_id, micros(observed_at), sync.generation],
    )
    .await
}
