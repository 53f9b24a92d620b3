//! Commands that only look.

use crate::commands::webhooks::receipt_list;
use crate::commands::{Outcome, Session};
use crate::output::{self, Format, remark, say};
use chrono::{DateTime, Utc};
use regua_domain::ids::{MessageId, RunId};
use regua_domain::message::State;
use regua_domain::schedule::TaskKind;
use regua_ledger::people::OptOut;
use regua_ledger::queries::{AttemptView, MessageView};
use serde_json::json;

/// What is said of a run that is larger than usual.
pub(super) const UNAPPROVED: &str =
    "\nIT WAITS: it holds far more than usual. Look at `regua messages --run ID`, then `regua runs approve ID --why TEXT`";

/// Rows that one page of a list reads.
pub(super) const PAGE: u32 = 1000;

impl Session {
    pub async fn runs(&self, format: Format) -> anyhow::Result<Outcome> {
        let runs = self.ledger.runs(50).await?;
        let lines: Vec<_> = runs.iter().map(run_json).collect();
        let headings = ["run", "task", "planned at", "state", "approval", "evaluated", "held", "skipped", "no policy", "note"];
        output::list(format, &lines, &headings, |run| headings.map(|heading| run_cell(run, heading)).to_vec())?;
        Ok(Outcome::Done)
    }

    pub async fn messages(&self, state: Option<&str>, run: Option<uuid::Uuid>, format: Format) -> anyhow::Result<Outcome> {
        let state = match state.map(|name| State::parse(name).ok_or(name)).transpose() {
            Ok(state) => state,
            Err(name) => {
                let known: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
                return Ok(Outcome::Misused(format!("--state {name} is no state; expected one of {}", known.join(", "))));
            }
        };
        let mut after = None;
        loop {
            let page = self.ledger.messages(state, run.map(RunId), after, PAGE).await?;
            let headings: &[&str] = &["message", "subject", "stage", "due on", "state", "reason", "attempts"];
            output::list(format, &page, if after.is_none() { headings } else { &["", "", "", "", "", "", ""] }, message_cells)?;
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.id),
                _ => return Ok(Outcome::Done),
            }
        }
    }

    pub async fn message(&self, id: uuid::Uuid, format: Format) -> anyhow::Result<Outcome> {
        let Some((message, attempts)) = self.ledger.message(MessageId(id)).await? else {
            remark!("there is no message {id}");
            return Ok(Outcome::DidNotHold);
        };
        let (text, receipts) = (self.ledger.message_text(message.id).await?, self.ledger.receipts(message.id).await?);
        if format == Format::Json {
            output::line(json!({ "message": message, "attempts": attempts, "receipts": receipts, "text": text }));
            return Ok(Outcome::Done);
        }
        output::list(
            format,
            std::slice::from_ref(&message),
            &["message", "subject", "stage", "due on", "state", "reason", "attempts"],
            message_cells,
        )?;
        if let Some(at) = message.anonymised_at {
            say!("anonymised {}: its phone and its text are deleted", at.to_rfc3339());
        }
        if let Some((means, amount)) = text.as_ref().and_then(|text| text.payment.zip(text.amount)) {
            say!("payment: {means}, {}", amount.format_brl());
        }
        if text.is_some_and(|text| text.media) {
            say!("its header has media of its own");
        }
        output::list(format, &attempts, &ATTEMPT_HEADINGS, attempt_cells)?;
        receipt_list(&receipts)?;
        Ok(Outcome::Done)
    }

    pub async fn opt_out_list(&self, format: Format) -> anyhow::Result<Outcome> {
        let mut after: Option<OptOut> = None;
        loop {
            let page = self.ledger.opt_outs(after.as_ref(), PAGE).await?;
            let lines: Vec<_> = page
                .iter()
                .map(|out| {
                    let scope = out.business.as_deref().unwrap_or("all");
                    json!({
                        "phone": out.phone_key, "scope": scope, "since": out.since_at, "source": out.source, "added_by": out.added_by,
                        "why": out.why,
                    })
                })
                .collect();
            let headings = ["phone", "scope", "since", "source", "added by", "why"];
            output::list(format, &lines, &headings, |out| {
                headings.map(|heading| cell(&out[heading.replace(' ', "_")])).to_vec()
            })?;
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.clone()),
                _ => return Ok(Outcome::Done),
            }
        }
    }
}

/// A run's column. What send-queued-messages does is no decision: it has nothing to count, and says so.
fn run_cell(run: &serde_json::Value, heading: &str) -> String {
    let value = &run[heading.replace(' ', "_")];
    let decides = run["kind"] == TaskKind::UpdateCollections.as_str();
    if value.is_number() && !decides { "-".to_owned() } else { cell(value) }
}

pub(crate) fn run_json(run: &regua_ledger::runs::Run) -> serde_json::Value {
    json!({
        "run": run.id, "task": run.task_name, "kind": run.kind.as_str(), "planned_at": run.planned_at, "state": run.state, "tries": run.tries,
        "evaluates_on": run.evaluates_on, "evaluated": run.evaluated, "held": run.held, "skipped": run.skipped, "revived": run.revived,
        "superseded": run.superseded, "blocked": run.blocked, "no_policy": run.no_policy, "approval": run.approval, "note": run.note, "finished_at": run.finished_at,
    })
}

pub(crate) fn task_json(task: &regua_ledger::tasks::Task, now: DateTime<Utc>) -> serde_json::Value {
    let next = task
        .schedule()
        .and_then(|schedule| schedule.next_after(task.zone, now))
        .map(|next| next.with_timezone(&task.zone).to_rfc3339());
    json!({
        "task": task.name, "kind": task.kind.as_str(), "next": next, "last_planned_at": task.last_planned_at, "missed": task.missed.as_str(),
        "fires_caught_up": task.fires_caught_up, "fires_dropped": task.fires_dropped,
    })
}

/// The headings of [`attempt_cells`].
pub(super) const ATTEMPT_HEADINGS: [&str; 9] =
    ["attempt", "number", "dispatcher", "slot at", "outcome", "reason", "status", "code", "ms"];

pub(super) fn attempt_cells(attempt: &AttemptView) -> Vec<String> {
    vec![
        attempt.id.to_string(),
        attempt.number.to_string(),
        attempt.dispatcher.clone(),
        attempt.slot_at.to_rfc3339(),
        attempt.outcome.clone().unwrap_or_else(|| "open".into()),
        attempt.reason.clone().unwrap_or_default(),
        attempt.http_status.map(|status| status.to_string()).unwrap_or_default(),
        attempt.provider_code.clone().unwrap_or_default(),
        attempt.latency_ms.map(|ms| ms.to_string()).unwrap_or_default(),
    ]
}

fn message_cells(message: &MessageView) -> Vec<String> {
    vec![
        message.id.to_string(),
        message.subject.clone(),
        message.stage.to_string(),
        message.due_on.map(|day| day.to_string()).unwrap_or_default(),
        if message.redirected { format!("{} (pilot)", message.state) } else { message.state.to_string() },
        message.reason.clone().unwrap_or_default(),
        message.attempts.to_string(),
    ]
}

pub(super) fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
