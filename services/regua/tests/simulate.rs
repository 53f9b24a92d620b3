//! `regua simulate`: the same days for the same seed, every rule kept on the clock that is moved, and nothing lost.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]
use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Timelike as _, Utc, Weekday};
use chrono_tz::America::Sao_Paulo;
use regua::demo::Verdict;
use regua::simulate::{Day, SimulateOptions, Simulation, Tally};
use regua_domain::filling::Values;
use regua_domain::stage::Stage;
use regua_ledger::Ledger;
use regua_opa_suite::{BaseUrl, OpaClient, OpaClientConfig, SendTemplate};
use regua_simulators::OpaStats;
use regua_simulators::opa::Sent;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// No simulation of these tests takes longer, on a busy machine too; each is of days.
const REAL_MAX: Duration = Duration::from_mins(5);
const DEMO: &str = include_str!("../../../ops/examples/demo.toml");

fn options(from: &str, days: u32, customers: u32) -> SimulateOptions {
    SimulateOptions { days, customers, seed: 7, from: from.parse().unwrap(), config: None, json: true }
}

/// What a simulation came to.
struct Played {
    days: Vec<Day>,
    total: Tally,
    received: u64,
    distinct: u64,
    verdict: Verdict,
    log: Vec<Sent>,
    stats: OpaStats,
    notes: Vec<String>,
}

async fn play(options: &SimulateOptions) -> Played {
    let began = Instant::now();
    let mut simulation = Simulation::set(options).await.unwrap();
    let mut days = Vec::new();
    for _ in 0..options.days {
        days.push(simulation.play_day().await.unwrap());
    }
    let ((total, received, distinct), verdict) = simulation.judge().await.unwrap();
    let (log, stats) = (simulation.taken().unwrap(), simulation.provider().stats());
    let notes = simulation.notes().to_vec();
    simulation.strike().await.unwrap();
    assert!(began.elapsed() < REAL_MAX, "{} days took {:?}", options.days, began.elapsed());
    Played { days, total, received, distinct, verdict, log, stats, notes }
}

fn local(sent: &Sent) -> DateTime<chrono_tz::Tz> {
    DateTime::from_timestamp_micros(sent.at_us).unwrap().with_timezone(&Sao_Paulo)
}

