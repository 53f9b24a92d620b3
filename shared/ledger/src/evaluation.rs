//! What the evaluator writes: the messages that it decided, with the run's own counters.

mod candidates;

pub use candidates::Candidate;
pub(crate) use candidates::{ask_consent, fail_reason, known_of};

use crate::Ledger;
use crate::database::{Row, Tx, micros};
use crate::error::LedgerError;
use crate::events::EventDecision;
use crate::restored::LostPeriod;
use crate::runs::Cursor;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::ids::{ChannelId, MessageId, NoticeId, PolicyId, RunId, SourceId};
use regua_domain::message::{DoubtReason, FailReason, SkipReason, State};
use regua_domain::money::Centavos;
use regua_domain::render::Rendered;
use regua_domain::stage::Stage;
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Invoices of one evaluation batch on PostgreSQL.
pub const PAGE_POSTGRES: u32 = 1000;
/// On SQLite, whose one writer the dispatcher's starts share: a batch must not keep them waiting.
pub const PAGE_SQLITE: u32 = 250;

/// What tells a message from the others of its subject and stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The due date, of a dated stage.
    DueDate(NaiveDate),
    /// The event's own identity: see [`regua_domain::events`].
    Event(String),
}

impl Occasion {
    /// The due date of a dated stage.
    pub const fn due_on(&self) -> Option<NaiveDate> {
        match self {
            Self::DueDate(due_on) => Some(*due_on),
            Self::Event(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::DueDate(due_on) => due_on.to_string(),
            Self::Event(occasion) => occasion.clone(),
        }
    }
}

/// A message to be written.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its id; for one that comes back, the old one's.
    pub id: MessageId,
    /// Whether it exists as skipped and comes back.
    pub revives: bool,
    /// The invoice; for `bureau_removed` the customer.
    pub subject: String,
    /// The stage.
    pub stage: Stage,
    /// The due date of a dated stage, or the identity of an event.
    pub occasion: Occasion,
    /// The policy that decided.
    pub policy_id: PolicyId,
    /// The notice.
    pub notice_id: NoticeId,
    /// The channel that it goes through.
    pub channel_id: ChannelId,
    /// The stage's own day; of an event the one on which it happened.
    pub stage_day: NaiveDate,
    /// The instant from which on it may leave.
    pub opens_at: DateTime<Utc>,
    /// When it ends unsent.
    pub expires_at: DateTime<Utc>,
    /// What will be sent, or why nothing will.
    pub text: Result<Rendered, SkipReason>,
}

/// A batch of decisions, committed with the run's own counters and cursor.
#[derive(Clone, Debug)]
pub struct EvaluationBatch {
    /// The run.
    pub run_id: RunId,
    /// The owner of its lease.
    pub owner: Uuid,
    /// The run's instant, for the watermark.
    pub planned_at: DateTime<Utc>,
    /// The source that the invoices are of.
    pub source_id: SourceId,
    /// Where the run goes on after this batch; `None` for a batch of events, which the rows themselves remember.
    pub cursor: Option<Cursor>,
    /// The messages: at most one per invoice, or those of the events.
    pub messages: Vec<NewMessage>,
    /// What became of the events; each is consumed with its message.
    pub events: Vec<EventDecision>,
    /// Open invoices that no policy speaks for.
    pub no_policy: u64,
}

/// What a batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluationCounts {
    /// New messages with a text: they wait for the release, or are in doubt since a backup was restored.
    pub held: u64,
    /// New messages written as skipped.
    pub skipped: u64,
    /// Skipped messages that came back.
    pub revived: u64,
    /// Earlier stages that a new message took the place of.
    pub superseded: u64,
    /// Invoices and events left alone because a message of theirs is being sent.
    pub blocked: u64,
    /// Events consumed.
    pub events: u64,
    /// Whether the run has more messages to be sent than may go without a person's consent.
    pub waits_for_approval: bool,
}

