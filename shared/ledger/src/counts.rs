//! The counts of messages that the database keeps beside the rows: what metrics, `regua status` and the page read.
//!
//! They are derived, by triggers (F21). Whatever has to be able to fail counts the rows: [`Ledger::counts`], [`Ledger::conservation`].

use crate::Ledger;
use crate::error::LedgerError;
use crate::queries::{Counts, StageCount};
use regua_domain::message::State;
use regua_domain::stage::Stage;
use std::collections::BTreeMap;

/// Changes that one fold takes at most.
pub const FOLD_MAX: u32 = 5000;

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

/// All messages as the database counts them, and what the runs say that they wrote: both of one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptCounts {
    /// Σ over runs of the messages that they wrote.
    pub evaluated: u64,
    /// The counts, each state, stage, reason and redirection once.
    pub messages: Vec<KeptCount>,
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
            let messages = row.count("messages")?;
            if row.text("state")? == "runs" {
                counts.evaluated = messages;
                continue;
            }
            counts.messages.push(KeptCount {
                state: row.named("state", State::parse)?,
                stage: row.named("stage", Stage::parse)?,
                reason: row.opt_text("reason")?.filter(|reason| !reason.is_empty()),
                redirected: row.flag("redirected")?,
                messages,
            });
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
}
