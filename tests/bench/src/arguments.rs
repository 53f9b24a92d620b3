//! What the programs that measure are told on the command line, and how they tell what they found.

use crate::{INVOICES_MAX, Servers};
use serde::Serialize;
use std::fmt::Display;

/// What all of them are told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Invoices of each repetition
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(INVOICES_MAX)))]
    pub invoices: u32,
    /// Repetitions of each part or case
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repetitions: u32,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// The servers.
    #[command(flatten)]
    pub servers: Servers,
}

/// Prints a report as it was asked for.
///
/// # Errors
/// One that can't be written as JSON.
pub fn print(report: &(impl Serialize + Display), json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
