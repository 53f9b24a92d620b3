//! The limits: slots per second (F6), spacing per phone (F18), messages per person and day, recipients per 24 hours (F15).

use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, customer, due_for, invoice, sent, skipped};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::admission::{PHONE_RESERVATION, PHONE_SPACING};
use regua_domain::ids::MessageId;
use regua_domain::message::{DeferReason, FailReason, SkipReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::start::StartAnswer;
use std::collections::BTreeSet;

/// One customer with `count` invoices, all queued.
async fn one_phone(w: &World, count: u32) -> Vec<MessageId> {
    let invoices: Vec<_> = (1..=count).map(|n| invoice(n, 1, due_for("overdue"))).collect();
    w.sync(&[customer(1)], &invoices).await;
    w.evaluate().await;
    w.release().await;
    let mut ids = w.top_up(1000).await;
    ids.sort_unstable();
    assert_eq!(ids.len(), count as usize);
    ids
}

/// Starts what is left from several dispatchers at once until all have started; the slots, in order.
async fn slots_of_concurrent_starters(w: &World, ids: &[MessageId], dispatchers: usize) -> Vec<DateTime<Utc>> {
    let mut slots = Vec::new();
    let mut left = ids.to_vec();
    while !left.is_empty() {
        let batches: Vec<Vec<MessageId>> =
            (0..dispatchers).map(|d| left.iter().copied().skip(d).step_by(dispatchers).take(16).collect()).collect();
        let answers = futures::future::join_all(batches.iter().map(|batch| w.start(batch))).await;
        for (id, answer) in batches.iter().flatten().zip(answers.into_iter().flatten()) {
            match answer {
                StartAnswer::Started(started) => {
                    slots.push(started.slot_at);
                    left.retain(|other| other != id);
                }
                StartAnswer::NoSlot { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        w.f.advance(TimeDelta::milliseconds(150)).await;
    }
    slots.sort_unstable();
    slots
}

/// F6: over no second more than the limit, however many ask at once.
async fn f6_slots_keep_to_the_limit_over_any_second(f: Fixture) {
    let (per_second, count) = (20_u32, 60_u32);
    let w = World::new(f, &Setup { per_second, ..Setup::default() }).await;
    let ids = w.queued(count).await;
    let slots = slots_of_concurrent_starters(&w, &ids, 4).await;
    for (place, first) in slots.iter().enumerate() {
        let within = slots[place..].iter().take_while(|slot| **slot < *first + TimeDelta::seconds(1)).count();
        assert!(within <= per_second as usize, "{within} starts within a second from {first}");
    }
}

async fn an_unlimited_channel_gives_every_slot_at_once(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 0, ..Setup::default() }).await;
    let ids = w.queued(100).await;
    let answers = w.start(&ids).await;
    let slots: BTreeSet<_> = answers.iter().map(slot_of).collect();
    assert_eq!(slots.len(), 1, "without a limit the slot is the moment of the start");
    assert!(answers.iter().all(|answer| matches!(answer, StartAnswer::Started(started) if !started.is_paced)));
}

fn slot_of(answer: &StartAnswer) -> DateTime<Utc> {
    match answer {
        StartAnswer::Started(started) => started.slot_at,
        other => panic!("{other:?}"),
    }
}

/// Two starts that write to one new person at once meet at its key: one of them is repeated and finds the other's start.
async fn f11_two_channels_that_first_write_to_one_person_at_once_keep_the_spacing(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 0, ..Setup::default() }).await;
    let people = 1..=20;
    let invoices: Vec<_> =
        people.clone().flat_map(|n| [invoice(2 * n, n, due_for("overdue")), invoice(2 * n + 1, n, due_for("overdue"))]).collect();
    w.sync(&people.clone().map(customer).collect::<Vec<_>>(), &invoices).await;
    w.evaluate().await;
    w.release().await;
    assert_eq!(w.top_up(1000).await.len(), invoices.len());
    w.f.execute(format!("UPDATE channels SET business_id = '{}'", w.business)).await;
    for person in people {
        let (first, second) = (w.message_of(2 * person).await.id, w.message_of(2 * person + 1).await.id);
        w.f.execute(format!("UPDATE messages SET channel_id = '{}' WHERE id = '{second}'", w.other_channel)).await;
        let (first, second) = tokio::join!(w.start_one(first), w.start_one(second));
        let started = [&first, &second].into_iter().filter(|answer| matches!(answer, StartAnswer::Started(_))).count();
        assert_eq!(started, 1, "{first:?} {second:?}");
    }
}

