//! The short form of `cargo xtask chaos`: the sharpest faults, always the same.

use regua_chaos::{Kind, Options, run};
use std::time::Duration;

/// Exactly between two steps of the protocol, and what takes away the ledger or the hints.
const SHARP: [Kind; 9] = [
    Kind::KillInserting,
    Kind::KillMarked,
    Kind::KillStarted,
    Kind::KillFinishing,
    Kind::KillFinished,
    Kind::FreezeDispatcher,
    Kind::ProviderResets,
    Kind::DatabaseCrashed,
    Kind::DatabaseFailedOver,
];

#[tokio::test(flavor = "multi_thread")]
async fn the_sharpest_faults_lose_nothing_double_nothing_and_leave_only_doubt_that_they_explain() {
    let options = Options { seed: 5, faults: SHARP.len(), kinds: SHARP.to_vec(), limit: Duration::from_mins(5) };
    let table = run(&options).await;
    println!("{table}");
    assert!(table.holds(), "{table}");
    assert_eq!(table.struck(), SHARP.len(), "{table}");
}
