//! Doubt, settled by a person (F1).

use crate::databases::Fixture;
use crate::setup::{Setup, stage};
use crate::world::{LEASE, World, due_for, finished, invoice, sent, skipped};
use chrono::TimeDelta;
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DeferReason, DoubtReason, FailReason, SkipReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::conservation::compare;
use regua_ledger::doubt::{DOUBT_EXPIRES_AFTER, DOUBT_GRACE, Resolution};
use regua_ledger::finish::FinishAnswer;
use regua_ledger::{LedgerError, new_id};

/// A message in doubt whose attempt can't report any more.
pub async fn doubtful(f: Fixture) -> (World, MessageId, AttemptId) {
    let w = World::new(f, &Setup { open_windows: 10, max_age: "30d", ..Setup::default() }).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, Settlement::Doubt { why: DoubtReason::ConnectionLost }).await;
    w.f.advance(LEASE + DOUBT_GRACE).await;
    (w, id, attempt)
}

async fn resolve(w: &World, id: MessageId, how: Resolution) -> Result<(), LedgerError> {
    w.ledger.resolve_doubt(id, how, "ana".into(), "conferido no Opa!".into()).await
}

fn refusal(result: Result<(), LedgerError>) -> String {
    match result {
        Err(LedgerError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn resolutions(w: &World) -> Vec<Option<String>> {
    w.f.texts("SELECT how || ' ' || resolved_by || ' ' || why FROM resolutions ORDER BY id").await
}

async fn a_person_may_know_that_it_was_sent(f: Fixture) {
    let (w, id, _) = doubtful(f).await;
    resolve(&w, id, Resolution::Sent).await.unwrap();
    assert_eq!(w.state(id).await, (State::Sent, None));
    assert_eq!(resolutions(&w).await, [Some("sent ana conferido no Opa!".into())]);
}

async fn a_person_may_let_it_go(f: Fixture) {
    let (w, id, _) = doubtful(f).await;
    resolve(&w, id, Resolution::Drop).await.unwrap();
    assert_eq!(w.state(id).await, (State::Failed, Some("dropped".into())));
    assert!(refusal(resolve(&w, id, Resolution::Sent).await).contains("nothing to resolve"), "settled is settled");
    assert_eq!(resolutions(&w).await.len(), 1);
}

async fn a_person_may_have_it_sent_again(f: Fixture) {
    let (w, id, first) = doubtful(f).await;
    resolve(&w, id, Resolution::Resend).await.unwrap();
    assert_eq!(w.state(id).await, (State::Scheduled, None));
    assert_eq!(w.top_up(10).await, [id]);
    let second = w.started(id).await;
    assert_eq!(second.number, 2, "the doubtful attempt counts");
    assert_eq!(w.finish(id, first, sent("late")).await, FinishAnswer::Late, "the first is past settling, but kept");
    assert_eq!(w.finish(id, second.attempt_id, sent("p")).await, FinishAnswer::Settled);
    let (_, attempts) = w.ledger.message(id).await.unwrap().unwrap();
    assert_eq!(attempts.iter().map(|a| a.outcome.as_deref()).collect::<Vec<_>>(), [Some("sent"), Some("sent")]);
    assert_eq!(w.ledger.conservation().await.unwrap().resent.get(&id), Some(&1));
}

async fn nothing_is_sent_again_while_its_attempt_may_still_report(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    w.f.advance(LEASE + DOUBT_GRACE - TimeDelta::seconds(10)).await;
    assert!(refusal(resolve(&w, id, Resolution::Resend).await).contains("may still report"));
    assert_eq!((w.state(id).await.0, resolutions(&w).await.len()), (State::InDoubt, 0));
    w.f.advance(TimeDelta::seconds(10)).await;
    resolve(&w, id, Resolution::Resend).await.unwrap();
}

async fn nothing_is_sent_again_after_its_time(f: Fixture) {
    let (w, id, _) = doubtful(f).await;
    w.f.advance(TimeDelta::days(30)).await;
    assert!(refusal(resolve(&w, id, Resolution::Resend).await).contains("expired"));
    resolve(&w, id, Resolution::Drop).await.unwrap();
}

async fn f1_nothing_is_sent_again_that_a_later_stage_overtook(f: Fixture) {
    let (w, id, _) = doubtful(f).await;
    w.f.advance(TimeDelta::days(4)).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    assert!(refusal(resolve(&w, id, Resolution::Resend).await).contains("overtaken"));
    assert_eq!(w.state(id).await.0, State::InDoubt);
    w.release().await;
    let next = w.top_up(10).await[0];
    w.send(next).await;
    assert!(refusal(resolve(&w, id, Resolution::Resend).await).contains("overtaken"), "sent counts as live");
}

async fn a_later_stage_that_was_never_sent_is_in_nobodys_way(f: Fixture) {
    let (w, id, _) = doubtful(f).await;
    w.f.advance(TimeDelta::days(4)).await;
    w.evaluate().await;
    w.f.execute("UPDATE messages SET state = 'skipped', reason = 'opted_out' WHERE state = 'held'").await;
    resolve(&w, id, Resolution::Resend).await.unwrap();
}

async fn only_doubt_can_be_resolved(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let id = w.queued(1).await[0];
    for how in [Resolution::Sent, Resolution::Resend, Resolution::Drop] {
        assert!(refusal(resolve(&w, id, how).await).contains("not in_doubt"), "{}", how.as_str());
        assert!(refusal(resolve(&w, MessageId(new_id()), how).await).contains("no such message"));
    }
    assert_eq!(w.state(id).await.0, State::Queued);
}

async fn f1_evidence_settles_before_a_person_does(f: Fixture) {
    let (w, id, attempt) = doubtful(f).await;
    let (report, person) = tokio::join!(w.finish(id, attempt, sent("p")), resolve(&w, id, Resolution::Drop));
    match report {
        FinishAnswer::Settled => assert!(person.is_err() && w.state(id).await.0 == State::Sent),
        FinishAnswer::Late => assert!(person.is_ok() && w.state(id).await.0 == State::Failed),
        FinishAnswer::Confirmed | FinishAnswer::Repeated | FinishAnswer::Unknown => panic!("{report:?}"),
    }
}

async fn a_resend_and_the_next_stage_never_live_together(f: Fixture) {
    let (w, id, _) = doubtful(f).await;
    w.f.advance(TimeDelta::days(4)).await;
    let batch = w.decide(&w.leased_run().await).await;
    let (resent, counts) = tokio::join!(resolve(&w, id, Resolution::Resend), w.ledger.commit_evaluation(batch));
    assert_eq!(counts.unwrap().held, 1);
    let expected = if resent.is_ok() { State::Skipped } else { State::InDoubt };
    assert_eq!(w.state(id).await.0, expected, "superseded or refused");
}

/// The due date is moved back while a message of the later one is in doubt: one of the earlier one lives, and of one invoice only one may.
async fn what_proves_unsent_never_wakes_beside_one_of_another_due_date(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 10, max_age: "30d", ..Setup::default() }).await;
    w.customers(1, 2, due_for("pre_due")).await;
    w.evaluate().await;
    w.release().await;
    let ids = w.top_up(10).await;
    let mut attempts = Vec::new();
    for id in &ids {
        attempts.push(w.started(*id).await.attempt_id);
    }
    w.f.advance(LEASE + TimeDelta::minutes(11)).await;
    assert_eq!(w.ledger.rescue().await.unwrap().len(), 2);
    w.f.advance(TimeDelta::days(1)).await;
    w.sync(&[], &[1, 2].map(|number| invoice(number, number, due_for("overdue")))).await;
    assert_eq!(w.evaluate().await.1.held, 2);
    let answers = [Settlement::Retry { at: w.now().await }, Settlement::Sent { provider_id: "p".into() }];
    let finish = |number: usize| finished(ids[number], attempts[number], answers[number].clone());
    let told = w.ledger.finish(vec![finish(0), finish(1)]).await.unwrap();
    assert_eq!(told.iter().map(|(_, answer)| *answer).collect::<Vec<_>>(), [FinishAnswer::Settled; 2]);
    assert_eq!(w.state(ids[0]).await, skipped(SkipReason::Superseded));
    assert_eq!(w.state(ids[1]).await.0, State::Sent);
}

async fn nothing_is_sent_again_beside_one_of_another_due_date(f: Fixture) {
    let (w, id, _) = doubtful(f).await;
    w.sync(&[], &[invoice(1, 1, due_for("overdue") - TimeDelta::days(4))]).await;
    w.f.advance(TimeDelta::minutes(11)).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    assert!(refusal(resolve(&w, id, Resolution::Resend).await).contains("overtaken"));
}

/// A reminder of a later due date was sent, and the date is the earlier one again: it says nothing about that.
async fn a_reminder_of_a_date_that_was_moved_back_overtakes_nothing(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 10, max_age: "30d", ..Setup::default() }).await;
    w.customers(1, 1, due_for("pre_due")).await;
    w.evaluate().await;
    w.release().await;
    let reminder = w.top_up(10).await[0];
    w.send(reminder).await;
    w.sync(&[], &[invoice(1, 1, due_for("overdue"))]).await;
    w.evaluate().await;
    w.release().await;
    w.f.advance(TimeDelta::seconds(10)).await;
    let id = w.top_up(10).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.f.advance(LEASE + TimeDelta::seconds(1)).await;
    w.ledger.rescue().await.unwrap();
    assert_eq!(w.finish(id, attempt, Settlement::GiveBack).await, FinishAnswer::Settled);
    assert_eq!(w.state(id).await.0, State::Scheduled);
}

