//! Which stage an invoice is due for today.

use crate::ids::MessageId;
use crate::message::{SkipReason, State};
use crate::mirror::{Customer, Invoice, InvoiceStatus};
use crate::policy::{PolicyPlan, StagePlan};
use crate::render::{Rendered, render};
use crate::stage::{Stage, StageKind};
use crate::window::Window;
use chrono::{DateTime, Days, NaiveDate, Utc};

/// Days after its own day within which a stage that was missed is still sent: a day without a run loses nothing.
pub const CATCH_UP_DAYS: u64 = 3;

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
    /// The provider's date on which it was last begun to be sent; `None` for one that never was.
    pub begun_on: Option<NaiveDate>,
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

/// Why nothing is to be written for an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDue {
    /// It isn't owed: not open, hidden, reversed, nothing left to pay, or a payment is in flight.
    NotOwed,
    /// No stage that is switched on is due on this date.
    NoStage,
    /// A message of this stage, or of a more advanced one, is on its way or may have arrived.
    Said {
        /// That message's stage.
        stage: Stage,
        /// Where it is.
        state: State,
    },
    /// The stage's message ended before, and nothing has changed about why.
    Ended {
        /// The stage.
        stage: Stage,
        /// Where its message ended.
        state: State,
        /// Why, if it was skipped.
        why: Option<SkipReason>,
    },
    /// The customer heard of this invoice too short a time ago.
    TooSoon {
        /// The stage that waits.
        stage: Stage,
        /// The first date on which it may be said.
        on: NaiveDate,
    },
}

/// The provider's date, and what else is the same for every invoice of a run.
#[derive(Clone, Copy, Debug)]
pub struct Day {
    /// The date to decide for.
    pub today: NaiveDate,
    /// Days that lie at least between two messages about one invoice.
    pub days_between_stages: u16,
}

/// Decides what an invoice is due for.
///
/// The stage is the most advanced one that is due and unsent, from dates alone and never by equality of days: due from its day
/// until [`CATCH_UP_DAYS`] later. A message that is live or may have arrived bars its own stage and every earlier one.
///
/// # Errors
/// Why nothing is to be written.
pub fn decide<'a>(
    policy: &'a PolicyPlan,
    invoice: &Invoice,
    customer: Option<&Customer>,
    known: &[Known],
    on: Day,
) -> Result<Decided<'a>, NotDue> {
    if !invoice.is_open() {
        return Err(NotDue::NotOwed);
    }
    let (stage, day) = most_advanced_due(policy, invoice, customer, on.today).ok_or(NotDue::NoStage)?;
    let of_this_due_date = || known.iter().filter(|known| known.due_on == Some(invoice.due_on));
    let said = of_this_due_date()
        .filter(|known| known.stage >= stage.stage && (known.state.is_live() || known.state.may_have_arrived()))
        .max_by_key(|known| known.stage);
    if let Some(known) = said {
        return Err(NotDue::Said { stage: known.stage, state: known.state });
    }
    let text = render(&stage.notice, stage.stage, customer, invoice);
    let revives = match of_this_due_date().find(|known| known.stage == stage.stage) {
        None => None,
        Some(before) => Some(revivable(before, &text).ok_or(NotDue::Ended {
            stage: stage.stage,
            state: before.state,
            why: before.skip_reason,
        })?),
    };
    match heard_until(known, on.days_between_stages) {
        Some(free_on) if text.is_ok() && free_on > on.today => Err(NotDue::TooSoon { stage: stage.stage, on: free_on }),
        _ => Ok(Decided { stage, revives, stage_day: day, day: day.max(on.today), text }),
    }
}

/// The first date on which the customer may hear of the invoice again.
fn heard_until(known: &[Known], days_between: u16) -> Option<NaiveDate> {
    let last = known.iter().filter(|known| known.state.may_have_arrived()).filter_map(|known| known.begun_on).max()?;
    last.checked_add_days(Days::new(days_between.into()))
}

/// The message to bring back: it was skipped for a reason that can go away, and it could be sent now.
fn revivable(before: &Known, text: &Result<Rendered, SkipReason>) -> Option<MessageId> {
    let came_back = before.state == State::Skipped && before.skip_reason.is_some_and(SkipReason::is_revivable);
    (came_back && text.is_ok()).then_some(before.id)
}

fn most_advanced_due<'a>(
    policy: &'a PolicyPlan,
    invoice: &Invoice,
    customer: Option<&Customer>,
    today: NaiveDate,
) -> Option<(&'a StagePlan, NaiveDate)> {
    policy
        .stages
        .iter()
        .filter(|plan| plan.stage.kind() == StageKind::Dated && !is_before_collection(plan, customer))
        .filter_map(|plan| Some((plan, day_of(invoice.due_on, plan.days?)?)))
        .filter(|(plan, day)| (plan.active_from..=today).contains(day) && today <= last_day(plan, *day, invoice.due_on))
        .max_by_key(|(plan, _)| plan.stage)
}

/// Whether the customer's own `num_dias_cob` puts collection off beyond this stage (contracts §2.3); reminders are no collection.
fn is_before_collection(plan: &StagePlan, customer: Option<&Customer>) -> bool {
    let from = customer.map_or(0, |customer| i64::from(customer.days_before_collection));
    plan.days.is_some_and(|days| days > 0 && days < from)
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
