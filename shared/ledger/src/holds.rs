//! Holds of our own: a person wants a customer or an invoice left alone to the end of a date.
//!
//! A hold is read where a message is decided, topped up and started; what it stops comes back when it is over. Lifted ones stay as a record.

use crate::Ledger;
use crate::audit::{self, Entry};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::{new_id, settings};
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::audit::Action;
use regua_domain::ids::{CustomerId, HoldId, InvoiceId, SourceId};
use regua_domain::switches::HoldKind;
use serde_json::json;
use std::collections::BTreeMap;

/// A hold to be set.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// The source's name; needed only where several sources have the id.
    pub source: Option<String>,
    /// Customer or invoice.
    pub kind: HoldKind,
    /// Its id in the ERP.
    pub subject: String,
    /// The last day, the provider's date.
    pub until_on: NaiveDate,
    /// Why.
    pub why: String,
    /// Who.
    pub set_by: String,
    /// Whether it may be set on an id that the mirror doesn't have (yet).
    pub even_if_unknown: bool,
}

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// The source's name.
    pub source: String,
    /// Customer or invoice.
    pub kind: HoldKind,
    /// Its id in the ERP.
    pub subject: String,
    /// The last day.
    pub until_on: NaiveDate,
    /// Why.
    pub why: String,
    /// Who set it.
    pub set_by: String,
    /// Since when.
    pub since_at: DateTime<Utc>,
}

/// What became of a hold to be set or lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldAnswer {
    /// It is in force, or lifted.
    Done {
        /// The source that it is of.
        source: String,
        /// The last day of the hold that it took the place of, or that was lifted.
        before: Option<NaiveDate>,
    },
    /// Its last day is over already.
    Past {
        /// The provider's date.
        today: NaiveDate,
    },
    /// No source that is switched on has this id in its mirror; to lift: nothing holds it.
    Unknown,
    /// There is no source of this name that is switched on.
    NoSource,
    /// Several sources could be meant.
    WhichSource {
        /// Their names.
        names: Vec<String>,
    },
}

/// The later of a row's `invoice_held_until` and `customer_held_until`.
pub(crate) fn held_until(row: &Row) -> Result<Option<NaiveDate>, LedgerError> {
    Ok(row.opt_date("invoice_held_until")?.max(row.opt_date("customer_held_until")?))
}

async fn today(tx: &mut Tx) -> Result<(NaiveDate, DateTime<Utc>), LedgerError> {
    let now = tx.now().await?;
    Ok((settings::load(tx).await?.times().date_at(now), now))
}

impl Ledger {
    /// Sets a hold; one on the same customer or invoice makes room, and stays as a record. It holds from the next top-up and start on.
    pub async fn set_hold(&self, hold: NewHold) -> Result<HoldAnswer, LedgerError> {
        self.db
            .write(move |tx| {
                let hold = hold.clone();
                Box::pin(async move { set(tx, &hold).await })
            })
            .await
    }

    /// Lifts the hold in force on a customer or an invoice; what it stopped may be decided afresh by the next run.
    pub async fn lift_hold(
        &self,
        source: Option<String>,
        kind: HoldKind,
        subject: String,
        by: String,
        why: String,
    ) -> Result<HoldAnswer, LedgerError> {
        self.db
            .write(move |tx| {
                let (source, subject, by, why) = (source.clone(), subject.clone(), by.clone(), why.clone());
                Box::pin(async move {
                    let (today, now) = today(tx).await?;
                    let rows = tx
                        .fetch(
                            sql!(
                                "SELECT h.id, h.until_on, s.name FROM holds h JOIN sources s ON s.id = h.source_id
                                 WHERE h.kind = $1 AND h.subject = $2 AND h.lifted_at IS NULL AND h.until_on >= $3 ORDER BY s.name"
                            ),
                            values![kind.as_str(), &subject, today],
                        )
                        .await?;
                    let mut found = Vec::new();
                    for row in &rows {
                        let name = row.text("name")?;
                        if source.as_ref().is_none_or(|wanted| *wanted == name) {
                            found.push((HoldId(row.id("id")?), name, row.date("until_on")?));
                        }
                    }
                    if found.len() > 1 {
                        return Ok(HoldAnswer::WhichSource { names: found.into_iter().map(|(_, name, _)| name).collect() });
                    }
                    let Some((id, source, until_on)) = found.pop() else { return Ok(HoldAnswer::Unknown) };
                    lift(tx, id, now, &by, &why).await?;
                    let (target, was) = (format!("{kind} {subject}"), Some(json!({ "until": until_on, "source": source })));
                    let (by, why) = (by.as_str(), Some(why.as_str()));
                    let entry = Entry { by, action: Action::HoldLifted, target: &target, why, was, became: None };
                    audit::note(tx, entry, now).await?;
                    Ok(HoldAnswer::Done { source, before: Some(until_on) })
                })
            })
            .await
    }

    /// A page of the holds in force, the oldest first, after `after`.
    pub async fn holds(&self, after: Option<HoldId>, limit: u32) -> Result<Vec<Hold>, LedgerError> {
        let mut tx = self.db.read().await?;
        let (today, _) = today(&mut tx).await?;
        let after = after.map_or(uuid::Uuid::nil(), |id| id.0);
        let rows = tx
            .fetch(
                sql!(
                    "SELECT h.*, s.name FROM holds h JOIN sources s ON s.id = h.source_id
                     WHERE h.lifted_at IS NULL AND h.until_on >= $1 AND h.id > $2 ORDER BY h.id LIMIT $3"
                ),
                values![today, after, limit],
            )
            .await?;
        rows.iter().map(read).collect()
    }

