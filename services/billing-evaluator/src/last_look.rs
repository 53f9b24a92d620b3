//! The last look at the ERP: titles whose messages are about to start are read once more, as top-up wants them.

use crate::sync::{SyncError, Syncer};
use regua_domain::ids::SourceId;
use regua_ledger::mirror::Source;
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use regua_telemetry::service::Process;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{self, JoinSet};
use tokio::time::Instant;

/// How often wanted looks are looked for: what a look adds to a message's way, with the ERP's answer.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks of one source, one after the other, before it is read again whether it wants any.
const LOOKS_AT_ONCE: u32 = 8;
/// How often the sources are read again.
const SOURCES_EVERY: Duration = Duration::from_secs(5);

/// Takes wanted looks until the shutdown begins. Any number of evaluators may: each takes others. A source that is slow keeps no other waiting.
pub async fn keep_looking(ledger: Ledger, syncer: Arc<Syncer>, process: Process) {
    let mut teller = Teller { process: process.clone(), failing: HashSet::new() };
    let (mut sources, mut read_at): (Vec<Source>, Option<Instant>) = (Vec::new(), None);
    let mut looking: JoinSet<(Source, Result<bool, SyncError>)> = JoinSet::new();
    let mut busy: HashMap<task::Id, SourceId> = HashMap::new();
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // What is being asked when the shutdown begins is asked again by another: its looks are taken for a minute.
        tokio::select! {
            () = process.shutdown.begun() => return,
            _ = every.tick() => {}
        }
        while let Some(ended) = looking.try_join_next_with_id() {
            match ended {
                Ok((task, (source, looked))) => {
                    busy.remove(&task);
                    teller.tell(&source, looked);
                }
                Err(error) => {
                    busy.remove(&error.id());
                    tracing::error!(%error, "last_look.panicked");
                }
            }
        }
        if read_at.is_none_or(|at| at.elapsed() >= SOURCES_EVERY) {
            match looked_at(&ledger).await {
                Ok(fresh) => sources = fresh,
                Err(error) => tracing::debug!(error = %Chain(&error), "last_look.sources_not_read"),
            }
            read_at = Some(Instant::now());
        }
        for source in &sources {
            if busy.values().any(|asked| *asked == source.id) {
                continue;
            }
            let (syncer, asked) = (Arc::clone(&syncer), source.clone());
            let task = looking.spawn(async move {
                let looked = look(&syncer, &asked).await;
                (asked, looked)
            });
            busy.insert(task.id(), source.id);
        }
    }
}

/// The sources that want a last look.
async fn looked_at(ledger: &Ledger) -> Result<Vec<Source>, LedgerError> {
    let mut sources = ledger.sources().await?;
    sources.retain(|source| source.last_look.is_some());
    Ok(sources)
}

/// Takes what is wanted of a source; whether anything was.
async fn look(syncer: &Syncer, source: &Source) -> Result<bool, SyncError> {
    for taken in 0..LOOKS_AT_ONCE {
        if !syncer.last_look(source).await? {
            return Ok(taken > 0);
        }
    }
    Ok(true)
}

struct Teller {
    process: Process,
    /// The names of the sources whose last look had no answer.
    failing: HashSet<String>,
}

impl Teller {
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
