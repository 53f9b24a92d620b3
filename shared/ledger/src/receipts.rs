//! Receipts: evidence that beats doubt and every contrary answer, written in batches. Locks early receipts → messages → attempts.

pub mod early;

use crate::database::{Row, Tx, micros};
use crate::doubt::DOUBT_GRACE;
use crate::error::LedgerError;
use crate::people::{self, NewOptOut, OptOutOrigin};
use crate::restored::lost_period;
use crate::snapshot::json_ids;
use crate::stops::{self, NewStop};
use crate::{Ledger, new_id};
use chrono::{DateTime, Utc};
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::ids::{AttemptId, BusinessId, ChannelId, IntegrationId, MessageId};
use regua_domain::message::State;
use regua_domain::receipt::{AttemptFate, Proof, ReceiptStatus};
use regua_domain::stop::{BY_ANSWER, StopScope};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Receipts that one transaction takes.
pub const BATCH_MAX: usize = 256;
/// Who notes the opt-out that a failure tells.
const NOTED_BY: &str = "webhook";

/// Which message a receipt is about, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Its sending's `metadata` came back: a message and attempt of this ledger's own, unless it has gone back in time.
    Metadata {
        /// The message.
        message: MessageId,
        /// The attempt, if it is named.
        attempt: Option<AttemptId>,
    },
    /// The id that the provider gave for an attempt.
    ProviderId(String),
    /// It was seen at the provider by whoever looked for it.
    LookUp {
        /// The message.
        message: MessageId,
        /// The attempt that was in doubt.
        attempt: AttemptId,
    },
}

/// What a failure means for more than its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Something that many messages share stops, as by an answer.
    Stop {
        /// What stops.
        scope: StopScope,
        /// Why, as a closed name.
        why: &'static str,
    },
    /// The recipient asked not to be written to any more.
    OptOut,
}

/// A receipt to be written.
#[derive(Clone, Debug)]
pub struct NewReceipt {
    /// The integration that it came from.
    pub integration_id: IntegrationId,
    /// Which message.
    pub about: About,
    /// What became of it.
    pub status: ReceiptStatus,
    /// The provider's id of the message, if it is told.
    pub provider_id: Option<String>,
    /// The WhatsApp code of a failure.
    pub provider_code: Option<u32>,
    /// What the failure means beyond.
    pub consequence: Option<Consequence>,
    /// When it came, of one that waited in the ledger for its attempt; of all others it is now.
    pub came_at: Option<DateTime<Utc>>,
}

/// What one receipt did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptAnswer {
    /// Its message moved.
    Moved {
        /// The message.
        message: MessageId,
        /// Where it was.
        from: State,
        /// Where it is.
        to: State,
        /// Whether it had been taken for unsent: a person has to look.
        contradicts: bool,
    },
    /// It is written down; its message was there already, or further.
    Noted,
    /// The ledger has it already.
    Repeated,
    /// No attempt of this integration has that provider's id yet: it waits in the ledger and is tried again, see [`early`].
    Early,
    /// It has waited for its attempt in vain: it is of a message that somebody else sent, or whose answer never came.
    Unmatched,
    /// The ledger has no such message: it has gone back in time.
    Unknown,
}

/// What a receipt tells of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The message.
    pub message: MessageId,
    /// The attempt: its message's last one, if the receipt names none.
    pub attempt: Option<AttemptId>,
    /// What is told of it.
    pub status: ReceiptStatus,
}

/// What a batch did.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// One answer per receipt, in their order.
    pub answers: Vec<ReceiptAnswer>,
    /// What each receipt is about, in the same order: `None` where the ledger has no such message, or none yet.
    pub about: Vec<Option<Told>>,
    /// What the ledger doesn't have any more although it once committed it, and no restoration explains: messages and attempts.
    pub lost: Vec<String>,
    /// The stops that failures raised.
    pub stops: Vec<NewStop>,
    /// How many people opted out.
    pub opted_out: u64,
    /// How many early receipts gave way, because too many waited.
    pub dropped: u64,
    /// Messages that were taken by an attempt that counted as refused, and are sent by another one, too.
    pub doubled: Vec<MessageId>,
}

