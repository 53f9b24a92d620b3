//! Which stage an invoice is due for, what brings a message back, and when one ends.

mod closed_days;
mod events;
mod policies;
mod switches;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc, Weekday};
use chrono_tz::America::Sao_Paulo;
use proptest::prelude::*;
use regua_domain::calendar::Calendar;
use regua_domain::configuration::{StatesRule, WindowSettings};
use regua_domain::consent::Reach;
use regua_domain::decide::{CATCH_UP_DAYS, Day, Decided, Known, day_of, due_dates, expires_at, still_called_for};
use regua_domain::filling::Filling;
use regua_domain::ids::{ChannelId, CustomerId, InvoiceId, MessageId, NoticeId, PolicyId};
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::policy::{ClosedDay, PolicyFilters, PolicyPlan, StagePlan};
use regua_domain::provider::Provider;
use regua_domain::render::NoticePlan;
use regua_domain::sending_times::SendingTimes;
use regua_domain::stage::{Stage, StageKind};
use regua_domain::window::WeekHours;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use uuid::Uuid;

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn due_on() -> NaiveDate {
    day("2026-03-10")
}

/// `due_on` and so many days.
fn plus(days: i64) -> NaiveDate {
    day_of(due_on(), days).expect("a date")
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
        ..Invoice::open(InvoiceId("1".into()), CustomerId("1".into()), Centavos(10_000), due_on())
    }
}

fn policy(stages: &[(Stage, Option<i64>)]) -> PolicyPlan {
    let notice = NoticePlan {
        id: NoticeId(Uuid::nil()),
        channel_id: ChannelId(Uuid::nil()),
        provider_channel_id: "64f1c0de0a1b2c3d4e5f6001".into(),
        template_id: "64f1c0de0a1b2c3d4e5f7001".into(),
        filling: Filling::of("", None, None).expect("no variables"),
    };
    let plan = |(stage, days): &(Stage, Option<i64>)| StagePlan {
        stage: *stage,
        days: *days,
        active_from: NaiveDate::MIN,
        only_after_notice: false,
        closed_day: ClosedDay::Next,
        hours: None,
        notice: notice.clone(),
    };
    let stages = stages.iter().map(plan).collect();
    PolicyPlan { id: PolicyId(Uuid::nil()), name: "Todos".into(), filters: PolicyFilters::default(), stages }
}

static CALENDAR: Calendar = Calendar { municipal: Vec::new() };
/// At every hour of each day that is no holiday.
static ALWAYS: LazyLock<WindowSettings> = LazyLock::new(|| WindowSettings {
    hours: WeekHours::parse(["1-7 00:00-24:00"]).expect("hours"),
    zone: Sao_Paulo,
    states: StatesRule::Common,
    own: Vec::new(),
});
static PROVIDER: LazyLock<Provider> = LazyLock::new(Provider::default);
static BUSINESS: LazyLock<WindowSettings> = LazyLock::new(|| WindowSettings::business_hours(Sao_Paulo));

fn times(settings: &'static WindowSettings) -> SendingTimes<'static> {
    SendingTimes { settings, calendar: &CALENDAR }
}

/// A run at ten in the morning of a day.
fn at_ten(today: NaiveDate) -> DateTime<Utc> {
    let ten = today.and_time(NaiveTime::from_hms_opt(10, 0, 0).expect("an hour"));
    ten.and_local_timezone(Sao_Paulo).single().expect("no change of the clocks").to_utc()
}

/// A run of `today`, at ten, while everything is always open.
fn run_of(today: NaiveDate, days_between_stages: u16) -> Day<'static> {
    Day { today, now: at_ten(today), times: times(&ALWAYS), provider: &PROVIDER, days_between_stages }
}

/// Decides with nothing asked for between two stages.
fn decide<'a>(
    policy: &'a PolicyPlan,
    invoice: &Invoice,
    customer: Option<&Customer>,
    known: &[Known],
    today: NaiveDate,
) -> Option<Decided<'a>> {
    regua_domain::decide::decide(policy, invoice, customer, known, None, run_of(today, 0), &Reach::EVERYBODY).ok()
}

