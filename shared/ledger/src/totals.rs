//! What customers owe in all, as the mirror has it: for notices that say it.

use crate::database::{Row, Tx};
use crate::error::LedgerError;
use regua_domain::ids::{CustomerId, SourceId};
use regua_domain::money::Centavos;
use regua_domain::variables::Totals;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A row whose titles were all looked at by the source's last complete sync: one that fell out of its lists may be paid by now, and with it
/// nobody can say what the customer owes.
fn confirmed(row: &Row) -> Result<Option<&Row>, LedgerError> {
    Ok((row.count("unconfirmed")? == 0).then_some(row))
}

/// What each customer of a set owes in all.
#[derive(Default)]
pub(crate) struct TotalsOf(HashMap<(SourceId, String), Totals>);

impl TotalsOf {
    /// Adds up the open invoices of these customers, of whatever due date.
    pub(crate) async fn load(tx: &mut Tx, customers: impl Iterator<Item = (SourceId, &CustomerId)>) -> Result<Self, LedgerError> {
        let mut wanted: BTreeMap<SourceId, BTreeSet<&str>> = BTreeMap::new();
        for (source, customer) in customers {
            wanted.entry(source).or_default().insert(&customer.0);
        }
        let mut totals = HashMap::new();
        for (source, customers) in wanted {
            // Apart for each source, so that both databases go along the index of open invoices.
            let rows = tx
                .fetch(
                    sql!(
                        "SELECT i.customer_id, CAST(COALESCE(SUM(i.open_amount), 0) AS BIGINT) AS open_amount, count(*) AS invoices,
                                count(*) FILTER (WHERE i.observed_at < s.complete_at) AS unconfirmed
                         FROM sources s JOIN invoices i ON i.source_id = s.id
                         WHERE s.id = $2 AND i.is_open AND (i.told_at IS NULL OR i.told_at < i.observed_at) AND i.customer_id",
                        (among 1 text),
                        " GROUP BY i.customer_id"
                    ),
                    values![json!(customers).to_string(), source],
                )
                .await?;
            for row in rows.iter().filter_map(|row| confirmed(row).transpose()) {
                let row = row?;
                let of = Totals { open_amount: Centavos(row.int("open_amount")?), invoices: row.small("invoices")? };
                totals.insert((source, row.text("customer_id")?), of);
            }
        }
        Ok(Self(totals))
    }

    /// What one of them owes; `None` where it owes nothing, or wasn't asked for.
    pub(crate) fn of(&self, source: SourceId, customer: Option<&CustomerId>) -> Option<Totals> {
        self.0.get(&(source, customer?.0.clone())).copied()
    }
}
