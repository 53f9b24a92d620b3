//! Which stage an invoice is due for today.

use crate::consent::Reach;
use crate::ids::MessageId;
use crate::message::{FailReason, SkipReason, State};
use crate::mirror::{Customer, Invoice, InvoiceStatus};
use crate::policy::{ClosedDay, PolicyPlan, StagePlan};
use crate::provider::Provider;
use crate::render::{Rendered, render};
use crate::sending_times::{RecipientWindow, SendingTimes};
use crate::stage::Stage;
use crate::switches::{chargeable, is_before_collection, may_speak};
use crate::variables::{Circumstances, Totals};
use crate::window::WeekHours;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

/// Days after the first on which it could be sent within which a stage that was missed is still sent: a day without a run loses nothing.
pub const CATCH_UP_DAYS: u64 = 3;
/// Days in a row on which nothing may be sent at most: a window of one weekday, and a holiday on it.
pub(crate) const CLOSED_DAYS_MAX: u64 = 14;

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
    /// Why it failed.
    pub fail_reason: Option<FailReason>,
    /// The provider's date on which it was last begun to be sent; `None` for one that never was.
    pub begun_on: Option<NaiveDate>,
}

impl Known {
    /// Whether the customer has, or may have, received it: doubt that nobody settled in time is doubt still.
    pub fn may_have_arrived(&self) -> bool {
        self.state.may_have_arrived() || self.fail_reason.is_some_and(FailReason::may_have_arrived)
    }
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
    /// The instant from which on it may leave: the first of the recipient's window that isn't past.
    pub opens_at: DateTime<Utc>,
    /// The last day on which its text is right; `None` where any day will do.
    pub last_day: Option<NaiveDate>,
    /// The window of its recipient.
    pub window: RecipientWindow<'a>,
    /// What will be sent, or why nothing will.
    pub text: Result<Rendered, SkipReason>,
}

/// Why nothing is to be written for an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDue {
    /// It isn't owed: closed, hidden, reversed, nothing left to pay, or a payment is in flight.
    NotOwed(SkipReason),
    /// No stage that is switched on is due on this date.
    NoStage,
    /// The stage that is due lies before the day from which on the customer's `num_dias_cob` lets collection begin.
    BeforeCollection {
        /// That stage.
        stage: Stage,
        /// Days late from which on the customer is in collection.
        from_days: u16,
    },
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

impl NotDue {
    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotOwed(_) => "not_owed",
            Self::NoStage => "no_stage",
            Self::BeforeCollection { .. } => "before_collection",
            Self::Said { .. } => "said",
            Self::Ended { .. } => "ended",
            Self::TooSoon { .. } => "too_soon",
        }
    }
}

/// The provider's date, and what else is the same for every invoice of a run.
#[derive(Clone, Copy, Debug)]
pub struct Day<'a> {
    /// The date to decide for.
    pub today: NaiveDate,
    /// The instant from which on what is decided may leave.
    pub now: DateTime<Utc>,
    /// When messages may leave.
    pub times: SendingTimes<'a>,
    /// Who sends.
    pub provider: &'a Provider,
    /// Days that lie at least between two messages about one invoice.
    pub days_between_stages: u16,
}

/// Decides what an invoice is due for.
///
/// The stage is the most advanced one that is due and unsent, from dates alone and never by equality of days: due from its day
/// until [`CATCH_UP_DAYS`] after the first day on which it could be sent ([`DuePeriod`]). A message that is live or may have arrived bars its
/// own stage and every earlier one.
///
/// `totals` is what the customer owes in all, for notices that [say it](crate::render::NoticePlan::needs_totals).
///
/// # Errors
/// Why nothing is to be written.
pub fn decide<'a>(
    policy: &'a PolicyPlan,
    invoice: &Invoice,
    customer: Option<&Customer>,
    known: &[Known],
    totals: Option<Totals>,
    on: Day<'a>,
    reach: &Reach<'_>,
) -> Result<Decided<'a>, NotDue> {
    still_called_for(invoice, invoice.due_on).map_err(NotDue::NotOwed)?;
    let due = most_advanced_due(policy, invoice, customer, on, |plan| !is_before_collection(plan.days, customer));
    let Due { stage, period, window } = due.ok_or_else(|| why_none_is_due(policy, invoice, customer, on))?;
    let of_this_due_date = || known.iter().filter(|known| known.due_on == Some(invoice.due_on));
    let said = of_this_due_date()
        .filter(|known| known.stage >= stage.stage && (known.state.is_live() || known.may_have_arrived()))
        .max_by_key(|known| known.stage);
    if let Some(known) = said {
        return Err(NotDue::Said { stage: known.stage, state: known.state });
    }
    let circumstances = Circumstances { today: on.today, provider: on.provider, totals, renegotiated_to: None };
    let text = may_speak(invoice, customer, stage.days, reach.held_until, on.today)
        .and_then(|()| render(&stage.notice, stage.stage, customer, Some(invoice), circumstances))
        .and_then(|text| reach.admit(text, stage.notice.channel_id));
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
        _ => {
            let opens_at = window.next_open(on.now);
            Ok(Decided { stage, revives, stage_day: period.from, opens_at, last_day: period.last_day, window, text })
        }
    }
}