/// Moves the clock to the end of a message's doubt, less `before`.
async fn to_the_end_of_doubt(w: &World, id: MessageId, before: TimeDelta) {
    let end = w.message(id).await.expires_at + DOUBT_EXPIRES_AFTER;
    w.f.advance(end - before - w.now().await).await;
}

const DOUBT_EXPIRED: &str = "doubt_expired";

/// F19.
async fn doubt_that_nobody_settles_ends_long_after_its_messages_time(f: Fixture) {
    let (w, id, _) = doubtful(f).await;
    assert!(DOUBT_EXPIRES_AFTER > LEASE + DOUBT_GRACE);
    to_the_end_of_doubt(&w, id, TimeDelta::minutes(1)).await;
    assert_eq!(w.ledger.expire_doubt().await.unwrap(), 0);
    w.f.advance(TimeDelta::minutes(1)).await;
    assert_eq!((w.ledger.expire_doubt().await.unwrap(), w.ledger.expire_doubt().await.unwrap()), (1, 0));
    assert_eq!(w.state(id).await, (State::Failed, Some(DOUBT_EXPIRED.into())));
    for how in [Resolution::Sent, Resolution::Resend, Resolution::Drop] {
        assert!(refusal(resolve(&w, id, how).await).contains("not in_doubt"), "{}", how.as_str());
    }
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!(counts.evaluated, counts.total());
    for provider in [vec![], vec![Some(id)]] {
        assert_eq!(compare(&w.ledger.conservation().await.unwrap(), provider.into_iter()), [], "it may be there");
    }
}

