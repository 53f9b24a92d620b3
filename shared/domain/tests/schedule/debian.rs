//! Against Debian's own cron, whose parser and main loop wrote `expectations/cron.tsv` (how: `expectations/cron.py`).

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use regua_domain::schedule::{Schedule, ScheduleError};
use std::collections::BTreeMap;

const EXPECTED: &str = include_str!("../expectations/cron.tsv");
/// A list of this many starts is cut.
const STARTS_MAX: usize = 40;

/// The rows of one kind, without the kind.
fn rows(kind: &str) -> Vec<Vec<&'static str>> {
    let rows: Vec<Vec<_>> =
        EXPECTED.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    rows.into_iter().filter(|row| row[0] == kind).map(|row| row[1..].to_vec()).collect()
}

/// What cron takes and Régua refuses, or the other way round: the text, in how many of the five fields, and why.
type Differences = BTreeMap<String, (usize, &'static str)>;

/// Cron skips what it doesn't understand at the end of a field.
const REST_IGNORED: &str = "cron ignores what follows the part that it understands; nobody who wrote it meant that";
/// A step larger than every value.
const STEP: &str = "only the first value is left of it, which is written shorter and meant otherwise";
/// A range that ends before it begins.
const NEVER: &str = "cron takes it for no value at all, and the job never starts";
const TODOS: &str = "the ERP's own word for every value";

const ONLY_CRON: &[(&str, usize, &str)] = &[
    ("**", 5, REST_IGNORED),
    ("*-5", 5, REST_IGNORED),
    ("*/100", 5, STEP),
    ("*/59", 4, STEP),
    ("*/60", 5, STEP),
    ("0~5", 3, REST_IGNORED),
    ("1#2", 5, REST_IGNORED),
    ("1-2-3", 5, REST_IGNORED),
    ("1-3/9", 1, STEP),
    ("1.5", 5, REST_IGNORED),
    ("5-1", 5, NEVER),
    ("dec-jan", 1, NEVER),
    ("fri-mon", 1, NEVER),
];

const ONLY_REGUA: &[(&str, usize, &str)] = &[("todos", 5, TODOS)];

fn differences() -> (Differences, Differences) {
    let of = |list: &[(&str, usize, &'static str)]| {
        list.iter().map(|(text, fields, why)| ((*text).to_owned(), (*fields, *why))).collect()
    };
    (of(ONLY_CRON), of(ONLY_REGUA))
}

#[test]
fn a_field_is_read_or_refused_as_by_debians_cron_but_for_what_is_named_here() {
    let (mut only_cron, mut only_regua) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    let rows = rows("field");
    assert!(rows.len() > 300);
    for row in rows {
        let [place, text, taken] = row[..] else { panic!("{row:?}") };
        let mut fields = ["*"; 5];
        fields[place.parse::<usize>().expect("a place")] = text;
        let [minute, hour, day_of_month, month, day_of_week] = fields;
        let ours = Schedule::parse(minute, hour, day_of_month, month, day_of_week).is_ok();
        match (taken == "ok", ours) {
            (true, false) => *only_cron.entry(text.to_owned()).or_default() += 1,
            (false, true) => *only_regua.entry(text.to_owned()).or_default() += 1,
            _ => {}
        }
    }
    let without_why = |list: Differences| list.into_iter().map(|(text, (fields, _))| (text, fields)).collect::<BTreeMap<_, _>>();
    let (expected_cron, expected_regua) = differences();
    assert_eq!(only_cron, without_why(expected_cron), "what only cron takes");
    assert_eq!(only_regua, without_why(expected_regua), "what only Régua takes");
}

fn instant(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(minute * 60, 0).expect("an instant")
}

/// The first instant after the one day that Samoa skipped, Friday 30 December 2011.
const AFTER_THE_SKIPPED_DAY: &str = "2011-12-30T10:00:00Z";

/// Two differences, both on purpose. A schedule that never fires is refused, for whoever wrote it expects something of it; cron takes it. And a
/// fixed time that a skipped *day* would have had fires after it, as after any gap; cron takes more than three hours for a clock that was set.
#[test]
fn jobs_start_when_debians_cron_starts_them_over_changes_of_the_clocks_too() {
    let after_the_skipped_day: DateTime<Utc> = AFTER_THE_SKIPPED_DAY.parse().expect("an instant");
    let (rows, mut never, mut caught_up) = (rows("starts"), 0, 0);
    assert!(rows.len() > 400);
    for row in rows {
        let [zone, from, until, text, starts] = row[..] else { panic!("{row:?}") };
        let (from, until): (i64, i64) = (from.parse().expect("minutes"), until.parse().expect("minutes"));
        let steps = starts.split_whitespace().map(|step| step.parse::<i64>().expect("minutes"));
        let expected: Vec<_> = steps.scan(0, |minute, step| (*minute += step, Some(instant(*minute))).1).collect();
        let schedule = match text.parse::<Schedule>() {
            Ok(schedule) => schedule,
            Err(error) => {
                assert!(error == ScheduleError::NeverFires && expected.is_empty(), "{text}: {error}");
                never += 1;
                continue;
            }
        };
        let tz: Tz = zone.parse().expect("a zone");
        let mut fires: Vec<_> = schedule.fires_between(tz, instant(from - 1), instant(until)).take(STARTS_MAX).collect();
        if tz == Tz::Pacific__Apia && fires != expected {
            fires.retain(|fire| *fire != after_the_skipped_day);
            caught_up += 1;
        }
        assert_eq!(fires, expected, "{text} in {zone}");
    }
    assert!(never > 0 && caught_up > 10, "{never} {caught_up}");
}