impl EvaluationCounts {
    /// Adds what another batch of the run did.
    pub const fn add(&mut self, batch: Self) {
        self.held += batch.held;
        self.skipped += batch.skipped;
        self.revived += batch.revived;
        self.superseded += batch.superseded;
        self.blocked += batch.blocked;
        self.events += batch.events;
        self.waits_for_approval |= batch.waits_for_approval;
    }
}

impl Ledger {
    /// Invoices of one evaluation batch.
    pub const fn evaluation_page(&self) -> u32 {
        if self.is_embedded() { PAGE_SQLITE } else { PAGE_POSTGRES }
    }

    /// Commits a batch of decisions under the run's lease: messages, counters and cursor in one transaction.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] when another evaluator has taken the run over: nothing was written.
    pub async fn commit_evaluation(&self, batch: impl Into<Arc<EvaluationBatch>>) -> Result<EvaluationCounts, LedgerError> {
        let batch: Arc<EvaluationBatch> = batch.into();
        self.db
            .write(move |tx| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { commit(tx, &batch).await })
            })
            .await
    }
}

async fn commit(tx: &mut Tx, batch: &EvaluationBatch) -> Result<EvaluationCounts, LedgerError> {
    // That the lease has expired bars nobody as long as nobody took the run over, which the lock on its row settles: what was decided a while ago
    // meets its siblings and the lost period as they are now, and is looked at once more by the top-up and by the start.
    let held = tx
        .fetch_optional(
            sql!("SELECT id FROM runs WHERE id = $1 AND lease_owner = $2 AND state = 'running'", for_update),
            values![batch.run_id, batch.owner],
        )
        .await?;
    if held.is_none() {
        return Err(LedgerError::LeaseLost);
    }
    // One batch of a source at a time: what is read below is then all that there is, also of another run's inserts (F11).
    tx.lock(sql!("SELECT id FROM sources WHERE id = $1", for_update), values![batch.source_id]).await?;
    let unconsumed = crate::events::unconsumed(tx, &batch.events).await?;
    let taken = taken_by_others(batch, &unconsumed);
    let siblings = lock_siblings(tx, batch).await?;
    let lost = crate::restored::lost_period(tx).await?;
    let now = tx.now().await?;
    let mut counts = EvaluationCounts::default();
    let admitted = supersede(tx, batch, &siblings, &taken, now, &mut counts).await?;
    let mut written = revive(tx, batch, &admitted, lost, now, &mut counts).await?;
    written.extend(insert(tx, batch, &admitted, lost, now, &mut counts).await?);
    // An event whose message could not be written now is decided again by the next run.
    let unwritten: HashSet<_> = batch.messages.iter().map(|message| message.id).filter(|id| !written.contains(id)).collect();
    let is_told = |event: &&EventDecision| event.message.is_none_or(|message| !unwritten.contains(&message));
    let consumed: Vec<_> = batch.events.iter().filter(|event| unconsumed.contains(&event.id)).filter(is_told).collect();
    counts.events = crate::events::consume(tx, batch.run_id, &consumed).await?;
    counts.waits_for_approval = count(tx, batch, &counts, now).await?;
    Ok(counts)
}

/// Adds up what the batch did in the run's own row; whether the run waits for approval now.
async fn count(tx: &mut Tx, batch: &EvaluationBatch, counts: &EvaluationCounts, now: DateTime<Utc>) -> Result<bool, LedgerError> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let cursor = batch.cursor.as_ref();
    let run = tx
        .fetch_one(
            sql!(
                "UPDATE runs SET evaluated = evaluated + $2 + $3, held = held + $2, skipped = skipped + $3, revived = revived + $4,
                        superseded = superseded + $5, blocked = blocked + $6, cursor_source = COALESCE($7, cursor_source),
                        cursor_due_on = COALESCE($8, cursor_due_on), cursor_invoice = COALESCE($9, cursor_invoice),
                        tries = 1, lease_expires_at = $10, no_policy = no_policy + $11, events = events + $12
                 WHERE id = $1 RETURNING id, kind, held + revived AS to_send, approval"
            ),
            values![
                batch.run_id,
                number(counts.held),
                number(counts.skipped),
                number(counts.revived),
                number(counts.superseded),
                number(counts.blocked),
                cursor.map(|cursor| cursor.source_id),
                cursor.map(|cursor| cursor.due_on),
                cursor.map(|cursor| cursor.invoice_id.clone()),
                now + crate::runs::LEASE,
                number(batch.no_policy),
                number(counts.events)
            ],
        )
        .await?;
    crate::approval::ask(tx, &run).await
}

