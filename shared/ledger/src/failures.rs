//! Failures: which there are, and what a person does about them.
//!
//! A replay keeps the message's row and key. It goes back to `scheduled`, so that it is rendered again, topped up and started under the same checks
//! and limits as any other; its attempts are counted afresh, which `replays` and the audit log record.

use crate::audit::{self, Entry};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::evaluation::fail_reason;
use crate::snapshot::{self, json_ids};
use crate::{Ledger, settings};
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::admission::called_for;
use regua_domain::audit::Action;
use regua_domain::failure::{FailureFacts, FailureRefusal, may_replay};
use regua_domain::ids::{ChannelId, MessageId, PolicyId};
use regua_domain::message::{FailReason, SkipReason, State};
use regua_domain::stage::Stage;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Messages that one replay, or one discard, decides about.
pub const BATCH_MAX: usize = 100;

/// Which failures are asked for; each that is set restricts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureFilter {
    /// Why they failed.
    pub reason: Option<FailReason>,
    /// Their stage.
    pub stage: Option<Stage>,
    /// Their channel.
    pub channel: Option<ChannelId>,
    /// Their policy.
    pub policy: Option<PolicyId>,
    /// Those that failed at that instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Those that failed before.
    pub until: Option<DateTime<Utc>>,
}

/// A failure as a person sees it: without personal data.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The message.
    pub id: MessageId,
    /// The invoice, or the customer.
    pub subject: String,
    /// The stage.
    pub stage: Stage,
    /// The due date.
    pub due_on: Option<NaiveDate>,
    /// Why it failed.
    pub reason: FailReason,
    /// When.
    pub failed_at: DateTime<Utc>,
    /// Until when it may still be tried again.
    pub expires_at: DateTime<Utc>,
    /// Attempts used since it was last tried again.
    pub attempts: u32,
    /// How often a person had it tried again.
    pub replays: u32,
    /// Its channel's name.
    pub channel: String,
    /// Its policy's name.
    pub policy: String,
    /// The last answer's HTTP status.
    pub http_status: Option<i64>,
    /// The last answer's code.
    pub provider_code: Option<String>,
}

/// Where a message belongs, by name.
#[derive(Clone, Debug, Serialize)]
pub struct BelongsTo {
    /// Its channel.
    pub channel: String,
    /// Its policy.
    pub policy: String,
    /// Its notice.
    pub notice: String,
}

/// Who intervenes, and why.
#[derive(Clone, Debug)]
pub struct Intervention {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

/// What became of one message, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureAnswer {
    /// The message.
    pub message: MessageId,
    /// Why nothing is done about it.
    pub refusal: Option<FailureRefusal>,
    /// What it isn't called for any more because of.
    pub not_called_for: Option<SkipReason>,
}

