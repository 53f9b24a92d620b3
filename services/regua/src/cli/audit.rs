//! `regua audit`.

use super::JsonArg;
use crate::commands::{Outcome, Session};
use chrono::{DateTime, Utc};
use clap::Args;
use regua_domain::audit::Action;
use regua_ledger::audit::Filter;

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Only from this instant on, RFC 3339
    #[arg(long)]
    since: Option<DateTime<Utc>>,
    /// Only what this person or check did
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Only what was done so
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this
    #[arg(long)]
    target: Option<String>,
    /// How many at most
    #[arg(short, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    #[command(flatten)]
    json: JsonArg,
}

pub(super) async fn run(session: &Session, args: AuditArgs) -> anyhow::Result<Outcome> {
    let AuditArgs { since, by, action, target, number, json } = args;
    let action = match action.as_deref().map(|name| Action::parse(name).ok_or(name)).transpose() {
        Ok(action) => action,
        Err(name) => {
            let known: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
            return Ok(Outcome::Misused(format!("--action {name} is no action; expected one of {}", known.join(", "))));
        }
    };
    session.audit(Filter { since, by, action, target, before: None, limit: None }, number, json.format()).await
}
