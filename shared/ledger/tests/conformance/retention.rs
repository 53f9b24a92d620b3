//! Retention: what identifies a person is deleted when no rule needs it, and nothing that keeps a message from being sent twice (F22).

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, by, customer, due_for, invoice, phone_key, sent};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::failure::FailureRefusal;
use regua_domain::ids::MessageId;
use regua_domain::message::{DoubtReason, FailReason, SkipReason, State};
use regua_domain::mirror::Customer;
use regua_domain::settlement::Settlement;
use regua_domain::switches::HoldKind;
use regua_ledger::conservation::compare;
use regua_ledger::doubt::DOUBT_EXPIRES_AFTER;
use regua_ledger::failures::Intervention;
use regua_ledger::finish::FinishAnswer;
use regua_ledger::new_id;
use regua_ledger::retention::{STEP_MAX, Swept, Walks};

/// Days that these tests' configuration keeps personal data.
const KEPT: i64 = 40;

async fn world(f: Fixture) -> World {
    let more = format!("[retention]\npersonal_data_days = {KEPT}");
    World::new(f, &Setup { open_windows: 10, max_age: "30d", per_second: 0, per_day: 50, more, ..Setup::default() }).await
}

/// Rounds until every walk has come to its end; what they did in all.
async fn retain(w: &World) -> Swept {
    let (mut walks, mut sum) = (Walks::default(), Swept::default());
    loop {
        let swept = w.ledger.retain(&mut walks).await.unwrap();
        sum.anonymised += swept.anonymised;
        sum.deleted += swept.deleted;
        if !swept.more {
            return sum;
        }
    }
}

async fn anonymised_at(w: &World, id: MessageId) -> Option<DateTime<Utc>> {
    w.message(id).await.anonymised_at
}

/// Sent, failed, skipped, in doubt, and one that still waits.
async fn of_every_kind(w: &World) -> [MessageId; 5] {
    let ids = w.queued(5).await;
    w.send(ids[0]).await;
    for (id, settlement) in
        [(ids[1], Settlement::Fail { why: FailReason::Rejected }), (ids[3], Settlement::Doubt { why: DoubtReason::TimedOut })]
    {
        let attempt = w.started(id).await.attempt_id;
        w.finish(id, attempt, settlement).await;
    }
    w.opt_out(&[3], "ana").await;
    w.start_one(ids[2]).await;
    ids.try_into().unwrap()
}

async fn what_is_finished_loses_its_phone_and_text_after_its_days_and_nothing_else(f: Fixture) {
    let w = world(f).await;
    let [sent, failed, skipped, doubtful, waiting] = of_every_kind(&w).await;
    w.f.execute("UPDATE messages SET expires_at = expires_at + 100000000000000").await;
    let before = w.ledger.message(sent).await.unwrap().unwrap();
    w.f.advance(TimeDelta::days(KEPT) - TimeDelta::hours(1)).await;
    assert_eq!(retain(&w).await.anonymised, 0);
    w.f.advance(TimeDelta::hours(2)).await;
    assert_eq!(retain(&w).await.anonymised, 3);
    assert_eq!(retain(&w).await, Swept::default(), "nothing is done twice");
    for (id, gone) in [(sent, true), (failed, true), (skipped, true), (doubtful, false), (waiting, false)] {
        let left =
            w.f.count(&format!(
                "messages m JOIN message_texts t ON t.message_id = m.id WHERE m.id = '{id}' AND phone_key IS NOT NULL"
            ))
            .await;
        assert_eq!((anonymised_at(&w, id).await.is_some(), left == 0), (gone, gone), "{}", w.message(id).await.state);
    }
    let (message, attempts) = w.ledger.message(sent).await.unwrap().unwrap();
    assert_eq!(
        (message.state, message.updated_at, message.provider_id),
        (State::Sent, before.0.updated_at, before.0.provider_id)
    );
    assert_eq!((attempts.len(), attempts[0].outcome.as_deref()), (1, Some("sent")));
    let side = w.ledger.conservation().await.unwrap();
    assert_eq!((side.counts.evaluated, side.counts.total()), (5, 5));
    assert_eq!(compare(&side, [Some(sent)].into_iter()), []);
}

/// The row is the key: what was sent is sent no second time, however long ago.
async fn an_anonymised_message_keeps_its_key(f: Fixture) {
    let w = world(f).await;
    let [sent, failed, ..] = of_every_kind(&w).await;
    w.f.advance(TimeDelta::days(KEPT + 1)).await;
    retain(&w).await;
    assert!(anonymised_at(&w, sent).await.is_some() && anonymised_at(&w, failed).await.is_some());
    w.f.execute("UPDATE policies SET activated_on = '2026-01-01', stated_activated_on = '2026-01-01'").await;
    w.f.advance(TimeDelta::days(-(KEPT + 1))).await;
    w.sync(&[], &[invoice(1, 1, due_for("overdue")), invoice(2, 2, due_for("overdue"))]).await;
    let counts = w.evaluate().await.1;
    assert_eq!((counts.held, counts.revived), (0, 0));
}

