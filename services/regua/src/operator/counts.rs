//! The kept counts, set to what the rows say.

use crate::operator::Answer;
use regua_ledger::audit::By;
use regua_ledger::counts::Miscount;
use regua_ledger::{Ledger, LedgerError};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// `recount`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecountRequest {
    /// Why.
    pub why: Option<String>,
    /// Who.
    pub by: String,
}

pub(super) async fn recount(ledger: &Ledger, request: RecountRequest) -> Result<Answer, LedgerError> {
    let RecountRequest { why, by } = request;
    let mended = ledger.recount(By { who: by, why }).await?;
    let text = if mended.is_empty() {
        "nothing differed: the counts are those of the rows".to_owned()
    } else {
        let lines: Vec<String> = mended.iter().map(line).collect();
        format!("{}\n{} counts differed and are those of the rows now", lines.join("\n"), mended.len())
    };
    let differed: Vec<_> = mended
        .iter()
        .map(|count| {
            json!({
                "state": count.of.state.as_str(), "stage": count.of.stage.as_str(), "reason": count.of.reason,
                "redirected": count.of.redirected, "kept": count.kept, "messages": count.of.messages,
            })
        })
        .collect();
    Ok(Answer::done(text, json!({ "differed": differed })))
}

fn line(count: &Miscount) -> String {
    let of = &count.of;
    let reason = of.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    let redirected = if of.redirected { ", to the pilot's phone" } else { "" };
    format!("{}, {}{reason}{redirected}: {} were counted, there are {}", of.state, of.stage, count.kept, of.messages)
}
