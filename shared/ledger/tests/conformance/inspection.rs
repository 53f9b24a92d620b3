//! What the ledger tells of itself: its schema, its database, and who worked lately.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, due_for};
use chrono::{TimeDelta, Utc};
use regua_domain::message::State;
use regua_ledger::inspection::{Engine, SCHEMA};
use regua_ledger::recent_work::RecentWork;

async fn a_ledger_tells_its_schema_before_and_after_its_first_migration(f: Fixture) {
    let ledger = f.open().await;
    ledger.reach().await.unwrap();
    assert_eq!(ledger.inspect().await.unwrap().schema, 0);
    assert!(ledger.write_nothing().await.is_err(), "there is nothing to write to yet");
    ledger.migrate().await.unwrap();
    let seen = ledger.inspect().await.unwrap();
    assert_eq!(seen.schema, SCHEMA);
    match seen.engine {
        Engine::Sqlite(facts) => assert_eq!((facts.journal_mode.as_str(), facts.synchronous), ("wal", 2)),
        Engine::Postgres(facts) => {
            assert!(facts.version >= 15_00_00 && !facts.in_recovery && facts.connections_used > 0, "{facts:?}");
            assert_eq!(facts.lost_bounds, <[&str; 0]>::default(), "what each connection asks for holds");
        }
    }
    ledger.write_nothing().await.unwrap();
    assert_eq!(ledger.quick_check().await.unwrap(), None);
}

async fn another_clock_is_compared_with_the_ledgers_own(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let off = w.ledger.off_by(Utc::now() + TimeDelta::minutes(5), Utc::now()).await.unwrap();
    assert!((off - TimeDelta::minutes(5)).abs() < TimeDelta::seconds(1), "the demo's offset is none: {off}");
}

async fn who_worked_lately_and_how_far_a_run_is_are_told(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    assert_eq!(w.ledger.recent_work().await.unwrap(), RecentWork::default());
    assert_eq!(w.ledger.run_progress(&[]).await.unwrap().len(), 0);
    w.customers(1, 4, due_for("overdue")).await;
    let (run, counts) = w.evaluate().await;
    let progress = w.ledger.run_progress(&[run]).await.unwrap();
    assert_eq!((progress[&run][&State::Held], progress[&run].len()), (4, 1), "{counts:?}");
    w.release().await;
    let ids = w.top_up(10).await;
    w.send(ids[0]).await;
    let work = w.ledger.recent_work().await.unwrap();
    assert_eq!((work.dispatchers.len(), work.dispatchers[0].attempts, work.made.values().sum::<u64>()), (1, 1, 1), "{work:?}");
    assert!(w.ledger.closed_gates().await.unwrap().is_empty() && w.ledger.held_runs().await.unwrap().is_empty());
    assert!(w.ledger.webhooks_heard().await.unwrap().is_empty());
}

conformance! {
    a_ledger_tells_its_schema_before_and_after_its_first_migration
    another_clock_is_compared_with_the_ledgers_own
    who_worked_lately_and_how_far_a_run_is_are_told
}
