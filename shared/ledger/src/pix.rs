//! Pix codes that the ERP was asked for, beside the invoices that lack one.

use crate::Ledger;
use crate::database::Row;
use crate::error::LedgerError;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::ids::{InvoiceId, SourceId};
use regua_domain::mirror::Invoice;
use regua_domain::money::Centavos;
use serde_json::json;

/// What the ERP said of an invoice's Pix.
#[derive(Clone)]
pub struct PixAnswer {
    /// The invoice.
    pub invoice_id: InvoiceId,
    /// What was owed of it when it was asked: with another amount the code is another charge's.
    pub open_amount: Centavos,
    /// The code; empty when there is none.
    pub code: String,
    /// The last day on which it can be paid, if the ERP says.
    pub expires_on: Option<NaiveDate>,
}

impl Ledger {
    /// Notes what the ERP said at `asked_at`, the ledger's clock before the requests were issued.
    pub async fn note_pix(
        &self,
        source_id: SourceId,
        answers: Vec<PixAnswer>,
        asked_at: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        if answers.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = answers
            .iter()
            .map(|answer| {
                json!({"id": answer.invoice_id, "code": answer.code, "amount": answer.open_amount, "expires_on": answer.expires_on})
            })
            .collect();
        let rows = json!(rows).to_string();
        self.db
            .write(move |tx| {
                let rows = rows.clone();
                Box::pin(async move {
                    tx.execute(
                        sql!(
                            "UPDATE invoices SET pix_code = r.code, pix_amount = r.amount, pix_expires_on = r.expires_on, pix_asked_at = $3 FROM ",
                            (rows 1 r id: text, code: text, amount: bigint, expires_on: text),
                            " WHERE invoices.source_id = $2 AND invoices.id = r.id AND (invoices.pix_asked_at IS NULL OR invoices.pix_asked_at < $3)"
                        ),
                        values![rows, source_id, asked_at],
                    )
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}

/// Puts the code that the ERP gave into an invoice whose record has none, if it holds still on `today`. The row has the columns `pix_…`.
pub(crate) fn add_code(row: &Row, invoice: &mut Invoice, today: NaiveDate) -> Result<(), LedgerError> {
    if invoice.pix_code.is_empty() && holds(row, invoice, today)? {
        invoice.pix_code = row.opt_text("pix_code")?.unwrap_or_default();
    }
    Ok(())
}

/// When the ERP was asked for a code that still holds on `today`, or said that there is none; `None` if it shall be asked.
pub(crate) fn asked_at(row: &Row, invoice: &Invoice, today: NaiveDate) -> Result<Option<DateTime<Utc>>, LedgerError> {
    let holds = holds(row, invoice, today)?;
    Ok(row.opt_instant("pix_asked_at")?.filter(|_| holds))
}

/// Whether what the ERP said is of what is owed now, and can be paid on `today`.
fn holds(row: &Row, invoice: &Invoice, today: NaiveDate) -> Result<bool, LedgerError> {
    let is_of_now = row.opt_int("pix_amount")? == Some(invoice.open_amount.0);
    Ok(is_of_now && row.opt_date("pix_expires_on")?.is_none_or(|last| today <= last))
}