/// A receipt as a person sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiptView {
    /// What became of the message.
    pub status: ReceiptStatus,
    /// How it is known that it is about this message.
    pub proved_by: Proof,
    /// The attempt that it names.
    pub attempt: Option<AttemptId>,
    /// Where the message was before.
    pub state_before: State,
    /// The WhatsApp code of a failure.
    pub provider_code: Option<i64>,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

impl Ledger {
    /// Writes receipts. The same again changes nothing, and none takes a message backwards.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] for more than [`BATCH_MAX`].
    pub async fn receive(&self, batch: Vec<NewReceipt>) -> Result<Received, LedgerError> {
        if batch.len() > BATCH_MAX {
            return Err(LedgerError::Refused(format!("{} receipts are more than one batch takes: {BATCH_MAX}", batch.len())));
        }
        let batch = Arc::new(batch);
        self.db
            .write(move |tx| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { receive(tx, &batch).await })
            })
            .await
    }

    /// The receipts of a message, the first one first.
    pub async fn receipts(&self, message: MessageId) -> Result<Vec<ReceiptView>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(sql!("SELECT * FROM receipts WHERE message_id = $1 ORDER BY received_at, id"), values![message])
            .await?;
        let view = |row: &Row| {
            Ok(ReceiptView {
                status: row.named("status", ReceiptStatus::parse)?,
                proved_by: row.named("proved_by", Proof::parse)?,
                attempt: row.opt_id("attempt_id")?.map(AttemptId),
                state_before: row.named("state_before", State::parse)?,
                provider_code: row.opt_int("provider_code")?,
                received_at: row.instant("received_at")?,
            })
        };
        rows.iter().map(view).collect()
    }
}

/// A message under its lock, with what a failure may stop.
struct Message {
    was: State,
    state: State,
    attempt: Option<AttemptId>,
    provider_id: Option<String>,
    phone_key: Option<String>,
    redirected: bool,
    channel: ChannelId,
    business: BusinessId,
    integration: IntegrationId,
    template: String,
}

/// An attempt under its lock.
struct Attempt {
    message: MessageId,
    outcome: Option<String>,
    lease_expires_at: DateTime<Utc>,
}

/// Whose a receipt is: message and attempt.
type Name = (MessageId, Option<AttemptId>);

