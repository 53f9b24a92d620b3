//! `regua recount`.

use super::JsonArg;
use crate::commands::{Outcome, Session};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct RecountArgs {
    /// Why
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    json: JsonArg,
}

pub(super) async fn run(session: &Session, args: RecountArgs) -> anyhow::Result<Outcome> {
    session.recount(args.why, args.json.format()).await
}
