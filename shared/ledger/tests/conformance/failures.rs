//! Failures, and what a person does about them: whatever is tried again, nobody gets a message twice.

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{LEASE, World, due_for, invoice, sent};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::audit::Action;
use regua_domain::failure::FailureRefusal as Refusal;
use regua_domain::ids::{AttemptId, ChannelId, MessageId, PolicyId};
use regua_domain::message::{DeferReason, DoubtReason, FailReason, SkipReason, State};
use regua_domain::money::Centavos;
use regua_domain::receipt::ReceiptStatus;
use regua_domain::settlement::Settlement;
use regua_domain::stage::Stage;
use regua_ledger::audit::Filter;
use regua_ledger::conservation::compare;
use regua_ledger::doubt::{DOUBT_EXPIRES_AFTER, DOUBT_GRACE, Resolution};
use regua_ledger::failures::{BATCH_MAX, FailureFilter, Intervention};
use regua_ledger::receipts::{About, NewReceipt};
use regua_ledger::start::StartAnswer;
use regua_ledger::{LedgerError, new_id};

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { open_windows: 10, max_age: "30d", per_second: 0, per_day: 50, ..Setup::default() }).await
}

async fn fail(w: &World, id: MessageId, why: FailReason) -> AttemptId {
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, Settlement::Fail { why }).await;
    attempt
}

/// So many failed messages, each of its own customer.
async fn failed(w: &World, count: u32) -> Vec<MessageId> {
    let ids = w.queued(count).await;
    for id in &ids {
        fail(w, *id, FailReason::Rejected).await;
    }
    ids
}

fn ana() -> Intervention {
    Intervention { by: "ana".into(), why: "o modelo foi corrigido".into() }
}

/// Why a replay of one message is refused; `None`: it is tried again.
async fn replay(w: &World, id: MessageId) -> Option<Refusal> {
    let told = w.ledger.could_replay(&[id]).await.unwrap();
    let answers = w.ledger.replay(vec![id], ana()).await.unwrap();
    assert_eq!(told, answers, "what is told before is what happens");
    assert_eq!((answers.len(), answers[0].message), (1, id));
    answers[0].refusal
}

async fn listed(w: &World, filter: &FailureFilter) -> Vec<MessageId> {
    w.ledger.failures(filter, None, 100).await.unwrap().into_iter().map(|failure| failure.id).collect()
}

async fn a_replayed_failure_is_the_same_message_and_is_sent_once(f: Fixture) {
    let w = world(f).await;
    let id = failed(&w, 1).await[0];
    let before = w.message(id).await;
    assert_eq!((before.state, before.attempts), (State::Failed, 1));
    assert_eq!(replay(&w, id).await, None);
    let waiting = w.message(id).await;
    assert_eq!((waiting.state, waiting.reason, waiting.attempts, waiting.replays), (State::Scheduled, None, 0, 1));
    assert_eq!(replay(&w, id).await, Some(Refusal::NotFailed), "once");
    w.f.advance(TimeDelta::seconds(10)).await;
    assert_eq!(w.top_up(10).await, [id]);
    let started = w.started(id).await;
    assert_eq!(started.number, 1, "its attempts are counted afresh");
    w.finish(id, started.attempt_id, sent("p")).await;
    let side = w.ledger.conservation().await.unwrap();
    assert_eq!(compare(&side, [Some(id)].into_iter()), []);
    assert_eq!((side.counts.evaluated, side.counts.total(), side.counts.of(State::Sent)), (1, 1, 1));
    let filter = Filter { action: Some(Action::FailureReplayed), ..Filter::default() };
    let log = w.ledger.audit_log(&filter).await.unwrap();
    assert_eq!((log.len(), log[0].by.as_str(), log[0].why.as_deref()), (1, "ana", Some("o modelo foi corrigido")));
    assert_eq!((log[0].target.clone(), log[0].was.as_ref().unwrap()["attempts"].clone()), (id.to_string(), 1.into()));
}

