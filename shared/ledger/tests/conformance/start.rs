//! *start*: everything is checked at that moment, in one transaction.

use crate::databases::Fixture;
use crate::setup::{Setup, TEMPLATE};
use crate::world::{LEAD, LEASE, World, by, customer, due_for, invoice, paid, sent, skipped, start_batch};
use chrono::TimeDelta;
use regua_domain::admission::{HORIZON, RECHECK};
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DeferReason, SkipReason, State};
use regua_domain::mirror::{Customer, Invoice};
use regua_domain::money::Centavos;
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_ledger::finish::FinishAnswer;
use regua_ledger::start::{BATCH_MAX, StartAnswer};
use regua_ledger::stops::NewStop;
use regua_ledger::{LedgerError, new_id};

async fn world(f: Fixture) -> World {
    World::new(f, &Setup::default()).await
}

/// The message waits in the ledger, for this reason, at least so long.
async fn postponed(w: &World, id: MessageId, why: DeferReason, at_least: TimeDelta) {
    let now = w.now().await;
    match w.start_one(id).await {
        StartAnswer::Postponed { why: answered } => assert_eq!(answered, why),
        other => panic!("{other:?}"),
    }
    let message = w.message(id).await;
    assert_eq!((message.state, message.reason.as_deref(), message.attempts), (State::Scheduled, Some(why.as_str()), 0));
    let until = message.next_attempt_at.unwrap();
    assert!(until >= now + at_least && until <= w.now().await + at_least.max(TimeDelta::milliseconds(1)), "{why}: {until} {now}");
    assert_eq!(w.f.count("attempts").await, 0);
}

async fn a_start_opens_an_attempt_before_anything_is_on_the_wire(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let before = w.now().await;
    let attempt = AttemptId(new_id());
    let batch = start_batch(vec![(id, attempt)]);
    let reply = w.ledger.start(batch).await.unwrap();
    let StartAnswer::Started(started) = reply.answers[0].1.clone() else { panic!("{reply:?}") };
    assert!(before <= reply.now && reply.now <= w.now().await);
    assert!(started.slot_at >= reply.now + LEAD && started.slot_at <= reply.now + HORIZON, "{started:?}");
    assert_eq!((started.attempt_id, started.number, started.lease_expires_at), (attempt, 1, reply.now + LEASE));
    assert_eq!((started.channel_id, started.integration_id), (w.channel, w.integration));
    let (message, attempts) = w.ledger.message(id).await.unwrap().unwrap();
    assert_eq!((message.state, message.attempts, message.reason, message.next_attempt_at), (State::Sending, 1, None, None));
    assert_eq!(started.expires_at, message.expires_at);
    assert_eq!((attempts.len(), attempts[0].id, attempts[0].number, attempts[0].dispatcher.as_str()), (1, attempt, 1, "d1"));
    assert_eq!((attempts[0].slot_at, attempts[0].outcome.as_deref()), (started.slot_at, None));
}

async fn what_was_decided_and_what_is_in_hand_waits_for_no_hint(f: Fixture) {
    let w = world(f).await;
    let held = w.released(1, 1, "overdue").await[0];
    assert!(matches!(w.start_one(held).await, StartAnswer::NotWaiting), "a hint that nobody published");
    let id = w.top_up(10).await[0];
    let attempt = w.started(id).await.attempt_id;
    assert!(matches!(w.start_one(id).await, StartAnswer::NotWaiting), "a second hint");
    let until = w.now().await + TimeDelta::minutes(1);
    w.finish(id, attempt, Settlement::Defer { until, why: DeferReason::InService }).await;
    assert!(matches!(w.start_one(id).await, StartAnswer::NotWaiting), "not due yet");
    w.f.advance(TimeDelta::minutes(1)).await;
    w.send(id).await;
    assert!(matches!(w.start_one(id).await, StartAnswer::NotWaiting), "it was sent");
    assert_eq!(w.f.count("attempts").await, 2);
}

async fn a_message_that_the_ledger_does_not_have_is_unknown(f: Fixture) {
    let w = world(f).await;
    let (id, stranger) = (w.queued(1).await[0], MessageId(new_id()));
    let answers = w.start(&[stranger, id]).await;
    assert!(matches!(answers[..], [StartAnswer::Unknown, StartAnswer::Started(_)]), "{answers:?}");
    assert_eq!(w.ledger.locate(&[id, stranger]).await.unwrap(), [(id, w.channel)]);
}

async fn nothing_and_no_more_than_a_batch_may_be_asked_for(f: Fixture) {
    let w = world(f).await;
    assert!(w.start(&[]).await.is_empty());
    let requests: Vec<_> = (0..=BATCH_MAX).map(|_| (MessageId(new_id()), AttemptId(new_id()))).collect();
    let batch = start_batch(requests);
    assert!(matches!(w.ledger.start(batch).await, Err(LedgerError::Refused(_))), "never cut off in silence");
}