impl Ledger {
    /// A page of the failures that nobody set aside, those that may be tried again the longest first; after the last one of the page before.
    pub async fn failures(
        &self,
        filter: &FailureFilter,
        after: Option<&Failure>,
        limit: u32,
    ) -> Result<Vec<Failure>, LedgerError> {
        let (expires_at, id) = after.map_or((DateTime::<Utc>::MAX_UTC, Uuid::max()), |last| (last.expires_at, last.id.0));
        let mut values = filter_values(filter);
        values.extend(values![expires_at, id, limit]);
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT id, subject, stage, due_on, reason, updated_at, expires_at, attempts, replays,
                            (SELECT c.name FROM channels c WHERE c.id = messages.channel_id) AS channel,
                            (SELECT p.name FROM policies p WHERE p.id = messages.policy_id) AS policy,
                            (SELECT a.http_status FROM attempts a WHERE a.id = messages.attempt_id) AS http_status,
                            (SELECT a.provider_code FROM attempts a WHERE a.id = messages.attempt_id) AS provider_code
                     FROM messages WHERE ",
                    failures,
                    " AND (expires_at, id) < ($7, $8) ORDER BY expires_at DESC, id DESC LIMIT $9"
                ),
                values,
            )
            .await?;
        rows.iter().map(read_failure).collect()
    }

    /// How many failures nobody set aside, by reason.
    pub async fn failure_counts(&self, filter: &FailureFilter) -> Result<BTreeMap<FailReason, u64>, LedgerError> {
        let sql = sql!("SELECT reason, count(*) AS n FROM messages WHERE ", failures, " GROUP BY reason");
        let rows = self.db.read().await?.fetch(sql, filter_values(filter)).await?;
        rows.iter().map(|row| Ok((row.named("reason", FailReason::parse)?, row.count("n")?))).collect()
    }

    /// Where a message belongs; `None` for one that isn't there.
    pub async fn belongs_to(&self, id: MessageId) -> Result<Option<BelongsTo>, LedgerError> {
        let row = self
            .db
            .read()
            .await?
            .fetch_optional(
                sql!(
                    "SELECT c.name AS channel, p.name AS policy, n.name AS notice FROM messages m JOIN channels c ON c.id = m.channel_id
                     JOIN policies p ON p.id = m.policy_id JOIN notices n ON n.id = m.notice_id WHERE m.id = $1"
                ),
                values![id],
            )
            .await?;
        let read =
            |row: Row| Ok(BelongsTo { channel: row.text("channel")?, policy: row.text("policy")?, notice: row.text("notice")? });
        row.map(read).transpose()
    }

    /// Has failed messages tried again that certainly never left and are still called for. One answer per message, in the order of their ids.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] for more than [`BATCH_MAX`].
    pub async fn replay(&self, ids: Vec<MessageId>, who: Intervention) -> Result<Vec<FailureAnswer>, LedgerError> {
        bounded(&ids)?;
        let given = Arc::new((ids, who));
        self.db
            .write(move |tx| {
                let given = Arc::clone(&given);
                Box::pin(async move { replay(tx, &given.0, &given.1).await })
            })
            .await
    }

    /// What [`Ledger::replay`] would do now; nothing is written.
    ///
    /// # Errors
    /// As [`Ledger::replay`].
    pub async fn could_replay(&self, ids: &[MessageId]) -> Result<Vec<FailureAnswer>, LedgerError> {
        bounded(ids)?;
        let (_, judged) = judge(&mut self.db.read().await?, ids).await?;
        Ok(judged.into_iter().map(|judged| judged.answer).collect())
    }

    /// Sets failed messages aside for good: they are listed no more and can't be tried again. Their state stays.
    ///
    /// # Errors
    /// As [`Ledger::replay`].
    pub async fn discard(&self, ids: Vec<MessageId>, who: Intervention) -> Result<Vec<FailureAnswer>, LedgerError> {
        bounded(&ids)?;
        let given = Arc::new((ids, who));
        self.db
            .write(move |tx| {
                let given = Arc::clone(&given);
                Box::pin(async move { discard(tx, &given.0, &given.1).await })
            })
            .await
    }

    /// What [`Ledger::discard`] would do now; nothing is written.
    ///
    /// # Errors
    /// As [`Ledger::replay`].
    pub async fn could_discard(&self, ids: &[MessageId]) -> Result<Vec<FailureAnswer>, LedgerError> {
        bounded(ids)?;
        let found = load(&mut self.db.read().await?, ids).await?;
        Ok(ids.iter().map(|id| discard_answer(*id, &found)).collect())
    }
}

fn bounded(ids: &[MessageId]) -> Result<(), LedgerError> {
    if ids.len() > BATCH_MAX {
        return Err(LedgerError::Refused(format!("{} messages are more than one batch takes: {BATCH_MAX}", ids.len())));
    }
    Ok(())
}

fn filter_values(filter: &FailureFilter) -> Vec<crate::database::Value> {
    let FailureFilter { reason, stage, channel, policy, since, until } = filter;
    values![reason.map(|r| r.as_str().to_owned()), stage.map(|s| s.as_str().to_owned()), *channel, *policy, *since, *until]
}

fn read_failure(row: &Row) -> Result<Failure, LedgerError> {
    Ok(Failure {
        id: MessageId(row.id("id")?),
        subject: row.text("subject")?,
        stage: row.named("stage", Stage::parse)?,
        due_on: row.opt_date("due_on")?,
        reason: row.named("reason", FailReason::parse)?,
        failed_at: row.instant("updated_at")?,
        expires_at: row.instant("expires_at")?,
        attempts: row.small("attempts")?,
        replays: row.small("replays")?,
        channel: row.text("channel")?,
        policy: row.text("policy")?,
        http_status: row.opt_int("http_status")?,
        provider_code: row.opt_text("provider_code")?,
    })
}