/// The batch's messages whose event another run has consumed since it was read.
fn taken_by_others(batch: &EvaluationBatch, unconsumed: &HashSet<Uuid>) -> HashSet<MessageId> {
    let (free, taken): (Vec<_>, Vec<_>) = batch.events.iter().partition(|event| unconsumed.contains(&event.id));
    // Of several events of one message one that is free is enough.
    let free: HashSet<_> = free.iter().filter_map(|event| event.message).collect();
    taken.iter().filter_map(|event| event.message).filter(|message| !free.contains(message)).collect()
}

/// Another message of a subject in the batch, as it is under its lock.
struct Sibling {
    id: MessageId,
    stage: Stage,
    due_on: Option<NaiveDate>,
    occasion: String,
    state: State,
    may_have_arrived: bool,
}

impl Sibling {
    /// Whether it and a new message may take each other's place: dated ones of one invoice, and those of one event stage of one subject.
    fn concerns(&self, message: &NewMessage) -> bool {
        self.due_on.is_some() == message.occasion.due_on().is_some() && (self.due_on.is_some() || self.stage == message.stage)
    }

    /// Whether a new message comes too late because of it; `is_current` says whether the message speaks of the due date that the mirror
    /// has now. Then a later one bars it only with the same stage or a more advanced one: a due date may be moved back. Of events the evaluator
    /// has decided which is the newer.
    fn bars(&self, message: &NewMessage, is_current: bool) -> bool {
        let due_on = message.occasion.due_on();
        let is_said = self.stage >= message.stage;
        let newer = (self.due_on == due_on && is_said) || (self.due_on > due_on && (is_said || !is_current));
        due_on.is_some() && newer && (self.state.is_live() || self.may_have_arrived)
    }
}

/// The messages of the batch's subjects, locked: live ones may be superseded, others bar an earlier stage.
async fn lock_siblings(tx: &mut Tx, batch: &EvaluationBatch) -> Result<HashMap<String, Vec<Sibling>>, LedgerError> {
    let subjects: Vec<_> = batch.messages.iter().map(|message| &message.subject).collect();
    let rows = tx
        .fetch(
            sql!(
                "SELECT id, subject, stage, due_on, occasion, state, reason FROM messages WHERE source_id = $1 AND subject",
                (among 2 text),
                " ORDER BY id",
                for_update
            ),
            values![batch.source_id, json!(subjects).to_string()],
        )
        .await?;
    let mut siblings: HashMap<String, Vec<Sibling>> = HashMap::new();
    for row in &rows {
        siblings.entry(row.text("subject")?).or_default().push(read_sibling(row)?);
    }
    let comes_back = |message: &&NewMessage| message.stage == Stage::Renegotiated && message.revives;
    let elsewhere: Vec<_> = batch.messages.iter().filter(comes_back).map(|message| message.id).collect();
    if !elsewhere.is_empty() {
        siblings.insert(ELSEWHERE.into(), lock_by_id(tx, &elsewhere).await?);
    }
    Ok(siblings)
}