async fn nobody_can_have_an_anonymised_message_tried_again(f: Fixture) {
    let w = world(f).await;
    let [_, failed, ..] = of_every_kind(&w).await;
    w.f.advance(TimeDelta::days(KEPT + 1)).await;
    retain(&w).await;
    let who = Intervention { by: "ana".into(), why: "teste".into() };
    let answers = w.ledger.replay(vec![failed], who).await.unwrap();
    assert_eq!(answers[0].refusal, Some(FailureRefusal::Anonymised));
}

/// What the customer will read comes from the mirror, never from what was deleted.
async fn a_skip_that_comes_back_gets_its_phone_and_text_anew(f: Fixture) {
    let w = world(f).await;
    let ids = w.released(1, 1, "overdue").await;
    w.opt_out(&[1], "ana").await;
    w.top_up(10).await;
    assert_eq!(w.state(ids[0]).await.1.as_deref(), Some(SkipReason::OptedOut.as_str()));
    w.f.execute("UPDATE messages SET updated_at = 1, created_at = 1").await;
    assert_eq!(retain(&w).await.anonymised, 1);
    w.ledger.remove_opt_out(phone_key(1).parse().unwrap(), None, by("ana")).await.unwrap();
    assert_eq!(w.evaluate().await.1.revived, 1);
    assert_eq!((w.message(ids[0]).await.state, anonymised_at(&w, ids[0]).await), (State::Held, None));
    w.release().await;
    assert_eq!(w.top_up(10).await, ids);
    w.send(ids[0]).await;
}

async fn evidence_settles_an_anonymised_message_too(f: Fixture) {
    let w = world(f).await;
    let id = w.queued(1).await[0];
    let attempt = w.started(id).await.attempt_id;
    w.finish(id, attempt, Settlement::Doubt { why: DoubtReason::TimedOut }).await;
    w.f.advance(w.message(id).await.expires_at + DOUBT_EXPIRES_AFTER - w.now().await).await;
    w.ledger.expire_doubt().await.unwrap();
    w.f.advance(TimeDelta::days(KEPT + 1)).await;
    assert_eq!(retain(&w).await.anonymised, 1);
    assert_eq!(w.finish(id, attempt, sent("p")).await, FinishAnswer::Settled);
    assert_eq!(w.state(id).await, (State::Sent, None));
    assert!(anonymised_at(&w, id).await.is_some());
}

async fn what_counts_no_more_is_deleted_and_what_counts_stays(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(2).await;
    w.send(ids[0]).await;
    let counted = async || (w.f.count("people").await, w.f.count("recipients").await, w.f.count("budget_buckets").await);
    assert_eq!(counted().await, (1, 1, 1));
    for (days, left) in [(1, (1, 1, 1)), (1, (1, 0, 0)), (11, (1, 0, 0)), (3, (0, 0, 0))] {
        w.f.advance(TimeDelta::days(days) + TimeDelta::minutes(10)).await;
        retain(&w).await;
        assert_eq!(counted().await, left, "{}", w.now().await);
    }
    w.customers(1, 1, due_for("overdue") + TimeDelta::days(16)).await;
    w.evaluate().await;
    w.release().await;
    let next = w.top_up(10).await;
    w.send(next[0]).await;
    assert_eq!((counted().await, w.sent_to(1).await), ((1, 1, 1), 1), "whoever is written to again is counted again");
}

/// Between the look and the deletion somebody is written to: that counts.
async fn who_is_counted_meanwhile_stays(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(30).await;
    for id in &ids[..15] {
        w.send(*id).await;
    }
    w.f.execute("UPDATE people SET days = '{\"2026-01-01\":1}'").await;
    w.f.execute("UPDATE recipients SET last_start_at = 1, reserved_at = NULL, counted_at = 1").await;
    let rest = w.start(&ids[15..]);
    let mut walks = (Walks::default(), Walks::default());
    let (answers, one, other) = tokio::join!(rest, w.ledger.retain(&mut walks.0), w.ledger.retain(&mut walks.1));
    let started = answers.iter().filter(|answer| matches!(answer, regua_ledger::start::StartAnswer::Started(_))).count();
    assert_eq!(started, 15);
    let buckets = 1;
    assert_eq!(
        one.unwrap().deleted + other.unwrap().deleted + retain(&w).await.deleted,
        30,
        "once each; {buckets} bucket counts still"
    );
    assert_eq!((w.f.count("people").await, w.f.count("recipients").await), (15, 15));
}

