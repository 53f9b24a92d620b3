//! The window: weekdays and hours, half-open, on a wall clock that may jump.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday, WeekdaySet};
use chrono_tz::{America, Australia, Europe, Tz};
use proptest::prelude::*;
use regua_domain::window::{WINDOW_HORIZON, Window, WindowError, WindowState};

const EVERY_DAY: WeekdaySet = WeekdaySet::ALL;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("an instant").to_utc()
}

fn time(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").expect("a time")
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn no_holiday(_: NaiveDate) -> bool {
    false
}

fn daily(from: &str, to: &str, zone: Tz) -> Window {
    Window::new(EVERY_DAY, time(from), time(to), zone).expect("a window")
}

#[track_caller]
fn check(window: &Window, instant: &str, expected: WindowState) {
    assert_eq!(window.state_at(at(instant), &no_holiday), expected, "at {instant}");
}

fn open(until: &str) -> WindowState {
    WindowState::Open { until: at(until) }
}

fn closed(until: &str) -> WindowState {
    WindowState::Closed { until: at(until) }
}

#[test]
fn business_hours_are_monday_to_friday_9_to_18_half_open() {
    let window = Window::business_hours(America::Sao_Paulo);
    check(&window, "2026-03-03T08:59:59.999-03:00", closed("2026-03-03T09:00:00-03:00"));
    check(&window, "2026-03-03T09:00:00-03:00", open("2026-03-03T18:00:00-03:00"));
    check(&window, "2026-03-03T17:59:59.999-03:00", open("2026-03-03T18:00:00-03:00"));
    check(&window, "2026-03-03T18:00:00-03:00", closed("2026-03-04T09:00:00-03:00"));
    check(&window, "2026-03-06T18:00:00-03:00", closed("2026-03-09T09:00:00-03:00"));
    check(&window, "2026-03-07T12:00:00-03:00", closed("2026-03-09T09:00:00-03:00"));
    // 21:30 of Friday in São Paulo is already Saturday in UTC.
    check(&window, "2026-03-07T00:30:00Z", closed("2026-03-09T09:00:00-03:00"));
}

#[test]
fn a_holiday_is_closed() {
    let carnival = |date: NaiveDate| date == day("2026-02-16") || date == day("2026-02-17");
    let window = Window::business_hours(America::Sao_Paulo);
    let expected = closed("2026-02-18T09:00:00-03:00");
    assert_eq!(window.state_at(at("2026-02-16T10:00:00-03:00"), &carnival), expected);
    assert_eq!(window.state_at(at("2026-02-13T18:00:00-03:00"), &carnival), expected);
    assert_eq!(window.first_open_end_on_or_after(day("2026-02-14"), &carnival), at("2026-02-18T18:00:00-03:00"));
}

#[test]
fn the_first_end_on_or_after_a_day_is_the_days_own_if_it_opens() {
    #[track_caller]
    fn check(date: &str, end: &str) {
        let window = Window::business_hours(America::Sao_Paulo);
        assert_eq!(window.first_open_end_on_or_after(day(date), &no_holiday), at(end), "{date}");
    }
    check("2026-03-03", "2026-03-03T18:00:00-03:00");
    check("2026-03-06", "2026-03-06T18:00:00-03:00");
    check("2026-03-07", "2026-03-09T18:00:00-03:00");
    check("2026-03-08", "2026-03-09T18:00:00-03:00");
}

#[test]
fn next_open_is_now_while_it_is_open() {
    let window = Window::business_hours(America::Sao_Paulo);
    let (open, closed) = (at("2026-03-03T10:00:00.5-03:00"), at("2026-03-03T18:00:00-03:00"));
    assert_eq!(window.next_open(open, &no_holiday), open);
    assert_eq!(window.next_open(closed, &no_holiday), at("2026-03-04T09:00:00-03:00"));
}

#[test]
fn midnight_as_the_end_is_the_days_end() {
    let window = daily("00:00", "00:00", America::Sao_Paulo);
    check(&window, "2026-03-03T23:59:59-03:00", open("2026-03-04T00:00:00-03:00"));
    check(&window, "2026-03-04T00:00:00-03:00", open("2026-03-05T00:00:00-03:00"));
    // Midnight of 4 November 2018 did not exist: the day began at 01:00.
    check(&window, "2018-11-03T23:59:59-03:00", open("2018-11-04T01:00:00-02:00"));
    check(&window, "2018-11-04T01:00:00-02:00", open("2018-11-05T00:00:00-02:00"));
}

#[test]
fn a_limit_in_a_gap_falls_on_its_end() {
    let window = daily("02:30", "05:00", America::New_York);
    check(&window, "2026-03-08T01:59:59-05:00", closed("2026-03-08T03:00:00-04:00"));
    check(&window, "2026-03-08T03:00:00-04:00", open("2026-03-08T05:00:00-04:00"));
    let window = daily("01:00", "02:30", America::New_York);
    check(&window, "2026-03-08T01:30:00-05:00", open("2026-03-08T03:00:00-04:00"));
}

#[test]
fn a_limit_in_a_repeated_hour_makes_the_window_the_shorter_one() {
    let window = daily("00:00", "01:30", America::New_York);
    check(&window, "2026-11-01T01:29:00-04:00", open("2026-11-01T01:30:00-04:00"));
    check(&window, "2026-11-01T01:10:00-05:00", closed("2026-11-02T00:00:00-05:00"));
    let window = daily("01:30", "05:00", America::New_York);
    check(&window, "2026-11-01T01:40:00-04:00", closed("2026-11-01T01:30:00-05:00"));
    check(&window, "2026-11-01T01:30:00-05:00", open("2026-11-01T05:00:00-05:00"));
}

#[test]
fn a_day_whose_window_the_repeated_hour_closes_altogether_is_passed_over() {
    let window = daily("01:10", "01:50", America::New_York);
    check(&window, "2026-11-01T01:30:00-04:00", closed("2026-11-02T01:10:00-05:00"));
    assert_eq!(window.first_open_end_on_or_after(day("2026-11-01"), &no_holiday), at("2026-11-02T01:50:00-05:00"));
}

#[test]
fn a_window_that_never_opens_is_refused() {
    let new = |days, from, to| Window::new(days, time(from), time(to), Tz::UTC);
    assert_eq!(new(WeekdaySet::EMPTY, "09:00", "18:00"), Err(WindowError::NoDays));
    let reversed = WindowError::ClosesBeforeItOpens { from: time("18:00"), to: time("09:00") };
    assert_eq!(new(EVERY_DAY, "18:00", "09:00"), Err(reversed));
    assert!(new(EVERY_DAY, "09:00", "09:00").is_err());
    assert_eq!(new(Window::BUSINESS_DAYS, "09:00", "18:00"), Ok(Window::business_hours(Tz::UTC)));
}

#[test]
fn without_any_open_day_the_search_ends_at_its_horizon() {
    let window = Window::business_hours(Tz::UTC);
    let always = |_: NaiveDate| true;
    let now = at("2026-03-03T10:00:00Z");
    assert_eq!(window.state_at(now, &always), WindowState::Closed { until: now + WINDOW_HORIZON });
    let end = window.first_open_end_on_or_after(day("2026-03-03"), &always);
    assert_eq!(end.date_naive(), day("2026-03-03") + WINDOW_HORIZON);
}

#[test]
fn absurd_instants_do_not_panic() {
    for zone in [America::Sao_Paulo, Australia::Lord_Howe] {
        let window = Window::business_hours(zone);
        for instant in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert!(window.next_open(instant, &no_holiday) >= instant);
        }
        assert!(window.first_open_end_on_or_after(NaiveDate::MAX, &no_holiday) <= DateTime::<Utc>::MAX_UTC);
    }
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![America::Sao_Paulo, America::New_York, Europe::Lisbon, Australia::Lord_Howe])
}

