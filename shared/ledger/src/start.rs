//! *start*: ONE transaction over a batch that returns each message with a send instant, or says why not (K2).

use crate::database::{Tx, micros};
use crate::error::LedgerError;
use crate::frequency::People;
use crate::rivals::Rivals;
use crate::snapshot::{self, Limits, Loaded, json_ids};
use crate::{Ledger, settings};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::admission::{self, BUDGET_PERIOD, Budget, Gate, Recipient, Rules, Verdict};
use regua_domain::ids::{AttemptId, BusinessId, ChannelId, IntegrationId, MessageId};
use regua_domain::message::{DeferReason, SkipReason};
use regua_domain::render::Rendered;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Messages that one start may take.
pub const BATCH_MAX: usize = 256;
/// An empty JSON array.
const NONE: &str = "[]";
/// Width of the buckets in which a business's recipients are counted.
const BUCKET: TimeDelta = TimeDelta::minutes(5);

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
    /// [`Ledger::attempts_begun`] tells which attempts exist.
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

    /// Which of these attempts exist: the look-up after a start whose commit had no known outcome.
    pub async fn attempts_begun(&self, attempts: &[AttemptId]) -> Result<Vec<AttemptId>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!("SELECT id FROM attempts WHERE finished_at IS NULL AND id", (among 1 uuid)),
                values![json_ids(attempts.iter().map(|id| id.0))],
            )
            .await?;
        rows.iter().map(|row| row.id("id").map(AttemptId)).collect()
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
    let mut loaded = snapshot::load(tx, &ids, &stops).await?;
    if loaded.iter().any(|message| shared.goes_by_others(message)) {
        return Err(LedgerError::Overtaken);
    }
    let rules = Rules {
        terms: settings.terms(),
        caps: (!settings.pilot.redirects()).then_some(settings.caps.frequency()),
        lead: batch.lead,
        horizon: batch.horizon,
    };
    let mut writes = Writes::default();
    let mut answers = Vec::with_capacity(ids.len());
    let mut rivals = Rivals::find(tx, &loaded, &shared.people, &rules, &stops, now).await?;
    // Best first: then whoever is decided later knows what the better ones got.
    loaded.sort_unstable_by_key(|message| message.precedence);
    for message in &loaded {
        let (verdict, before) = shared.admit(message, rivals.ahead_of(message), &rules, now);
        rivals.note(message, &verdict);
        let attempt = attempts[&message.id];
        answers.push((message.id, writes.note(message, attempt, verdict, &before, batch, now)));
    }
    let known: BTreeSet<MessageId> = loaded.iter().map(|message| message.id).collect();
    answers.extend(ids.iter().filter(|id| !known.contains(id)).map(|id| (*id, StartAnswer::Unknown)));
    shared.store(tx, &writes).await?;
    writes.store(tx, batch, now).await?;
    Ok(StartReply { now, answers })
}

/// The rows that many messages share, locked in the ledger's order and changed in memory.
#[derive(Default)]
struct Shared {
    gates: BTreeMap<ChannelId, Gate>,
    gates_before: BTreeMap<ChannelId, Gate>,
    recipients: BTreeMap<(BusinessId, String), Recipient>,
    before: BTreeMap<(BusinessId, String), Recipient>,
    people: People,
    budgets: BTreeMap<BusinessId, Budget>,
}

impl Shared {
    /// Locks businesses → gates → recipients → people → messages, each sorted.
    async fn lock(tx: &mut Tx, ids: &[MessageId]) -> Result<Self, LedgerError> {
        let json = json_ids(ids.iter().map(|id| id.0));
        let mut shared = Self::default();
        let keys = shared.look(tx, &json).await?;
        shared.lock_limited_businesses(tx).await?;
        shared.lock_gates(tx).await?;
        let phone_keys = keys.iter().map(|(_, phone_key)| phone_key.clone()).collect();
        shared.lock_recipients(tx, keys).await?;
        shared.people = People::lock(tx, phone_keys).await?;
        tx.lock(sql!("SELECT id FROM messages WHERE id", (among 1 uuid), " ORDER BY id", for_update), values![&json]).await?;
        Ok(shared)
    }

