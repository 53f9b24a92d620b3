//! *start*: ONE transaction over a batch that returns each message with a send instant, or says why not (K2).

mod shared;
mod writes;

use crate::database::{Tx, micros};
use crate::error::LedgerError;
use crate::rivals::Rivals;
use crate::snapshot::{self, json_ids};
use crate::{Ledger, settings};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::admission::{Recipient, Rules};
use regua_domain::ids::{AttemptId, ChannelId, IntegrationId, MessageId};
use regua_domain::message::{DeferReason, SkipReason};
use regua_domain::render::Rendered;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::Shared;
pub(crate) use shared::read_recipient;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use writes::Writes;

/// Messages that one start may take.
pub const BATCH_MAX: usize = 256;

/// A batch of messages to start.
#[derive(Clone, Debug)]
pub struct StartBatch {
    /// Who asks: this dispatcher's name, for the record.
    pub dispatcher: String,
    /// The messages, each with the id that its attempt shall have.
    pub requests: Vec<(MessageId, AttemptId)>,
    /// How far ahead a slot must lie.
    pub lead: TimeDelta,
    /// How far ahead a slot may lie: the nearer, the fewer places wait for their slot.
    pub horizon: TimeDelta,
    /// How long the attempts may take until they count as doubtful.
    pub lease: TimeDelta,
}

/// What became of one message of the batch.
#[derive(Clone, Debug)]
pub enum StartAnswer {
    /// An attempt is open: send at the slot, then *finish*.
    Started(Box<Started>),
    /// No slot is near enough: nothing was written, ask again.
    NoSlot {
        /// The next slot of its gate.
        free_at: DateTime<Utc>,
    },
    /// It waits in the ledger: the hint is done with.
    Postponed {
        /// Why.
        why: DeferReason,
    },
    /// It ended unsent: the hint is done with.
    Skipped {
        /// Why.
        why: SkipReason,
    },
    /// It isn't waiting for this hint.
    NotWaiting,
    /// The ledger has no such message (invariant 3).
    Unknown,
}

/// An open attempt.
#[derive(Clone, Debug)]
pub struct Started {
    /// The attempt: the fence of its result.
    pub attempt_id: AttemptId,
    /// The instant to send at, in the ledger's time.
    pub slot_at: DateTime<Utc>,
    /// Whether that is a slot of a limited channel: then it is given back rather than used late.
    pub is_paced: bool,
    /// Whether it is its channel's one probe: say with [`Ledger::end_probe`] what came of it, before its *finish*.
    pub is_probe: bool,
    /// When the attempt counts as doubtful.
    pub lease_expires_at: DateTime<Utc>,
    /// When the message ends unsent.
    pub expires_at: DateTime<Utc>,
    /// Which attempt of the message this is, from 1.
    pub number: u32,
    /// The channel that it goes through.
    pub channel_id: ChannelId,
    /// The integration of that channel.
    pub integration_id: IntegrationId,
    /// What to send.
    pub text: Rendered,
    /// The attempt of the message that came before, whose trace this one goes on with.
    pub after: Option<AttemptId>,
    /// The `traceparent` of the run that decided the message.
    pub run_trace: Option<String>,
}

/// The answers of a start.
#[derive(Clone, Debug)]
pub struct StartReply {
    /// The ledger's clock, read under the locks.
    pub now: DateTime<Utc>,
    /// One answer per message.
    pub answers: Vec<(MessageId, StartAnswer)>,
}

/// A recipient's counters as an attempt found them, kept to be put back when nothing was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecipientBefore {
    pub last_start_at: Option<i64>,
    pub counted_at: Option<i64>,
}

impl RecipientBefore {
    fn of(recipient: &Recipient) -> Self {
        Self { last_start_at: recipient.last_start_at.map(micros), counted_at: recipient.counted_at.map(micros) }
    }
}

impl Ledger {
    /// Starts a batch. An attempt that it reports exists in the ledger before anything is on the wire.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] for more than [`BATCH_MAX`] requests. When the commit's outcome is unknown,
    /// a *finish* that gives every attempt id back finds those that exist.
    pub async fn start(&self, batch: StartBatch) -> Result<StartReply, LedgerError> {
        if batch.requests.len() > BATCH_MAX {
            return Err(LedgerError::Refused(format!(
                "{} messages are more than one start takes: {BATCH_MAX}",
                batch.requests.len()
            )));
        }
        let batch = Arc::new(batch);
        self.db
            .write(move |tx| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { start(tx, &batch).await })
            })
            .await
    }

    /// The channel of each message that the ledger has: which lane a hint belongs to.
    pub async fn locate(&self, messages: &[MessageId]) -> Result<Vec<(MessageId, ChannelId)>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!("SELECT id, channel_id FROM messages WHERE id", (among 1 uuid)),
                values![json_ids(messages.iter().map(|id| id.0))],
            )
            .await?;
        rows.iter().map(|row| Ok((MessageId(row.id("id")?), ChannelId(row.id("channel_id")?)))).collect()
    }
}

async fn start(tx: &mut Tx, batch: &StartBatch) -> Result<StartReply, LedgerError> {
    let attempts: BTreeMap<MessageId, AttemptId> = batch.requests.iter().copied().collect();
    let ids: Vec<MessageId> = attempts.keys().copied().collect();
    let mut shared = Shared::lock(tx, &ids).await?;
    let (now, settings, stops) = settings::now_in_force(tx).await?;
    shared.load_budgets(tx, now).await?;
    let mut loaded = snapshot::load(tx, &ids, settings.times().date_at(now), &stops).await?;
    if loaded.iter().any(|message| shared.goes_by_others(message)) {
        return Err(LedgerError::Overtaken);
    }
    let rules = Rules {
        terms: settings.terms(),
        caps: (!settings.pilot.redirects()).then_some(settings.caps.frequency()),
        lead: batch.lead,
        horizon: batch.horizon,
        lease: batch.lease,
    };
    let mut writes = Writes::default();
    let mut answers = Vec::with_capacity(ids.len());
    let mut rivals = Rivals::find(tx, &loaded, &shared.people, &rules, &stops, now).await?;
    // Best first: then whoever is decided later knows what the better ones got.
    loaded.sort_unstable_by_key(|message| message.precedence);
    for message in &loaded {
        let attempt = attempts[&message.id];
        let (verdict, before) = shared.admit(message, attempt, rivals.ahead_of(message), &rules, now);
        rivals.note(message, &verdict);
        answers.push((message.id, writes.note(message, attempt, verdict, &before, batch, now)));
    }
    let known: BTreeSet<MessageId> = loaded.iter().map(|message| message.id).collect();
    answers.extend(ids.iter().filter(|id| !known.contains(id)).map(|id| (*id, StartAnswer::Unknown)));
    shared.store(tx, &writes).await?;
    writes.store(tx, batch, now).await?;
    Ok(StartReply { now, answers })
}

/// Skips waiting messages; `rows` are JSON objects of id and reason.
pub(crate) async fn skip(tx: &mut Tx, rows: &[serde_json::Value], now: DateTime<Utc>) -> Result<u64, LedgerError> {
    tx.execute(
        sql!(
            "UPDATE messages SET state = 'skipped', reason = r.reason, queued_at = NULL, next_attempt_at = NULL, updated_at = $2 FROM ",
            (rows 1 r id: uuid, reason: text),
            " WHERE messages.id = r.id AND ",
            (still "messages.state" "'held', 'scheduled', 'queued'")
        ),
        values![json!(rows).to_string(), now],
    )
    .await
}
