//! *finish*: attempt, state and counters in ONE transaction, fenced by the attempt id (K4).

use crate::budgets::BucketChanges;
use crate::database::{Tx, from_micros, micros};
use crate::error::LedgerError;
use crate::frequency::People;
use crate::gates;
use crate::snapshot::json_ids;
use crate::start::RecipientBefore;
use crate::{Ledger, doubt};
use chrono::{DateTime, Utc};
use regua_domain::ids::{AttemptId, BusinessId, ChannelId, MessageId};
use regua_domain::message::{DeferReason, State};
use regua_domain::settlement::Settlement;
use serde_json::json;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Attempts that one finish may settle.
pub const BATCH_MAX: usize = 256;

/// What is known of an attempt when it has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The message.
    pub message_id: MessageId,
    /// The attempt: only its own result settles it.
    pub attempt_id: AttemptId,
    /// What becomes of the message.
    pub settlement: Settlement,
    /// The HTTP status, if an answer came.
    pub http_status: Option<u16>,
    /// The provider's own code, if the answer held one.
    pub provider_code: Option<String>,
    /// Milliseconds from the request to its end.
    pub latency_ms: u64,
}

/// What a finish did to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishAnswer {
    /// The message moved.
    Settled,
    /// The message counts as sent, by a receipt or a person, and this doesn't say otherwise: the attempt's record is written.
    Confirmed,
    /// The message had moved on: the attempt's record is written unless it has a definite result, the state stays.
    Late,
    /// The attempt has this very result already: a finish whose commit had no known outcome was repeated.
    Repeated,
    /// The ledger has no such attempt.
    Unknown,
}

impl Ledger {
    /// Records how attempts ended. Evidence beats doubt: a definite result settles `in_doubt` as it settles `sending`.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] for more than [`BATCH_MAX`] results.
    pub async fn finish(&self, batch: Vec<Finished>) -> Result<Vec<(AttemptId, FinishAnswer)>, LedgerError> {
        if batch.len() > BATCH_MAX {
            return Err(LedgerError::Refused(format!("{} results are more than one finish takes: {BATCH_MAX}", batch.len())));
        }
        let batch = Arc::new(batch);
        self.db
            .write(move |tx| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { finish(tx, &batch).await })
            })
            .await
    }

    /// Pauses a channel for every dispatcher at once, never shortening a pause; its own transaction, before *finish*.
    pub async fn pause_channel(&self, channel: ChannelId, until: DateTime<Utc>, why: DeferReason) -> Result<(), LedgerError> {
        self.db.write(move |tx| Box::pin(async move { gates::pause(tx, channel, until, why.as_str()).await })).await
    }
}

async fn finish(tx: &mut Tx, batch: &[Finished]) -> Result<Vec<(AttemptId, FinishAnswer)>, LedgerError> {
    let mut batch: Vec<&Finished> = batch.iter().collect();
    batch.sort_by_key(|finished| finished.message_id);
    let attempts = json_ids(batch.iter().map(|finished| finished.attempt_id.0));
    // What was sent, or may have been, stays counted as its start counted it.
    let unsent: Vec<AttemptId> = batch.iter().filter(|f| f.settlement.proves_unsent()).map(|f| f.attempt_id).collect();
    let mut people = People::default();
    if !unsent.is_empty() {
        lock_what_is_counted(tx, &json_ids(unsent.iter().map(|id| id.0))).await?;
        people = People::lock_of_attempts(tx, &unsent).await?;
    }
    let ids = json_ids(batch.iter().map(|finished| finished.message_id.0));
    tx.lock(sql!("SELECT id FROM messages WHERE id", (among 1 uuid), " ORDER BY id", for_update), values![ids]).await?;
    let now = tx.now().await?;
    let mut settled = HashSet::with_capacity(batch.len());
    for group in [true, false] {
        let members: Vec<&Finished> = batch.iter().copied().filter(|finished| proves(finished) == group).collect();
        if !group {
            let doubtful: Vec<_> = members.iter().map(|f| json!({"id": f.message_id, "attempt_id": f.attempt_id})).collect();
            doubt::settle_by_receipts(tx, &doubtful, false, now).await?;
        }
        settled.extend(move_messages(tx, &members, group, now).await?);
    }
    let outcomes = if settled.len() == batch.len() { HashMap::new() } else { outcomes(tx, &attempts).await? };
    let confirmed = confirm(tx, batch.iter().copied().filter(|finished| !settled.contains(&finished.attempt_id))).await?;
    record_attempts(tx, &batch, now).await?;
    let put_back: Vec<AttemptId> = unsent.into_iter().filter(|attempt| settled.contains(attempt)).collect();
    put_recipients_back(tx, &put_back).await?;
    people.take_back(tx, &put_back).await?;
    let answer = |finished: &&Finished| {
        let id = finished.attempt_id;
        let answer = match outcomes.get(&id) {
            _ if settled.contains(&id) => FinishAnswer::Settled,
            Some(Some(before)) if before == finished.settlement.outcome() => FinishAnswer::Repeated,
            Some(_) if confirmed.contains(&id) => FinishAnswer::Confirmed,
            Some(_) => FinishAnswer::Late,
            None => FinishAnswer::Unknown,
        };
        (id, answer)
    };
    Ok(batch.iter().map(answer).collect())
}

