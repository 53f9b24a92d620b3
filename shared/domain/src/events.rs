//! What happened to an invoice or a customer between two looks, and which message that calls for.
//!
//! An event's *occasion* tells it from every other event of its subject and stage, and is part of the key of the one message that it may
//! cause. It is made of the ERP's own data, so that an event which is seen twice (a payment that vanishes from a list and comes back, a
//! restored backup) can't make a second message:
//!
//! | event | occasion | so that |
//! |---|---|---|
//! | settled | `pagamento_data` | a payment after a reversal is another one, unless it is of the same day: one thanks will do |
//! | cancelled | `data_cancelamento`, and the renegotiation that the title came from | the same |
//! | renegotiated | the renegotiation's id, one message whatever the number of titles | the titles of one renegotiation may be seen days apart |
//! | `bureau_removed` | the day on which the customer was first seen not to be listed any more: the ERP has no date | a later listing is another one |
//!
//! Where the ERP states no date, the day on which the event was first seen stands for it.

use crate::consent::Reach;
use crate::decide::Known;
use crate::ids::MessageId;
use crate::message::{SkipReason, State, names};
use crate::mirror::{Customer, Invoice, InvoiceStatus};
use crate::policy::{PolicyPlan, StagePlan, policy_for};
use crate::provider::Provider;
use crate::render::{Rendered, render};
use crate::stage::Stage;
use crate::variables::{Circumstances, Totals};
use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Days after its own within which an event is told: who paid last week needs no thanks today.
pub const EVENT_DAYS_MAX: u64 = 2;
/// Days between two looks after which an event without a date may be of any of them: it counts as old as it can be.
const LONG_UNSEEN_DAYS: i64 = 7;
/// What parts a cancellation's date from the renegotiation that the title came from.
const CAME_FROM: &str = " of ";

names! {
    /// A change that an event stage may speak of.
    EventKind {
        /// The invoice was paid in full.
        Settled = "settled",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// A renegotiation replaced it.
        Renegotiated = "renegotiated",
        /// It is owed again, or its payment was reversed.
        Reopened = "reopened",
        /// The customer's negative listing was removed (`ativo_serasa`, contracts §2.3).
        BureauRemoved = "bureau_removed",
    }
}

names! {
    /// What an event led to.
    EventOutcome {
        /// A message was written, came back, or was there already.
        Message = "message",
        /// No stage speaks of such a thing.
        NothingToSay = "nothing_to_say",
        /// It happened more than [`EVENT_DAYS_MAX`] days before it was first looked at.
        TooOld = "too_old",
        /// What it says holds no longer.
        NoLongerHolds = "no_longer_holds",
        /// The same happened again later.
        Overtaken = "overtaken",
        /// No policy lets its subject through.
        NoPolicy = "no_policy",
        /// The policy has no such stage, or not switched on.
        NoStage = "no_stage",
        /// The stage was switched on later.
        BeforeActivation = "before_activation",
        /// The customer never had a notice about it, and the stage is only for those who had.
        NotNoticed = "not_noticed",
    }
}

impl EventKind {
    /// The stage that speaks of it.
    pub const fn stage(self) -> Option<Stage> {
        match self {
            Self::Settled => Some(Stage::Settled),
            Self::Cancelled => Some(Stage::Cancelled),
            Self::Renegotiated => Some(Stage::Renegotiated),
            Self::BureauRemoved => Some(Stage::BureauRemoved),
            Self::Reopened => None,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// What tells it from the others of its subject: see the module.
    pub occasion: String,
    /// The provider's date on which it happened; never later than the one on which it was seen.
    pub happened_on: NaiveDate,
}

/// The provider's dates of two looks at one row.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Of the earlier one.
    pub before_on: NaiveDate,
    /// Of the later one.
    pub after_on: NaiveDate,
    /// The last day of a time that the ledger lost, where the earlier look lies before its end: what the ERP doesn't date may have been seen, and told,
    /// in it.
    pub lost_until_on: Option<NaiveDate>,
}

impl Looks {
    /// When something happened that the ERP may date. Without a date it was just now, unless nobody has looked for long.
    fn happened_on(self, dated: Option<NaiveDate>) -> NaiveDate {
        let undated = if (self.after_on - self.before_on).num_days() > LONG_UNSEEN_DAYS { self.before_on } else { self.after_on };
        let undated = self.lost_until_on.map_or(undated, |lost| undated.min(lost));
        dated.map_or(undated, |dated| dated.min(self.after_on))
    }

