//! Tries early receipts again: those that had only the provider's id, and came before the answer with that id was in the ledger.

use crate::config::EARLY_EVERY;
use crate::counters::Counters;
use crate::opa;
use regua_ledger::Ledger;
use regua_ledger::receipts::BATCH_MAX;
use regua_telemetry::logging::Chain;
use tokio::time::{MissedTickBehavior, interval};

/// Tries those whose turn it is, again and again. What fails is tried with the next turn: the ledger keeps them.
pub async fn keep_trying(ledger: &Ledger, counters: &Counters) {
    let mut every = interval(EARLY_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let mut is_full = true;
        while is_full {
            match ledger.receive_early(opa::consequence_of).await {
                Ok(received) => {
                    is_full = received.answers.len() == BATCH_MAX;
                    counters.received(&received, true);
                }
                Err(error) => {
                    is_full = false;
                    tracing::debug!(error = %Chain(&error), "receipts.early_not_tried");
                }
            }
        }
    }
}