async fn a_changed_limit_holds_from_the_next_start(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 1, ..Setup::default() }).await;
    let ids = w.queued(3).await;
    w.started(ids[0]).await;
    assert!(matches!(w.start_one(ids[1]).await, StartAnswer::NoSlot { .. }));
    w.ledger.apply_configuration(Setup { per_second: 1000, ..Setup::default() }.configuration()).await.unwrap();
    w.f.advance(TimeDelta::seconds(1)).await;
    let answers = w.start(&ids[1..]).await;
    assert!(answers.iter().all(|answer| matches!(answer, StartAnswer::Started(_))), "{answers:?}");
}

/// F18: each of many messages to one phone gets its own instant, so that each is deferred once.
async fn f18_messages_to_one_phone_are_six_seconds_apart_and_each_is_deferred_once(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 50, ..Setup::default() }).await;
    let ids = one_phone(&w, 8).await;
    let answers = w.start(&ids).await;
    let StartAnswer::Started(first) = &answers[0] else { panic!("{:?}", answers[0]) };
    let mut waits = Vec::new();
    for (id, answer) in ids.iter().zip(&answers).skip(1) {
        assert!(matches!(answer, StartAnswer::Postponed { why: DeferReason::PhoneSpacing }), "{answer:?}");
        waits.push((w.message(*id).await.next_attempt_at.unwrap(), *id));
    }
    waits.sort_unstable();
    let (mut last, mut in_time) = (first.slot_at, 0);
    for (turn, (due, _)) in (1..).zip(&waits) {
        assert_eq!(*due, first.slot_at + PHONE_SPACING + PHONE_RESERVATION * (turn - 1), "an instant of its own");
    }
    for (turn, (due, id)) in (1..).zip(waits) {
        // Its hint comes late, now less and now more.
        let late = TimeDelta::milliseconds(turn * 130 % 300);
        w.f.advance(due + late - w.now().await).await;
        assert_eq!(w.top_up(1000).await, [id]);
        // Unless this machine stood still for so long that the one before took this one's time.
        if last + PHONE_SPACING <= due + late {
            last = w.started(id).await.slot_at;
            in_time += 1;
        }
    }
    assert!(in_time > 3, "{in_time} of 7");
}

async fn another_phone_is_not_kept_waiting(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let invoices: Vec<_> = [(1, 1), (2, 1), (3, 2)].map(|(n, c)| invoice(n, c, due_for("overdue"))).into();
    w.sync(&[customer(1), customer(2)], &invoices).await;
    w.evaluate().await;
    w.release().await;
    let mut ids = w.top_up(10).await;
    ids.sort_unstable();
    let answers = w.start(&ids).await;
    assert!(
        matches!(answers[..], [StartAnswer::Started(_), StartAnswer::Postponed { .. }, StartAnswer::Started(_)]),
        "{answers:?}"
    );
}

async fn f11_doubt_counts_for_the_spacing(f: Fixture) {
    let w = World::new(f, &Setup::default()).await;
    let ids = one_phone(&w, 2).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    w.finish(ids[0], attempt, Settlement::Doubt { why: regua_domain::message::DoubtReason::TimedOut }).await;
    assert!(matches!(w.start_one(ids[1]).await, StartAnswer::Postponed { why: DeferReason::PhoneSpacing }));
}

async fn a_person_over_the_days_cap_waits_for_the_next_days_window(f: Fixture) {
    let w = World::new(f, &Setup { open_windows: 2, max_age: "30d", ..Setup::default() }).await;
    let ids = one_phone(&w, 3).await;
    for id in &ids[..2] {
        w.send(*id).await;
        w.f.advance(PHONE_SPACING).await;
    }
    assert!(matches!(w.start_one(ids[2]).await, StartAnswer::Postponed { why: DeferReason::PersonCap }));
    let until = w.message(ids[2]).await.next_attempt_at.unwrap();
    assert_eq!(until, "2026-03-10T12:00:00Z".parse::<DateTime<Utc>>().unwrap());
    w.f.advance(until - w.now().await).await;
    assert_eq!(w.top_up(10).await, [ids[2]]);
    w.send(ids[2]).await;
}

