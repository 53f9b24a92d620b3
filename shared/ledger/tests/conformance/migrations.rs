//! The schema's history.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::World;
use futures::future::join_all;
use regua_ledger::runs::LeaseAnswer;
use regua_ledger::{Ledger, LedgerError};
use std::time::Duration;
use uuid::Uuid;

async fn any_number_of_processes_may_migrate_at_once(f: Fixture) {
    let mut ledgers = Vec::new();
    for _ in 0..8 {
        ledgers.push(f.open().await);
    }
    for result in join_all(ledgers.iter().map(Ledger::migrate)).await {
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

/// A ledger with a migration that this binary doesn't know; `runs_from` as SQL has it.
async fn newer(f: &Fixture, runs_from: &str) -> Ledger {
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    f.execute(format!("INSERT INTO migrations (version, applied_at, runs_from) VALUES (999, 0, {runs_from})")).await;
    ledger
}

async fn a_ledger_that_a_newer_regua_only_added_to_is_run_on(f: Fixture) {
    let ledger = newer(&f, "NULL").await;
    let rows = f.count("migrations").await;
    assert!(!ledger.stands_elsewhere().await.unwrap());
    ledger.migrate().await.unwrap();
    assert_eq!(f.count("migrations").await, rows, "nothing is applied");
    // What a contraction asks for has been there for long.
    let known = f.number("SELECT MAX(version) FROM migrations WHERE version < 999").await.unwrap();
    f.execute(format!("UPDATE migrations SET runs_from = {known} WHERE version = 999")).await;
    assert!(!ledger.stands_elsewhere().await.unwrap());
    ledger.migrate().await.unwrap();
}

async fn a_ledger_from_which_a_newer_regua_took_away_is_refused(f: Fixture) {
    newer(&f, "NULL").await;
    let known = f.count("migrations WHERE version < 999").await;
    // Also if additions came after it.
    f.execute(format!("INSERT INTO migrations (version, applied_at, runs_from) VALUES (998, 0, {})", known + 1)).await;
    let ledger = f.open().await;
    for error in [ledger.migrate().await.unwrap_err(), ledger.stands_elsewhere().await.unwrap_err()] {
        let expected = (999, known + 1, known);
        let LedgerError::Newer { found, runs_from, known } = error else { panic!("{error}") };
        assert_eq!((found, runs_from, known), expected);
        assert!(error.to_string().contains("start the newer"), "{error}");
    }
}

async fn no_migration_asks_for_more_than_its_own_number(f: Fixture) {
    f.open().await.migrate().await.unwrap();
    let asks = "INSERT INTO migrations (version, applied_at, runs_from) VALUES (999, 0, 1000)";
    assert!(f.try_execute(asks).await.is_err());
}

async fn a_contraction_says_what_it_asks_for(f: Fixture) {
    f.open().await.migrate().await.unwrap();
    let dropped = "SELECT runs_from FROM migrations WHERE runs_from IS NOT NULL ORDER BY version LIMIT 1";
    assert_eq!(f.number(dropped).await, Some(7), "recipients lost the days that persons have since 0007");
}

/// Connections have their statements prepared when a newer binary adds a column.
async fn what_a_newer_regua_adds_breaks_nothing_that_runs(f: Fixture) {
    if f.is_sqlite() {
        // Nobody migrates a file under the process that has it.
        return;
    }
    let w = World::new(f, &Setup::default()).await;
    let (run, today) = (w.leased_run().await.run.id, w.local_today().await);
    for column in ["", "of_a_later_release", "of_one_more"] {
        for table in ["sources", "runs"].into_iter().filter(|_| !column.is_empty()) {
            w.f.execute(format!("ALTER TABLE {table} ADD COLUMN {column} TEXT")).await;
        }
        assert_eq!(w.ledger.sources().await.unwrap().len(), 1);
        let leased = w.ledger.lease_run(run, Uuid::now_v7(), today, None).await.unwrap();
        assert!(matches!(leased, LeaseAnswer::Held), "{leased:?}");
    }
}

/// Takes back what the migrations from 22 on added, as far as they could not be applied again.
const BEFORE_22: &str =
    "DROP INDEX waiting_messages_by_phone; ALTER TABLE ledger DROP COLUMN stands_in; DELETE FROM migrations WHERE version >= 22";

/// `pg_dump` reads, several new processes want to alter what it reads, and the crew is at work.
async fn a_migration_that_waits_for_a_reader_keeps_nobody_else_waiting_and_goes_through_after_it(f: Fixture) {
    if f.is_sqlite() {
        // Its one writer is alone, and no reader keeps it waiting.
        return;
    }
    let w = World::new(f, &Setup { per_second: 0, ..Setup::default() }).await;
    let ids = w.queued(2).await;
    w.f.execute(BEFORE_22).await;
    let mut reader = w.f.postgres().unwrap().begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE ledger IN ACCESS SHARE MODE").execute(&mut *reader).await.unwrap();
    let mut newer = Vec::new();
    for _ in 0..3 {
        let ledger = w.f.open().await;
        newer.push(tokio::spawn(async move { ledger.migrate().await }));
    }
    w.f.blocked_by(&mut reader).await;
    for id in ids {
        let asked = tokio::time::Instant::now();
        w.send(id).await;
        assert!(asked.elapsed() < Duration::from_secs(4), "it waited for {:?}", asked.elapsed());
    }
    reader.rollback().await.unwrap();
    for migrated in join_all(newer).await {
        migrated.unwrap().unwrap();
    }
    assert_eq!(w.f.count("ledger WHERE stands_in IS NOT NULL").await, 1);
}

/// What a migration runs with, as the server shows it.
async fn a_migration_reads_whole_tables_as_it_should_and_waits_shortly_for_locks(f: Fixture) {
    if f.is_sqlite() {
        return;
    }
    f.execute(
        "CREATE TABLE migrations (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL);
         CREATE TABLE seen (settings TEXT);
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
                WHERE name IN ('enable_seqscan', 'lock_timeout', 'statement_timeout');
            RETURN NULL; END $$;
         CREATE TRIGGER looks AFTER INSERT ON migrations FOR EACH STATEMENT EXECUTE FUNCTION look()",
    )
    .await;
    let ledger = f.open().await;
    ledger.migrate().await.unwrap();
    assert_eq!(f.count("seen").await, f.count("migrations").await);
    let seen = f.text("SELECT DISTINCT settings FROM seen").await;
    assert_eq!(seen.as_deref(), Some("enable_seqscan=on lock_timeout=300 statement_timeout=0"));
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
    // Its process lost the connection; the server knows nothing of that.
    let lost = held.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let held = loop {
        match one.hold_memory_broker_again(&lost).await.unwrap() {
            Some(held) => break held,
            None => assert!(tokio::time::Instant::now() < deadline, "the lost connection keeps it"),
        }
    };
    drop(lost);
    assert!(other.hold_memory_broker().await.unwrap().is_none());
    drop(held);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
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
        assert!(matches!(Ledger::open(url).await, Err(LedgerError::Url { .. })), "{url:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable() {
    // Port 1 on the loopback: nothing listens there.
    let ledger = Ledger::open("postgres://regua@127.0.0.1:1/regua").await.unwrap();
    let error = ledger.now().await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
}

conformance! {
    a_migration_that_waits_for_a_reader_keeps_nobody_else_waiting_and_goes_through_after_it
    a_migration_reads_whole_tables_as_it_should_and_waits_shortly_for_locks
    what_a_newer_regua_adds_breaks_nothing_that_runs
    any_number_of_processes_may_migrate_at_once
    any_number_of_processes_may_open_and_migrate_at_once
    a_second_migration_changes_nothing
    a_ledger_that_a_newer_regua_only_added_to_is_run_on
    a_ledger_from_which_a_newer_regua_took_away_is_refused
    no_migration_asks_for_more_than_its_own_number
    a_contraction_says_what_it_asks_for
    a_ledger_knows_which_database_it_is
    one_process_at_a_time_has_its_broker_inside
    a_closed_ledger_answers_nothing_and_says_so
    an_unmigrated_database_is_an_error_and_not_unreachable
}
