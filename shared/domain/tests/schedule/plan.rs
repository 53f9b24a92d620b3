//! The task plan: thirty minutes after the update, and a minute that no other task has.

use super::{at, schedule};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{America, Tz};
use proptest::prelude::*;
use regua_domain::schedule::{Clash, ClashRule, PlannedTask, TaskKind, first_clash};

/// The plan of an update, a send and a reserved schedule in São Paulo, from 1 January 2026.
#[track_caller]
fn clash_of(update: &str, send: &str, reserved: &str) -> Option<(ClashRule, DateTime<Utc>, DateTime<Utc>)> {
    let [update, send, reserved] = [update, send, reserved].map(schedule);
    let zone = America::Sao_Paulo;
    let plan = [
        PlannedTask { name: "atualizar", kind: TaskKind::UpdateCollections, schedule: &update, zone },
        PlannedTask { name: "enviar", kind: TaskKind::SendQueuedMessages, schedule: &send, zone },
        PlannedTask { name: "backup do ERP", kind: TaskKind::Reserved, schedule: &reserved, zone },
    ];
    first_clash(&plan, at("2026-01-01T00:00:00Z")).map(|Clash { rule, at, other_at, .. }| (rule, at, other_at))
}

#[test]
fn a_plan_keeps_thirty_minutes_after_the_update_and_the_minute_to_itself() {
    assert_eq!(clash_of("0 8 * * *", "30 8 * * *", "0 3 * * *"), None);
    assert_eq!(clash_of("31 8 * * *", "30 8 * * *", "0 3 * * *"), None);
    // Fifteen minutes once a week are enough.
    let monday = (ClashRule::TooSoonAfterUpdate, at("2026-01-05T08:29:00-03:00"), at("2026-01-05T08:00:00-03:00"));
    assert_eq!(clash_of("0 8 * * 1", "29 8 * * *", "0 3 * * *"), Some(monday));
    let together = (ClashRule::TooSoonAfterUpdate, at("2026-01-01T08:30:00-03:00"), at("2026-01-01T08:30:00-03:00"));
    assert_eq!(clash_of("30 8 * * *", "30 8 * * *", "0 3 * * *"), Some(together));
    let reserved = (ClashRule::SameMinute, at("2026-02-01T08:30:00-03:00"), at("2026-02-01T08:30:00-03:00"));
    assert_eq!(clash_of("0 8 * * *", "30 8 * * *", "30 8 1 2 *"), Some(reserved));
    assert_eq!(clash_of("0 8 * * *", "30 8 * * *", "31 8 * * *"), None);
}

#[test]
fn the_earliest_of_several_clashes_is_told() {
    let (rule, ..) = clash_of("20 8 15 1 *", "30 8 * * *", "30 8 10 1 *").expect("two clashes");
    assert_eq!(rule, ClashRule::SameMinute);
    let (rule, ..) = clash_of("20 8 10 1 *", "30 8 * * *", "30 8 15 1 *").expect("two clashes");
    assert_eq!(rule, ClashRule::TooSoonAfterUpdate);
}

#[test]
fn a_plan_is_checked_for_400_days() {
    let [send, reserved] = ["30 8 * * *", "30 8 29 2 *"].map(schedule);
    let plan = [
        PlannedTask { name: "enviar", kind: TaskKind::SendQueuedMessages, schedule: &send, zone: Tz::UTC },
        PlannedTask { name: "ERP", kind: TaskKind::Reserved, schedule: &reserved, zone: Tz::UTC },
    ];
    // 400 days before 29 February 2028, 08:30.
    let from = at("2027-01-25T08:30:00Z");
    assert_eq!(first_clash(&plan, from).map(|clash| clash.at), Some(at("2028-02-29T08:30:00Z")));
    assert_eq!(first_clash(&plan, from - TimeDelta::seconds(1)), None);
    assert_eq!(first_clash(&plan, DateTime::<Utc>::MAX_UTC), None);
}