async fn a_message_that_is_asked_for_twice_starts_once(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let requests = vec![(id, AttemptId(new_id())), (id, AttemptId(new_id()))];
    let batch = start_batch(requests);
    let reply = w.ledger.start(batch).await.unwrap();
    assert_eq!((reply.answers.len(), w.f.count("attempts").await), (1, 1));
}

/// Hosts may be called alike, and containers are: what fences an attempt is its own id, never who made it.
async fn two_dispatchers_of_one_name_start_a_message_once(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let (one, other) = (AttemptId(new_id()), AttemptId(new_id()));
    let start = |attempt| w.ledger.start(start_batch(vec![(id, attempt)]));
    let (first, second) = tokio::join!(start(one), start(other));
    let started = [first, second].map(|reply| matches!(reply.unwrap().answers[0].1, StartAnswer::Started(_)));
    let winner = match started {
        [true, false] => one,
        [false, true] => other,
        both => panic!("{both:?}"),
    };
    let loser = if winner == one { other } else { one };
    assert_eq!(w.finish(id, loser, sent("nobody's")).await, FinishAnswer::Unknown);
    assert_eq!(w.finish(id, winner, sent("p")).await, FinishAnswer::Settled);
    assert_eq!((w.f.count("attempts").await, w.sent_to(1).await), (1, 1));
}

async fn a_message_that_is_not_called_for_any_more_ends_unsent(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(7).await;
    let open = |n| invoice(n, n, due_for("overdue"));
    let changed = [
        paid(&open(1)),
        Invoice { status: regua_domain::mirror::InvoiceStatus::Cancelled, ..open(2) },
        Invoice { renegotiation_id: "9".into(), status: regua_domain::mirror::InvoiceStatus::Cancelled, ..open(3) },
        Invoice { awaiting_confirmation: true, ..open(4) },
        Invoice { due_on: due_for("due_day"), ..open(5) },
    ];
    w.sync(&[Customer { mobile_phone: String::new(), ..customer(6) }], &changed).await;
    w.opt_out(&[7], "ana").await;
    let reasons = [
        SkipReason::Paid,
        SkipReason::Cancelled,
        SkipReason::Renegotiated,
        SkipReason::AwaitingConfirmation,
        SkipReason::DueDateMoved,
        SkipReason::NoValidPhone,
        SkipReason::OptedOut,
    ];
    let answers = w.start(&ids).await;
    for ((id, answer), reason) in ids.iter().zip(answers).zip(reasons) {
        assert!(matches!(answer, StartAnswer::Skipped { why } if why == reason), "{answer:?} {reason}");
        assert_eq!(w.state(*id).await, skipped(reason));
    }
    assert_eq!(w.f.count("attempts").await, 0);
}

async fn an_expired_message_ends_unsent(f: Fixture) {
    let w = World::new(f, &Setup { max_age: "30d", ..Setup::default() }).await;
    let id = w.queued(1).await[0];
    w.f.advance(TimeDelta::hours(24)).await;
    assert!(matches!(w.start_one(id).await, StartAnswer::Skipped { why: SkipReason::Expired }));
}

async fn f17_a_stage_that_was_switched_off_ends_unsent(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let mut off = Setup::default().configuration();
    off.policies.clear();
    w.ledger.apply_configuration(off).await.unwrap();
    assert!(matches!(w.start_one(id).await, StartAnswer::Skipped { why: SkipReason::StageOff }));
}

async fn f17_a_stop_of_any_scope_postpones(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(7).await;
    let targets = [
        (StopScope::Everything, String::new()),
        (StopScope::Business, w.business.to_string()),
        (StopScope::Integration, w.integration.to_string()),
        (StopScope::Channel, w.channel.to_string()),
        (StopScope::Template, TEMPLATE.into()),
        (StopScope::Policy, w.policy.to_string()),
        (StopScope::Stage, "overdue".into()),
    ];
    assert_eq!(targets.len(), StopScope::ALL.len());
    for (id, (scope, target)) in ids.into_iter().zip(targets) {
        let stop = NewStop { scope, target: target.clone(), raised_by: "answer".into(), why: "131048".into(), until_at: None };
        w.ledger.raise_stop(stop).await.unwrap();
        postponed(&w, id, DeferReason::Stopped, RECHECK).await;
        w.ledger.resume(scope, target, by("ana")).await.unwrap();
    }
}

async fn a_closed_window_postpones_to_its_opening(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 2, max_age: "30d", ..Setup::default() }).await;
    let id = w.queued(1).await[0];
    w.f.advance(TimeDelta::hours(8)).await;
    assert!(matches!(w.start_one(id).await, StartAnswer::Postponed { why: DeferReason::WindowClosed }));
    assert_eq!(w.message(id).await.next_attempt_at, Some("2026-03-10T12:00:00Z".parse().unwrap()), "09:00 the next day");
}

async fn f10a_a_stale_source_postpones(f: Fixture) {
    let w = World::new(f, &Setup { max_age: "1h", ..Setup::default() }).await;
    let id = w.queued(1).await[0];
    w.f.advance(TimeDelta::minutes(61)).await;
    postponed(&w, id, DeferReason::StaleSource, RECHECK).await;
}