/// F1: whoever knows that it was sent is believed, however late.
async fn proof_of_the_sending_settles_doubt_that_has_expired(f: Fixture) {
    let (w, id, attempt) = doubtful(f).await;
    to_the_end_of_doubt(&w, id, TimeDelta::zero()).await;
    w.ledger.expire_doubt().await.unwrap();
    assert_eq!(w.finish(id, AttemptId(new_id()), sent("p")).await, FinishAnswer::Unknown);
    assert_eq!(w.finish(id, attempt, sent("p")).await, FinishAnswer::Settled);
    assert_eq!(w.state(id).await, (State::Sent, None));
    assert_eq!(w.message(id).await.provider_id.as_deref(), Some("p"));
    assert_eq!(w.finish(id, attempt, sent("p")).await, FinishAnswer::Repeated);
}

/// It is kept on the attempt, but its time is long past: nothing waits again because of it.
async fn proof_of_the_opposite_wakes_no_expired_doubt(f: Fixture) {
    let (w, id, attempt) = doubtful(f).await;
    to_the_end_of_doubt(&w, id, TimeDelta::zero()).await;
    w.ledger.expire_doubt().await.unwrap();
    let at = w.now().await;
    let proofs = [
        Settlement::Retry { at },
        Settlement::Defer { until: at, why: DeferReason::Throttled },
        Settlement::GiveBack,
        Settlement::Fail { why: FailReason::Rejected },
        Settlement::Doubt { why: DoubtReason::TimedOut },
    ];
    for settlement in proofs {
        w.f.execute("UPDATE attempts SET outcome = 'doubt'").await;
        assert_ne!(w.finish(id, attempt, settlement.clone()).await, FinishAnswer::Settled, "{settlement:?}");
        assert_eq!(w.state(id).await, (State::Failed, Some(DOUBT_EXPIRED.into())), "{settlement:?}");
    }
}