/// The stage is decided all the same: who opted out gets no earlier stage in its place.
#[test]
fn who_opted_out_of_the_channel_is_skipped_and_not_revived() {
    let (plan, channel) = (usual(), ChannelId(Uuid::nil()));
    let decided = |opted_out: &BTreeSet<ChannelId>, known: &[Known]| {
        regua_domain::decide::decide(
            &plan,
            &invoice(),
            Some(&customer()),
            known,
            None,
            run_of(plus(5), 0),
            &Reach { opted_out, ..Reach::EVERYBODY },
        )
        .map(|decided| (decided.stage.stage, decided.text.err(), decided.revives.is_some()))
        .ok()
    };
    let before = [known(Stage::Overdue, State::Skipped)];
    let other = BTreeSet::from([ChannelId(Uuid::from_u128(1))]);
    assert_eq!(decided(&BTreeSet::from([channel]), &[]), Some((Stage::Overdue, Some(SkipReason::OptedOut), false)));
    assert_eq!(decided(&BTreeSet::from([channel]), &before), None);
    assert_eq!(decided(&other, &[]), Some((Stage::Overdue, None, false)), "another business's channel");
    assert_eq!(decided(&BTreeSet::new(), &before), Some((Stage::Overdue, None, true)));
}

/// Reminder, due day, two stages of which the second comes within the catch-up of the first, a late one, and an event.
fn usual() -> PolicyPlan {
    policy(&[
        (Stage::PreDue, Some(-5)),
        (Stage::DueDay, Some(0)),
        (Stage::Overdue, Some(5)),
        (Stage::PendingQuery, Some(7)),
        (Stage::CreditBureau, Some(45)),
        (Stage::Settled, None),
    ])
}

fn known(stage: Stage, is: State) -> Known {
    let skip_reason = (is == State::Skipped).then_some(SkipReason::NoValidPhone);
    Known {
        id: MessageId(Uuid::from_u128(7)),
        stage,
        due_on: Some(due_on()),
        state: is,
        skip_reason,
        fail_reason: None,
        begun_on: None,
    }
}

/// The stage that is decided so many days after the due date, and its own day.
fn stage_on(days: i64, known: &[Known]) -> Option<(Stage, NaiveDate)> {
    let plan = usual();
    decide(&plan, &invoice(), Some(&customer()), known, plus(days)).map(|decided| (decided.stage.stage, decided.stage_day))
}

#[track_caller]
fn check(days: i64, expected: Option<(Stage, i64)>) {
    assert_eq!(stage_on(days, &[]), expected.map(|(stage, days)| (stage, plus(days))), "{days} days after the due date");
}

#[test]
fn each_stage_is_due_from_its_day_until_it_is_caught_up() {
    check(-6, None);
    for days in -5..=-2 {
        check(days, Some((Stage::PreDue, -5)));
    }
    check(-1, None);
    check(0, Some((Stage::DueDay, 0)));
    for days in 1..=4 {
        check(days, None);
    }
    for days in 5..=6 {
        check(days, Some((Stage::Overdue, 5)));
    }
    for days in 7..=10 {
        check(days, Some((Stage::PendingQuery, 7)));
    }
    check(11, None);
    for days in 45..=48 {
        check(days, Some((Stage::CreditBureau, 45)));
    }
    check(49, None);
}

#[test]
fn a_reminder_never_comes_after_the_due_date() {
    let plan = policy(&[(Stage::PreDue, Some(-1))]);
    let stage = |days| decide(&plan, &invoice(), Some(&customer()), &[], plus(days)).is_some();
    assert_eq!([-2, -1, 0, 1, 2].map(stage), [false, true, true, false, false]);
}

#[test]
fn what_was_missed_may_be_sent_from_today_on() {
    let plan = usual();
    let decided = |days| {
        let invoice = invoice();
        let Decided { stage_day, opens_at, .. } = decide(&plan, &invoice, Some(&customer()), &[], plus(days)).expect("it is due");
        (stage_day, opens_at)
    };
    assert_eq!(decided(7), (plus(7), at_ten(plus(7))));
    assert_eq!(decided(9), (plus(7), at_ten(plus(9))));
}

