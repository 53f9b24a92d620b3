//! `regua config`.

use crate::commands::{Outcome, Session};
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Apply a file: all of it or nothing
    Apply {
        /// The TOML file
        file: PathBuf,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        /// Why
        #[arg(long)]
        why: Option<String>,
    },
    /// Say what is wrong with a file, line by line
    Check {
        /// The TOML file
        file: PathBuf,
    },
    /// Print what is in force, as a file
    Export,
}

pub(super) async fn run(session: &Session, command: ConfigCommand) -> anyhow::Result<Outcome> {
    match command {
        ConfigCommand::Apply { file, dry_run, why } => session.config_apply(&file, why, dry_run).await,
        ConfigCommand::Check { .. } => unreachable!("done without a ledger"),
        ConfigCommand::Export => session.config_export().await,
    }
}
