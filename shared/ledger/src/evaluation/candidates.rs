//! What the evaluator reads: pages of open invoices, with all that a decision about each asks for.

use crate::Ledger;
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::mirror::told::with_what_was_told;
use crate::people::{opted_out, phone_key_of};
use crate::runs::Cursor;
use crate::totals::TotalsOf;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use regua_domain::consent::Reach;
use regua_domain::decide::Known;
use regua_domain::ids::{ChannelId, InvoiceId, MessageId, SourceId};
use regua_domain::message::{DoubtReason, FailReason, SkipReason, State};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::pilot::Pilot;
use regua_domain::stage::Stage;
use regua_domain::variables::Totals;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};

/// An invoice that may be due for a stage.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The invoice.
    pub invoice: Invoice,
    /// Its customer, if the mirror has it.
    pub customer: Option<Customer>,
    /// The messages that exist for it.
    pub known: Vec<Known>,
    /// The last day of the longest hold on it or its customer; it may be over.
    pub held_until: Option<NaiveDate>,
    /// The channels through which its customer asked not to be written to.
    pub opted_out: BTreeSet<ChannelId>,
    /// What the customer owes in all, where that was asked for.
    pub totals: Option<Totals>,
    /// When the ERP was last asked for its Pix code, if that holds still.
    pub pix_asked_at: Option<DateTime<Utc>>,
}

impl Candidate {
    /// What holds, consent and the pilot leave of a message about it.
    pub const fn reach<'a>(&'a self, pilot: &'a Pilot) -> Reach<'a> {
        Reach { opted_out: &self.opted_out, held_until: self.held_until, pilot }
    }

    const fn consent(&mut self) -> (Option<&Customer>, &mut BTreeSet<ChannelId>) {
        (self.customer.as_ref(), &mut self.opted_out)
    }
}

impl Ledger {
    /// A page of open invoices due between two dates, after the cursor, in the order of due date and id. Those that nobody looked at since
    /// `looked_at_after` are left out: nothing is decided from what no sync confirmed. `with_totals` where a notice says what customers owe in all.
    pub async fn candidates(
        &self,
        source_id: SourceId,
        due: (NaiveDate, NaiveDate),
        looked_at_after: DateTime<Utc>,
        after: Option<&Cursor>,
        limit: u32,
        with_totals: bool,
    ) -> Result<Vec<Candidate>, LedgerError> {
        let mut tx = self.db.read().await?;
        let (after_on, after_id) = match after {
            Some(cursor) => (cursor.due_on, cursor.invoice_id.clone()),
            None => (due.0, String::new()),
        };
        let rows = tx
            .fetch(
                sql!(
                    "SELECT i.record AS invoice, CASE WHEN i.told_at >= i.observed_at THEN i.told END AS told, i.pix_code, i.pix_amount, i.pix_expires_on, i.pix_asked_at, c.record AS customer, hi.until_on AS invoice_held_until, hc.until_on AS customer_held_until
                     FROM invoices i LEFT JOIN customers c ON c.source_id = i.source_id AND c.id = i.customer_id
                     LEFT JOIN holds hi ON hi.source_id = i.source_id AND hi.kind = 'invoice' AND hi.subject = i.id AND hi.lifted_at IS NULL
                     LEFT JOIN holds hc ON hc.source_id = i.source_id AND hc.kind = 'customer' AND hc.subject = i.customer_id
                        AND hc.lifted_at IS NULL
                     WHERE i.source_id = $1 AND i.is_open AND i.due_on >= $2 AND i.due_on <= $3 AND (i.due_on, i.id) > ($4, $5)
                        AND i.observed_at > $7
                     ORDER BY i.due_on, i.id LIMIT $6"
                ),
                values![source_id, due.0, due.1, after_on, after_id, limit, looked_at_after],
            )
            .await?;
        let zone = crate::settings::load(&mut tx).await?.window.zone;
        let today = tx.now().await?.with_timezone(&zone).date_naive();
        let mut candidates = rows.iter().map(|row| read_candidate(row, today)).collect::<Result<Vec<_>, LedgerError>>()?;
        let ids: Vec<_> = candidates.iter().map(|candidate| &candidate.invoice.id).collect();
        let mut known = known_messages(&mut tx, source_id, &ids, zone).await?;
        for candidate in &mut candidates {
            candidate.known = known.remove(&candidate.invoice.id.0).unwrap_or_default();
        }
        ask_consent(&mut tx, candidates.iter_mut().map(Candidate::consent)).await?;
        if with_totals {
            let customers = candidates.iter().filter_map(|candidate| Some((source_id, candidate.invoice.customer_id.as_ref()?)));
            let totals = TotalsOf::load(&mut tx, customers).await?;
            for candidate in &mut candidates {
                candidate.totals = totals.of(source_id, candidate.invoice.customer_id.as_ref());
            }
        }
        Ok(candidates)
    }

