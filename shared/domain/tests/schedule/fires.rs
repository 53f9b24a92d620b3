//! Fires that were missed: the newest runs late or none does, within a time, and every one is counted.

use super::{at, schedule};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::America;
use proptest::prelude::*;
use regua_domain::schedule::{
    DueFires, FIRES_MAX, Missed, ON_TIME, PlannedTask, SEND_WITHIN, SendOutlook, TaskKind, WatchedTask, due_fires, send_outlook,
};

const ZONE: chrono_tz::Tz = America::Sao_Paulo;

/// One look at a task: the run, whether it is late, and how many fires were dropped.
#[track_caller]
fn check(
    fields: &str,
    (missed, catch_up): (Missed, &str),
    (from, now): (&str, &str),
    expected: Option<(Option<&str>, bool, u32)>,
) {
    let schedule = schedule(fields);
    let hours: i64 = catch_up.strip_suffix('h').and_then(|hours| hours.parse().ok()).expect("hours");
    let task = WatchedTask {
        schedule: &schedule,
        zone: ZONE,
        missed,
        catch_up: TimeDelta::hours(hours),
        settled_through: at(from),
        last_run_at: None,
    };
    let due = due_fires(&task, at(now)).map(|due| (due.run_at, due.is_late, due.dropped));
    assert_eq!(due, expected.map(|(run, late, dropped)| (run.map(at), late, dropped)));
}

const LATEST: (Missed, &str) = (Missed::Latest, "6h");
const SKIP: (Missed, &str) = (Missed::Skip, "6h");

#[test]
fn a_fire_within_its_minute_runs_on_time() {
    for how in [LATEST, SKIP] {
        let look = |now| ("2026-11-23T03:00:00Z", now);
        check("0 8 * * *", how, look("2026-11-23T10:59:59.9Z"), None);
        check("0 8 * * *", how, look("2026-11-23T11:00:00Z"), Some((Some("2026-11-23T11:00:00Z"), false, 0)));
        check("0 8 * * *", how, look("2026-11-23T11:00:59.9Z"), Some((Some("2026-11-23T11:00:00Z"), false, 0)));
    }
}

#[test]
fn of_missed_fires_the_newest_runs_late_within_the_catch_up_time_and_the_others_are_dropped() {
    let night = "2026-11-22T03:00:00Z";
    check("0 8 * * *", LATEST, (night, "2026-11-23T12:00:00Z"), Some((Some("2026-11-23T11:00:00Z"), true, 1)));
    check("0 8 * * *", LATEST, (night, "2026-11-23T17:00:00Z"), Some((Some("2026-11-23T11:00:00Z"), true, 1)));
    check("0 8 * * *", LATEST, (night, "2026-11-23T17:00:01Z"), Some((None, false, 2)));
    check("0 * * * *", LATEST, ("2026-11-23T03:30:00Z", "2026-11-23T12:00:30Z"), Some((Some("2026-11-23T12:00:00Z"), false, 8)));
}

#[test]
fn a_task_that_skips_what_it_missed_runs_none_late() {
    let night = "2026-11-22T03:00:00Z";
    check("0 8 * * *", SKIP, (night, "2026-11-23T11:01:00Z"), Some((None, false, 2)));
    check("0 8 * * *", SKIP, (night, "2026-11-23T11:00:30Z"), Some((Some("2026-11-23T11:00:00Z"), false, 1)));
}

#[test]
fn a_late_fire_gives_way_to_a_newer_run_by_hand() {
    let schedule = schedule("0 8 * * *");
    let task = |last: &str| WatchedTask {
        schedule: &schedule,
        zone: ZONE,
        missed: Missed::Latest,
        catch_up: TimeDelta::hours(6),
        settled_through: at("2026-11-23T03:00:00Z"),
        last_run_at: Some(at(last)),
    };
    let due = |last| due_fires(&task(last), at("2026-11-23T12:00:00Z")).map(|due| (due.run_at.is_some(), due.dropped));
    assert_eq!(due("2026-11-23T10:00:00Z"), Some((true, 0)));
    assert_eq!(due("2026-11-23T11:30:00Z"), Some((false, 1)));
}

proptest! {
    /// However long nobody looked, and in however many looks: every fire becomes one run or is counted once, and at most one look runs late.
    #[test]
    fn every_fire_is_settled_once(
        minute in prop::sample::select(vec!["0", "*/7", "*", "0,30"]), hour in prop::sample::select(vec!["*", "8", "8-17/3"]),
        skips in any::<bool>(), catch_up_h in 1..48_i64, looks in prop::collection::vec(1..3000_i64, 1..6),
    ) {
        let schedule = schedule(&format!("{minute} {hour} * * *"));
        let begin = at("2026-11-01T00:00:00Z");
        let (mut now, mut through, mut last_run_at) = (begin, begin, None);
        let (mut runs, mut dropped) = (Vec::new(), 0_usize);
        let missed = if skips { Missed::Skip } else { Missed::Latest };
        let catch_up = TimeDelta::hours(catch_up_h);
        for minutes in looks {
            now += TimeDelta::minutes(minutes);
            let look = |settled_through, last_run_at| {
                due_fires(&WatchedTask { schedule: &schedule, zone: ZONE, missed, catch_up, settled_through, last_run_at }, now)
            };
            while let Some(DueFires { run_at, is_late, dropped: more, through: to }) = look(through, last_run_at) {
                prop_assert!(to > through && to <= now && more as usize <= FIRES_MAX);
                if let Some(run) = run_at {
                    prop_assert!(run == to && last_run_at.is_none_or(|last: DateTime<Utc>| run > last));
                    prop_assert_eq!(is_late, now - run >= ON_TIME);
                    prop_assert!(!is_late || (!skips && now - run <= catch_up));
                    runs.push(run);
                    last_run_at = Some(run);
                }
                dropped += more as usize;
                through = to;
            }
        }
        prop_assert_eq!(runs.len() + dropped, schedule.fires_between(ZONE, begin, now).count());
    }
}

#[test]
fn a_queue_that_no_task_empties_within_a_day_is_told() {
    let [daily, weekly] = ["30 8 * * *", "30 8 * * 1"].map(schedule);
    let task = |kind, schedule| PlannedTask { name: "tarefa", kind, schedule, zone: ZONE };
    let [send, rare] = [&daily, &weekly].map(|schedule| task(TaskKind::SendQueuedMessages, schedule));
    let monday = at("2026-11-23T11:30:00Z");
    assert_eq!(send_outlook(&[], monday), SendOutlook::NoTask);
    assert_eq!(send_outlook(&[task(TaskKind::UpdateCollections, &daily)], monday), SendOutlook::NoTask);
    assert_eq!(send_outlook(&[send], monday), SendOutlook::Soon, "exactly a day away");
    let next = monday + TimeDelta::days(7);
    assert_eq!(send_outlook(&[rare], monday), SendOutlook::Later { next: Some(next) });
    assert_eq!(send_outlook(&[rare], next - SEND_WITHIN), SendOutlook::Soon);
    assert_eq!(send_outlook(&[rare, send], monday), SendOutlook::Soon);
    assert!(SendOutlook::Soon.problem().is_none() && SendOutlook::NoTask.problem().is_some());
}
