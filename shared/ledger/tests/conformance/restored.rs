//! F8: a backup was restored; what was sent since is unknown.

use crate::databases::Fixture;
use crate::setup::{Setup, stage};
use crate::world::{World, customer, due_for, invoice, sent, today};
use chrono::TimeDelta;
use regua_domain::message::{DeferReason, DoubtReason, FailReason, State};
use regua_domain::mirror::Customer;
use regua_domain::settlement::Settlement;
use regua_domain::stop::StopScope;
use regua_ledger::evaluation::EvaluationCounts;
use regua_ledger::finish::FinishAnswer;
use regua_ledger::stops::NewStop;
use regua_ledger::{Ledger, LedgerError};

async fn world(f: Fixture) -> World {
    World::new(f, &Setup { open_windows: 10, max_age: "30d", per_second: 0, ..Setup::default() }).await
}

const RESTORED: &str = "restored";

async fn f8_whatever_lived_is_in_doubt(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(4).await;
    let held = w.released(11, 1, "overdue").await[0];
    w.send(ids[0]).await;
    w.started(ids[1]).await;
    let attempt = w.started(ids[2]).await.attempt_id;
    w.finish(ids[2], attempt, Settlement::GiveBack).await;
    let since = w.now().await - TimeDelta::hours(2);
    assert_eq!(w.ledger.restored(since, "ana".into()).await.unwrap(), 4);
    for id in [held, ids[1], ids[2], ids[3]] {
        assert_eq!(w.state(id).await, (State::InDoubt, Some(RESTORED.into())));
    }
    assert_eq!(w.message(ids[0]).await.state, State::Sent);
    assert_eq!(w.ledger.restored(since, "ana".into()).await.unwrap(), 0);
    assert!(w.top_up(100).await.is_empty());
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!(counts.evaluated, counts.total());
}

/// A finish whose commit had no known outcome is repeated, and the backup was restored between the two: the doubt isn't of that attempt.
async fn a_repeated_result_settles_no_doubt_of_the_restoration(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(3).await;
    let mut attempts = Vec::new();
    for id in &ids {
        attempts.push(w.started(*id).await.attempt_id);
    }
    let results = [Settlement::GiveBack, Settlement::Retry { at: w.now().await }];
    for (number, result) in results.iter().enumerate() {
        w.finish(ids[number], attempts[number], result.clone()).await;
    }
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "ana".into()).await.unwrap();
    for (number, result) in results.iter().enumerate() {
        assert_eq!(w.finish(ids[number], attempts[number], result.clone()).await, FinishAnswer::Repeated);
        assert_eq!(w.state(ids[number]).await, (State::InDoubt, Some(RESTORED.into())));
    }
    assert_eq!(w.finish(ids[2], attempts[2], sent("p")).await, FinishAnswer::Settled, "this one's own result is evidence");
}

async fn f8_what_is_decided_later_for_the_lost_time_is_in_doubt(f: Fixture) {
    let w = world(f).await;
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "ana".into()).await.unwrap();
    w.customers(1, 2, due_for("overdue")).await;
    let (_, counts) = w.evaluate().await;
    assert_eq!(counts, EvaluationCounts { held: 2, ..EvaluationCounts::default() }, "it counts as what the run decided to send");
    let id = w.message_of(1).await.id;
    assert_eq!(w.state(id).await, (State::InDoubt, Some(DoubtReason::Restored.as_str().into())));
    w.release().await;
    assert!(w.top_up(10).await.is_empty());
    w.ledger.resolve_doubt(id, regua_ledger::doubt::Resolution::Resend, "ana".into(), "não chegou".into()).await.unwrap();
    assert_eq!(w.top_up(10).await, [id], "a person may still have it sent");
}