fn of_stages(days: &[Day]) -> BTreeMap<Stage, i64> {
    let mut sum = BTreeMap::new();
    for (stage, number) in days.iter().flat_map(|day| &day.tally.sent) {
        *sum.entry(*stage).or_default() += number;
    }
    sum
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_days_and_they_add_up_to_what_the_provider_took() {
    let ten_days = options("2026-11-24", 10, 200);
    let (first, second) = (play(&ten_days).await, play(&ten_days).await);
    assert_eq!((&first.days, &first.total), (&second.days, &second.total));
    assert!(first.verdict.conserved(), "{:?}", first.verdict);
    let sent: i64 = first.total.sent.values().sum();
    assert_eq!((first.received, first.distinct), (sent.unsigned_abs(), sent.unsigned_abs()));
    assert_eq!(of_stages(&first.days), first.total.sent);
    assert_eq!(first.days.iter().map(|day| day.tally.decided).sum::<i64>(), first.total.decided);
    assert_eq!(first.days.iter().map(|day| day.date).collect::<Vec<_>>(), dates("2026-11-24", 10));
    assert!(first.total.sent.len() == 3 && sent > 50, "a table worth reading: {:?}", first.total);
    let other = play(&SimulateOptions { seed: 8, days: 2, ..ten_days }).await;
    assert_ne!(other.days[..], first.days[..2]);
}

fn dates(from: &str, days: usize) -> Vec<NaiveDate> {
    from.parse::<NaiveDate>().unwrap().iter_days().take(days).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_on_weekends_and_holidays_at_night_or_beyond_what_one_person_may_get() {
    let played = play(&options("2026-12-21", 14, 400)).await;
    let holidays: Vec<(&str, &Day)> = played.days.iter().filter_map(|day| Some((day.holiday.as_deref()?, day))).collect();
    assert_eq!(
        holidays.iter().map(|(_, day)| day.date).collect::<Vec<_>>(),
        ["2026-12-25", "2027-01-01"].map(|it| it.parse().unwrap())
    );
    assert!(holidays.iter().all(|(_, day)| day.tally.sent.is_empty()), "{holidays:?}");
    assert!(played.log.len() > 100);
    let mut by_phone: BTreeMap<(&str, NaiveDate), Vec<i64>> = BTreeMap::new();
    for sent in &played.log {
        let at = local(sent);
        assert!(!matches!(at.weekday(), Weekday::Sat | Weekday::Sun), "{at}");
        // 9 to 18 where the recipient is, which may be an hour before or two behind.
        assert!((8..20).contains(&at.hour()), "{at}");
        assert!(holidays.iter().all(|(_, day)| day.date != at.date_naive()), "{at}");
        by_phone.entry((&sent.phone, at.date_naive())).or_default().push(sent.at_us);
    }
    for (to, instants) in &by_phone {
        assert!(instants.len() <= 2, "{to:?} got {}", instants.len());
        assert!(instants.windows(2).all(|pair| pair[1] - pair[0] >= 6_000_000), "{to:?}: {instants:?}");
    }
    assert!(by_phone.values().any(|instants| instants.len() == 2), "the cap was never met");
    assert_eq!(played.stats.rejected, BTreeMap::new(), "the provider never had to refuse what came too fast");
    assert!(played.verdict.conserved(), "{:?}", played.verdict);
}

#[tokio::test(start_paused = true)]
async fn another_file_is_simulated_with_its_own_ids_and_its_limit_holds_in_the_simulations_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    let own = DEMO
        .replace("per_second = 200", "per_second = 2")
        .replace("64f1c0de0a1b2c3d4e5f", "aaaaaaaaaaaaaaaaaaaa")
        .replace("REGUA_DEMO_", "REGUA_NOBODY_SET_")
        .replace("kind = \"ixc\"", "kind = \"files\"");
    let files_only = own.lines().filter(|line| {
        !["url_env = \"REGUA_NOBODY_SET_IXC", "token_env = \"REGUA_NOBODY_SET_IXC", "days_"]
            .iter()
            .any(|key| line.starts_with(key))
    });
    std::fs::write(&file, files_only.collect::<Vec<_>>().join("\n")).unwrap();
    let played = play(&SimulateOptions { config: Some(file), ..options("2026-11-30", 2, 800) }).await;
    assert!(played.notes.iter().any(|note| note.contains("not from files")), "{:?}", played.notes);
    assert!(played.verdict.conserved(), "{:?}", played.verdict);
    assert!(played.log.len() > 100 && played.log.iter().all(|sent| sent.template.starts_with("aaaa")));
    assert_eq!(played.stats.rejected, BTreeMap::new());
    let instants: Vec<i64> = played.log.iter().map(|sent| sent.at_us).collect();
    assert!(instants.windows(3).all(|three| three[2] - three[0] >= 1_000_000), "three within a second");
    // At 98 of 100 of the limit at least, from nine o'clock on; further west the windows open later.
    let monday: Vec<_> = played.log.iter().map(local).filter(|at| at.weekday() == Weekday::Mon && at.hour() == 9).collect();
    let took = monday[monday.len() - 1] - monday[0];
    let slots = i32::try_from(monday.len()).unwrap() - 1;
    assert!(slots > 30, "{slots}");
    assert!(took < TimeDelta::milliseconds(510) * slots + TimeDelta::seconds(2), "{slots} slots of 2 per second took {took}");
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_took_past_the_ledger_is_not_conserved() {
    let options = options("2026-11-24", 1, 60);
    let mut simulation = Simulation::set(&options).await.unwrap();
    simulation.play_day().await.unwrap();
    assert!(simulation.judge().await.unwrap().1.conserved());
    let (base, _) = BaseUrl::parse(&simulation.provider().url(), true).unwrap();
    let client = OpaClient::new(OpaClientConfig::new(base, simulation.provider().token().to_owned().into())).unwrap();
    let stray = SendTemplate {
        phone_e164: "+5511987654321".into(),
        template_id: "64f1c0de0a1b2c3d4e5f7007".into(),
        values: Values::ByPosition(Vec::new()),
        channel_id: "64f1c0de0a1b2c3d4e5f6001".into(),
        metadata: json!({}),
        header_media: None,
        allow_in_service: false,
    };
    client.send_template(&stray).await;
    let (_, verdict) = simulation.judge().await.unwrap();
    assert!(!verdict.conserved(), "{verdict:?}");
    simulation.strike().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_ledgers_clock_moves_with_the_simulation_and_stands_while_the_database_works() {
    let begins_at: DateTime<Utc> = "2026-11-24T03:00:00Z".parse().unwrap();
    let ledger = Ledger::open_simulated(begins_at).await.unwrap();
    ledger.migrate().await.unwrap();
    // A timer that a paused clock would jump to while the runtime has nothing to do but wait for SQLite's threads.
    let timer = tokio::spawn(tokio::time::sleep(Duration::from_secs(1)));
    for _ in 0..200 {
        ledger.release_through(begins_at).await.unwrap();
        assert_eq!(ledger.now().await.unwrap(), begins_at);
    }
    tokio::time::advance(Duration::from_hours(24)).await;
    timer.await.unwrap();
    assert_eq!(ledger.now().await.unwrap(), begins_at + TimeDelta::days(1));
    ledger.close().await;
}

const COMPLETE: &str = include_str!("../../../ops/examples/regua-completa.toml");

#[tokio::test(start_paused = true)]
async fn a_files_own_templates_take_as_many_variables_as_its_notices_have() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    std::fs::write(&file, COMPLETE).unwrap();
    let played = play(&SimulateOptions { config: Some(file), ..options("2026-11-30", 12, 300) }).await;
    assert_eq!((&played.notes[..], &played.total.failed), (&[][..], &BTreeMap::new()));
    assert_eq!(played.stats.rejected, BTreeMap::new());
    assert!(played.verdict.conserved(), "{:?}", played.verdict);
    // Its ids begin as those of the base that other simulations have, whose templates take other numbers of variables.
    let by_template: BTreeMap<&str, usize> =
        played.log.iter().map(|sent| (&*sent.template, sent.variaveis.positional().len())).collect();
    let numbers = ["7001", "7002", "7003", "7004", "7005", "7006", "7007", "7008", "7009"]
        .map(|end| by_template.get(format!("64f1c0de0a1b2c3d4e5f{end}").as_str()).copied());
    assert_eq!(numbers, [4, 3, 4, 3, 3, 4, 4, 2, 2].map(Some), "{by_template:?}");
}
