//! What people and metrics ask the ledger.

use crate::Ledger;
use crate::database::Row;
use crate::error::LedgerError;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::filling::Values;
use regua_domain::ids::{AttemptId, MessageId, RunId};
use regua_domain::message::State;
use regua_domain::money::Centavos;
use regua_domain::payment::{AmountUnit, PaymentMeans};
use regua_domain::stage::Stage;
use serde::Serialize;
use std::collections::BTreeMap;

/// Messages by state, and what the runs say that they wrote (invariant 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Σ over runs of the messages that they wrote.
    pub evaluated: u64,
    /// Messages by state; every state is present.
    pub by_state: BTreeMap<State, u64>,
    /// Messages whose last attempt went to the pilot's phone and not to their customer's; each is in its state, too.
    pub redirected: u64,
    /// Skipped messages by reason.
    pub skipped: BTreeMap<String, u64>,
}

impl Counts {
    /// Nothing; every state is present.
    pub(crate) fn none() -> Self {
        Self { by_state: State::ALL.iter().map(|state| (*state, 0)).collect(), ..Self::default() }
    }

    /// Messages in one state.
    pub fn of(&self, state: State) -> u64 {
        self.by_state.get(&state).copied().unwrap_or(0)
    }

    /// All messages.
    pub fn total(&self) -> u64 {
        self.by_state.values().sum()
    }

    /// Messages that are still on their way.
    pub fn live(&self) -> u64 {
        self.by_state.iter().filter(|(state, _)| state.is_live()).map(|(_, n)| n).sum()
    }
}

/// Messages of one stage in one state, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageCount {
    /// The stage.
    pub stage: Stage,
    /// The state.
    pub state: State,
    /// The reason, for those that ended without being sent.
    pub reason: Option<String>,
    /// How many.
    pub messages: u64,
}

/// A message as a person sees it: without personal data.
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// The invoice.
    pub subject: String,
    /// The stage.
    pub stage: Stage,
    /// The due date.
    pub due_on: Option<NaiveDate>,
    /// Where it is.
    pub state: State,
    /// Why it is there.
    pub reason: Option<String>,
    /// Attempts used.
    pub attempts: u32,
    /// When it may be tried next.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it ends unsent.
    pub expires_at: DateTime<Utc>,
    /// The run that wrote it.
    pub run_id: RunId,
    /// Whether its last attempt went to the pilot's phone and not to its customer's: then nobody whom it is about has read it.
    pub redirected: bool,
    /// The provider's id.
    pub provider_id: Option<String>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// How often a person had it tried again after it had failed.
    pub replays: u32,
    /// When a person set it aside.
    pub discarded_at: Option<DateTime<Utc>>,
    /// When its phone and text were deleted.
    pub anonymised_at: Option<DateTime<Utc>>,
}

/// What a message says beside its template's text, as a person sees it: without the code and the address, which are personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TextView {
    /// How it asks to be paid, if it does.
    pub payment: Option<PaymentMeans>,
    /// What it asks for, in centavos.
    pub amount: Option<Centavos>,
    /// The unit in which the amount is sent.
    pub amount_unit: Option<AmountUnit>,
    /// Whether its header has media of its own.
    pub media: bool,
}

/// An attempt as a person sees it.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptView {
    /// Its id.
    pub id: AttemptId,
    /// Which of the message, from 1.
    pub number: u32,
    /// The dispatcher that made it.
    pub dispatcher: String,
    /// Its slot.
    pub slot_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// The HTTP status.
    pub http_status: Option<i64>,
    /// The provider's code.
    pub provider_code: Option<String>,
    /// Milliseconds from the request to its end.
    pub latency_ms: Option<i64>,
}

fn read_message(row: &Row) -> Result<MessageView, LedgerError> {
    Ok(MessageView {
        id: MessageId(row.id("id")?),
        subject: row.text("subject")?,
        stage: row.named("stage", Stage::parse)?,
        due_on: row.opt_date("due_on")?,
        state: row.named("state", State::parse)?,
        reason: row.opt_text("reason")?,
        attempts: row.small("attempts")?,
        next_attempt_at: row.opt_instant("next_attempt_at")?,
        expires_at: row.instant("expires_at")?,
        run_id: RunId(row.id("run_id")?),
        redirected: row.flag("redirected")?,
        provider_id: row.opt_text("provider_id")?,
        updated_at: row.instant("updated_at")?,
        replays: row.small("replays")?,
        discarded_at: row.opt_instant("discarded_at")?,
        anonymised_at: row.opt_instant("anonymised_at")?,
    })
}