#[test]
fn only_an_open_invoice_is_due_for_anything() {
    let closed: [fn(&mut Invoice); 6] = [
        |i| i.status = InvoiceStatus::Received,
        |i| i.status = InvoiceStatus::Cancelled,
        |i| i.released = false,
        |i| i.open_amount = Centavos(0),
        |i| i.awaiting_confirmation = true,
        |i| i.reversed = true,
    ];
    for close in closed {
        let mut invoice = invoice();
        close(&mut invoice);
        assert!(decide(&usual(), &invoice, Some(&customer()), &[], due_on()).is_none(), "{invoice:?}");
    }
    let partly = Invoice { status: InvoiceStatus::Partial, open_amount: Centavos(1), ..invoice() };
    assert!(decide(&usual(), &partly, Some(&customer()), &[], due_on()).is_some());
}

#[test]
fn a_message_that_lives_or_may_have_arrived_bars_its_stage_and_every_earlier_one() {
    for &state in State::ALL {
        let bars = state.is_live() || state.may_have_arrived();
        assert_eq!(stage_on(7, &[known(Stage::CreditBureau, state)]).is_none(), bars, "a later stage, {state}");
        let same = stage_on(7, &[known(Stage::PendingQuery, state)]).is_none();
        assert_eq!(same, state != State::Skipped, "the same stage, {state}: a failed one stays so");
        assert!(stage_on(7, &[known(Stage::Overdue, state)]).is_some(), "an earlier stage, {state}");
    }
}

#[test]
fn a_message_of_another_due_date_or_of_an_event_bars_nothing() {
    let other = Known { due_on: Some(plus(-30)), ..known(Stage::CreditBureau, State::Sent) };
    let event = Known { due_on: None, ..known(Stage::Settled, State::Sent) };
    assert!(stage_on(7, &[other, event]).is_some());
}

#[test]
fn a_skip_comes_back_when_it_could_be_sent_now() {
    let plan = usual();
    let invoice = invoice();
    let skipped = [known(Stage::DueDay, State::Skipped)];
    let back = decide(&plan, &invoice, Some(&customer()), &skipped, due_on()).expect("it comes back");
    assert_eq!((back.revives, back.text.is_ok()), (Some(skipped[0].id), true));
    let without_phone = Customer { mobile_phone: String::new(), ..customer() };
    assert!(decide(&plan, &invoice, Some(&without_phone), &skipped, due_on()).is_none(), "still without a phone");
    let unknown = [Known { skip_reason: None, ..skipped[0].clone() }];
    assert!(decide(&plan, &invoice, Some(&customer()), &unknown, due_on()).is_none(), "for a reason that nobody knows");
    for &reason in SkipReason::ALL {
        let known = [Known { skip_reason: Some(reason), ..skipped[0].clone() }];
        assert_eq!(decide(&plan, &invoice, Some(&customer()), &known, due_on()).is_some(), reason.is_revivable(), "{reason}");
    }
}

#[test]
fn what_cannot_be_sent_is_decided_with_its_reason() {
    let reason = |customer: Option<Customer>| {
        let plan = usual();
        decide(&plan, &invoice(), customer.as_ref(), &[], plus(-5)).expect("it is due").text.err()
    };
    assert_eq!(reason(None), Some(SkipReason::NoCustomer));
    assert_eq!(reason(Some(Customer { mobile_phone: String::new(), ..customer() })), Some(SkipReason::NoValidPhone));
    assert_eq!(reason(Some(Customer { takes_part_in_collection: false, ..customer() })), Some(SkipReason::NotInCollection));
    assert_eq!(reason(Some(Customer { takes_part_in_pre_due: false, ..customer() })), Some(SkipReason::NotInPreDue));
    assert_eq!(reason(Some(customer())), None);
}

