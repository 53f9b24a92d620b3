//! `regua in-doubt`.

use super::JsonArg;
use crate::commands::{Outcome, Session};
use clap::Subcommand;
use regua_ledger::doubt::Resolution;

#[derive(Debug, Subcommand)]
pub(super) enum InDoubtCommand {
    /// Those that nobody settled
    List(JsonArg),
    /// Settle one
    Resolve {
        /// The message
        id: uuid::Uuid,
        /// It was sent
        #[arg(long, group = "how")]
        sent: bool,
        /// Send it again: the customer may get it twice
        #[arg(long, group = "how")]
        resend: bool,
        /// Let it go
        #[arg(long, group = "how")]
        drop: bool,
        /// How you know, or why you decide so
        #[arg(long)]
        why: String,
    },
}

pub(super) async fn run(session: &Session, command: InDoubtCommand) -> anyhow::Result<Outcome> {
    match command {
        InDoubtCommand::List(json) => session.messages(Some("in_doubt"), None, json.format()).await,
        InDoubtCommand::Resolve { id, sent, resend, drop, why } => {
            let how = match (sent, resend, drop) {
                (true, ..) => Resolution::Sent,
                (_, true, _) => Resolution::Resend,
                (.., true) => Resolution::Drop,
                (false, false, false) => return Ok(Outcome::Misused("say --sent, --resend or --drop".into())),
            };
            session.resolve_doubt(id, how, why).await
        }
    }
}
