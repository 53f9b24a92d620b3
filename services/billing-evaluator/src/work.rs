//! One run in hand: what its kind asks for, under a lease that is kept alive.

use crate::counters::Counters;
use crate::evaluate::EvaluateError;
use crate::sync::{SyncError, Syncer};
use crate::{HEARTBEAT_EVERY, delta, evaluate};
use chrono::TimeDelta;
use regua_domain::ids::RunId;
use regua_domain::schedule::TaskKind;
use regua_domain::stop::{BY_TEMPLATE, StopScope};
use regua_ledger::LedgerError;
use regua_ledger::mirror::Source;
use regua_ledger::runs::LeasedRun;
use regua_pipeline::{Pipeline, Tokens, story};
use regua_telemetry::logging::Chain;
use regua_telemetry::retry::RetryPolicy;
use regua_telemetry::service::Process;
use regua_telemetry::spans;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tracing::{Instrument as _, Span};

/// How a run whose source is down is tried again.
const AGAIN: RetryPolicy = RetryPolicy { initial: Duration::from_secs(5), multiplier: 2.0, max: Duration::from_mins(5) };

/// Why a run stopped before its end.
#[derive(Debug, Error)]
enum Stopped {
    /// The shutdown began: no try.
    #[error("the evaluator shut down")]
    Shutdown,
    /// Somebody else has the run: nothing to write.
    #[error("the run's lease is lost")]
    LeaseLost,
    /// A source can't be read now: no try.
    #[error("source {name} can't be read")]
    Source {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        why: SyncError,
    },
    /// A source's mirror is too old to decide from: no try.
    #[error("the mirror of source {0} is older than its max_age: nothing is decided from it")]
    Stale(String),
    /// The ledger failed: a try.
    #[error("the ledger failed")]
    Ledger(#[source] LedgerError),
}

impl Stopped {
    /// The name in traces.
    const fn name(&self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::LeaseLost => "lease_lost",
            Self::Source { .. } => "source",
            Self::Stale(_) => "stale",
            Self::Ledger(_) => "ledger",
        }
    }
}

impl From<LedgerError> for Stopped {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::LeaseLost => Self::LeaseLost,
            error => Self::Ledger(error),
        }
    }
}

impl From<EvaluateError> for Stopped {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Ledger(error) | EvaluateError::Source { why: SyncError::Ledger(error), .. } => error.into(),
            EvaluateError::Source { why: SyncError::Shutdown, .. } => Self::Shutdown,
            EvaluateError::Source { name, why } => Self::Source { name, why },
        }
    }
}

/// Does runs.
pub(crate) struct Worker {
    pipeline: Pipeline,
    process: Process,
    syncer: Arc<Syncer>,
    counters: Counters,
}

impl Worker {
    pub(crate) fn new(pipeline: Pipeline, process: Process) -> Self {
        let syncer = Arc::new(Syncer::new(pipeline.ledger.clone(), &process));
        let counters = Counters::new(&process.metrics);
        Self { pipeline, process, syncer, counters }
    }

    pub(crate) const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(crate) fn syncer(&self) -> Arc<Syncer> {
        Arc::clone(&self.syncer)
    }

    /// Does a leased run and writes how it ended.
    pub(crate) async fn work(&self, leased: LeasedRun) {
        let run = &leased.run;
        tracing::info!(run = %run.id, kind = %run.kind, planned_at = %run.planned_at, tries = run.tries, "run.started");
        let began = Instant::now();
        let outcome = tokio::select! {
            outcome = self.dispatch(&leased) => outcome,
            lost = self.keep_alive(&leased) => Err(lost),
        };
        match &outcome {
            Ok(_) => {}
            Err(Stopped::Shutdown) => spans::note(&Span::current(), "regua.run.given_back", "shutdown"),
            Err(stopped) => spans::fail(&Span::current(), stopped.name()),
        }
        let became = self.end(&leased, outcome).await.unwrap_or_else(|error| {
            tracing::warn!(run = %run.id, error = %Chain(&error), "run.end_not_written: its lease will expire and it is taken up again");
            "end_not_written"
        });
        self.counters.tried(run.kind, became, began.elapsed());
    }

    /// Tells of a run that isn't tried any more.
    pub(crate) fn over(&self, run: RunId, kind: TaskKind, why: &'static str) {
        tracing::error!(%run, trace_id = %run.0.simple(), why, "run.failed");
        self.counters.ended(kind, "failed");
    }

    async fn dispatch(&self, leased: &LeasedRun) -> Result<Option<String>, Stopped> {
        match leased.run.kind {
            TaskKind::UpdateCollections => self.update_collections(leased).await,
            TaskKind::SendQueuedMessages => self.send_queued_messages(leased).await.map(|()| None),
            TaskKind::Reserved => Ok(None),
        }
    }

    /// Reads the templates in use again: one that isn't as it was accepted stops its own messages, and an Opa! Suite that doesn't answer
    /// none, for what isn't known to have changed hasn't.
    async fn look_at_templates(&self) -> Result<(), Stopped> {
        let (ledger, process) = (&self.pipeline.ledger, &self.process);
        let Some(configuration) = ledger.configuration().await? else { return Ok(()) };
        let allow_private = regua_pipeline::allows_private_urls(ledger, &process.config).await?;
        let tokens = Tokens::load(ledger, &process.config, &process.environment).await?;
        let notices = configuration.notices_in_use();
        let look = tokio::select! {
            look = regua_pipeline::look_at_templates(&configuration, &notices, &tokens, allow_private) => look,
            () = process.shutdown.begun() => return Err(Stopped::Shutdown),
        };
        for unseen in &look.unseen {
            tracing::warn!(channel = %unseen.channel, why = %unseen.why, "templates.not_read: they are taken to be as they were");
        }
        for stopped in ledger.note_templates(look.seen).await?.iter().filter(|stopped| stopped.is_new) {
            regua_pipeline::stop_raised(StopScope::Template, &stopped.template_id, BY_TEMPLATE, &stopped.fault.to_string());
        }
        Ok(())
    }

