//! The status and the last failures as a support bundle has them: ids, instants, numbers and closed names, field by field.

use super::names::Names;
use crate::status::{ChannelNow, Status, by_state};
use chrono::{DateTime, Utc};
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::stop::is_automatic;
use regua_ledger::Ledger;
use regua_ledger::failures::{Failure, FailureFilter};
use regua_ledger::mirror::Source;
use regua_ledger::runs::Run;
use regua_ledger::stops::Stop;
use regua_ledger::tasks::Task;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Failures that are told one by one: those that end first.
const FAILURES_MAX: u32 = 100;
/// The states of a run.
const RUN_STATES: [&str; 4] = ["planned", "running", "done", "failed"];
/// The states of a consent.
const APPROVALS: [&str; 2] = ["waiting", "approved"];
/// Why a gate closes by itself, beside what messages are put off for.
const CLOSINGS: [&str; 3] = ["budget", "allowance", "probe"];

pub(super) fn told(status: &Status, names: &mut Names) -> Value {
    let stops: Vec<_> = status.stops.iter().map(|one| stop(one, names)).collect();
    let sources: Vec<_> = status.sources.iter().map(|one| source(one, status.now, names)).collect();
    let channels: Vec<_> = status.channels.iter().map(|one| channel(one, names)).collect();
    let tasks: Vec<_> = status.tasks.iter().map(|one| task(one, names)).collect();
    let today: Vec<_> = status
        .today
        .iter()
        .map(|(one, messages)| {
            let mut told = run(one, names);
            told["messages"] = by_state(messages);
            told
        })
        .collect();
    let dispatchers: Vec<_> = status
        .dispatchers
        .iter()
        .map(|one| json!({ "dispatcher": names.alias("dispatcher", &one.name), "last_attempt_at": one.last_at, "attempts": one.attempts }))
        .collect();
    let held_runs: Vec<_> = status
        .held_runs
        .iter()
        .map(|held| json!({ "run": held.run, "owner": held.owner, "lease_expires_at": held.lease_expires_at }))
        .collect();
    let needs: Map<_, _> = status.needs().into_iter().map(|(what, n)| (what.to_owned(), json!(n))).collect();
    json!({
        "now": status.now, "messages": by_state(&status.counts.by_state), "evaluated": status.counts.evaluated,
        "redirected": status.counts.redirected, "skipped": skipped(&status.counts.skipped), "needs": needs, "stops": stops, "sources": sources,
        "channels": channels, "tasks": tasks, "runs": status.runs.iter().map(|one| run(one, names)).collect::<Vec<_>>(), "today": today,
        "unapproved": status.unapproved.iter().map(|one| run(one, names)).collect::<Vec<_>>(),
        "held_runs": held_runs, "dispatchers": dispatchers,
    })
}

fn skipped(reasons: &BTreeMap<String, u64>) -> Value {
    let known = reasons.iter().filter_map(|(reason, n)| Some((SkipReason::parse(reason)?.as_str().to_owned(), json!(n))));
    known.collect::<Map<_, _>>().into()
}

/// One of a closed list, or nothing.
fn closed<'a>(value: &str, list: &[&'a str]) -> Option<&'a str> {
    list.iter().copied().find(|known| *known == value)
}

/// What a person wrote stays here, and so does who they are.
fn stop(one: &Stop, names: &mut Names) -> Value {
    let raised_by = if is_automatic(&one.raised_by) { one.raised_by.as_str() } else { "a person" };
    let target = if one.target.is_empty() { Value::Null } else { json!(names.any(&one.name)) };
    json!({
        "scope": one.scope, "target": target, "raised_by": raised_by, "since": one.since_at, "until": one.until_at,
        "next_check_at": one.next_check_at,
    })
}

fn source(one: &Source, now: DateTime<Utc>, names: &mut Names) -> Value {
    json!({
        "source": names.alias("source", &one.name), "synced_at": one.complete_at, "fresh": one.is_fresh(now),
        "age_s": one.complete_at.map(|at| (now - at).num_seconds()), "max_age_s": one.max_age.num_seconds(),
    })
}

fn channel(one: &ChannelNow, names: &mut Names) -> Value {
    let why = one
        .paused_why
        .as_deref()
        .and_then(|why| closed(why, &CLOSINGS).or_else(|| DeferReason::parse(why).map(DeferReason::as_str)));
    json!({
        "channel": names.alias("channel", &one.channel), "waiting": one.waiting, "unsent": one.unsent, "per_second": one.per_second,
        "rate": one.rate, "begins_at": one.begins_at, "ends_at": one.ends_at, "binds": one.binds, "paused_until": one.paused_until, "paused_why": why,
        "recipients_used": one.recipients_used, "recipients_per_24h": one.recipients_per_24h,
    })
}

fn task(one: &Task, names: &mut Names) -> Value {
    json!({
        "task": names.alias("task", &one.name), "kind": one.kind.as_str(), "last_planned_at": one.last_planned_at,
        "settled_through_at": one.settled_through_at, "fires_caught_up": one.fires_caught_up, "fires_dropped": one.fires_dropped,
    })
}

fn run(one: &Run, names: &mut Names) -> Value {
    json!({
        "run": one.id, "task": names.alias("task", &one.task_name), "kind": one.kind.as_str(), "planned_at": one.planned_at,
        "state": closed(&one.state, &RUN_STATES), "tries": one.tries, "evaluates_on": one.evaluates_on, "evaluated": one.evaluated,
        "held": one.held, "skipped": one.skipped, "revived": one.revived, "superseded": one.superseded, "blocked": one.blocked,
        "no_policy": one.no_policy, "approval": one.approval.as_deref().and_then(|approval| closed(approval, &APPROVALS)),
        "has_note": one.note.is_some(), "finished_at": one.finished_at,
    })
}

/// Failures by reason, and the newest by their ids.
pub(super) async fn failures(ledger: &Ledger, names: &mut Names) -> anyhow::Result<Value> {
    let by_reason = ledger.failure_counts(&FailureFilter::default()).await?;
    let by_reason: Map<_, _> = by_reason.into_iter().map(|(reason, n)| (reason.as_str().to_owned(), json!(n))).collect();
    let newest = ledger.failures(&FailureFilter::default(), None, FAILURES_MAX).await?;
    let newest: Vec<_> = newest.iter().map(|one| failure(one, names)).collect();
    let doubtful = ledger.messages(Some(State::InDoubt), None, None, FAILURES_MAX).await?;
    let doubtful: Vec<_> = doubtful
        .iter()
        .map(|one| json!({ "message": one.id, "stage": one.stage, "attempts": one.attempts, "updated_at": one.updated_at, "run": one.run_id }))
        .collect();
    Ok(json!({ "by_reason": by_reason, "failed": newest, "in_doubt": doubtful }))
}

/// Of what the provider said only numbers.
fn failure(one: &Failure, names: &mut Names) -> Value {
    let code = one.provider_code.as_ref().and_then(|code| code.parse::<i64>().ok()).filter(|code| code.abs() < 1_000_000);
    json!({
        "message": one.id, "stage": one.stage, "reason": one.reason, "failed_at": one.failed_at, "attempts": one.attempts,
        "replays": one.replays, "channel": names.alias("channel", &one.channel), "http_status": one.http_status, "code": code,
    })
}
