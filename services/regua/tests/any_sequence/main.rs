//! Any sequence of days, ticks, payments, changes, evaluators and dispatchers: what the customers got is judged by an oracle that knows the
//! rules from their description and asks none of the code that decides.
//!
//! `PROPTEST_CASES` sets how many sequences are tried; a break prints the shortest one found, in words.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]

mod calendar;
#[path = "../../../../shared/ledger/tests/conformance/databases.rs"]
#[allow(dead_code, reason = "the databases are the conformance suite's")]
mod databases;
mod dispatching;
mod evaluating;
mod facts;
mod operations;
mod oracle;
mod player;
mod quiescence;
mod wire;
mod world;

use databases::Fixture;
use operations::{Op, operations};
use oracle::Broken;
use player::{Clock, Player};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::fmt;
use world::World;

/// Sequences that are tried where nobody says how many.
const CASES: u32 = 30;
/// And on PostgreSQL.
const CASES_AT_ONCE: u32 = 2;

/// A world and what happens in it.
#[derive(Clone)]
struct Sequence {
    world: World,
    operations: Vec<Op>,
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let World { begins_at, customers, invoices, rules } = &self.world;
        writeln!(f, "\n  {begins_at}; {rules:?}")?;
        for (number, customer) in customers.iter().enumerate() {
            writeln!(f, "  c{number}: {customer:?}")?;
        }
        for (number, (customer, due)) in invoices.iter().enumerate() {
            writeln!(f, "  i{number} of c{customer}, due in {due} days")?;
        }
        self.operations.iter().enumerate().try_for_each(|(place, operation)| writeln!(f, "  {:>2}. {operation}", place + 1))
    }
}

fn sequences() -> impl Strategy<Value = Sequence> {
    (world::world(), operations()).prop_map(|(world, operations)| Sequence { world, operations })
}

fn cases(usual: u32) -> ProptestConfig {
    let said = std::env::var("PROPTEST_CASES").is_ok();
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if said { default } else { ProptestConfig { cases: usual, ..default } }
}

/// Plays a sequence to its end, and then the pipeline until nothing is left to do.
async fn play(sequence: &Sequence) -> Result<(), Broken> {
    let player = Player::new(Clock::Simulated, &sequence.world).await;
    for (place, operation) in sequence.operations.iter().enumerate() {
        let told = |broken| format!("after operation {} ({operation}): {broken}", place + 1);
        player.play(*operation).await.map_err(told)?;
    }
    player.settle().await.map_err(|broken| format!("at the end: {broken}"))
}

/// The same on PostgreSQL, where what services do in a row is done at once, and each of it by two.
async fn play_at_once(sequence: &Sequence, database: Fixture) -> Result<(), Broken> {
    let player = Player::new(Clock::Moved(database), &sequence.world).await;
    for operations in sequence.operations.chunk_by(|one, other| one.is_service() && other.is_service()) {
        let told = |broken| format!("after {operations:?}: {broken}");
        if operations[0].is_service() {
            player.play_at_once(operations).await.map_err(told)?;
        } else {
            player.play(operations[0]).await.map_err(told)?;
        }
    }
    player.settle().await.map_err(|broken| format!("at the end: {broken}"))
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn whatever_happens_each_customer_gets_what_the_schedule_says_and_no_more(sequence in sequences()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(&sequence)).map_err(TestCaseError::fail)?;
    }
}

proptest! {
    // What happens at once happens in another order the next time: there is little to shrink.
    #![proptest_config(ProptestConfig { max_shrink_iters: 20, ..cases(CASES_AT_ONCE) })]

    #[test]
    fn so_they_do_when_services_work_at_once(sequence in sequences()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut result = Ok(());
        runtime.block_on(databases::on_postgres(async |database| result = Box::pin(play_at_once(&sequence, database)).await));
        result.map_err(TestCaseError::fail)?;
    }
}
