//! The days as a table that adds up, or as lines of JSON.

use crate::demo::Verdict;
use crate::output::{self, Format};
use crate::simulate::{Day, SimulateOptions, Tally};
use regua_domain::stage::Stage;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Reasons that have a column of their own; the rest is `other`.
const REASONS_MAX: usize = 6;

/// What all days came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was simulated.
    pub options: SimulateOptions,
    /// The days, in their order.
    pub days: Vec<Day>,
    /// All of them, with what the provider took: requests, and different messages.
    pub total: (Tally, u64, u64),
    /// Whether it adds up (invariant 2).
    pub verdict: Verdict,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Report {
    /// Whether every part of invariant 2 holds. Messages that wait for days to come are no violation.
    pub fn conserved(&self) -> bool {
        self.verdict.conserved()
    }

    /// Prints the table, or the object after those of the days.
    pub fn print(&self, format: Format) {
        match format {
            Format::Json => output::line(self.json()),
            Format::Human => output::line(self.text().trim_end()),
        }
        self.verdict.tell();
    }

    /// The last line of JSON: all days together.
    pub fn json(&self) -> Value {
        let (total, received, distinct) = &self.total;
        let mut object = total.members();
        object.insert("days".into(), json!(self.options.days));
        object.insert("from".into(), json!(self.options.from));
        object.insert("customers".into(), json!(self.options.customers));
        object.insert("seed".into(), json!(self.options.seed));
        object.insert("provider_received".into(), json!(received));
        object.insert("provider_distinct".into(), json!(distinct));
        object.insert("conserved".into(), json!(self.conserved()));
        object.insert("seconds".into(), json!((self.seconds * 10.0).round() / 10.0));
        Value::Object(object)
    }

    /// The table: a row per day, a column per stage that was sent, then why messages were not.
    pub fn text(&self) -> String {
        let (total, received, distinct) = &self.total;
        let stages: BTreeSet<Stage> = total.sent.keys().copied().collect();
        let reasons = self.reasons();
        let mut headings = vec!["day".to_owned(), String::new()];
        headings.extend(stages.iter().map(|stage| stage.erp_label().to_owned()));
        headings.push("sent".into());
        headings.extend(reasons.iter().map(|reason| format!("skipped: {reason}")));
        // What has no column is left out where there is nothing of it.
        let has_other = total.skipped.len() > reasons.len();
        headings.extend(has_other.then(|| "skipped: other".to_owned()));
        headings.extend(["failed", "in doubt", "waiting"].map(str::to_owned));
        let cells = |tally: &Tally| -> Vec<i64> {
            let skipped = |reason: &&str| tally.skipped.get(*reason).copied().unwrap_or(0);
            let named: Vec<i64> = reasons.iter().map(skipped).collect();
            let other = tally.skipped.values().sum::<i64>() - named.iter().sum::<i64>();
            let mut cells: Vec<i64> = stages.iter().map(|stage| tally.sent.get(stage).copied().unwrap_or(0)).collect();
            cells.push(tally.sent.values().sum());
            cells.extend(named);
            cells.extend(has_other.then_some(other));
            cells.extend([tally.failed.values().sum(), tally.in_doubt, tally.waiting]);
            cells
        };
        let row = |names: [String; 2], tally: &Tally| names.into_iter().chain(cells(tally).iter().map(i64::to_string)).collect();
        let mut rows: Vec<Vec<String>> = self.days.iter().map(|day| row([day.date.to_string(), mark(day)], &day.tally)).collect();
        rows.push(row(["total".into(), String::new()], total));
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let conserved = if self.conserved() { "conserved" } else { "NOT CONSERVED" };
        format!(
            "\n{}\nthe runs wrote {} messages; Opa! Suite took {received} requests for {distinct} messages: {conserved}; {:.1} s\n",
            output::table(&headings, &rows),
            total.decided,
            self.seconds
        )
    }

    /// The commonest reasons for sending nothing, the commonest first.
    fn reasons(&self) -> Vec<&str> {
        let mut reasons: Vec<(&String, &i64)> = self.total.0.skipped.iter().collect();
        reasons.sort_by_key(|(reason, number)| (-**number, reason.to_owned()));
        reasons.into_iter().take(REASONS_MAX).map(|(reason, _)| reason.as_str()).collect()
    }
}

/// The day of the week, and the holiday that it is.
fn mark(day: &Day) -> String {
    match &day.holiday {
        Some(holiday) => format!("{} {holiday}", day.weekday()),
        None => day.weekday(),
    }
}