/// Rendered from what is known then, and under the same limits as ever.
async fn a_replayed_failure_passes_all_that_any_message_passes(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 10, max_age: "30d", per_day: 1, per_second: 0, ..Setup::default() }).await;
    let id = failed(&w, 1).await[0];
    let mut changed = invoice(1, 1, due_for("overdue"));
    changed.open_amount = Centavos(7_700);
    w.sync(&[], &[changed]).await;
    assert_eq!(replay(&w, id).await, None);
    w.f.advance(TimeDelta::seconds(10)).await;
    let top_up = w.ledger.top_up(w.channel, Some(10)).await.unwrap();
    assert_eq!((top_up.queued, top_up.rendered_again), (vec![id], 1));
    assert!(w.f.text("SELECT variables FROM message_texts").await.unwrap().contains("77,00"));
    let answer = w.start_one(id).await;
    assert!(matches!(answer, StartAnswer::Postponed { why: DeferReason::PersonCap }), "{answer:?}");
}

async fn nothing_is_replayed_unless_every_attempt_certainly_sent_nothing(f: Fixture) {
    let w = world(f).await;
    let ids = failed(&w, 7).await;
    let outcomes = [None, Some("doubt"), Some("sent"), Some("retry"), Some("defer"), Some("fail"), Some("given_back")];
    for (id, outcome) in ids.iter().zip(outcomes) {
        let earlier = new_id();
        let (outcome_sql, finished) = outcome.map_or(("NULL".into(), "NULL"), |outcome| (format!("'{outcome}'"), "2"));
        w.f.execute(format!(
            "INSERT INTO attempts (id, message_id, number, channel_id, dispatcher, slot_at, lease_expires_at, recipient_before, outcome, finished_at)
             VALUES ('{earlier}', '{id}', 1, '{}', 'd', 1, 1, '{{}}', {outcome_sql}, {finished})",
            w.channel
        ))
        .await;
        let unsent = outcome.is_some_and(|outcome| !["doubt", "sent"].contains(&outcome));
        let expected = (!unsent).then_some(Refusal::MayHaveBeenSent);
        assert_eq!(replay(&w, *id).await, expected, "{outcome:?}");
        assert_eq!(w.message(*id).await.state == State::Scheduled, unsent, "{outcome:?}");
    }
}

/// The provider speaks of it: it knows the message.
async fn what_a_receipt_speaks_of_is_not_replayed(f: Fixture) {
    let w = world(f).await;
    let id = failed(&w, 1).await[0];
    let receipt = NewReceipt {
        integration_id: w.integration,
        about: About::Metadata { message: id, attempt: None },
        status: ReceiptStatus::Failed,
        provider_id: None,
        provider_code: Some(131_026),
        consequence: None,
        came_at: None,
    };
    w.ledger.receive(vec![receipt]).await.unwrap();
    assert_eq!(replay(&w, id).await, Some(Refusal::MayHaveBeenSent));
}

