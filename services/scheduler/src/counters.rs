//! What the scheduler counts of its duties' work.

use chrono::{DateTime, Utc};
use regua_ledger::LedgerError;
use regua_pipeline::Pipeline;
use regua_telemetry::metrics::{Counter, Gauge, Histogram, LONG, Metrics, SHORT};
use std::sync::{Mutex, PoisonError};

/// The scheduler's counters.
pub struct Counters {
    pub rescued: Counter,
    pub expired_messages: Counter,
    pub expired_doubt: Counter,
    pub expired_runs: Counter,
    pub hints_lost: Counter,
    pub hints_published: Counter,
}

impl Counters {
    pub fn new(metrics: &Metrics) -> Self {
        let expired = |what| metrics.counter("regua_expired_total", "What ended because its time was over.", &[("what", what)]);
        Self {
            rescued: metrics.counter("regua_rescued_total", "Attempts whose lease expired: their messages are in doubt.", &[]),
            expired_messages: expired("message"),
            expired_doubt: expired("doubt"),
            expired_runs: expired("run"),
            hints_lost: metrics.counter("regua_hints_lost_total", "Queued messages whose hint the broker lost.", &[]),
            hints_published: regua_pipeline::hints_published(metrics),
        }
    }
}

/// How one duty does.
pub struct Duty {
    pub failing: Gauge,
    pub duration: Histogram,
}

impl Duty {
    pub fn new(metrics: &Metrics, name: &str) -> Self {
        let of = [("duty", name)];
        Self {
            failing: metrics.gauge("regua_duty_failing", "Whether a duty of the scheduler fails.", &of),
            duration: metrics.histogram("regua_duty_duration_seconds", "How long one round of a duty took.", SHORT, &of),
        }
    }
}

/// Watches how long after its instant a release is followed by the first request.
pub struct FirstSends {
    histogram: Histogram,
    /// The newest release that was seen, at first the moment of the first look: those before it were another process's.
    seen: Mutex<Option<DateTime<Utc>>>,
}

impl FirstSends {
    pub fn new(metrics: &Metrics) -> Self {
        let help = "From the planned instant of a run of send-queued-messages to the slot of the first attempt after it.";
        Self { histogram: metrics.histogram("regua_tick_to_first_send_seconds", help, LONG, &[]), seen: Mutex::default() }
    }

    pub async fn look(&self, pipeline: &Pipeline) -> Result<(), LedgerError> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now_seen = match seen {
            None => Some(pipeline.ledger.now().await?),
            Some(after) => pipeline.ledger.first_send(after).await?.map(|first| {
                self.histogram.observe((first.slot_at - first.planned_at).to_std().unwrap_or_default());
                first.planned_at
            }),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now_seen.or(seen);
        Ok(())
    }
}
