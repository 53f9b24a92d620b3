//! `regua failures`.

use super::JsonArg;
use crate::commands::{FilterNames, Outcome, Session};
use crate::operator::failures::What;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(super) enum FailuresCommand {
    /// Those that nobody set aside: how many for which reason, then each
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// All that tells what to do about one: its attempts, and whether it may be tried again
    Show {
        /// The message
        id: uuid::Uuid,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Try again what certainly never left and is still called for: the same messages, under the same checks and limits
    Replay(ChangeArgs),
    /// Set aside for good: listed no more, and never tried again
    Discard(ChangeArgs),
}

#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Those that failed for this reason
    #[arg(long)]
    reason: Option<String>,
    /// Those of this stage
    #[arg(long)]
    stage: Option<String>,
    /// Those of the channel of this name
    #[arg(long)]
    channel: Option<String>,
    /// Those of the policy of this name
    #[arg(long)]
    policy: Option<String>,
    /// Those that failed at this instant or later, RFC 3339
    #[arg(long)]
    since: Option<DateTime<Utc>>,
    /// Those that failed before this instant, RFC 3339
    #[arg(long)]
    until: Option<DateTime<Utc>>,
}

impl From<FilterArgs> for FilterNames {
    fn from(args: FilterArgs) -> Self {
        let FilterArgs { reason, stage, channel, policy, since, until } = args;
        Self { reason, stage, channel, policy, since, until }
    }
}

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// The messages; else say which by their reason, stage, channel, policy or time
    ids: Vec<uuid::Uuid>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Write nothing: say what would become of each
    #[arg(long)]
    dry_run: bool,
    /// Why, for whoever wonders later
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    json: JsonArg,
}

pub(super) async fn run(session: &Session, command: FailuresCommand) -> anyhow::Result<Outcome> {
    let (what, args) = match command {
        FailuresCommand::List { filter, json } => return session.failure_list(filter.into(), json.format()).await,
        FailuresCommand::Show { id, json } => return session.failure(id, json.format()).await,
        FailuresCommand::Replay(args) => (What::Replay, args),
        FailuresCommand::Discard(args) => (What::Discard, args),
    };
    let ChangeArgs { ids, filter, dry_run, why, json } = args;
    session.change_failures(what, ids, filter.into(), why, dry_run, json.format()).await
}
