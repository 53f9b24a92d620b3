//! Schedules, by example and against an oracle that walks through every minute; `plan` has the task plan, `fires` what is missed.

mod debian;
mod fires;
mod plan;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::{America, Australia, Europe, Pacific, Tz};
use proptest::prelude::*;
use regua_domain::schedule::{Field, Schedule, ScheduleError};

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("an instant").to_utc()
}

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// The fires after an instant, as the wall clock shows them with their offset.
#[track_caller]
fn check(text: &str, zone: Tz, after: &str, expected: &[&str]) {
    let schedule = schedule(text);
    let far = DateTime::<Utc>::MAX_UTC;
    let fires: Vec<String> = schedule
        .fires_between(zone, at(after), far)
        .take(expected.len())
        .map(|fire| fire.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%:z").to_string())
        .collect();
    assert_eq!(fires, expected, "{text:?} in {zone} after {after}");
}

#[track_caller]
fn check_refused(text: &str, error: &ScheduleError) {
    assert_eq!(text.parse::<Schedule>().as_ref(), Err(error), "{text:?}");
}

#[test]
fn weekdays_are_unix_weekdays() {
    // 1 March 2026 is a Sunday.
    let after = "2026-02-28T23:59:59Z";
    for (day_of_week, expected) in [
        ("0", ["2026-03-01", "2026-03-08"]),
        ("7", ["2026-03-01", "2026-03-08"]),
        ("sun", ["2026-03-01", "2026-03-08"]),
        ("1", ["2026-03-02", "2026-03-09"]),
        ("MON", ["2026-03-02", "2026-03-09"]),
        ("6", ["2026-03-07", "2026-03-14"]),
        ("5-7", ["2026-03-01", "2026-03-06"]),
        ("sat-sun", ["2026-03-01", "2026-03-07"]),
        ("0-7", ["2026-03-01", "2026-03-02"]),
        ("1-5", ["2026-03-02", "2026-03-03"]),
        ("*/3", ["2026-03-01", "2026-03-04"]),
        ("Todos", ["2026-03-01", "2026-03-02"]),
    ] {
        let expected = expected.map(|date| format!("{date}T08:30:00+00:00"));
        check(&format!("30 8 * * {day_of_week}"), Tz::UTC, after, &expected.each_ref().map(String::as_str));
    }
}

#[test]
fn monday_to_friday_skips_the_weekend() {
    check(
        "30 8 * * 1-5",
        America::Sao_Paulo,
        "2026-03-05T12:00:00Z",
        &["2026-03-06T08:30:00-03:00", "2026-03-09T08:30:00-03:00"],
    );
}

#[test]
fn a_fire_is_later_than_the_instant_asked_for() {
    check("30 8 * * *", Tz::UTC, "2026-03-05T08:30:00Z", &["2026-03-06T08:30:00+00:00"]);
    check("30 8 * * *", Tz::UTC, "2026-03-05T08:29:59.999Z", &["2026-03-05T08:30:00+00:00"]);
    check("30 8 * * *", Tz::UTC, "2026-03-05T08:30:00.001Z", &["2026-03-06T08:30:00+00:00"]);
}

#[test]
fn fires_between_leaves_out_its_beginning_and_holds_its_end() {
    let fires = |text: &str, after, until| schedule(text).fires_between(Tz::UTC, at(after), at(until)).count();
    assert_eq!(fires("0 * * * *", "2026-03-05T08:00:00Z", "2026-03-05T10:00:00Z"), 2);
    assert_eq!(fires("0 * * * *", "2026-03-05T08:00:00Z", "2026-03-05T08:59:59Z"), 0);
}

#[test]
fn two_restricted_day_fields_mean_either_as_in_debians_cron() {
    // Fridays and every 13th.
    check(
        "0 9 13 * 5",
        Tz::UTC,
        "2026-07-09T00:00:00Z",
        &["2026-07-10T09:00:00+00:00", "2026-07-13T09:00:00+00:00", "2026-07-17T09:00:00+00:00"],
    );
    // A field that begins with `*` counts as unrestricted, and still has to match: Mondays with an odd date.
    check("0 9 */2 * 1", Tz::UTC, "2026-03-01T12:00:00Z", &["2026-03-09T09:00:00+00:00", "2026-03-23T09:00:00+00:00"]);
    // Without the star in front, either is enough.
    check("0 9 1-31/2 * 1", Tz::UTC, "2026-03-01T12:00:00Z", &["2026-03-02T09:00:00+00:00", "2026-03-03T09:00:00+00:00"]);
    // A Friday that is also the 13th fires once.
    check("0 9 13 * 5", Tz::UTC, "2026-03-12T12:00:00Z", &["2026-03-13T09:00:00+00:00", "2026-03-20T09:00:00+00:00"]);
}

#[test]
fn lists_ranges_steps_and_names_are_read() {
    check(
        "0,30 8-10/2 1 jan,JUL Todos",
        Tz::UTC,
        "2026-01-01T08:00:00Z",
        &["2026-01-01T08:30:00+00:00", "2026-01-01T10:00:00+00:00", "2026-01-01T10:30:00+00:00", "2026-07-01T08:00:00+00:00"],
    );
    check("0 0 29 2 *", Tz::UTC, "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]);
    check("0 12 31 * *", Tz::UTC, "2026-01-31T12:00:00Z", &["2026-03-31T12:00:00+00:00", "2026-05-31T12:00:00+00:00"]);
    let [a, b] = ["30 8 Todos TODOS todos", "30 8 * * *"].map(schedule);
    assert_eq!(a, b);
}

#[test]
fn a_fixed_time_fires_at_the_first_instant_after_a_gap() {
    check("30 2 * * *", America::New_York, "2026-03-07T12:00:00Z", &["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]);
    // Midnight of 4 November 2018 did not exist in São Paulo; a yearly task is not lost either.
    check("0 0 * * *", America::Sao_Paulo, "2018-11-03T12:00:00Z", &["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"]);
    check("30 0 4 11 *", America::Sao_Paulo, "2018-06-01T00:00:00Z", &["2018-11-04T01:00:00-02:00", "2019-11-04T00:30:00-03:00"]);
    // Several times in one gap, and one at its end, fire once.
    check(
        "0,20 2,3 * * *",
        America::New_York,
        "2026-03-08T00:00:00-05:00",
        &["2026-03-08T03:00:00-04:00", "2026-03-08T03:20:00-04:00", "2026-03-09T02:00:00-04:00"],
    );
    // Half an hour at Lord Howe, a whole day when Samoa changed sides.
    check(
        "15 2 * * *",
        Australia::Lord_Howe,
        "2026-10-03T00:00:00Z",
        &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
    );
    check("0 12 * * *", Pacific::Apia, "2011-12-30T00:00:00Z", &["2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"]);
}

#[test]
fn a_fixed_time_fires_once_in_a_repeated_hour() {
    check("30 1 * * *", America::New_York, "2026-10-31T12:00:00Z", &["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]);
    // Asked in the second pass, before its 01:30: that one is not a fire.
    check("30 1 * * *", America::New_York, "2026-11-01T01:10:00-05:00", &["2026-11-02T01:30:00-05:00"]);
    check("30 23 * * *", America::Sao_Paulo, "2018-02-17T12:00:00Z", &["2018-02-17T23:30:00-02:00", "2018-02-18T23:30:00-03:00"]);
}

#[test]
fn a_star_follows_the_wall_clock_through_both_passes_and_over_the_gap() {
    check(
        "*/20 1 * * *",
        America::New_York,
        "2026-11-01T01:10:00-04:00",
        &[
            "2026-11-01T01:20:00-04:00",
            "2026-11-01T01:40:00-04:00",
            "2026-11-01T01:00:00-05:00",
            "2026-11-01T01:20:00-05:00",
            "2026-11-01T01:40:00-05:00",
            "2026-11-02T01:00:00-05:00",
        ],
    );
    check(
        "30 * * * *",
        America::New_York,
        "2026-11-01T00:45:00-04:00",
        &["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:30:00-05:00"],
    );
    check(
        "30 * * * *",
        America::New_York,
        "2026-03-08T01:00:00-05:00",
        &["2026-03-08T01:30:00-05:00", "2026-03-08T03:30:00-04:00"],
    );
    check(
        "*/30 0 * * *",
        America::Sao_Paulo,
        "2018-11-03T12:00:00Z",
        &["2018-11-05T00:00:00-02:00", "2018-11-05T00:30:00-02:00"],
    );
}

#[test]
fn a_field_that_is_not_understood_is_refused_with_its_name() {
    use Field::{DayOfMonth, DayOfWeek, Hour, Minute, Month};
    let text = |text: &str| text.to_owned();
    for (expression, error) in [
        ("30 8 * *", ScheduleError::FieldCount { found: 4 }),
        ("0 30 8 * * *", ScheduleError::FieldCount { found: 6 }),
        ("@daily", ScheduleError::FieldCount { found: 1 }),
        ("60 8 * * *", ScheduleError::OutOfRange { field: Minute, value: 60 }),
        ("30 24 * * *", ScheduleError::OutOfRange { field: Hour, value: 24 }),
        ("30 8 0 * *", ScheduleError::OutOfRange { field: DayOfMonth, value: 0 }),
        ("30 8 * 13 *", ScheduleError::OutOfRange { field: Month, value: 13 }),
        ("30 8 * * 8", ScheduleError::OutOfRange { field: DayOfWeek, value: 8 }),
        ("1, 8 * * *", ScheduleError::EmptyEntry { field: Minute }),
        (",1 8 * * *", ScheduleError::EmptyEntry { field: Minute }),
        ("x 8 * * *", ScheduleError::NotAValue { field: Minute, text: text("x") }),
        ("+5 8 * * *", ScheduleError::NotAValue { field: Minute, text: text("+5") }),
        ("-5 8 * * *", ScheduleError::NotAValue { field: Minute, text: text("") }),
        ("5- 8 * * *", ScheduleError::NotAValue { field: Minute, text: text("") }),
        ("99999999999 8 * * *", ScheduleError::NotAValue { field: Minute, text: text("99999999999") }),
        ("? 8 * * *", ScheduleError::NotAValue { field: Minute, text: text("?") }),
        ("0 8 L * *", ScheduleError::NotAValue { field: DayOfMonth, text: text("L") }),
        ("0 8 * * monday", ScheduleError::NotAValue { field: DayOfWeek, text: text("monday") }),
        ("0 mon * * *", ScheduleError::NotAValue { field: Hour, text: text("mon") }),
        ("0 8 * mon *", ScheduleError::NotAValue { field: Month, text: text("mon") }),
        ("*5 8 * * *", ScheduleError::NotAValue { field: Minute, text: text("*5") }),
        ("0 22-2 * * *", ScheduleError::ReversedRange { field: Hour, text: text("22-2") }),
        ("0 8 * * fri-mon", ScheduleError::ReversedRange { field: DayOfWeek, text: text("fri-mon") }),
        ("5/10 8 * * *", ScheduleError::StepWithoutRange { field: Minute, text: text("5/10") }),
        ("*/0 8 * * *", ScheduleError::StepOutOfRange { field: Minute, text: text("*/0") }),
        ("*/90 8 * * *", ScheduleError::StepOutOfRange { field: Minute, text: text("*/90") }),
        ("*/ 8 * * *", ScheduleError::NotAValue { field: Minute, text: text("") }),
        ("0 8 31 2 *", ScheduleError::NeverFires),
        ("0 8 30,31 feb *", ScheduleError::NeverFires),
        ("0 8 31 4,6,9,11 *", ScheduleError::NeverFires),
    ] {
        check_refused(expression, &error);
        assert!(!error.to_string().is_empty());
    }
    // The day of week alone is enough, so 31 February does no harm.
    check("0 8 31 2 1", Tz::UTC, "2026-02-01T00:00:00Z", &["2026-02-02T08:00:00+00:00"]);
    assert_eq!(Schedule::parse("", "8", "*", "*", "*"), Err(ScheduleError::EmptyEntry { field: Minute }));
    let spaced = Schedule::parse("1 2", "8", "*", "*", "*");
    assert_eq!(spaced, Err(ScheduleError::NotAValue { field: Minute, text: text("1 2") }));
}

#[test]
fn the_search_ends_with_the_last_year_and_absurd_instants_do_not_panic() {
    for text in ["30 8 * * *", "* * * * *"] {
        for zone in [America::Sao_Paulo, Australia::Lord_Howe] {
            assert_eq!(schedule(text).next_after(zone, DateTime::<Utc>::MAX_UTC), None);
            assert_eq!(schedule(text).next_after(zone, at("2101-01-02T00:00:00Z")), None);
            let first = schedule(text).next_after(zone, DateTime::<Utc>::MIN_UTC).expect("it fires from 1970 on");
            assert!(first > DateTime::UNIX_EPOCH && first < DateTime::UNIX_EPOCH + TimeDelta::days(2));
        }
    }
}

const ZONES: [Tz; 4] = [America::Sao_Paulo, America::New_York, Europe::Lisbon, Australia::Lord_Howe];

/// A change of the clocks in each direction for every zone of [`ZONES`], in their order.
const CHANGES: [[&str; 2]; 4] = [
    ["2018-11-04T03:00:00Z", "2018-02-18T02:00:00Z"],
    ["2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"],
    ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"],
    ["2026-10-03T15:30:00Z", "2026-04-04T15:00:00Z"],
];

/// One field: its text, its values, and whether it begins with `*`.
#[derive(Clone, Debug)]
struct Values {
    text: String,
    all: Vec<u32>,
    star: bool,
}

fn values(min: u32, max: u32) -> impl Strategy<Value = Values> {
    let star = (1..=max).prop_map(move |step| Values {
        text: if step == 1 { "*".to_owned() } else { format!("*/{step}") },
        all: (min..=max).step_by(step as usize).collect(),
        star: true,
    });
    let list = prop::collection::vec(min..=max, 1..4).prop_map(|values| Values {
        text: values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        all: values,
        star: false,
    });
    let range = (min..=max, min..=max, 1..=max).prop_map(|(a, b, step)| {
        let (from, to) = (a.min(b), a.max(b));
        Values { text: format!("{from}-{to}/{step}"), all: (from..=to).step_by(step as usize).collect(), star: false }
    });
    prop_oneof![star, list, range]
}

fn any_value(min: u32, max: u32) -> Values {
    Values { text: "*".to_owned(), all: (min..=max).collect(), star: true }
}

fn hours_near_changes() -> impl Strategy<Value = Values> {
    let near = prop::sample::subsequence(vec![0, 1, 2, 3, 23], 1..=3).prop_map(|values| Values {
        text: values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        all: values,
        star: false,
    });
    prop_oneof![2 => near, 1 => values(0, 23)]
}

fn fields() -> impl Strategy<Value = [Values; 5]> {
    let mostly_any = |min, max| prop_oneof![2 => Just(any_value(min, max)), 1 => values(min, max)];
    (values(0, 59), hours_near_changes(), mostly_any(1, 31), mostly_any(1, 12), mostly_any(0, 7))
        .prop_map(|(minute, hour, day_of_month, month, day_of_week)| [minute, hour, day_of_month, month, day_of_week])
}

fn text_of(fields: &[Values; 5]) -> String {
    fields.each_ref().map(|field| field.text.as_str()).join(" ")
}

/// Debian's cron on one minute of the wall clock.
fn matches(fields: &[Values; 5], local: NaiveDateTime) -> bool {
    let [minute, hour, day_of_month, month, day_of_week] = fields;
    let weekday = local.weekday().num_days_from_sunday();
    let by_month_day = day_of_month.all.contains(&local.day());
    let by_weekday = day_of_week.all.iter().any(|value| value % 7 == weekday);
    let day = if day_of_month.star || day_of_week.star { by_month_day && by_weekday } else { by_month_day || by_weekday };
    minute.all.contains(&local.minute()) && hour.all.contains(&local.hour()) && month.all.contains(&local.month()) && day
}

/// What the rules of a change of the clocks say of one minute, by looking at nothing but the wall clock around it.
fn fires_at(fields: &[Values; 5], zone: Tz, instant: DateTime<Utc>) -> bool {
    let local = |instant: DateTime<Utc>| instant.with_timezone(&zone).naive_local();
    let minute = TimeDelta::minutes(1);
    let now = local(instant);
    if fields[0].star || fields[1].star {
        return matches(fields, now);
    }
    let shown_before = || (1..=180).any(|minutes| local(instant - minute * minutes) == now);
    let mut skipped = local(instant - minute) + minute;
    let mut in_gap = false;
    while skipped < now {
        in_gap |= matches(fields, skipped);
        skipped += minute;
    }
    in_gap || matches(fields, now) && !shown_before()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_fire_around_a_change_of_the_clocks_is_the_oracles(
        fields in fields(), zone in 0..4_usize, change in 0..2_usize, offset in -600..600_i64,
    ) {
        let text = text_of(&fields);
        let after = at(CHANGES[zone][change]) + TimeDelta::minutes(offset - 720);
        let until = after + TimeDelta::hours(24);
        let zone = ZONES[zone];
        let minutes = std::iter::successors(Some(after + TimeDelta::minutes(1)), |t| Some(*t + TimeDelta::minutes(1)));
        let expected: Vec<_> = minutes.take_while(|t| *t <= until).filter(|t| fires_at(&fields, zone, *t)).collect();
        match text.parse::<Schedule>() {
            Ok(schedule) => {
                let fires: Vec<_> = schedule.fires_between(zone, after, until).collect();
                prop_assert_eq!(fires, expected, "{}", text);
            }
            Err(error) => {
                prop_assert_eq!(error, ScheduleError::NeverFires);
                prop_assert!(expected.is_empty());
            }
        }
    }

    #[test]
    fn instants_strictly_ascend_and_are_later_than_the_one_asked_for(
        fields in fields(), zone in prop::sample::select(ZONES.to_vec()), second in 1_262_304_000..1_893_456_000_i64, nanos in 0..1_000_000_000_u32,
    ) {
        prop_assume!(text_of(&fields).parse::<Schedule>().is_ok());
        let schedule = schedule(&text_of(&fields));
        let mut before = DateTime::from_timestamp(second, nanos).expect("a second of a year");
        for _ in 0..50 {
            let Some(fire) = schedule.next_after(zone, before) else { break };
            prop_assert!(fire > before, "{} is not later than {}", fire, before);
            prop_assert_eq!(fire.timestamp() % 60, 0);
            // Asked just before, it is the same.
            prop_assert_eq!(schedule.next_after(zone, fire - TimeDelta::nanoseconds(1)), Some(fire));
            before = fire;
        }
    }

    #[test]
    fn a_schedule_is_written_as_it_is_read(fields in fields()) {
        prop_assume!(text_of(&fields).parse::<Schedule>().is_ok());
        let schedule = schedule(&text_of(&fields));
        prop_assert_eq!(schedule.to_string(), text_of(&fields));
        prop_assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
    }

    #[test]
    fn no_text_panics(text in "[0-9*,/a-z -]{0,30}|\\PC{0,20}") {
        if let Ok(schedule) = text.parse::<Schedule>() {
            prop_assert!(schedule.next_after(America::Sao_Paulo, at("2000-01-01T00:00:00Z")).is_some());
        }
    }
}
