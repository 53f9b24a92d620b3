//! The rows that many messages share: locked in the ledger's order, changed in memory, written back.

use super::RecipientBefore;
use super::writes::Writes;
use crate::budgets::{self, BucketChanges};
use crate::database::{Row, Tx, micros};
use crate::error::LedgerError;
use crate::frequency::People;
use crate::gates;
use crate::snapshot::{Limits, Loaded, json_ids};
use chrono::{DateTime, Utc};
use regua_domain::admission::{self, Budget, Recipient, Rules, Verdict};
use regua_domain::gate::Gate;
use regua_domain::ids::{AttemptId, BusinessId, ChannelId, MessageId};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// An empty JSON array.
const NONE: &str = "[]";

/// The rows that many messages share, locked in the ledger's order and changed in memory.
#[derive(Default)]
pub(super) struct Shared {
    gates: BTreeMap<ChannelId, Gate>,
    gates_before: BTreeMap<ChannelId, Gate>,
    recipients: BTreeMap<(BusinessId, String), Recipient>,
    before: BTreeMap<(BusinessId, String), Recipient>,
    pub(super) people: People,
    budgets: BTreeMap<BusinessId, Budget>,
    /// The probe that each gate gave.
    probes: BTreeMap<ChannelId, AttemptId>,
}

impl Shared {
    /// Locks businesses → gates → recipients → people → messages, each sorted.
    pub(super) async fn lock(tx: &mut Tx, ids: &[MessageId]) -> Result<Self, LedgerError> {
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
    pub(super) async fn look(&mut self, tx: &mut Tx, ids: &str) -> Result<BTreeSet<(BusinessId, String)>, LedgerError> {
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
            let gate = Gate { per_second: limits.per_second, ..Gate::default() };
            self.gates.insert(ChannelId(row.id("channel_id")?), gate);
            keys.extend(row.opt_text("phone_key")?.map(|phone_key| (business, phone_key)));
        }
        Ok(keys)
    }

    /// A budget is counted by one start at a time; who has none waits for nobody.
    pub(super) async fn lock_limited_businesses(&self, tx: &mut Tx) -> Result<(), LedgerError> {
        let limited = json_ids(self.budgets.iter().filter(|(_, budget)| budget.limit.is_some()).map(|(id, _)| id.0));
        if limited != NONE {
            tx.lock(sql!("SELECT id FROM businesses WHERE id", (among 1 uuid), " ORDER BY id", for_update), values![limited])
                .await?;
        }
        Ok(())
    }

    pub(super) async fn lock_gates(&mut self, tx: &mut Tx) -> Result<(), LedgerError> {
        let rows = tx
            .fetch(
                sql!(
                    "SELECT channel_id, next_free_at, paused_until, trips, starts, allowance_through, allowance_until_at FROM gates WHERE channel_id",
                    (among 1 uuid),
                    " ORDER BY channel_id",
                    for_update
                ),
                values![json_ids(self.gates.keys().map(|id| id.0))],
            )
            .await?;
        for row in &rows {
            if let Some(gate) = self.gates.get_mut(&ChannelId(row.id("channel_id")?)) {
                *gate = gates::read(row, gate.per_second)?;
            }
        }
        self.gates_before = self.gates.clone();
        Ok(())
    }

