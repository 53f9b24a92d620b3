//! Drains hints: *start, wait for the slot, send, decide, finish, ack*.
//!
//! A hint waits unacked in the lane of its channel, so no channel blocks another. An attempt exists in the ledger before anything is on
//! the wire, and its hint is acked after its result is in the ledger. No transaction is open across HTTP.

mod allowances;
mod attempt;
mod checks;
mod clock;
mod config;
mod decide;
mod effects;
mod events;
mod finisher;
mod intake;
mod lane;
mod ledger_speed;
mod look_ups;
mod pulse;
mod rejections;
mod routes;

use clock::LedgerClock;
use regua_pipeline::Pipeline;
use regua_telemetry::service::{Failure, Process};
use std::sync::Arc;

/// What every part of this dispatcher shares.
struct Dispatcher {
    pipeline: Pipeline,
    process: Process,
    /// Who it is in the record of attempts.
    name: String,
    clock: LedgerClock,
    routes: routes::Routes,
    events: events::Events,
    rejections: rejections::Rejections,
    effects: effects::Effects,
}

/// Runs the dispatcher until the shutdown begins: then it starts nothing more, gives back what was not begun, lets what is on the wire end,
/// writes the results, and returns the other hints to the broker.
///
/// # Errors
/// None of its own: what fails is told in `/readyz` and tried again.
pub async fn run(pipeline: Pipeline, process: Process) -> Result<(), Failure> {
    let dispatcher = Arc::new(Dispatcher {
        name: format!("{}-{}", config::host(), std::process::id()),
        clock: LedgerClock::new(),
        routes: routes::Routes::default(),
        events: events::Events::new(&process.metrics),
        rejections: rejections::Rejections::default(),
        effects: effects::Effects::default(),
        pipeline,
        process,
    });
    let hints = dispatcher.pipeline.broker.hints(config::PREFETCH);
    let (finisher, finishing) = finisher::start(Arc::clone(&dispatcher), hints.acker());
    let upkeep = [
        tokio::spawn(routes::keep_fresh(Arc::clone(&dispatcher))),
        tokio::spawn(clock::keep_sampling(Arc::clone(&dispatcher))),
        tokio::spawn(ledger_speed::keep_telling(Arc::clone(&dispatcher))),
        tokio::spawn(checks::keep_checking(Arc::clone(&dispatcher))),
        tokio::spawn(allowances::keep_asking(Arc::clone(&dispatcher))),
        tokio::spawn(look_ups::keep_looking(Arc::clone(&dispatcher))),
    ];
    intake::run(&dispatcher, hints, finisher, finishing).await;
    for task in upkeep {
        task.abort();
    }
    Ok(())
}
