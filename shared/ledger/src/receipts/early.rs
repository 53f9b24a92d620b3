//! Receipts that have only the provider's id and come before an attempt has it: the platform's webhook may be faster than the commit of its
//! answer. Who calls gets its 200 and doesn't come again, so they wait in the ledger, where a crash loses none, and are tried again: after 1 s
//! and then whenever they have grown three times as old, or two minutes older. Most are another sender's messages on the same platform: they go unmatched.

use super::{About, BATCH_MAX, Consequence, Name, NewReceipt, ReceiptAnswer, Received, receive};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::snapshot::json_ids;
use crate::{Ledger, new_id};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::ids::IntegrationId;
use regua_domain::receipt::ReceiptStatus;
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Early receipts that wait of each integration at once; the oldest give way.
pub const EARLY_MAX: usize = 4096;
/// How long one waits: until its attempt can't report any more, its lease and [`DOUBT_GRACE`](crate::doubt::DOUBT_GRACE) being over.
pub const EARLY_FOR: TimeDelta = TimeDelta::minutes(12);
/// How long it waits at most until it is tried again: what it may mean beyond its message, an opt-out, is late by so much.
const AGAIN_WITHIN: TimeDelta = TimeDelta::minutes(2);
/// How long it waits before it is tried again for the first time.
const FIRST_AFTER: TimeDelta = TimeDelta::seconds(1);

/// An early receipt whose turn it is.
struct Early {
    id: Uuid,
    received_at: DateTime<Utc>,
}

impl Ledger {
    /// Tries early receipts again whose turn it is, at most [`BATCH_MAX`]. Of those that still match nothing the answer is
    /// [`ReceiptAnswer::Early`], and at last [`ReceiptAnswer::Unmatched`]. `consequence` says what a failure's code means beyond its message.
    pub async fn receive_early(&self, consequence: fn(u32) -> Option<Consequence>) -> Result<Received, LedgerError> {
        let is_any = {
            let mut tx = self.db.read().await?;
            let now = tx.now().await?;
            tx.fetch_optional(sql!("SELECT id FROM early_receipts WHERE next_at <= $1 LIMIT 1"), values![now]).await?.is_some()
        };
        if !is_any {
            return Ok(Received::default());
        }
        self.db.write(move |tx| Box::pin(receive_due(tx, consequence))).await
    }
}

async fn receive_due(tx: &mut Tx, consequence: fn(u32) -> Option<Consequence>) -> Result<Received, LedgerError> {
    let now = tx.now().await?;
    let rows = tx
        .fetch(
            sql!(
                "SELECT * FROM early_receipts WHERE next_at <= $1 ORDER BY next_at LIMIT $2",
                { postgres: " FOR UPDATE SKIP LOCKED", sqlite: "" }
            ),
            values![now, BATCH_MAX],
        )
        .await?;
    let receipts = rows.iter().map(|row| read(row, consequence)).collect::<Result<Vec<_>, _>>()?;
    let early: Vec<Early> = rows
        .iter()
        .map(|row| Ok(Early { id: row.id("id")?, received_at: row.instant("received_at")? }))
        .collect::<Result<_, LedgerError>>()?;
    let mut received = receive(tx, &receipts).await?;
    let (mut again, mut over) = (Vec::new(), Vec::new());
    for (early, answer) in early.iter().zip(&mut received.answers) {
        if *answer == ReceiptAnswer::Unmatched && now < early.received_at + EARLY_FOR {
            *answer = ReceiptAnswer::Early;
            again.push(early.id);
        } else {
            over.push(early.id);
        }
    }
    tx.execute(
        sql!(
            "UPDATE early_receipts SET next_at = $2 + CASE WHEN 2 * ($2 - received_at) < $3 THEN 2 * ($2 - received_at) ELSE $3 END WHERE id",
            (among 1 uuid)
        ),
        values![json_ids(again.into_iter()), now, AGAIN_WITHIN.num_microseconds()],
    )
    .await?;
    tx.execute(sql!("DELETE FROM early_receipts WHERE id", (among 1 uuid)), values![json_ids(over.into_iter())]).await?;
    Ok(received)
}

fn read(row: &Row, consequence: fn(u32) -> Option<Consequence>) -> Result<NewReceipt, LedgerError> {
    let status = row.named("status", ReceiptStatus::parse)?;
    let code = row.opt_int("provider_code")?.and_then(|code| u32::try_from(code).ok());
    let provider_id = row.text("provider_id")?;
    Ok(NewReceipt {
        integration_id: IntegrationId(row.id("integration_id")?),
        about: About::ProviderId(provider_id.clone()),
        status,
        provider_id: Some(provider_id),
        provider_code: code,
        consequence: code.filter(|_| status == ReceiptStatus::Failed).and_then(consequence),
        came_at: Some(row.instant("received_at")?),
    })
}

/// Keeps those of a batch that come for the first time and are nobody's; how many others gave way. Before messages are locked, as [`receive_due`]
/// locks.
pub(super) async fn keep(tx: &mut Tx, batch: &[NewReceipt], names: &[Option<Name>]) -> Result<u64, LedgerError> {
    let early = batch.iter().zip(names).filter(|(receipt, name)| name.is_none() && receipt.came_at.is_none());
    let mut rows: Vec<_> = early
        .filter_map(|(receipt, _)| match &receipt.about {
            About::ProviderId(id) => Some((receipt.integration_id, id, receipt.status, receipt.provider_code)),
            About::Metadata { .. } | About::LookUp { .. } => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(0);
    }
    // In one order everywhere: two processes may keep the same ones.
    rows.sort_unstable();
    let integrations: BTreeSet<IntegrationId> = rows.iter().map(|row| row.0).collect();
    let row = |(integration, id, status, code): &(IntegrationId, &String, ReceiptStatus, Option<u32>)| json!({"id": new_id(), "integration_id": integration, "provider_id": id, "status": status, "provider_code": code});
    let rows: Vec<_> = rows.iter().map(row).collect();
    let now = tx.now().await?;
    tx.execute(
        sql!(
            "INSERT INTO early_receipts (id, integration_id, provider_id, status, provider_code, received_at, next_at)
             SELECT r.id, r.integration_id, r.provider_id, r.status, r.provider_code, $2, $3 FROM ",
            (rows 1 r id: uuid, integration_id: uuid, provider_id: text, status: text, provider_code: bigint),
            " WHERE true ON CONFLICT DO NOTHING"
        ),
        values![json!(rows).to_string(), now, now + FIRST_AFTER],
    )
    .await?;
    let mut dropped = 0;
    for integration in integrations {
        dropped += tx
            .execute(
                sql!(
                    "DELETE FROM early_receipts WHERE id IN
                        (SELECT id FROM early_receipts WHERE integration_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3)"
                ),
                values![integration, BATCH_MAX, EARLY_MAX],
            )
            .await?;
    }
    Ok(dropped)
}