    /// An invoice by its id in the ERP, of whatever state, from each enabled source that has one.
    pub async fn candidates_by_id(&self, invoice_id: &InvoiceId) -> Result<Vec<(SourceId, Candidate)>, LedgerError> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .fetch(
                sql!(
                    "SELECT s.id AS source_id, i.record AS invoice, CASE WHEN i.told_at >= i.observed_at THEN i.told END AS told, i.pix_code, i.pix_amount, i.pix_expires_on, i.pix_asked_at, c.record AS customer, hi.until_on AS invoice_held_until,
                            hc.until_on AS customer_held_until FROM sources s
                     JOIN invoices i ON i.source_id = s.id AND i.id = $1
                     LEFT JOIN customers c ON c.source_id = i.source_id AND c.id = i.customer_id
                     LEFT JOIN holds hi ON hi.source_id = i.source_id AND hi.kind = 'invoice' AND hi.subject = i.id AND hi.lifted_at IS NULL
                     LEFT JOIN holds hc ON hc.source_id = i.source_id AND hc.kind = 'customer' AND hc.subject = i.customer_id
                        AND hc.lifted_at IS NULL
                     WHERE s.enabled ORDER BY s.id"
                ),
                values![&invoice_id.0],
            )
            .await?;
        let zone = crate::settings::load(&mut tx).await?.window.zone;
        let today = tx.now().await?.with_timezone(&zone).date_naive();
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let source_id = SourceId(row.id("source_id")?);
            let mut known = known_messages(&mut tx, source_id, &[invoice_id], zone).await?;
            let mut candidate = read_candidate(row, today)?;
            candidate.known = known.remove(&invoice_id.0).unwrap_or_default();
            let customer = candidate.invoice.customer_id.as_ref();
            let totals = TotalsOf::load(&mut tx, customer.into_iter().map(|customer| (source_id, customer))).await?;
            candidate.totals = totals.of(source_id, customer);
            found.push((source_id, candidate));
        }
        ask_consent(&mut tx, found.iter_mut().map(|(_, candidate)| candidate.consent())).await?;
        Ok(found)
    }
}

/// A row's invoice and customer. A Pix code that the ERP was asked for stands in the invoice as if it were its own, while it holds on `today`.
fn read_candidate(row: &Row, today: NaiveDate) -> Result<Candidate, LedgerError> {
    let mut invoice: Invoice = row.json("invoice")?;
    let pix_asked_at = crate::pix::asked_at(row, &invoice, today)?;
    if pix_asked_at.is_some() {
        crate::pix::add_code(row, &mut invoice, today)?;
    }
    Ok(Candidate {
        invoice: with_what_was_told(row, invoice)?,
        customer: row.opt_json("customer")?,
        known: Vec::new(),
        held_until: crate::holds::held_until(row)?,
        opted_out: BTreeSet::new(),
        totals: None,
        pix_asked_at,
    })
}

/// Finds out which of the customers asked not to be written to, through which channels, and notes it beside each.
pub(crate) async fn ask_consent<'a>(
    tx: &mut Tx,
    candidates: impl Iterator<Item = (Option<&'a Customer>, &'a mut BTreeSet<ChannelId>)>,
) -> Result<(), LedgerError> {
    let of_phone: Vec<_> = candidates.filter_map(|(customer, channels)| Some((phone_key_of(customer?)?, channels))).collect();
    let opted_out = opted_out(tx, &of_phone.iter().map(|(phone_key, _)| phone_key.clone()).collect()).await?;
    for (phone_key, channels) in of_phone {
        *channels = opted_out.get(&phone_key).cloned().unwrap_or_default();
    }
    Ok(())
}

/// The provider's date on which a message was last begun. What a restored backup left in doubt may have been sent any time up to the
/// restoration, and what has no attempt up to its last change.
fn begun_on(row: &Row, may_have_arrived: bool, zone: Tz) -> Result<Option<NaiveDate>, LedgerError> {
    let (begun_at, changed_at) = (row.opt_instant("begun_at")?, row.opt_instant("updated_at")?);
    let is_restored = row.opt_text("reason")?.as_deref() == Some(DoubtReason::Restored.as_str());
    let begun_at = match may_have_arrived {
        true if is_restored => changed_at,
        true => begun_at.or(changed_at),
        false => begun_at,
    };
    Ok(begun_at.map(|at| at.with_timezone(&zone).date_naive()))
}

async fn known_messages(
    tx: &mut Tx,
    source_id: SourceId,
    ids: &[&InvoiceId],
    zone: Tz,
) -> Result<HashMap<String, Vec<Known>>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT id, subject, stage, due_on, state, reason, CASE WHEN NOT redirected THEN updated_at END AS updated_at,
                        CASE WHEN NOT redirected THEN
                            (SELECT MAX(a.slot_at) FROM attempts a WHERE a.message_id = messages.id
                                AND (COALESCE(messages.reason, '') <> 'doubt_expired' OR COALESCE(a.outcome, 'doubt') = 'doubt')) END AS begun_at
                 FROM messages WHERE source_id = $1 AND stage <> 'bureau_removed' AND subject",
                (among 2 text)
            ),
            values![source_id, json!(ids).to_string()],
        )
        .await?;
    let mut known: HashMap<String, Vec<Known>> = HashMap::new();
    for row in &rows {
        known.entry(row.text("subject")?).or_default().push(known_of(row, zone)?);
    }
    Ok(known)
}

/// A message as a decision sees it.
pub(crate) fn known_of(row: &Row, zone: Tz) -> Result<Known, LedgerError> {
    let state = row.named("state", State::parse)?;
    let mut known = Known {
        id: MessageId(row.id("id")?),
        stage: row.named("stage", Stage::parse)?,
        due_on: row.opt_date("due_on")?,
        state,
        skip_reason: if state == State::Skipped { row.opt_named("reason", SkipReason::parse)? } else { None },
        fail_reason: fail_reason(row, state)?,
        begun_on: None,
    };
    known.begun_on = begun_on(row, known.may_have_arrived(), zone)?;
    Ok(known)
}

/// Why a message failed, if it did.
pub(crate) fn fail_reason(row: &Row, state: State) -> Result<Option<FailReason>, LedgerError> {
    if state == State::Failed { row.opt_named("reason", FailReason::parse) } else { Ok(None) }
}