/// The first date on which the customer may hear of the invoice again.
fn heard_until(known: &[Known], days_between: u16) -> Option<NaiveDate> {
    let last = known.iter().filter(|known| known.may_have_arrived()).filter_map(|known| known.begun_on).max()?;
    last.checked_add_days(Days::new(days_between.into()))
}

/// The message to bring back: it was skipped for a reason that can go away, and it could be sent now.
fn revivable(before: &Known, text: &Result<Rendered, SkipReason>) -> Option<MessageId> {
    let came_back = before.state == State::Skipped && before.skip_reason.is_some_and(SkipReason::is_revivable);
    (came_back && text.is_ok()).then_some(before.id)
}

/// A stage that is due for an invoice.
struct Due<'a> {
    stage: &'a StagePlan,
    period: DuePeriod,
    window: RecipientWindow<'a>,
}

/// The most advanced stage that is due, of those that are asked at all.
fn most_advanced_due<'a>(
    policy: &'a PolicyPlan,
    invoice: &Invoice,
    customer: Option<&Customer>,
    on: Day<'a>,
    is_asked: impl Fn(&StagePlan) -> bool,
) -> Option<Due<'a>> {
    let due = |stage: &'a StagePlan| {
        let (period, window) = stage.dated()?.due(customer, invoice.due_on, on.today, on.now, on.times)?;
        Some(Due { stage, period, window })
    };
    policy.stages.iter().filter(|plan| is_asked(plan)).filter_map(due).max_by_key(|due| due.stage.stage)
}

/// No stage is due, or none that the customer's own `num_dias_cob` lets speak yet.
fn why_none_is_due(policy: &PolicyPlan, invoice: &Invoice, customer: Option<&Customer>, on: Day<'_>) -> NotDue {
    match (customer, most_advanced_due(policy, invoice, customer, on, |_| true)) {
        (Some(customer), Some(due)) => {
            NotDue::BeforeCollection { stage: due.stage.stage, from_days: customer.days_before_collection }
        }
        _ => NotDue::NoStage,
    }
}

/// A cheap look before windows and holidays are asked: whether a stage's day is near enough.
fn may_be_due(days: i64, closed_day: ClosedDay, due_on: NaiveDate, today: NaiveDate) -> bool {
    let Some(day) = day_of(due_on, days) else { return false };
    let before = if closed_day == ClosedDay::Previous { CLOSED_DAYS_MAX } else { 0 };
    let (first, last) =
        (day.checked_sub_days(Days::new(before)), day.checked_add_days(Days::new(CLOSED_DAYS_MAX + CATCH_UP_DAYS)));
    first.is_some_and(|first| first <= today) && last.is_none_or(|last| today <= last)
}

/// A dated stage of a policy: all that says when it is due.
#[derive(Clone, Debug)]
pub struct DatedStage {
    /// The stage.
    pub stage: Stage,
    /// Days from the due date.
    pub days: i64,
    /// The day on which it was switched on.
    pub active_from: NaiveDate,
    /// What it means that its day is closed to the recipient.
    pub closed_day: ClosedDay,
    /// The hours of it, where these aren't those of the recipient's place.
    pub hours: Option<WeekHours>,
}

impl DatedStage {
    /// Whether it is due on `today` for an invoice due on `due_on`, at `now`: what [`decide`] would choose before an earlier one, of which
    /// nothing is sent any more then.
    pub fn is_due(
        &self,
        customer: Option<&Customer>,
        due_on: NaiveDate,
        today: NaiveDate,
        now: DateTime<Utc>,
        times: SendingTimes<'_>,
    ) -> bool {
        !is_before_collection(Some(self.days), customer) && self.due(customer, due_on, today, now, times).is_some()
    }

    /// The days on which it is due, and the window of its recipient, if `today` is one of them and it may still leave, from `now` on, while its
    /// text is right.
    fn due<'a>(
        &self,
        customer: Option<&Customer>,
        due_on: NaiveDate,
        today: NaiveDate,
        now: DateTime<Utc>,
        times: SendingTimes<'a>,
    ) -> Option<(DuePeriod, RecipientWindow<'a>)> {
        if !may_be_due(self.days, self.closed_day, due_on, today) {
            return None;
        }
        let window = times.of(customer, self.hours);
        let period = DuePeriod::of(self.stage, self.days, self.closed_day, due_on, |day| window.is_open_on(day))?;
        let is_due = period.day >= self.active_from && period.holds(today);
        let is_late = || period.last_day.is_some_and(|last| window.local_date(window.next_open(now)) > last);
        (is_due && !is_late()).then_some((period, window))
    }
}

