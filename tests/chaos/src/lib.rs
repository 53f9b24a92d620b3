//! Chaos: Régua's programs over real servers, with work all the time and everything going wrong, and then a verdict.
//!
//! Two schedulers, two billing-evaluators and three dispatchers run as processes over a RabbitMQ and a PostgreSQL of their own; the two
//! simulators are ERP and provider. Each round is an hour of the provider's: titles are issued, the tasks' schedule comes round, and faults
//! drawn from a seed strike in the middle of it. When they are healed everything must be ready again, worked off, and a fresh message
//! must come through. Then three witnesses are compared: the generator's list of what was due, the ledger, the provider's log.
//!
//! Hours, leases, rests and backoffs pass by moving the ledger's clock (its one offset row), never by waiting for them: so a lease of 60 s costs
//! a moment. Seconds of recovery are the ledger's, with what was moved in them: about what a provider would have waited.

#![allow(clippy::missing_panics_doc, reason = "a harness fails by panicking where its own servers do")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps wrongly fails, as it should"))]

mod barrier;
mod crew;
mod faults;
mod kinds;
mod load;
mod operator;
mod round;
mod stage;
mod table;
mod verdict;

pub use crew::clocks_can_be_stepped;
pub use kinds::Kind;
pub use table::Table;

use round::{Deck, play};
use stage::Stage;
use std::time::{Duration, Instant};

/// What to play.
#[derive(Clone, Debug)]
pub struct Options {
    /// The same seed, the same faults.
    pub seed: u64,
    /// So many faults must strike …
    pub faults: usize,
    /// … of these kinds …
    pub kinds: Vec<Kind>,
    /// … unless this has passed before a round begins.
    pub limit: Duration,
}

/// Plays rounds until so many faults have struck, time is up, or something isn't as promised; tells each fault as it happens.
pub async fn run(options: &Options) -> Table {
    println!("seed {}", options.seed);
    let began = Instant::now();
    let mut stage = Stage::set(options.seed).await;
    let mut deck = Deck::new(options.seed, &options.kinds);
    let mut table = Table::default();
    for round in 1.. {
        let left = options.faults.saturating_sub(table.struck());
        if left == 0 || began.elapsed() > options.limit || !play(&mut stage, &mut table, round, deck.draw(left)).await {
            break;
        }
    }
    table
}