impl Ledger {
    /// The counts of invariant 2, of one instant. It counts the rows, all of them: for tests, demos and simulations. See [`Ledger::kept_counts`].
    pub async fn counts(&self) -> Result<Counts, LedgerError> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .fetch(
                sql!(
                    "SELECT state, CASE WHEN state = 'skipped' THEN reason END AS reason, count(*) AS n FROM messages
                     GROUP BY state, CASE WHEN state = 'skipped' THEN reason END
                     UNION ALL SELECT 'runs', NULL, CAST(COALESCE(SUM(evaluated), 0) AS BIGINT) FROM runs
                     UNION ALL SELECT 'redirected', NULL, count(*) FROM messages WHERE redirected"
                ),
                vec![],
            )
            .await?;
        let mut counts = Counts::none();
        for row in &rows {
            let n = row.count("n")?;
            match row.text("state")?.as_str() {
                "runs" => counts.evaluated = n,
                "redirected" => counts.redirected = n,
                _ => *counts.by_state.entry(row.named("state", State::parse)?).or_default() += n,
            }
            if let Some(reason) = row.opt_text("reason")? {
                counts.skipped.insert(reason, n);
            }
        }
        Ok(counts)
    }

    /// Messages by stage, state and reason: the table of a day. It counts the rows, as [`Ledger::counts`] does.
    pub async fn counts_by_stage(&self) -> Result<Vec<StageCount>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT stage, state, CASE WHEN state IN ('skipped', 'failed', 'in_doubt') THEN reason END AS reason, count(*) AS n
                     FROM messages GROUP BY stage, stage_rank, state, CASE WHEN state IN ('skipped', 'failed', 'in_doubt') THEN reason END
                     ORDER BY stage_rank, state, reason"
                ),
                vec![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(StageCount {
                    stage: row.named("stage", Stage::parse)?,
                    state: row.named("state", State::parse)?,
                    reason: row.opt_text("reason")?,
                    messages: row.count("n")?,
                })
            })
            .collect()
    }

    /// Titles and customers in the mirror.
    pub async fn mirror_size(&self) -> Result<(u64, u64), LedgerError> {
        let row = self
            .db
            .read()
            .await?
            .fetch_one(
                sql!("SELECT (SELECT count(*) FROM invoices) AS invoices, (SELECT count(*) FROM customers) AS customers"),
                vec![],
            )
            .await?;
        Ok((row.count("invoices")?, row.count("customers")?))
    }

    /// Whether anything is still on its way: messages that wait or are being sent, or runs that aren't finished.
    pub async fn is_busy(&self) -> Result<bool, LedgerError> {
        let row = self
            .db
            .read()
            .await?
            .fetch_one(
                sql!(
                    "SELECT (SELECT count(*) FROM messages WHERE ",
                    live,
                    ")    + (SELECT count(*) FROM runs WHERE state IN ('planned', 'running')) AS n"
                ),
                vec![],
            )
            .await?;
        Ok(row.count("n")? > 0)
    }

    /// A page of messages by id, after `after`, of one state or run where asked for.
    pub async fn messages(
        &self,
        state: Option<State>,
        run: Option<RunId>,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<MessageView>, LedgerError> {
        let after = after.map_or(uuid::Uuid::nil(), |id| id.0);
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT * FROM messages WHERE id > $1 AND ($2 = '' OR state = $2) AND (",
                    (id 3),
                    " IS NULL OR run_id = ",
                    (id 3),
                    ") ORDER BY id LIMIT $4"
                ),
                values![after, state.map_or("", State::as_str), run.map(|run| run.0), limit],
            )
            .await?;
        rows.iter().map(read_message).collect()
    }

    /// What a message says beside its template's text, as it was last written; `None` for one without a text.
    pub async fn message_text(&self, id: MessageId) -> Result<Option<TextView>, LedgerError> {
        let row = self
            .db
            .read()
            .await?
            .fetch_optional(sql!("SELECT variables, media FROM message_texts WHERE message_id = $1"), values![id])
            .await?;
        let Some(row) = row else { return Ok(None) };
        let values: Values = row.json("variables")?;
        let payment = values.payment();
        Ok(Some(TextView {
            payment: payment.map(|payment| payment.code.means()),
            amount: payment.map(|payment| payment.amount),
            amount_unit: payment.map(|payment| payment.unit),
            media: row.opt_text("media")?.is_some(),
        }))
    }

    /// One message with its attempts, first one first.
    pub async fn message(&self, id: MessageId) -> Result<Option<(MessageView, Vec<AttemptView>)>, LedgerError> {
        let mut tx = self.db.read().await?;
        let Some(row) = tx.fetch_optional(sql!("SELECT * FROM messages WHERE id = $1"), values![id]).await? else {
            return Ok(None);
        };
        let attempts = tx.fetch(sql!("SELECT * FROM attempts WHERE message_id = $1 ORDER BY slot_at, id"), values![id]).await?;
        let attempts = attempts
            .iter()
            .map(|row| {
                Ok(AttemptView {
                    id: AttemptId(row.id("id")?),
                    number: row.small("number")?,
                    dispatcher: row.text("dispatcher")?,
                    slot_at: row.instant("slot_at")?,
                    outcome: row.opt_text("outcome")?,
                    reason: row.opt_text("reason")?,
                    http_status: row.opt_int("http_status")?,
                    provider_code: row.opt_text("provider_code")?,
                    latency_ms: row.opt_int("latency_ms")?,
                })
            })
            .collect::<Result<Vec<_>, LedgerError>>()?;
        Ok(Some((read_message(&row)?, attempts)))
    }
}
