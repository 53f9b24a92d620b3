//! Dispatchers, schedulers and a clock at random: whatever happens, nothing is sent twice and the sums hold.

use crate::counts;
use crate::databases::Fixture;
use crate::setup::Setup;
use crate::world::{World, customer, due_for, finished, invoice, sent, start_batch};
use chrono::TimeDelta;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use regua_domain::ids::{AttemptId, MessageId};
use regua_domain::message::{DeferReason, DoubtReason, FailReason, State};
use regua_domain::settlement::Settlement;
use regua_ledger::conservation::compare;
use regua_ledger::failures::{FailureFilter, Intervention};
use regua_ledger::new_id;
use regua_ledger::start::{StartAnswer, StartBatch};
use std::sync::Mutex;

/// Repeat a failed run with its seed.
const SEED: &str = "REGUA_TEST_SEED";
const CUSTOMERS: u32 = 25;
/// Invoices of each customer: so many messages share a phone.
const EACH: u32 = 3;
const WORKERS: u64 = 6;
const STEPS: u32 = 60;
/// Short, so that leases expire while their attempts are in hand.
const LEASE: TimeDelta = TimeDelta::seconds(12);

/// What lies between the workers: hints on their way, attempts in hand, and what the provider took.
#[derive(Default)]
struct Between {
    hints: Mutex<Vec<MessageId>>,
    open: Mutex<Vec<(MessageId, AttemptId)>>,
    provider: Mutex<Vec<MessageId>>,
    /// Accepted requests whose answer is still to be reported.
    late: Mutex<Vec<(MessageId, AttemptId)>>,
}

fn take<T>(from: &Mutex<Vec<T>>, rng: &mut StdRng, at_most: usize) -> Vec<T> {
    let mut all = from.lock().unwrap();
    all.shuffle(rng);
    let keep = all.len().saturating_sub(at_most);
    all.split_off(keep)
}

async fn start_some(w: &World, between: &Between, rng: &mut StdRng) {
    let mut hints = take(&between.hints, rng, rng.clone().random_range(1..8));
    hints.sort_unstable();
    hints.dedup();
    let requests = hints.iter().map(|id| (*id, AttemptId(new_id()))).collect();
    let batch = StartBatch { lease: LEASE, ..start_batch(requests) };
    for (id, answer) in w.ledger.start(batch).await.unwrap().answers {
        match answer {
            StartAnswer::Started(started) => between.open.lock().unwrap().push((id, started.attempt_id)),
            // Asked again; a redelivered hint is the same.
            StartAnswer::NoSlot { .. } => between.hints.lock().unwrap().push(id),
            StartAnswer::Postponed { .. } | StartAnswer::Skipped { .. } | StartAnswer::NotWaiting => {}
            StartAnswer::Unknown => panic!("{id} is unknown"),
        }
    }
}

/// Ends some attempts: each is tried at the provider at most once, and its end is reported now, later or never.
async fn finish_some(w: &World, between: &Between, rng: &mut StdRng) {
    let mut batch = Vec::new();
    let at = w.now().await + TimeDelta::milliseconds(rng.random_range(0..3000));
    for (id, attempt) in take(&between.open, rng, 6) {
        let took_it = || between.provider.lock().unwrap().push(id);
        let settlement = match rng.random_range(0..10) {
            0..3 => {
                took_it();
                sent(&attempt.to_string())
            }
            3 => Settlement::Retry { at },
            4 => Settlement::Defer { until: at, why: DeferReason::Throttled },
            5 if rng.random_bool(0.3) => Settlement::Fail { why: FailReason::Rejected },
            6 => {
                took_it();
                Settlement::Doubt { why: DoubtReason::TimedOut }
            }
            // A dispatcher dies before or after the request, or can't reach the ledger for a while.
            7 => {
                if rng.random_bool(0.5) {
                    took_it();
                    between.late.lock().unwrap().push((id, attempt));
                }
                continue;
            }
            _ => Settlement::GiveBack,
        };
        batch.push(finished(id, attempt, settlement));
        if rng.random_bool(0.1) {
            batch.push(batch[batch.len() - 1].clone());
        }
    }
    w.ledger.finish(batch).await.unwrap();
}

async fn report_late(w: &World, between: &Between, rng: &mut StdRng) {
    let batch = take(&between.late, rng, 3).into_iter().map(|(id, attempt)| finished(id, attempt, sent(&attempt.to_string())));
    w.ledger.finish(batch.collect()).await.unwrap();
}