    fn event(self, kind: EventKind, dated: Option<NaiveDate>) -> Event {
        Event { kind, occasion: dated.unwrap_or(self.after_on).to_string(), happened_on: self.happened_on(dated) }
    }
}

/// The event between two looks at one invoice, if there was one. A partial payment is none: the remainder goes on.
pub fn between(before: &Invoice, after: &Invoice, looks: Looks) -> Option<Event> {
    if is_settled(after) {
        return (!is_settled(before)).then(|| looks.event(EventKind::Settled, after.paid_on));
    }
    if after.status == InvoiceStatus::Cancelled {
        // An open title may name the renegotiation that it came from (contracts §2.2): only one that it did not name before replaced it.
        let named = &after.renegotiation_id;
        if !named.is_empty() && *named != before.renegotiation_id {
            let event = looks.event(EventKind::Renegotiated, after.cancelled_on);
            return Some(Event { occasion: named.clone(), ..event });
        }
        return (before.status != InvoiceStatus::Cancelled).then(|| {
            let mut event = looks.event(EventKind::Cancelled, after.cancelled_on);
            if !named.is_empty() {
                event.occasion = format!("{}{CAME_FROM}{named}", event.occasion);
            }
            event
        });
    }
    let had_ended = is_settled(before) || before.status == InvoiceStatus::Cancelled;
    had_ended.then(|| looks.event(EventKind::Reopened, None))
}

/// The event between two looks at whether one customer is negatively listed; what isn't known is no event.
pub fn between_listings(before: Option<bool>, after: Option<bool>, looks: Looks) -> Option<Event> {
    (before == Some(true) && after == Some(false)).then(|| looks.event(EventKind::BureauRemoved, None))
}

/// Paid, and not taken back.
fn is_settled(invoice: &Invoice) -> bool {
    invoice.status == InvoiceStatus::Received && !invoice.reversed
}

/// Whether what an event's message says is still so: the start asks for it as for a dated one whether it is still owed.
///
/// # Errors
/// The reason to skip the message.
pub fn still_holds(
    stage: Stage,
    occasion: &str,
    invoice: Option<&Invoice>,
    customer: Option<&Customer>,
) -> Result<(), SkipReason> {
    if stage == Stage::BureauRemoved {
        let customer = customer.ok_or(SkipReason::NoCustomer)?;
        return if customer.negatively_listed == Some(true) { Err(SkipReason::ListedAgain) } else { Ok(()) };
    }
    let invoice = invoice.ok_or(SkipReason::NotChargeable)?;
    let named = invoice.renegotiation_id.as_str();
    let came_from = occasion.split_once(CAME_FROM).map_or("", |(_, id)| id);
    match (invoice.status, stage) {
        (InvoiceStatus::Received, _) if invoice.reversed => Err(SkipReason::Reopened),
        (InvoiceStatus::Received, Stage::Settled) => Ok(()),
        (InvoiceStatus::Received, _) => Err(SkipReason::Paid),
        (InvoiceStatus::Cancelled, Stage::Renegotiated) if named == occasion => Ok(()),
        (InvoiceStatus::Cancelled, Stage::Cancelled) if named == came_from => Ok(()),
        (InvoiceStatus::Cancelled, _) if named.is_empty() => Err(SkipReason::Cancelled),
        (InvoiceStatus::Cancelled, _) => Err(SkipReason::Renegotiated),
        (InvoiceStatus::Open | InvoiceStatus::Partial, _) => Err(SkipReason::Reopened),
    }
}

/// An event with what is known of its subject.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What happened.
    pub event: &'a Event,
    /// The invoice as it is now; of a renegotiation the title that stands for all; `None` for a customer's event.
    pub invoice: Option<&'a Invoice>,
    /// Its customer.
    pub customer: Option<&'a Customer>,
    /// The message that exists already for this subject, stage and occasion.
    pub message: Option<&'a Known>,
    /// Whether the customer may have had a dated notice about it: of a renegotiation about any of its titles, for a customer's event about
    /// any invoice.
    pub was_noticed: bool,
    /// Whether the same happened to it again later.
    pub is_overtaken: bool,
    /// The due date of what a renegotiation put in its place.
    pub renegotiated_to: Option<NaiveDate>,
    /// What the customer owes in all.
    pub totals: Option<Totals>,
    /// Whom the message would reach.
    pub reach: Reach<'a>,
}