async fn events_holds_and_commands_go_when_they_are_over(f: Fixture) {
    let w = world(f).await;
    let listed = |is_listed| Customer { negatively_listed: Some(is_listed), ..customer(1) };
    w.sync(&[listed(true)], &[invoice(1, 1, due_for("overdue"))]).await;
    w.f.advance(TimeDelta::seconds(1)).await;
    w.sync(&[listed(false)], &[crate::world::paid(&invoice(1, 1, due_for("overdue")))]).await;
    w.evaluate().await;
    crate::holds::hold(&w, HoldKind::Invoice, "i0001", "2026-03-20").await;
    crate::holds::hold(&w, HoldKind::Customer, "c0001", "2027-03-20").await;
    let command = w.ledger.ask("{\"OptOutAdd\":{\"phones\":[\"11987654321\"]}}".into()).await.unwrap();
    w.ledger.ask("{}".into()).await.unwrap();
    w.ledger.answer(command, "{}".into()).await.unwrap();
    let left = async || (w.f.count("events").await, w.f.count("holds").await, w.f.count("commands").await);
    assert_eq!(left().await, (2, 2, 2));
    w.f.execute(format!(
        "INSERT INTO events (id, source_id, kind, subject, occasion, happened_on, observed_at) VALUES ('{}', '{}', 'settled', 'x', 'y', '2026-03-09', 1)",
        new_id(),
        w.source
    ))
    .await;
    for (days, expected) in [(0, (3, 2, 2)), (1, (3, 2, 1)), (KEPT, (1, 2, 1)), (30, (1, 1, 1))] {
        w.f.advance(TimeDelta::days(days) + TimeDelta::minutes(1)).await;
        retain(&w).await;
        assert_eq!(left().await, expected, "what no run has decided, holds in force and commands that wait stay: {days}");
    }
}

async fn opt_outs_runs_and_the_audit_log_stay_for_ever(f: Fixture) {
    let w = world(f).await;
    let [_, failed, ..] = of_every_kind(&w).await;
    let who = Intervention { by: "ana".into(), why: "teste".into() };
    w.ledger.discard(vec![failed], who).await.unwrap();
    let all = ["opt_outs", "runs", "audit_log", "messages", "attempts", "resolutions", "invoices", "customers"];
    let count = async || {
        let mut counts = Vec::new();
        for table in all {
            counts.push(w.f.count(table).await);
        }
        counts
    };
    let before = count().await;
    w.f.advance(TimeDelta::days(3650)).await;
    retain(&w).await;
    assert_eq!(count().await, before);
}

/// Each step looks at one page of each table, and the walk goes on where it stood, past what isn't due.
async fn a_step_is_bounded_and_the_next_goes_on(f: Fixture) {
    let w = world(f).await;
    w.released(1, 1, "overdue").await;
    let id = w.message_of(1).await.id;
    let more = 2 * STEP_MAX;
    let new_id = if w.f.is_sqlite() {
        "'00000000-0000-7000-8000-' || printf('%012d', i)"
    } else {
        "CAST('00000000-0000-7000-8000-' || lpad(CAST(i AS TEXT), 12, '0') AS uuid)"
    };
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {more})");
    // Of the first page only every other one is due: the others changed lately.
    let changed = format!("CASE WHEN i <= {STEP_MAX} AND i % 2 = 0 THEN m.updated_at ELSE 1 END");
    w.f.execute(format!(
        "INSERT INTO messages (id, source_id, subject, stage, stage_rank, occasion, due_on, state, reason, policy_id, notice_id, channel_id,
                phone_key, run_id, run_planned_at, expires_at, facts_version, created_at, updated_at)
         {numbers} SELECT {new_id}, source_id, 'x' || i, stage, stage_rank, occasion, due_on, 'skipped', 'paid', policy_id, notice_id, channel_id,
                phone_key, run_id, run_planned_at, 0, facts_version, 1, {changed} FROM messages m, n WHERE m.id = '{id}'"
    ))
    .await;
    w.f.execute(format!(
        "INSERT INTO message_texts (message_id, phone, provider_channel_id, template_id, variables)
         SELECT id, '+5511980000001', 'c', 't', '[]' FROM messages WHERE id <> '{id}'"
    ))
    .await;
    let mut walks = Walks::default();
    let step = u64::from(STEP_MAX);
    for (anonymised, more) in [(step / 2, true), (step, true), (0, false), (0, false)] {
        let swept = w.ledger.retain(&mut walks).await.unwrap();
        assert_eq!((swept.anonymised, swept.more), (anonymised, more));
    }
}

conformance! {
    what_is_finished_loses_its_phone_and_text_after_its_days_and_nothing_else
    an_anonymised_message_keeps_its_key
    nobody_can_have_an_anonymised_message_tried_again
    a_skip_that_comes_back_gets_its_phone_and_text_anew
    evidence_settles_an_anonymised_message_too
    what_counts_no_more_is_deleted_and_what_counts_stays
    who_is_counted_meanwhile_stays
    events_holds_and_commands_go_when_they_are_over
    opt_outs_runs_and_the_audit_log_stay_for_ever
    a_step_is_bounded_and_the_next_goes_on
}
