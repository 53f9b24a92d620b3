//! `regua pause` and `regua resume`.

use crate::commands::{Outcome, Session};
use chrono::{DateTime, Utc};
use clap::Args;
use regua_domain::stop::StopScope;

#[derive(Debug, Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// Every message: what no scope means, too
    #[arg(long)]
    everything: bool,
    /// An integration's name
    #[arg(long)]
    integration: Option<String>,
    /// A channel's name
    #[arg(long)]
    channel: Option<String>,
    /// A policy's name
    #[arg(long)]
    policy: Option<String>,
    /// A stage's name
    #[arg(long)]
    stage: Option<String>,
    /// A template's id
    #[arg(long)]
    template: Option<String>,
    /// A business's name
    #[arg(long)]
    business: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// An instant (RFC 3339) at which it ends by itself
    #[arg(long)]
    until: Option<DateTime<Utc>>,
    /// Why
    #[arg(long)]
    why: String,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why
    #[arg(long)]
    why: Option<String>,
}

pub(super) async fn pause(session: &Session, args: PauseArgs) -> anyhow::Result<Outcome> {
    let (scope, name) = scope(args.scope);
    session.pause(scope, name, args.until, args.why).await
}

pub(super) async fn resume(session: &Session, args: ResumeArgs) -> anyhow::Result<Outcome> {
    let (scope, name) = scope(args.scope);
    session.resume(scope, name, args.why).await
}

fn scope(args: ScopeArgs) -> (StopScope, String) {
    let named = [
        (StopScope::Integration, args.integration),
        (StopScope::Channel, args.channel),
        (StopScope::Policy, args.policy),
        (StopScope::Stage, args.stage),
        (StopScope::Template, args.template),
        (StopScope::Business, args.business),
    ];
    if args.everything {
        return (StopScope::Everything, String::new());
    }
    named.into_iter().find_map(|(scope, name)| Some((scope, name?))).unwrap_or((StopScope::Everything, String::new()))
}