async fn step(w: &World, between: &Between, rng: &mut StdRng) {
    match rng.random_range(0..22) {
        0..4 => {
            let queued = w.ledger.top_up(w.channel, Some(rng.random_range(1..30))).await.unwrap().queued;
            let lost = usize::from(rng.random_bool(0.1)) * 2;
            let twice = if rng.random_bool(0.1) { queued.first().copied() } else { None };
            between.hints.lock().unwrap().extend(queued.into_iter().skip(lost).chain(twice));
        }
        4..10 => start_some(w, between, rng).await,
        10..15 => finish_some(w, between, rng).await,
        15 => report_late(w, between, rng).await,
        16 => {
            w.ledger.rescue().await.unwrap();
        }
        17 => {
            w.ledger.unqueue(TimeDelta::seconds(5)).await.unwrap();
        }
        18 => w.f.advance(TimeDelta::milliseconds(rng.random_range(0..9000))).await,
        19 => {
            let failed = w.ledger.failures(&FailureFilter::default(), None, 10).await.unwrap();
            let who = Intervention { by: "ana".into(), why: "ao acaso".into() };
            w.ledger.replay(failed.into_iter().map(|failure| failure.id).collect(), who).await.unwrap();
        }
        20 => {
            w.ledger.fold_counts().await.unwrap();
        }
        _ => {
            let run = w.leased_run().await;
            let batch = w.decide(&run).await;
            w.ledger.commit_evaluation(batch).await.unwrap();
            w.ledger.finish_run(run.run.id, run.owner, None).await.unwrap();
        }
    }
    let open = "(SELECT message_id FROM attempts WHERE finished_at IS NULL GROUP BY message_id HAVING count(*) > 1) twice";
    assert_eq!(w.f.count(open).await, 0, "at most one open attempt per message");
}

async fn nothing_is_sent_twice_and_the_sums_hold_whatever_happens(f: Fixture) {
    let seed: u64 = std::env::var(SEED).ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let setup = Setup { per_second: 200, per_day: 50, recipients_per_24h: "20", max_age: "30d", ..Setup::default() };
    let w = World::new(f, &setup).await;
    let invoices: Vec<_> = (0..CUSTOMERS * EACH).map(|n| invoice(n, n % CUSTOMERS, due_for("overdue"))).collect();
    w.sync(&(0..CUSTOMERS).map(customer).collect::<Vec<_>>(), &invoices).await;
    w.evaluate().await;
    w.release().await;
    let between = Between::default();
    let workers = (0..WORKERS).map(|worker| {
        let (w, between) = (&w, &between);
        async move {
            let mut rng = StdRng::seed_from_u64(seed.wrapping_add(worker));
            for _ in 0..STEPS {
                step(w, between, &mut rng).await;
            }
        }
    });
    futures::future::join_all(workers).await;

    // Whoever died with an attempt in hand has left doubt.
    w.f.advance(LEASE).await;
    w.ledger.rescue().await.unwrap();
    let provider = between.provider.lock().unwrap().clone();
    let side = w.ledger.conservation().await.unwrap();
    assert_eq!(compare(&side, provider.iter().copied().map(Some)), []);
    assert_eq!(side.counts.total(), u64::from(CUSTOMERS * EACH));
    assert!(!provider.is_empty() && side.counts.of(State::Sent) > 0, "something happened");
    counters_add_up(&w).await;
    counts::agree(&w).await;
}

/// Recipients, budget and attempts tell the same story.
async fn counters_add_up(w: &World) {
    let counted = w.f.count("recipients WHERE counted_at IS NOT NULL").await;
    let in_buckets = w.f.number("SELECT CAST(COALESCE(SUM(recipients), 0) AS BIGINT) FROM budget_buckets").await;
    assert_eq!(in_buckets, Some(counted), "each recipient has one place in one bucket");
    assert!(counted <= 20, "the budget held: {counted}");
    let mut by_people = 0;
    for customer in 0..CUSTOMERS {
        by_people += w.sent_to(customer).await;
    }
    let by_attempts = w.f.count("attempts WHERE counted_on IS NOT NULL").await;
    assert_eq!(by_people, by_attempts, "each attempt that may have sent something counts once for its person");
    let unsent = w.f.count("attempts WHERE counted_on IS NOT NULL AND outcome IN ('retry', 'defer', 'given_back')").await;
    assert_eq!(unsent, 0, "what certainly sent nothing counts for nobody");
    let used = w.f.count("messages m WHERE replays = 0 AND state <> 'in_doubt' AND attempts <> (SELECT count(*) FROM attempts a WHERE a.message_id = m.id AND (outcome IS NULL OR outcome NOT IN ('defer', 'given_back')))");
    assert_eq!(used.await, 0, "attempts used are attempts made, but for those that use none");
    let sending = w.f.count("messages m WHERE state = 'sending' AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.id = m.attempt_id AND finished_at IS NULL)");
    assert_eq!(sending.await, 0, "who is sending has an open attempt");
}

conformance! {
    nothing_is_sent_twice_and_the_sums_hold_whatever_happens
}
