//! All that time drives: ticks, top-up, rescue, expiry, lost hints, retention. Any number of schedulers may run at once: every duty is one guarded
//! transaction, so a second scheduler finds nothing left to do.

mod counters;
mod duties;
mod planning;

use counters::{Counters, Duty, FirstSends};
use regua_pipeline::Pipeline;
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use regua_telemetry::service::{Failure, Process};
use std::future::Future;
use std::time::{Duration, Instant};

/// How often hints are topped up: what a message that is released waits for at most.
const TOP_UP_EVERY: Duration = Duration::from_millis(200);
/// How often tasks are looked at.
const PLAN_EVERY: Duration = Duration::from_secs(1);
/// How often leases are looked at.
const RESCUE_EVERY: Duration = Duration::from_secs(1);
/// How often expiries are looked at.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);
/// How often the broker's depth is compared with the ledger's.
const LOST_HINTS_EVERY: Duration = Duration::from_secs(10);
/// How often the queue is looked at, whether a task will empty it.
const PARKED_EVERY: Duration = Duration::from_secs(20);
/// How often the age of the sources is looked at.
const SOURCES_EVERY: Duration = Duration::from_secs(5);
/// How often personal data that is due is looked for.
const RETAIN_EVERY: Duration = Duration::from_secs(20);
/// How often the changes of the kept counts are folded.
const FOLD_EVERY: Duration = Duration::from_secs(2);
/// How often the first request after a release is looked for.
const FIRST_SEND_EVERY: Duration = Duration::from_secs(5);
/// A duty that was silent for this long is stalled (`/livez`).
const SILENT_MAX: Duration = Duration::from_mins(1);

/// Runs the scheduler until the shutdown begins.
///
/// # Errors
/// None of its own: what fails is told in `/readyz` and tried again.
pub async fn run(pipeline: Pipeline, process: Process) -> Result<(), Failure> {
    let ticker = planning::Ticker::new(pipeline.clone());
    let queue = duties::ParkedQueue::new(&process);
    let retention = duties::Retention::default();
    let (counters, first_sends) = (Counters::new(&process.metrics), FirstSends::new(&process.metrics));
    regua_pipeline::expose_ledger(&process.metrics, &pipeline.ledger);
    tokio::join!(
        every(&process, "plan", PLAN_EVERY, async || ticker.plan_and_tick().await),
        every(&process, "top_up", TOP_UP_EVERY, async || {
            regua_pipeline::release(&pipeline).await.map(|released| counters.hints_published.add(released.published))
        }),
        every(&process, "rescue", RESCUE_EVERY, async || duties::rescue(&pipeline, &counters).await),
        every(&process, "expire", EXPIRE_EVERY, async || duties::expire(&pipeline, &counters).await),
        every(&process, "parked_queue", PARKED_EVERY, async || queue.look(&pipeline).await),
        every(&process, "source_ages", SOURCES_EVERY, async || duties::tell_stale_sources(&pipeline, &process).await),
        every(&process, "retention", RETAIN_EVERY, async || retention.go_on(&pipeline).await),
        every(&process, "lost_hints", LOST_HINTS_EVERY, async || duties::find_lost_hints(&pipeline, &counters).await),
        every(&process, "fold_counts", FOLD_EVERY, async || duties::fold_counts(&pipeline).await),
        every(&process, "first_send", FIRST_SEND_EVERY, async || first_sends.look(&pipeline).await),
    );
    Ok(())
}

/// Does a duty again and again, a failure included: it is logged once when it begins and told in `/readyz` until it ends.
async fn every<F, E>(process: &Process, name: &'static str, period: Duration, mut duty: impl FnMut() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + 'static,
{
    let health = process.health.scoped("scheduler");
    let heartbeat = health.heartbeat(name, SILENT_MAX);
    let counted = Duty::new(&process.metrics, name);
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = process.shutdown.begun() => return,
            _ = ticks.tick() => {}
        }
        let began = Instant::now();
        let done = duty().await;
        counted.duration.observe(began.elapsed());
        counted.failing.set(i64::from(done.is_err()));
        match done {
            Ok(()) if failing => {
                failing = false;
                tracing::info!(duty = name, "scheduler.duty_works_again");
                health.set(name, Readiness::Ready);
            }
            Ok(()) => {}
            Err(error) if failing => tracing::debug!(duty = name, error = %Chain(&error), "scheduler.duty_failed"),
            Err(error) => {
                failing = true;
                tracing::warn!(duty = name, error = %Chain(&error), "scheduler.duty_failed");
                health.set(name, Readiness::not_ready(format!("{name} fails: {}", Chain(&error))));
            }
        }
        heartbeat.beat();
    }
}
