//! Notices sent to try them: one HTTP request each, counted apart, never among the messages.

use crate::audit::{self, Entry, masked};
use crate::budgets::{self, BucketChanges};
use crate::database::Tx;
use crate::error::LedgerError;
use crate::gates;
use crate::snapshot::Limits;
use crate::start::read_recipient;
use crate::stops::Stops;
use crate::{Ledger, new_id};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::admission::{BUDGET_PERIOD, HORIZON, PHONE_SPACING, Recipient};
use regua_domain::audit::Action;
use regua_domain::gate::Gate;
use regua_domain::ids::{BusinessId, ChannelId, IntegrationId};
use regua_domain::phone::PhoneKey;
use serde_json::json;
use uuid::Uuid;

/// A test to be begun.
#[derive(Clone, Debug)]
pub struct NewTest {
    /// The notice's name.
    pub notice: String,
    /// Who shall get it.
    pub phone: PhoneKey,
    /// Who asks.
    pub by: String,
    /// How far ahead its slot must lie.
    pub lead: TimeDelta,
}

/// What became of the wish to send a test.
#[derive(Clone, Debug)]
pub enum TestStart {
    /// Send at the slot, then [`Ledger::finish_test`].
    Started {
        /// Its id.
        id: Uuid,
        /// How long after the ledger's answer its slot is.
        wait: TimeDelta,
        /// The channel that it goes through.
        channel_id: ChannelId,
    },
    /// The channel's next slot is further away: ask again.
    NoSlot,
    /// It may not be sent now.
    Refused(String),
}

/// How a test ended, in the words of the outcome table.
#[derive(Clone, Debug)]
pub struct TestEnd {
    /// The outcome's name.
    pub outcome: String,
    /// The reason within it.
    pub reason: Option<String>,
    /// The HTTP status.
    pub http_status: Option<u16>,
    /// The WhatsApp code that the answer names.
    pub provider_code: Option<String>,
    /// The provider's id.
    pub provider_id: Option<String>,
}

impl Ledger {
    /// Takes the next slot of the notice's channel for a test. It keeps the channel's limit, the distance of two messages to one phone, the
    /// business's budget, stops and opt-outs, but no window: who tests asks for it. The test is in the ledger before anything is on the wire.
    pub async fn begin_test(&self, test: NewTest) -> Result<TestStart, LedgerError> {
        self.db
            .write(move |tx| {
                let test = test.clone();
                Box::pin(async move { begin(tx, &test).await })
            })
            .await
    }

    /// Writes how a test ended.
    pub async fn finish_test(&self, id: Uuid, end: TestEnd) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let end = end.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    tx.execute(
                        sql!(
                            "UPDATE test_sends SET outcome = $2, reason = CAST($3 AS TEXT), http_status = CAST($4 AS BIGINT),
                                    provider_code = CAST($5 AS TEXT), provider_id = CAST($6 AS TEXT), finished_at = $7
                             WHERE id = $1 AND finished_at IS NULL"
                        ),
                        values![id, end.outcome, end.reason, end.http_status, end.provider_code, end.provider_id, now],
                    )
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// How many tests there were, by outcome; one without an outcome may have been sent.
    pub async fn test_counts(&self) -> Result<Vec<(Option<String>, u64)>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(sql!("SELECT outcome, count(*) AS n FROM test_sends GROUP BY outcome ORDER BY outcome"), vec![])
            .await?;
        rows.iter().map(|row| Ok((row.opt_text("outcome")?, row.count("n")?))).collect()
    }
}