/// One jump, not a wait for the phone first: nothing is reserved for what will not go today.
async fn f18_a_person_over_the_cap_is_not_spaced_before(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 1, open_windows: 2, ..Setup::default() }).await;
    let ids = one_phone(&w, 2).await;
    w.send(ids[0]).await;
    assert!(matches!(w.start_one(ids[1]).await, StartAnswer::Postponed { why: DeferReason::PersonCap }));
}

async fn a_person_over_the_cap_to_the_end_of_the_message_is_not_written_to(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 1, ..Setup::default() }).await;
    let ids = one_phone(&w, 2).await;
    w.send(ids[0]).await;
    w.f.advance(PHONE_SPACING).await;
    assert!(matches!(w.start_one(ids[1]).await, StartAnswer::Skipped { why: SkipReason::Capped }));
    assert_eq!(w.state(ids[1]).await, skipped(SkipReason::Capped));
}

async fn a_given_back_attempt_counts_for_no_cap(f: Fixture) {
    let w = World::new(f, &Setup { per_day: 1, ..Setup::default() }).await;
    let ids = one_phone(&w, 2).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    w.finish(ids[0], attempt, Settlement::GiveBack).await;
    assert_eq!(w.top_up(10).await, [ids[0]]);
    w.started(ids[0]).await;
}

fn budget(recipients: &'static str) -> Setup {
    Setup { recipients_per_24h: recipients, per_day: 50, open_windows: 9, max_age: "30d", ..Setup::default() }
}

async fn gate_pause(w: &World) -> Option<String> {
    w.f.text(format!("SELECT pause_reason FROM gates WHERE channel_id = '{}'", w.channel)).await
}