/// A message that an event calls for.
#[derive(Clone, Debug)]
pub struct Called<'a> {
    /// The policy that speaks.
    pub policy: &'a PolicyPlan,
    /// Its stage.
    pub stage: &'a StagePlan,
    /// The skipped message that comes back, if there is one.
    pub revives: Option<MessageId>,
    /// What will be sent, or why nothing will.
    pub text: Result<Rendered, SkipReason>,
}

/// Decides what an event calls for on `today`, the provider's date.
///
/// An event whose message was skipped is decided again, as long as it is young enough: what was missing may be there by then (F4).
///
/// # Errors
/// What becomes of an event that calls for no message, or for none but the one that it has.
pub fn decide<'a>(
    policies: &'a [PolicyPlan],
    facts: &Facts<'_>,
    provider: &Provider,
    today: NaiveDate,
) -> Result<Called<'a>, EventOutcome> {
    let Facts { event, invoice, customer, .. } = *facts;
    let stage = event.kind.stage().ok_or(EventOutcome::NothingToSay)?;
    if last_day(event.happened_on) < today {
        return Err(EventOutcome::TooOld);
    }
    if facts.is_overtaken {
        return Err(EventOutcome::Overtaken);
    }
    still_holds(stage, &event.occasion, invoice, customer).map_err(|_| EventOutcome::NoLongerHolds)?;
    let policy = policy_for(policies, invoice, customer).ok_or(EventOutcome::NoPolicy)?;
    let plan = policy.stages.iter().find(|plan| plan.stage == stage).ok_or(EventOutcome::NoStage)?;
    if event.happened_on < plan.active_from {
        return Err(EventOutcome::BeforeActivation);
    }
    if plan.only_after_notice && !facts.was_noticed {
        return Err(EventOutcome::NotNoticed);
    }
    let circumstances = Circumstances { today, provider, totals: facts.totals, renegotiated_to: facts.renegotiated_to };
    let text = render(&plan.notice, stage, customer, invoice, circumstances);
    let text = text.and_then(|text| facts.reach.admit(text, plan.notice.channel_id));
    let revives = match facts.message {
        None => None,
        Some(before) if comes_back(before, &text) => Some(before.id),
        Some(_) => return Err(EventOutcome::Message),
    };
    Ok(Called { policy, stage: plan, revives, text })
}

/// The last day on which an event is told.
pub fn last_day(happened_on: NaiveDate) -> NaiveDate {
    happened_on.checked_add_days(Days::new(EVENT_DAYS_MAX)).unwrap_or(NaiveDate::MAX)
}

/// The first day whose events are told on `today`.
pub fn first_day(today: NaiveDate) -> NaiveDate {
    today.checked_sub_days(Days::new(EVENT_DAYS_MAX)).unwrap_or(NaiveDate::MIN)
}

fn comes_back(before: &Known, text: &Result<Rendered, SkipReason>) -> bool {
    before.state == State::Skipped && before.skip_reason.is_some_and(SkipReason::is_revivable) && text.is_ok()
}