#[test]
fn a_message_is_called_for_while_its_invoice_is_open_and_due_on_its_day() {
    type Row = (fn(&mut Invoice), Result<(), SkipReason>);
    let table: [Row; 12] = [
        (|_| {}, Ok(())),
        (|i| i.status = InvoiceStatus::Partial, Ok(())),
        (|i| i.status = InvoiceStatus::Received, Err(SkipReason::Paid)),
        (|i| i.status = InvoiceStatus::Cancelled, Err(SkipReason::Cancelled)),
        (|i| i.renegotiation_id = "9".into(), Ok(())),
        (
            |i| {
                i.renegotiation_id = "9".into();
                i.status = InvoiceStatus::Cancelled;
            },
            Err(SkipReason::Renegotiated),
        ),
        (
            |i| {
                i.renegotiation_id = "9".into();
                i.status = InvoiceStatus::Received;
            },
            Err(SkipReason::Paid),
        ),
        (|i| i.released = false, Err(SkipReason::Unreleased)),
        (|i| i.open_amount = Centavos(0), Err(SkipReason::NotChargeable)),
        (|i| i.awaiting_confirmation = true, Err(SkipReason::AwaitingConfirmation)),
        (|i| i.reversed = true, Err(SkipReason::Reversed)),
        (|i| i.due_on = plus(1), Err(SkipReason::DueDateMoved)),
    ];
    for (change, expected) in table {
        let mut invoice = invoice();
        change(&mut invoice);
        assert_eq!(still_called_for(&invoice, due_on()), expected, "{invoice:?}");
    }
}

/// When a message ends that may leave from ten o'clock on.
fn ends(day: &str, open_windows: u16) -> DateTime<Utc> {
    expires_at(&times(&BUSINESS).of(None, None), at_ten(day.parse().expect("a date")), None, open_windows)
}

/// F19: a message of a Sunday is sent on Monday, not expired by then.
#[test]
fn f19_a_message_ends_with_the_windows_on_or_after_its_day() {
    let at = |text: &str| DateTime::parse_from_rfc3339(text).expect("an instant").to_utc();
    assert_eq!(ends("2026-03-11", 1), at("2026-03-11T21:00:00Z"), "a Wednesday");
    assert_eq!(ends("2026-03-15", 1), at("2026-03-16T21:00:00Z"), "a Sunday");
    assert_eq!(ends("2026-03-13", 2), at("2026-03-16T21:00:00Z"), "a Friday, two windows");
    assert_eq!(ends("2026-03-13", 6), at("2026-03-20T21:00:00Z"));
}

#[test]
fn no_stage_no_due_dates() {
    assert_eq!(due_dates(&[], due_on()), None);
    assert_eq!(due_dates(&[policy(&[(Stage::Settled, None)])], due_on()), None);
    let span = due_dates(&[policy(&[(Stage::DueDay, Some(0))]), policy(&[(Stage::PreDue, Some(-3))])], due_on());
    let (first, last) = span.expect("there are stages");
    assert!(first <= plus(-3) && last == plus(3), "{first} to {last}");
}

/// A policy whose offsets grow from stage to stage, as the configuration asks for.
fn any_policy() -> impl Strategy<Value = PolicyPlan> {
    let dated: Vec<_> = Stage::ALL.into_iter().filter(|stage| stage.kind() == StageKind::Dated).collect();
    (prop::sample::subsequence(dated, 1..=7), prop::collection::vec(1_i64..12, 7)).prop_map(|(stages, gaps)| {
        let mut days = -6;
        let mut stages: Vec<_> = stages.into_iter().zip(gaps).collect();
        let plan: Vec<_> = stages
            .drain(..)
            .map(|(stage, gap)| {
                days += gap;
                let offset = match stage {
                    Stage::PreDue => days.min(-1),
                    Stage::DueDay => 0,
                    _ => days.max(1),
                };
                days = offset;
                (stage, Some(offset))
            })
            .collect();
        policy(&plan)
    })
}

