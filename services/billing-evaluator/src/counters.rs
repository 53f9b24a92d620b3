//! What the billing-evaluator counts of its runs and syncs.

use crate::sync::SyncError;
use regua_domain::schedule::TaskKind;
use regua_ledger::evaluation::EvaluationCounts;
use regua_telemetry::metrics::{Counter, LONG, Metrics};
use std::time::Duration;

/// The evaluator's counters.
pub struct Counters {
    metrics: Metrics,
    pub hints_published: Counter,
}

impl Counters {
    pub fn new(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), hints_published: regua_pipeline::hints_published(metrics) }
    }

    /// One try of a run has ended so.
    pub fn tried(&self, kind: TaskKind, outcome: &'static str, took: Duration) {
        self.ended(kind, outcome);
        let help = "How long a try of a run took.";
        self.metrics.histogram("regua_run_duration_seconds", help, LONG, &[("kind", kind.as_str())]).observe(took);
    }

    /// A try of a run, or a run that isn't tried again, has ended so.
    pub fn ended(&self, kind: TaskKind, outcome: &'static str) {
        let of = [("kind", kind.as_str()), ("outcome", outcome)];
        self.metrics.counter("regua_runs_total", "Tries of runs by what came of them.", &of).increment();
    }

    /// An evaluation decided this, and the ledger refused so many of its messages.
    pub fn decided(&self, counts: &EvaluationCounts, refused: usize) {
        let help = "What evaluations decided, by what became of it.";
        for (became, number) in [
            ("held", counts.held),
            ("skipped", counts.skipped),
            ("revived", counts.revived),
            ("superseded", counts.superseded),
            ("blocked", counts.blocked),
            ("refused", refused as u64),
            ("event", counts.events),
        ] {
            self.metrics.counter("regua_decided_messages_total", help, &[("became", became)]).add(number);
        }
    }

    /// A sync of a source took so long, and read so many titles. One that somebody else has in hand, or that the shutdown ended, counts as none.
    pub fn synced(&self, source: &str, took: Duration, read: &Result<usize, SyncError>) {
        if matches!(read, Err(SyncError::Busy | SyncError::Shutdown)) {
            return;
        }
        let of = [("source", source)];
        self.metrics.histogram("regua_sync_duration_seconds", "How long a sync took, complete or not.", LONG, &of).observe(took);
        self.metrics.counter("regua_sync_failures_total", "Syncs that failed.", &of).add(u64::from(read.is_err()));
        let titles = read.as_ref().map_or(0, |read| *read as u64);
        self.metrics.counter("regua_sync_records_total", "Titles that complete syncs read.", &of).add(titles);
    }
}
