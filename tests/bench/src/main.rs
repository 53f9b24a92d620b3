//! `regua-bench`: see the library. `cargo xtask bench` builds it in release mode and gives it servers.

use clap::Parser;
use regua_bench::{Arguments, Backend, Options, print, quiet, run};

/// Measures Régua beside raw loops that do the same work without any decision; min, median and max of the repetitions are printed.
#[derive(Debug, Parser)]
#[command(version)]
struct Bench {
    #[command(flatten)]
    common: Arguments,
    /// One backend only
    #[arg(long)]
    only: Option<Backend>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Bench { common: Arguments { invoices, repetitions, json, servers }, only } = Bench::parse();
    let _logs = quiet()?;
    let backends = only.map_or_else(|| vec![Backend::Postgres, Backend::Sqlite], |backend| vec![backend]);
    print(&run(&Options { invoices, repetitions, backends, servers }).await?, json)
}
