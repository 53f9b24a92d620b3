//! `regua webhooks` on the command line.

use super::JsonArg;
use crate::commands::{Outcome, Session};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum WebhooksCommand {
    /// The shape of what was not understood, newest first: names, nesting, kinds and lengths, nobody's data
    Samples(JsonArg),
}

pub(super) async fn run(session: &Session, command: WebhooksCommand) -> anyhow::Result<Outcome> {
    match command {
        WebhooksCommand::Samples(json) => session.webhook_samples(json.format()).await,
    }
}
