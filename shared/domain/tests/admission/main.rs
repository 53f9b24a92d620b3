//! The decision inside *start*: which verdict, in which order of reasons.

mod gate;
mod over_time;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::America::Sao_Paulo;
use regua_domain::admission::{
    BUDGET_PERIOD, Budget, HORIZON, LATENESS_UNPACED, PHONE_SPACING, Person, RECHECK, Recipient, Rules, Snapshot, Terms,
    TitleLook, Verdict, admit, called_for,
};
use regua_domain::calendar::Calendar;
use regua_domain::configuration::WindowSettings;
use regua_domain::filling::Filling;
use regua_domain::frequency::Frequency;
use regua_domain::gate::Gate;
use regua_domain::ids::{ChannelId, CustomerId, InvoiceId, NoticeId};
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::pilot::Pilot;
use regua_domain::provider::Provider;
use regua_domain::render::{NoticePlan, Rendered, render};
use regua_domain::sending_times::SendingTimes;
use regua_domain::stage::Stage;
use regua_domain::variables::{Circumstances, Totals};
use std::sync::LazyLock;
use uuid::Uuid;

const LEAD: TimeDelta = TimeDelta::milliseconds(20);
const LEASE: TimeDelta = TimeDelta::seconds(60);

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("an instant").to_utc()
}

/// A Monday, 10:00 in São Paulo.
fn now() -> DateTime<Utc> {
    at("2026-03-09T13:00:00Z")
}

fn closes() -> DateTime<Utc> {
    at("2026-03-09T21:00:00Z")
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

static CALENDAR: Calendar = Calendar { municipal: Vec::new() };
static BUSINESS: LazyLock<WindowSettings> = LazyLock::new(|| WindowSettings::business_hours(Sao_Paulo));

fn times() -> SendingTimes<'static> {
    SendingTimes { settings: &BUSINESS, calendar: &CALENDAR }
}

fn customer() -> Customer {
    Customer {
        person_type: "F".into(),
        mobile_phone: "11 98000-0001".into(),
        branch_id: "1".into(),
        ..Customer::new(CustomerId("1".into()), "Maria")
    }
}

fn invoice() -> Invoice {
    Invoice {
        number: "1".into(),
        branch_id: "1".into(),
        ..Invoice::open(InvoiceId("1".into()), CustomerId("1".into()), Centavos(10_000), day("2026-03-06"))
    }
}

fn notice() -> NoticePlan {
    NoticePlan {
        id: NoticeId(Uuid::nil()),
        channel_id: ChannelId(Uuid::nil()),
        provider_channel_id: "64f1c0de0a1b2c3d4e5f6001".into(),
        template_id: "64f1c0de0a1b2c3d4e5f7001".into(),
        filling: Filling::of("#cliente_razao#,#areceber_valor_aberto#", None, None).expect("variables"),
    }
}

/// What the notice says on the day of [`now`].
fn rendered(notice: &NoticePlan, invoice: &Invoice, totals: Option<Totals>) -> Rendered {
    let circumstances = Circumstances { today: day("2026-03-09"), provider: &Provider::default(), totals, renegotiated_to: None };
    render(notice, Stage::Overdue, Some(&customer()), Some(invoice), circumstances).expect("it can be sent")
}

/// A queued message that may go at once.
fn ready() -> Snapshot {
    Snapshot {
        stage: Stage::Overdue,
        days: Some(3),
        state: State::Queued,
        next_attempt_at: None,
        expires_at: closes() + TimeDelta::days(30),
        due_on: Some(invoice().due_on),
        occasion: invoice().due_on.to_string(),
        renegotiated_to: None,
        facts_version: rendered(&notice(), &invoice(), None).facts_version(),
        phone_slot_at: None,
        invoice: Some(invoice()),
        customer: Some(customer()),
        held_until: None,
        totals: None,
        notice: Some(notice()),
        hours: None,
        next_stage: None,
        opted_out: false,
        stopped: false,
        fresh_until: Some(closes()),
        look: None,
    }
}

/// All that a message is held against, open and unused.
struct World {
    gate: Gate,
    recipient: Recipient,
    person: Person,
    budget: Budget,
    caps: Frequency,
    pilot: Pilot,
    provider: Provider,
    horizon: TimeDelta,
}

