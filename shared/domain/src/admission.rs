//! Whether a message may be sent now, and at which instant: the decision inside the *start* transaction.
//!
//! The ledger loads what it knows under its locks, calls [`admit`] for each message in turn, and writes back what changed.

use crate::decide::{DatedStage, still_called_for};
use crate::events::still_holds;
use crate::frequency::{Frequency, SentByDay};
use crate::gate::{Closing, Gate};
use crate::message::{DeferReason, SkipReason, State};
use crate::mirror::{Customer, Invoice};
use crate::pilot::Pilot;
use crate::provider::Provider;
use crate::render::{NoticePlan, Rendered, render};
use crate::sending_times::{RecipientWindow, SendingTimes};
use crate::stage::Stage;
use crate::switches::may_speak;
use crate::variables::{Circumstances, Totals};
use crate::window::{WeekHours, WindowState};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

/// The longest that a granted slot may lie ahead: bounds what a crash loses and what a pause lets through (K3, F6).
pub const HORIZON: TimeDelta = TimeDelta::milliseconds(200);
/// WhatsApp takes one message per six seconds to the same phone (contracts §3.1, code 131056).
pub const PHONE_SPACING: TimeDelta = TimeDelta::seconds(6);
/// The distance of the instants reserved for messages that wait for the same phone: longer than the spacing by what a hint may come
/// late, so that one that was late doesn't put off the next a second time (F18).
pub const PHONE_RESERVATION: TimeDelta = TimeDelta::milliseconds(6500);
/// How long after the moment of its start a message of a channel without a limit may be begun: a dispatcher that needs longer sends nothing.
/// A channel with a limit has slots, which are used within 10 ms or not at all.
pub const LATENESS_UNPACED: TimeDelta = TimeDelta::seconds(2);
/// How long a message waits that meets a stop or a stale source: top-up doesn't queue it again before that is over.
pub const RECHECK: TimeDelta = TimeDelta::seconds(60);
/// The moving period of a business's recipient budget.
pub const BUDGET_PERIOD: TimeDelta = TimeDelta::hours(24);

/// What the ledger knows of one message at the start.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its stage.
    pub stage: Stage,
    /// The stage's offset from the due date, if it is dated and still switched on.
    pub days: Option<i64>,
    /// Where it is.
    pub state: State,
    /// When it may be tried next.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it ends unsent.
    pub expires_at: DateTime<Utc>,
    /// The due date that it speaks of; `None` for an event.
    pub due_on: Option<NaiveDate>,
    /// What tells the event that it speaks of from others; the due date's text for a dated stage.
    pub occasion: String,
    /// The due date of what a renegotiation put in the invoice's place.
    pub renegotiated_to: Option<NaiveDate>,
    /// The version of what it says.
    pub facts_version: String,
    /// The instant that an earlier start reserved for it at its phone.
    pub phone_slot_at: Option<DateTime<Utc>>,
    /// Its invoice in the mirror.
    pub invoice: Option<Invoice>,
    /// Its customer in the mirror.
    pub customer: Option<Customer>,
    /// The last day of the longest hold of our own on its invoice or its customer.
    pub held_until: Option<NaiveDate>,
    /// What the customer owes in all, where the notice says it.
    pub totals: Option<Totals>,
    /// Its stage's notice, if policy and stage are still switched on.
    pub notice: Option<NoticePlan>,
    /// The hours of its stage or policy, where these aren't those of the recipient's place.
    pub hours: Option<WeekHours>,
    /// The stage that comes after its own in its policy.
    pub next_stage: Option<DatedStage>,
    /// Whether the recipient opted out.
    pub opted_out: bool,
    /// Whether a stop of any scope holds it.
    pub stopped: bool,
    /// Until when the mirror counts as fresh.
    pub fresh_until: Option<DateTime<Utc>>,
    /// The look at its title, where its source wants a last one before the start.
    pub look: Option<TitleLook>,
}

/// The look at a message's title, where the source wants it young.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TitleLook {
    /// Until when the latest look counts.
    pub counts_until: DateTime<Utc>,
    /// Until when it does without, because the ERP can't be asked and the configuration says to send then.
    pub does_without_until: Option<DateTime<Utc>>,
}