async fn a_sweep_of_doubt_is_bounded_and_leaves_what_is_settled_at_once(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 0, per_day: 50, ..Setup::default() }).await;
    let ids = w.queued(40).await;
    let mut results = Vec::new();
    for id in &ids {
        results.push(finished(*id, w.started(*id).await.attempt_id, Settlement::Doubt { why: DoubtReason::TimedOut }));
    }
    w.ledger.finish(results.clone()).await.unwrap();
    to_the_end_of_doubt(&w, ids[0], TimeDelta::zero()).await;
    let sweeps = futures::future::join_all((0..4).map(|_| w.ledger.expire_doubt()));
    let late = results[..20].iter().map(|r| finished(r.message_id, r.attempt_id, sent("p"))).collect();
    let (swept, settled) = tokio::join!(sweeps, w.ledger.finish(late));
    assert!(settled.unwrap().iter().all(|(_, answer)| *answer == FinishAnswer::Settled), "before or after: evidence wins");
    let mut expired: u64 = swept.into_iter().map(|swept| swept.unwrap()).sum();
    expired += w.ledger.expire_doubt().await.unwrap();
    assert!((20..=40).contains(&expired), "{expired}");
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!((counts.of(State::Sent), counts.of(State::Failed), counts.total()), (20, 20, 40));
}

/// What may have arrived bars an earlier stage and keeps the next one away, doubt that nobody settled in time as well.
async fn doubt_that_has_expired_counts_as_sent(f: Fixture) {
    let stages = stage("overdue", 3, "Aviso") + &stage("pending_query", 5, "Pendência");
    let setup = Setup { stages, days_between_stages: 4, max_age: "30d", ..Setup::default() };
    let w = World::new(f, &setup).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    to_the_end_of_doubt(&w, id, TimeDelta::zero()).await;
    assert_eq!(w.ledger.expire_doubt().await.unwrap(), 1);
    w.f.advance(TimeDelta::hours(16)).await;
    for held in [0, 0, 1] {
        assert_eq!(w.evaluate().await.1.held, held, "{}", w.local_today().await);
        w.f.advance(TimeDelta::days(1)).await;
    }
}

conformance! {
    doubt_that_nobody_settles_ends_long_after_its_messages_time
    proof_of_the_sending_settles_doubt_that_has_expired
    proof_of_the_opposite_wakes_no_expired_doubt
    a_sweep_of_doubt_is_bounded_and_leaves_what_is_settled_at_once
    doubt_that_has_expired_counts_as_sent
    what_proves_unsent_never_wakes_beside_one_of_another_due_date
    nothing_is_sent_again_beside_one_of_another_due_date
    a_reminder_of_a_date_that_was_moved_back_overtakes_nothing
    a_person_may_know_that_it_was_sent
    a_person_may_let_it_go
    a_person_may_have_it_sent_again
    nothing_is_sent_again_while_its_attempt_may_still_report
    nothing_is_sent_again_after_its_time
    f1_nothing_is_sent_again_that_a_later_stage_overtook
    a_later_stage_that_was_never_sent_is_in_nobodys_way
    only_doubt_can_be_resolved
    f1_evidence_settles_before_a_person_does
    a_resend_and_the_next_stage_never_live_together
}
