//! Any sequence of days, ticks, payments, changes, evaluators and dispatchers: what the customers got is judged by an oracle that knows the
//! rules from their description and asks none of the code that decides.
//!
//! `PROPTEST_CASES` sets how many sequences are tried; a break prints the shortest one found, in words.

#![allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should")]

mod calendar;
mod dispatching;
mod evaluating;
mod facts;
mod operations;
mod oracle;
mod player;
mod quiescence;
mod wire;
mod world;

use operations::{Op, operations};
use player::{Clock, Player};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::fmt;
use world::World;

/// Sequences that are tried where nobody says how many.
const CASES: u32 = 40;

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

fn cases() -> ProptestConfig {
    let said = std::env::var("PROPTEST_CASES").is_ok();
    let default = ProptestConfig { max_shrink_iters: 600, failure_persistence: None, ..ProptestConfig::default() };
    if said { default } else { ProptestConfig { cases: CASES, ..default } }
}

/// Plays a sequence to its end, and then the pipeline until nothing is left to do.
async fn play(sequence: &Sequence) -> Result<(), String> {
    let player = Player::new(Clock::Simulated, &sequence.world).await;
    for (place, operation) in sequence.operations.iter().enumerate() {
        let told = |broken| format!("after operation {} ({operation}): {broken}", place + 1);
        player.play(*operation).await.map_err(told)?;
    }
    player.settle().await.map_err(|broken| format!("at the end: {broken}"))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_happens_each_customer_gets_what_the_schedule_says_and_no_more(sequence in sequences()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(&sequence)).map_err(TestCaseError::fail)?;
    }
}