impl World {
    fn new() -> Self {
        Self {
            gate: Gate { per_second: Some(80), next_free_at: now() - TimeDelta::hours(1), ..Gate::default() },
            recipient: Recipient::default(),
            person: Person::default(),
            budget: Budget { limit: Some(250), used: 0, frees_at: None },
            caps: Frequency { per_day: 2, per_7_days: 4 },
            pilot: Pilot::Off,
            provider: Provider::default(),
            horizon: HORIZON,
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms { times: times(), provider: &self.provider, pilot: &self.pilot }
    }

    fn admit_at(&mut self, snapshot: &Snapshot, now: DateTime<Utc>) -> Verdict {
        let terms = Terms { times: times(), provider: &self.provider, pilot: &self.pilot };
        let rules = Rules { terms, caps: Some(self.caps), lead: LEAD, horizon: self.horizon, lease: LEASE };
        admit(snapshot, &mut self.gate, &mut self.recipient, &mut self.person, &mut self.budget, &rules, now)
    }

    fn admit(&mut self, snapshot: &Snapshot) -> Verdict {
        self.admit_at(snapshot, now())
    }
}

fn postpone(until: DateTime<Utc>, why: DeferReason) -> Verdict {
    Verdict::Postpone { until, why, phone_slot_at: None }
}

#[test]
fn a_start_charges_gate_recipient_person_and_budget() {
    let mut world = World::new();
    let Verdict::Start { slot_at, text, counted_on, .. } = world.admit(&ready()) else { panic!("it may go") };
    assert_eq!((counted_on, world.person.sent.on(day("2026-03-09"))), (Some(day("2026-03-09")), 1));
    assert_eq!((slot_at, text.values.by_position().to_vec()), (now() + LEAD, vec!["Maria".to_owned(), "R$100,00".to_owned()]));
    assert_eq!(world.gate.next_free_at, slot_at + world.gate.interval());
    let charged = Recipient { last_start_at: Some(slot_at), reserved_at: None, counted_at: Some(slot_at) };
    assert_eq!((world.recipient, world.budget.used), (charged, 1));
}

#[test]
fn f6_whatever_does_not_start_charges_nothing() {
    let mut world = World::new();
    let (gate, recipient, person) = (world.gate.clone(), world.recipient.clone(), world.person.clone());
    for snapshot in [
        Snapshot { state: State::Held, ..ready() },
        Snapshot { opted_out: true, ..ready() },
        Snapshot { stopped: true, ..ready() },
        Snapshot { facts_version: "old".into(), ..ready() },
    ] {
        world.admit(&snapshot);
        assert_eq!((&world.gate, &world.recipient, &world.person, world.budget.used), (&gate, &recipient, &person, 0));
    }
}

#[test]
fn only_a_queued_or_a_due_scheduled_message_waits_for_its_hint() {
    for &state in State::ALL {
        let due = matches!(state, State::Queued | State::Scheduled);
        let verdict = World::new().admit(&Snapshot { state, next_attempt_at: Some(now()), ..ready() });
        assert_eq!(matches!(verdict, Verdict::Start { .. }), due, "{state}");
        assert_eq!(verdict == Verdict::NotWaiting, !due, "{state}");
    }
    let later = Some(now() + TimeDelta::microseconds(1));
    for next_attempt_at in [None, later] {
        let verdict = World::new().admit(&Snapshot { state: State::Scheduled, next_attempt_at, ..ready() });
        assert_eq!(verdict, Verdict::NotWaiting);
    }
}

#[track_caller]
fn skips(snapshot: &Snapshot, why: SkipReason) {
    assert_eq!(World::new().admit(snapshot), Verdict::Skip { why });
    assert_eq!(called_for(snapshot, World::new().terms(), now()), Err(why), "top-up says the same");
}

#[test]
fn a_message_that_is_not_called_for_is_skipped_with_its_reason() {
    let with = |change: fn(&mut Invoice)| {
        let mut changed = invoice();
        change(&mut changed);
        Snapshot { invoice: Some(changed), ..ready() }
    };
    skips(&Snapshot { expires_at: now(), ..ready() }, SkipReason::Expired);
    skips(&Snapshot { invoice: None, ..ready() }, SkipReason::NotChargeable);
    skips(&with(|i| i.status = InvoiceStatus::Received), SkipReason::Paid);
    skips(&with(|i| i.status = InvoiceStatus::Cancelled), SkipReason::Cancelled);
    let renegotiated = with(|i| {
        i.renegotiation_id = "9".into();
        i.status = InvoiceStatus::Cancelled;
    });
    skips(&renegotiated, SkipReason::Renegotiated);
    skips(&with(|i| i.reversed = true), SkipReason::Reversed);
    skips(&with(|i| i.due_on = day("2026-03-07")), SkipReason::DueDateMoved);
    skips(&Snapshot { notice: None, ..ready() }, SkipReason::StageOff);
    skips(&Snapshot { opted_out: true, ..ready() }, SkipReason::OptedOut);
    skips(&Snapshot { customer: None, ..ready() }, SkipReason::NoCustomer);
    skips(&Snapshot { customer: Some(Customer { mobile_phone: "1".into(), ..customer() }), ..ready() }, SkipReason::NoValidPhone);
}

/// F4 for the ERP's switches and our own holds: thrown between the decision and the start.
#[test]
fn a_switch_or_a_hold_that_came_after_the_decision_stops_the_message() {
    let (today, yesterday) = (Some(day("2026-03-09")), Some(day("2026-03-08")));
    let with = |change: fn(&mut Invoice)| {
        let mut changed = invoice();
        change(&mut changed);
        Snapshot { invoice: Some(changed), ..ready() }
    };
    skips(&with(|i| i.protested = true), SkipReason::Protested);
    skips(&with(|i| i.forecast = true), SkipReason::Forecast);
    skips(&with(|i| i.notifies_overdue = false), SkipReason::OverdueNoticesOff);
    skips(&with(|i| i.no_notice_until = Some(day("2026-03-09"))), SkipReason::NoNoticeUntil);
    skips(&Snapshot { held_until: today, ..ready() }, SkipReason::OnHold);
    let patient = Customer { days_before_collection: 4, ..customer() };
    skips(&Snapshot { customer: Some(patient), ..ready() }, SkipReason::BeforeCollection);
    // What is over, or speaks of another kind of stage, stops nothing.
    let reminder = Snapshot { days: Some(0), ..with(|i| i.notifies_overdue = false) };
    let event = with(|i| {
        i.status = InvoiceStatus::Received;
        i.protested = true;
    });
    let event = Snapshot { stage: Stage::Settled, due_on: None, days: None, held_until: today, ..event };
    let over = Snapshot { held_until: yesterday, ..with(|i| i.no_notice_until = Some(day("2026-03-08"))) };
    for snapshot in [reminder, event, over] {
        assert!(matches!(World::new().admit(&snapshot), Verdict::Start { .. }), "{snapshot:?}");
    }
}

#[test]
fn the_customers_state_comes_before_every_hold_up() {
    let mut world = World::new();
    world.gate.paused_until = Some(closes());
    let paid = Invoice { status: InvoiceStatus::Received, ..invoice() };
    let snapshot = Snapshot { stopped: true, fresh_until: None, invoice: Some(paid), ..ready() };
    assert_eq!(world.admit(&snapshot), Verdict::Skip { why: SkipReason::Paid });
}

#[test]
fn what_holds_a_message_back_says_until_when() {
    let recheck = now() + RECHECK;
    assert_eq!(World::new().admit(&Snapshot { stopped: true, ..ready() }), postpone(recheck, DeferReason::Stopped));
    for fresh_until in [None, Some(now())] {
        assert_eq!(World::new().admit(&Snapshot { fresh_until, ..ready() }), postpone(recheck, DeferReason::StaleSource));
    }
    let look =
        |counts_until, does_without_until| Snapshot { look: Some(TitleLook { counts_until, does_without_until }), ..ready() };
    let soon = now() + TimeDelta::seconds(1);
    assert_eq!(World::new().admit(&look(now(), None)), postpone(now(), DeferReason::LastLook));
    assert_eq!(World::new().admit(&look(now(), Some(now()))), postpone(now(), DeferReason::LastLook));
    for young in [look(soon, None), look(now(), Some(soon))] {
        assert!(matches!(World::new().admit(&young), Verdict::Start { .. }), "{young:?}");
    }
    let mut world = World::new();
    world.gate.paused_until = Some(now() + TimeDelta::minutes(3));
    assert_eq!(world.admit(&ready()), postpone(now() + TimeDelta::minutes(3), DeferReason::Gate));
    let stopped = Snapshot { stopped: true, ..ready() };
    assert_eq!(world.admit(&stopped), postpone(now() + TimeDelta::minutes(3), DeferReason::Stopped), "the longer of both");
    world.gate.paused_until = Some(now());
    assert!(matches!(world.admit(&ready()), Verdict::Start { .. }), "a pause that is over holds nothing");
    let evening = World::new().admit_at(&Snapshot { fresh_until: None, ..ready() }, closes());
    assert_eq!(evening, postpone(at("2026-03-10T12:00:00Z"), DeferReason::WindowClosed));
    assert_eq!(
        World::new().admit(&Snapshot { facts_version: "old".into(), ..ready() }),
        postpone(now(), DeferReason::FactsChanged)
    );
}

/// What a person or an answer may still lift is looked at again until the end; everything else ends the message at once.
#[test]
fn a_wait_that_outlasts_a_message_ends_it_unless_somebody_may_lift_it() {
    let soon = now() + TimeDelta::seconds(30);
    for (expires_at, until) in [(soon, soon), (closes(), now() + RECHECK)] {
        let message = Snapshot { expires_at, ..ready() };
        let mut world = World::new();
        world.gate.paused_until = Some(closes());
        assert_eq!(world.admit(&message), postpone(until, DeferReason::Gate));
        let mut world = World::new();
        world.budget = Budget { limit: Some(1), used: 1, frees_at: Some(closes()) };
        assert_eq!(world.admit(&message), postpone(until, DeferReason::Budget));
    }
    let stopped = Snapshot { stopped: true, expires_at: soon, ..ready() };
    assert_eq!(World::new().admit(&stopped), postpone(soon, DeferReason::Stopped));
    let stale = Snapshot { fresh_until: None, expires_at: soon, ..ready() };
    assert_eq!(World::new().admit(&stale), postpone(soon, DeferReason::StaleSource));
    let evening = Snapshot { expires_at: closes() + TimeDelta::hours(1), ..ready() };
    assert_eq!(World::new().admit_at(&evening, closes()), Verdict::Skip { why: SkipReason::Expired });
    let mut world = World::new();
    world.recipient.last_start_at = Some(now());
    assert_eq!(
        world.admit(&Snapshot { expires_at: now() + PHONE_SPACING, ..ready() }),
        Verdict::Skip { why: SkipReason::Expired }
    );
    assert_eq!(world.recipient.reserved_at, None, "nothing is reserved for it");
}

#[test]
fn a_clock_that_fell_back_does_not_close_the_gate() {
    let mut world = World::new();
    world.gate.next_free_at = now() + TimeDelta::days(1);
    let verdict = world.admit(&ready());
    assert_eq!(verdict, Verdict::NoSlot { free_at: now() + HORIZON + world.gate.interval() });
}

#[test]
fn who_takes_no_part_in_reminders_gets_the_later_stages() {
    let customer = Some(Customer { takes_part_in_pre_due: false, ..customer() });
    let reminder = Snapshot { stage: Stage::PreDue, customer: customer.clone(), ..ready() };
    skips(&reminder, SkipReason::NotInPreDue);
    assert!(matches!(World::new().admit(&Snapshot { customer, ..ready() }), Verdict::Start { .. }));
}

#[test]
fn no_slot_lies_behind_the_windows_end_or_the_messages_own() {
    let asked = closes() - TimeDelta::milliseconds(10);
    let verdict = World::new().admit_at(&Snapshot { fresh_until: Some(closes() + TimeDelta::days(1)), ..ready() }, asked);
    assert_eq!(verdict, postpone(at("2026-03-10T12:00:00Z"), DeferReason::WindowClosed));
    let ends = Snapshot { expires_at: now() + LEAD, ..ready() };
    assert_eq!(World::new().admit(&ends), Verdict::Skip { why: SkipReason::Expired });
    let later = Snapshot { expires_at: now() + LEAD + TimeDelta::microseconds(1), ..ready() };
    assert!(matches!(World::new().admit(&later), Verdict::Start { .. }));
}

#[test]
fn f6_a_slot_is_at_least_the_lead_and_at_most_the_horizon_away() {
    for (free_in_ms, horizon_ms, expected_ms) in
        [(-500, 200, Some(20)), (20, 200, Some(20)), (199, 200, Some(199)), (200, 200, Some(200)), (201, 200, None)]
            .into_iter()
            .chain([(100, 50, None), (50, 50, Some(50)), (201, 9000, None), (20, 5, Some(20))])
    {
        let mut world = World::new();
        world.gate.next_free_at = now() + TimeDelta::milliseconds(free_in_ms);
        world.horizon = TimeDelta::milliseconds(horizon_ms);
        match (world.admit(&ready()), expected_ms) {
            (Verdict::Start { slot_at, .. }, Some(ms)) => assert_eq!(slot_at, now() + TimeDelta::milliseconds(ms)),
            (Verdict::NoSlot { free_at }, None) => assert_eq!(free_at, world.gate.next_free_at),
            (verdict, _) => panic!("free in {free_in_ms} ms, horizon {horizon_ms} ms: {verdict:?}"),
        }
    }
}

/// A person who was sent so many on each of these days.
fn heard(days: &[(&str, u32)]) -> Person {
    let mut person = Person::default();
    for (on, times) in days {
        (0..*times).for_each(|_| person.sent.count(day(on)));
    }
    person
}

#[test]
fn a_person_over_the_cap_waits_for_the_next_open_day_or_not_at_all() {
    let mut world = World::new();
    world.person = heard(&[("2026-03-09", 2)]);
    world.recipient.last_start_at = Some(now());
    let tomorrow = at("2026-03-10T12:00:00Z");
    assert_eq!(world.admit(&ready()), postpone(tomorrow, DeferReason::PersonCap), "not spaced first");
    assert_eq!(world.recipient.reserved_at, None);
    let ends_today = Snapshot { expires_at: closes(), ..ready() };
    assert_eq!(world.admit(&ends_today), Verdict::Skip { why: SkipReason::Capped });
    let ends_then = Snapshot { expires_at: tomorrow, ..ready() };
    assert_eq!(world.admit(&ends_then), Verdict::Skip { why: SkipReason::Capped }, "its end is no time to send");
    world.person = heard(&[("2026-03-08", 2)]);
    world.recipient.last_start_at = None;
    assert!(matches!(world.admit(&ready()), Verdict::Start { .. }), "yesterday's messages don't count for the day");
    assert_eq!(world.person.sent.on(day("2026-03-09")), 1);
}

/// Four on Thursday, Friday: the next Thursday is the first day whose seven days don't have all of them.
#[test]
fn a_person_over_the_weeks_cap_waits_for_the_first_window_that_fits() {
    let mut world = World::new();
    world.person = heard(&[("2026-03-05", 2), ("2026-03-06", 2)]);
    assert_eq!(world.admit(&ready()), postpone(at("2026-03-12T12:00:00Z"), DeferReason::PersonCap));
    let ends_before = Snapshot { expires_at: at("2026-03-11T21:00:00Z"), ..ready() };
    assert_eq!(world.admit(&ends_before), Verdict::Skip { why: SkipReason::Capped });
    world.person = heard(&[("2026-03-03", 2), ("2026-03-06", 2)]);
    assert_eq!(world.admit(&ready()), postpone(at("2026-03-10T12:00:00Z"), DeferReason::PersonCap), "sooner than the day's end");
    world.person = heard(&[("2026-03-02", 2), ("2026-03-06", 2)]);
    assert!(matches!(world.admit(&ready()), Verdict::Start { .. }), "the seventh day back doesn't count");
}

#[test]
fn a_message_leaves_the_places_to_as_many_better_ones() {
    for (sent_today, ahead, goes) in [(0, 0, true), (0, 1, true), (0, 2, false), (1, 0, true), (1, 1, false), (1, 9, false)] {
        let mut world = World::new();
        world.person = Person { ahead, ..heard(&[("2026-03-09", sent_today)]) };
        let expected = postpone(now() + RECHECK, DeferReason::PersonCap);
        let verdict = world.admit(&ready());
        assert_eq!(matches!(verdict, Verdict::Start { .. }), goes, "{sent_today} sent, {ahead} ahead: {verdict:?}");
        assert_eq!(verdict == expected, !goes, "{sent_today} sent, {ahead} ahead: {verdict:?}");
    }
    let mut world = World::new();
    world.person.ahead = 2;
    let ends_soon = Snapshot { expires_at: now() + RECHECK, ..ready() };
    assert_eq!(world.admit(&ends_soon), Verdict::Skip { why: SkipReason::Capped });
}

#[test]
fn a_friday_over_the_cap_waits_for_monday() {
    let friday = at("2026-03-13T14:00:00Z");
    let mut world = World::new();
    world.person = heard(&[("2026-03-13", 2)]);
    let snapshot = Snapshot { fresh_until: Some(friday + TimeDelta::hours(1)), ..ready() };
    assert_eq!(world.admit_at(&snapshot, friday), postpone(at("2026-03-16T12:00:00Z"), DeferReason::PersonCap));
}

#[test]
fn an_exhausted_budget_closes_the_gate_but_for_nobody_new_costs_nothing() {
    let frees_at = now() + TimeDelta::hours(7);
    let mut world = World::new();
    world.budget = Budget { limit: Some(250), used: 250, frees_at: Some(frees_at) };
    world.recipient.counted_at = Some(now() - TimeDelta::hours(23));
    assert!(matches!(world.admit(&ready()), Verdict::Start { .. }), "this person has a place");
    assert_eq!(world.budget.used, 250);
    world.recipient = Recipient { counted_at: Some(now() + LEAD - BUDGET_PERIOD), ..Recipient::default() };
    world.gate.next_free_at = now();
    assert_eq!(world.admit(&ready()), postpone(frees_at, DeferReason::Budget), "24 hours to the microsecond");
    assert_eq!(world.gate.paused_until, Some(frees_at));
    assert_eq!(world.admit(&ready()), postpone(frees_at, DeferReason::Gate), "the next one waits at the gate");
}

/// What a channel without a limit may begin late still keeps the spacing, the window and the expiry.
#[test]
fn an_unlimited_channel_allows_for_what_it_begins_late() {
    let unlimited = || {
        let mut world = World::new();
        world.gate.per_second = None;
        world
    };
    let mut world = unlimited();
    assert!(matches!(world.admit(&ready()), Verdict::Start { .. }));
    assert_eq!(world.recipient.last_start_at, Some(now() + LATENESS_UNPACED));
    let free_at = now() + LATENESS_UNPACED + PHONE_SPACING;
    let Verdict::Postpone { until, why: DeferReason::PhoneSpacing, .. } = world.admit(&ready()) else { panic!("too close") };
    assert_eq!(until, free_at);
    let ends = |at| Snapshot { expires_at: at, ..ready() };
    let skip = Verdict::Skip { why: SkipReason::Expired };
    assert_eq!(unlimited().admit(&ends(now() + LATENESS_UNPACED)), skip);
    assert!(matches!(unlimited().admit(&ends(now() + LATENESS_UNPACED + TimeDelta::microseconds(1))), Verdict::Start { .. }));
}

#[test]
fn an_unlimited_channel_and_business_hold_nothing_back() {
    let mut world = World::new();
    world.gate.per_second = None;
    world.budget = Budget { limit: None, used: u32::MAX - 1000, frees_at: None };
    for _ in 0..1000 {
        (world.recipient, world.person) = (Recipient::default(), Person::default());
        assert!(matches!(world.admit(&ready()), Verdict::Start { .. }));
    }
}

#[test]
fn who_takes_no_part_in_a_pilot_is_skipped_and_who_does_is_not() {
    let phone = |number: &str| regua_domain::phone::parse(number).expect("a mobile number");
    let only = |number: &str| World { pilot: Pilot::Only(vec![phone("11 98000-0009"), phone(number)]), ..World::new() };
    assert_eq!(only("11 98000-0002").admit(&ready()), Verdict::Skip { why: SkipReason::Pilot });
    assert_eq!(called_for(&ready(), only("11 98000-0002").terms(), now()), Err(SkipReason::Pilot), "top-up says the same");
    assert!(matches!(only("11 98000-0001").admit(&ready()), Verdict::Start { .. }));
    let opted_out = Snapshot { opted_out: true, ..ready() };
    assert_eq!(only("11 98000-0002").admit(&opted_out), Verdict::Skip { why: SkipReason::OptedOut });
}

/// Another phone is another text: it is rendered again before it goes, and so is what was rendered for the pilot when that ends.
#[test]
fn a_redirected_message_is_another_one() {
    let phone = regua_domain::phone::parse("11 98000-0009").expect("a mobile number");
    let mut world = World { pilot: Pilot::RedirectTo(phone.clone()), ..World::new() };
    assert_eq!(world.admit(&ready()), postpone(now(), DeferReason::FactsChanged));
    let text = called_for(&ready(), world.terms(), now()).expect("it can be sent");
    assert_eq!((text.phone.as_str(), text.phone_key.as_str(), text.redirected), (phone.e164(), phone.key().as_str(), true));
    let redirected = Snapshot { facts_version: text.facts_version(), ..ready() };
    assert!(matches!(world.admit(&redirected), Verdict::Start { text, .. } if text.redirected));
    assert_eq!(World::new().admit(&redirected), postpone(now(), DeferReason::FactsChanged));
}
