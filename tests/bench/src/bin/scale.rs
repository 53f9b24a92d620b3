//! `scale`: see `regua_bench::scale`. `cargo xtask scale` builds it in release mode and gives it servers.

use clap::Parser;
use regua_bench::scale::{Options, run};
use regua_bench::{Arguments, print, quiet};

/// Measures what one ledger, one broker and some dispatchers carry, and what a message costs them.
#[derive(Debug, Parser)]
#[command(version)]
struct Scale {
    #[command(flatten)]
    common: Arguments,
    /// Only the cases in whose name this stands; may be given several times
    #[arg(long)]
    only: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Scale { common: Arguments { invoices, repetitions, json, servers }, only } = Scale::parse();
    let _logs = quiet()?;
    print(&run(&Options { invoices, repetitions, only, servers }).await?, json)
}