/// A person took the risk of a second message once, with what they knew then: not a second time without being asked.
async fn what_was_sent_again_out_of_doubt_and_failed_is_not_replayed(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let first = w.started(id).await.attempt_id;
    w.finish(id, first, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    w.f.advance(LEASE + DOUBT_GRACE).await;
    w.ledger.resolve_doubt(id, Resolution::Resend, "ana".into(), "não chegou".into()).await.unwrap();
    w.top_up(10).await;
    fail(&w, id, FailReason::Rejected).await;
    assert_eq!(replay(&w, id).await, Some(Refusal::MayHaveBeenSent));
    w.finish(id, first, sent("late")).await;
    assert_eq!(replay(&w, id).await, Some(Refusal::MayHaveBeenSent), "it had been taken");
    assert_eq!(w.state(id).await.0, State::Failed);
}

async fn doubt_that_was_dropped_or_expired_is_not_replayed(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    for id in &ids {
        let attempt = w.started(*id).await.attempt_id;
        w.finish(*id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    }
    w.ledger.resolve_doubt(ids[0], Resolution::Drop, "ana".into(), "deixa".into()).await.unwrap();
    assert_eq!(replay(&w, ids[0]).await, Some(Refusal::Dropped));
    w.f.advance(w.message(ids[1]).await.expires_at + DOUBT_EXPIRES_AFTER - w.now().await).await;
    assert_eq!(w.ledger.expire_doubt().await.unwrap(), 1);
    assert_eq!(replay(&w, ids[1]).await, Some(Refusal::DoubtExpired));
}

async fn nothing_is_replayed_after_its_time_or_when_it_is_not_called_for(f: Fixture) {
    let w = world(f).await;
    let ids = failed(&w, 3).await;
    w.sync(&[], &[crate::world::paid(&invoice(1, 1, due_for("overdue")))]).await;
    let answer = w.ledger.replay(vec![ids[0]], ana()).await.unwrap().remove(0);
    assert_eq!((answer.refusal, answer.not_called_for), (Some(Refusal::NotCalledFor), Some(SkipReason::Paid)));
    w.opt_out(&[2], "ana").await;
    let answer = w.ledger.replay(vec![ids[1]], ana()).await.unwrap().remove(0);
    assert_eq!((answer.refusal, answer.not_called_for), (Some(Refusal::NotCalledFor), Some(SkipReason::OptedOut)));
    w.f.advance(w.message(ids[2]).await.expires_at - w.now().await).await;
    assert_eq!(replay(&w, ids[2]).await, Some(Refusal::Expired));
    assert_eq!(replay(&w, MessageId(new_id())).await, Some(Refusal::Unknown));
    assert_eq!(w.ledger.counts().await.unwrap().of(State::Failed), 3);
}

async fn nothing_is_replayed_that_a_later_stage_overtook(f: Fixture) {
    let w = world(f).await;
    let id = failed(&w, 1).await[0];
    w.f.advance(TimeDelta::days(4)).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    assert_eq!(replay(&w, id).await, Some(Refusal::Overtaken));
    w.release().await;
    let next = w.top_up(10).await[0];
    w.send(next).await;
    assert_eq!(replay(&w, id).await, Some(Refusal::Overtaken), "sent counts as live");
    let state = "UPDATE messages SET state = 'failed', reason = 'doubt_expired' WHERE state = 'sent'";
    w.f.execute(state).await;
    // Long after the next stage's days: only what may have arrived stands in the way.
    w.f.advance(TimeDelta::days(4)).await;
    assert_eq!(replay(&w, id).await, Some(Refusal::Overtaken), "so does doubt that has expired");
}

/// Both have failed: the earlier one is no rival of the later, but they can't wait together.
async fn of_two_failures_of_one_invoice_only_the_more_advanced_waits_again(f: Fixture) {
    let w = world(f).await;
    let early = failed(&w, 1).await[0];
    w.f.advance(TimeDelta::days(4)).await;
    w.evaluate().await;
    w.release().await;
    let late = w.top_up(10).await[0];
    fail(&w, late, FailReason::Rejected).await;
    w.f.advance(TimeDelta::days(6)).await;
    for ids in [[early, late], [late, early]] {
        let answers = w.ledger.could_replay(&ids).await.unwrap();
        assert_eq!(answers.iter().map(|answer| answer.refusal).collect::<Vec<_>>(), [Some(Refusal::Overtaken), None]);
    }
    let answers = w.ledger.replay(vec![early, late], ana()).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.refusal).collect::<Vec<_>>(), [Some(Refusal::Overtaken), None]);
    assert_eq!((w.state(early).await.0, w.state(late).await.0), (State::Failed, State::Scheduled));
    assert_eq!(replay(&w, early).await, Some(Refusal::Overtaken));
}

async fn two_failures_of_one_invoice_that_are_replayed_at_once_never_live_together(f: Fixture) {
    let w = world(f).await;
    let early = failed(&w, 8).await;
    w.f.advance(TimeDelta::days(4)).await;
    w.evaluate().await;
    w.release().await;
    let late = w.top_up(100).await;
    for id in &late {
        fail(&w, *id, FailReason::Rejected).await;
    }
    w.f.advance(TimeDelta::days(6)).await;
    let replays = early.iter().chain(&late).map(|id| w.ledger.replay(vec![*id], ana()));
    let answers = futures::future::join_all(replays).await;
    let going = answers.into_iter().filter(|answers| answers.as_ref().unwrap()[0].refusal.is_none()).count();
    assert_eq!((going, late.len()), (8, 8));
    assert_eq!(w.f.count("messages WHERE state = 'scheduled'").await, 8);
}

