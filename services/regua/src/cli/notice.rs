//! `regua notice`.

use super::JsonArg;
use crate::commands::{Outcome, Session};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum NoticeCommand {
    /// All notices with their templates: accepted, changed (with what differs), gone, or never seen
    List(JsonArg),
    /// Accept the text of a notice's template as Opa! Suite has it now, so that its messages go on
    Accept {
        /// The notice's name
        notice: String,
        /// Why the new text is right
        #[arg(long)]
        why: String,
    },
    /// Send one message to try a notice; it is marked as a test and counted apart
    Test {
        /// The notice's name
        notice: String,
        /// The phone that shall get it
        #[arg(long)]
        phone: String,
        /// The invoice whose values are sent; invented ones if left out
        #[arg(long)]
        invoice: Option<String>,
        #[command(flatten)]
        json: JsonArg,
    },
}

pub(super) async fn run(session: &Session, command: NoticeCommand) -> anyhow::Result<Outcome> {
    match command {
        NoticeCommand::List(json) => session.notices(json.format()).await,
        NoticeCommand::Accept { notice, why } => session.accept_template(notice, why).await,
        NoticeCommand::Test { notice, phone, invoice, json } => session.test_notice(notice, phone, invoice, json.format()).await,
    }
}