/// The due dates that the mirror has of the batch's invoices; under the source's lock no sync moves them.
async fn due_dates(tx: &mut Tx, batch: &EvaluationBatch) -> Result<HashMap<String, NaiveDate>, LedgerError> {
    let dated = batch.messages.iter().filter(|message| message.occasion.due_on().is_some());
    let subjects: Vec<_> = dated.map(|message| &message.subject).collect();
    if subjects.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = tx
        .fetch(
            sql!("SELECT id, due_on FROM invoices WHERE source_id = $1 AND id", (among 2 text)),
            values![batch.source_id, json!(subjects).to_string()],
        )
        .await?;
    rows.iter().map(|row| Ok((row.text("id")?, row.date("due_on")?))).collect()
}

/// No subject: where messages are kept that are known by their id.
const ELSEWHERE: &str = "";

async fn lock_by_id(tx: &mut Tx, ids: &[MessageId]) -> Result<Vec<Sibling>, LedgerError> {
    let rows = tx
        .fetch(
            sql!("SELECT id, stage, due_on, occasion, state, reason FROM messages WHERE id", (among 1 uuid), " ORDER BY id", for_update),
            values![crate::snapshot::json_ids(ids.iter().map(|id| id.0))],
        )
        .await?;
    rows.iter().map(read_sibling).collect()
}

fn read_sibling(row: &Row) -> Result<Sibling, LedgerError> {
    let state = row.named("state", State::parse)?;
    Ok(Sibling {
        id: MessageId(row.id("id")?),
        stage: row.named("stage", Stage::parse)?,
        due_on: row.opt_date("due_on")?,
        occasion: row.text("occasion")?,
        state,
        may_have_arrived: state.may_have_arrived() || fail_reason(row, state)?.is_some_and(FailReason::may_have_arrived),
    })
}

/// Decides each message against its siblings; earlier stages make room. Returns the places of those that go on; not those that were `taken`,
/// whose event another run has consumed meanwhile.
async fn supersede(
    tx: &mut Tx,
    batch: &EvaluationBatch,
    siblings: &HashMap<String, Vec<Sibling>>,
    taken: &HashSet<MessageId>,
    now: DateTime<Utc>,
    counts: &mut EvaluationCounts,
) -> Result<HashSet<MessageId>, LedgerError> {
    let mut admitted = HashSet::new();
    let mut overtaken = Vec::new();
    let due_dates = due_dates(tx, batch).await?;
    for message in batch.messages.iter().filter(|message| !taken.contains(&message.id)) {
        let others = siblings.get(&message.subject).map_or(&[][..], Vec::as_slice);
        let others: Vec<&Sibling> = others.iter().filter(|other| other.concerns(message)).collect();
        if others.iter().any(|other| other.state == State::Sending) {
            counts.blocked += 1;
            continue;
        }
        let is_current = message.occasion.due_on() == due_dates.get(&message.subject).copied();
        let barred = others.iter().filter(|other| other.id != message.id).any(|other| other.bars(message, is_current));
        let occasion = message.occasion.text();
        let is_own = |other: &&Sibling| other.occasion == occasion && other.stage == message.stage;
        // That of a renegotiation may stand with another of its titles.
        let own =
            others.iter().copied().find(is_own).or_else(|| siblings.get(ELSEWHERE)?.iter().find(|other| other.id == message.id));
        let is_there = own.map(|own| (own.id, own.state));
        let expected = message.revives.then_some((message.id, State::Skipped));
        if barred || is_there != expected {
            continue;
        }
        if message.text.is_ok() {
            let live = others.iter().filter(|other| other.state.is_live());
            overtaken.extend(live.map(|other| json!({"id": other.id, "reason": SkipReason::Superseded})));
        }
        admitted.insert(message.id);
    }
    if !overtaken.is_empty() {
        counts.superseded += crate::start::skip(tx, &overtaken, now).await?;
    }
    Ok(admitted)
}

