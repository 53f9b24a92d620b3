//! What a demo's day came to: a table that adds up, or one JSON object.

use crate::output::{self, Format};
use regua_domain::message::State;
use regua_domain::stage::Stage;
use regua_ledger::conservation::Violation;
use regua_ledger::queries::{Counts, StageCount};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Violations that are told one by one.
const VIOLATIONS_TOLD: usize = 20;

/// Whether invariant 2 holds.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The parts that don't.
    pub violations: Vec<Violation>,
    /// Messages that found no end although the day was to be played to its end.
    pub unfinished: u64,
}

impl Verdict {
    /// True only if all parts hold.
    pub fn conserved(&self) -> bool {
        self.violations.is_empty() && self.unfinished == 0
    }

    /// Says on standard error what doesn't hold.
    pub fn tell(&self) {
        for violation in self.violations.iter().take(VIOLATIONS_TOLD) {
            eprintln!("NOT CONSERVED: {violation}");
        }
        if self.unfinished > 0 {
            eprintln!("NOT FINISHED: {} messages are still on their way", self.unfinished);
        }
    }
}

/// The day in numbers.
#[derive(Clone, Debug)]
pub struct Report {
    /// Messages by state, and what the runs say.
    pub counts: Counts,
    /// The same by stage.
    pub stages: Vec<StageCount>,
    /// Requests that the provider accepted.
    pub provider_received: u64,
    /// Different messages among them.
    pub provider_distinct: u64,
    /// Whether it adds up.
    pub verdict: Verdict,
    /// Seconds from the start of the demo.
    pub seconds: f64,
}

impl Report {
    /// Prints it.
    pub fn print(&self, format: Format) {
        match format {
            Format::Json => output::line(self.json()),
            Format::Human => output::line(self.text().trim_end()),
        }
        self.verdict.tell();
    }

    /// The object of `--json`, as interface.md names its members.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("evaluated".into(), json!(self.counts.evaluated));
        for state in State::ALL {
            if *state != State::Skipped {
                object.insert(state.as_str().into(), json!(self.counts.of(*state)));
            }
        }
        object.insert("skipped".into(), json!(self.counts.skipped));
        object.insert("provider_received".into(), json!(self.provider_received));
        object.insert("provider_distinct".into(), json!(self.provider_distinct));
        object.insert("conserved".into(), json!(self.verdict.conserved()));
        object.insert("seconds".into(), json!((self.seconds * 10.0).round() / 10.0));
        Value::Object(object)
    }

    /// The table.
    pub fn text(&self) -> String {
        let ends: BTreeSet<_> = self.stages.iter().map(|count| (count.state, count.reason.clone())).collect();
        let stages: BTreeSet<Stage> = self.stages.iter().map(|count| count.stage).collect();
        let number = |stage: Option<Stage>, end: &(State, Option<String>)| -> u64 {
            let of = |count: &&StageCount| {
                count.state == end.0 && count.reason == end.1 && stage.is_none_or(|stage| stage == count.stage)
            };
            self.stages.iter().filter(of).map(|count| count.messages).sum()
        };
        let mut headings = vec![String::new()];
        headings.extend(stages.iter().map(|stage| stage.erp_label().to_owned()));
        headings.push("all".into());
        let mut rows = Vec::new();
        for end in &ends {
            let name = end.1.as_ref().map_or_else(|| end.0.to_string(), |reason| format!("{}: {reason}", end.0));
            let mut row = vec![name];
            row.extend(stages.iter().map(|stage| number(Some(*stage), end).to_string()));
            row.push(number(None, end).to_string());
            rows.push(row);
        }
        let mut sum = vec!["messages".to_owned()];
        for stage in &stages {
            sum.push(ends.iter().map(|end| number(Some(*stage), end)).sum::<u64>().to_string());
        }
        sum.push(self.counts.total().to_string());
        rows.push(sum);
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let conserved = if self.verdict.conserved() { "conserved" } else { "NOT CONSERVED" };
        format!(
            "\n{}\nthe runs wrote {} messages; Opa! Suite took {} requests for {} messages: {conserved}; {:.1} s\n",
            output::table(&headings, &rows),
            self.counts.evaluated,
            self.provider_received,
            self.provider_distinct,
            self.seconds
        )
    }
}
