//! Schedules as people really set them: runs that come too often, while another still works, or long after their time.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, due_for, sent};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::message::{DeferReason, FailReason, State};
use regua_domain::schedule::TaskKind;
use regua_domain::settlement::Settlement;
use regua_domain::stage::Stage;
use regua_ledger::evaluation::EvaluationCounts;
use regua_ledger::new_id;
use regua_ledger::runs::LeaseAnswer;

/// Long lives, so that days may pass.
async fn world(f: Fixture) -> World {
    World::new(f, &Setup { open_windows: 10, max_age: "30d", ..Setup::default() }).await
}

async fn stages_and_states(w: &World, invoice: u32) -> Vec<(Stage, State)> {
    w.messages_of(invoice).await.iter().map(|message| (message.stage, message.state)).collect()
}

/// A task set to every fifteen minutes instead of once a day, after somebody had run it by hand: what was said is not said again, neither
/// that day nor on the next, and the next stage comes on its own day.
async fn a_task_of_every_quarter_of_an_hour_says_nothing_twice(f: Fixture) {
    let w = world(f).await;
    for id in w.queued(2).await {
        w.send(id).await;
    }
    for _ in 0..96 {
        w.f.advance(TimeDelta::minutes(15)).await;
        assert_eq!(w.evaluate().await.1, EvaluationCounts::default(), "{}", w.now().await);
        w.release().await;
        assert!(w.top_up(10).await.is_empty());
    }
    assert_eq!(stages_and_states(&w, 1).await, [(Stage::Overdue, State::Sent)]);
    w.f.advance(TimeDelta::days(3)).await;
    assert_eq!(w.evaluate().await.1.held, 2);
    assert_eq!(stages_and_states(&w, 1).await, [(Stage::Overdue, State::Sent), (Stage::PendingQuery, State::Held)]);
}

/// Its evaluator hangs and keeps its lease alive: the next day's run is another one, and what the first still writes is nothing new.
async fn a_run_that_hangs_keeps_no_later_run_waiting(f: Fixture) {
    let w = world(f).await;
    w.customers(1, 3, due_for("overdue")).await;
    let hangs = w.leased_run().await;
    let batch = w.decide(&hangs).await;
    w.f.advance(TimeDelta::days(1)).await;
    w.ledger.heartbeat(hangs.run.id, hangs.owner).await.unwrap();
    assert_eq!(w.evaluate().await.1.held, 3);
    assert_eq!(w.ledger.commit_evaluation(batch).await.unwrap(), EvaluationCounts::default());
    w.ledger.finish_run(hangs.run.id, hangs.owner, None).await.unwrap();
    assert_eq!(w.ledger.counts().await.unwrap().total(), 3);
}

/// What ended badly is the end of its own stage, never of its invoice.
async fn what_failed_or_is_in_doubt_keeps_its_invoice_from_no_later_stage(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    let refused = w.started(ids[0]).await.attempt_id;
    w.finish(ids[0], refused, Settlement::Fail { why: FailReason::Rejected }).await;
    w.started(ids[1]).await;
    w.f.advance(crate::world::LEASE).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 1, "its dispatcher is gone");
    w.f.advance(TimeDelta::days(4)).await;
    assert_eq!(w.evaluate().await.1.held, 3);
    for (invoice, state) in [(1, State::Failed), (2, State::InDoubt), (3, State::Skipped)] {
        assert_eq!(stages_and_states(&w, invoice).await, [(Stage::Overdue, state), (Stage::PendingQuery, State::Held)]);
    }
}

/// Nobody looked for hours: the instant that was waited for lies in the past, and the first look finds it.
async fn what_should_have_gone_hours_ago_goes_with_the_next_look(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    let until = w.now().await + TimeDelta::minutes(5);
    w.finish(id, attempt, Settlement::Defer { until, why: DeferReason::InService }).await;
    let (run, _) = w.ledger.plan_run("A".into(), TaskKind::UpdateCollections, w.now().await, None).await.unwrap();
    let lease = async || w.ledger.lease_run(run, new_id(), w.local_today().await, None).await.unwrap();
    let LeaseAnswer::Leased(leased) = lease().await else { panic!("nobody has it") };
    w.ledger.replan_run(run, leased.owner, TimeDelta::seconds(10), false, "o ERP não responde".into()).await.unwrap();
    w.f.advance(TimeDelta::hours(5)).await;
    assert_eq!(w.ledger.runs_to_tick(10).await.unwrap(), [run]);
    assert!(matches!(lease().await, LeaseAnswer::Leased(_)));
    assert_eq!(w.top_up(10).await, [id]);
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, sent("p")).await;
}

/// What the night decided leaves at the limit's pace when all windows open at nine.
async fn f26d_a_window_that_opens_lets_out_a_second_of_the_limit_at_a_time(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 4, open_windows: 10, max_age: "30d", ..Setup::default() }).await;
    let nine: DateTime<Utc> = "2026-03-10T12:00:00Z".parse().unwrap();
    w.f.advance(nine - TimeDelta::minutes(30) - w.now().await).await;
    w.released(1, 30, "overdue").await;
    let queue = async || w.ledger.top_up(w.channel, None).await.unwrap().queued;
    assert!(queue().await.is_empty(), "it is closed");
    w.f.advance(nine - w.now().await).await;
    let first = queue().await;
    assert_eq!((first.len(), queue().await.len()), (4, 0), "however often it is looked at");
    w.send(first[0]).await;
    assert_eq!(queue().await.len(), 1, "one left, one comes");
    assert_eq!(w.f.count("messages WHERE state = 'held'").await, 25);
}

conformance! {
    a_task_of_every_quarter_of_an_hour_says_nothing_twice
    a_run_that_hangs_keeps_no_later_run_waiting
    what_failed_or_is_in_doubt_keeps_its_invoice_from_no_later_stage
    what_should_have_gone_hours_ago_goes_with_the_next_look
    f26d_a_window_that_opens_lets_out_a_second_of_the_limit_at_a_time
}
