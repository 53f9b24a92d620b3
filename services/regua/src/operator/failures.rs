//! Failures: tried again, or set aside, by id or by what they have in common. In bounded batches, each a transaction of its own.

use crate::operator::Answer;
use regua_domain::ids::MessageId;
use regua_ledger::failures::{BATCH_MAX, Failure, FailureAnswer, FailureFilter, Intervention};
use regua_ledger::{Ledger, LedgerError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Messages that one command decides about; the rest is for the next.
const COMMAND_MAX: usize = 10_000;
/// Messages that an answer tells one by one.
const TOLD_MAX: usize = 100;

/// What is done about failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// They are tried again.
    Replay,
    /// They are set aside.
    Discard,
}

impl What {
    const fn done(self) -> &'static str {
        match self {
            Self::Replay => "tried again",
            Self::Discard => "set aside",
        }
    }
}

/// `failures replay|discard`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailuresRequest {
    /// What is done.
    pub what: What,
    /// These.
    pub ids: Vec<MessageId>,
    /// Or all of these.
    pub filter: Option<FailureFilter>,
    /// Only say what would come of it.
    pub dry_run: bool,
    /// Why.
    pub why: String,
    /// Who.
    pub by: String,
}

/// What came of a request.
#[derive(Default)]
struct Sum {
    done: usize,
    refused: BTreeMap<String, usize>,
    told: Vec<FailureAnswer>,
}

impl Sum {
    fn add(&mut self, answers: Vec<FailureAnswer>) {
        for answer in answers {
            match answer.refusal {
                None => self.done += 1,
                Some(refusal) => *self.refused.entry(refusal.to_string()).or_default() += 1,
            }
            if self.told.len() < TOLD_MAX {
                self.told.push(answer);
            }
        }
    }

    fn looked_at(&self) -> usize {
        self.done + self.refused.values().sum::<usize>()
    }
}

pub(super) async fn execute(ledger: &Ledger, request: FailuresRequest) -> Result<Answer, LedgerError> {
    let (mut sum, mut more) = (Sum::default(), request.ids.len() > COMMAND_MAX);
    for ids in request.ids[..request.ids.len().min(COMMAND_MAX)].chunks(BATCH_MAX) {
        sum.add(batch(ledger, &request, ids.to_vec()).await?);
    }
    if let Some(filter) = &request.filter {
        let mut after: Option<Failure> = None;
        loop {
            let limit = u32::try_from(BATCH_MAX).unwrap_or(u32::MAX);
            let page = ledger.failures(filter, after.as_ref(), limit).await?;
            if page.is_empty() {
                break;
            }
            if sum.looked_at() >= COMMAND_MAX {
                more = true;
                break;
            }
            sum.add(batch(ledger, &request, page.iter().map(|failure| failure.id).collect()).await?);
            after = page.into_iter().next_back();
        }
    }
    Ok(answer(&request, &sum, more))
}

async fn batch(ledger: &Ledger, request: &FailuresRequest, ids: Vec<MessageId>) -> Result<Vec<FailureAnswer>, LedgerError> {
    let who = || Intervention { by: request.by.clone(), why: request.why.clone() };
    match (request.what, request.dry_run) {
        (What::Replay, false) => ledger.replay(ids, who()).await,
        (What::Replay, true) => ledger.could_replay(&ids).await,
        (What::Discard, false) => ledger.discard(ids, who()).await,
        (What::Discard, true) => ledger.could_discard(&ids).await,
    }
}

/// Done, unless a message that was named is refused: of those that a filter finds some always are.
fn answer(request: &FailuresRequest, sum: &Sum, more: bool) -> Answer {
    let (what, would) = (request.what, if request.dry_run { "would be " } else { "" });
    let refused: usize = sum.refused.values().sum();
    let mut lines = vec![format!("{} {would}{}, {refused} not", sum.done, what.done())];
    lines.extend(sum.refused.iter().map(|(why, n)| format!("{why:<18} {n}")));
    lines.extend(sum.told.iter().map(|answer| {
        let becomes = told(answer).map_or_else(|| what.done().into(), |why| format!("not {}: {why}", what.done()));
        format!("{}  {becomes}", answer.message)
    }));
    let untold = sum.looked_at() - sum.told.len();
    if untold > 0 {
        lines.push(format!("and {untold} more"));
    }
    if more {
        lines.push(format!("there are more than {COMMAND_MAX}: repeat the command for the rest"));
    }
    let data = json!({
        "what": what, "dry_run": request.dry_run, "done": sum.done, "refused": sum.refused, "messages": sum.told, "untold": untold, "more": more,
    });
    Answer { done: request.filter.is_some() || refused == 0, text: lines.join("\n"), data }
}

/// Why nothing is done about a message, for a person.
pub fn told(answer: &FailureAnswer) -> Option<String> {
    let reason = answer.not_called_for.map(|why| format!(" ({why})")).unwrap_or_default();
    Some(format!("{}{reason}", answer.refusal?.meaning()))
}