    /// What the messages share, not locked yet: gates, budgets, and the keys of their recipients.
    async fn look(&mut self, tx: &mut Tx, ids: &str) -> Result<BTreeSet<(BusinessId, String)>, LedgerError> {
        let rows = tx
            .fetch(
                sql!(
                    "SELECT m.phone_key, m.channel_id, c.per_second, c.business_id, b.recipients_per_24h FROM messages m
                     JOIN channels c ON c.id = m.channel_id JOIN businesses b ON b.id = c.business_id WHERE m.id",
                    (among 1 uuid)
                ),
                values![ids],
            )
            .await?;
        let mut keys = BTreeSet::new();
        for row in &rows {
            let business = BusinessId(row.id("business_id")?);
            let limits = Limits::read(row)?;
            self.budgets.insert(business, Budget { limit: limits.recipients_per_24h, used: 0, frees_at: None });
            let gate = Gate { per_second: limits.per_second, next_free_at: DateTime::UNIX_EPOCH, paused_until: None };
            self.gates.insert(ChannelId(row.id("channel_id")?), gate);
            keys.extend(row.opt_text("phone_key")?.map(|phone_key| (business, phone_key)));
        }
        Ok(keys)
    }

    /// A budget is counted by one start at a time; who has none waits for nobody.
    async fn lock_limited_businesses(&self, tx: &mut Tx) -> Result<(), LedgerError> {
        let limited = json_ids(self.budgets.iter().filter(|(_, budget)| budget.limit.is_some()).map(|(id, _)| id.0));
        if limited != NONE {
            tx.lock(sql!("SELECT id FROM businesses WHERE id", (among 1 uuid), " ORDER BY id", for_update), values![limited])
                .await?;
        }
        Ok(())
    }

    async fn lock_gates(&mut self, tx: &mut Tx) -> Result<(), LedgerError> {
        let rows = tx
            .fetch(
                sql!(
                    "SELECT channel_id, next_free_at, paused_until FROM gates WHERE channel_id",
                    (among 1 uuid),
                    " ORDER BY channel_id",
                    for_update
                ),
                values![json_ids(self.gates.keys().map(|id| id.0))],
            )
            .await?;
        for row in &rows {
            if let Some(gate) = self.gates.get_mut(&ChannelId(row.id("channel_id")?)) {
                gate.next_free_at = row.instant("next_free_at")?;
                gate.paused_until = row.opt_instant("paused_until")?;
            }
        }
        self.gates_before = self.gates.clone();
        Ok(())
    }

    /// Locks the recipients that were written to before. The others get their row when the first message to them starts: two starts that
    /// write to one new person at once meet at its key, and one of them is repeated.
    async fn lock_recipients(&mut self, tx: &mut Tx, keys: BTreeSet<(BusinessId, String)>) -> Result<(), LedgerError> {
        let wanted: Vec<_> = keys.iter().map(|(business, phone)| json!({"business_id": business, "phone_key": phone})).collect();
        let rows = tx
            .fetch(
                sql!(
                    "SELECT t.business_id, t.phone_key, t.last_start_at, t.reserved_at, t.counted_at FROM ",
                    (rows 1 r business_id: uuid, phone_key: text),
                    " JOIN recipients t ON t.business_id = r.business_id AND t.phone_key = r.phone_key ORDER BY t.business_id, t.phone_key",
                    { postgres: " FOR NO KEY UPDATE OF t", sqlite: "" }
                ),
                values![json!(wanted).to_string()],
            )
            .await?;
        for row in &rows {
            let recipient = Recipient {
                last_start_at: row.opt_instant("last_start_at")?,
                reserved_at: row.opt_instant("reserved_at")?,
                counted_at: row.opt_instant("counted_at")?,
            };
            self.before.insert((BusinessId(row.id("business_id")?), row.text("phone_key")?), recipient);
        }
        self.recipients = self.before.clone();
        for key in keys {
            self.recipients.entry(key).or_default();
        }
        Ok(())
    }

