//! The ledger's clock (invariant 9).

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, begin};
use chrono::{TimeDelta, Utc};
use regua_domain::schedule::TaskKind;
use regua_ledger::LedgerError;
use std::time::{Duration, Instant};

async fn an_empty_ledger_has_this_hosts_time(f: Fixture) {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    assert!((ledger.now().await.unwrap() - Utc::now()).abs() < TimeDelta::seconds(5));
    assert!(!ledger.has_demo_clock().await.unwrap());
}

async fn a_demos_clock_runs_on_from_its_instant_at_real_speed(f: Fixture) {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    let (asked, before) = (Instant::now(), begin());
    ledger.set_demo_clock(before).await.unwrap();
    let first = ledger.now().await.unwrap();
    let second = ledger.now().await.unwrap();
    let elapsed = TimeDelta::from_std(asked.elapsed()).unwrap();
    assert!(before <= first && first < second && second <= before + elapsed, "{first} {second} {elapsed}");
    assert!(ledger.has_demo_clock().await.unwrap());
}

/// Several services of a demo start at once: the first one sets the clock.
async fn a_demos_clock_is_set_once(f: Fixture) {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    let results = futures::future::join_all((0..6).map(|_| ledger.set_demo_clock(begin()))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(LedgerError::Refused(_)))), "{results:?}");
    assert!((ledger.now().await.unwrap() - begin()) < TimeDelta::minutes(1));
}

async fn a_ledger_in_use_keeps_its_clock(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let error = w.ledger.set_demo_clock(begin()).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Refused(why) if why.contains("REGUA_DEMO_NOW")), "{error:?}");
}

async fn a_planned_run_is_use_enough(f: Fixture) {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    let now = ledger.now().await.unwrap();
    ledger.plan_run("update-collections".into(), TaskKind::UpdateCollections, now, None).await.unwrap();
    assert!(matches!(ledger.set_demo_clock(begin()).await, Err(LedgerError::Refused(_))));
}

async fn the_demos_offset_is_no_skew_of_the_host(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    assert!(w.ledger.host_skew().await.unwrap() < Duration::from_millis(500));
}

conformance! {
    an_empty_ledger_has_this_hosts_time
    a_demos_clock_runs_on_from_its_instant_at_real_speed
    a_demos_clock_is_set_once
    a_ledger_in_use_keeps_its_clock
    a_planned_run_is_use_enough
    the_demos_offset_is_no_skew_of_the_host
}
