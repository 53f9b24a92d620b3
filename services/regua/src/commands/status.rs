//! `regua status`, for a person.

use crate::commands::lists::cell;
use crate::commands::{Outcome, Session, notices};
use crate::output::{self, Format, NOTHING_CONFIGURED, say};
use crate::status::{ChannelNow, Status, VERSION};
use regua_domain::message::State;
use regua_ledger::inspection::SCHEMA;
use regua_ledger::runs::Run;
use serde_json::Value;
use std::collections::BTreeMap;

impl Session {
    pub async fn status(&self, format: Format) -> anyhow::Result<Outcome> {
        let status = Status::gather(&self.ledger).await?;
        if format == Format::Json {
            output::line(status.json());
            return Ok(Outcome::Done);
        }
        if self.ledger.configuration().await?.is_none() {
            say!("{NOTHING_CONFIGURED}");
        }
        if let Some(pilot) = &status.pilot {
            say!("PILOT        {pilot}");
        }
        say!("regua        {VERSION}, schema {SCHEMA}, ledger time {}", status.now.to_rfc3339());
        print_messages(&status);
        print_progress(&status);
        let told = status.json();
        print_needs(&status, &told);
        print_life(&status, &told);
        Ok(Outcome::Done)
    }
}

fn print_messages(status: &Status) {
    for (state, n) in &status.counts.by_state {
        say!("{:<12} {n}", state.as_str());
    }
    for (reason, n) in &status.counts.skipped {
        say!("  {reason:<18} {n}");
    }
    if status.counts.redirected > 0 {
        say!("REDIRECTED   {} of these went to the pilot's phone: no customer has read them", status.counts.redirected);
    }
}

/// How far the day is.
fn print_progress(status: &Status) {
    for (run, messages) in &status.today {
        say!("today        {} {} {}{}", run.task_name, run.planned_at.to_rfc3339(), run.state, done_of(run, messages));
    }
    if status.today.is_empty() {
        for run in &status.runs {
            say!("run          {} {} {}", run.task_name, run.planned_at.to_rfc3339(), run.state);
        }
    }
    for channel in &status.channels {
        say!("channel      {}", of_channel(channel));
    }
}

/// What became of what a run decided; nothing for one that decides nothing.
fn done_of(run: &Run, messages: &BTreeMap<State, u64>) -> String {
    if run.evaluated == 0 {
        return String::new();
    }
    let sum = |states: &dyn Fn(&State) -> bool| messages.iter().filter(|(state, _)| states(state)).map(|(_, n)| n).sum::<u64>();
    let sent = sum(&|state| matches!(state, State::Sent | State::Delivered | State::Read));
    let (waiting, unclear) = (sum(&|state| state.is_live()), sum(&|state| matches!(state, State::Failed | State::InDoubt)));
    format!(
        ": {} decided, {} to be sent, {} not; {sent} sent, {waiting} waiting, {unclear} failed or in doubt",
        run.evaluated, run.held, run.skipped
    )
}

fn of_channel(channel: &ChannelNow) -> String {
    let ChannelNow { channel: name, waiting, rate, .. } = channel;
    let limit = channel.per_second.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {limit}"));
    let end = channel.ends_at.as_ref().map_or_else(String::new, |end| format!(", all sent by {end}"));
    let binds = match channel.binds {
        "stop" => "; a stop holds it".to_owned(),
        "pause" => {
            let until = channel.paused_until.map(|until| until.to_rfc3339()).unwrap_or_default();
            format!("; paused until {until}: {}", channel.paused_why.as_deref().unwrap_or_default())
        }
        "not_before" => format!("; nothing leaves before {}", channel.begins_at.as_deref().unwrap_or_default()),
        "no_task" => "; no send-queued-messages releases it".to_owned(),
        "nothing" => String::new(),
        limit => format!("; {} binds", limit.replace('_', " ")),
    };
    let unsent = if channel.unsent > 0 { format!("; {} END UNSENT", channel.unsent) } else { String::new() };
    let budget = channel
        .recipients_per_24h
        .map_or_else(String::new, |limit| format!("; {} of {limit} people in 24 h", channel.recipients_used));
    format!("{name}: {waiting} waiting, {rate}/s now ({limit}){end}{binds}{unsent}{budget}")
}

/// What a person should do something about.
fn print_needs(status: &Status, told: &Value) {
    let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
    for stop in list("stops") {
        let part = |name: &str| cell(&stop[name]);
        let until = if stop["until"].is_null() { String::new() } else { format!(" until {}", part("until")) };
        say!(
            "STOPPED      {} {} by {} since {}{until}: {}; {}",
            part("scope"),
            part("name"),
            part("raised_by"),
            part("since"),
            part("why"),
            part("ends")
        );
    }
    for (kind, n) in &status.holds {
        say!("ON HOLD      {n} {kind}s: `regua hold list`");
    }
    for template in &status.templates {
        notices::print_not_as_accepted(template);
    }
    for (outcome, n) in status.tests.as_object().into_iter().flatten() {
        say!("tests        {n} {outcome}");
    }
    for run in &status.unapproved {
        say!("WAITS        {} would send {}: `regua runs approve {} --why TEXT`", run.task_name, run.held, run.id);
    }
    if let Some(parked) = &status.parked {
        say!("PARKED       {}; add or enable a task, or `regua run send-queued-messages`", parked.why());
    }
    let doubt = status.counts.of(State::InDoubt);
    if doubt > 0 {
        say!("DOUBT        {doubt} may have been sent: `regua in-doubt list`");
    }
    if status.failures > 0 {
        say!("FAILED       {} that nobody set aside: `regua failures list`", status.failures);
    }
}

/// Who is alive, what comes next, and how old what is known is.
fn print_life(status: &Status, told: &Value) {
    let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
    for seen in &status.dispatchers {
        say!("dispatcher   {} last sent {}, {} attempts in 10 minutes", seen.name, seen.last_at.to_rfc3339(), seen.attempts);
    }
    for held in &status.held_runs {
        say!("evaluator    {} holds run {} until {}", held.owner, held.run, held.lease_expires_at.to_rfc3339());
    }
    for task in list("tasks") {
        let missed = format!("{} caught up, {} dropped", cell(&task["fires_caught_up"]), cell(&task["fires_dropped"]));
        say!("task         {} next {}; missed fires: {missed}", cell(&task["task"]), cell(&task["next"]));
    }
    for source in list("sources") {
        let fresh = if source["fresh"] == true { "fresh" } else { "STALE: nothing is decided or sent from it" };
        let age = source["age_s"].as_i64().map_or_else(String::new, |age| format!(", {} min ago", age / 60));
        say!("source       {} synced {}{age} ({fresh})", cell(&source["source"]), cell(&source["synced_at"]));
    }
}