/// It may have been sent as late as the restoration, long after it was written: the next stage keeps its distance from then.
async fn what_may_have_been_sent_keeps_the_next_stage_away_from_the_restoration_on(f: Fixture) {
    let stages = stage("overdue", 3, "Aviso") + &stage("pending_query", 6, "Pendência");
    let setup = Setup { stages, days_between_stages: 3, open_windows: 10, max_age: "30d", ..Setup::default() };
    let w = World::new(f, &setup).await;
    w.customers(1, 1, due_for("overdue")).await;
    w.evaluate().await;
    w.f.advance(TimeDelta::days(2)).await;
    assert_eq!(w.ledger.restored(w.now().await - TimeDelta::days(1), "ana".into()).await.unwrap(), 1);
    for (days, held) in [(1, 0), (1, 0), (1, 1)] {
        w.f.advance(TimeDelta::days(days)).await;
        assert_eq!(w.evaluate().await.1.held, held, "{}", w.local_today().await);
    }
}

async fn a_stage_after_the_lost_time_is_sent_as_ever(f: Fixture) {
    let w = world(f).await;
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "ana".into()).await.unwrap();
    w.f.advance(TimeDelta::days(1)).await;
    let tomorrow = today().succ_opt().unwrap();
    w.customers(1, 1, tomorrow).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    assert_eq!(w.message_of(1).await.state, State::Held);
    w.customers(2, 1, due_for("overdue")).await;
    w.evaluate().await;
    assert_eq!(w.message_of(2).await.state, State::InDoubt, "yesterday's stage, caught up");
}

/// What the backup has as skipped may have come back and been sent in the lost time.
async fn what_comes_back_for_the_lost_time_is_in_doubt_too(f: Fixture) {
    let w = world(f).await;
    w.sync(&[Customer { mobile_phone: String::new(), ..customer(1) }], &[invoice(1, 1, due_for("overdue"))]).await;
    w.evaluate().await;
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "ana".into()).await.unwrap();
    w.sync(&[customer(1)], &[]).await;
    assert_eq!(w.evaluate().await.1.revived, 1);
    assert_eq!(w.state(w.message_of(1).await.id).await, (State::InDoubt, Some(RESTORED.into())));
    w.release().await;
    assert!(w.top_up(10).await.is_empty());
}

/// What the ledger knows of an attempt says nothing of those that followed it in the lost time: only that it was sent is proof.
async fn no_proof_that_one_attempt_sent_nothing_settles_the_doubt_of_the_lost_time(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(5).await;
    let mut attempts = Vec::new();
    for id in &ids {
        attempts.push(w.started(*id).await.attempt_id);
    }
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "ana".into()).await.unwrap();
    let at = w.now().await;
    let proofs = [
        Settlement::GiveBack,
        Settlement::Retry { at },
        Settlement::Defer { until: at, why: DeferReason::Throttled },
        Settlement::Fail { why: FailReason::Rejected },
    ];
    for (number, proof) in proofs.into_iter().enumerate() {
        assert_eq!(w.finish(ids[number], attempts[number], proof.clone()).await, FinishAnswer::Late, "{proof:?}");
        assert_eq!(w.state(ids[number]).await, (State::InDoubt, Some(RESTORED.into())), "{proof:?}");
    }
    assert_eq!(w.finish(ids[4], attempts[4], sent("p")).await, FinishAnswer::Settled);
}

/// Nothing leaves but on Mondays: a stage of last Tuesday is due today, and was when the backup was made.
async fn what_closed_days_put_off_may_have_been_sent_too(f: Fixture) {
    let more = "[window]\nhours = [\"1 09:00-18:00\"]".into();
    let w = World::new(f, &Setup { stages: stage("overdue", 3, "Aviso"), max_age: "30d", more, ..Setup::default() }).await;
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "ana".into()).await.unwrap();
    w.customers(1, 1, due_for("overdue") - TimeDelta::days(6)).await;
    assert_eq!(w.evaluate().await.1.held, 1);
    assert_eq!(w.state(w.message_of(1).await.id).await, (State::InDoubt, Some(RESTORED.into())));
}