async fn f6_a_paused_gate_postpones_to_its_end(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let until = w.now().await + TimeDelta::minutes(5);
    w.ledger.pause_channel(w.channel, until, DeferReason::Throttled).await.unwrap();
    assert!(matches!(w.start_one(id).await, StartAnswer::Postponed { why: DeferReason::Gate }));
    assert_eq!(w.message(id).await.next_attempt_at, Some(until));
}

/// F4: who paid a part between top-up and start is not told the old amount.
async fn f4b_changed_facts_go_back_to_be_rendered_again(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    w.sync(&[], &[Invoice { open_amount: Centavos(4_000), ..invoice(1, 1, due_for("overdue")) }]).await;
    postponed(&w, id, DeferReason::FactsChanged, TimeDelta::zero()).await;
    let again = w.ledger.top_up(w.channel, None).await.unwrap();
    assert_eq!((again.queued, again.rendered_again), (vec![id], 1));
    assert_eq!(w.started(id).await.text.values.by_position()[1], "R$40,00");
}

async fn no_wait_outlasts_a_message(f: Fixture) {
    let w = World::new(f, &Setup { max_age: "30d", ..Setup::default() }).await;
    let id = w.queued(1).await[0];
    let expires_at = w.message(id).await.expires_at;
    w.f.advance(expires_at - TimeDelta::seconds(30) - w.now().await).await;
    w.ledger.pause_channel(w.channel, expires_at, DeferReason::Throttled).await.unwrap();
    assert!(matches!(w.start_one(id).await, StartAnswer::Postponed { why: DeferReason::Gate }), "somebody may lift it");
    assert_eq!(w.message(id).await.next_attempt_at, Some(expires_at));
    assert_eq!(w.ledger.expire().await.unwrap(), 0);
    w.f.advance(TimeDelta::seconds(30)).await;
    assert_eq!(w.ledger.expire().await.unwrap(), 1);
}

async fn a_window_that_opens_only_after_the_message_ends_it(f: Fixture) {
    let w = World::new(f, &Setup { max_age: "30d", ..Setup::default() }).await;
    let id = w.queued(1).await[0];
    let expires_at = w.message(id).await.expires_at;
    w.f.execute(format!("UPDATE messages SET expires_at = expires_at + 60000000 WHERE id = '{id}'")).await;
    w.f.advance(expires_at - w.now().await).await;
    assert!(matches!(w.start_one(id).await, StartAnswer::Skipped { why: SkipReason::Expired }));
}

async fn a_slot_too_far_away_writes_nothing(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 1, ..Setup::default() }).await;
    let ids = w.queued(2).await;
    let slot_at = w.started(ids[0]).await.slot_at;
    let StartAnswer::NoSlot { free_at } = w.start_one(ids[1]).await else { panic!() };
    assert!(free_at > slot_at + TimeDelta::seconds(1));
    assert_eq!((w.state(ids[1]).await, w.f.count("attempts").await), ((State::Queued, None), 1));
    w.f.advance(TimeDelta::seconds(1)).await;
    assert!(w.started(ids[1]).await.slot_at >= free_at);
}

/// A start finds the phone changed under its own feet: it must not count on the wrong person.
async fn a_message_that_changed_between_two_locks_asks_again(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let Some(pool) = w.f.postgres() else { return };
    let mut other = pool.begin().await.unwrap();
    let renamed = format!("UPDATE messages SET phone_key = '1177776666' WHERE id = '{id}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(renamed)).execute(&mut *other).await.unwrap();
    let commit = async {
        w.f.blocked_by(&mut other).await;
        other.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(w.start_one(id), commit);
    assert!(matches!(answer, StartAnswer::NoSlot { .. }), "{answer:?}");
    assert_eq!((w.state(id).await.0, w.f.count("attempts").await), (State::Queued, 0));
}

conformance! {
    a_start_opens_an_attempt_before_anything_is_on_the_wire
    what_was_decided_and_what_is_in_hand_waits_for_no_hint
    a_message_that_the_ledger_does_not_have_is_unknown
    nothing_and_no_more_than_a_batch_may_be_asked_for
    a_message_that_is_asked_for_twice_starts_once
    two_dispatchers_of_one_name_start_a_message_once
    a_message_that_is_not_called_for_any_more_ends_unsent
    an_expired_message_ends_unsent
    f17_a_stage_that_was_switched_off_ends_unsent
    f17_a_stop_of_any_scope_postpones
    a_closed_window_postpones_to_its_opening
    f10a_a_stale_source_postpones
    f6_a_paused_gate_postpones_to_its_end
    f4b_changed_facts_go_back_to_be_rendered_again
    no_wait_outlasts_a_message
    a_window_that_opens_only_after_the_message_ends_it
    a_slot_too_far_away_writes_nothing
    a_message_that_changed_between_two_locks_asks_again
}