    /// The holds in force on an invoice and on its customer, the longest first.
    pub async fn holds_on(
        &self,
        source: SourceId,
        invoice: &InvoiceId,
        customer: Option<&CustomerId>,
    ) -> Result<Vec<Hold>, LedgerError> {
        let mut tx = self.db.read().await?;
        let (today, _) = today(&mut tx).await?;
        let customer = customer.map_or("", |id| id.0.as_str());
        let rows = tx
            .fetch(
                sql!(
                    "SELECT h.*, s.name FROM holds h JOIN sources s ON s.id = h.source_id
                     WHERE h.source_id = $1 AND h.lifted_at IS NULL AND h.until_on >= $2
                        AND ((h.kind = 'invoice' AND h.subject = $3) OR (h.kind = 'customer' AND h.subject = $4))
                     ORDER BY h.until_on DESC, h.id"
                ),
                values![source, today, &invoice.0, customer],
            )
            .await?;
        rows.iter().map(read).collect()
    }

    /// How many holds are in force, by what they hold.
    pub async fn holds_in_force(&self) -> Result<BTreeMap<HoldKind, u64>, LedgerError> {
        let mut tx = self.db.read().await?;
        let (today, _) = today(&mut tx).await?;
        let rows = tx
            .fetch(
                sql!("SELECT kind, count(*) AS n FROM holds WHERE lifted_at IS NULL AND until_on >= $1 GROUP BY kind"),
                values![today],
            )
            .await?;
        rows.iter().map(|row| Ok((row.named("kind", HoldKind::parse)?, row.count("n")?))).collect()
    }
}

fn read(row: &Row) -> Result<Hold, LedgerError> {
    Ok(Hold {
        id: HoldId(row.id("id")?),
        source: row.text("name")?,
        kind: row.named("kind", HoldKind::parse)?,
        subject: row.text("subject")?,
        until_on: row.date("until_on")?,
        why: row.text("why")?,
        set_by: row.text("set_by")?,
        since_at: row.instant("since_at")?,
    })
}

async fn set(tx: &mut Tx, hold: &NewHold) -> Result<HoldAnswer, LedgerError> {
    let (today, now) = today(tx).await?;
    if hold.until_on < today {
        return Ok(HoldAnswer::Past { today });
    }
    let (source_id, source) = match source_of(tx, hold).await? {
        Ok(source) => source,
        Err(answer) => return Ok(answer),
    };
    let open = tx
        .fetch_optional(
            sql!("SELECT id, until_on FROM holds WHERE source_id = $1 AND kind = $2 AND subject = $3 AND lifted_at IS NULL"),
            values![source_id, hold.kind.as_str(), &hold.subject],
        )
        .await?;
    let mut before = None;
    if let Some(row) = open {
        let until_on = row.date("until_on")?;
        before = Some(until_on).filter(|until_on| *until_on >= today);
        lift(tx, HoldId(row.id("id")?), now, &hold.set_by, if before.is_some() { "set anew" } else { "over" }).await?;
    }
    let set = tx
        .execute(
            sql!(
                "INSERT INTO holds (id, source_id, kind, subject, until_on, why, set_by, since_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING"
            ),
            values![new_id(), source_id, hold.kind.as_str(), &hold.subject, hold.until_on, &hold.why, &hold.set_by, now],
        )
        .await?;
    // Two people at once: the later one begins again and sees the other's.
    if set == 0 {
        return Err(LedgerError::Overtaken);
    }
    let target = format!("{} {}", hold.kind, hold.subject);
    let was = before.map(|until| json!({ "until": until, "source": source }));
    let became = Some(json!({ "until": hold.until_on, "source": source }));
    let (by, why) = (hold.set_by.as_str(), Some(hold.why.as_str()));
    audit::note(tx, Entry { by, action: Action::HoldSet, target: &target, why, was, became }, now).await?;
    Ok(HoldAnswer::Done { source, before })
}

/// The source that a hold is meant for, or why there is none.
async fn source_of(tx: &mut Tx, hold: &NewHold) -> Result<Result<(SourceId, String), HoldAnswer>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT s.id, s.name, CASE WHEN $1 = 'customer' THEN EXISTS (SELECT 1 FROM customers c WHERE c.source_id = s.id AND c.id = $2)
                        ELSE EXISTS (SELECT 1 FROM invoices i WHERE i.source_id = s.id AND i.id = $2) END AS knows
                 FROM sources s WHERE s.enabled ORDER BY s.name"
            ),
            values![hold.kind.as_str(), &hold.subject],
        )
        .await?;
    let mut sources = Vec::new();
    for row in &rows {
        let name = row.text("name")?;
        if hold.source.as_ref().is_none_or(|wanted| *wanted == name) {
            sources.push((SourceId(row.id("id")?), name, row.flag("knows")?));
        }
    }
    if sources.is_empty() && hold.source.is_some() {
        return Ok(Err(HoldAnswer::NoSource));
    }
    if sources.iter().any(|(_, _, knows)| *knows) || !hold.even_if_unknown {
        sources.retain(|(_, _, knows)| *knows);
    }
    if sources.len() > 1 {
        return Ok(Err(HoldAnswer::WhichSource { names: sources.into_iter().map(|(_, name, _)| name).collect() }));
    }
    Ok(sources.pop().map(|(id, name, _)| (id, name)).ok_or(HoldAnswer::Unknown))
}

async fn lift(tx: &mut Tx, id: HoldId, now: DateTime<Utc>, by: &str, why: &str) -> Result<(), LedgerError> {
    tx.execute(
        sql!("UPDATE holds SET lifted_at = $2, lifted_by = $3, lifted_why = $4 WHERE id = $1 AND lifted_at IS NULL"),
        values![id, now, by, why],
    )
    .await?;
    Ok(())
}