    /// *Atualizar cobranças*: look at the templates, sync every source, then decide from those that are fresh. A source that fails leaves the
    /// others be.
    async fn update_collections(&self, leased: &LeasedRun) -> Result<Option<String>, Stopped> {
        self.look_at_templates().await?;
        let resumed = leased.cursor.is_some();
        let mut failed = None;
        for source in self.pipeline.ledger.sources().await? {
            // What an earlier try of this run synced is young enough for it.
            if resumed || source.complete_at.is_some_and(|at| at >= leased.run.planned_at) {
                continue;
            }
            match self.syncer.sync(&source, leased.owner).await {
                Ok(()) => {}
                Err(SyncError::Shutdown) => return Err(Stopped::Shutdown),
                Err(SyncError::Ledger(error)) => return Err(error.into()),
                Err(why) => {
                    tracing::error!(source = %source.name, error = %Chain(&why), "sync.failed");
                    failed.get_or_insert(Stopped::Source { name: source.name.clone(), why });
                }
            }
        }
        let now = self.pipeline.ledger.now().await?;
        let (fresh, stale): (Vec<Source>, Vec<Source>) =
            self.pipeline.ledger.sources().await?.into_iter().partition(|source| source.is_fresh(now));
        let written = tokio::select! {
            written = evaluate::evaluate(&self.pipeline.ledger, &self.syncer, leased, &fresh) => written?,
            () = self.process.shutdown.begun() => return Err(Stopped::Shutdown),
        };
        let counts = &written.counts;
        self.counters.decided(counts, written.refused.len());
        tracing::info!(
            run = %leased.run.id,
            held = counts.held,
            skipped = counts.skipped,
            revived = counts.revived,
            superseded = counts.superseded,
            blocked = counts.blocked,
            events = counts.events,
            refused = written.refused.len(),
            "run.evaluated"
        );
        if counts.waits_for_approval {
            tracing::error!(run = %leased.run.id, "run.waits_for_approval: it holds far more than usual, and a person must agree to it");
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        match stale.first() {
            Some(source) => Err(Stopped::Stale(source.name.clone())),
            None => Ok(written.note()),
        }
    }

    /// *Envia mensagens Omnichannel da fila*: raise the watermark, then the first top-up.
    async fn send_queued_messages(&self, leased: &LeasedRun) -> Result<(), Stopped> {
        self.pipeline.ledger.release_through(leased.run.planned_at).await?;
        let released = regua_pipeline::release(&self.pipeline).instrument(story::release()).await?;
        self.counters.hints_published.add(released.published);
        tracing::info!(run = %leased.run.id, first_hints = released.published, "run.released");
        Ok(())
    }

    /// Prolongs the lease until it is lost.
    async fn keep_alive(&self, leased: &LeasedRun) -> Stopped {
        loop {
            tokio::time::sleep(HEARTBEAT_EVERY).await;
            match self.pipeline.ledger.heartbeat(leased.run.id, leased.owner).await {
                Err(LedgerError::LeaseLost) => return Stopped::LeaseLost,
                Err(error) => tracing::warn!(run = %leased.run.id, error = %Chain(&error), "run.heartbeat_failed"),
                Ok(()) => {}
            }
        }
    }

    /// Writes how it ended; what that is called in metrics.
    async fn end(&self, leased: &LeasedRun, outcome: Result<Option<String>, Stopped>) -> Result<&'static str, LedgerError> {
        let (ledger, run, owner) = (&self.pipeline.ledger, &leased.run, leased.owner);
        let stopped = match outcome {
            Ok(note) => {
                ledger.finish_run(run.id, owner, note).await?;
                tracing::info!(run = %run.id, kind = %run.kind, "run.done");
                return Ok("done");
            }
            Err(stopped) => stopped,
        };
        let why = Chain(&stopped).to_string();
        let now = ledger.now().await?;
        match stopped {
            Stopped::LeaseLost => {
                tracing::warn!(run = %run.id, "run.lease_lost");
                Ok("lease_lost")
            }
            Stopped::Shutdown => {
                ledger.replan_run(run.id, owner, TimeDelta::zero(), false, why).await?;
                Ok("shutdown")
            }
            Stopped::Source { .. } | Stopped::Stale(_) if now > run.planned_at + run.catch_up => {
                tracing::error!(run = %run.id, %why, "run.failed");
                ledger.fail_run(run.id, owner, why).await?;
                Ok("failed")
            }
            Stopped::Source { .. } | Stopped::Stale(_) => {
                let attempt = since_planned(now - run.planned_at);
                let wait = AGAIN.delay(attempt, rand::random());
                tracing::warn!(run = %run.id, %why, again_in_s = wait.as_secs(), "run.replanned");
                ledger.replan_run(run.id, owner, delta(wait), false, why).await?;
                Ok("replanned")
            }
            Stopped::Ledger(_) => {
                tracing::error!(run = %run.id, %why, tries = run.tries, "run.try_failed");
                ledger.replan_run(run.id, owner, delta(AGAIN.delay(run.tries, rand::random())), true, why).await?;
                Ok("replanned")
            }
        }
    }
}

/// Which step of the backoff a run is at, from how long it has been due: it is no try, so nothing else counts it.
fn since_planned(due_for: TimeDelta) -> u32 {
    let seconds = u64::try_from(due_for.num_seconds()).unwrap_or(0).max(1);
    seconds.ilog2().saturating_sub(1).max(1)
}
