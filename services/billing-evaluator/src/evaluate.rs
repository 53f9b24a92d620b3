//! Decides what every open invoice is due for: pages through the mirror by key, decides with pure code, commits in batches.
//!
//! Where a notice says a Pix code that the invoice's record lacks, the ERP is asked for it: for what is due now and for nothing else.

use crate::events::decide_events;
use crate::sync::{PixAsking, SyncError, Syncer};
use crate::written::Written;
use chrono::{NaiveDate, TimeDelta};
use regua_domain::decide::{Day, Decided, Known, decide, due_dates, expires_at};
use regua_domain::ids::{InvoiceId, MessageId};
use regua_domain::message::{SkipReason, State};
use regua_domain::pilot::Pilot;
use regua_domain::policy::{PolicyPlan, needs_totals, policy_for};
use regua_ledger::evaluation::{Candidate, EvaluationBatch, NewMessage, Occasion};
use regua_ledger::mirror::Source;
use regua_ledger::pix::PixAnswer;
use regua_ledger::runs::{Cursor, LeasedRun};
use regua_ledger::settings::Settings;
use regua_ledger::{Ledger, LedgerError, new_id};

/// Invoices that are decided before the commit beside them has its turn again: it holds locks that starts wait for.
const DECIDED_AT_ONCE: usize = 50;
/// How long what the ERP said of an invoice's Pix counts before it is asked again: a run that is tried again doesn't ask twice.
const PIX_FRESH: TimeDelta = TimeDelta::hours(12);

/// Why an evaluation stopped.
#[derive(Debug)]
pub enum EvaluateError {
    /// The ledger failed.
    Ledger(LedgerError),
    /// A source couldn't be asked for Pix codes.
    Source {
        /// Its name.
        name: String,
        /// Why.
        why: SyncError,
    },
}

impl From<LedgerError> for EvaluateError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Evaluates `sources` for the run's date, from where an earlier try stopped. What it wrote, in this try.
///
/// # Errors
/// [`LedgerError::LeaseLost`] when another evaluator has the run now; whatever else the ledger says; a source that can't be asked.
pub async fn evaluate(
    ledger: &Ledger,
    syncer: &Syncer,
    leased: &LeasedRun,
    sources: &[Source],
) -> Result<Written, EvaluateError> {
    let mut written = Written::default();
    let settings = ledger.settings().await?;
    let plans = ledger.policies().await?;
    let mut sources: Vec<&Source> = sources.iter().collect();
    sources.sort_by_key(|source| source.id);
    for source in &sources {
        decide_events(ledger, leased, source, &plans, &settings, &mut written).await?;
    }
    let Some(evaluation) = Evaluation::new(ledger, syncer, leased, &plans, &settings) else { return Ok(written) };
    for source in sources {
        let resume = leased.cursor.as_ref();
        if resume.is_some_and(|cursor| cursor.source_id > source.id) {
            continue;
        }
        let from = resume.filter(|cursor| cursor.source_id == source.id).cloned();
        evaluation.source(source, from, &mut written).await?;
    }
    Ok(written)
}

/// One run's decisions about open invoices.
pub struct Evaluation<'a> {
    ledger: &'a Ledger,
    syncer: &'a Syncer,
    leased: &'a LeasedRun,
    policies: &'a [PolicyPlan],
    today: NaiveDate,
    settings: &'a Settings,
    /// Whether a notice says what customers owe in all.
    with_totals: bool,
    due: (NaiveDate, NaiveDate),
}

/// The decisions of one page of invoices.
#[derive(Debug)]
pub struct Page {
    /// What is to be committed.
    pub batch: EvaluationBatch,
    /// Whether no page follows.
    pub is_last: bool,
}

impl<'a> Evaluation<'a> {
    /// The evaluation of a run by `policies`; `None` where these have no dated stage.
    pub fn new(
        ledger: &'a Ledger,
        syncer: &'a Syncer,
        leased: &'a LeasedRun,
        policies: &'a [PolicyPlan],
        settings: &'a Settings,
    ) -> Option<Self> {
        let today = leased.run.evaluates_on.unwrap_or(settings.times().date_at(leased.run.planned_at));
        let due = due_dates(policies, today)?;
        Some(Self { ledger, syncer, leased, policies, today, settings, with_totals: needs_totals(policies), due })
    }

    /// Reads and decides the next page while the database commits the one before: no invoice stands on two pages, and what is committed was
    /// looked at again under its locks.
    async fn source(&self, source: &Source, from: Option<Cursor>, written: &mut Written) -> Result<(), EvaluateError> {
        let mut asking = PixAsking::of(source);
        let mut page = self.page(source, from, &mut asking).await?;
        while let Some(Page { batch, is_last }) = page {
            let cursor = batch.cursor.clone();
            let next = async { if is_last { Ok(None) } else { self.page(source, cursor, &mut asking).await } };
            let (committed, next) = tokio::join!(written.commit(self.ledger, batch), next);
            committed?;
            page = next?;
        }
        Ok(())
    }

