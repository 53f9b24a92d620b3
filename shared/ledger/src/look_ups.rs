//! Doubtful messages that are looked for at the provider: which are due, and what was found. A hit is evidence as a receipt is.
//!
//! Locks integrations → messages → attempts.

use crate::Ledger;
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::receipts::{self, About, NewReceipt, Received};
use crate::snapshot::json_ids;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::filling::Values;
use regua_domain::ids::{AttemptId, IntegrationId, MessageId};
use regua_domain::look_up::{Sought, next_look_after};
use regua_domain::phone;
use regua_domain::receipt::ReceiptStatus;
use regua_domain::variables::{fill, repeats_a_placeholder};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Messages that one look is for.
pub const SOUGHT_MAX: u32 = 10;
/// How long a look may take; after that another process takes the integration's next one.
pub const LOOK_MAX: TimeDelta = TimeDelta::minutes(5);
/// How long an integration isn't asked after a look.
const REST: TimeDelta = TimeDelta::seconds(15);
/// A message whose very words another one said to its phone within this time isn't looked for: a record would show either.
const TWIN_WITHIN: TimeDelta = TimeDelta::days(1);

/// Messages of one integration to be looked for now, by whoever took this and nobody else.
pub struct LookUp {
    /// The integration.
    pub integration: IntegrationId,
    /// What is looked for.
    pub sought: Vec<Sought>,
    /// How often each was looked for before.
    looks: HashMap<AttemptId, u32>,
}

/// A record that shows a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The message.
    pub message: MessageId,
    /// Its attempt.
    pub attempt: AttemptId,
    /// The record's id.
    pub record: String,
}

impl Ledger {
    /// Takes the doubtful messages of one integration that are due to be looked for; `None` if there are none anywhere. An attempt that may still
    /// report isn't looked for, nor is one whose text isn't certain.
    pub async fn take_look_up(&self) -> Result<Option<LookUp>, LedgerError> {
        let asked_for = sql!("SELECT 1 AS one FROM integrations WHERE look_up AND enabled LIMIT 1");
        if self.db.read().await?.fetch_optional(asked_for, vec![]).await?.is_none() {
            return Ok(None);
        }
        self.db.write(|tx| Box::pin(take(tx))).await
    }

    /// Notes what a look found. What was not found is looked for again later; a record that shows a message already, or two, proves nothing more.
    pub async fn note_look_up(&self, look_up: LookUp, hits: Vec<Hit>) -> Result<Received, LedgerError> {
        let noted = Arc::new((look_up, hits));
        self.db
            .write(move |tx| {
                let noted = Arc::clone(&noted);
                Box::pin(async move { note(tx, &noted.0, &noted.1).await })
            })
            .await
    }
}

async fn take(tx: &mut Tx) -> Result<Option<LookUp>, LedgerError> {
    let now = tx.now().await?;
    let integrations = tx
        .fetch(
            sql!(
                "SELECT id FROM integrations WHERE look_up AND enabled AND look_up_again_at <= $1 ORDER BY look_up_again_at, id",
                { postgres: " FOR NO KEY UPDATE SKIP LOCKED", sqlite: "" }
            ),
            values![now],
        )
        .await?;
    for row in &integrations {
        let integration = IntegrationId(row.id("id")?);
        let due = due(tx, integration, now).await?;
        let (sought, looks): (Vec<_>, Vec<_>) = due.into_iter().unzip();
        let again_at = now + if sought.is_empty() { REST } else { LOOK_MAX };
        rest(tx, integration, again_at).await?;
        if !sought.is_empty() {
            let looks = sought.iter().map(|sought| sought.attempt).zip(looks).collect();
            return Ok(Some(LookUp { integration, sought, looks }));
        }
    }
    Ok(None)
}

async fn rest(tx: &mut Tx, integration: IntegrationId, again_at: DateTime<Utc>) -> Result<(), LedgerError> {
    tx.execute(sql!("UPDATE integrations SET look_up_again_at = $2 WHERE id = $1"), values![integration, again_at]).await?;
    Ok(())
}

