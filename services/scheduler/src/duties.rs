//! The periodic duties on messages, each bounded and safe in any number of schedulers.

use crate::counters::Counters;
use chrono::SecondsFormat;
use regua_ledger::LedgerError;
use regua_ledger::counts::FOLD_MAX;
use regua_ledger::mirror::Source;
use regua_ledger::parked::Parked;
use regua_ledger::retention::{Swept, Walks};
use regua_ledger::sweeps::HINT_LOST_AFTER;
use regua_pipeline::{Pipeline, story};
use regua_telemetry::health::Readiness;
use regua_telemetry::metrics::Gauge;
use regua_telemetry::service::Process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Attempts whose lease expired become doubtful, never queued again.
pub async fn rescue(pipeline: &Pipeline, counters: &Counters) -> Result<(), LedgerError> {
    let rescued = pipeline.ledger.rescue().await?;
    counters.rescued.add(rescued.len() as u64);
    for attempt in &rescued {
        story::rescued(attempt.message, attempt.attempt);
    }
    if !rescued.is_empty() {
        tracing::error!(messages = rescued.len(), "message.in_doubt: nobody reported these attempts; see `regua in-doubt list`");
    }
    Ok(())
}

/// Tells in `/readyz` of sources that are too old to send from.
pub async fn tell_stale_sources(pipeline: &Pipeline, process: &Process) -> Result<(), LedgerError> {
    let now = pipeline.ledger.now().await?;
    let sources = pipeline.ledger.sources().await?;
    let stale: Vec<String> = sources.iter().filter(|source| !source.is_fresh(now)).map(told_of).collect();
    let readiness = if stale.is_empty() { Readiness::Ready } else { Readiness::degraded(stale.join(". ")) };
    process.health.scoped("scheduler").set("sources", readiness);
    Ok(())
}

fn told_of(source: &Source) -> String {
    let name = &source.name;
    let since = source.complete_at.map_or_else(
        || "was never read whole".into(),
        |at| format!("was last read whole at {}, longer ago than its max_age", at.to_rfc3339_opts(SecondsFormat::Secs, true)),
    );
    format!("{name} {since}: nothing is sent from it until update-collections or an import has")
}

/// Messages whose time has passed end, and so does doubt that nobody settled until long after it, and a run that nobody could do.
pub async fn expire(pipeline: &Pipeline, counters: &Counters) -> Result<(), LedgerError> {
    let expired = pipeline.ledger.expire().await?;
    counters.expired_messages.add(expired);
    if expired > 0 {
        tracing::warn!(messages = expired, "message.expired");
    }
    let doubtful = pipeline.ledger.expire_doubt().await?;
    counters.expired_doubt.add(doubtful);
    if doubtful > 0 {
        tracing::warn!(messages = doubtful, "message.doubt_expired: nobody settled it in time, and it is never sent again");
    }
    let runs = pipeline.ledger.end_overdue_runs().await?;
    counters.expired_runs.add(runs);
    if runs > 0 {
        tracing::error!(runs, "run.failed: nobody could do it within the catch-up time after its instant");
    }
    Ok(())
}

/// Queued messages whose hints the broker lost wait again: only while the broker has fewer hints than the ledger has queued messages.
pub async fn find_lost_hints(pipeline: &Pipeline, counters: &Counters) -> Result<(), LedgerError> {
    let queued = pipeline.ledger.queued().await?;
    if queued == 0 {
        return Ok(());
    }
    let ready = match pipeline.broker.ready_hints().await {
        Ok(ready) => ready,
        Err(error) => {
            tracing::debug!(%error, "scheduler.broker_depth_unknown");
            return Ok(());
        }
    };
    if ready >= queued {
        return Ok(());
    }
    let lost = pipeline.ledger.unqueue(HINT_LOST_AFTER).await?;
    counters.hints_lost.add(lost);
    if lost > 0 {
        tracing::warn!(messages = lost, queued, ready, "message.hint_lost");
    }
    Ok(())
}

