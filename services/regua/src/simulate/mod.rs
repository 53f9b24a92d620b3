//! `regua simulate`: many days in seconds. The services themselves, the ledger in memory and the in-process broker work on the simulators of
//! Opa! Suite and IXC over real HTTP; only time is not real.
//!
//! The whole process has one clock, tokio's, and it is paused: it moves to the next timer when nothing is left to do, and from one instant at
//! which something happens to the next where `time` moves it. Limits, spacing, windows, budgets, expiries and schedules go by that clock, so
//! nothing is lifted for speed's sake.

mod day;
mod report;
mod set;
mod time;

pub use day::{Day, Tally};
pub use report::Report;
pub use set::Simulation;

use crate::output::{self, Format};
use chrono::NaiveDate;
use indicatif::ProgressBar;
use regua_domain::configuration::ConfigurationErrors;
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::{Environment, Problems};
use regua_telemetry::logging;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use thiserror::Error;

/// What isn't simulated, for whoever reads the table.
pub const LEFT_OUT: &str =
    "left out: answers come at once and never fail, nobody is in service or opts out, and the ERP changes at midnight only";

/// What to simulate.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// How many days.
    pub days: u32,
    /// Customers of the simulated provider.
    pub customers: u32,
    /// The same seed gives the same provider, and the same days.
    pub seed: u64,
    /// The first day; it begins at midnight of the provider's zone.
    pub from: NaiveDate,
    /// Another configuration than the demo's.
    pub config: Option<PathBuf>,
    /// One JSON object per day and one for all of them, instead of a table.
    pub json: bool,
}

/// Why a simulation didn't begin, or didn't go on.
#[derive(Debug, Error)]
pub enum SimulationError {
    /// The file can't be read.
    #[error("{path} can't be read: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: std::io::Error,
    },
    /// What it says is wrong.
    #[error("{0}")]
    Wrong(ConfigurationErrors),
    /// The environment is wrong.
    #[error(transparent)]
    Environment(#[from] Problems),
    /// There is nothing to simulate with.
    #[error("{0}: a simulation needs an integration and a source")]
    Incomplete(String),
    /// A service ended, which none does by itself.
    #[error("a service ended before the simulation did")]
    ServiceEnded,
}

/// Plays the days and says how they went. 0 if conserved, 1 if not, 2 if the configuration is wrong.
pub fn main(options: &SimulateOptions) -> ExitCode {
    match play(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("regua: {error:#}");
            let misused = error.downcast_ref::<SimulationError>();
            ExitCode::from(if misused.is_some_and(|error| !matches!(error, SimulationError::ServiceEnded)) { 2 } else { 1 })
        }
    }
}

fn play(options: &SimulateOptions) -> anyhow::Result<bool> {
    let began = Instant::now();
    let environment = Environment::process();
    let quiet = Environment::with([
        ("REGUA_LOG", environment.get("REGUA_LOG").unwrap_or_else(|| "error".into())),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", String::new()),
    ]);
    let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &quiet).map_err(SimulationError::from)?;
    let _logs = logging::init(Service::Regua.name(), &config)?;
    // One thread: only such a runtime's clock can be paused.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    let report = runtime.block_on(days(options, began))?;
    report.print(if options.json { Format::Json } else { Format::Human });
    Ok(report.conserved())
}

async fn days(options: &SimulateOptions, began: Instant) -> anyhow::Result<Report> {
    let mut simulation = Simulation::set(options).await?;
    let bar = if options.json { ProgressBar::hidden() } else { ProgressBar::new(options.days.into()) };
    if !options.json {
        eprintln!(
            "régua simulate: {} days from {}, {} customers, seed {}; {LEFT_OUT}",
            options.days, options.from, options.customers, options.seed
        );
    }
    for note in simulation.notes() {
        eprintln!("{note}");
    }
    let mut days = Vec::new();
    for _ in 0..options.days {
        let day = simulation.play_day().await?;
        if options.json {
            output::line(day.json());
        }
        days.push(day);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (total, verdict) = simulation.judge().await?;
    simulation.strike().await?;
    Ok(Report { options: options.clone(), days, total, verdict, seconds: began.elapsed().as_secs_f64() })
}
