//! F9, F13: ticks that come twice, late, or in the other order.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, due_for};
use chrono::TimeDelta;
use regua_domain::schedule::TaskKind;
use regua_ledger::new_id;
use regua_ledger::runs::LeaseAnswer;

/// A sync takes longer than the broker's patience (30 min): the tick comes again, to another evaluator, and starts nothing beside the first.
async fn f9_a_tick_that_is_redelivered_after_half_an_hour_starts_no_second_evaluation(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 3, due_for("overdue")).await;
    let first = w.leased_run().await;
    let batch = w.decide(&first).await;
    for _ in 0..75 {
        w.f.advance(TimeDelta::seconds(25)).await;
        w.ledger.heartbeat(first.run.id, first.owner).await.unwrap();
    }
    let second = w.ledger.lease_run(first.run.id, new_id(), w.local_today().await, None).await.unwrap();
    assert!(matches!(second, LeaseAnswer::Held), "{second:?}");
    assert_eq!(w.ledger.commit_evaluation(batch).await.unwrap().held, 3);
}

/// An outage until ten: the ticks of 08:00 and 08:30 come together, and the second one is taken first. What the first decides later may go.
async fn f13_after_an_outage_the_release_may_come_before_the_evaluation(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    w.customers(1, 3, due_for("overdue")).await;
    let ten = w.now().await;
    let eight = ten - TimeDelta::hours(2);
    let update = w.ledger.plan_run("update-collections".into(), TaskKind::UpdateCollections, eight, None).await.unwrap().0;
    w.ledger.release_through(eight + TimeDelta::minutes(30)).await.unwrap();
    let LeaseAnswer::Leased(run) = w.ledger.lease_run(update, new_id(), w.local_today().await, None).await.unwrap() else {
        panic!()
    };
    let batch = w.decide(&run).await;
    assert_eq!(w.ledger.commit_evaluation(batch).await.unwrap().held, 3);
    assert_eq!(w.top_up(10).await.len(), 3, "today, not with tomorrow's release");
}

conformance! {
    f9_a_tick_that_is_redelivered_after_half_an_hour_starts_no_second_evaluation
    f13_after_an_outage_the_release_may_come_before_the_evaluation
}