/// The attempts whose messages count as sent already, for a receipt came before this answer, which doesn't contradict it: the messages get the
/// provider's id, if it is told. Runs nothing where there is no such answer.
async fn confirm<'a>(tx: &mut Tx, unsettled: impl Iterator<Item = &'a Finished>) -> Result<HashSet<AttemptId>, LedgerError> {
    let rows: Vec<_> = unsettled
        .filter_map(|finished| match &finished.settlement {
            Settlement::Sent { provider_id } => Some((finished, Some(provider_id))),
            Settlement::Doubt { .. } => Some((finished, None)),
            Settlement::Retry { .. } | Settlement::Defer { .. } | Settlement::Fail { .. } | Settlement::GiveBack => None,
        })
        .map(|(finished, id)| json!({"id": finished.message_id, "attempt_id": finished.attempt_id, "provider_id": id}))
        .collect();
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let confirmed = tx
        .fetch(
            sql!(
                "UPDATE messages SET provider_id = COALESCE(r.provider_id, messages.provider_id) FROM ",
                (rows 1 r id: uuid, attempt_id: uuid, provider_id: text),
                " WHERE messages.id = r.id AND messages.attempt_id = r.attempt_id AND messages.state IN ('sent', 'delivered', 'read')
                  RETURNING messages.attempt_id AS attempt_id"
            ),
            values![json!(rows).to_string()],
        )
        .await?;
    confirmed.iter().map(|row| row.id("attempt_id").map(AttemptId)).collect()
}

/// Whether the result is evidence, of the sending or of the opposite: then it settles doubt too.
fn proves(finished: &Finished) -> bool {
    !matches!(finished.settlement, Settlement::Doubt { .. })
}