/// A message as it stands, for the question what may be done about it.
struct Found {
    /// Its source, its subject and, for an event's, its stage: of such messages at most one may wait.
    place: (Uuid, String, Option<Stage>),
    /// Of those in one place the greatest goes.
    precedence: (Stage, DateTime<Utc>),
    attempts: u32,
    replays: u32,
    updated_at: DateTime<Utc>,
    facts: FailureFacts,
}

/// The messages of these ids. Lock them before, where the result decides a write: whatever may overtake them is seen only then.
async fn load(tx: &mut Tx, ids: &[MessageId]) -> Result<HashMap<MessageId, Found>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT m.id, m.source_id, m.subject, m.stage, m.due_on, m.state, m.reason, m.attempts, m.replays, m.created_at, m.updated_at,
                        (m.anonymised_at IS NOT NULL) AS anonymised, (m.discarded_at IS NOT NULL) AS discarded,
                        (NOT EXISTS (SELECT 1 FROM attempts a WHERE a.message_id = m.id
                                     AND COALESCE(a.outcome, 'open') NOT IN ('retry', 'defer', 'fail', 'given_back'))
                         AND NOT EXISTS (SELECT 1 FROM resolutions r WHERE r.message_id = m.id AND r.how = 'resend')
                         AND NOT EXISTS (SELECT 1 FROM receipts t WHERE t.message_id = m.id)) AS certainly_unsent, ",
                overtaken,
                " AS overtaken FROM messages m WHERE m.id",
                (among 1 uuid)
            ),
            values![json_ids(ids.iter().map(|id| id.0))],
        )
        .await?;
    rows.iter().map(|row| Ok((MessageId(row.id("id")?), read_found(row)?))).collect()
}

fn read_found(row: &Row) -> Result<Found, LedgerError> {
    let stage = row.named("stage", Stage::parse)?;
    let is_in = row.named("state", State::parse)?;
    let is_dated = row.opt_date("due_on")?.is_some();
    Ok(Found {
        place: (row.id("source_id")?, row.text("subject")?, (!is_dated).then_some(stage)),
        precedence: (stage, row.instant("created_at")?),
        attempts: row.small("attempts")?,
        replays: row.small("replays")?,
        updated_at: row.instant("updated_at")?,
        facts: FailureFacts {
            state: is_in,
            reason: fail_reason(row, is_in)?,
            is_anonymised: row.flag("anonymised")?,
            is_discarded: row.flag("discarded")?,
            certainly_unsent: row.flag("certainly_unsent")?,
            is_of_lost_time: false,
            is_overtaken: row.flag("overtaken")?,
            called_for: Ok(()),
        },
    })
}

/// A message with what may be done about it.
struct Judged {
    answer: FailureAnswer,
    found: Option<Found>,
}

/// Decides about each message, in the order of their ids; the ledger's clock.
async fn judge(tx: &mut Tx, ids: &[MessageId]) -> Result<(DateTime<Utc>, Vec<Judged>), LedgerError> {
    let (now, settings, stops) = settings::now_in_force(tx).await?;
    let lost = crate::restored::lost_period(tx).await?;
    let mut found = load(tx, ids).await?;
    let snapshots = snapshot::load(tx, ids, settings.times().date_at(now), &stops).await?;
    for message in &snapshots {
        if let Some(found) = found.get_mut(&message.id) {
            found.facts.called_for = called_for(&message.snapshot, settings.terms(), now).map(drop);
            found.facts.is_of_lost_time = lost.is_some_and(|lost| settings.times().date_at(found.updated_at) <= lost.until_on);
        }
    }
    let mut first: HashMap<_, (_, MessageId)> = HashMap::new();
    for (id, found) in found.iter().filter(|(_, found)| may_replay(&found.facts).is_ok()) {
        let claim = (found.precedence, *id);
        let best = first.entry(found.place.clone()).or_insert(claim);
        *best = claim.max(*best);
    }
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let judged = ids.into_iter().map(|id| {
        let found = found.remove(&id).map(|mut found| {
            found.facts.is_overtaken |= first.get(&found.place).is_some_and(|(_, best)| *best != id);
            found
        });
        let refusal = found.as_ref().map_or(Some(FailureRefusal::Unknown), |found| may_replay(&found.facts).err());
        let why = found.as_ref().and_then(|found| found.facts.called_for.err());
        let not_called_for = why.filter(|_| refusal == Some(FailureRefusal::NotCalledFor));
        Judged { answer: FailureAnswer { message: id, refusal, not_called_for }, found }
    });
    Ok((now, judged.collect()))
}