/// A batch that was begun before the restoration is told of, and commits after its messages were gone through.
async fn what_is_being_written_while_a_restoration_is_told_is_in_doubt_too(f: Fixture) {
    let w = world(f).await;
    w.customers(1, 1, due_for("overdue")).await;
    let batch = w.decide(&w.leased_run().await).await;
    let since = w.now().await - TimeDelta::hours(2);
    let Some(pool) = w.f.postgres() else {
        let (written, told) = tokio::join!(w.ledger.commit_evaluation(batch), w.ledger.restored(since, "ana".into()));
        assert_eq!((written.unwrap().held, told.is_ok()), (1, true));
        assert_eq!(w.message_of(1).await.state, State::InDoubt);
        return;
    };
    let mut other = pool.begin().await.unwrap();
    let same_key = format!(
        "INSERT INTO messages (id, source_id, subject, stage, stage_rank, occasion, due_on, state, policy_id, notice_id, channel_id, phone_key,
                run_id, run_planned_at, expires_at, facts_version, created_at, updated_at)
         SELECT '{}', '{}', 'i0001', 'overdue', 2, '2026-03-06', '2026-03-06', 'held', '{}', n.id, '{}', 'x', r.id, 1, 1, 'f', 1, 1
         FROM notices n, runs r LIMIT 1",
        regua_ledger::new_id(),
        w.source,
        w.policy,
        w.channel
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(same_key)).execute(&mut *other).await.unwrap();
    let (writer, teller) = (w.ledger.clone(), w.ledger.clone());
    let writing = tokio::spawn(async move { writer.commit_evaluation(batch).await });
    let pid = w.f.blocked_by(&mut other).await;
    let telling = tokio::spawn(async move { teller.restored(since, "ana".into()).await });
    w.f.blocked_behind(pid, || telling.is_finished()).await;
    other.rollback().await.unwrap();
    assert_eq!(writing.await.unwrap().unwrap().held, 1);
    assert_eq!(telling.await.unwrap().unwrap(), 1);
    assert_eq!(w.state(w.message_of(1).await.id).await, (State::InDoubt, Some(RESTORED.into())));
}

async fn a_restoration_lifts_the_stop_that_it_caused_and_no_other(f: Fixture) {
    let w = world(f).await;
    for who in ["ledger", "ana"] {
        let why = "a hint of a message that this ledger doesn't have".into();
        let stop = NewStop { scope: StopScope::Everything, target: String::new(), raised_by: who.into(), why, until_at: None };
        w.ledger.raise_stop(stop).await.unwrap();
    }
    w.ledger.restored(w.now().await - TimeDelta::hours(2), "bia".into()).await.unwrap();
    let left = w.ledger.stops().await.unwrap();
    assert_eq!(left.iter().map(|stop| stop.raised_by.as_str()).collect::<Vec<_>>(), ["ana"]);
}

async fn nothing_is_lost_since_the_future(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(1).await;
    let error = w.ledger.restored(w.now().await + TimeDelta::hours(1), "ana".into()).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Refused(why) if why.contains("--lost-since")), "{error:?}");
    assert_eq!(w.message(ids[0]).await.state, State::Queued);
}

/// Where it stands, PostgreSQL knows; a file can be copied unseen.
async fn a_ledger_that_stands_elsewhere_says_so_until_a_person_says_why(f: Fixture) {
    let w = world(f).await;
    assert!(!w.ledger.stands_elsewhere().await.unwrap());
    for lost_since in [None, Some(w.now().await - TimeDelta::hours(2))] {
        w.f.execute("UPDATE ledger SET stands_in = 'another server/16385'").await;
        // Starting again explains nothing.
        w.ledger.migrate().await.unwrap();
        assert_eq!(w.ledger.stands_elsewhere().await.unwrap(), !w.f.is_sqlite());
        match lost_since {
            None => w.ledger.moved_whole("ana".into()).await.unwrap(),
            Some(since) => assert_eq!(w.ledger.restored(since, "ana".into()).await.unwrap(), 0),
        }
        assert!(!w.ledger.stands_elsewhere().await.unwrap());
    }
}