/// Folds in one round: more than dispatchers at their limits write meanwhile.
const FOLDS_MAX: u32 = 4;

/// Folds the changes of the kept counts, so that few are left to be read one by one.
pub async fn fold_counts(pipeline: &Pipeline) -> Result<(), LedgerError> {
    for _ in 0..FOLDS_MAX {
        if pipeline.ledger.fold_counts().await? < u64::from(FOLD_MAX) {
            break;
        }
    }
    Ok(())
}

/// Steps of retention in one round: so many that a large provider's day is done within the day, and so few that nobody waits for them.
const RETAIN_STEPS_MAX: u32 = 4;

/// Deletes personal data that no rule needs any more, a little at a time.
#[derive(Default)]
pub struct Retention(Mutex<Walks>);

impl Retention {
    /// Goes some steps on.
    pub async fn go_on(&self, pipeline: &Pipeline) -> Result<(), LedgerError> {
        let mut walks = self.walks().clone();
        let mut sum = Swept::default();
        for _ in 0..RETAIN_STEPS_MAX {
            let swept = pipeline.ledger.retain(&mut walks).await?;
            *self.walks() = walks.clone();
            sum = Swept { anonymised: sum.anonymised + swept.anonymised, deleted: sum.deleted + swept.deleted, more: swept.more };
            if !swept.more {
                break;
            }
        }
        if sum.anonymised + sum.deleted > 0 {
            tracing::info!(anonymised = sum.anonymised, deleted = sum.deleted, "retention.swept");
        }
        Ok(())
    }

    fn walks(&self) -> MutexGuard<'_, Walks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a parked queue is told in the log, while it stays so.
const TOLD_EVERY: Duration = Duration::from_hours(1);

/// Watches for a parked queue ("fila parada"): messages that are held while no send-queued-messages task comes to release them.
pub struct ParkedQueue {
    process: Process,
    gauge: Gauge,
    told_at: Mutex<Option<Instant>>,
}

impl ParkedQueue {
    pub fn new(process: &Process) -> Self {
        let help = "Held messages that no task releases within 24 h (fila parada).";
        Self {
            process: process.clone(),
            gauge: process.metrics.gauge("regua_queue_parked", help, &[]),
            told_at: Mutex::default(),
        }
    }

    /// Tells it in `/readyz` and as a metric as long as it is so, in the log at most once an hour.
    pub async fn look(&self, pipeline: &Pipeline) -> Result<(), LedgerError> {
        let parked = pipeline.ledger.parked().await?;
        let messages = parked.as_ref().map_or(0, Parked::messages);
        self.gauge.set(i64::try_from(messages).unwrap_or(i64::MAX));
        // Without the number: each change of a check is logged.
        let why = parked.as_ref().and_then(|parked| parked.outlook.problem());
        let readiness =
            why.map_or(Readiness::Ready, |why| Readiness::degraded(format!("the queue stands still (fila parada): {why}")));
        self.process.health.scoped("scheduler").set("queue", readiness);
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parked) = parked
            && is_to_be_told(*told_at, Instant::now())
        {
            *told_at = Some(Instant::now());
            tracing::error!(messages, why = %parked.why(), "queue.parked: enable a task, or run `regua run send-queued-messages`");
        }
        Ok(())
    }
}

fn is_to_be_told(told_at: Option<Instant>, now: Instant) -> bool {
    told_at.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_queue_is_told_at_once_and_then_once_an_hour() {
        let begin = Instant::now();
        let mut told_at = None;
        let told: Vec<u64> = (0..=250)
            .step_by(5)
            .filter(|minute| {
                let now = begin + Duration::from_mins(*minute);
                let tell = is_to_be_told(told_at, now);
                told_at = if tell { Some(now) } else { told_at };
                tell
            })
            .collect();
        assert_eq!(told, [0, 60, 120, 180, 240]);
    }
}