async fn a_replay_and_the_next_stage_never_live_together(f: Fixture) {
    let w = world(f).await;
    let id = failed(&w, 1).await[0];
    w.f.advance(TimeDelta::days(4)).await;
    // The next stage is written by a clock that is a little ahead: as it is, nothing calls for the earlier one any more.
    let batch = w.decide(&w.leased_run().await).await;
    w.f.execute("UPDATE policy_stages SET enabled = FALSE WHERE stage = 'pending_query'").await;
    let (answers, counts) = tokio::join!(w.ledger.replay(vec![id], ana()), w.ledger.commit_evaluation(batch));
    assert_eq!(counts.unwrap().held, 1);
    let expected = if answers.unwrap()[0].refusal.is_none() { State::Skipped } else { State::Failed };
    assert_eq!(w.state(id).await.0, expected, "superseded or refused");
}

async fn many_who_replay_at_once_replay_once(f: Fixture) {
    let w = world(f).await;
    let ids = failed(&w, 3).await;
    let all = futures::future::join_all((0..6).map(|_| w.ledger.replay(ids.clone(), ana()))).await;
    let moved = all.iter().flat_map(|answers| answers.as_ref().unwrap()).filter(|answer| answer.refusal.is_none()).count();
    assert_eq!(moved, 3);
    assert_eq!(w.f.number("SELECT CAST(SUM(replays) AS BIGINT) FROM messages").await, Some(3));
}

/// F8: the backup has it as failed, and in the lost time it may have been replayed and sent.
async fn what_a_restored_backup_has_as_failed_is_not_replayed(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    fail(&w, ids[0], FailReason::Rejected).await;
    w.ledger.restored(w.now().await - TimeDelta::hours(1), "ana".into()).await.unwrap();
    assert_eq!(replay(&w, ids[0]).await, Some(Refusal::Restored));
    w.f.advance(TimeDelta::days(1)).await;
    assert_eq!(replay(&w, ids[0]).await, Some(Refusal::Restored), "for ever");
    w.customers(11, 1, due_for("overdue") + TimeDelta::days(1)).await;
    w.evaluate().await;
    w.release().await;
    let later = w.top_up(10).await[0];
    fail(&w, later, FailReason::Rejected).await;
    assert_eq!(replay(&w, later).await, None, "what failed after the lost time is as ever");
}

async fn a_discarded_failure_is_seen_and_tried_no_more(f: Fixture) {
    let w = world(f).await;
    let ids = failed(&w, 2).await;
    let told = w.ledger.could_discard(&ids).await.unwrap();
    assert_eq!(listed(&w, &FailureFilter::default()).await.len(), 2, "telling changes nothing");
    assert_eq!(w.ledger.discard(ids[..1].to_vec(), ana()).await.unwrap(), told[..1]);
    assert_eq!(listed(&w, &FailureFilter::default()).await, [ids[1]]);
    assert_eq!(w.ledger.failure_counts(&FailureFilter::default()).await.unwrap()[&FailReason::Rejected], 1);
    assert_eq!(replay(&w, ids[0]).await, Some(Refusal::Discarded));
    let again = w.ledger.discard(vec![ids[0]], ana()).await.unwrap();
    assert_eq!(again[0].refusal, Some(Refusal::Discarded));
    let message = w.message(ids[0]).await;
    assert_eq!((message.state, message.reason.as_deref()), (State::Failed, Some("rejected")), "its state stays");
    assert!(message.discarded_at.is_some());
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!((counts.evaluated, counts.total(), counts.of(State::Failed)), (2, 2, 2));
    let filter = Filter { action: Some(Action::FailureDiscarded), ..Filter::default() };
    assert_eq!(w.ledger.audit_log(&filter).await.unwrap().len(), 1);
    let waiting = w.released(11, 1, "overdue").await[0];
    let refused = w.ledger.discard(vec![waiting, MessageId(new_id())], ana()).await.unwrap();
    assert_eq!(
        refused.iter().map(|answer| answer.refusal).collect::<Vec<_>>(),
        [Some(Refusal::NotFailed), Some(Refusal::Unknown)]
    );
}

