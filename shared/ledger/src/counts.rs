//! The counts of messages that the database keeps beside the rows: what metrics, `regua status` and the page read.
//!
//! They are derived, by triggers (F21). Whatever has to be able to fail counts the rows: [`Ledger::counts`], [`Ledger::conservation`].

use crate::Ledger;
use crate::audit::{self, By, Entry};
use crate::database::{AdvisoryLock, Row, Tx};
use crate::error::LedgerError;
use crate::queries::{Counts, StageCount};
use regua_domain::audit::Action;
use regua_domain::message::State;
use regua_domain::stage::Stage;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Changes that one fold takes at most.
pub const FOLD_MAX: u32 = 5000;

/// How long a recount may take: it reads every message.
const RECOUNT_TIMEOUT: Duration = Duration::from_mins(10);

/// Messages of one state, stage and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCount {
    /// The state.
    pub state: State,
    /// The stage.
    pub stage: Stage,
    /// Why they are in it, where there is a reason.
    pub reason: Option<String>,
    /// Whether their last attempts went to the pilot's phone.
    pub redirected: bool,
    /// How many; 0 where there were some once.
    pub messages: u64,
}

impl KeptCount {
    fn of(row: &Row) -> Result<Self, LedgerError> {
        Ok(Self {
            state: row.named("state", State::parse)?,
            stage: row.named("stage", Stage::parse)?,
            reason: row.opt_text("reason")?.filter(|reason| !reason.is_empty()),
            redirected: row.flag("redirected")?,
            messages: row.count("messages")?,
        })
    }
}

/// A count that was another one than the rows'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miscount {
    /// What the rows say, and so does the count now.
    pub of: KeptCount,
    /// What it said before.
    pub kept: i64,
}

/// All messages as the database counts them, and what the runs say that they wrote: both of one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptCounts {
    /// Σ over runs of the messages that they wrote.
    pub evaluated: u64,
    /// The counts, each state, stage, reason and redirection once.
    pub messages: Vec<KeptCount>,
    /// How many of them are below zero and read as 0: what no rows can be, so the counts have drifted. [`Ledger::recount`] mends it.
    pub below_zero: usize,
}

impl KeptCounts {
    /// By state, as [`Ledger::counts`] counts the rows.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { evaluated: self.evaluated, ..Counts::none() };
        for kept in &self.messages {
            *counts.by_state.entry(kept.state).or_default() += kept.messages;
            if kept.redirected {
                counts.redirected += kept.messages;
            }
            if let (State::Skipped, Some(reason), 1..) = (kept.state, &kept.reason, kept.messages) {
                *counts.skipped.entry(reason.clone()).or_default() += kept.messages;
            }
        }
        counts
    }

    /// By stage, state and reason, as [`Ledger::counts_by_stage`] counts the rows.
    pub fn by_stage(&self) -> Vec<StageCount> {
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for kept in self.messages.iter().filter(|kept| kept.messages > 0) {
            let has_reason = matches!(kept.state, State::Skipped | State::Failed | State::InDoubt);
            let reason = kept.reason.clone().filter(|_| has_reason);
            *counts.entry((kept.stage.rank(), kept.state.as_str(), reason, kept.stage, kept.state)).or_default() += kept.messages;
        }
        counts.into_iter().map(|((_, _, reason, stage, state), messages)| StageCount { stage, state, reason, messages }).collect()
    }
}