impl TitleLook {
    /// Whether the title has to be read once more, for a start that may be `ahead` from now.
    pub fn is_wanted(&self, now: DateTime<Utc>, ahead: TimeDelta) -> bool {
        self.counts_until <= now + ahead && self.does_without_until.is_none_or(|until| until <= now)
    }
}

impl Snapshot {
    /// When its recipient may be written to.
    pub fn window<'a>(&self, times: SendingTimes<'a>) -> RecipientWindow<'a> {
        times.of(self.customer.as_ref(), self.hours)
    }
}

/// What the ledger knows of a recipient, per business and phone: whom one business writes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// The latest instant at which the last attempt began: its slot, and what a channel without a limit may be late.
    pub last_start_at: Option<DateTime<Utc>>,
    /// The last instant that was reserved for a message that waits for its turn.
    pub reserved_at: Option<DateTime<Utc>>,
    /// When this recipient last took a place in the business's budget.
    pub counted_at: Option<DateTime<Utc>>,
}

/// What the ledger knows of a person, per phone: the same for every business and channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// What they were sent in the last days.
    pub sent: SentByDay,
    /// Messages to them with a better claim than the one that asks, which could go now and have no place yet.
    pub ahead: u32,
}

/// The recipient budget of a business over the moving 24 hours.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Different recipients allowed; `None` is unlimited.
    pub limit: Option<u32>,
    /// Different recipients so far.
    pub used: u32,
    /// When the oldest of them stops counting.
    pub frees_at: Option<DateTime<Utc>>,
}

/// What every message is written and sent under.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// When messages may be sent.
    pub times: SendingTimes<'a>,
    /// Who sends.
    pub provider: &'a Provider,
    /// Whom messages reach while the provider tries Régua out.
    pub pilot: &'a Pilot,
}

/// The limits that hold for every message alike.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    /// The terms of every message.
    pub terms: Terms<'a>,
    /// How often a person may be written to; `None`: nobody counts.
    pub caps: Option<Frequency>,
    /// How far ahead a slot must lie, so that it isn't past when the commit returns.
    pub lead: TimeDelta,
    /// How far ahead it may lie; at most [`HORIZON`].
    pub horizon: TimeDelta,
    /// How long an attempt may take until it counts as doubtful: so long a probe is waited for.
    pub lease: TimeDelta,
}

/// What the start decides for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send exactly this at this instant.
    Start {
        /// The instant, in the ledger's time.
        slot_at: DateTime<Utc>,
        /// Whether the instant is a slot of a limited channel, not to be used late.
        is_paced: bool,
        /// Whether it is its channel's one probe: its answer says whether the provider is back.
        is_probe: bool,
        /// The local day on which it counts for the person's caps, if anybody counts.
        counted_on: Option<NaiveDate>,
        /// What to send.
        text: Rendered,
    },
    /// No slot is near enough: ask again soon, nothing is written.
    NoSlot {
        /// The next slot.
        free_at: DateTime<Utc>,
    },
    /// It waits in the ledger.
    Postpone {
        /// Until then.
        until: DateTime<Utc>,
        /// Why.
        why: DeferReason,
        /// The instant now reserved for it at its phone.
        phone_slot_at: Option<DateTime<Utc>>,
    },
    /// It shall not be sent.
    Skip {
        /// Why.
        why: SkipReason,
    },
    /// It isn't waiting for this hint: sent, in somebody's hands, or not due. The hint is simply done with.
    NotWaiting,
}