async fn lock(tx: &mut Tx, ids: &[MessageId]) -> Result<(), LedgerError> {
    let ids = json_ids(ids.iter().map(|id| id.0));
    tx.lock(sql!("SELECT id FROM messages WHERE id", (among 1 uuid), " ORDER BY id", for_update), values![ids]).await
}

async fn replay(tx: &mut Tx, ids: &[MessageId], who: &Intervention) -> Result<Vec<FailureAnswer>, LedgerError> {
    lock(tx, ids).await?;
    let (now, judged) = judge(tx, ids).await?;
    let going: Vec<(MessageId, &Found)> = judged
        .iter()
        .filter(|judged| judged.answer.refusal.is_none())
        .filter_map(|judged| Some((judged.answer.message, judged.found.as_ref()?)))
        .collect();
    tx.execute(
        sql!(
            "UPDATE messages SET state = 'scheduled', reason = NULL, next_attempt_at = $2, phone_slot_at = NULL, attempts = 0, replays = replays + 1,
                    updated_at = $2
             WHERE state = 'failed' AND discarded_at IS NULL AND anonymised_at IS NULL AND id",
            (among 1 uuid)
        ),
        values![json_ids(going.iter().map(|(id, _)| id.0)), now],
    )
    .await
    .map_err(LedgerError::or_overtaken)?;
    for (id, found) in going {
        let was = json!({ "state": State::Failed, "reason": found.facts.reason, "attempts": found.attempts });
        let became = json!({ "state": State::Scheduled, "replays": found.replays + 1 });
        note(tx, Action::FailureReplayed, id, who, was, became, now).await?;
    }
    Ok(judged.into_iter().map(|judged| judged.answer).collect())
}

async fn discard(tx: &mut Tx, ids: &[MessageId], who: &Intervention) -> Result<Vec<FailureAnswer>, LedgerError> {
    lock(tx, ids).await?;
    let now = tx.now().await?;
    let found = load(tx, ids).await?;
    let answers: Vec<FailureAnswer> = ids.iter().map(|id| discard_answer(*id, &found)).collect();
    let going: Vec<MessageId> = answers.iter().filter(|answer| answer.refusal.is_none()).map(|answer| answer.message).collect();
    tx.execute(
        sql!("UPDATE messages SET discarded_at = $2 WHERE ", (still "state" "'failed'"), " AND discarded_at IS NULL AND id", (among 1 uuid)),
        values![json_ids(going.iter().map(|id| id.0)), now],
    )
    .await?;
    for id in going {
        let was = json!({ "state": State::Failed, "reason": found[&id].facts.reason });
        note(tx, Action::FailureDiscarded, id, who, was, json!({ "discarded": true }), now).await?;
    }
    Ok(answers)
}

fn discard_answer(message: MessageId, found: &HashMap<MessageId, Found>) -> FailureAnswer {
    let refusal = match found.get(&message) {
        None => Some(FailureRefusal::Unknown),
        Some(found) if found.facts.state != State::Failed => Some(FailureRefusal::NotFailed),
        Some(found) if found.facts.is_discarded => Some(FailureRefusal::Discarded),
        Some(_) => None,
    };
    FailureAnswer { message, refusal, not_called_for: None }
}

async fn note(
    tx: &mut Tx,
    action: Action,
    id: MessageId,
    who: &Intervention,
    was: serde_json::Value,
    became: serde_json::Value,
    now: DateTime<Utc>,
) -> Result<(), LedgerError> {
    let target = id.to_string();
    let entry = Entry { by: &who.by, action, target: &target, why: Some(&who.why), was: Some(was), became: Some(became) };
    audit::note(tx, entry, now).await
}