async fn failures_are_listed_by_page_and_filter(f: Fixture) {
    let w = world(f).await;
    let ids = failed(&w, 5).await;
    w.f.execute(format!("UPDATE messages SET reason = 'undeliverable' WHERE id = '{}'", ids[0])).await;
    w.f.execute(format!("UPDATE messages SET updated_at = 5000000 WHERE id = '{}'", ids[1])).await;
    w.f.execute(format!("UPDATE messages SET channel_id = '{}' WHERE id = '{}'", w.other_channel, ids[2])).await;
    w.f.execute(format!("UPDATE messages SET stage = 'in_person', stage_rank = 5 WHERE id = '{}'", ids[3])).await;
    w.f.execute(format!("UPDATE messages SET expires_at = expires_at + 1 WHERE id = '{}'", ids[0])).await;
    let all = listed(&w, &FailureFilter::default()).await;
    assert_eq!(all, [ids[0], ids[4], ids[3], ids[2], ids[1]], "those that can wait the longest first");
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = w.ledger.failures(&FailureFilter::default(), after.as_ref(), 2).await.unwrap();
        paged.extend(page.iter().map(|failure| failure.id));
        let Some(last) = page.into_iter().next_back() else { break };
        after = Some(last);
    }
    assert_eq!(paged, all);
    let at = |us: i64| DateTime::<Utc>::from_timestamp_micros(us);
    let none = FailureFilter::default();
    let filters = [
        (FailureFilter { reason: Some(FailReason::Undeliverable), ..none.clone() }, 0),
        (FailureFilter { until: at(5_000_001), ..none.clone() }, 1),
        (FailureFilter { since: at(5_000_000), until: at(6_000_000), ..none.clone() }, 1),
        (FailureFilter { channel: Some(w.other_channel), ..none.clone() }, 2),
        (FailureFilter { stage: Some(Stage::InPerson), ..none.clone() }, 3),
    ];
    for (filter, expected) in &filters {
        assert_eq!(listed(&w, filter).await, [ids[*expected]], "{filter:?}");
        assert_eq!(w.ledger.failure_counts(filter).await.unwrap().values().sum::<u64>(), 1, "{filter:?}");
    }
    assert_eq!(listed(&w, &FailureFilter { policy: Some(w.policy), ..none.clone() }).await.len(), 5);
    let nobodys = [
        FailureFilter { policy: Some(PolicyId(new_id())), ..none.clone() },
        FailureFilter { channel: Some(ChannelId(new_id())), ..none.clone() },
        FailureFilter { since: Some(w.now().await), ..none.clone() },
        FailureFilter { until: at(5_000_000), ..none },
    ];
    for filter in &nobodys {
        assert_eq!(listed(&w, filter).await, [], "{filter:?}");
    }
    let failure = w.ledger.failures(&filters[0].0, None, 1).await.unwrap().remove(0);
    assert_eq!((failure.channel.as_str(), failure.policy.as_str(), failure.attempts), ("Cobrança", "Todos", 1));
}

async fn a_batch_of_failures_is_bounded(f: Fixture) {
    let w = world(f).await;
    let many: Vec<_> = (0..=BATCH_MAX).map(|_| MessageId(new_id())).collect();
    assert!(matches!(w.ledger.replay(many.clone(), ana()).await, Err(LedgerError::Refused(_))));
    assert!(matches!(w.ledger.discard(many.clone(), ana()).await, Err(LedgerError::Refused(_))));
    assert!(matches!(w.ledger.could_replay(&many).await, Err(LedgerError::Refused(_))));
    assert!(matches!(w.ledger.could_discard(&many).await, Err(LedgerError::Refused(_))));
}

conformance! {
    a_replayed_failure_is_the_same_message_and_is_sent_once
    a_replayed_failure_passes_all_that_any_message_passes
    nothing_is_replayed_unless_every_attempt_certainly_sent_nothing
    what_a_receipt_speaks_of_is_not_replayed
    what_was_sent_again_out_of_doubt_and_failed_is_not_replayed
    doubt_that_was_dropped_or_expired_is_not_replayed
    nothing_is_replayed_after_its_time_or_when_it_is_not_called_for
    nothing_is_replayed_that_a_later_stage_overtook
    of_two_failures_of_one_invoice_only_the_more_advanced_waits_again
    two_failures_of_one_invoice_that_are_replayed_at_once_never_live_together
    a_replay_and_the_next_stage_never_live_together
    many_who_replay_at_once_replay_once
    what_a_restored_backup_has_as_failed_is_not_replayed
    a_discarded_failure_is_seen_and_tried_no_more
    failures_are_listed_by_page_and_filter
    a_batch_of_failures_is_bounded
}
