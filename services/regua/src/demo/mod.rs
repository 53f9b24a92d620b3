//! `regua demo`: a whole day on simulators of Opa! Suite and IXC, with a configuration file, real HTTP and the real services.

mod day;
mod report;
mod stage_set;

pub use report::{Report, Verdict};
pub(crate) use stage_set::{CONFIGURATION, messages_taken};
pub use stage_set::{Demo, DemoError};

use crate::output::Format;
use chrono::NaiveDate;
use std::path::PathBuf;
use std::process::ExitCode;

/// What kind of day to play.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Customers of the simulated provider.
    pub customers: u32,
    /// The same seed gives the same provider.
    pub seed: u64,
    /// The demo's date; its hour is 10:00 in São Paulo.
    pub today: NaiveDate,
    /// End when every message has found its end.
    pub once: bool,
    /// One JSON object instead of bars and a table.
    pub json: bool,
    /// Keep the ledger and the configuration file there.
    pub keep: Option<PathBuf>,
}

/// The day that the demo plays by default: a Tuesday that is no holiday.
pub fn business_tuesday() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 24).expect("a date of the calendar")
}

/// Plays the day and says how it went. 0 if conserved, else 1.
pub fn main(options: DemoOptions) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("regua: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(play(options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("regua: {error:#}");
            ExitCode::from(1)
        }
    }
}

async fn play(options: DemoOptions) -> anyhow::Result<bool> {
    let format = if options.json { Format::Json } else { Format::Human };
    let stays = !options.once;
    let mut demo = Demo::set(options).await?;
    day::play(&mut demo).await?;
    let report = demo.judge().await?;
    report.print(format);
    if stays {
        demo.stay().await?;
    }
    let conserved = report.verdict.conserved();
    demo.strike().await?;
    Ok(conserved)
}