#[test]
fn a_task_of_every_minute_is_checked_against_a_rare_one() {
    assert_eq!(clash_of("20 8 29 2 *", "* * * * *", "0 3 29 2 *"), None);
    let (rule, at, _) = clash_of("20 8 1 3 *", "*/7 * * * *", "0 3 29 2 *").expect("on 1 March");
    assert_eq!((rule, at), (ClashRule::TooSoonAfterUpdate, self::at("2026-03-01T08:21:00-03:00")));
}

#[test]
fn tasks_of_other_zones_and_a_second_sender_are_compared_by_instant() {
    let [nine, eight, half_past] = ["0 9 * * *", "0 8 * * *", "30 8 * * *"].map(schedule);
    let task = |name, kind, schedule, zone| PlannedTask { name, kind, schedule, zone };
    let sao_paulo = task("enviar", TaskKind::SendQueuedMessages, &nine, America::Sao_Paulo);
    let manaus = task("enviar em Manaus", TaskKind::SendQueuedMessages, &eight, America::Manaus);
    let clash = first_clash(&[sao_paulo, manaus], at("2026-01-01T00:00:00Z")).expect("the same instant");
    assert_eq!((clash.rule, clash.at), (ClashRule::SameMinute, at("2026-01-01T09:00:00-03:00")));
    assert_eq!(first_clash(&[sao_paulo], at("2026-01-01T00:00:00Z")), None);
    let later = task("depois", TaskKind::SendQueuedMessages, &half_past, America::Manaus);
    assert_eq!(first_clash(&[sao_paulo, later], at("2026-01-01T00:00:00Z")), None);
}

#[test]
fn a_gap_that_moves_an_update_is_found() {
    let [update, send] = ["30 2 * * *", "10 3 * * *"].map(schedule);
    let zone = America::New_York;
    let plan = [
        PlannedTask { name: "update", kind: TaskKind::UpdateCollections, schedule: &update, zone },
        PlannedTask { name: "send", kind: TaskKind::SendQueuedMessages, schedule: &send, zone },
    ];
    let clash = first_clash(&plan, at("2026-01-01T00:00:00Z")).expect("on the day of the change");
    assert_eq!((clash.at, clash.other_at), (at("2026-03-08T03:10:00-04:00"), at("2026-03-08T03:00:00-04:00")));
    assert_eq!(
        clash.to_string(),
        "task `send` fires on 08/03/2026 at 03:10 (America/New_York) and `update` at 03:00; leave at least 30 minutes"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_first_clash_is_the_first_that_a_search_by_pairs_finds(
        update in (0..60_u32, 6..10_u32, 1..29_u32), send in (0..60_u32, 6..10_u32, 1..8_u32), reserved in (0..60_u32, 6..10_u32),
    ) {
        let update = schedule(&format!("{} {} {},{} * *", update.0, update.1, update.2, update.2 % 28 + 1));
        let send = schedule(&format!("{},{} {} */{} * *", send.0, 59 - send.0, send.1, send.2));
        let reserved = schedule(&format!("{} {} * * 1-5", reserved.0, reserved.1));
        let (zone, from) = (America::Sao_Paulo, at("2026-01-01T00:00:00Z"));
        let plan = [
            PlannedTask { name: "u", kind: TaskKind::UpdateCollections, schedule: &update, zone },
            PlannedTask { name: "s", kind: TaskKind::SendQueuedMessages, schedule: &send, zone },
            PlannedTask { name: "r", kind: TaskKind::Reserved, schedule: &reserved, zone },
        ];
        let until = from + TimeDelta::days(400);
        let updates: Vec<_> = update.fires_between(zone, from - TimeDelta::days(1), until).collect();
        let taken: Vec<_> = reserved.fires_between(zone, from, until).collect();
        let soon = |s: DateTime<Utc>| updates.iter().any(|u| *u > s - TimeDelta::minutes(30) && *u <= s);
        let expected = send.fires_between(zone, from, until).find(|s| soon(*s) || taken.contains(s));
        prop_assert_eq!(first_clash(&plan, from).map(|clash| clash.at), expected);
    }
}