pub(crate) async fn receive(tx: &mut Tx, batch: &[NewReceipt]) -> Result<Received, LedgerError> {
    let of_provider = attempts_by_provider_id(tx, batch).await?;
    // `None` where nobody knows.
    let names: Vec<Option<Name>> = batch
        .iter()
        .map(|receipt| match &receipt.about {
            About::Metadata { message, attempt } => Some((*message, *attempt)),
            About::LookUp { message, attempt } => Some((*message, Some(*attempt))),
            About::ProviderId(id) => of_provider.get(&(receipt.integration_id, id.as_str())).copied(),
        })
        .collect();
    let dropped = early::keep(tx, batch, &names).await?;
    let mut messages = lock_messages(tx, names.iter().flatten().map(|(message, _)| *message)).await?;
    let attempts = lock_attempts(tx, names.iter().flatten().filter_map(|(_, attempt)| *attempt)).await?;
    let now = tx.now().await?;
    // What a person has said to be lost may be told for days still.
    let lost = lost_period(tx).await?;
    let is_explained = |id: Uuid| lost.is_some_and(|lost| lost.explains(id));
    let (mut received, mut rows) = (Received { dropped, ..Received::default() }, Vec::with_capacity(batch.len()));
    // Which receipts prove an earlier answer wrong.
    let mut contradicting = HashMap::new();
    for (receipt, name) in batch.iter().zip(&names) {
        let Some((id, attempt)) = name else {
            received.answers.push(if receipt.came_at.is_some() { ReceiptAnswer::Unmatched } else { ReceiptAnswer::Early });
            continue;
        };
        let Some(message) = messages.get_mut(id) else {
            received.lost.extend((!is_explained(id.0)).then(|| format!("message {id}")));
            received.answers.push(ReceiptAnswer::Unknown);
            continue;
        };
        received.lost.extend(
            attempt
                .filter(|attempt| attempts.get(attempt).is_none_or(|known| known.message != *id) && !is_explained(attempt.0))
                .map(|attempt| format!("attempt {attempt}")),
        );
        let (from, fate) = (message.state, fate(message, *attempt, &attempts, now));
        let to = receipt.status.state_after(from, fate);
        message.state = to;
        message.provider_id = message.provider_id.take().or_else(|| receipt.provider_id.clone());
        let contradicts = receipt.status.contradicts(from, fate);
        if contradicts {
            contradicting.insert(received.answers.len(), *id);
        }
        rows.push((received.answers.len(), row(receipt, *id, *attempt, from, now)));
        received.answers.push(if from == to {
            ReceiptAnswer::Noted
        } else {
            ReceiptAnswer::Moved { message: *id, from, to, contradicts }
        });
    }
    let new = write_receipts(tx, &rows).await?;
    for (index, row) in &rows {
        let answer = &mut received.answers[*index];
        if *answer != ReceiptAnswer::Noted {
            continue;
        }
        if new.contains(&id_of(row)) {
            received.doubled.extend(contradicting.get(index));
        } else {
            *answer = ReceiptAnswer::Repeated;
        }
    }
    let about = |(name, receipt): (&Option<Name>, &NewReceipt)| {
        let (message, attempt) = (*name)?;
        let its_last = messages.get(&message)?.attempt;
        Some(Told { message, attempt: attempt.or(its_last), status: receipt.status })
    };
    received.about = names.iter().zip(batch).map(about).collect();
    move_messages(tx, &messages, now).await?;
    keep_provider_ids(tx, &rows).await?;
    for (index, row) in rows.iter().filter(|(_, row)| new.contains(&id_of(row))) {
        let message = names[*index].and_then(|(id, _)| messages.get(&id));
        if let Some((consequence, message)) = batch[*index].consequence.zip(message) {
            follow(tx, &mut received, consequence, message, &id_of(row), now).await?;
        }
    }
    Ok(received)
}

/// What has become of the attempt that a receipt about this message names.
fn fate(
    message: &Message,
    attempt: Option<AttemptId>,
    attempts: &HashMap<AttemptId, Attempt>,
    now: DateTime<Utc>,
) -> AttemptFate {
    let Some(known) = attempt.and_then(|attempt| attempts.get(&attempt)) else { return AttemptFate::Undecided };
    match known.outcome.as_deref() {
        None if message.attempt == attempt && now < known.lease_expires_at + DOUBT_GRACE => AttemptFate::Open,
        None | Some("doubt") if message.attempt == attempt => AttemptFate::Undecided,
        None | Some("doubt" | "sent") => AttemptFate::Past,
        Some(_) => AttemptFate::Refused,
    }
}

impl NewReceipt {
    const fn proof(&self) -> Proof {
        match self.about {
            About::Metadata { .. } => Proof::Metadata,
            About::ProviderId(_) => Proof::ProviderId,
            About::LookUp { .. } => Proof::LookUp,
        }
    }
}

/// The attempts that have these provider's ids, each of the integration that its receipt came from.
async fn attempts_by_provider_id<'a>(
    tx: &mut Tx,
    batch: &'a [NewReceipt],
) -> Result<HashMap<(IntegrationId, &'a str), Name>, LedgerError> {
    let asked: HashMap<&str, &str> = batch
        .iter()
        .filter_map(|receipt| match &receipt.about {
            About::ProviderId(id) => Some((id.as_str(), id.as_str())),
            About::Metadata { .. } | About::LookUp { .. } => None,
        })
        .collect();
    let mut found = HashMap::new();
    if asked.is_empty() {
        return Ok(found);
    }
    let ids: Vec<_> = asked.keys().collect();
    let rows = tx
        .fetch(
            sql!(
                "SELECT a.id, a.message_id, a.provider_id, c.integration_id FROM attempts a JOIN channels c ON c.id = a.channel_id
                 WHERE a.provider_id IS NOT NULL AND a.provider_id",
                (among 1 text)
            ),
            values![json!(ids).to_string()],
        )
        .await?;
    for row in &rows {
        if let Some(id) = asked.get(row.text("provider_id")?.as_str()) {
            let attempt = (MessageId(row.id("message_id")?), Some(AttemptId(row.id("id")?)));
            found.insert((IntegrationId(row.id("integration_id")?), *id), attempt);
        }
    }
    Ok(found)
}

