//! Which stage an invoice is due for today.

use crate::ids::{MessageId, PolicyId};
use crate::message::{SkipReason, State};
use crate::mirror::{Customer, Invoice, InvoiceStatus};
use crate::render::{NoticePlan, Rendered, render};
use crate::stage::{Stage, StageKind};
use crate::window::Window;
use chrono::{DateTime, Days, NaiveDate, Utc};

/// Days after its own day within which a stage that was missed is still sent: a day without a run loses nothing.
pub const CATCH_UP_DAYS: u64 = 3;

/// A policy, ready to decide with.
#[derive(Clone, Debug)]
pub struct PolicyPlan {
    /// The policy.
    pub id: PolicyId,
    /// Its stages that are switched on.
    pub stages: Vec<StagePlan>,
}

/// One stage of a policy.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// The stage.
    pub stage: Stage,
    /// Days from the due date; `None` for event stages.
    pub days: Option<i64>,
    /// What it says.
    pub notice: NoticePlan,
}

/// A message that exists already for the invoice.
#[derive(Clone, Debug)]
pub struct Known {
    /// The message.
    pub id: MessageId,
    /// Its stage.
    pub stage: Stage,
    /// Its due date, for a dated stage.
    pub due_on: Option<NaiveDate>,
    /// Where it is.
    pub state: State,
    /// Why it was skipped.
    pub skip_reason: Option<SkipReason>,
}

/// A message to be written: a new one, or one that comes back.
#[derive(Clone, Debug)]
pub struct Decided<'a> {
    /// The stage.
    pub stage: &'a StagePlan,
    /// The skipped message that comes back, if there is one for this stage and due date.
    pub revives: Option<MessageId>,
    /// The stage's own day.
    pub stage_day: NaiveDate,
    /// The first day on which it may be sent: the stage's own, or today when that was missed.
    pub day: NaiveDate,
    /// What will be sent, or why nothing will.
    pub text: Result<Rendered, SkipReason>,
}

/// Decides what an invoice is due for on `today`; `None` when nothing is to be written.
///
/// The stage is the most advanced one that is due and unsent, from dates alone and never by equality of days: due from its day
/// until [`CATCH_UP_DAYS`] later. A message that is live or may have arrived bars its own stage and every earlier one.
pub fn decide<'a>(
    policy: &'a PolicyPlan,
    invoice: &Invoice,
    customer: Option<&Customer>,
    known: &[Known],
    today: NaiveDate,
) -> Option<Decided<'a>> {
    if !invoice.is_open() {
        return None;
    }
    let (stage, day) = most_advanced_due(policy, invoice.due_on, today)?;
    let of_this_due_date = || known.iter().filter(|known| known.due_on == Some(invoice.due_on));
    let barred =
        of_this_due_date().any(|known| known.stage >= stage.stage && (known.state.is_live() || known.state.may_have_arrived()));
    if barred {
        return None;
    }
    let text = render(&stage.notice, stage.stage, customer, invoice);
    let revives = match of_this_due_date().find(|known| known.stage == stage.stage) {
        None => None,
        Some(before) => Some(revivable(before, &text)?),
    };
    Some(Decided { stage, revives, stage_day: day, day: day.max(today), text })
}

/// The message to bring back: it was skipped for a reason that can go away, and it could be sent now.
fn revivable(before: &Known, text: &Result<Rendered, SkipReason>) -> Option<MessageId> {
    let came_back = before.state == State::Skipped && before.skip_reason.is_some_and(SkipReason::is_revivable);
    (came_back && text.is_ok()).then_some(before.id)
}

fn most_advanced_due(policy: &PolicyPlan, due_on: NaiveDate, today: NaiveDate) -> Option<(&StagePlan, NaiveDate)> {
    policy
        .stages
        .iter()
        .filter(|plan| plan.stage.kind() == StageKind::Dated)
        .filter_map(|plan| Some((plan, day_of(due_on, plan.days?)?)))
        .filter(|(plan, day)| *day <= today && today <= last_day(plan, *day, due_on))
        .max_by_key(|(plan, _)| plan.stage)
}

/// The day of a stage: `due_on` plus its offset.
pub fn day_of(due_on: NaiveDate, days: i64) -> Option<NaiveDate> {
    let distance = Days::new(days.unsigned_abs());
    if days < 0 { due_on.checked_sub_days(distance) } else { due_on.checked_add_days(distance) }
}

/// The last day on which a stage is still due; a reminder never comes after the due date.
fn last_day(plan: &StagePlan, day: NaiveDate, due_on: NaiveDate) -> NaiveDate {
    let caught_up = day.checked_add_days(Days::new(CATCH_UP_DAYS)).unwrap_or(day);
    if plan.stage == Stage::PreDue { caught_up.min(due_on) } else { caught_up }
}

/// Whether a dated message for `due_on` is still called for; the reason to skip it when it isn't.
pub fn still_called_for(invoice: &Invoice, due_on: NaiveDate) -> Result<(), SkipReason> {
    match invoice.status {
        InvoiceStatus::Received => Err(SkipReason::Paid),
        // An open title may carry the renegotiation that it comes from (contracts §2.2 leave it open which of the two does): it is owed.
        InvoiceStatus::Cancelled if !invoice.renegotiation_id.is_empty() => Err(SkipReason::Renegotiated),
        InvoiceStatus::Cancelled => Err(SkipReason::Cancelled),
        InvoiceStatus::Open | InvoiceStatus::Partial if !invoice.is_open() => Err(SkipReason::NotChargeable),
        InvoiceStatus::Open | InvoiceStatus::Partial if invoice.due_on != due_on => Err(SkipReason::DueDateMoved),
        InvoiceStatus::Open | InvoiceStatus::Partial => Ok(()),
    }
}

/// When a message for `day` ends unsent: at the end of the `open_windows`-th window that opens on or after that day (F19).
pub fn expires_at(window: &Window, is_holiday: fn(NaiveDate) -> bool, day: NaiveDate, open_windows: u16) -> DateTime<Utc> {
    let mut end = window.first_open_end_on_or_after(day, &is_holiday);
    for _ in 1..open_windows {
        end = window.first_open_end_on_or_after(window.local_date(end).succ_opt().unwrap_or(day), &is_holiday);
    }
    end
}

/// The span of due dates that can be due for any stage of `policies` on `today`: what the evaluator pages through.
pub fn due_dates(policies: &[PolicyPlan], today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let days = || policies.iter().flat_map(|policy| &policy.stages).filter_map(|plan| plan.days);
    let (least, most) = (days().min()?, days().max()?);
    let catch_up = i64::try_from(CATCH_UP_DAYS).unwrap_or(0);
    Some((day_of(today, -(most.saturating_add(catch_up)))?, day_of(today, -least)?))
}