proptest! {
    #[test]
    fn what_is_due_lies_within_the_span_that_is_paged_through(plan in any_policy(), offset in -60_i64..60) {
        let today = plus(offset);
        let span = due_dates(std::slice::from_ref(&plan), today).expect("it has stages");
        if let Some(decided) = decide(&plan, &invoice(), Some(&customer()), &[], today) {
            prop_assert!(span.0 <= due_on() && due_on() <= span.1);
            prop_assert!(decided.stage_day <= today && today <= next_open(decided.stage_day) + Days::new(CATCH_UP_DAYS));
            prop_assert!(decided.opens_at >= at_ten(today));
        }
    }

    /// With a run each day, each stage is decided exactly once, on its own day, in the order of advance.
    #[test]
    fn daily_runs_decide_each_stage_once_on_its_day(plan in any_policy()) {
        let decided = run(&plan, |_| true);
        let days: Vec<_> = plan.stages.iter().map(|stage| (stage.stage, plus(stage.days.expect("dated")))).collect();
        prop_assert_eq!(decided, days);
    }

    /// However many days are missed, never the same stage twice and never backwards; a stage is lost only to a more advanced
    /// one or to more days without a run than are caught up.
    #[test]
    fn missed_days_repeat_nothing_and_lose_nothing_within_the_catch_up(plan in any_policy(), missed in prop::collection::vec(any::<bool>(), 200)) {
        let runs = |days: i64| !missed[usize::try_from(days + 60).expect("not before")];
        let decided = run(&plan, runs);
        prop_assert!(decided.windows(2).all(|pair| pair[0].0 < pair[1].0), "{decided:?}");
        for stage in &plan.stages {
            let from = stage.days.expect("dated");
            let open = (next_open(plus(from)) - due_on()).num_days();
            let until = open + i64::try_from(CATCH_UP_DAYS).expect("small");
            let until = match stage.stage {
                Stage::PreDue => until.min(0),
                Stage::DueDay => open,
                _ => until,
            };
            let next = plan.stages.iter().filter(|other| other.stage > stage.stage).filter_map(|other| other.days).min().unwrap_or(i64::MAX);
            let had_a_run = (from..=until.min(next - 1)).any(runs);
            let sent = decided.iter().any(|(decided, _)| *decided == stage.stage);
            prop_assert_eq!(sent, had_a_run, "{} in {:?}", stage.stage, decided);
        }
    }

    #[test]
    fn f19_a_message_ends_after_a_window_that_opens_on_or_after_its_day(offset in 0_u64..400, open_windows in 1_u16..30) {
        let day = day("2026-01-01") + Days::new(offset);
        let end = expires_at(&times(&BUSINESS).of(None, None), at_ten(day), None, open_windows);
        let closes = end.with_timezone(&Sao_Paulo);
        prop_assert_eq!(closes.time(), chrono::NaiveTime::from_hms_opt(18, 0, 0).expect("an hour"));
        let windows = day.iter_days().take_while(|day| *day <= closes.date_naive());
        let is_open = |day: &NaiveDate| !matches!(chrono::Datelike::weekday(day), Weekday::Sat | Weekday::Sun) && !is_holiday(*day);
        let open = windows.filter(is_open).count();
        prop_assert_eq!(open, usize::from(open_windows));
    }
}

fn is_holiday(day: NaiveDate) -> bool {
    CALENDAR.holidays_of(None, "", chrono::Datelike::year(&day)).iter().any(|holiday| holiday.on == day)
}

/// The first day from `day` on that is no holiday.
fn next_open(day: NaiveDate) -> NaiveDate {
    day.iter_days().find(|day| !is_holiday(*day)).expect("no year is all holidays")
}

/// Runs of a policy from 60 days before to 130 after the due date, each message sent at once; what was decided and when.
fn run(plan: &PolicyPlan, runs: impl Fn(i64) -> bool) -> Vec<(Stage, NaiveDate)> {
    let mut messages: BTreeMap<Stage, Known> = BTreeMap::new();
    let mut decided = Vec::new();
    for days in (-60..130).filter(|days| runs(*days)) {
        let known: Vec<_> = messages.values().cloned().collect();
        let invoice = invoice();
        if let Some(message) = decide(plan, &invoice, Some(&customer()), &known, plus(days)) {
            let stage = message.stage.stage;
            messages.insert(stage, Known { id: MessageId(Uuid::from_u128(1)), ..self::known(stage, State::Sent) });
            decided.push((stage, plus(days)));
        }
    }
    decided
}
