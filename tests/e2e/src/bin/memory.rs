//! Is the steady memory of the services constant in the number of invoices?
//!
//! `cargo xtask memory` plays a day with 3,000 invoices and one with 30,000, prints what each of the three services held while the day was
//! decided and sent, and ends with 1 unless the larger is at most 1.2 × the smaller. Two numbers of customers as arguments take the place of the two days' own. The simulators are in this process, so their memory doesn't count; they spill their logs to disk.

use regua_e2e::memory::{Steady, peak_kib};
use regua_e2e::{World, WorldOptions};
use std::process::ExitCode;

/// Of ten customers about seven have an invoice due on one of the demo's days.
const SMALL: u32 = 4_400;
/// Ten times as many.
const LARGE: u32 = 44_000;
/// What the larger day's memory may be, in per cent of the smaller's.
const GROWTH_MAX: u64 = 120;
/// The pace at which the larger day ends within minutes; the limit has no part in what is measured.
const PER_SECOND: &str = "per_second = 1000";
const SERVICES: [&str; 3] = ["scheduler", "billing-evaluator", "dispatcher"];

/// What a day took.
struct Day {
    invoices: i64,
    /// Of each service: the median while it worked, and the peak, in kibibytes.
    held: [(u64, u64); 3],
}

#[tokio::main]
async fn main() -> ExitCode {
    let given: Vec<u32> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let (small, large) = match (given.as_slice(), std::env::args().count()) {
        ([], 1) => (SMALL, LARGE),
        ([small, large], 3) => (*small, *large),
        _ => {
            eprintln!("usage: memory [CUSTOMERS_SMALL CUSTOMERS_LARGE]");
            return ExitCode::from(2);
        }
    };
    let (small, large) = (day(small).await, day(large).await);
    println!("{:<18} {:>12} {:>12} {:>9}   (peaks)", "steady, KiB", small.invoices, large.invoices, "growth");
    let mut holds = true;
    for (at, name) in SERVICES.iter().enumerate() {
        let ((less, less_peak), (more, more_peak)) = (small.held[at], large.held[at]);
        let growth = more * 100 / less.max(1);
        println!("{name:<18} {less:>12} {more:>12} {growth:>7} %   ({less_peak}, {more_peak})");
        holds &= growth <= GROWTH_MAX;
    }
    println!("{}", if holds { "constant" } else { "NOT CONSTANT: it grows with the invoices" });
    if holds { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Plays a day and watches the services.
async fn day(customers: u32) -> Day {
    let world = World::set(WorldOptions::customers(customers).replacing("per_second = 200 ", PER_SECOND)).await;
    let crew = world.crew(1).await;
    let processes = [crew.scheduler.id(), crew.evaluator.id(), crew.dispatchers[0].id()];
    let mut steady: [Steady; 3] = Default::default();
    let playing = async {
        world.run("update-collections").await;
        world.run("send-queued-messages").await;
        world.settled().await;
    };
    tokio::pin!(playing);
    let mut looks = tokio::time::interval(Steady::EVERY);
    loop {
        tokio::select! {
            () = &mut playing => break,
            _ = looks.tick() => processes.iter().zip(&mut steady).for_each(|(process, steady)| steady.look(*process)),
        }
    }
    world.conserved().await;
    let held = [0, 1, 2].map(|at| (steady[at].median_kib(), peak_kib(processes[at]).unwrap_or(0)));
    Day { invoices: world.database.count("invoices").await, held }
}
