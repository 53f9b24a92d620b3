//! How much is likely to be sent soon, for whoever compares it with what a channel may send.

use crate::Ledger;
use crate::error::LedgerError;
use chrono::NaiveDate;
use std::collections::{BTreeSet, HashMap};

/// What waits, and what may fall due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Messages that are held, scheduled, queued or being sent, by the name of their channel.
    pub waiting: HashMap<String, u64>,
    /// Open invoices of sources that were ever synced, by due date, of the dates asked for.
    pub open_invoices: HashMap<NaiveDate, u64>,
    /// Whether any source was ever synced: without a mirror nothing is known of what falls due.
    pub is_known: bool,
}

impl Ledger {
    /// What waits by channel, and how many open invoices are due on these dates.
    pub async fn volume(&self, due_on: &BTreeSet<NaiveDate>) -> Result<Volume, LedgerError> {
        let mut tx = self.db.read().await?;
        let waiting = tx
            .fetch(
                sql!(
                    "SELECT c.name, count(*) AS n FROM messages m JOIN channels c ON c.id = m.channel_id WHERE ",
                    live,
                    " GROUP BY c.name"
                ),
                vec![],
            )
            .await?;
        let dates: Vec<String> = due_on.iter().map(ToString::to_string).collect();
        let open = tx
            .fetch(
                sql!(
                    "SELECT i.due_on, count(*) AS n FROM sources s JOIN invoices i ON i.source_id = s.id
                     WHERE s.enabled AND i.is_open AND i.due_on",
                    (among 1 text),
                    " GROUP BY i.due_on"
                ),
                values![serde_json::json!(dates).to_string()],
            )
            .await?;
        let synced =
            tx.fetch_one(sql!("SELECT count(*) AS n FROM sources WHERE enabled AND complete_at IS NOT NULL"), vec![]).await?;
        let mut volume = Volume { is_known: synced.count("n")? > 0, ..Volume::default() };
        for row in &waiting {
            volume.waiting.insert(row.text("name")?, row.count("n")?);
        }
        for row in &open {
            volume.open_invoices.insert(row.date("due_on")?, row.count("n")?);
        }
        Ok(volume)
    }
}