async fn revive(
    tx: &mut Tx,
    batch: &EvaluationBatch,
    admitted: &HashSet<MessageId>,
    lost: Option<LostPeriod>,
    now: DateTime<Utc>,
    counts: &mut EvaluationCounts,
) -> Result<HashSet<MessageId>, LedgerError> {
    let revived: Vec<_> = batch.messages.iter().filter(|message| message.revives && admitted.contains(&message.id)).collect();
    let rows: Vec<_> = revived.iter().filter_map(|message| revive_json(message, lost, now)).collect();
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    counts.revived += tx
        .execute(
            sql!(
                "UPDATE messages SET subject = r.subject, state = r.state, reason = r.reason, policy_id = r.policy_id, notice_id = r.notice_id, channel_id = r.channel_id,
                        phone_key = r.phone_key, facts_version = r.facts_version, expires_at = r.expires_at, amount = r.amount, run_id = $2, run_planned_at = $3,
                        next_attempt_at = r.next_attempt_at, phone_slot_at = NULL, anonymised_at = NULL, updated_at = $4
                 FROM ",
                (rows 1 r id: uuid, subject: text, state: text, reason: text, policy_id: uuid, notice_id: uuid, channel_id: uuid,
                 phone_key: text, facts_version: text, expires_at: bigint, next_attempt_at: bigint, amount: bigint),
                " WHERE messages.id = r.id AND messages.state = 'skipped'"
            ),
            values![json!(rows).to_string(), batch.run_id, batch.planned_at, now],
        )
        .await?;
    write_texts(tx, &revived.iter().filter_map(|m| Some((m.id, m.text.as_ref().ok()?))).collect::<Vec<_>>()).await?;
    Ok(revived.iter().map(|message| message.id).collect())
}

async fn insert(
    tx: &mut Tx,
    batch: &EvaluationBatch,
    admitted: &HashSet<MessageId>,
    lost: Option<LostPeriod>,
    now: DateTime<Utc>,
    counts: &mut EvaluationCounts,
) -> Result<Vec<MessageId>, LedgerError> {
    let new: BTreeMap<MessageId, &NewMessage> = batch
        .messages
        .iter()
        .filter(|message| !message.revives && admitted.contains(&message.id))
        .map(|message| (message.id, message))
        .collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<_> = new.values().map(|message| insert_json(message, lost, now)).collect();
    let number = tx
        .execute(
            sql!(
                "INSERT INTO messages (id, source_id, subject, stage, stage_rank, occasion, due_on, state, reason, policy_id, notice_id,
                        channel_id, phone_key, run_id, run_planned_at, next_attempt_at, expires_at, facts_version, amount, created_at, updated_at)
                 SELECT r.id, $2, r.subject, r.stage, r.stage_rank, r.occasion, r.due_on, r.state, r.reason, r.policy_id, r.notice_id,
                        r.channel_id, r.phone_key, $3, $4, r.next_attempt_at, r.expires_at, r.facts_version, r.amount, $5, $5
                 FROM ",
                (rows 1 r id: uuid, subject: text, stage: text, stage_rank: bigint, occasion: text, due_on: text, state: text, reason: text,
                 policy_id: uuid, notice_id: uuid, channel_id: uuid, phone_key: text, next_attempt_at: bigint, expires_at: bigint,
                 facts_version: text, amount: bigint),
                " WHERE true ON CONFLICT DO NOTHING"
            ),
            values![json!(rows).to_string(), batch.source_id, batch.run_id, batch.planned_at, now],
        )
        .await?;
    let met_another = number < new.len() as u64;
    let inserted = if met_another { existing(tx, new.keys()).await? } else { new.keys().copied().collect() };
    let mut texts = Vec::with_capacity(inserted.len());
    for id in &inserted {
        match new.get(id).map(|message| &message.text) {
            Some(Ok(text)) => {
                counts.held += 1;
                texts.push((*id, text));
            }
            _ => counts.skipped += 1,
        }
    }
    // A row that met another evaluator's: its invoice is looked at again by the next run.
    counts.blocked += (new.len() - inserted.len()) as u64;
    write_texts(tx, &texts).await?;
    Ok(inserted)
}