    /// Locks the recipients that were written to before. The others get their row when the first message to them starts: two starts that
    /// write to one new person at once meet at its key, and one of them is repeated.
    pub(super) async fn lock_recipients(&mut self, tx: &mut Tx, keys: BTreeSet<(BusinessId, String)>) -> Result<(), LedgerError> {
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
            self.before.insert((BusinessId(row.id("business_id")?), row.text("phone_key")?), read_recipient(row)?);
        }
        self.recipients = self.before.clone();
        for key in keys {
            self.recipients.entry(key).or_default();
        }
        Ok(())
    }

    /// What the businesses with a limit have used up of it.
    pub(super) async fn load_budgets(&mut self, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), LedgerError> {
        for (business, budget) in &mut self.budgets {
            *budget = budgets::load(tx, *business, budget.limit, now).await?;
        }
        Ok(())
    }

    /// Whether a message's limits changed between the look and the locks. They can't any more: who changes them waits for its gate.
    pub(super) fn goes_by_others(&self, message: &Loaded) -> bool {
        let (gate, budget) = (self.gates.get(&message.channel_id), self.budgets.get(&message.business_id));
        gate.zip(budget).is_some_and(|(gate, budget)| {
            message.limits != Limits { per_second: gate.per_second, recipients_per_24h: budget.limit }
        })
    }

    /// The verdict on one message that `ahead` others to its person are better than, and its recipient as it found it.
    pub(super) fn admit(
        &mut self,
        message: &Loaded,
        attempt: AttemptId,
        ahead: u32,
        rules: &Rules<'_>,
        now: DateTime<Utc>,
    ) -> (Verdict, RecipientBefore) {
        let gate = self.gates.get_mut(&message.channel_id);
        let recipient = self.recipients.get_mut(&(message.business_id, message.phone_key.clone()));
        let person = self.people.get_mut(&message.phone_key);
        let budget = self.budgets.get_mut(&message.business_id);
        if let (Some(gate), Some(recipient), Some(person), Some(budget)) = (gate, recipient, person, budget) {
            let before = RecipientBefore::of(recipient);
            person.ahead = ahead;
            let verdict = admission::admit(&message.snapshot, gate, recipient, person, budget, rules, now);
            if matches!(verdict, Verdict::Start { is_probe: true, .. }) {
                self.probes.insert(message.channel_id, attempt);
            }
            return (verdict, before);
        }
        // It got another channel or phone between the first look and its lock, so that nobody has locked what it would count
        // on: ask again. Without a phone it isn't live.
        let is_live = message.snapshot.state.is_live();
        let verdict = if is_live { Verdict::NoSlot { free_at: now } } else { Verdict::NotWaiting };
        (verdict, RecipientBefore::of(&Recipient::default()))
    }

    /// Writes the gates that gave a slot or were closed.
    pub(super) async fn store_gates(&self, tx: &mut Tx) -> Result<(), LedgerError> {
        let changed = self.gates.iter().filter(|(id, gate)| self.gates_before.get(*id) != Some(*gate));
        let rows: Vec<_> = changed
            .map(|(id, gate)| {
                let closed_until = gate.paused_until.filter(|_| gate.closed_by.is_some()).map(micros);
                json!({
                    "channel_id": id, "next_free_at": micros(gate.next_free_at), "starts": gate.starts, "closed_until": closed_until,
                    "closed_by": gate.closed_by, "probe_attempt_id": self.probes.get(id),
                })
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        tx.execute(
            sql!(
                "UPDATE gates SET next_free_at = r.next_free_at, starts = r.starts, paused_until = COALESCE(r.closed_until, gates.paused_until),
                        pause_reason = COALESCE(r.closed_by, gates.pause_reason),
                        probe_attempt_id = COALESCE(r.probe_attempt_id, gates.probe_attempt_id)
                 FROM ",
                (rows 1 r channel_id: uuid, next_free_at: bigint, starts: bigint, closed_until: bigint, closed_by: text, probe_attempt_id: uuid),
                " WHERE gates.channel_id = r.channel_id"
            ),
            values![json!(rows).to_string()],
        )
        .await?;
        Ok(())
    }

    pub(super) async fn store(&self, tx: &mut Tx, writes: &Writes) -> Result<(), LedgerError> {
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

    pub(super) async fn store_recipients(&self, tx: &mut Tx, writes: &Writes) -> Result<(), LedgerError> {
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

/// A recipient's row.
pub(crate) fn read_recipient(row: &Row) -> Result<Recipient, LedgerError> {
    Ok(Recipient {
        last_start_at: row.opt_instant("last_start_at")?,
        reserved_at: row.opt_instant("reserved_at")?,
        counted_at: row.opt_instant("counted_at")?,
    })
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
