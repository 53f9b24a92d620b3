//! The services in one process.

use crate::operator;
use regua_broker::{Envelope, Tick};
use regua_console::Console;
use regua_domain::ids::RunId;
use regua_ledger::{Ledger, LedgerError};
use regua_pipeline::{Pipeline, story};
use regua_telemetry::service::{Failure, Process};
use regua_telemetry::trace_context::TraceContext;
use secrecy::SecretString;
use std::time::Duration;

/// How often a run that is worked on here is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs scheduler, billing-evaluator, dispatcher and console until the shutdown begins, and takes the commands that operators leave.
///
/// # Errors
/// The first failure of any of them.
pub async fn run(pipeline: Pipeline, process: Process, console: Console) -> Result<(), Failure> {
    let ended = tokio::try_join!(
        scheduler::run(pipeline.clone(), process.clone()),
        billing_evaluator::run(pipeline.clone(), process.clone()),
        dispatcher::run(pipeline.clone(), process.clone()),
        console.run(pipeline.clone(), process.clone()),
        operator::take_commands(pipeline.ledger.clone(), process),
    );
    pipeline.broker.close().await;
    pipeline.ledger.close().await;
    ended.map(|_| ())
}

/// What a process does that alone holds its ledger and its broker: every open attempt is an orphan, every published hint is lost.
pub async fn take_over(pipeline: &Pipeline, owns_ledger: bool, owns_broker: bool) -> Result<(), LedgerError> {
    if owns_ledger {
        let orphans = pipeline.ledger.rescue_orphans().await?;
        for orphan in &orphans {
            story::rescued(orphan.message, orphan.attempt);
        }
        if !orphans.is_empty() {
            tracing::error!(
                messages = orphans.len(),
                "message.in_doubt: they were being sent when the last process ended; see `regua in-doubt list`"
            );
        }
    }
    if owns_broker {
        while pipeline.ledger.unqueue(chrono::TimeDelta::zero()).await? > 0 {}
    }
    Ok(())
}

/// Works on one run in this process, until it has ended or the shutdown begins: for a command that holds the SQLite file itself.
pub async fn work_on(ledger: &Ledger, process: &Process, run: RunId) -> anyhow::Result<()> {
    let ledger_id = ledger.id().await?;
    let broker = regua_broker::connect(&SecretString::from("memory:"), ledger_id)?;
    let pipeline = Pipeline { ledger: ledger.clone(), ledger_id, broker };
    take_over(&pipeline, true, true).await?;
    let working = tokio::spawn(billing_evaluator::run(pipeline.clone(), process.clone()));
    while !process.shutdown.has_begun() {
        match ledger.run(run).await? {
            Some(run) if matches!(run.state.as_str(), "done" | "failed") => break,
            Some(run) if run.state == "planned" => {
                // A tick for a run that waits for its next try finds nothing to do.
                let trace = TraceContext::within(&story::tick(&*pipeline.broker, run.id)).map(|trace| trace.to_string());
                pipeline.broker.publish_ticks(&[Envelope { body: Tick { run: run.id }, trace }]).await?;
            }
            _ => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    process.shutdown.begin();
    working.await?.map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
    pipeline.broker.close().await;
    Ok(())
}