/// The window and the three things it was made of.
fn windows() -> impl Strategy<Value = (Window, WeekdaySet, NaiveTime, NaiveTime)> {
    let days = prop::sample::subsequence(WeekdaySet::ALL.iter(Weekday::Mon).collect::<Vec<_>>(), 1..=7);
    (days, 0..1440_u32, 0..1440_u32, zones()).prop_filter_map("it closes after it opens", |(days, from, to, zone)| {
        let time = |minute: u32| NaiveTime::from_num_seconds_from_midnight_opt(minute * 60, 0);
        let (days, from, to) = (days.into_iter().collect(), time(from)?, time(to)?);
        Some((Window::new(days, from, to, zone).ok()?, days, from, to))
    })
}

/// Instants of 2015 to 2025, half of them within a day of a change of the clocks in one of the zones.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    let changes = ["2018-11-04T03:00:00Z", "2018-02-18T02:00:00Z", "2021-03-14T07:00:00Z", "2021-11-07T06:00:00Z"];
    let more = ["2021-03-28T01:00:00Z", "2021-10-31T01:00:00Z", "2021-04-03T15:00:00Z", "2021-10-02T15:30:00Z"];
    let near = prop::sample::select([changes, more].concat());
    prop_oneof![
        (1_420_070_400..1_735_689_600_i64).prop_map(|second| DateTime::from_timestamp(second, 0).expect("a second of a year")),
        (near, -86_400..86_400_i64).prop_map(|(change, seconds)| at(change) + TimeDelta::seconds(seconds)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_is_never_open_while_the_wall_clock_is_outside((window, days, from, to) in windows(), instant in instants()) {
        let local = instant.with_timezone(&window.zone()).naive_local();
        let inside = days.contains(local.weekday()) && from <= local.time() && (local.time() < to || to == NaiveTime::MIN);
        let steady = |hours| {
            let then = instant + TimeDelta::hours(hours);
            then.with_timezone(&window.zone()).naive_local() - local == TimeDelta::hours(hours)
        };
        match window.state_at(instant, &no_holiday) {
            WindowState::Open { until } => {
                prop_assert!(inside);
                prop_assert!(until > instant);
            }
            WindowState::Closed { until } => {
                prop_assert!(!inside || !steady(-25) || !steady(25));
                prop_assert!(until > instant);
            }
        }
    }

    #[test]
    fn what_was_told_until_when_holds_until_then((window, ..) in windows(), instant in instants(), part in 0.0..1.0_f64) {
        let between = |until: DateTime<Utc>| {
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "any second between will do")]
            let seconds = ((until - instant).num_seconds() as f64 * part) as i64;
            instant + TimeDelta::seconds(seconds)
        };
        let state = window.state_at(instant, &no_holiday);
        match state {
            WindowState::Open { until } => prop_assert_eq!(window.state_at(between(until), &no_holiday), state),
            WindowState::Closed { until } => {
                prop_assert_eq!(window.state_at(between(until), &no_holiday), state);
                let opened = matches!(window.state_at(until, &no_holiday), WindowState::Open { .. });
                prop_assert!(opened);
            }
        }
    }

    #[test]
    fn a_message_of_a_day_can_leave_before_the_first_end_on_or_after_it((window, ..) in windows(), instant in instants()) {
        let date = instant.with_timezone(&window.zone()).date_naive();
        let end = window.first_open_end_on_or_after(date, &no_holiday);
        let day_begins = (date - Days::new(1)).and_time(NaiveTime::MIN).and_utc() - TimeDelta::hours(14);
        prop_assert!(end > day_begins);
        let last_moment = end - TimeDelta::nanoseconds(1);
        prop_assert_eq!(window.state_at(last_moment, &no_holiday), WindowState::Open { until: end });
        prop_assert!(last_moment.with_timezone(&window.zone()).date_naive() >= date);
    }
}
