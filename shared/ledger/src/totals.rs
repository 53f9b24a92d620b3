//! What customers owe in all, as the mirror has it: for notices that say it.

use crate::database::Tx;
use crate::error::LedgerError;
use regua_domain::ids::{CustomerId, SourceId};
use regua_domain::money::Centavos;
use regua_domain::variables::Totals;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};

/// What each customer of a set owes in all.
#[derive(Default)]
pub(crate) struct TotalsOf(HashMap<(SourceId, String), Totals>);

impl TotalsOf {
    /// Adds up the open invoices of these customers, of whatever due date.
    pub(crate) async fn load(tx: &mut Tx, customers: impl Iterator<Item = (SourceId, &CustomerId)>) -> Result<Self, LedgerError> {
        let wanted: BTreeSet<_> = customers.map(|(source, customer)| (source, &customer.0)).collect();
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let wanted: Vec<_> =
            wanted.iter().map(|(source, customer)| json!({"source_id": source, "customer_id": customer})).collect();
        let rows = tx
            .fetch(
                sql!(
                    "SELECT i.source_id, i.customer_id, CAST(COALESCE(SUM(i.open_amount), 0) AS BIGINT) AS open_amount, count(*) AS invoices FROM ",
                    (rows 1 r source_id: uuid, customer_id: text),
                    " JOIN invoices i ON i.source_id = r.source_id AND i.customer_id = r.customer_id WHERE i.is_open
                      GROUP BY i.source_id, i.customer_id"
                ),
                values![json!(wanted).to_string()],
            )
            .await?;
        let mut totals = HashMap::with_capacity(rows.len());
        for row in &rows {
            let of = Totals { open_amount: Centavos(row.int("open_amount")?), invoices: row.small("invoices")? };
            totals.insert((SourceId(row.id("source_id")?), row.text("customer_id")?), of);
        }
        Ok(Self(totals))
    }

    /// What one of them owes; `None` where it owes nothing, or wasn't asked for.
    pub(crate) fn of(&self, source: SourceId, customer: Option<&CustomerId>) -> Option<Totals> {
        self.0.get(&(source, customer?.0.clone())).copied()
    }
}
