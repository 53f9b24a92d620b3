//! What a closed day means for a stage: weekends and holidays where the recipient is.

use super::{BUSINESS, PROVIDER, at_ten, customer, day, invoice, policy, times};
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use proptest::prelude::*;
use regua_domain::consent::Reach;
use regua_domain::decide::{CATCH_UP_DAYS, Day, DuePeriod, decide, due_dates, expires_at};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::policy::{ClosedDay, PolicyPlan};
use regua_domain::stage::Stage;
use regua_domain::window::WeekHours;

/// When a message leaves at the earliest that a run of `today` at ten decides about an invoice due on `due_on`.
fn leaves(plan: &PolicyPlan, due_on: &str, today: &str, state: &str) -> Option<(NaiveDate, DateTime<Utc>)> {
    let invoice = Invoice { due_on: day(due_on), ..invoice() };
    let customer = Customer { state: state.into(), ..customer() };
    let today = day(today);
    let run = Day { today, now: at_ten(today), times: times(&BUSINESS), provider: &PROVIDER, days_between_stages: 0 };
    let decided = decide(plan, &invoice, Some(&customer), &[], None, run, &Reach::EVERYBODY).ok()?;
    let expires_at = expires_at(&decided.window, decided.opens_at, decided.last_day, 3);
    assert!(expires_at > decided.opens_at, "it has time to leave");
    Some((decided.opens_at.with_timezone(&chrono_tz::America::Sao_Paulo).date_naive(), expires_at))
}

fn one(stage: Stage, days: i64, closed_day: ClosedDay) -> PolicyPlan {
    let mut plan = policy(&[(stage, Some(days))]);
    plan.stages[0].closed_day = closed_day;
    plan
}

#[track_caller]
fn check(plan: &PolicyPlan, due_on: &str, today: &str, expected: Option<&str>) {
    let leaves = leaves(plan, due_on, today, "SC").map(|(on, _)| on);
    assert_eq!(leaves, expected.map(day), "due on {due_on}, a run on {today}");
}

/// 2026-03-14 is a Saturday.
#[test]
fn f19_the_next_open_day_is_monday_for_a_saturday() {
    let plan = one(Stage::Overdue, 4, ClosedDay::Next);
    check(&plan, "2026-03-10", "2026-03-13", None);
    for today in ["2026-03-14", "2026-03-15", "2026-03-16"] {
        check(&plan, "2026-03-10", today, Some("2026-03-16"));
    }
    check(&plan, "2026-03-10", "2026-03-19", Some("2026-03-19"));
    check(&plan, "2026-03-10", "2026-03-20", None);
}

#[test]
fn the_previous_open_day_is_friday_and_when_that_was_missed_monday() {
    let plan = one(Stage::Overdue, 4, ClosedDay::Previous);
    check(&plan, "2026-03-10", "2026-03-12", None);
    check(&plan, "2026-03-10", "2026-03-13", Some("2026-03-13"));
    check(&plan, "2026-03-10", "2026-03-16", Some("2026-03-16"));
    check(&plan, "2026-03-09", "2026-03-13", Some("2026-03-13"));
    check(&plan, "2026-03-09", "2026-03-12", None);
}

#[test]
fn a_stage_that_skips_closed_days_is_left_out() {
    let plan = one(Stage::Overdue, 4, ClosedDay::Skip);
    for today in ["2026-03-13", "2026-03-14", "2026-03-16"] {
        check(&plan, "2026-03-10", today, None);
    }
    check(&plan, "2026-03-09", "2026-03-13", Some("2026-03-13"));
    check(&plan, "2026-03-09", "2026-03-16", Some("2026-03-16"));
}

#[test]
fn f19_the_due_days_text_is_said_on_its_day_or_not_at_all() {
    let skip = one(Stage::DueDay, 0, ClosedDay::Skip);
    check(&skip, "2026-03-14", "2026-03-14", None);
    check(&skip, "2026-03-13", "2026-03-13", Some("2026-03-13"));
    check(&skip, "2026-03-13", "2026-03-14", None);
    let previous = one(Stage::DueDay, 0, ClosedDay::Previous);
    check(&previous, "2026-03-14", "2026-03-13", Some("2026-03-13"));
    check(&previous, "2026-03-14", "2026-03-16", None);
    let next = one(Stage::DueDay, 0, ClosedDay::Next);
    check(&next, "2026-03-14", "2026-03-16", Some("2026-03-16"));
    check(&next, "2026-03-14", "2026-03-17", None);
    let (_, ends) = leaves(&skip, "2026-03-13", "2026-03-13", "SC").expect("an open day");
    assert_eq!(ends.to_rfc3339(), "2026-03-13T21:00:00+00:00", "however many windows a message may wait");
}

