//! Evaluators: runs by the billing-evaluator's own code, whole, two at once, or stopped between reading and committing.

use crate::facts::Facts;
use crate::oracle::Broken;
use crate::player::Player;
use billing_evaluator::evaluate::{Evaluation, evaluate};
use billing_evaluator::sync::PixAsking;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::events::first_day;
use regua_domain::ids::RunId;
use regua_domain::policy::needs_totals;
use regua_domain::schedule::TaskKind;
use regua_ledger::evaluation::EvaluationBatch;
use regua_ledger::events::{EventCursor, decide_page};
use regua_ledger::runs::{LeaseAnswer, LeasedRun};
use regua_ledger::{LedgerError, new_id};
use std::sync::Arc;

/// What an evaluator has read and decided, and not committed.
pub struct Hand {
    leased: LeasedRun,
    batches: Vec<EvaluationBatch>,
    read_at: DateTime<Utc>,
    facts: Arc<Facts>,
}

impl Player {
    /// A run of *update-collections*, planned some time ago, done whole.
    pub async fn run(&self, task: &str, ago: TimeDelta) {
        if let Some(leased) = self.plan(task, ago).await {
            self.decide(&leased).await;
        }
    }

    /// A tick of a run that was done already.
    pub async fn run_again(&self) {
        let last_run = self.seen().last_run;
        if let Some(run) = last_run
            && let Some(leased) = self.lease(run).await
        {
            self.decide(&leased).await;
        }
    }

    async fn plan(&self, task: &str, ago: TimeDelta) -> Option<LeasedRun> {
        let at = self.now().await - ago;
        let (run, _) = self.ledger.plan_run(task.into(), TaskKind::UpdateCollections, at, None).await.unwrap();
        self.seen().last_run = Some(run);
        self.lease(run).await
    }

    async fn lease(&self, run: RunId) -> Option<LeasedRun> {
        let today = crate::facts::date_at(self.now().await);
        match self.ledger.lease_run(run, new_id(), today, None).await.unwrap() {
            LeaseAnswer::Leased(leased) => Some(*leased),
            LeaseAnswer::Held | LeaseAnswer::NothingToDo | LeaseAnswer::Over { .. } => None,
            LeaseAnswer::Unknown => panic!("the ledger has no such run"),
        }
    }

    async fn decide(&self, leased: &LeasedRun) {
        let sources = self.ledger.sources().await.unwrap();
        let now = self.now().await;
        let fresh: Vec<_> = sources.into_iter().filter(|source| source.is_fresh(now)).collect();
        evaluate(&self.ledger, &self.syncer, leased, &fresh).await.unwrap();
        self.ledger.finish_run(leased.run.id, leased.owner, None).await.unwrap();
    }

    /// Reads and decides as [`evaluate`] does, and keeps the batches.
    pub async fn take_page(&self, evaluator: usize) {
        let name = ["first", "second"][evaluator];
        let Some(leased) = self.plan(name, TimeDelta::zero()).await else { return };
        let (now, facts) = (self.now().await, self.facts());
        let source = self.ledger.sources().await.unwrap().remove(0);
        if !source.is_fresh(now) {
            return;
        }
        let (plans, settings) = (self.ledger.policies().await.unwrap(), self.ledger.settings().await.unwrap());
        let told_since = first_day(settings.times().date_at(now));
        let limit = self.ledger.evaluation_page();
        let page = self.ledger.events(source.id, told_since, &EventCursor::default(), limit, needs_totals(&plans)).await.unwrap();
        let (messages, events) = decide_page(&page.0, &plans, &settings, now);
        let mut batches = vec![EvaluationBatch {
            run_id: leased.run.id,
            owner: leased.owner,
            planned_at: leased.run.planned_at,
            source_id: source.id,
            cursor: None,
            messages,
            events,
            no_policy: 0,
        }];
        if let Some(evaluation) = Evaluation::new(&self.ledger, &self.syncer, &leased, &plans, &settings) {
            batches.extend(evaluation.page(&source, None, &mut PixAsking::of(&source)).await.unwrap().map(|page| page.batch));
        }
        self.seen().hands[evaluator] = Some(Hand { leased, batches, read_at: now, facts });
    }

    /// Commits what was read, however long ago; whoever lost its lease writes nothing.
    pub async fn commit_page(&self, evaluator: usize) -> Result<(), Broken> {
        let Some(hand) = self.seen().hands[evaluator].take() else { return Ok(()) };
        for batch in hand.batches {
            match self.ledger.commit_evaluation(batch).await {
                Ok(_) => {}
                Err(LedgerError::LeaseLost) => return self.judge().await,
                Err(error) => panic!("{error}"),
            }
        }
        self.ledger.finish_run(hand.leased.run.id, hand.leased.owner, None).await.unwrap();
        self.judge_of(&hand.facts, hand.read_at).await
    }
}