async fn lock_messages(tx: &mut Tx, ids: impl Iterator<Item = MessageId>) -> Result<BTreeMap<MessageId, Message>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT m.id, m.state, m.attempt_id, m.provider_id, m.phone_key, m.redirected, m.channel_id, c.business_id, c.integration_id, t.template_id
                 FROM messages m JOIN channels c ON c.id = m.channel_id LEFT JOIN message_texts t ON t.message_id = m.id WHERE m.id",
                (among 1 uuid),
                " ORDER BY m.id",
                { postgres: " FOR NO KEY UPDATE OF m", sqlite: "" }
            ),
            values![json_ids(ids.map(|id| id.0))],
        )
        .await?;
    let message = |row: &Row| {
        let state = row.named("state", State::parse)?;
        let message = Message {
            was: state,
            state,
            attempt: row.opt_id("attempt_id")?.map(AttemptId),
            provider_id: row.opt_text("provider_id")?,
            phone_key: row.opt_text("phone_key")?,
            redirected: row.flag("redirected")?,
            channel: ChannelId(row.id("channel_id")?),
            business: BusinessId(row.id("business_id")?),
            integration: IntegrationId(row.id("integration_id")?),
            template: row.opt_text("template_id")?.unwrap_or_default(),
        };
        Ok((MessageId(row.id("id")?), message))
    };
    rows.iter().map(message).collect()
}

async fn lock_attempts(tx: &mut Tx, ids: impl Iterator<Item = AttemptId>) -> Result<HashMap<AttemptId, Attempt>, LedgerError> {
    let rows = tx
        .fetch(
            sql!("SELECT id, message_id, outcome, lease_expires_at FROM attempts WHERE id", (among 1 uuid), " ORDER BY id", for_update),
            values![json_ids(ids.map(|id| id.0))],
        )
        .await?;
    let attempt = |row: &Row| {
        let (message, outcome) = (MessageId(row.id("message_id")?), row.opt_text("outcome")?);
        let attempt = Attempt { message, outcome, lease_expires_at: row.instant("lease_expires_at")? };
        Ok((AttemptId(row.id("id")?), attempt))
    };
    rows.iter().map(attempt).collect()
}

/// A receipt's row.
fn row(receipt: &NewReceipt, message: MessageId, attempt: Option<AttemptId>, before: State, now: DateTime<Utc>) -> Value {
    json!({
        "id": new_id(), "message_id": message, "attempt_id": attempt, "integration_id": receipt.integration_id, "status": receipt.status,
        "proved_by": receipt.proof(), "state_before": before, "provider_id": receipt.provider_id, "provider_code": receipt.provider_code,
        "received_at": micros(receipt.came_at.unwrap_or(now)),
    })
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap_or_default().to_owned()
}

/// Writes the receipts that the ledger doesn't have; which they are.
async fn write_receipts(tx: &mut Tx, rows: &[(usize, Value)]) -> Result<HashSet<String>, LedgerError> {
    let rows: Vec<_> = rows.iter().map(|(_, row)| row).collect();
    let written = tx
        .fetch(
            sql!(
                "INSERT INTO receipts (id, message_id, attempt_id, integration_id, status, proved_by, state_before, provider_id,
                        provider_code, received_at)
                 SELECT r.id, r.message_id, r.attempt_id, r.integration_id, r.status, r.proved_by, r.state_before, r.provider_id,
                        r.provider_code, r.received_at FROM ",
                (rows 1 r id: uuid, message_id: uuid, attempt_id: uuid, integration_id: uuid, status: text, proved_by: text,
                 state_before: text, provider_id: text, provider_code: bigint, received_at: bigint),
                " WHERE true ON CONFLICT DO NOTHING RETURNING id"
            ),
            values![json!(rows).to_string()],
        )
        .await?;
    written.iter().map(|row| row.id("id").map(|id: Uuid| id.to_string())).collect()
}

