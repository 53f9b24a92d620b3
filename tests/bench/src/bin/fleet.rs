//! `fleet`: when is the day of many providers sent, on so many ledgers? See `regua_bench::fleet`; what a ledger carries `cargo xtask scale` measures.

use clap::Parser;
use regua_bench::fleet::{Day, Fleet};

/// When is the day of many providers sent, on so many ledgers?
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Providers
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    providers: u32,
    /// Messages of all of them in the day
    #[arg(long, default_value_t = 60_000_000)]
    messages: u32,
    /// How unequal they are: the standard deviation of the logarithm of a provider's messages
    #[arg(long, default_value_t = 1.0)]
    spread: f64,
    /// Messages per second of each provider's number
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Messages per second that one ledger carries
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    carries: u32,
    /// Numbers of ledgers to try
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16], value_parser = clap::value_parser!(u16).range(1..))]
    ledgers: Vec<u16>,
}

fn main() {
    let asked = Arguments::parse();
    println!(
        "{} providers, {} messages, {} per second each; a ledger carries {} per second",
        asked.providers, asked.messages, asked.limit, asked.carries
    );
    println!("{:>7}  {:<22} {:>10} {:>10} {:>10} {:>8}", "ledgers", "released", "half done", "99 % done", "all done", "slowed");
    for ledgers in &asked.ledgers {
        for (name, released_over) in [("all at once", 0.0), ("over 4 hours", 4.0 * 3600.0)] {
            let fleet = Fleet {
                providers: asked.providers as usize,
                messages: asked.messages.into(),
                spread: asked.spread,
                limit: asked.limit.into(),
                ledgers: (*ledgers).into(),
                carries: asked.carries.into(),
                released_over,
            };
            let Day { half_done, nearly_done, done, slowed } = fleet.day();
            println!(
                "{ledgers:>7}  {name:<22} {:>10} {:>10} {:>10} {:>6.0} x",
                clock(half_done),
                clock(nearly_done),
                clock(done),
                slowed
            );
        }
    }
}

/// Hours and minutes.
fn clock(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a day or some days")]
    let minutes = (seconds / 60.0).ceil() as u64;
    format!("{}:{:02} h", minutes / 60, minutes % 60)
}
