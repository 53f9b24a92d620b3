//! `regua secrets`.

use super::JsonArg;
use crate::commands::{Outcome, SecretFrom, Session};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum SecretsCommand {
    /// Print a new key for REGUA_SECRET_KEY
    NewKey,
    /// All of them: who uses which, and whether this process's key opens it; never the secret
    List(JsonArg),
    /// Seal a secret into the ledger; it is read from standard input, never from the command line
    Set {
        /// Its name, as `token_secret` of an integration or a source has it
        name: String,
        #[command(flatten)]
        from: FromArgs,
        /// Why
        #[arg(long)]
        why: Option<String>,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Remove a secret that nothing uses
    Remove {
        /// Its name
        name: String,
        /// Why
        #[arg(long)]
        why: String,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Seal every secret anew under REGUA_SECRET_KEY: those under REGUA_SECRET_KEY_PREVIOUS, too
    Rotate {
        /// Why
        #[arg(long)]
        why: String,
        #[command(flatten)]
        json: JsonArg,
    },
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct FromArgs {
    /// Read it from this file instead
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Read it from this environment variable instead
    #[arg(long, value_name = "NAME")]
    from_env: Option<String>,
}

pub(super) async fn run(session: &Session, command: SecretsCommand) -> anyhow::Result<Outcome> {
    match command {
        SecretsCommand::NewKey => unreachable!("done without a ledger"),
        SecretsCommand::List(json) => session.secrets(json.format()).await,
        SecretsCommand::Set { name, from, why, json } => {
            let from = match (from.from_file, from.from_env) {
                (Some(path), _) => SecretFrom::File(path),
                (None, Some(variable)) => SecretFrom::Variable(variable),
                (None, None) => SecretFrom::StandardInput,
            };
            session.set_secret(name, from, why, json.format()).await
        }
        SecretsCommand::Remove { name, why, json } => session.remove_secret(name, why, json.format()).await,
        SecretsCommand::Rotate { why, json } => session.rotate_secrets(why, json.format()).await,
    }
}
