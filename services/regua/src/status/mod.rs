//! What an operator asks at any hour: what runs and how far it is, what binds, what needs a person, who is alive.

mod channels;

pub use channels::ChannelNow;

use crate::commands::{not_as_accepted, run_json, task_json, tests_json};
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::message::State;
use regua_ledger::Ledger;
use regua_ledger::failures::FailureFilter;
use regua_ledger::inspection::SCHEMA;
use regua_ledger::mirror::Source;
use regua_ledger::parked::Parked;
use regua_ledger::queries::Counts;
use regua_ledger::recent_work::{DispatcherSeen, HeldRun};
use regua_ledger::runs::Run;
use regua_ledger::stops::Stop;
use regua_ledger::tasks::Task;
use regua_pipeline::{next_check_at, what_ends};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// This version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Runs of one day that are looked at: the newest.
const RUNS_MAX: u32 = 50;
/// Runs that are told whatever day it is.
const NEWEST: usize = 2;

/// Everything that is told.
pub struct Status {
    /// The ledger's time.
    pub now: DateTime<Utc>,
    /// What an operator has to know of the pilot.
    pub pilot: Option<String>,
    /// Messages by state.
    pub counts: Counts,
    /// What is stopped.
    pub stops: Vec<Stop>,
    /// How many customers and invoices are on hold.
    pub holds: BTreeMap<String, u64>,
    /// The mirrors.
    pub sources: Vec<Source>,
    /// The newest runs.
    pub runs: Vec<Run>,
    /// Today's, each with its messages by state.
    pub today: Vec<(Run, BTreeMap<State, u64>)>,
    /// Those that wait for consent.
    pub unapproved: Vec<Run>,
    /// Those that an evaluator holds.
    pub held_runs: Vec<HeldRun>,
    /// Dispatchers that made attempts lately.
    pub dispatchers: Vec<DispatcherSeen>,
    /// The channels that are in use.
    pub channels: Vec<ChannelNow>,
    /// The schedules.
    pub tasks: Vec<Task>,
    /// What no task releases.
    pub parked: Option<Parked>,
    /// Templates that aren't as they were accepted.
    pub templates: Vec<Value>,
    /// Test sends by outcome.
    pub tests: Value,
    /// Failures that nobody set aside.
    pub failures: u64,
}

impl Status {
    /// Reads it.
    pub async fn gather(ledger: &Ledger) -> anyhow::Result<Self> {
        let (settings, now) = (ledger.settings().await?, ledger.now().await?);
        let stops = ledger.stops().await?;
        let runs = ledger.runs(RUNS_MAX).await?;
        let date: NaiveDate = settings.times().date_at(now);
        let of_today: Vec<&Run> = runs.iter().filter(|run| settings.times().date_at(run.planned_at) == date).collect();
        let mut progress = ledger.run_progress(&of_today.iter().map(|run| run.id).collect::<Vec<_>>()).await?;
        let today = of_today.into_iter().map(|run| (run.clone(), progress.remove(&run.id).unwrap_or_default())).collect();
        let work = ledger.recent_work().await?;
        Ok(Self {
            now,
            pilot: settings.pilot.told(),
            counts: ledger.kept_counts().await?.counts(),
            channels: channels::gather(ledger, &work, &stops, date).await?,
            stops,
            holds: ledger.holds_in_force().await?.into_iter().map(|(kind, n)| (kind.to_string(), n)).collect(),
            sources: ledger.sources().await?,
            today,
            runs: runs.into_iter().take(NEWEST).collect(),
            unapproved: ledger.runs_waiting_for_approval().await?,
            held_runs: ledger.held_runs().await?,
            dispatchers: work.dispatchers,
            tasks: ledger.tasks().await?,
            parked: ledger.parked().await?,
            templates: not_as_accepted(&ledger.templates().await?),
            tests: tests_json(&ledger.test_counts().await?),
            failures: ledger.failure_counts(&FailureFilter::default()).await?.values().sum(),
        })
    }

    /// How many things of each kind wait for a person.
    pub fn needs(&self) -> Vec<(&'static str, u64)> {
        let stale = self.sources.iter().filter(|source| !source.is_fresh(self.now)).count();
        vec![
            ("stops", self.stops.len() as u64),
            ("unapproved", self.unapproved.len() as u64),
            ("parked", self.parked.as_ref().map_or(0, Parked::messages)),
            ("in_doubt", self.counts.of(State::InDoubt)),
            ("failures", self.failures),
            ("templates", self.templates.len() as u64),
            ("stale_sources", stale as u64),
        ]
    }

    /// All of it for a program.
    pub fn json(&self) -> Value {
        let now = self.now;
        let of_today = |(run, messages): &(Run, BTreeMap<State, u64>)| {
            let mut told = run_json(run);
            told["messages"] = by_state(messages);
            told
        };
        let source = |source: &Source| {
            json!({
                "source": source.name, "synced_at": source.complete_at, "fresh": source.is_fresh(now),
                "age_s": source.complete_at.map(|at| (now - at).num_seconds()), "max_age_s": source.max_age.num_seconds(),
            })
        };
        let dispatcher = |seen: &DispatcherSeen| json!({ "dispatcher": seen.name, "last_attempt_at": seen.last_at, "attempts": seen.attempts });
        let held = |held: &HeldRun| json!({ "run": held.run, "owner": held.owner, "lease_expires_at": held.lease_expires_at });
        let needs: serde_json::Map<_, _> = self.needs().into_iter().map(|(what, n)| (what.to_owned(), json!(n))).collect();
        json!({
            "now": now, "version": VERSION, "schema": SCHEMA, "pilot": self.pilot,
            "messages": by_state(&self.counts.by_state), "redirected": self.counts.redirected, "skipped": self.counts.skipped,
            "stops": self.stops.iter().map(stop_json).collect::<Vec<_>>(), "holds": self.holds,
            "sources": self.sources.iter().map(source).collect::<Vec<_>>(),
            "runs": self.runs.iter().map(run_json).collect::<Vec<_>>(),
            "today": self.today.iter().map(of_today).collect::<Vec<_>>(),
            "unapproved": self.unapproved.iter().map(run_json).collect::<Vec<_>>(),
            "held_runs": self.held_runs.iter().map(held).collect::<Vec<_>>(),
            "dispatchers": self.dispatchers.iter().map(dispatcher).collect::<Vec<_>>(),
            "channels": self.channels,
            "tasks": self.tasks.iter().map(|task| task_json(task, now)).collect::<Vec<_>>(),
            "parked": self.parked.as_ref().map(parked_json), "templates": self.templates, "tests": self.tests,
            "failures": self.failures, "needs": needs,
        })
    }
}

/// A number for each state.
pub fn by_state(counts: &BTreeMap<State, u64>) -> Value {
    counts.iter().map(|(state, n)| (state.as_str().to_owned(), json!(n))).collect::<serde_json::Map<_, _>>().into()
}

fn stop_json(stop: &Stop) -> Value {
    json!({
        "scope": stop.scope, "target": stop.target, "name": stop.name, "raised_by": stop.raised_by, "why": stop.why,
        "since": stop.since_at, "until": stop.until_at, "next_check_at": next_check_at(stop), "ends": what_ends(stop),
    })
}

fn parked_json(parked: &Parked) -> Value {
    let integrations: serde_json::Map<_, _> =
        parked.by_integration.iter().map(|(name, messages)| (name.clone(), json!(messages))).collect();
    json!({ "messages": parked.messages(), "integrations": integrations, "why": parked.outlook.problem() })
}
