//! How much is likely to be sent soon, for whoever compares it with what a channel may send.

use crate::Ledger;
use crate::database::Row;
use crate::error::LedgerError;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::admission::BUDGET_PERIOD;
use regua_domain::ids::{BusinessId, ChannelId};
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

/// What a channel may send, for a forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRoom {
    /// The channel.
    pub id: ChannelId,
    /// Its name.
    pub name: String,
    /// Messages per second; `None` is unlimited.
    pub per_second: Option<u32>,
    /// Messages of it that are held, scheduled, queued or being sent, and still live when they may go.
    pub waiting: u64,
    /// Of those, what waits for a send-queued-messages that hasn't come yet.
    pub unreleased: u64,
    /// Those that end before.
    pub ending: u64,
    /// Its business.
    pub business_id: BusinessId,
    /// Different recipients that the business may write to in any 24 hours; `None` is unlimited.
    pub recipients_per_24h: Option<u32>,
    /// Those that it wrote to in the last 24 hours.
    pub recipients_used: u64,
    /// Whether what is decided from now on waits for send-queued-messages.
    pub waits_for_task: bool,
}

impl Ledger {
    /// What each channel may send, and what it has to. What waits for send-queued-messages goes from `by_task` on, the rest from `at_once` on.
    pub async fn channel_rooms(&self, at_once: DateTime<Utc>, by_task: DateTime<Utc>) -> Result<Vec<ChannelRoom>, LedgerError> {
        let mut tx = self.db.read().await?;
        let now = tx.now().await?;
        let rows = tx
            .fetch(
                sql!(
                    "SELECT c.id, c.name, c.per_second, c.business_id, b.recipients_per_24h, i.release,
                            (SELECT CAST(COALESCE(SUM(u.recipients), 0) AS BIGINT) FROM budget_buckets u
                             WHERE u.business_id = c.business_id AND u.bucket_at > $1) AS used
                     FROM channels c JOIN businesses b ON b.id = c.business_id JOIN integrations i ON i.id = c.integration_id ORDER BY c.id"
                ),
                values![now - BUDGET_PERIOD],
            )
            .await?;
        let waiting = tx
            .fetch(
                sql!(
                    "SELECT w.channel_id, count(*) AS n,
                            CAST(SUM(CASE WHEN w.unreleased AND w.expires_at > $2 THEN 1 ELSE 0 END) AS BIGINT) AS unreleased,
                            CAST(SUM(CASE WHEN w.expires_at > CASE WHEN w.unreleased THEN CAST($2 AS BIGINT) ELSE CAST($1 AS BIGINT) END
                                     THEN 0 ELSE 1 END) AS BIGINT) AS ending
                     FROM (SELECT m.channel_id, m.expires_at, m.state = 'held' AND i.release = 'on-task'
                                  AND m.run_planned_at > COALESCE(i.released_through_at, m.run_planned_at - 1) AS unreleased
                           FROM messages m JOIN channels c ON c.id = m.channel_id JOIN integrations i ON i.id = c.integration_id WHERE m.",
                    live,
                    ") AS w GROUP BY w.channel_id"
                ),
                values![at_once, by_task],
            )
            .await?;
        let mut counts = HashMap::new();
        for row in &waiting {
            counts.insert(row.id("channel_id")?, (row.count("n")?, row.count("unreleased")?, row.count("ending")?));
        }
        let limit = |row: &Row, column| Ok::<_, LedgerError>(row.opt_int(column)?.and_then(|n| u32::try_from(n).ok()));
        rows.iter()
            .map(|row| {
                let id = row.id("id")?;
                let (waiting, unreleased, ending) = counts.get(&id).copied().unwrap_or_default();
                Ok(ChannelRoom {
                    id: ChannelId(id),
                    name: row.text("name")?,
                    per_second: limit(row, "per_second")?,
                    waiting: waiting - ending,
                    unreleased,
                    ending,
                    business_id: BusinessId(row.id("business_id")?),
                    recipients_per_24h: limit(row, "recipients_per_24h")?,
                    recipients_used: row.count("used")?,
                    waits_for_task: row.text("release")? != "immediate",
                })
            })
            .collect()
    }

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