/// Decides one message. Pure: `now` is the ledger's clock, read after the locks.
///
/// On [`Verdict::Start`] gate, recipient, person and budget have been charged; on [`Verdict::Postpone`] for spacing the recipient's
/// reservation has moved, so that each of many messages to one phone gets its own instant (F18); for an exhausted budget or allowance the
/// gate has been closed, so that no further message is queued only to wait (F15). A gate whose breaker is open gives one probe and is closed
/// until that one's lease ends, whichever dispatcher asks (F26 e).
pub fn admit(
    snapshot: &Snapshot,
    gate: &mut Gate,
    recipient: &mut Recipient,
    person: &mut Person,
    budget: &mut Budget,
    rules: &Rules<'_>,
    now: DateTime<Utc>,
) -> Verdict {
    let due = match snapshot.state {
        State::Queued => true,
        State::Scheduled => snapshot.next_attempt_at.is_some_and(|at| at <= now),
        _ => false,
    };
    if !due {
        return Verdict::NotWaiting;
    }
    let text = match called_for(snapshot, rules.terms, now) {
        Ok(text) => text,
        Err(why) => return Verdict::Skip { why },
    };
    let window = snapshot.window(rules.terms.times);
    let postpone = |until: DateTime<Utc>, why| postponed(snapshot, until, why, None, now);
    if let Some((until, why)) = held_back(snapshot, gate, &window, now) {
        return postpone(until, why);
    }
    if text.facts_version() != snapshot.facts_version {
        return postpone(now, DeferReason::FactsChanged);
    }
    let slot_at = gate.next_slot(now, rules.lead);
    if slot_at > now + rules.horizon.min(HORIZON).max(rules.lead) {
        return Verdict::NoSlot { free_at: slot_at };
    }
    // The slot counts, not the moment of asking: the window may close, or the message end, between the two.
    let latest_at = slot_at + gate.lateness();
    if latest_at >= snapshot.expires_at {
        return Verdict::Skip { why: SkipReason::Expired };
    }
    if let WindowState::Closed { until } = window.state_at(latest_at) {
        return postpone(until, DeferReason::WindowClosed);
    }
    let today = window.local_date(slot_at);
    if let Some(until) = over_cap(person, today, &window, rules, now) {
        return postpone(until, DeferReason::PersonCap);
    }
    if let Some(verdict) = too_close(snapshot, recipient, slot_at, gate.lateness(), now) {
        return verdict;
    }
    let counted = recipient.counted_at.is_some_and(|at| at + BUDGET_PERIOD > slot_at);
    if !counted && budget.limit.is_some_and(|limit| budget.used >= limit) {
        let until = budget.frees_at.unwrap_or(now + RECHECK).max(now + RECHECK);
        gate.close(until, Closing::Budget);
        return postpone(until, DeferReason::Budget);
    }
    if let Some(until) = gate.used_up(now) {
        gate.close(until, Closing::Allowance);
        return postpone(until, DeferReason::Budget);
    }
    gate.take(slot_at);
    let is_probe = gate.trips > 0;
    if is_probe {
        gate.close(now + rules.lease, Closing::Probe);
    }
    budget.used += u32::from(!counted);
    recipient.last_start_at = Some(latest_at);
    recipient.counted_at = Some(slot_at);
    let counted_on = rules.caps.map(|_| today);
    if let Some(today) = counted_on {
        person.sent.count(today);
    }
    Verdict::Start { slot_at, is_paced: gate.is_limited(), is_probe, counted_on, text }
}

/// Whether the message is still called for; what it says now. Also what top-up asks before it publishes a hint.
///
/// # Errors
/// The reason to skip it.
pub fn called_for(snapshot: &Snapshot, terms: Terms<'_>, now: DateTime<Utc>) -> Result<Rendered, SkipReason> {
    if snapshot.expires_at <= now {
        return Err(SkipReason::Expired);
    }
    let (invoice, customer, today) = (snapshot.invoice.as_ref(), snapshot.customer.as_ref(), terms.times.date_at(now));
    if let Some(due_on) = snapshot.due_on {
        let invoice = invoice.ok_or(SkipReason::NotChargeable)?;
        still_called_for(invoice, due_on)?;
        if snapshot.next_stage.as_ref().is_some_and(|next| next.is_due(customer, due_on, today, now, terms.times)) {
            return Err(SkipReason::Superseded);
        }
        may_speak(invoice, customer, snapshot.days, snapshot.held_until, today)?;
    } else {
        still_holds(snapshot.stage, &snapshot.occasion, invoice, customer)?;
    }
    let notice = snapshot.notice.as_ref().ok_or(SkipReason::StageOff)?;
    if snapshot.opted_out {
        return Err(SkipReason::OptedOut);
    }
    let circumstances =
        Circumstances { today, provider: terms.provider, totals: snapshot.totals, renegotiated_to: snapshot.renegotiated_to };
    render(notice, snapshot.stage, customer, invoice, circumstances).and_then(|text| terms.pilot.admit(text))
}