/// F15: who is over the budget waits at the gate, not message by message.
async fn f15_an_exhausted_budget_closes_the_gate_until_its_oldest_place_is_free(f: Fixture) {
    let w = World::new(f, &budget("250")).await;
    let ids = w.released(1, 260, "overdue").await;
    let first_at = w.now().await;
    let mut postponed = 0;
    loop {
        let queued = w.top_up(50).await;
        if queued.is_empty() {
            break;
        }
        for answer in w.start_in_turns(&queued).await {
            match answer {
                StartAnswer::Started(_) => {}
                StartAnswer::Postponed { why: DeferReason::Budget | DeferReason::Gate } => postponed += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    let counts = w.ledger.counts().await.unwrap();
    assert_eq!(counts.of(State::Sending), 250);
    assert!(postponed <= 50, "only the few that were queued: {postponed}");
    assert_eq!(gate_pause(&w).await.as_deref(), Some("budget"));
    w.f.advance(first_at + TimeDelta::hours(23) - w.now().await).await;
    assert!(w.top_up(50).await.is_empty());
    w.f.advance(TimeDelta::minutes(66)).await;
    let next = w.top_up(50).await;
    assert_eq!(next.len(), 10);
    assert!(matches!(w.start_in_turns(&next).await[0], StartAnswer::Started(_)));
    assert_eq!(ids.len(), 260);
}

async fn a_person_takes_one_place_of_the_budget_in_24_hours(f: Fixture) {
    let w = World::new(f, &budget("250")).await;
    let ids = one_phone(&w, 3).await;
    w.fill_budget(249).await;
    for id in ids {
        w.send(id).await;
        w.f.advance(PHONE_SPACING).await;
    }
    assert_eq!(w.used_budget().await, 250);
}

/// Moving: a place is free 24 hours after the *last* message to a person, not after midnight.
/// The budget is the business's, whichever channel and dispatcher takes a place.
async fn f15_two_channels_of_a_business_share_its_budget_even_at_once(f: Fixture) {
    let w = World::new(f, &Setup { per_second: 0, ..budget("5") }).await;
    let shared = |setup: Setup| {
        let mut configuration = setup.configuration();
        configuration.channels[1].business = Some("Provedor".into());
        configuration.channels[1].per_second = None;
        configuration
    };
    // The overdue notice goes through the second channel, the next stage's through the first.
    w.ledger.apply_configuration(shared(Setup { per_second: 0, channel: "Vendas", ..budget("5") })).await.unwrap();
    w.released(1, 10, "pending_query").await;
    w.released(11, 10, "overdue").await;
    let one = w.top_up(10).await;
    let other = w.ledger.top_up(w.other_channel, Some(10)).await.unwrap().queued;
    assert_eq!((one.len(), other.len()), (10, 10));
    let (one, other) = tokio::join!(w.start(&one), w.start(&other));
    let started = one.iter().chain(&other).filter(|answer| matches!(answer, StartAnswer::Started(_))).count();
    assert!((1..=5).contains(&started), "{started}");
    assert_eq!(w.used_budget().await, i64::try_from(started).unwrap());
}

/// A start that looked at the limits and then waited for its locks goes by the limits that hold when it has them.
async fn limits_that_change_while_a_start_waits_for_its_locks_are_the_new_ones(f: Fixture) {
    let w = World::new(f, &budget("1")).await;
    w.fill_budget(1).await;
    let ids = w.queued(3).await;
    let answer = start_while(&w, ids[0], "UPDATE businesses SET recipients_per_24h = 1000").await;
    assert!(matches!(&answer, StartAnswer::Started(started) if started.is_paced), "raised: {answer:?}");
    w.f.execute("UPDATE businesses SET recipients_per_24h = NULL").await;
    let answer = start_while(&w, ids[1], "UPDATE businesses SET recipients_per_24h = 1").await;
    assert!(matches!(answer, StartAnswer::Postponed { why: DeferReason::Budget }), "given: {answer:?}");
    w.f.execute("UPDATE businesses SET recipients_per_24h = NULL").await;
    w.f.execute("UPDATE gates SET paused_until = NULL, pause_reason = NULL").await;
    w.f.execute("UPDATE channels SET per_second = NULL").await;
    let answer = start_while(&w, ids[2], "UPDATE channels SET per_second = 80").await;
    assert!(matches!(&answer, StartAnswer::Started(started) if started.is_paced), "paced: {answer:?}");
}

/// Starts a message while another transaction changes limits and, as an applied configuration does, holds the gates; it is committed when the
/// start waits for it. SQLite's one writer makes one come after the other.
async fn start_while(w: &World, id: MessageId, change: &'static str) -> StartAnswer {
    let Some(pool) = w.f.postgres() else {
        w.f.execute(change).await;
        return w.start_one(id).await;
    };
    let mut other = pool.begin().await.unwrap();
    for sql in [change, "SELECT channel_id FROM gates ORDER BY channel_id FOR NO KEY UPDATE"] {
        sqlx::raw_sql(sql).execute(&mut *other).await.unwrap();
    }
    let commit = async {
        w.f.blocked_by(&mut other).await;
        other.commit().await.unwrap();
    };
    tokio::join!(w.start_one(id), commit).0
}

/// A new limit counts what was started under the old one: it waits for those starts.
async fn a_new_limit_waits_for_the_starts_that_are_under_way(f: Fixture) {
    let w = World::new(f, &budget("\"unlimited\"")).await;
    let Some(pool) = w.f.postgres() else { return };
    let mut start = pool.begin().await.unwrap();
    let gate = format!("SELECT channel_id FROM gates WHERE channel_id = '{}' FOR NO KEY UPDATE", w.channel);
    sqlx::raw_sql(sqlx::AssertSqlSafe(gate)).execute(&mut *start).await.unwrap();
    let commit = async {
        w.f.blocked_by(&mut start).await;
        start.commit().await.unwrap();
    };
    tokio::join!(w.ledger.apply_configuration(budget("5").configuration()), commit).0.unwrap();
}

/// Whoever counts a person in one bucket and no more in another locks the older bucket first, in whichever direction the person moves: a start
/// and a give-back would wait for each other else.
async fn budget_buckets_are_locked_oldest_first(f: Fixture) {
    let w = World::new(f, &budget("\"unlimited\"")).await;
    let id = w.queued(1).await[0];
    let now_us = w.now().await.timestamp_micros();
    let (old, new) = (now_us - now_us % 300_000_000 - 2 * 86_400_000_000, now_us - now_us % 300_000_000);
    w.f.execute(format!(
        "INSERT INTO recipients (business_id, phone_key, counted_at) SELECT '{}', phone_key, {old} FROM messages",
        w.business
    ))
    .await;
    for bucket in [old, new] {
        let sql =
            format!("INSERT INTO budget_buckets (business_id, bucket_at, recipients) VALUES ('{}', {bucket}, 1)", w.business);
        w.f.execute(sql).await;
    }
    let Some(pool) = w.f.postgres() else { return };
    let mut other = pool.begin().await.unwrap();
    let held = format!("SELECT 1 FROM budget_buckets WHERE bucket_at = {old} FOR UPDATE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(held)).execute(&mut *other).await.unwrap();
    let look = async {
        w.f.blocked_by(&mut other).await;
        let free = format!(
            "SELECT count(*) FROM (SELECT 1 FROM budget_buckets WHERE bucket_at = {new} FOR UPDATE SKIP LOCKED) AS unlocked"
        );
        let free = w.f.number(free).await;
        other.commit().await.unwrap();
        free
    };
    let (answer, free) = tokio::join!(w.start_one(id), look);
    assert!(matches!(answer, StartAnswer::Started(_)), "{answer:?}");
    assert_eq!(free, Some(1), "the newer bucket is locked while the older one is waited for");
}

async fn f15_a_place_is_kept_from_the_last_message_on(f: Fixture) {
    let w = World::new(f, &budget("250")).await;
    let ids = one_phone(&w, 2).await;
    w.send(ids[0]).await;
    let first = w.f.number("SELECT MAX(bucket_at) FROM budget_buckets WHERE recipients > 0").await.unwrap();
    w.f.advance(TimeDelta::minutes(30)).await;
    w.top_up(10).await;
    w.send(ids[1]).await;
    let second = w.f.number("SELECT MAX(bucket_at) FROM budget_buckets WHERE recipients > 0").await.unwrap();
    assert!(second >= first + 25 * 60 * 1_000_000, "the bucket moved along");
    assert_eq!(w.used_budget().await, 1);
}

async fn f15_what_proves_unsent_gives_its_place_back_and_opens_the_gate(f: Fixture) {
    let w = World::new(f, &budget("250")).await;
    let ids = w.queued(3).await;
    w.fill_budget(249).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    assert!(matches!(w.start_one(ids[1]).await, StartAnswer::Postponed { why: DeferReason::Budget }));
    assert_eq!(gate_pause(&w).await.as_deref(), Some("budget"));
    let at = w.now().await + TimeDelta::minutes(1);
    w.finish(ids[0], attempt, Settlement::Retry { at }).await;
    assert_eq!(w.used_budget().await, 249);
    assert_eq!(gate_pause(&w).await, None, "there is a place again");
    w.started(ids[2]).await;
}

async fn a_raised_limit_opens_the_gate(f: Fixture) {
    let w = World::new(f, &budget("250")).await;
    let ids = w.queued(2).await;
    w.fill_budget(250).await;
    assert!(matches!(w.start_one(ids[0]).await, StartAnswer::Postponed { why: DeferReason::Budget }));
    assert!(matches!(w.start_one(ids[1]).await, StartAnswer::Postponed { why: DeferReason::Gate }));
    w.ledger.apply_configuration(budget("2000").configuration()).await.unwrap();
    assert_eq!(gate_pause(&w).await, None);
}

async fn f15_what_may_have_arrived_keeps_its_place(f: Fixture) {
    let w = World::new(f, &budget("250")).await;
    let ids = w.queued(3).await;
    let settlements = [
        sent("p"),
        Settlement::Doubt { why: regua_domain::message::DoubtReason::TimedOut },
        Settlement::Fail { why: FailReason::Rejected },
    ];
    for (id, settlement) in ids.into_iter().zip(settlements) {
        let attempt = w.started(id).await.attempt_id;
        w.finish(id, attempt, settlement).await;
    }
    assert_eq!(w.used_budget().await, 3);
}

/// The last one of the budget is answered 429: its place is given back, and with it goes the budget's pause, but not the provider's.
async fn a_pause_that_the_provider_asks_for_outlives_the_budgets_own(f: Fixture) {
    let w = World::new(f, &budget("250")).await;
    w.fill_budget(249).await;
    let ids = w.queued(2).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    assert!(matches!(w.start_one(ids[1]).await, StartAnswer::Postponed { why: DeferReason::Budget }));
    assert_eq!(gate_pause(&w).await.as_deref(), Some("budget"));
    let until = w.now().await + TimeDelta::minutes(10);
    w.ledger.pause_channel(w.channel, until, DeferReason::Throttled).await.unwrap();
    w.finish(ids[0], attempt, Settlement::Defer { until, why: DeferReason::Throttled }).await;
    assert_eq!(gate_pause(&w).await.as_deref(), Some("throttled"));
    assert_eq!(w.top_up(10).await, []);
}

async fn a_refund_never_shortens_another_pause(f: Fixture) {
    let w = World::new(f, &budget("250")).await;
    let ids = w.queued(1).await;
    let attempt = w.started(ids[0]).await.attempt_id;
    w.ledger.pause_channel(w.channel, w.now().await + TimeDelta::minutes(1), DeferReason::Throttled).await.unwrap();
    w.finish(ids[0], attempt, Settlement::GiveBack).await;
    assert_eq!(gate_pause(&w).await.as_deref(), Some("throttled"));
}

impl World {
    /// Starts messages one after another as slots come free; the answers, in order.
    async fn start_in_turns(&self, ids: &[MessageId]) -> Vec<StartAnswer> {
        let mut answers = Vec::new();
        for id in ids {
            let mut answer = self.start_one(*id).await;
            while matches!(answer, StartAnswer::NoSlot { .. }) {
                self.f.advance(TimeDelta::milliseconds(50)).await;
                answer = self.start_one(*id).await;
            }
            answers.push(answer);
        }
        answers
    }

    /// Takes places of the budget for people whom other messages reached a minute ago.
    async fn fill_budget(&self, recipients: u32) {
        let at = (self.now().await - TimeDelta::minutes(1)).timestamp_micros();
        let bucket = at - at % 300_000_000;
        let sql = format!(
            "INSERT INTO budget_buckets (business_id, bucket_at, recipients) VALUES ('{}', {bucket}, {recipients})",
            self.business
        );
        self.f.execute(sql).await;
    }

    async fn used_budget(&self) -> i64 {
        self.f.number("SELECT CAST(SUM(recipients) AS BIGINT) FROM budget_buckets").await.unwrap()
    }
}

conformance! {
    f6_slots_keep_to_the_limit_over_any_second
    an_unlimited_channel_gives_every_slot_at_once
    f11_two_channels_that_first_write_to_one_person_at_once_keep_the_spacing
    a_changed_limit_holds_from_the_next_start
    f18_messages_to_one_phone_are_six_seconds_apart_and_each_is_deferred_once
    another_phone_is_not_kept_waiting
    f11_doubt_counts_for_the_spacing
    a_person_over_the_days_cap_waits_for_the_next_days_window
    f18_a_person_over_the_cap_is_not_spaced_before
    a_person_over_the_cap_to_the_end_of_the_message_is_not_written_to
    a_given_back_attempt_counts_for_no_cap
    f15_an_exhausted_budget_closes_the_gate_until_its_oldest_place_is_free
    a_person_takes_one_place_of_the_budget_in_24_hours
    f15_two_channels_of_a_business_share_its_budget_even_at_once
    limits_that_change_while_a_start_waits_for_its_locks_are_the_new_ones
    a_new_limit_waits_for_the_starts_that_are_under_way
    budget_buckets_are_locked_oldest_first
    f15_a_place_is_kept_from_the_last_message_on
    f15_what_proves_unsent_gives_its_place_back_and_opens_the_gate
    a_raised_limit_opens_the_gate
    f15_what_may_have_arrived_keeps_its_place
    a_pause_that_the_provider_asks_for_outlives_the_budgets_own
    a_refund_never_shortens_another_pause
}