    /// What the businesses with a limit have used up of it.
    async fn load_budgets(&mut self, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), LedgerError> {
        for (business, budget) in self.budgets.iter_mut().filter(|(_, budget)| budget.limit.is_some()) {
            let row = tx
                .fetch_one(
                    sql!(
                        "SELECT CAST(COALESCE(SUM(recipients), 0) AS BIGINT) AS used, MIN(bucket_at) AS oldest FROM budget_buckets
                         WHERE business_id = $1 AND bucket_at > $2 AND recipients > 0"
                    ),
                    values![*business, now - BUDGET_PERIOD - BUCKET],
                )
                .await?;
            budget.used = row.small("used")?;
            budget.frees_at = row.opt_instant("oldest")?.map(|at| at + BUCKET + BUDGET_PERIOD);
        }
        Ok(())
    }

    /// Whether a message's limits changed between the look and the locks. They can't any more: who changes them waits for its gate.
    fn goes_by_others(&self, message: &Loaded) -> bool {
        let (gate, budget) = (self.gates.get(&message.channel_id), self.budgets.get(&message.business_id));
        gate.zip(budget).is_some_and(|(gate, budget)| {
            message.limits != Limits { per_second: gate.per_second, recipients_per_24h: budget.limit }
        })
    }

    /// The verdict on one message that `ahead` others to its person are better than, and its recipient as it found it.
    fn admit(&mut self, message: &Loaded, ahead: u32, rules: &Rules<'_>, now: DateTime<Utc>) -> (Verdict, RecipientBefore) {
        let gate = self.gates.get_mut(&message.channel_id);
        let recipient = self.recipients.get_mut(&(message.business_id, message.phone_key.clone()));
        let person = self.people.get_mut(&message.phone_key);
        let budget = self.budgets.get_mut(&message.business_id);
        if let (Some(gate), Some(recipient), Some(person), Some(budget)) = (gate, recipient, person, budget) {
            let before = RecipientBefore::of(recipient);
            person.ahead = ahead;
            return (admission::admit(&message.snapshot, gate, recipient, person, budget, rules, now), before);
        }
        // It got another channel or phone between the first look and its lock, so that nobody has locked what it would count
        // on: ask again. Without a phone it isn't live.
        let is_live = message.snapshot.state.is_live();
        let verdict = if is_live { Verdict::NoSlot { free_at: now } } else { Verdict::NotWaiting };
        (verdict, RecipientBefore::of(&Recipient::default()))
    }