async fn begin(tx: &mut Tx, test: &NewTest) -> Result<TestStart, LedgerError> {
    let found = tx
        .fetch_optional(
            sql!(
                "SELECT n.id, n.channel_id, c.integration_id, c.business_id, c.per_second, b.recipients_per_24h FROM notices n
                 JOIN channels c ON c.id = n.channel_id JOIN businesses b ON b.id = c.business_id WHERE n.name = $1"
            ),
            values![&test.notice],
        )
        .await?;
    let Some(found) = found else { return Ok(TestStart::Refused(format!("there is no notice named {}", test.notice))) };
    let channel_id = ChannelId(found.id("channel_id")?);
    let (business, integration) = (BusinessId(found.id("business_id")?), IntegrationId(found.id("integration_id")?));
    let limits = Limits::read(&found)?;
    if limits.recipients_per_24h.is_some() {
        tx.lock(sql!("SELECT id FROM businesses WHERE id = $1", for_update), values![business]).await?;
    }
    let gate = gates::lock(tx, channel_id, limits.per_second).await?;
    let Some(gate) = gate else { return Ok(TestStart::NoSlot) };
    let recipient = recipient(tx, business, &test.phone).await?;
    let now = tx.now().await?;
    if let Some(why) = held_back(tx, test, &gate, recipient.last_start_at, (business, integration, channel_id), now).await? {
        return Ok(TestStart::Refused(why));
    }
    let slot_at = gate.next_slot(now, test.lead);
    if slot_at > now + HORIZON {
        return Ok(TestStart::NoSlot);
    }
    let budget = budgets::load(tx, business, limits.recipients_per_24h, now).await?;
    let is_counted = recipient.counted_at.is_some_and(|at| at + BUDGET_PERIOD > slot_at);
    if !is_counted && budget.limit.is_some_and(|limit| budget.used >= limit) {
        let until = budget.frees_at.unwrap_or(now + BUDGET_PERIOD).to_rfc3339();
        return Ok(TestStart::Refused(format!(
            "the business has written to all the people that its 24 hours allow, until {until}"
        )));
    }
    let id = new_id();
    let next_free_at = if gate.is_limited() { slot_at + gate.interval() } else { gate.next_free_at };
    tx.execute(
        sql!("UPDATE gates SET next_free_at = $2, starts = starts + 1 WHERE channel_id = $1"),
        values![channel_id, next_free_at],
    )
    .await?;
    tx.execute(
        sql!(
            "INSERT INTO recipients (business_id, phone_key, last_start_at, counted_at, last_attempt_id) VALUES ($1, $2, $3, $3, $4)
             ON CONFLICT (business_id, phone_key) DO UPDATE SET last_start_at = excluded.last_start_at, counted_at = excluded.counted_at,
                last_attempt_id = excluded.last_attempt_id"
        ),
        values![business, test.phone.as_str(), slot_at, id],
    )
    .await?;
    let mut buckets = BucketChanges::default();
    buckets.move_recipient(business, recipient.counted_at, Some(slot_at));
    buckets.store(tx).await?;
    tx.execute(
        sql!("INSERT INTO test_sends (id, notice_id, channel_id, asked_by, slot_at) VALUES ($1, $2, $3, $4, $5)"),
        values![id, found.id("id")?, channel_id, &test.by, slot_at],
    )
    .await?;
    let became = Some(json!({ "test": id, "phone": masked(test.phone.as_str()) }));
    let entry = Entry { by: &test.by, action: Action::TestSent, target: &test.notice, why: None, was: None, became };
    audit::note(tx, entry, now).await?;
    Ok(TestStart::Started { id, wait: slot_at - now, channel_id })
}

/// What is known of the phone, under its lock.
async fn recipient(tx: &mut Tx, business: BusinessId, phone: &PhoneKey) -> Result<Recipient, LedgerError> {
    let row = tx
        .fetch_optional(
            sql!(
                "SELECT last_start_at, reserved_at, counted_at FROM recipients WHERE business_id = $1 AND phone_key = $2",
                for_update
            ),
            values![business, phone.as_str()],
        )
        .await?;
    row.as_ref().map_or_else(|| Ok(Recipient::default()), read_recipient)
}

async fn held_back(
    tx: &mut Tx,
    test: &NewTest,
    gate: &Gate,
    last_start_at: Option<DateTime<Utc>>,
    (business, integration, channel): (BusinessId, IntegrationId, ChannelId),
    now: DateTime<Utc>,
) -> Result<Option<String>, LedgerError> {
    let opted_out =
        tx.fetch_optional(sql!("SELECT phone_key FROM opt_outs WHERE phone_key = $1"), values![test.phone.as_str()]).await?;
    if opted_out.is_some() {
        return Ok(Some("this phone opted out: nothing is sent to it".into()));
    }
    if Stops::load(tx, now).await?.hold_channel(business, integration, channel) {
        return Ok(Some("the notice's channel is stopped: see `regua status`, lift it with `regua resume`".into()));
    }
    if let Some(until) = gate.paused_until.filter(|until| *until > now) {
        return Ok(Some(format!("the channel waits until {}, as Opa! Suite or a limit asks", until.to_rfc3339())));
    }
    if gate.trips > 0 {
        return Ok(Some("Opa! Suite doesn't answer as it should: the channel waits until one message got through".into()));
    }
    if let Some(until) = gate.used_up(now) {
        return Ok(Some(format!(
            "Opa! Suite's daily allowance of the channel is used up, as reported until {}",
            until.to_rfc3339()
        )));
    }
    let is_too_close = last_start_at.is_some_and(|at| at + PHONE_SPACING > now);
    Ok(is_too_close.then(|| format!("this phone had a message less than {} s ago: try again", PHONE_SPACING.num_seconds())))
}
