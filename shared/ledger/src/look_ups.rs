//! Doubtful messages that are looked for at the provider: which are due, and what was found. A hit is evidence as a receipt is.
//!
//! Locks integrations → messages → attempts.

use crate::Ledger;
use crate::database::{Row, Tx, micros};
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
/// How long an integration isn't asked after a look, and how long it isn't looked whether there is one.
const REST: TimeDelta = TimeDelta::seconds(30);
/// A message whose very words another one may have said to its phone within this time isn't looked for: a record would show either.
const TWIN_WITHIN: TimeDelta = TimeDelta::days(1);

/// Messages of one integration to be looked for now, by whoever took this and nobody else.
pub struct LookUp {
    /// The integration.
    pub integration: IntegrationId,
    /// What is looked for.
    pub sought: Vec<Sought>,
    /// How often each was looked for before.
    looks: HashMap<AttemptId, u32>,
    /// Until when nobody else takes the integration's next look.
    until_at: DateTime<Utc>,
}

/// A message that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    /// The message.
    pub message: MessageId,
    /// Its attempt.
    pub attempt: AttemptId,
    /// The id of the record that shows it.
    pub record: Option<String>,
}

impl Ledger {
    /// Takes the doubtful messages that are due to be looked for of one of these integrations; `None` if there are none. An attempt that has neither
    /// ended nor outlived its lease isn't looked for, nor is a message whose text isn't certain.
    pub async fn take_look_up(&self, among: &[IntegrationId]) -> Result<Option<LookUp>, LedgerError> {
        let asked_for = sql!("SELECT 1 AS one FROM integrations WHERE look_up AND enabled LIMIT 1");
        if self.db.read().await?.fetch_optional(asked_for, vec![]).await?.is_none() {
            return Ok(None);
        }
        let among = Arc::new(json_ids(among.iter().map(|id| id.0)));
        self.db
            .write(move |tx| {
                let among = Arc::clone(&among);
                Box::pin(async move { take(tx, &among).await })
            })
            .await
    }

    /// Notes what a look found. What was looked for and not found is looked for again later, what it didn't come to is due still. A record that
    /// shows a message already, or two, proves nothing more.
    pub async fn note_look_up(&self, look_up: LookUp, searched: Vec<Searched>) -> Result<Received, LedgerError> {
        let noted = Arc::new((look_up, searched));
        self.db
            .write(move |tx| {
                let noted = Arc::clone(&noted);
                Box::pin(async move { note(tx, &noted.0, &noted.1).await })
            })
            .await
    }
}

