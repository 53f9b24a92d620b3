//! `regua hold` on the command line.

use super::JsonArg;
use crate::commands::{Held, Outcome, Session};
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use regua_domain::switches::HoldKind;

/// What is left alone, and what no more.
#[derive(Debug, Subcommand)]
pub(super) enum HoldCommand {
    /// Send nothing dated about any invoice of a customer; events, as a payment, are still told
    Customer(HoldArgs),
    /// Send nothing dated about one invoice
    Invoice(HoldArgs),
    /// Those in force, with who and why
    List(JsonArg),
    /// End one before its date: the next run decides afresh
    Remove {
        /// What is on hold
        #[arg(value_parser = ["customer", "invoice"])]
        kind: String,
        /// Its id in the ERP
        id: String,
        /// Why
        #[arg(long)]
        why: String,
        /// The source's name, if several have the id
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        json: JsonArg,
    },
}

#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    /// Its id in the ERP
    id: String,
    /// The last day, to its end by the provider's date; an earlier hold on the same id makes room
    #[arg(long, value_name = "DATE", value_parser = super::date::date)]
    until: NaiveDate,
    /// Why
    #[arg(long)]
    why: String,
    /// The source's name, if several have the id
    #[arg(long)]
    source: Option<String>,
    /// Although no source has read this id yet
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    json: JsonArg,
}

/// Does what it says.
pub(super) async fn run(session: &Session, command: HoldCommand) -> anyhow::Result<Outcome> {
    let (kind, args) = match command {
        HoldCommand::List(json) => return session.hold_list(json.format()).await,
        HoldCommand::Remove { kind, id, why, source, json } => {
            let kind = if kind == "customer" { HoldKind::Customer } else { HoldKind::Invoice };
            return session.hold_remove(Held { kind, id, why, source }, json.format()).await;
        }
        HoldCommand::Customer(args) => (HoldKind::Customer, args),
        HoldCommand::Invoice(args) => (HoldKind::Invoice, args),
    };
    let HoldArgs { id, until, why, source, force, json } = args;
    session.hold(Held { kind, id, why, source }, until, force, json.format()).await
}
