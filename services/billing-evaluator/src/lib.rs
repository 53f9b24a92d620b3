//! Consumes ticks: leases the run that each names, does it, ends it. Syncing, deciding and releasing live in their own modules.

mod counters;
pub mod evaluate;
mod events;
pub mod forecast;
pub mod import;
mod last_look;
pub mod sync;
mod work;
pub mod written;

use chrono::TimeDelta;
use regua_broker::{Acker, Delivery, Tick};
use regua_ledger::new_id;
use regua_ledger::runs::LeaseAnswer;
use regua_pipeline::{Pipeline, story};
use regua_telemetry::logging::Chain;
use regua_telemetry::service::{Failure, Process};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::Instrument as _;

/// Runs that one evaluator works on at once: a long update-collections must not keep send-queued-messages waiting.
const RUNS_MAX: usize = 4;
/// Ticks held unacked: those of the runs at work and the next ones.
const PREFETCH: u16 = 8;
/// How often a lease is prolonged; a third of what it lasts.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// What a ledger that fails is given before the tick is left to come again.
const LEASE_AGAIN: Duration = Duration::from_millis(500);

/// Runs the evaluator until the shutdown begins; runs at work are given back, to be taken up by another.
///
/// # Errors
/// None of its own: what fails is noted on the run and tried again.
pub async fn run(pipeline: Pipeline, process: Process) -> Result<(), Failure> {
    let mut ticks = pipeline.broker.ticks(PREFETCH);
    let acker = ticks.acker();
    let places = Arc::new(Semaphore::new(RUNS_MAX));
    let ledger = pipeline.ledger.clone();
    let worker = Arc::new(work::Worker::new(pipeline, process.clone()));
    let looking = tokio::spawn(last_look::keep_looking(ledger, worker.syncer(), process.clone()));
    let mut runs = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = process.shutdown.begun() => break,
            place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let tick = tokio::select! {
            () = process.shutdown.begun() => break,
            batch = ticks.next_batch(1) => match batch.and_then(|mut batch| batch.pop()) {
                Some(tick) => tick,
                None => break,
            },
        };
        let (worker, acker) = (Arc::clone(&worker), acker.clone());
        runs.spawn(async move {
            take(&worker, tick, &acker).await;
            drop(place);
        });
        while runs.try_join_next().is_some() {}
    }
    ticks.cancel();
    while let Some(ended) = runs.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "run.panicked");
        }
    }
    ticks.close().await;
    if let Err(error) = looking.await {
        tracing::error!(%error, "last_look.panicked");
    }
    Ok(())
}

/// Leases the tick's run and works on it. The tick is acked as soon as the lease is committed: from then on the ledger keeps the run.
async fn take(worker: &work::Worker, tick: Delivery<Tick>, acker: &Acker) {
    let pipeline = worker.pipeline();
    if tick.ledger != Some(pipeline.ledger_id) {
        tracing::warn!(run = %tick.body.run, trace_id = %tick.body.run.0.simple(), "tick.of_another_ledger");
        acker.ack([tick.ack]);
        return;
    }
    let answer = match lease(worker, &tick).await {
        Ok(answer) => answer,
        Err(error) => {
            // Not acked, not held: the scheduler ticks the run again, and dropping the tag would keep a place taken.
            tracing::warn!(run = %tick.body.run, trace_id = %tick.body.run.0.simple(), error = %Chain(&error), "run.not_leased");
            tokio::time::sleep(LEASE_AGAIN).await;
            acker.ack([tick.ack]);
            return;
        }
    };
    acker.ack([tick.ack]);
    match answer {
        LeaseAnswer::Leased(leased) => {
            let run = &leased.run;
            let span = story::run(&*pipeline.broker, run.id, run.kind, run.tries, tick.trace.as_deref());
            Box::pin(worker.work(*leased)).instrument(span).await;
        }
        LeaseAnswer::Held | LeaseAnswer::NothingToDo => {}
        LeaseAnswer::Over { kind, why } => worker.over(tick.body.run, kind, why),
        LeaseAnswer::Unknown => {
            tracing::error!(run = %tick.body.run, trace_id = %tick.body.run.0.simple(), "tick.of_unknown_run: has the ledger gone back in time?");
        }
    }
}

async fn lease(worker: &work::Worker, tick: &Delivery<Tick>) -> Result<LeaseAnswer, regua_ledger::LedgerError> {
    let ledger = &worker.pipeline().ledger;
    let today = ledger.settings().await?.times().date_at(ledger.now().await?);
    ledger.lease_run(tick.body.run, new_id(), today, tick.trace.clone()).await
}

/// A wait in the ledger's terms.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