async fn take(tx: &mut Tx, among: &str) -> Result<Option<LookUp>, LedgerError> {
    let now = tx.now().await?;
    let integrations = tx
        .fetch(
            sql!(
                "SELECT id FROM integrations WHERE look_up AND enabled AND look_up_again_at <= $2 AND id",
                (among 1 uuid),
                " ORDER BY look_up_again_at, id",
                { postgres: " FOR NO KEY UPDATE SKIP LOCKED", sqlite: "" }
            ),
            values![among, now],
        )
        .await?;
    for row in &integrations {
        let integration = IntegrationId(row.id("id")?);
        let due = due(tx, integration, now).await?;
        let (sought, looks): (Vec<_>, Vec<_>) = due.into_iter().unzip();
        let until_at = now + if sought.is_empty() { REST } else { LOOK_MAX };
        tx.execute(sql!("UPDATE integrations SET look_up_again_at = $2 WHERE id = $1"), values![integration, until_at]).await?;
        if !sought.is_empty() {
            let looks = sought.iter().map(|sought| sought.attempt).zip(looks).collect();
            return Ok(Some(LookUp { integration, sought, looks, until_at }));
        }
    }
    Ok(None)
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
                    AND (a.looked_up = 0 OR a.look_up_at <= $2) AND m.reason <> 'restored'
                    AND (t.accepted_at IS NULL OR t.accepted_at <= a.slot_at) AND NOT ",
                (twin 3),
                " ORDER BY m.expires_at, m.id LIMIT $4"
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

/// `None` for a message whose text at the provider isn't known for certain: a payment's, or one of a template that repeats a placeholder. One that
/// can't be read is none, too: it must not keep the others from being looked for.
fn sought(row: &Row) -> Result<Option<Sought>, LedgerError> {
    let template = row.text("text")?;
    let (Ok(Values::ByPosition(values)), Ok(phone)) = (row.json("variables"), phone::parse(&row.text("phone")?)) else {
        return Ok(None);
    };
    if repeats_a_placeholder(&template) {
        return Ok(None);
    }
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

async fn note(tx: &mut Tx, look_up: &LookUp, searched: &[Searched]) -> Result<Received, LedgerError> {
    // One look of an integration is noted after the other, so that no two messages are proved by one record.
    tx.lock(sql!("SELECT id FROM integrations WHERE id = $1", for_update), values![look_up.integration]).await?;
    let now = tx.now().await?;
    tx.execute(
        sql!("UPDATE integrations SET look_up_again_at = $2 WHERE id = $1 AND look_up_again_at = $3"),
        values![look_up.integration, now + REST, look_up.until_at],
    )
    .await?;
    let hits: Vec<_> = searched.iter().filter_map(|found| Some((found, found.record.as_deref()?))).collect();
    let receipts = if hits.is_empty() { Vec::new() } else { proofs(tx, look_up.integration, &hits).await? };
    // Before the attempts are written: messages are locked first.
    let received = receipts::receive(tx, &receipts).await?;
    note_looks(tx, look_up, searched, now).await?;
    Ok(received)
}

/// What the hits prove: not what a record shows that is some message's already or shows two, nor what has got a twin since it was taken.
async fn proofs(tx: &mut Tx, integration_id: IntegrationId, hits: &[(&Searched, &str)]) -> Result<Vec<NewReceipt>, LedgerError> {
    let known = known_records(tx, integration_id, hits).await?;
    let alone = without_twin(tx, hits).await?;
    let mut shown: HashMap<&str, u32> = HashMap::new();
    for (_, record) in hits {
        *shown.entry(record).or_default() += 1;
    }
    let proves = |(found, record): &&(&Searched, &str)| {
        !known.contains(*record) && shown.get(record) == Some(&1) && alone.contains(&found.attempt)
    };
    let receipt = |(found, record): &(&Searched, &str)| NewReceipt {
        integration_id,
        about: About::LookUp { message: found.message, attempt: found.attempt },
        status: ReceiptStatus::Sent,
        provider_id: Some((*record).to_owned()),
        provider_code: None,
        consequence: None,
        came_at: None,
    };
    Ok(hits.iter().filter(proves).map(receipt).collect())
}

/// Which of the records that were hit are known to be some message's already.
async fn known_records(
    tx: &mut Tx,
    integration: IntegrationId,
    hits: &[(&Searched, &str)],
) -> Result<HashSet<String>, LedgerError> {
    let records: Vec<_> = hits.iter().map(|(_, record)| record).collect();
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

async fn without_twin(tx: &mut Tx, hits: &[(&Searched, &str)]) -> Result<HashSet<AttemptId>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT a.id FROM attempts a JOIN message_texts x ON x.message_id = a.message_id WHERE NOT ",
                (twin 2),
                " AND a.id",
                (among 1 uuid)
            ),
            values![json_ids(hits.iter().map(|(found, _)| found.attempt.0)), TWIN_WITHIN.num_microseconds()],
        )
        .await?;
    rows.iter().map(|row| row.id("id").map(AttemptId)).collect()
}

async fn note_looks(tx: &mut Tx, look_up: &LookUp, searched: &[Searched], now: DateTime<Utc>) -> Result<(), LedgerError> {
    let row = |found: &Searched| {
        let looks = look_up.looks.get(&found.attempt).copied().unwrap_or_default().saturating_add(1);
        json!({"id": found.attempt, "looks": looks, "next_at": next_look_after(looks).map(|after| micros(now + after))})
    };
    let rows: Vec<_> = searched.iter().map(row).collect();
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
