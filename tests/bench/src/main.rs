//! `regua-bench`: see the library. `cargo xtask bench` builds it in release mode and gives it servers.

use clap::Parser;
use regua_bench::{Backend, INVOICES_MAX, Options, Servers, quiet, run};

/// Measures Régua beside raw loops that do the same work without any decision.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Invoices of each repetition
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(INVOICES_MAX)))]
    invoices: u32,
    /// Repetitions; min, median and max of them are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// One backend only
    #[arg(long)]
    only: Option<Backend>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// A PostgreSQL database to make schemas in
    #[arg(long, env = "REGUA_TEST_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// A RabbitMQ
    #[arg(long, env = "REGUA_TEST_AMQP_URL", hide_env_values = true)]
    amqp_url: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { invoices, repetitions, only, json, database_url, amqp_url } = Arguments::parse();
    let _logs = quiet()?;
    let backends = only.map_or_else(|| vec![Backend::Postgres, Backend::Sqlite], |backend| vec![backend]);
    let report = run(&Options { invoices, repetitions, backends, servers: Servers { database_url, amqp_url } }).await?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