/// Moves the messages, under their locks. Those that were taken for unsent keep what the attempts refunded: a person's places in the caps are
/// a bound of courtesy, and a sending that nobody knew of has had its effect.
async fn move_messages(tx: &mut Tx, messages: &BTreeMap<MessageId, Message>, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let moved = messages.iter().filter(|(_, message)| message.was != message.state);
    let rows: Vec<_> = moved
        .map(|(id, message)| json!({"id": id, "was": message.was, "state": message.state, "provider_id": message.provider_id}))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    tx.execute(
        sql!(
            "UPDATE messages SET state = r.state, reason = NULL, queued_at = NULL, next_attempt_at = NULL, lease_expires_at = NULL,
                    phone_slot_at = NULL, provider_id = r.provider_id, updated_at = $2
             FROM ",
            (rows 1 r id: uuid, was: text, state: text, provider_id: text),
            " WHERE messages.id = r.id AND messages.state = r.was"
        ),
        values![json!(rows).to_string(), now],
    )
    .await?;
    Ok(())
}

/// Keeps the provider's ids with their attempts, so that a later receipt may have that alone. The answer itself, if it still comes, knows better.
async fn keep_provider_ids(tx: &mut Tx, rows: &[(usize, Value)]) -> Result<(), LedgerError> {
    let told = rows.iter().map(|(_, row)| row).filter(|row| !row["attempt_id"].is_null() && !row["provider_id"].is_null());
    let rows: Vec<_> = told.map(|row| json!({"id": row["attempt_id"], "provider_id": row["provider_id"]})).collect();
    if rows.is_empty() {
        return Ok(());
    }
    tx.execute(
        sql!(
            "UPDATE attempts SET provider_id = r.provider_id FROM ",
            (rows 1 r id: uuid, provider_id: text),
            " WHERE attempts.id = r.id AND attempts.provider_id IS NULL"
        ),
        values![json!(rows).to_string()],
    )
    .await?;
    Ok(())
}

/// What a failure that is new means for more than its message: a receipt that comes again raises no stop that a person has lifted since.
async fn follow(
    tx: &mut Tx,
    received: &mut Received,
    consequence: Consequence,
    message: &Message,
    receipt: &str,
    now: DateTime<Utc>,
) -> Result<(), LedgerError> {
    match consequence {
        Consequence::Stop { scope, why } => {
            if scope == StopScope::Template && message.template.is_empty() {
                tracing::warn!(
                    receipt,
                    why,
                    "receipt.of_an_unknown_template: its message was anonymised, and nothing is stopped"
                );
                return Ok(());
            }
            let target = match scope {
                StopScope::Business => message.business.to_string(),
                StopScope::Integration => message.integration.to_string(),
                StopScope::Channel => message.channel.to_string(),
                StopScope::Template => message.template.clone(),
                // No failure stops these: should one ever, everything stops.
                StopScope::Everything | StopScope::Policy | StopScope::Stage => String::new(),
            };
            let scope = if target.is_empty() { StopScope::Everything } else { scope };
            let stop = NewStop { scope, target, raised_by: BY_ANSWER.into(), why: why.into(), until_at: None };
            if stops::raise(tx, &stop, now).await? {
                received.stops.push(stop);
            }
        }
        // A pilot's phone stands for somebody else's, who asked for nothing.
        Consequence::OptOut if message.redirected => {}
        Consequence::OptOut => {
            let Some(phone) = message.phone_key.as_ref().and_then(|key| key.parse().ok()) else { return Ok(()) };
            let opt_out = NewOptOut { phone, since_at: Some(now), why: format!("WhatsApp says so, receipt {receipt}") };
            let scope = OptOutScope::Business(message.business);
            let origin = OptOutOrigin { scope, source: OptOutSource::Webhook, added_by: NOTED_BY.into() };
            let counts = people::add(tx, std::slice::from_ref(&opt_out), &origin).await?;
            if counts.new > 0 {
                people::note_added(tx, &[opt_out], &origin, 1, counts).await?;
                received.opted_out += 1;
            }
        }
    }
    Ok(())
}