/// The days on which a dated stage is due for an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuePeriod {
    /// The stage's own day.
    pub day: NaiveDate,
    /// The first day on which it is due.
    pub from: NaiveDate,
    /// The last.
    pub until: NaiveDate,
    /// The last day on which its text is right: a reminder never comes after the due date, *No vencimento* on no other day than its own.
    pub last_day: Option<NaiveDate>,
}

impl DuePeriod {
    /// The period of a stage `days` from the due date; `is_open` tells on which days anything may be sent to the recipient. `None` where
    /// the stage is left out, because its day is closed, or because no day near it is open.
    pub fn of(
        stage: Stage,
        days: i64,
        closed_day: ClosedDay,
        due_on: NaiveDate,
        is_open: impl Fn(NaiveDate) -> bool,
    ) -> Option<Self> {
        let day = day_of(due_on, days)?;
        let near = |distance| usize::try_from(distance).unwrap_or(usize::MAX);
        let next_open = day.iter_days().take(near(CLOSED_DAYS_MAX)).find(|day| is_open(*day))?;
        let is_closed = next_open != day;
        if is_closed && closed_day == ClosedDay::Skip {
            return None;
        }
        let mut days_before = std::iter::successors(day.pred_opt(), NaiveDate::pred_opt).take(near(CLOSED_DAYS_MAX));
        let previous = days_before.find(|day| is_open(*day)).filter(|_| is_closed && closed_day == ClosedDay::Previous);
        let from = previous.unwrap_or(day);
        let caught_up = next_open.checked_add_days(Days::new(CATCH_UP_DAYS)).unwrap_or(next_open);
        let last_day = match stage {
            Stage::PreDue => Some(due_on),
            Stage::DueDay => Some(if previous.is_some() { day } else { next_open }),
            _ => None,
        };
        let until = last_day.map_or(caught_up, |last| caught_up.min(last));
        (from <= until).then_some(Self { day, from, until, last_day })
    }

    /// Whether the stage is due on a day.
    pub fn holds(&self, day: NaiveDate) -> bool {
        (self.from..=self.until).contains(&day)
    }
}

/// The day of a stage: `due_on` plus its offset.
pub fn day_of(due_on: NaiveDate, days: i64) -> Option<NaiveDate> {
    let distance = Days::new(days.unsigned_abs());
    if days < 0 { due_on.checked_sub_days(distance) } else { due_on.checked_add_days(distance) }
}

/// Whether a dated message for `due_on` is still called for; the reason to skip it when it isn't.
pub fn still_called_for(invoice: &Invoice, due_on: NaiveDate) -> Result<(), SkipReason> {
    match invoice.status {
        InvoiceStatus::Received => Err(SkipReason::Paid),
        // An open title may carry the renegotiation that it comes from (contracts §2.2 leave it open which of the two does): it is owed.
        InvoiceStatus::Cancelled if !invoice.renegotiation_id.is_empty() => Err(SkipReason::Renegotiated),
        InvoiceStatus::Cancelled => Err(SkipReason::Cancelled),
        InvoiceStatus::Open | InvoiceStatus::Partial => {
            chargeable(invoice)?;
            if invoice.due_on == due_on { Ok(()) } else { Err(SkipReason::DueDateMoved) }
        }
    }
}

/// When a message ends unsent that may leave from `opens_at` on: at the end of the `open_windows`-th window from then (F19), and not after
/// the last day on which its text is right.
pub fn expires_at(
    window: &RecipientWindow<'_>,
    opens_at: DateTime<Utc>,
    last_day: Option<NaiveDate>,
    open_windows: u16,
) -> DateTime<Utc> {
    // A window that ends at midnight is of the day before.
    let day_of_end = |end: DateTime<Utc>| window.local_date(end - TimeDelta::microseconds(1));
    let mut end = window.first_open_end_on_or_after(window.local_date(opens_at));
    for _ in 1..open_windows {
        let next = window.first_open_end_on_or_after(day_of_end(end).succ_opt().unwrap_or(NaiveDate::MAX));
        if last_day.is_some_and(|last| day_of_end(next) > last) {
            break;
        }
        end = next;
    }
    end
}

/// The span of due dates that can be due for any stage of `policies` on `today`: what the evaluator pages through.
pub fn due_dates(policies: &[PolicyPlan], today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let stages = || policies.iter().flat_map(|policy| &policy.stages);
    let days = || stages().filter_map(|plan| plan.days);
    let (least, most) = (days().min()?, days().max()?);
    let whole = |days: u64| i64::try_from(days).unwrap_or(0);
    let early = if stages().any(|plan| plan.closed_day == ClosedDay::Previous) { whole(CLOSED_DAYS_MAX) } else { 0 };
    let late = whole(CATCH_UP_DAYS + CLOSED_DAYS_MAX);
    Some((day_of(today, -(most.saturating_add(late)))?, day_of(today, early.saturating_sub(least))?))
}
