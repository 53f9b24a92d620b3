//! `scale`: see `regua_bench::scale`. `cargo xtask scale` builds it in release mode and gives it servers.

use clap::Parser;
use regua_bench::scale::{Options, run};
use regua_bench::{INVOICES_MAX, Servers, quiet};

/// Measures what one ledger, one broker and some dispatchers carry, and what a message costs them.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Invoices of each repetition
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(INVOICES_MAX)))]
    invoices: u32,
    /// Repetitions of each case
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// Only the cases in whose name this stands; may be given several times
    #[arg(long)]
    only: Vec<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// A PostgreSQL database to make schemas in; commits are delayed only for a superuser
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
    let report = run(&Options { invoices, repetitions, only, servers: Servers { database_url, amqp_url } }).await?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