/// The messages to be looked for, and how often each was.
async fn due(tx: &mut Tx, integration: IntegrationId, now: DateTime<Utc>) -> Result<Vec<(Sought, u32)>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT m.id, a.id AS attempt_id, a.slot_at, a.lease_expires_at, a.looked_up, x.phone, x.provider_channel_id, x.variables, t.text
                 FROM messages m JOIN attempts a ON a.id = m.attempt_id JOIN channels c ON c.id = a.channel_id
                    JOIN message_texts x ON x.message_id = m.id
                    JOIN templates t ON t.integration_id = c.integration_id AND t.template_id = x.template_id
                 WHERE m.",
                unsettled,
                " AND m.state = 'in_doubt' AND NOT m.redirected AND c.integration_id = $1 AND t.text IS NOT NULL
                    AND (a.outcome IS NOT NULL OR a.lease_expires_at <= $2)
                    AND (a.looked_up = 0 OR a.look_up_at <= $2)
                    AND NOT EXISTS (SELECT 1 FROM message_texts y JOIN attempts b ON b.message_id = y.message_id
                        WHERE y.phone = x.phone AND y.message_id <> m.id AND y.variables = x.variables
                            AND b.slot_at BETWEEN a.slot_at - CAST($3 AS BIGINT) AND a.slot_at + CAST($3 AS BIGINT))
                 ORDER BY m.expires_at, m.id LIMIT $4"
            ),
            values![integration, now, TWIN_WITHIN.num_microseconds(), SOUGHT_MAX],
        )
        .await?;
    let (mut due, mut uncertain) = (Vec::new(), Vec::new());
    for row in &rows {
        match sought(row)? {
            Some(sought) => due.push((sought, row.small("looked_up")?)),
            None => uncertain.push(row.id("attempt_id")?),
        }
    }
    if !uncertain.is_empty() {
        // Never again, so that they stand in nobody's way.
        let done = sql!("UPDATE attempts SET looked_up = looked_up + 1, look_up_at = NULL WHERE id", (among 1 uuid));
        tx.execute(done, values![json_ids(uncertain.into_iter())]).await?;
    }
    Ok(due)
}

/// `None` for a message whose text at the provider isn't known for certain: a payment's, or one of a template that repeats a placeholder.
fn sought(row: &Row) -> Result<Option<Sought>, LedgerError> {
    let template = row.text("text")?;
    let Values::ByPosition(values) = row.json("variables")? else { return Ok(None) };
    if repeats_a_placeholder(&template) {
        return Ok(None);
    }
    let phone = phone::parse(&row.text("phone")?).map_err(|_| LedgerError::unreadable("phone", "no mobile number"))?;
    Ok(Some(Sought {
        message: MessageId(row.id("id")?),
        attempt: AttemptId(row.id("attempt_id")?),
        provider_channel_id: row.text("provider_channel_id")?,
        phone: phone.key(),
        text: fill(&template, &values),
        from_at: row.instant("slot_at")?,
        until_at: row.instant("lease_expires_at")?,
    }))
}

async fn note(tx: &mut Tx, look_up: &LookUp, hits: &[Hit]) -> Result<Received, LedgerError> {
    // One look of an integration is noted after the other, so that no two messages are proved by one record.
    tx.lock(sql!("SELECT id FROM integrations WHERE id = $1", for_update), values![look_up.integration]).await?;
    let now = tx.now().await?;
    rest(tx, look_up.integration, now + REST).await?;
    let known = known_records(tx, look_up.integration, hits).await?;
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for hit in hits {
        *seen.entry(hit.record.as_str()).or_default() += 1;
    }
    let proves = |hit: &&Hit| !known.contains(&hit.record) && seen.get(hit.record.as_str()) == Some(&1);
    let receipts: Vec<_> = hits.iter().filter(proves).map(|hit| receipt(look_up.integration, hit)).collect();
    // Before the attempts are written: messages are locked first.
    let received = receipts::receive(tx, &receipts).await?;
    note_looks(tx, look_up, now).await?;
    Ok(received)
}

fn receipt(integration_id: IntegrationId, hit: &Hit) -> NewReceipt {
    NewReceipt {
        integration_id,
        about: About::LookUp { message: hit.message, attempt: hit.attempt },
        status: ReceiptStatus::Sent,
        provider_id: Some(hit.record.clone()),
        provider_code: None,
        consequence: None,
        came_at: None,
    }
}

/// Which of the records that were hit are known to be some message's already.
async fn known_records(tx: &mut Tx, integration: IntegrationId, hits: &[Hit]) -> Result<HashSet<String>, LedgerError> {
    if hits.is_empty() {
        return Ok(HashSet::new());
    }
    let records: Vec<_> = hits.iter().map(|hit| &hit.record).collect();
    let rows = tx
        .fetch(
            sql!(
                "SELECT a.provider_id FROM attempts a JOIN channels c ON c.id = a.channel_id
                 WHERE c.integration_id = $2 AND a.provider_id IS NOT NULL AND a.provider_id",
                (among 1 text),
                " UNION SELECT r.provider_id FROM receipts r WHERE r.integration_id = $2 AND r.proved_by = 'look_up' AND r.provider_id",
                (among 1 text)
            ),
            values![json!(records).to_string(), integration],
        )
        .await?;
    rows.iter().map(|row| row.text("provider_id")).collect()
}

async fn note_looks(tx: &mut Tx, look_up: &LookUp, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let rows: Vec<_> = look_up
        .looks
        .iter()
        .map(|(attempt, looks)| {
            let looks = looks.saturating_add(1);
            json!({"id": attempt, "looks": looks, "next_at": next_look_after(looks).map(|after| (now + after).timestamp_micros())})
        })
        .collect();
    tx.execute(
        sql!(
            "UPDATE attempts SET looked_up = r.looks, look_up_at = r.next_at FROM ",
            (rows 1 r id: uuid, looks: bigint, next_at: bigint),
            " WHERE attempts.id = r.id"
        ),
        values![json!(rows).to_string()],
    )
    .await?;
    Ok(())
}
