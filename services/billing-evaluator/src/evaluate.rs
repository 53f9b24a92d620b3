//! Decides what every open invoice is due for: pages through the mirror by key, decides with pure code, commits in batches.

use chrono::NaiveDate;
use regua_domain::decide::{Day, Decided, decide, due_dates, expires_at};
use regua_domain::ids::MessageId;
use regua_domain::policy::{PolicyPlan, policy_for};
use regua_ledger::evaluation::{Candidate, EvaluationBatch, EvaluationCounts, NewMessage};
use regua_ledger::mirror::Source;
use regua_ledger::runs::{Cursor, LeasedRun};
use regua_ledger::settings::Settings;
use regua_ledger::{Ledger, LedgerError, new_id};

/// Invoices that are decided before the commit beside them has its turn again: it holds locks that starts wait for.
const DECIDED_AT_ONCE: usize = 50;

/// Evaluates `sources` for the run's date, from where an earlier try stopped. What it wrote, in this try.
///
/// # Errors
/// [`LedgerError::LeaseLost`] when another evaluator has the run now; whatever else the ledger says.
pub async fn evaluate(ledger: &Ledger, leased: &LeasedRun, sources: &[Source]) -> Result<EvaluationCounts, LedgerError> {
    let mut sum = EvaluationCounts::default();
    let settings = ledger.settings().await?;
    let plans = ledger.policies().await?;
    let today = leased.run.evaluates_on.unwrap_or(settings.times().date_at(leased.run.planned_at));
    let Some(due) = due_dates(&plans, today) else { return Ok(sum) };
    let mut sources: Vec<&Source> = sources.iter().collect();
    sources.sort_by_key(|source| source.id);
    let with_totals = plans.iter().flat_map(|plan| &plan.stages).any(|stage| stage.notice.needs_totals());
    let evaluation = Evaluation { ledger, leased, policies: &plans, today, settings: &settings, with_totals, due };
    for source in sources {
        let resume = leased.cursor.as_ref();
        if resume.is_some_and(|cursor| cursor.source_id > source.id) {
            continue;
        }
        let from = resume.filter(|cursor| cursor.source_id == source.id).cloned();
        evaluation.source(source, from, &mut sum).await?;
    }
    Ok(sum)
}

struct Evaluation<'a> {
    ledger: &'a Ledger,
    leased: &'a LeasedRun,
    policies: &'a [PolicyPlan],
    today: NaiveDate,
    settings: &'a Settings,
    /// Whether a notice says what customers owe in all.
    with_totals: bool,
    due: (NaiveDate, NaiveDate),
}

/// The decisions of one page of invoices.
struct Page {
    batch: EvaluationBatch,
    is_last: bool,
}

impl Evaluation<'_> {
    /// Reads and decides the next page while the database commits the one before: no invoice stands on two pages, and what is committed was
    /// looked at again under its locks.
    async fn source(&self, source: &Source, from: Option<Cursor>, sum: &mut EvaluationCounts) -> Result<(), LedgerError> {
        let mut page = self.page(source, from).await?;
        while let Some(Page { batch, is_last }) = page {
            let cursor = batch.cursor.clone();
            let next = async { if is_last { Ok(None) } else { self.page(source, Some(cursor)).await } };
            let (counts, next) = tokio::join!(self.ledger.commit_evaluation(batch), next);
            let counts = counts?;
            sum.held += counts.held;
            sum.skipped += counts.skipped;
            sum.revived += counts.revived;
            sum.superseded += counts.superseded;
            sum.blocked += counts.blocked;
            sum.waits_for_approval |= counts.waits_for_approval;
            page = next?;
        }
        Ok(())
    }

    /// What is decided of the invoices after the cursor; `None` when there are none.
    async fn page(&self, source: &Source, after: Option<Cursor>) -> Result<Option<Page>, LedgerError> {
        let limit = self.ledger.evaluation_page();
        let now = self.ledger.now().await?;
        let looked_at_after = now - source.max_age;
        let candidates =
            self.ledger.candidates(source.id, self.due, looked_at_after, after.as_ref(), limit, self.with_totals).await?;
        let Some(last) = candidates.last() else { return Ok(None) };
        let days_between_stages = self.settings.caps.days_between_stages;
        let provider = &self.settings.provider;
        let day = Day { today: self.today, now, times: self.settings.times(), provider, days_between_stages };
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
            cursor: Cursor { source_id: source.id, due_on: last.invoice.due_on, invoice_id: last.invoice.id.0.clone() },
            messages,
            no_policy,
        };
        Ok(Some(Page { batch, is_last: candidates.len() < limit as usize }))
    }

    fn decide(&self, policy: &PolicyPlan, candidate: &Candidate, day: Day<'_>) -> Option<NewMessage> {
        let Candidate { invoice, customer, known, totals } = candidate;
        let decided = decide(policy, invoice, customer.as_ref(), known, *totals, day).ok()?;
        let Decided { stage, revives, stage_day, opens_at, last_day, window, text } = decided;
        Some(NewMessage {
            id: revives.unwrap_or_else(|| MessageId(new_id())),
            revives: revives.is_some(),
            subject: invoice.id.clone(),
            stage: stage.stage,
            due_on: invoice.due_on,
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