/// Which of these ids are messages.
async fn existing(tx: &mut Tx, ids: impl Iterator<Item = &MessageId>) -> Result<Vec<MessageId>, LedgerError> {
    let ids = crate::snapshot::json_ids(ids.map(|id| id.0));
    let rows = tx.fetch(sql!("SELECT id FROM messages WHERE id", (among 1 uuid)), values![ids]).await?;
    rows.iter().map(|row| row.id("id").map(MessageId)).collect()
}

fn insert_json(message: &NewMessage, lost: Option<LostPeriod>, now: DateTime<Utc>) -> serde_json::Value {
    let (state, reason, text) = match &message.text {
        Ok(text) => {
            let (state, reason) = first_state(message, lost);
            (state, reason, Some(text))
        }
        Err(why) => (State::Skipped, Some(why.as_str()), None),
    };
    json!({
        "id": message.id, "subject": message.subject, "stage": message.stage, "stage_rank": message.stage.rank(),
        "occasion": message.occasion.text(), "due_on": message.occasion.due_on(),
        "state": state, "reason": reason, "policy_id": message.policy_id, "notice_id": message.notice_id, "channel_id": message.channel_id,
        "phone_key": text.map(|text| &text.phone_key), "next_attempt_at": first_try_at(message, state, now), "expires_at": micros(message.expires_at),
        "facts_version": text.map(Rendered::facts_version).unwrap_or_default(), "amount": text.map_or(Centavos(0), |text| text.amount),
    })
}

/// Where a message that can be sent begins, or begins again: one that may have been sent in the time that a restored backup
/// lost is in doubt.
fn first_state(message: &NewMessage, lost: Option<LostPeriod>) -> (State, Option<&'static str>) {
    if lost.is_some_and(|lost| lost.may_have_sent(message.stage_day)) {
        (State::InDoubt, Some(DoubtReason::Restored.as_str()))
    } else {
        (State::Held, None)
    }
}

/// When a held message may be tried first: nobody looks at it again before its recipient's window opens. `None`: at once.
fn first_try_at(message: &NewMessage, state: State, now: DateTime<Utc>) -> Option<i64> {
    (state == State::Held && message.opens_at > now).then_some(micros(message.opens_at))
}

fn revive_json(message: &NewMessage, lost: Option<LostPeriod>, now: DateTime<Utc>) -> Option<serde_json::Value> {
    let text = message.text.as_ref().ok()?;
    let (state, reason) = first_state(message, lost);
    Some(json!({
        "id": message.id, "subject": message.subject, "state": state, "reason": reason, "policy_id": message.policy_id, "notice_id": message.notice_id, "channel_id": message.channel_id,
        "phone_key": text.phone_key, "facts_version": text.facts_version(), "expires_at": micros(message.expires_at),
        "next_attempt_at": first_try_at(message, state, now), "amount": text.amount,
    }))
}

/// Writes what customers will read, in place of what was there.
pub(crate) async fn write_texts(tx: &mut Tx, texts: &[(MessageId, &Rendered)]) -> Result<(), LedgerError> {
    if texts.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = texts
        .iter()
        .map(|(id, text)| {
            json!({
                "message_id": id, "phone": text.phone, "provider_channel_id": text.provider_channel_id, "template_id": text.template_id,
                "variables": text.values, "media": text.media,
            })
        })
        .collect();
    tx.execute(
        sql!(
            "INSERT INTO message_texts (message_id, phone, provider_channel_id, template_id, variables, media)
             SELECT r.message_id, r.phone, r.provider_channel_id, r.template_id, r.variables, r.media FROM ",
            (rows 1 r message_id: uuid, phone: text, provider_channel_id: text, template_id: text, variables: text, media: text),
            " WHERE true ON CONFLICT (message_id) DO UPDATE SET phone = excluded.phone, provider_channel_id = excluded.provider_channel_id,
                     template_id = excluded.template_id, variables = excluded.variables, media = excluded.media"
        ),
        values![json!(rows).to_string()],
    )
    .await?;
    Ok(())
}