    /// Writes the gates that gave a slot or were closed by an exhausted budget.
    async fn store_gates(&self, tx: &mut Tx) -> Result<(), LedgerError> {
        let changed = self.gates.iter().filter(|(id, gate)| self.gates_before.get(*id) != Some(*gate));
        let rows: Vec<_> = changed
            .map(|(id, gate)| {
                let paused = self.gates_before[id].paused_until != gate.paused_until;
                let budget_until = gate.paused_until.filter(|_| paused).map(micros);
                json!({"channel_id": id, "next_free_at": micros(gate.next_free_at), "budget_until": budget_until})
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        tx.execute(
            sql!(
                "UPDATE gates SET next_free_at = r.next_free_at, paused_until = COALESCE(r.budget_until, gates.paused_until),
                        pause_reason = CASE WHEN r.budget_until IS NULL THEN gates.pause_reason ELSE 'budget' END
                 FROM ",
                (rows 1 r channel_id: uuid, next_free_at: bigint, budget_until: bigint),
                " WHERE gates.channel_id = r.channel_id"
            ),
            values![json!(rows).to_string()],
        )
        .await?;
        Ok(())
    }

    async fn store(&self, tx: &mut Tx, writes: &Writes) -> Result<(), LedgerError> {
        self.store_gates(tx).await?;
        self.store_recipients(tx, writes).await?;
        self.people.store(tx).await?;
        let mut buckets = BucketChanges::default();
        for (key, recipient) in &self.recipients {
            let before = self.before.get(key).and_then(|before| before.counted_at);
            buckets.move_recipient(key.0, before, recipient.counted_at);
        }
        buckets.store(tx).await
    }

    async fn store_recipients(&self, tx: &mut Tx, writes: &Writes) -> Result<(), LedgerError> {
        let last: BTreeMap<_, _> = writes.started.iter().map(|started| (&started.recipient, started.attempt_id)).collect();
        let unknown = Recipient::default();
        let changed = self.recipients.iter().filter(|(key, recipient)| self.before.get(*key).unwrap_or(&unknown) != *recipient);
        let (known, new): (Vec<_>, Vec<_>) = changed.partition(|(key, _)| self.before.contains_key(*key));
        let json = |rows: Vec<(&(BusinessId, String), &Recipient)>| {
            let rows: Vec<_> =
                rows.into_iter().map(|(key, recipient)| recipient_json(key, recipient, last.get(key).copied())).collect();
            json!(rows).to_string()
        };
        if !known.is_empty() {
            tx.execute(
                sql!(
                    "UPDATE recipients SET last_start_at = r.last_start_at, reserved_at = r.reserved_at, counted_at = r.counted_at,
                            last_attempt_id = COALESCE(r.last_attempt_id, recipients.last_attempt_id)
                     FROM ",
                    (rows 1 r business_id: uuid, phone_key: text, last_start_at: bigint, reserved_at: bigint, counted_at: bigint,
                     last_attempt_id: uuid),
                    " WHERE recipients.business_id = r.business_id AND recipients.phone_key = r.phone_key"
                ),
                values![json(known)],
            )
            .await?;
        }
        if !new.is_empty() {
            let number = new.len() as u64;
            let inserted = tx
                .execute(
                    sql!(
                        "INSERT INTO recipients (business_id, phone_key, last_start_at, reserved_at, counted_at, last_attempt_id)
                         SELECT r.business_id, r.phone_key, r.last_start_at, r.reserved_at, r.counted_at, r.last_attempt_id FROM ",
                        (rows 1 r business_id: uuid, phone_key: text, last_start_at: bigint, reserved_at: bigint, counted_at: bigint,
                         last_attempt_id: uuid),
                        " WHERE true ORDER BY 1, 2 ON CONFLICT DO NOTHING"
                    ),
                    values![json(new)],
                )
                .await?;
            if inserted != number {
                return Err(LedgerError::Overtaken);
            }
        }
        Ok(())
    }
}

/// Changes to the five-minute buckets of recipients, added up over a batch.
#[derive(Default)]
pub(crate) struct BucketChanges(BTreeMap<(BusinessId, i64), i64>);

impl BucketChanges {
    /// Moves one recipient from the bucket of one instant to that of another.
    pub(crate) fn move_recipient(&mut self, business: BusinessId, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) {
        let bucket = |at: DateTime<Utc>| micros(at).div_euclid(bucket_us()) * bucket_us();
        for (at, change) in [(from, -1), (to, 1)] {
            if let Some(at) = at {
                *self.0.entry((business, bucket(at))).or_default() += change;
            }
        }
    }

    /// Adds what was counted, and takes away what is counted elsewhere now. Several buckets are locked first, oldest first: a start moves
    /// people to newer ones and a give-back to older ones, and they would wait for each other.
    pub(crate) async fn store(self, tx: &mut Tx) -> Result<(), LedgerError> {
        if self.0.len() > 1 {
            let keys: Vec<_> =
                self.0.keys().map(|(business, bucket)| json!({"business_id": business, "bucket_at": bucket})).collect();
            tx.lock(
                sql!(
                    "SELECT b.bucket_at FROM ",
                    (rows 1 r business_id: uuid, bucket_at: bigint),
                    " JOIN budget_buckets b ON b.business_id = r.business_id AND b.bucket_at = r.bucket_at
                      ORDER BY b.business_id, b.bucket_at",
                    { postgres: " FOR NO KEY UPDATE OF b", sqlite: "" }
                ),
                values![json!(keys).to_string()],
            )
            .await?;
        }
        let rows = |sign: i64| -> Vec<_> {
            let changes = self.0.iter().filter(|(_, change)| change.signum() == sign);
            changes
                .map(|((business, bucket), change)| json!({"business_id": business, "bucket_at": bucket, "change": change}))
                .collect()
        };
        let (more, fewer) = (rows(1), rows(-1));
        if !more.is_empty() {
            tx.execute(
                sql!(
                    "INSERT INTO budget_buckets (business_id, bucket_at, recipients) SELECT r.business_id, r.bucket_at, r.change FROM ",
                    (rows 1 r business_id: uuid, bucket_at: bigint, change: bigint),
                    " WHERE true ON CONFLICT (business_id, bucket_at) DO UPDATE
                      SET recipients = budget_buckets.recipients + excluded.recipients"
                ),
                values![json!(more).to_string()],
            )
            .await?;
        }
        if !fewer.is_empty() {
            tx.execute(
                sql!(
                    "UPDATE budget_buckets SET recipients = CASE WHEN recipients + r.change < 0 THEN 0 ELSE recipients + r.change END FROM ",
                    (rows 1 r business_id: uuid, bucket_at: bigint, change: bigint),
                    " WHERE budget_buckets.business_id = r.business_id AND budget_buckets.bucket_at = r.bucket_at"
                ),
                values![json!(fewer).to_string()],
            )
            .await?;
        }
        Ok(())
    }
}

const fn bucket_us() -> i64 {
    BUCKET.num_seconds() * 1_000_000
}

fn recipient_json(key: &(BusinessId, String), recipient: &Recipient, last: Option<AttemptId>) -> serde_json::Value {
    json!({
        "business_id": key.0,
        "phone_key": key.1,
        "last_start_at": recipient.last_start_at.map(micros),
        "reserved_at": recipient.reserved_at.map(micros),
        "counted_at": recipient.counted_at.map(micros),
        "last_attempt_id": last,
    })
}

struct StartedRow {
    message_id: MessageId,
    attempt_id: AttemptId,
    channel_id: ChannelId,
    recipient: (BusinessId, String),
    number: u32,
    slot_at: DateTime<Utc>,
    counted_on: Option<NaiveDate>,
    redirected: bool,
    before: RecipientBefore,
}

/// The state changes of the batch.
#[derive(Default)]
struct Writes {
    started: Vec<StartedRow>,
    postponed: Vec<serde_json::Value>,
    skipped: Vec<serde_json::Value>,
}

impl Writes {
    fn note(
        &mut self,
        message: &Loaded,
        attempt_id: AttemptId,
        verdict: Verdict,
        before: &RecipientBefore,
        batch: &StartBatch,
        now: DateTime<Utc>,
    ) -> StartAnswer {
        match verdict {
            Verdict::Start { slot_at, is_paced, counted_on, text } => {
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
                    lease_expires_at: now + batch.lease,
                    expires_at: message.snapshot.expires_at,
                    number,
                    channel_id: message.channel_id,
                    integration_id: message.integration_id,
                    text,
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

    async fn store(&self, tx: &mut Tx, batch: &StartBatch, now: DateTime<Utc>) -> Result<(), LedgerError> {
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
                    " WHERE messages.id = r.id AND messages.state IN ('queued', 'scheduled')"
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

    async fn store_started(&self, tx: &mut Tx, batch: &StartBatch, now: DateTime<Utc>) -> Result<(), LedgerError> {
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
                " WHERE messages.id = r.message_id AND messages.state IN ('queued', 'scheduled')"
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

/// Skips waiting messages; `rows` are JSON objects of id and reason.
pub(crate) async fn skip(tx: &mut Tx, rows: &[serde_json::Value], now: DateTime<Utc>) -> Result<u64, LedgerError> {
    tx.execute(
        sql!(
            "UPDATE messages SET state = 'skipped', reason = r.reason, queued_at = NULL, next_attempt_at = NULL, updated_at = $2 FROM ",
            (rows 1 r id: uuid, reason: text),
            " WHERE messages.id = r.id AND messages.state IN ('held', 'scheduled', 'queued')"
        ),
        values![json!(rows).to_string(), now],
    )
    .await
}