fn held_back(
    snapshot: &Snapshot,
    gate: &Gate,
    window: &RecipientWindow<'_>,
    now: DateTime<Utc>,
) -> Option<(DateTime<Utc>, DeferReason)> {
    let paused_until = gate.paused_until.filter(|until| *until > now);
    if snapshot.stopped {
        return Some(((now + RECHECK).max(paused_until.unwrap_or(now)), DeferReason::Stopped));
    }
    if let WindowState::Closed { until } = window.state_at(now) {
        return Some((until, DeferReason::WindowClosed));
    }
    if snapshot.fresh_until.is_none_or(|until| until <= now) {
        return Some((now + RECHECK, DeferReason::StaleSource));
    }
    if snapshot.look.is_some_and(|look| look.is_wanted(now, TimeDelta::zero())) {
        return Some((now, DeferReason::LastLook));
    }
    paused_until.map(|until| (until, DeferReason::Gate))
}

/// Until when a message has to wait because its person has had enough; `None`: there is a place today. One jump to the first window in which
/// there is one, not a wait for the phone first: nothing is reserved for what won't go today (F18). Where better messages need the places that
/// are left, they have them, whichever hint comes first: this one is looked at again when they have gone.
fn over_cap(
    person: &Person,
    today: NaiveDate,
    window: &RecipientWindow<'_>,
    rules: &Rules<'_>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let caps = rules.caps?;
    let places = person.sent.places(today, caps);
    if places > person.ahead {
        return None;
    }
    if places > 0 {
        return Some(now + RECHECK);
    }
    let day = person.sent.first_day_with_a_place(today, caps);
    Some(window.next_open(window.start_of_day(day)))
}

/// Six seconds between two messages to one phone; who comes too early reserves the next free instant, once. `None`: it may go.
fn too_close(
    snapshot: &Snapshot,
    recipient: &mut Recipient,
    slot_at: DateTime<Utc>,
    lateness: TimeDelta,
    now: DateTime<Utc>,
) -> Option<Verdict> {
    let earliest = recipient.last_start_at.map(|at| at + PHONE_SPACING);
    if snapshot.phone_slot_at.is_some() {
        let until = earliest.filter(|earliest| *earliest > slot_at)?;
        return Some(postponed(snapshot, until, DeferReason::PhoneSpacing, snapshot.phone_slot_at, now));
    }
    let free = earliest.max(recipient.reserved_at.map(|at| at + PHONE_RESERVATION + lateness));
    let until = free.filter(|free| *free > slot_at)?;
    let verdict = postponed(snapshot, until, DeferReason::PhoneSpacing, Some(until), now);
    if matches!(verdict, Verdict::Postpone { .. }) {
        recipient.reserved_at = Some(until);
    }
    Some(verdict)
}

/// A wait. One that would outlast the message ends it, but for what a person or an answer may still lift: that is looked at again.
fn postponed(
    snapshot: &Snapshot,
    until: DateTime<Utc>,
    why: DeferReason,
    phone_slot_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Verdict {
    if until < snapshot.expires_at {
        return Verdict::Postpone { until, why, phone_slot_at };
    }
    match why {
        DeferReason::Budget | DeferReason::Gate | DeferReason::Stopped | DeferReason::StaleSource | DeferReason::LastLook => {
            Verdict::Postpone { until: (now + RECHECK).min(snapshot.expires_at), why, phone_slot_at }
        }
        DeferReason::PersonCap => Verdict::Skip { why: SkipReason::Capped },
        DeferReason::WindowClosed
        | DeferReason::PhoneSpacing
        | DeferReason::FactsChanged
        | DeferReason::Throttled
        | DeferReason::InService
        | DeferReason::GivenBack
        | DeferReason::Retry => Verdict::Skip { why: SkipReason::Expired },
    }
}