impl Ledger {
    /// The counts that the database keeps, in one statement: they are of one instant.
    pub async fn kept_counts(&self) -> Result<KeptCounts, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT state, stage, reason, redirected, CAST(SUM(messages) AS BIGINT) AS messages FROM (
                        SELECT state, stage, reason, redirected, messages FROM message_counts",
                    {
                        postgres: " UNION ALL SELECT state, stage, reason, redirected, change FROM message_count_changes",
                        sqlite: ""
                    },
                    ") AS kept GROUP BY state, stage, reason, redirected
                     UNION ALL SELECT 'runs', '', '', false, CAST(COALESCE(SUM(evaluated), 0) AS BIGINT) FROM runs WHERE evaluated > 0"
                ),
                vec![],
            )
            .await?;
        let mut counts = KeptCounts::default();
        for row in &rows {
            if row.text("state")? == "runs" {
                counts.evaluated = row.count("messages")?;
                continue;
            }
            counts.below_zero += usize::from(row.int("messages")? < 0);
            counts.messages.push(KeptCount::of(row)?);
        }
        Ok(counts)
    }

    /// Folds changes of the counts together, at most [`FOLD_MAX`]; how many. Any number of processes may: each takes what no other has. On
    /// SQLite, which counts in place, there is nothing to do.
    pub async fn fold_counts(&self) -> Result<u64, LedgerError> {
        if self.db.is_sqlite() {
            return Ok(0);
        }
        let row = self
            .db
            .write(|tx| {
                Box::pin(async move {
                    tx.fetch_one(
                        sql!(
                            "WITH taken AS (
                                DELETE FROM message_count_changes WHERE id IN
                                    (SELECT id FROM message_count_changes ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
                                RETURNING state, stage, reason, redirected, change),
                             folded AS (
                                INSERT INTO message_counts (state, stage, reason, redirected, messages)
                                SELECT state, stage, reason, redirected, SUM(change) FROM taken GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
                                ON CONFLICT (state, stage, reason, redirected)
                                    DO UPDATE SET messages = message_counts.messages + excluded.messages)
                             SELECT count(*) AS n FROM taken"
                        ),
                        values![FOLD_MAX],
                    )
                    .await
                })
            })
            .await?;
        row.count("n")
    }

    /// Sets the counts to what the rows say; those that differed. On PostgreSQL it locks no row and may run beside everything: rows and counts are
    /// compared as one snapshot has them, and what writers add later, they add to both. On SQLite it is the one writer for as long.
    pub async fn recount(&self, by: By) -> Result<Vec<Miscount>, LedgerError> {
        self.db
            .write_once(RECOUNT_TIMEOUT, move |tx| {
                let by = by.clone();
                Box::pin(async move {
                    tx.read_whole_tables().await?;
                    tx.wait_for(AdvisoryLock::Recount).await?;
                    let found = miscounts(tx).await?;
                    if !found.is_empty() {
                        mend(tx, &found).await?;
                        let (was, became) = (
                            found.iter().map(|count| count.kept).sum::<i64>(),
                            found.iter().map(|count| count.of.messages).sum::<u64>(),
                        );
                        let entry = Entry {
                            by: &by.who,
                            action: Action::CountsMended,
                            target: "",
                            why: by.why.as_deref(),
                            was: Some(json!({ "counts": found.len(), "messages": was })),
                            became: Some(json!({ "counts": found.len(), "messages": became })),
                        };
                        let now = tx.now().await?;
                        audit::note(tx, entry, now).await?;
                    }
                    Ok(found)
                })
            })
            .await
    }
}

/// The counts that aren't those of the rows, in one statement: of one snapshot.
async fn miscounts(tx: &mut Tx) -> Result<Vec<Miscount>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT state, stage, reason, redirected, CAST(SUM(counted) AS BIGINT) AS messages, CAST(SUM(kept) AS BIGINT) AS said FROM (
                    SELECT state, stage, COALESCE(reason, '') AS reason, redirected, count(*) AS counted, 0 AS kept FROM messages
                        GROUP BY state, stage, COALESCE(reason, ''), redirected
                    UNION ALL SELECT state, stage, reason, redirected, 0, messages FROM message_counts",
                {
                    postgres: " UNION ALL SELECT state, stage, reason, redirected, 0, change FROM message_count_changes",
                    sqlite: ""
                },
                ") AS of_both GROUP BY state, stage, reason, redirected HAVING SUM(counted) <> SUM(kept) ORDER BY state, stage, reason, redirected"
            ),
            vec![],
        )
        .await?;
    rows.iter().map(|row| Ok(Miscount { of: KeptCount::of(row)?, kept: row.int("said")? })).collect()
}

/// Writes the differences down as one more change.
async fn mend(tx: &mut Tx, found: &[Miscount]) -> Result<(), LedgerError> {
    let changes: Vec<_> = found
        .iter()
        .map(|Miscount { of, kept }| {
            json!({
                "state": of.state.as_str(), "stage": of.stage.as_str(), "reason": of.reason.as_deref().unwrap_or_default(),
                "redirected": of.redirected, "change": i64::try_from(of.messages).unwrap_or(i64::MAX).saturating_sub(*kept),
            })
        })
        .collect();
    tx.execute(
        sql!(
            "INSERT INTO ",
            {
                postgres: "message_count_changes (state, stage, reason, redirected, change)",
                sqlite: "message_counts (state, stage, reason, redirected, messages)"
            },
            " SELECT state, stage, reason, redirected, change FROM ",
            (rows 1 r state: text, stage: text, reason: text, redirected: boolean, change: bigint),
            {
                postgres: "",
                sqlite: " WHERE true ON CONFLICT (state, stage, reason, redirected) DO UPDATE SET messages = messages + excluded.messages"
            }
        ),
        values![json!(changes).to_string()],
    )
    .await?;
    Ok(())
}
