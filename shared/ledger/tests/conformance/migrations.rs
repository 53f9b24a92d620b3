//! The schema's history.

use crate::databases::Fixture;
use futures::future::join_all;
use regua_ledger::LedgerError;

async fn any_number_of_processes_may_migrate_at_once(f: Fixture) {
    let mut ledgers = Vec::new();
    for _ in 0..8 {
        ledgers.push(f.open().await);
    }
    for result in join_all(ledgers.iter().map(regua_ledger::Ledger::migrate)).await {
        result.unwrap();
    }
    let id = ledgers[0].id().await.unwrap();
    for ledger in &ledgers {
        assert_eq!(ledger.id().await.unwrap(), id);
    }
    assert_eq!(f.count("ledger").await, 1);
    assert_eq!(f.count("migrations WHERE version = 1").await, 1);
}

async fn any_number_of_processes_may_open_and_migrate_at_once(f: Fixture) {
    for result in join_all((0..8).map(|_| async { f.open().await.migrate().await })).await {
        result.unwrap();
    }
    assert_eq!(f.count("ledger").await, 1);
}

async fn a_second_migration_changes_nothing(f: Fixture) {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    let id = ledger.id().await.unwrap();
    let applied_at = f.number("SELECT applied_at FROM migrations").await;
    ledger.migrate().await.unwrap();
    assert_eq!((ledger.id().await.unwrap(), f.number("SELECT applied_at FROM migrations").await), (id, applied_at));
}

async fn a_ledger_of_a_newer_regua_is_refused(f: Fixture) {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    let migrations = f.count("migrations").await;
    f.execute("INSERT INTO migrations (version, applied_at) VALUES (999, 0)").await;
    let error = ledger.migrate().await.unwrap_err();
    assert!(matches!(error, LedgerError::Newer { found: 999, known } if known == migrations), "{error}");
    assert!(error.to_string().contains("start the newer"), "{error}");
}

async fn a_ledger_knows_which_database_it_is(f: Fixture) {
    let ledger = f.open().await;
    assert_eq!(ledger.is_embedded(), f.is_sqlite());
    assert_eq!(ledger.evaluation_page(), if f.is_sqlite() { 250 } else { 1000 });
    assert_eq!(ledger.mirror_batch(), if f.is_sqlite() { 250 } else { 1000 });
}

/// A SQLite file has one process anyway; what holds it is the file's own lock.
async fn one_process_at_a_time_has_its_broker_inside(f: Fixture) {
    let (one, other) = (f.open().await, f.open().await);
    let held = one.hold_memory_broker().await.unwrap();
    assert!(held.is_some());
    if f.is_sqlite() {
        return;
    }
    assert!(other.hold_memory_broker().await.unwrap().is_none());
    drop(held);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while other.hold_memory_broker().await.unwrap().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "it was never let go");
        tokio::task::yield_now().await;
    }
}

async fn a_closed_ledger_answers_nothing_and_says_so(f: Fixture) {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    ledger.close().await;
    let written = ledger.release_through(chrono::Utc::now()).await.unwrap_err();
    let read = ledger.now().await.unwrap_err();
    assert!(written.is_unreachable() && read.is_unreachable(), "{written:?} {read:?}");
}

async fn an_unmigrated_database_is_an_error_and_not_unreachable(f: Fixture) {
    let error = f.open().await.now().await.unwrap_err();
    assert!(matches!(error, LedgerError::Database(_)) && !error.is_unreachable(), "{error:?}");
}

#[tokio::test]
async fn a_url_of_another_database_is_refused() {
    for url in ["mysql://root@127.0.0.1/regua", "regua.db", ""] {
        assert!(matches!(regua_ledger::Ledger::open(url).await, Err(LedgerError::Url { .. })), "{url:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable() {
    // Port 1 on the loopback: nothing listens there.
    let ledger = regua_ledger::Ledger::open("postgres://regua@127.0.0.1:1/regua").await.unwrap();
    let error = ledger.now().await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
}

conformance! {
    any_number_of_processes_may_migrate_at_once
    any_number_of_processes_may_open_and_migrate_at_once
    a_second_migration_changes_nothing
    a_ledger_of_a_newer_regua_is_refused
    a_ledger_knows_which_database_it_is
    one_process_at_a_time_has_its_broker_inside
    a_closed_ledger_answers_nothing_and_says_so
    an_unmigrated_database_is_an_error_and_not_unreachable
}
