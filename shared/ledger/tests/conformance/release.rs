//! The watermark (F13): whatever runs planned up to it decided may go, whenever it is inserted.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, due_for};
use chrono::TimeDelta;

async fn nothing_goes_until_the_task_ran(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 2, due_for("overdue")).await;
    w.evaluate().await;
    assert!(w.top_up(10).await.is_empty());
    w.release().await;
    assert_eq!(w.top_up(10).await.len(), 2);
}

async fn f13_a_release_before_the_insert_holds_for_it(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 3, due_for("overdue")).await;
    let run = w.leased_run().await;
    let batch = w.decide(&run).await;
    let mut first = batch.clone();
    first.messages.truncate(1);
    w.ledger.commit_evaluation(first).await.unwrap();
    // The send task runs while the evaluation still does.
    w.release().await;
    assert_eq!(w.top_up(10).await.len(), 1);
    w.ledger.commit_evaluation(batch).await.unwrap();
    assert_eq!(w.top_up(10).await.len(), 2, "the rest of that run needs no second release");
}

async fn a_later_run_waits_for_the_next_release(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.release().await;
    w.customers(1, 1, due_for("overdue")).await;
    w.evaluate().await;
    assert!(w.top_up(10).await.is_empty());
    w.release().await;
    assert_eq!(w.top_up(10).await.len(), 1);
}

async fn f13_releases_commute_and_never_go_backwards(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 1, due_for("overdue")).await;
    w.evaluate().await;
    let now = w.now().await;
    w.ledger.release_through(now).await.unwrap();
    w.ledger.release_through(now - TimeDelta::days(1)).await.unwrap();
    w.ledger.release_through(now - TimeDelta::days(1)).await.unwrap();
    assert_eq!(w.top_up(10).await.len(), 1);
}

async fn an_integration_may_release_at_once(f: Fixture) {
    let immediate = Setup { release: "immediate", ..Setup::default() };
    let w = World::new(f, &immediate).await;
    w.customers(1, 2, due_for("overdue")).await;
    w.evaluate().await;
    assert_eq!(w.top_up(1).await.len(), 1);
    // The flag is read at each top-up: it leaves no watermark behind.
    w.ledger.apply_configuration(Setup::default().configuration()).await.unwrap();
    assert!(w.top_up(10).await.is_empty());
}

conformance! {
    nothing_goes_until_the_task_ran
    f13_a_release_before_the_insert_holds_for_it
    a_later_run_waits_for_the_next_release
    f13_releases_commute_and_never_go_backwards
    an_integration_may_release_at_once
}
