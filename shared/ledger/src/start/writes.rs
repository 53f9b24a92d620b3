//! The state changes of a batch, collected message by message and written together.

use super::{RecipientBefore, StartAnswer, StartBatch, Started, skip};
use crate::database::{Tx, micros};
use crate::error::LedgerError;
use crate::snapshot::Loaded;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::admission::Verdict;
use regua_domain::ids::{AttemptId, BusinessId, ChannelId, MessageId};
use serde_json::json;

pub(super) struct StartedRow {
    pub(super) message_id: MessageId,
    pub(super) attempt_id: AttemptId,
    pub(super) channel_id: ChannelId,
    pub(super) recipient: (BusinessId, String),
    pub(super) number: u32,
    pub(super) slot_at: DateTime<Utc>,
    pub(super) counted_on: Option<NaiveDate>,
    redirected: bool,
    pub(super) before: RecipientBefore,
}

/// The state changes of the batch.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) started: Vec<StartedRow>,
    pub(super) postponed: Vec<serde_json::Value>,
    pub(super) skipped: Vec<serde_json::Value>,
}

impl Writes {
    pub(super) fn note(
        &mut self,
        message: &Loaded,
        attempt_id: AttemptId,
        verdict: Verdict,
        before: &RecipientBefore,
        batch: &StartBatch,
        now: DateTime<Utc>,
    ) -> StartAnswer {
        match verdict {
            Verdict::Start { slot_at, is_paced, is_probe, counted_on, text } => {
                let number = message.attempts + 1;
                self.started.push(StartedRow {
                    message_id: message.id,
                    attempt_id,
                    channel_id: message.channel_id,
                    recipient: (message.business_id, message.phone_key.clone()),
                    number,
                    slot_at,
                    counted_on,
                    redirected: text.redirected,
                    before: before.clone(),
                });
                StartAnswer::Started(Box::new(Started {
                    attempt_id,
                    slot_at,
                    is_paced,
                    is_probe,
                    lease_expires_at: now + batch.lease,
                    expires_at: message.snapshot.expires_at,
                    number,
                    channel_id: message.channel_id,
                    integration_id: message.integration_id,
                    text,
                    after: message.attempt,
                    run_trace: message.run_trace.clone(),
                }))
            }
            Verdict::NoSlot { free_at } => StartAnswer::NoSlot { free_at },
            Verdict::Postpone { until, why, phone_slot_at } => {
                self.postponed.push(json!({
                    "id": message.id, "next_attempt_at": micros(until), "reason": why, "phone_slot_at": phone_slot_at.map(micros),
                }));
                StartAnswer::Postponed { why }
            }
            Verdict::Skip { why } => {
                self.skipped.push(json!({"id": message.id, "reason": why}));
                StartAnswer::Skipped { why }
            }
            Verdict::NotWaiting => StartAnswer::NotWaiting,
        }
    }

    pub(super) async fn store(&self, tx: &mut Tx, batch: &StartBatch, now: DateTime<Utc>) -> Result<(), LedgerError> {
        if !self.started.is_empty() {
            self.store_started(tx, batch, now).await?;
        }
        if !self.postponed.is_empty() {
            tx.execute(
                sql!(
                    "UPDATE messages SET state = 'scheduled', queued_at = NULL, next_attempt_at = r.next_attempt_at, reason = r.reason,
                            phone_slot_at = r.phone_slot_at, updated_at = $2
                     FROM ",
                    (rows 1 r id: uuid, next_attempt_at: bigint, reason: text, phone_slot_at: bigint),
                    " WHERE messages.id = r.id AND ",
                    (still "messages.state" "'queued', 'scheduled'")
                ),
                values![json!(self.postponed).to_string(), now],
            )
            .await?;
        }
        if !self.skipped.is_empty() {
            skip(tx, &self.skipped, now).await?;
        }
        Ok(())
    }

    pub(super) async fn store_started(&self, tx: &mut Tx, batch: &StartBatch, now: DateTime<Utc>) -> Result<(), LedgerError> {
        let rows: Vec<_> = self
            .started
            .iter()
            .map(|row| {
                json!({
                    "id": row.attempt_id, "message_id": row.message_id, "number": row.number, "channel_id": row.channel_id,
                    "slot_at": micros(row.slot_at), "counted_on": row.counted_on, "redirected": row.redirected,
                    "recipient_before": row.before,
                })
            })
            .collect();
        let (rows, lease) = (json!(rows).to_string(), now + batch.lease);
        tx.execute(
            sql!(
                "UPDATE messages SET state = 'sending', queued_at = NULL, next_attempt_at = NULL, reason = NULL, phone_slot_at = NULL,
                        attempts = r.number, attempt_id = r.id, lease_expires_at = $2, redirected = r.redirected, updated_at = $3
                 FROM ",
                (rows 1 r id: uuid, message_id: uuid, number: bigint, redirected: boolean),
                " WHERE messages.id = r.message_id AND ",
                (still "messages.state" "'queued', 'scheduled'")
            ),
            values![&rows, lease, now],
        )
        .await?;
        tx.execute(
            sql!(
                "INSERT INTO attempts (id, message_id, number, channel_id, dispatcher, slot_at, lease_expires_at, counted_on, recipient_before)
                 SELECT r.id, r.message_id, r.number, r.channel_id, $2, r.slot_at, $3, r.counted_on, r.recipient_before FROM ",
                (rows 1 r id: uuid, message_id: uuid, number: bigint, channel_id: uuid, slot_at: bigint, counted_on: text,
                 recipient_before: text),
                " WHERE true"
            ),
            values![rows, &batch.dispatcher, lease],
        )
        .await?;
        Ok(())
    }
}
