//! `regua opt-out`.

use super::JsonArg;
use crate::commands::{Outcome, Session};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum OptOutCommand {
    /// Add numbers
    Add {
        /// Phone numbers
        #[arg(required = true)]
        numbers: Vec<String>,
        /// Who asked, how
        #[arg(long, default_value = "asked")]
        why: String,
        #[command(flatten)]
        scope: OptOutScopeArg,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Remove a number; messages come back only when they are evaluated again
    Remove {
        /// The phone number
        number: String,
        /// Only this opt-out: `all`, or a business's name; every one if left out
        #[arg(long)]
        scope: Option<String>,
        /// Why
        #[arg(long)]
        why: Option<String>,
        #[command(flatten)]
        json: JsonArg,
    },
    /// All of them
    List(JsonArg),
    /// Add the numbers of a file: one per line, or phone;date;why
    Import {
        /// The file
        file: PathBuf,
        /// Who asked, how, where the line doesn't say
        #[arg(long, default_value = "imported")]
        why: String,
        #[command(flatten)]
        scope: OptOutScopeArg,
        /// Keep nothing unless every line is good
        #[arg(long)]
        all_or_nothing: bool,
        #[command(flatten)]
        json: JsonArg,
    },
}

#[derive(Debug, Args)]
pub(super) struct OptOutScopeArg {
    /// Whose messages end: `all`, or a business's name (or that of a channel that belongs to none)
    #[arg(long, default_value = "all")]
    scope: String,
}

pub(super) async fn run(session: &Session, command: OptOutCommand) -> anyhow::Result<Outcome> {
    match command {
        OptOutCommand::Add { numbers, why, scope, json } => session.opt_out_add(numbers, why, scope.scope, json.format()).await,
        OptOutCommand::Import { file, why, scope, all_or_nothing, json } => {
            session.opt_out_import(&file, why, scope.scope, all_or_nothing, json.format()).await
        }
        OptOutCommand::Remove { number, scope, why, json } => session.opt_out_remove(number, scope, why, json.format()).await,
        OptOutCommand::List(json) => session.opt_out_list(json.format()).await,
    }
}
