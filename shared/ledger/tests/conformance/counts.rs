//! The counts that the database keeps: whatever is written, by whom and at once with whom, they are what counting the rows says.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, by, sent};
use chrono::TimeDelta;
use regua_domain::message::{DoubtReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::counts::FOLD_MAX;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The kept counts are those of the rows, folded or not.
#[track_caller]
pub fn agree(w: &World) -> impl Future<Output = ()> + '_ {
    let place = std::panic::Location::caller();
    async move {
        let (counts, by_stage) = (w.ledger.counts().await.unwrap(), w.ledger.counts_by_stage().await.unwrap());
        for folded in [false, true] {
            let kept = w.ledger.kept_counts().await.unwrap();
            assert_eq!((kept.counts(), kept.by_stage()), (counts.clone(), by_stage.clone()), "{place}, folded: {folded}");
            while w.ledger.fold_counts().await.unwrap() > 0 {}
        }
    }
}

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { per_second: 0, max_age: "30d", open_windows: 10, ..Setup::default() }).await
}

async fn f21_the_kept_counts_are_those_of_the_rows_at_every_step_of_a_day(f: Fixture) {
    let w = world(f).await;
    agree(&w).await;
    let ids = w.queued(6).await;
    agree(&w).await;
    w.send(ids[0]).await;
    let doubtful = w.started(ids[1]).await.attempt_id;
    w.finish(ids[1], doubtful, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    w.opt_out(&[2], "ana").await;
    w.start_one(ids[2]).await;
    let open = w.started(ids[3]).await.attempt_id;
    agree(&w).await;
    w.finish(ids[3], open, Settlement::GiveBack).await;
    w.finish(ids[1], doubtful, sent("late")).await;
    w.started(ids[4]).await;
    w.f.advance(TimeDelta::minutes(5)).await;
    w.ledger.rescue().await.unwrap();
    agree(&w).await;
    w.f.advance(TimeDelta::days(20)).await;
    w.ledger.expire().await.unwrap();
    w.ledger.expire_doubt().await.unwrap();
    agree(&w).await;
    let kept = w.ledger.kept_counts().await.unwrap().counts();
    assert_eq!((kept.total(), kept.evaluated, kept.of(State::Sent), kept.live()), (6, 6, 2, 0));
}

/// A row's whole life past the ledger's functions: a process of before the migration knows none of them.
async fn what_is_written_past_the_ledger_is_counted_too(f: Fixture) {
    let w = world(f).await;
    w.queued(5).await;
    for statement in [
        "UPDATE messages SET redirected = true",
        "UPDATE messages SET reason = 'throttled' WHERE id = (SELECT MIN(CAST(id AS TEXT)) FROM messages)",
        "UPDATE messages SET updated_at = updated_at + 1",
        "UPDATE messages SET state = 'failed', reason = 'rejected', queued_at = NULL",
        "DELETE FROM message_texts",
        "DELETE FROM messages",
    ] {
        let statement = if w.f.is_sqlite() {
            statement.replace("MIN(CAST(id AS TEXT))", "MIN(id)")
        } else {
            statement.replace("id = (", "CAST(id AS TEXT) = (")
        };
        w.f.execute(statement).await;
        agree(&w).await;
    }
    assert_eq!(w.ledger.kept_counts().await.unwrap().counts().total(), 0);
}

/// A tool with a search_path of its own; PostgreSQL's triggers ran with the writer's.
async fn who_writes_with_another_search_path_is_counted_too(f: Fixture) {
    let w = world(f).await;
    if w.f.is_sqlite() {
        return;
    }
    w.queued(2).await;
    let schema = w.f.text("SELECT CAST(current_schema() AS TEXT)").await.unwrap();
    for change in ["UPDATE {}.messages SET redirected = true", "DELETE FROM {}.message_texts; DELETE FROM {}.messages"] {
        let change = change.replace("{}", &schema);
        w.f.execute(format!("BEGIN; SET LOCAL search_path = pg_catalog; {change}; COMMIT")).await;
        agree(&w).await;
    }
}

/// Counts that somebody altered by hand, say.
async fn f21_counts_that_drifted_refuse_no_write_and_a_recount_mends_them(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(4).await;
    while w.ledger.fold_counts().await.unwrap() > 0 {}
    w.f.execute("UPDATE message_counts SET messages = 0").await;
    w.send(ids[0]).await;
    let kept = w.ledger.kept_counts().await.unwrap();
    assert_eq!((kept.below_zero, kept.counts().of(State::Queued)), (1, 0));
    let mended = w.ledger.recount(by("ana")).await.unwrap();
    let of: Vec<_> = mended.iter().map(|count| (count.of.state, count.kept, count.of.messages)).collect();
    assert_eq!(of, [(State::Queued, -1, 3)]);
    assert_eq!(w.ledger.kept_counts().await.unwrap().below_zero, 0);
    agree(&w).await;
    assert!(w.ledger.recount(by("ana")).await.unwrap().is_empty());
    assert_eq!(w.f.count("audit_log WHERE action = 'counts_mended' AND by_whom = 'ana'").await, 1);
    w.send(ids[1]).await;
    agree(&w).await;
}

async fn the_migration_counts_what_is_there(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(4).await;
    w.send(ids[0]).await;
    let (gone, again) = if w.f.is_sqlite() {
        let triggers =
            ["inserted", "updated", "deleted"].map(|what| format!("DROP TRIGGER {what}_messages_are_counted;")).concat();
        let sqlite = [
            include_str!("../../migrations/sqlite/0019_counts.sql"),
            include_str!("../../migrations/sqlite/0023_counts_refuse_nothing.sql"),
        ];
        (format!("{triggers} DROP TABLE message_counts"), sqlite)
    } else {
        let functions =
            ["inserted", "updated", "deleted"].map(|what| format!("DROP FUNCTION count_{what}_messages CASCADE;")).concat();
        let tables = "DROP TABLE message_counts, message_count_changes";
        let postgres = [
            include_str!("../../migrations/postgres/0019_counts.sql"),
            include_str!("../../migrations/postgres/0023_counts_refuse_nothing.sql"),
        ];
        (format!("{functions} {tables}"), postgres)
    };
    w.f.execute(format!("{gone}; DROP INDEX runs_that_wrote")).await;
    w.send(ids[1]).await;
    for (sent, script) in (2..).zip(again) {
        w.f.execute(script).await;
        agree(&w).await;
        assert_eq!(w.ledger.kept_counts().await.unwrap().counts().of(State::Sent), sent);
        w.send(ids[usize::try_from(sent).unwrap()]).await;
        agree(&w).await;
    }
}

async fn a_change_that_moves_nobody_leaves_nothing_to_fold(f: Fixture) {
    let w = world(f).await;
    w.queued(5).await;
    while w.ledger.fold_counts().await.unwrap() > 0 {}
    w.f.execute("UPDATE messages SET updated_at = updated_at + 1").await;
    assert_eq!(w.ledger.fold_counts().await.unwrap(), 0);
}

async fn a_fold_is_bounded_and_the_next_one_goes_on(f: Fixture) {
    let w = world(f).await;
    if w.f.is_sqlite() {
        assert_eq!(w.ledger.fold_counts().await.unwrap(), 0, "it counts in place");
        return;
    }
    let more = FOLD_MAX + 7;
    w.f.execute(format!(
        "INSERT INTO message_count_changes (state, stage, reason, redirected, change)
         SELECT 'sent', 'overdue', '', false, 1 FROM generate_series(1, {more})"
    ))
    .await;
    let before = w.ledger.kept_counts().await.unwrap();
    let folded =
        [w.ledger.fold_counts().await.unwrap(), w.ledger.fold_counts().await.unwrap(), w.ledger.fold_counts().await.unwrap()];
    assert_eq!(folded, [u64::from(FOLD_MAX), 7, 0]);
    assert_eq!(w.ledger.kept_counts().await.unwrap(), before);
    assert_eq!(before.counts().of(State::Sent), u64::from(more));
}

async fn ids(w: &World) -> Vec<String> {
    w.f.texts("SELECT CAST(id AS TEXT) FROM messages ORDER BY id").await.into_iter().flatten().collect()
}

/// Lets messages fail and wait again, so often.
async fn to_and_fro(w: &World, ids: &[String], rounds: usize) {
    let among = format!("CAST(id AS TEXT) IN ('{}')", ids.join("', '"));
    for round in 0..rounds {
        w.f.execute(format!("UPDATE messages SET state = 'failed', reason = 'r{round}', queued_at = NULL WHERE {among}")).await;
        w.f.execute(format!("UPDATE messages SET state = 'queued', reason = NULL, queued_at = 1 WHERE {among}")).await;
    }
}

/// Of two recounts at once one mends what has drifted, however much is written and folded meanwhile.
async fn recounts_beside_writers_and_folders_mend_once(f: Fixture) {
    let w = world(f).await;
    w.queued(20).await;
    while w.ledger.fold_counts().await.unwrap() > 0 {}
    w.f.execute("UPDATE message_counts SET messages = messages + 7 WHERE state = 'queued'").await;
    let ids = ids(&w).await;
    let over = AtomicBool::new(false);
    let recounts = async || {
        let mut mended = 0;
        while !over.load(Ordering::Relaxed) {
            mended += w.ledger.recount(by("ana")).await.unwrap().len();
            w.ledger.fold_counts().await.unwrap();
        }
        mended
    };
    let writer = async {
        to_and_fro(&w, &ids, 25).await;
        over.store(true, Ordering::Relaxed);
    };
    let (one, other, ()) = futures::join!(recounts(), recounts(), writer);
    assert_eq!(one + other, 1);
    agree(&w).await;
}

/// `regua up` on PostgreSQL has its broker inside for as long as it runs.
async fn a_recount_goes_through_beside_a_broker_inside(f: Fixture) {
    let w = world(f).await;
    let _held = w.ledger.hold_memory_broker().await.unwrap().unwrap();
    let recount = tokio::time::timeout(Duration::from_secs(10), w.ledger.recount(by("ana")));
    assert_eq!(recount.await.expect("it waits for the broker").unwrap(), []);
}

/// Both would find the same difference, and mend it twice.
async fn a_recount_waits_for_another_one(f: Fixture) {
    let w = world(f).await;
    let Some(pool) = w.f.postgres() else { return };
    w.f.execute("INSERT INTO message_counts VALUES ('sent', 'overdue', '', false, 7)").await;
    let mut other = pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(7264112311)").execute(&mut *other).await.unwrap();
    let ledger = w.ledger.clone();
    let recount = tokio::spawn(async move { ledger.recount(by("ana")).await });
    w.f.blocked_by(&mut other).await;
    other.rollback().await.unwrap();
    assert_eq!(recount.await.unwrap().unwrap().len(), 1);
    agree(&w).await;
}

/// Writers, folders and a reader at once: no change is lost or folded twice, and every look sees whole transactions.
async fn f21_writers_and_folders_at_once_lose_nothing(f: Fixture) {
    const MESSAGES: u64 = 40;
    const ROUNDS: usize = 25;
    let w = world(f).await;
    w.queued(u32::try_from(MESSAGES).unwrap()).await;
    let over = AtomicBool::new(false);
    let ids = ids(&w).await;
    let writer = async |ids: &[String]| to_and_fro(&w, ids, ROUNDS).await;
    let folder = async || {
        while !over.load(Ordering::Relaxed) {
            w.ledger.fold_counts().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let reader = async || {
        while !over.load(Ordering::Relaxed) {
            let counts = w.ledger.kept_counts().await.unwrap().counts();
            assert_eq!((counts.total(), counts.evaluated), (MESSAGES, MESSAGES));
        }
    };
    let writers = async {
        let halves = ids.split_at(ids.len() / 2);
        futures::future::join(writer(halves.0), writer(halves.1)).await;
        over.store(true, Ordering::Relaxed);
    };
    futures::join!(writers, folder(), folder(), reader());
    agree(&w).await;
}

conformance! {
    who_writes_with_another_search_path_is_counted_too
    f21_counts_that_drifted_refuse_no_write_and_a_recount_mends_them
    recounts_beside_writers_and_folders_mend_once
    a_recount_goes_through_beside_a_broker_inside
    a_recount_waits_for_another_one
    f21_the_kept_counts_are_those_of_the_rows_at_every_step_of_a_day
    what_is_written_past_the_ledger_is_counted_too
    the_migration_counts_what_is_there
    a_change_that_moves_nobody_leaves_nothing_to_fold
    a_fold_is_bounded_and_the_next_one_goes_on
    f21_writers_and_folders_at_once_lose_nothing
}