#[test]
fn after_closing_time_neither_the_due_day_nor_a_reminder_of_it_is_decided() {
    let evening = |plan: &PolicyPlan, days_between_stages| {
        let today = day("2026-03-12");
        let now = "2026-03-12T21:30:00Z".parse().expect("an instant");
        let invoice = Invoice { due_on: today, ..invoice() };
        let run = Day { today, now, times: times(&BUSINESS), provider: &PROVIDER, days_between_stages };
        decide(plan, &invoice, Some(&customer()), &[], None, run, &Reach::EVERYBODY).is_ok()
    };
    assert!(!evening(&one(Stage::DueDay, 0, ClosedDay::Skip), 0));
    assert!(!evening(&one(Stage::PreDue, -1, ClosedDay::Next), 0), "it would come after the due date");
    assert!(evening(&one(Stage::Overdue, 0, ClosedDay::Next), 0), "what isn't bound to a day waits for the morning");
}

/// With hours of its own that are over, *No vencimento* comes too late to be said: it must not silence the reminder that a run would choose.
#[test]
fn a_stage_that_comes_too_late_today_overtakes_nothing() {
    let mut plan = policy(&[(Stage::PreDue, Some(-2)), (Stage::DueDay, Some(0))]);
    plan.stages[1].hours = Some(WeekHours::parse(["1-5 09:00-10:00"]).expect("hours"));
    let due_day = plan.stages[1].dated().expect("it has a day");
    let today = day("2026-03-12");
    let invoice = Invoice { due_on: today, ..invoice() };
    for (hour, chosen) in [("09", Stage::DueDay), ("11", Stage::PreDue)] {
        let now = format!("2026-03-12T{hour}:30:00-03:00").parse().expect("an instant");
        let run = Day { today, now, times: times(&BUSINESS), provider: &PROVIDER, days_between_stages: 0 };
        let decided = decide(&plan, &invoice, Some(&customer()), &[], None, run, &Reach::EVERYBODY).expect("one is due");
        assert_eq!(decided.stage.stage, chosen, "at {hour}");
        let overtakes = due_day.is_due(Some(&customer()), today, today, now, times(&BUSINESS));
        assert_eq!(overtakes, chosen == Stage::DueDay, "at {hour}");
    }
}

/// Carnival of 2027: Monday 8 and Tuesday 9 February; a day off in no law of the country. Tiradentes, 21 April, is one.
#[test]
fn holidays_are_those_of_the_recipients_state() {
    let plan = one(Stage::Overdue, 1, ClosedDay::Next);
    let on = |due_on, today, state| leaves(&plan, due_on, today, state).map(|(on, _)| on);
    assert_eq!(on("2027-04-20", "2027-04-21", "SC"), Some(day("2027-04-22")), "a national holiday");
    assert_eq!(on("2027-07-08", "2027-07-09", "SP"), Some(day("2027-07-12")), "9 July, a Friday, in São Paulo");
    assert_eq!(on("2027-07-08", "2027-07-09", "SC"), Some(day("2027-07-09")));
}

const OVERDUE: [Stage; 2] = [Stage::Overdue, Stage::CreditBureau];

proptest! {
    /// Whatever the days, a period lies around its day, ends within the catch-up after the first open day, and has an open day in it.
    #[test]
    fn a_period_begins_near_its_day_and_has_an_open_day(
        due in 0_i64..2000, days in -30_i64..60, closed_day in prop::sample::select(ClosedDay::ALL.to_vec()),
        stage in prop::sample::select(OVERDUE.to_vec()), open in prop::collection::vec(any::<bool>(), 7),
    ) {
        let due_on = day("2026-01-01") + chrono::TimeDelta::days(due);
        let is_open = |day: NaiveDate| open[day.weekday().num_days_from_monday() as usize];
        let Some(period) = DuePeriod::of(stage, days, closed_day, due_on, is_open) else {
            let own = due_on + chrono::TimeDelta::days(days);
            prop_assert!(closed_day == ClosedDay::Skip && !is_open(own) || open.iter().all(|open| !open));
            return Ok(());
        };
        prop_assert!(period.from <= period.day && period.day <= period.until);
        prop_assert!(period.from == period.day || closed_day == ClosedDay::Previous && is_open(period.from) && !is_open(period.day));
        let first_open = period.day.iter_days().find(|day| is_open(*day)).expect("a day of the week is open");
        prop_assert_eq!((period.until - first_open).num_days(), i64::try_from(CATCH_UP_DAYS).expect("small"));
        prop_assert!(period.from.iter_days().take_while(|day| *day <= period.until).any(is_open));
    }

    /// What is due for an invoice is always among the invoices that a run pages through.
    #[test]
    fn closed_days_widen_the_span_that_is_paged_through(
        due in 0_u64..700, offset in -20_i64..40, days in -10_i64..20, closed_day in prop::sample::select(ClosedDay::ALL.to_vec()),
    ) {
        let due_on = day("2026-01-01") + chrono::Days::new(due);
        let plan = one(Stage::Overdue, days, closed_day);
        let today = due_on + chrono::TimeDelta::days(offset);
        let (first, last) = due_dates(std::slice::from_ref(&plan), today).expect("it has a stage");
        if leaves(&plan, &due_on.to_string(), &today.to_string(), "SC").is_some() {
            prop_assert!(first <= due_on && due_on <= last);
        }
    }
}