/// The function that tells the server may be any role's, or not: a right of the whole database.
async fn where_the_server_may_not_be_asked_its_name_is_no_difference(f: Fixture) {
    let role = f.text("SELECT current_database() || '_role'").await.unwrap();
    f.execute(format!(
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role}"
    ))
    .await;
    let sign = if f.url.contains('?') { '&' } else { '?' };
    let limited = Ledger::open(&format!("{}{sign}options=-c%20role%3D{role}", f.url)).await.unwrap();
    let whole = f.open().await;
    let elsewhere = async || [limited.stands_elsewhere().await.unwrap(), whole.stands_elsewhere().await.unwrap()];
    limited.migrate().await.unwrap();
    assert_eq!(elsewhere().await, [false, false]);
    assert_eq!(f.count("ledger WHERE stands_in LIKE '/%'").await, 1, "noted without the server");
    whole.migrate().await.unwrap();
    assert_eq!(f.count("ledger WHERE stands_in NOT LIKE '/%'").await, 1, "and with it by whoever may ask");
    assert_eq!(elsewhere().await, [false, false]);
    f.execute("UPDATE ledger SET stands_in = '1' || stands_in").await;
    assert_eq!(elsewhere().await, [false, true], "another server");
    f.execute("UPDATE ledger SET stands_in = '/1/' || stands_in").await;
    assert_eq!(elsewhere().await, [true, true], "another table");
    limited.moved_whole("ana".into()).await.unwrap();
    assert_eq!(elsewhere().await, [false, false]);
    limited.close().await;
    f.execute(format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn where_the_server_may_not_be_asked_its_name_is_no_difference_on_postgres() {
    crate::databases::on_own_database(where_the_server_may_not_be_asked_its_name_is_no_difference).await;
}

/// A process looks, a person answers, and only then the process comes to raise its stop.
async fn what_a_person_has_answered_is_not_raised_again(f: Fixture) {
    let w = world(f).await;
    let why = "it stands elsewhere".into();
    let stop = NewStop { scope: StopScope::Everything, target: String::new(), raised_by: "ledger".into(), why, until_at: None };
    // SQLite can't tell where it stands, but a schema of before is one of before everywhere.
    let latest = w.f.count("migrations").await;
    w.f.execute(&format!("DELETE FROM migrations WHERE version = {latest}")).await;
    assert!(w.ledger.stands_elsewhere().await.unwrap());
    assert_eq!(
        [w.ledger.stop_if_elsewhere(stop.clone()).await.unwrap(), w.ledger.stop_if_elsewhere(stop.clone()).await.unwrap()],
        [true, false]
    );
    w.f.execute(&format!("INSERT INTO migrations (version, applied_at) VALUES ({latest}, 0)")).await;
    w.ledger.moved_whole("ana".into()).await.unwrap();
    assert!(!w.ledger.stop_if_elsewhere(stop).await.unwrap());
    assert!(w.ledger.stops().await.unwrap().is_empty());
}

async fn a_ledger_that_was_moved_whole_goes_on_and_doubts_nothing(f: Fixture) {
    let w = world(f).await;
    let ids = w.queued(1).await;
    let why = "it stands elsewhere".into();
    let stop = NewStop { scope: StopScope::Everything, target: String::new(), raised_by: "ledger".into(), why, until_at: None };
    w.ledger.raise_stop(stop).await.unwrap();
    w.ledger.moved_whole("ana".into()).await.unwrap();
    assert!(w.ledger.stops().await.unwrap().is_empty());
    assert_eq!(w.message(ids[0]).await.state, State::Queued);
    let told = "audit_log WHERE action = 'restored' AND by_whom = 'ana' AND became LIKE '%nothing%'";
    assert_eq!(w.f.count(told).await, 1);
}

conformance! {
    a_ledger_that_stands_elsewhere_says_so_until_a_person_says_why
    what_a_person_has_answered_is_not_raised_again
    a_ledger_that_was_moved_whole_goes_on_and_doubts_nothing
    f8_whatever_lived_is_in_doubt
    a_repeated_result_settles_no_doubt_of_the_restoration
    f8_what_is_decided_later_for_the_lost_time_is_in_doubt
    what_may_have_been_sent_keeps_the_next_stage_away_from_the_restoration_on
    a_stage_after_the_lost_time_is_sent_as_ever
    what_comes_back_for_the_lost_time_is_in_doubt_too
    no_proof_that_one_attempt_sent_nothing_settles_the_doubt_of_the_lost_time
    what_closed_days_put_off_may_have_been_sent_too
    what_is_being_written_while_a_restoration_is_told_is_in_doubt_too
    a_restoration_lifts_the_stop_that_it_caused_and_no_other
    nothing_is_lost_since_the_future
}
