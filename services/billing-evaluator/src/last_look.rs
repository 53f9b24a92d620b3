//! The last look at the ERP: titles whose messages are about to start are read once more, as top-up wants them.

use crate::sync::{SyncError, Syncer};
use futures::future::join_all;
use regua_ledger::mirror::Source;
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use regua_telemetry::service::Process;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How often wanted looks are looked for: what a look adds to a message's way, with the ERP's answer.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often the sources are read again.
const SOURCES_EVERY: Duration = Duration::from_secs(5);

/// Takes wanted looks until the shutdown begins. Any number of evaluators may: each takes others.
pub async fn keep_looking(ledger: Ledger, syncer: Arc<Syncer>, process: Process) {
    let mut looker = Looker { syncer, process: process.clone(), failing: HashSet::new() };
    let mut sources = Vec::new();
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut read_at: Option<tokio::time::Instant> = None;
    loop {
        tokio::select! {
            () = process.shutdown.begun() => return,
            _ = every.tick() => {}
        }
        if read_at.is_none_or(|at| at.elapsed() >= SOURCES_EVERY) {
            match looked_at(&ledger).await {
                Ok(fresh) => sources = fresh,
                Err(error) => tracing::debug!(error = %Chain(&error), "last_look.sources_not_read"),
            }
            read_at = Some(tokio::time::Instant::now());
        }
        tokio::select! {
            () = process.shutdown.begun() => return,
            () = looker.look(&sources) => {}
        }
    }
}

/// The sources that want a last look.
async fn looked_at(ledger: &Ledger) -> Result<Vec<Source>, LedgerError> {
    let mut sources = ledger.sources().await?;
    sources.retain(|source| source.last_look.is_some());
    Ok(sources)
}

struct Looker {
    syncer: Arc<Syncer>,
    process: Process,
    /// The names of the sources whose last look had no answer.
    failing: HashSet<String>,
}

impl Looker {
    /// Takes what is wanted of every source, each source for itself, until nothing is.
    async fn look(&mut self, sources: &[Source]) {
        let syncer = &self.syncer;
        let look_at = async |source: &Source| {
            let mut any = false;
            while syncer.last_look(source).await? {
                any = true;
            }
            Ok(any)
        };
        for (source, looked) in sources.iter().zip(join_all(sources.iter().map(look_at)).await) {
            self.tell(source, looked);
        }
    }

    /// Tells in `/readyz` as long as a source can't be asked, in the log when that begins and when it ends.
    fn tell(&mut self, source: &Source, looked: Result<bool, SyncError>) {
        let health = self.process.health.scoped("billing-evaluator");
        let check = format!("last look at {}", source.name);
        match looked {
            Ok(false) => {}
            Ok(true) => {
                if self.failing.remove(&source.name) {
                    tracing::info!(source = %source.name, "last_look.answered_again");
                }
                health.set(&check, Readiness::Ready);
            }
            Err(SyncError::Ledger(error)) => {
                tracing::debug!(source = %source.name, error = %Chain(&error), "last_look.not_taken");
            }
            Err(error) => {
                let unanswered = source.last_look.map_or("hold", |look| look.unanswered.as_str());
                if self.failing.insert(source.name.clone()) {
                    tracing::warn!(source = %source.name, unanswered, error = %Chain(&error), "last_look.not_answered");
                }
                health.set(
                    &check,
                    Readiness::degraded(format!(
                        "the ERP can't be asked (last_look_unanswered = {unanswered}): {}",
                        Chain(&error)
                    )),
                );
            }
        }
    }
}
