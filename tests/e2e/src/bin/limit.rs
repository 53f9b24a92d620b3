//! Is the limit per second kept, and used up?
//!
//! `cargo xtask limit` sends a minute and more of messages at the demo's 200 per second: through three dispatchers, and through three of which
//! one is killed in mid-send while another joins. It prints the ceiling (request starts per second of the ledger's time, and at Opa! Suite per
//! five seconds), the floor (the rate over the busiest minute), each dispatcher's share and the doubt, and ends with 1 unless all are as
//! promised. A number of dispatchers as an argument takes the place of three. The machine must have nothing else to do, and its disk no hiccups: a
//! slot that passes while a commit waits for the disk is lost, for what is late is never sent faster.

use chrono::TimeDelta;
use regua_e2e::{Crew, Program, Rate, World, WorldOptions, within};
use std::process::ExitCode;
use std::time::Duration;

/// The limit of the demo's channel.
const LIMIT: usize = 200;
/// About two in three have a notice on the demo's day: more than a minute of work.
const CUSTOMERS: u32 = 22_000;
/// Opa! Suite's clock sees jitter: 2% at most over five seconds.
const IN_5S_MAX: usize = LIMIT * 5 * 102 / 100;
/// Of the limit, over a minute in which a second of work waits.
const FLOOR: f64 = 0.98;
/// Of the messages, by each of three dispatchers.
const SHARE_MIN_PERCENT: i64 = 20;
/// What the others may take for the rest.
const REST_MAX: Duration = Duration::from_mins(5);
/// The longest pauses that are told.
const GAPS_TOLD: usize = 5;
/// Attempts of one channel in one dispatcher: a killed one leaves at most so many in doubt.
const IN_FLIGHT_MAX: i64 = 32;

#[tokio::main]
async fn main() -> ExitCode {
    let dispatchers = match std::env::args().nth(1).map(|text| text.parse::<usize>()) {
        None => 3,
        Some(Ok(number @ 1..=64)) => number,
        Some(_) => {
            eprintln!("usage: limit [DISPATCHERS], 1 to 64");
            return ExitCode::from(2);
        }
    };
    let calm = calm(dispatchers).await;
    let killed = killed(dispatchers).await;
    if calm && killed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All dispatchers live: limit and shares.
async fn calm(dispatchers: usize) -> bool {
    println!("{dispatchers} dispatchers");
    let (world, _crew) = released(dispatchers).await;
    world.settled().await;
    let kept = tell(&world, 0).await;
    let by = world.database.counts("SELECT dispatcher, count(*) FROM attempts WHERE outcome = 'sent' GROUP BY dispatcher").await;
    let sent: i64 = by.iter().map(|(_, sent)| sent).sum();
    let shares: Vec<i64> = by.iter().map(|(_, share)| share * 100 / sent.max(1)).collect();
    let is_fair = shares.len() == dispatchers && (dispatchers != 3 || shares.iter().all(|share| *share >= SHARE_MIN_PERCENT));
    println!("  shares, per cent: {shares:?}{}", verdict(is_fair));
    kept && is_fair
}

/// One is killed in mid-send, another joins: limit and doubt.
async fn killed(dispatchers: usize) -> bool {
    println!("{dispatchers} dispatchers, one killed (-9) in mid-send, another joins");
    let (world, mut crew) = released(dispatchers).await;
    world.accepted(3000).await;
    crew.dispatchers[0].kill();
    crew.dispatchers.push(world.spawn(Program::Dispatcher));
    let waiting = "messages WHERE state IN ('held', 'scheduled', 'queued')";
    within(REST_MAX, "the others send the rest", async || (world.database.count(waiting).await == 0).then_some(())).await;
    // The leases of the killed one's attempts expire: 60 s of the ledger's time, which no slot of the other lies in.
    world.database.pass(TimeDelta::seconds(61)).await;
    world.settled().await;
    tell(&world, IN_FLIGHT_MAX).await
}

/// A provider whose messages were all just released.
async fn released(dispatchers: usize) -> (World, Crew) {
    let world = World::set(WorldOptions::customers(CUSTOMERS)).await;
    let crew = world.crew(dispatchers).await;
    world.run("update-collections").await;
    // The mirror and the messages were written within seconds, which no provider's are: what the server does about that has to be over.
    for upkeep in ["VACUUM ANALYZE", "CHECKPOINT"] {
        world.database.execute(upkeep).await;
    }
    world.run("send-queued-messages").await;
    (world, crew)
}

/// Prints what was kept of the promises; whether all were.
async fn tell(world: &World, doubt_max: i64) -> bool {
    let used = "SELECT slot_at FROM attempts WHERE outcome IS NULL OR outcome <> 'given_back'";
    let mut instants = world.database.numbers(used).await;
    let slots = Rate::of(&instants);
    instants.sort_unstable();
    let requests = world.rate();
    let attempts = world.database.counts("SELECT COALESCE(outcome, 'open'), count(*) FROM attempts GROUP BY 1 ORDER BY 1").await;
    let doubtful = world.in_state("in_doubt").await;
    #[allow(clippy::cast_precision_loss, reason = "a limit of some hundreds")]
    let floor = LIMIT as f64 * FLOOR;
    let parts = [
        (format!("slots: {slots}"), slots.most_in_1s <= LIMIT && slots.middle >= floor),
        (format!("requests at Opa! Suite: {requests}"), requests.most_in_5s <= IN_5S_MAX),
        (format!("in doubt: {doubtful}"), doubtful <= doubt_max),
        (format!("conserved; attempts {attempts:?}"), world.violations().await.is_empty()),
    ];
    for (text, holds) in &parts {
        println!("  {text}{}", verdict(*holds));
    }
    println!("  longest gaps between slots: {}", longest_gaps(&instants));
    parts.iter().all(|(_, holds)| *holds)
}

/// Where time was lost, until 90 of 100 slots were used: after that only those wait that were asked to.
fn longest_gaps(sorted: &[i64]) -> String {
    let busy = &sorted[..sorted.len() * 9 / 10];
    let mut gaps: Vec<(i64, i64)> = busy.windows(2).map(|pair| (pair[1] - pair[0], pair[0] - busy[0])).collect();
    gaps.sort_unstable_by_key(|(gap, _)| std::cmp::Reverse(*gap));
    let told = gaps.iter().take(GAPS_TOLD).map(|(gap, at)| format!("{} ms at second {}", gap / 1000, at / 1_000_000));
    told.collect::<Vec<_>>().join(", ")
}

fn verdict(holds: bool) -> &'static str {
    if holds { "" } else { "   <- NOT AS PROMISED" }
}