/// Locks businesses → the gates that a budget closed → recipients.
async fn lock_what_is_counted(tx: &mut Tx, attempts: &str) -> Result<(), LedgerError> {
    tx.lock(
        sql!(
            "SELECT id FROM businesses WHERE recipients_per_24h IS NOT NULL AND id IN
             (SELECT ch.business_id FROM attempts a JOIN channels ch ON ch.id = a.channel_id WHERE a.id",
            (among 1 uuid),
            ") ORDER BY id",
            for_update
        ),
        values![attempts],
    )
    .await?;
    tx.lock(
        sql!(
            "SELECT channel_id FROM gates WHERE pause_reason = 'budget' AND channel_id IN
             (SELECT c.id FROM channels c JOIN channels ch ON ch.business_id = c.business_id JOIN attempts a ON a.channel_id = ch.id WHERE a.id",
            (among 1 uuid),
            ") ORDER BY channel_id",
            for_update
        ),
        values![attempts],
    )
    .await?;
    tx.lock(
        sql!(
            "SELECT r.phone_key FROM attempts a JOIN messages m ON m.id = a.message_id JOIN channels ch ON ch.id = a.channel_id
             JOIN recipients r ON r.business_id = ch.business_id AND r.phone_key = m.phone_key AND r.last_attempt_id = a.id WHERE a.id",
            (among 1 uuid),
            " ORDER BY r.business_id, r.phone_key",
            { postgres: " FOR NO KEY UPDATE OF r", sqlite: "" }
        ),
        values![attempts],
    )
    .await?;
    Ok(())
}

/// The attempts that exist, with the outcome that each had before.
async fn outcomes(tx: &mut Tx, attempts: &str) -> Result<HashMap<AttemptId, Option<String>>, LedgerError> {
    let rows = tx
        .fetch(sql!("SELECT id, outcome FROM attempts WHERE id", (among 1 uuid), " ORDER BY id", for_update), values![attempts])
        .await?;
    rows.iter().map(|row| Ok((AttemptId(row.id("id")?), row.opt_text("outcome")?))).collect()
}

/// Writes each attempt's result; an attempt that had a definite one keeps it.
async fn record_attempts(tx: &mut Tx, batch: &[&Finished], now: DateTime<Utc>) -> Result<(), LedgerError> {
    let rows: Vec<_> = batch
        .iter()
        .map(|finished| {
            let (reason, provider_id) = match &finished.settlement {
                Settlement::Sent { provider_id } => (None, Some(provider_id.as_str())),
                Settlement::Defer { why, .. } => (Some(why.as_str()), None),
                Settlement::Fail { why } => (Some(why.as_str()), None),
                Settlement::Doubt { why } => (Some(why.as_str()), None),
                Settlement::Retry { .. } | Settlement::GiveBack => (None, None),
            };
            json!({
                "id": finished.attempt_id, "outcome": finished.settlement.outcome(), "reason": reason, "provider_id": provider_id,
                "http_status": finished.http_status, "provider_code": finished.provider_code, "latency_ms": finished.latency_ms,
            })
        })
        .collect();
    tx.execute(
            sql!(
                "UPDATE attempts SET outcome = r.outcome, reason = r.reason, provider_id = COALESCE(r.provider_id, attempts.provider_id),
                        http_status = r.http_status, provider_code = r.provider_code, latency_ms = r.latency_ms, finished_at = $2
                 FROM ",
                (rows 1 r id: uuid, outcome: text, reason: text, provider_id: text, http_status: bigint, provider_code: text, latency_ms: bigint),
                " WHERE attempts.id = r.id AND (attempts.outcome IS NULL OR attempts.outcome = 'doubt')"
            ),
            values![json!(rows).to_string(), now],
        )
        .await?;
    Ok(())
}

/// Moves the messages whose attempt is still this one: from `sending`, and for evidence from `in_doubt` too, if the doubt is that attempt's and not
/// one that came later. The attempts that moved theirs.
///
/// That it was sent settles doubt for ever, also doubt that has expired. That it wasn't says nothing of a restored backup's lost time: another
/// attempt, which the ledger knows nothing of, may have followed.
async fn move_messages(
    tx: &mut Tx,
    batch: &[&Finished],
    evidence: bool,
    now: DateTime<Utc>,
) -> Result<Vec<AttemptId>, LedgerError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let mut moved = skip_overtaken(tx, batch, now).await?;
    let rows: Vec<_> = batch.iter().map(|finished| move_json(finished)).collect();
    let settled = tx
        .fetch(
            sql!(
                "UPDATE messages SET state = r.state, reason = r.reason, next_attempt_at = r.next_attempt_at,
                        attempts = messages.attempts - r.unused, provider_id = COALESCE(r.provider_id, messages.provider_id),
                        lease_expires_at = NULL, updated_at = $2
                 FROM ",
                (rows 1 r id: uuid, attempt_id: uuid, state: text, reason: text, next_attempt_at: bigint, unused: bigint, provider_id: text),
                " WHERE messages.id = r.id AND messages.attempt_id = r.attempt_id
                    AND (messages.state = 'sending' OR ($3 = 1
                        AND (messages.state = 'in_doubt' AND (r.state = 'sent' OR messages.reason <> 'restored')
                            OR messages.state = 'failed' AND messages.reason = 'doubt_expired' AND r.state = 'sent')
                        AND EXISTS (SELECT 1 FROM attempts a WHERE a.id = messages.attempt_id AND (a.outcome IS NULL OR a.outcome = 'doubt'))))
                  RETURNING messages.attempt_id AS attempt_id"
            ),
            values![json!(rows).to_string(), now, i64::from(evidence)],
        )
        .await?;
    for row in &settled {
        moved.push(AttemptId(row.id("attempt_id")?));
    }
    Ok(moved)
}

/// A doubtful message that turns out unsent would wait again; one that another has overtaken meanwhile ends.
async fn skip_overtaken(tx: &mut Tx, batch: &[&Finished], now: DateTime<Utc>) -> Result<Vec<AttemptId>, LedgerError> {
    let would_wait = batch.iter().filter(|finished| finished.settlement.proves_unsent());
    let rows: Vec<_> = would_wait.map(|f| json!({"id": f.message_id, "attempt_id": f.attempt_id})).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let skipped = tx
        .fetch(
            sql!(
                "UPDATE messages AS m SET state = 'skipped', reason = 'superseded', updated_at = $2 FROM ",
                (rows 1 r id: uuid, attempt_id: uuid),
                " WHERE m.id = r.id AND m.attempt_id = r.attempt_id AND m.state = 'in_doubt' AND m.reason <> 'restored'
                    AND EXISTS (SELECT 1 FROM attempts a WHERE a.id = m.attempt_id AND (a.outcome IS NULL OR a.outcome = 'doubt')) AND ",
                overtaken,
                { postgres: " RETURNING m.attempt_id AS attempt_id", sqlite: " RETURNING attempt_id" }
            ),
            values![json!(rows).to_string(), now],
        )
        .await?;
    skipped.iter().map(|row| row.id("attempt_id").map(AttemptId)).collect()
}

fn move_json(finished: &Finished) -> serde_json::Value {
    let (state, reason, at, unused, provider_id) = match &finished.settlement {
        Settlement::Sent { provider_id } => (State::Sent, None, None, 0, Some(provider_id.as_str())),
        Settlement::Retry { at } => (State::Scheduled, Some(DeferReason::Retry.as_str()), Some(*at), 0, None),
        Settlement::Defer { until, why } => (State::Scheduled, Some(why.as_str()), Some(*until), 1, None),
        Settlement::Fail { why } => (State::Failed, Some(why.as_str()), None, 0, None),
        Settlement::Doubt { why } => (State::InDoubt, Some(why.as_str()), None, 0, None),
        // Given back: due at once.
        Settlement::GiveBack => (State::Scheduled, Some(DeferReason::GivenBack.as_str()), Some(DateTime::UNIX_EPOCH), 1, None),
    };
    json!({
        "id": finished.message_id, "attempt_id": finished.attempt_id, "state": state, "reason": reason,
        "next_attempt_at": at.map(micros), "unused": unused, "provider_id": provider_id,
    })
}

/// Puts recipients' counters back to what the attempts found, where they are still the recipients' last. The places in the budget that this
/// frees open the gates that waited for one.
async fn put_recipients_back(tx: &mut Tx, attempts: &[AttemptId]) -> Result<(), LedgerError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let found = tx
        .fetch(
            sql!(
                "SELECT r.business_id, r.phone_key, r.counted_at, a.id, a.recipient_before FROM attempts a
                 JOIN messages m ON m.id = a.message_id JOIN channels ch ON ch.id = a.channel_id
                 JOIN recipients r ON r.business_id = ch.business_id AND r.phone_key = m.phone_key AND r.last_attempt_id = a.id WHERE a.id",
                (among 1 uuid)
            ),
            values![json_ids(attempts.iter().map(|id| id.0))],
        )
        .await?;
    let (mut rows, mut buckets, mut businesses) = (Vec::with_capacity(found.len()), BucketChanges::default(), BTreeSet::new());
    for row in &found {
        let (business, before) = (BusinessId(row.id("business_id")?), row.json::<RecipientBefore>("recipient_before")?);
        rows.push(json!({
            "business_id": business, "phone_key": row.text("phone_key")?, "attempt_id": row.id("id")?,
            "last_start_at": before.last_start_at, "counted_at": before.counted_at,
        }));
        buckets.move_recipient(business, row.opt_instant("counted_at")?, before.counted_at.map(from_micros));
        businesses.insert(business);
    }
    if rows.is_empty() {
        return Ok(());
    }
    tx.execute(
        sql!(
            "UPDATE recipients SET last_start_at = r.last_start_at, counted_at = r.counted_at, last_attempt_id = NULL FROM ",
            (rows 1 r business_id: uuid, phone_key: text, attempt_id: uuid, last_start_at: bigint, counted_at: bigint),
            " WHERE recipients.business_id = r.business_id AND recipients.phone_key = r.phone_key AND recipients.last_attempt_id = r.attempt_id"
        ),
        values![json!(rows).to_string()],
    )
    .await?;
    buckets.store(tx).await?;
    tx.execute(
        sql!(
            "UPDATE gates SET paused_until = NULL, pause_reason = NULL
             WHERE pause_reason = 'budget' AND channel_id IN (SELECT id FROM channels WHERE business_id",
            (among 1 uuid),
            ")"
        ),
        values![json_ids(businesses.iter().map(|id| id.0))],
    )
    .await?;
    Ok(())
}
