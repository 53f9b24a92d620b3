//! Who may call webhooks, and what was not understood of what they said.

use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::{Ledger, new_id};
use chrono::{DateTime, Utc};
use regua_domain::configuration::SecretRef;
use regua_domain::ids::{IntegrationId, SourceId};
use serde::Serialize;
use serde_json::json;
use std::collections::{HashMap, HashSet};

/// Samples that are kept of each integration: the newest.
pub const SAMPLES_MAX: usize = 20;

/// Receipts that are looked through for the last of each integration: the newest.
const RECEIPTS_MAX: u32 = 10_000;

/// Who calls a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// An Opa! Suite, with receipts.
    Integration(IntegrationId),
    /// An ERP, with payments.
    Source(SourceId),
}

/// A webhook that has a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Who calls it.
    pub caller: Caller,
    /// The integration's or source's name: the last part of its path.
    pub name: String,
    /// Where its secret is found.
    pub secret: SecretRef,
}

/// A body that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSample {
    /// Who said it.
    pub integration_id: IntegrationId,
    /// Why it is kept, as a closed name.
    pub why: &'static str,
    /// Its shape, without anybody's data.
    pub shape: String,
}

/// The same as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The integration's name.
    pub integration: String,
    /// Why it is kept.
    pub why: String,
    /// Its shape.
    pub shape: String,
    /// When the first of this shape came.
    pub received_at: DateTime<Utc>,
}

impl Ledger {
    /// Every webhook that has a secret. An integration that is switched off still tells what becomes of what it was given before.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, LedgerError> {
        let mut tx = self.db.read().await?;
        let integrations =
            tx.fetch(sql!("SELECT id, name, webhook_secret FROM integrations WHERE webhook_secret IS NOT NULL"), vec![]).await?;
        let sources = tx
            .fetch(sql!("SELECT id, name, webhook_secret FROM sources WHERE enabled AND webhook_secret IS NOT NULL"), vec![])
            .await?;
        let webhook = |row: &Row, caller| Ok(Webhook { caller, name: row.text("name")?, secret: row.json("webhook_secret")? });
        let integrations = integrations.iter().map(|row| webhook(row, Caller::Integration(IntegrationId(row.id("id")?))));
        let sources = sources.iter().map(|row| webhook(row, Caller::Source(SourceId(row.id("id")?))));
        integrations.chain(sources).collect()
    }

    /// When each caller was last heard of something that was understood. Of integrations only those among the newest receipts; the rest
    /// have said nothing for long, or never.
    pub async fn webhooks_heard(&self) -> Result<HashMap<Caller, DateTime<Utc>>, LedgerError> {
        let mut tx = self.db.read().await?;
        let receipts = tx
            .fetch(
                sql!(
                    "SELECT integration_id AS id, MAX(received_at) AS heard_at FROM
                        (SELECT integration_id, received_at FROM receipts WHERE proved_by <> 'look_up' ORDER BY id DESC LIMIT $1) newest
                     GROUP BY integration_id"
                ),
                values![RECEIPTS_MAX],
            )
            .await?;
        let told = tx
            .fetch(
                sql!(
                    "SELECT s.id, MAX(i.told_at) AS heard_at FROM sources s JOIN invoices i ON i.source_id = s.id
                     WHERE s.enabled AND s.webhook_secret IS NOT NULL AND i.told_at IS NOT NULL GROUP BY s.id"
                ),
                vec![],
            )
            .await?;
        let receipts =
            receipts.iter().map(|row| Ok((Caller::Integration(IntegrationId(row.id("id")?)), row.instant("heard_at")?)));
        let told = told.iter().map(|row| Ok((Caller::Source(SourceId(row.id("id")?)), row.instant("heard_at")?)));
        receipts.chain(told).collect()
    }

    /// Keeps what was not understood: of each integration the newest [`SAMPLES_MAX`] that differ.
    pub async fn keep_samples(&self, samples: Vec<NewSample>) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let samples = samples.clone();
                Box::pin(async move { keep(tx, &samples).await })
            })
            .await
    }

    /// What was not understood, the newest first.
    pub async fn webhook_samples(&self) -> Result<Vec<Sample>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT i.name, s.why, s.shape, s.received_at FROM webhook_samples s JOIN integrations i ON i.id = s.integration_id
                     ORDER BY s.id DESC LIMIT 1000"
                ),
                vec![],
            )
            .await?;
        let sample = |row: &Row| {
            Ok(Sample {
                integration: row.text("name")?,
                why: row.text("why")?,
                shape: row.text("shape")?,
                received_at: row.instant("received_at")?,
            })
        };
        rows.iter().map(sample).collect()
    }
}

async fn keep(tx: &mut Tx, samples: &[NewSample]) -> Result<(), LedgerError> {
    let now = tx.now().await?;
    let integrations: HashSet<IntegrationId> = samples.iter().map(|sample| sample.integration_id).collect();
    for integration in integrations {
        let rows = tx.fetch(sql!("SELECT shape FROM webhook_samples WHERE integration_id = $1"), values![integration]).await?;
        let mut known: HashSet<String> = rows.iter().map(|row| row.text("shape")).collect::<Result<_, _>>()?;
        let own = samples.iter().filter(|sample| sample.integration_id == integration);
        let rows: Vec<_> = own
            .filter(|sample| known.insert(sample.shape.clone()))
            .map(|sample| json!({"id": new_id(), "why": sample.why, "shape": sample.shape}))
            .collect();
        if rows.is_empty() {
            continue;
        }
        tx.execute(
            sql!(
                "INSERT INTO webhook_samples (id, integration_id, why, shape, received_at) SELECT r.id, $2, r.why, r.shape, $3 FROM ",
                (rows 1 r id: uuid, why: text, shape: text),
                " WHERE true"
            ),
            values![json!(rows).to_string(), integration, now],
        )
        .await?;
        tx.execute(
            sql!(
                "DELETE FROM webhook_samples WHERE integration_id = $1 AND id NOT IN
                    (SELECT id FROM webhook_samples WHERE integration_id = $1 ORDER BY id DESC LIMIT $2)"
            ),
            values![integration, SAMPLES_MAX],
        )
        .await?;
    }
    Ok(())
}