    /// What is decided of the invoices after the cursor; `None` when there are none.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub async fn page(
        &self,
        source: &Source,
        after: Option<Cursor>,
        asking: &mut PixAsking,
    ) -> Result<Option<Page>, EvaluateError> {
        let limit = self.ledger.evaluation_page();
        let now = self.ledger.now().await?;
        let looked_at_after = now - source.max_age;
        let mut candidates =
            self.ledger.candidates(source.id, self.due, looked_at_after, after.as_ref(), limit, self.with_totals).await?;
        let days_between_stages = self.settings.caps.days_between_stages;
        let provider = &self.settings.provider;
        let day = Day { today: self.today, now, times: self.settings.times(), provider, days_between_stages };
        self.ask_for_pix(source, &mut candidates, day, asking).await?;
        let Some(last) = candidates.last() else { return Ok(None) };
        let (mut messages, mut no_policy) = (Vec::new(), 0);
        for some in candidates.chunks(DECIDED_AT_ONCE) {
            for candidate in some {
                match policy_for(self.policies, &candidate.invoice, candidate.customer.as_ref()) {
                    Some(policy) => messages.extend(self.decide(policy, candidate, day)),
                    None => no_policy += u64::from(candidate.invoice.is_open()),
                }
            }
            tokio::task::yield_now().await;
        }
        let batch = EvaluationBatch {
            run_id: self.leased.run.id,
            owner: self.leased.owner,
            planned_at: self.leased.run.planned_at,
            source_id: source.id,
            cursor: Some(Cursor { source_id: source.id, due_on: last.invoice.due_on, invoice_id: last.invoice.id.0.clone() }),
            messages,
            events: Vec::new(),
            no_policy,
        };
        Ok(Some(Page { batch, is_last: candidates.len() < limit as usize }))
    }

    /// Asks the ERP for the Pix codes that the page's messages lack, and puts them into the invoices.
    async fn ask_for_pix(
        &self,
        source: &Source,
        candidates: &mut [Candidate],
        day: Day<'_>,
        asking: &mut PixAsking,
    ) -> Result<(), EvaluateError> {
        if !asking.goes_on() {
            return Ok(());
        }
        let (policies, pilot) = (self.policies, &self.settings.pilot);
        let lacking: Vec<&mut Candidate> =
            candidates.iter_mut().filter(|candidate| lacks_pix(policies, pilot, candidate, day)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let titles: Vec<InvoiceId> = lacking.iter().map(|candidate| candidate.invoice.id.clone()).collect();
        let answers = self.syncer.pix(source, &titles, asking).await;
        let mut answers = answers.map_err(|why| EvaluateError::Source { name: source.name.clone(), why })?;
        let mut noted = Vec::with_capacity(answers.len());
        for candidate in lacking {
            let Some(pix) = answers.remove(&candidate.invoice.id) else { continue };
            let (code, expires_at) = pix.map(|pix| (pix.code.as_str().to_owned(), pix.expires_at_local)).unwrap_or_default();
            // A day on which it ends is one on which it can't be relied upon any more.
            let expires_on = expires_at.and_then(|at| at.date().pred_opt());
            if expires_on.is_none_or(|last| day.today <= last) {
                candidate.invoice.pix_code.clone_from(&code);
            }
            noted.push(PixAnswer {
                invoice_id: candidate.invoice.id.clone(),
                open_amount: candidate.invoice.open_amount,
                code,
                expires_on,
            });
        }
        tracing::debug!(source = %source.name, titles = titles.len(), "pix.asked");
        Ok(self.ledger.note_pix(source.id, noted, day.now).await?)
    }

    fn decide(&self, policy: &PolicyPlan, candidate: &Candidate, day: Day<'_>) -> Option<NewMessage> {
        let Candidate { invoice, customer, known, totals, .. } = candidate;
        let decided =
            decide(policy, invoice, customer.as_ref(), known, *totals, day, &candidate.reach(&self.settings.pilot)).ok()?;
        let Decided { stage, revives, stage_day, opens_at, last_day, window, text } = decided;
        Some(NewMessage {
            id: revives.unwrap_or_else(|| MessageId(new_id())),
            revives: revives.is_some(),
            subject: invoice.id.0.clone(),
            stage: stage.stage,
            occasion: Occasion::DueDate(invoice.due_on),
            policy_id: policy.id,
            notice_id: stage.notice.id,
            channel_id: stage.notice.channel_id,
            stage_day,
            opens_at,
            expires_at: expires_at(&window, opens_at, last_day, self.settings.expiry.open_windows),
            text,
        })
    }
}

/// Whether its message can't be written for want of a Pix code that the ERP wasn't asked for lately.
pub(crate) fn lacks_pix(policies: &[PolicyPlan], pilot: &Pilot, candidate: &Candidate, day: Day<'_>) -> bool {
    let Candidate { invoice, customer, known, totals, pix_asked_at, .. } = candidate;
    if !invoice.pix_code.is_empty() || pix_asked_at.is_some_and(|at| at + PIX_FRESH > day.now) {
        return false;
    }
    let Some(policy) = policy_for(policies, invoice, customer.as_ref()) else { return false };
    if !policy.stages.iter().any(|stage| stage.notice.needs_pix()) {
        return false;
    }
    // One that is skipped already comes back only with a text, and one that waits says what its notice says by then: both are asked for what
    // they would say.
    let is_settled = |known: &&Known| {
        known.skip_reason != Some(SkipReason::MissingValue) && !matches!(known.state, State::Held | State::Scheduled)
    };
    let settled: Vec<_> = known.iter().filter(is_settled).cloned().collect();
    decide(policy, invoice, customer.as_ref(), &settled, *totals, day, &candidate.reach(pilot))
        .is_ok_and(|decided| decided.stage.notice.needs_pix() && decided.text == Err(SkipReason::MissingValue))
}
