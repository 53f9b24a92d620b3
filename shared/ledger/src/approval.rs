//! Runs that hold more than may go without a person's consent: a wrong offset or a wrong filter must not reach every customer at once.

use crate::audit::{self, Entry};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::{Ledger, settings};
use regua_domain::audit::Action;
use regua_domain::ids::RunId;
use serde_json::json;

/// How many of the newest runs tell what is usual.
const USUAL_RUNS: i64 = 10;
/// How many times the usual a run may hold.
const TIMES_USUAL: i64 = 3;

/// What an approval found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalAnswer {
    /// From now on its messages may go.
    Approved {
        /// How many it has to send.
        messages: u64,
    },
    /// It waits for no approval.
    NotWaiting,
    /// The ledger has no such run.
    Unknown,
}

/// Whether a run waits for approval from now on, or did before: its messages are topped up and started only after it. `run` is its row with
/// `to_send`, after a batch.
pub(crate) async fn ask(tx: &mut Tx, run: &Row) -> Result<bool, LedgerError> {
    if let Some(state) = run.opt_text("approval")? {
        return Ok(state == "waiting");
    }
    let Some(above) = settings::load(tx).await?.approval.above else { return Ok(false) };
    let to_send = run.int("to_send")?;
    if to_send <= i64::from(above.get()) || to_send <= TIMES_USUAL.saturating_mul(usual(tx, run).await?) {
        return Ok(false);
    }
    tx.execute(sql!("UPDATE runs SET approval = 'waiting' WHERE id = $1"), values![run.id("id")?]).await?;
    Ok(true)
}

/// The median of what the newest ended runs had to send; 0 without any.
async fn usual(tx: &mut Tx, run: &Row) -> Result<i64, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT held + revived AS to_send FROM runs WHERE kind = $1 AND state = 'done' AND id <> $2
                 ORDER BY planned_at DESC, id DESC LIMIT $3"
            ),
            values![run.text("kind")?, run.id("id")?, USUAL_RUNS],
        )
        .await?;
    let mut numbers = rows.iter().map(|row| row.int("to_send")).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    Ok(match numbers.len() {
        0 => 0,
        count if count % 2 == 1 => numbers[count / 2],
        count => i64::midpoint(numbers[count / 2 - 1], numbers[count / 2]),
    })
}

impl Ledger {
    /// Lets a run's messages go that waited for a person's consent; who and why is kept.
    pub async fn approve_run(&self, id: RunId, by: String, why: String) -> Result<ApprovalAnswer, LedgerError> {
        self.db
            .write(move |tx| {
                let (by, why) = (by.clone(), why.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let approved = tx
                        .fetch_optional(
                            sql!(
                                "UPDATE runs SET approval = 'approved', approved_at = $2, approved_by = $3, approval_why = $4
                                 WHERE id = $1 AND approval = 'waiting' RETURNING held + revived AS to_send"
                            ),
                            values![id, now, &by, &why],
                        )
                        .await?;
                    if let Some(row) = approved {
                        let messages = row.count("to_send")?;
                        let (target, became) = (id.to_string(), Some(json!({ "messages": messages })));
                        let (by, why) = (by.as_str(), Some(why.as_str()));
                        let entry = Entry { by, action: Action::RunApproved, target: &target, why, was: None, became };
                        audit::note(tx, entry, now).await?;
                        return Ok(ApprovalAnswer::Approved { messages });
                    }
                    let exists = tx.fetch_optional(sql!("SELECT id FROM runs WHERE id = $1"), values![id]).await?;
                    Ok(if exists.is_some() { ApprovalAnswer::NotWaiting } else { ApprovalAnswer::Unknown })
                })
            })
            .await
    }
}
