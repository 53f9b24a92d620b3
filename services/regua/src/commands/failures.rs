//! `regua failures`: what failed, what a person should know of it, and what they do about it.

use crate::commands::changes::who;
use crate::commands::lists::{ATTEMPT_HEADINGS, PAGE, attempt_cells};
use crate::commands::{Outcome, Session};
use crate::operator::Request;
use crate::operator::failures::{FailuresRequest, What, told};
use crate::output::{self, Format, remark, say};
use chrono::{DateTime, Utc};
use regua_domain::configuration::Configuration;
use regua_domain::ids::{ChannelId, MessageId, PolicyId};
use regua_domain::message::FailReason;
use regua_domain::stage::Stage;
use regua_domain::stop::StopScope;
use regua_ledger::failures::{Failure, FailureFilter};
use serde_json::json;

/// Which failures are asked for, as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterNames {
    /// A reason's name.
    pub reason: Option<String>,
    /// A stage's name.
    pub stage: Option<String>,
    /// A channel's name.
    pub channel: Option<String>,
    /// A policy's name.
    pub policy: Option<String>,
    /// From when on.
    pub since: Option<DateTime<Utc>>,
    /// Until when.
    pub until: Option<DateTime<Utc>>,
}

impl Session {
    /// The filter that the names mean, or what is wrong with them.
    async fn failure_filter(&self, names: FilterNames) -> anyhow::Result<Result<FailureFilter, String>> {
        let FilterNames { reason, stage, channel, policy, since, until } = names;
        let reason = match closed("--reason", reason, FailReason::parse, FailReason::ALL.iter().map(|reason| reason.as_str())) {
            Ok(reason) => reason,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let stage = match closed("--stage", stage, Stage::parse, Stage::ALL.iter().map(|stage| stage.as_str())) {
            Ok(stage) => stage,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let channel = match self.named(StopScope::Channel, channel).await? {
            Ok(id) => id.map(ChannelId),
            Err(wrong) => return Ok(Err(wrong)),
        };
        let policy = match self.named(StopScope::Policy, policy).await? {
            Ok(id) => id.map(PolicyId),
            Err(wrong) => return Ok(Err(wrong)),
        };
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Ok(Err("--since must be earlier than --until".into()));
        }
        Ok(Ok(FailureFilter { reason, stage, channel, policy, since, until }))
    }

    /// The channel or policy of a name.
    async fn named(&self, scope: StopScope, name: Option<String>) -> anyhow::Result<Result<Option<uuid::Uuid>, String>> {
        let Some(name) = name else { return Ok(Ok(None)) };
        if let Some(id) = self.ledger.stop_target(scope, &name).await? {
            return Ok(Ok(Some(id.parse()?)));
        }
        let names = |configuration: Configuration| -> Vec<String> {
            if scope == StopScope::Channel {
                configuration.channels.into_iter().map(|channel| channel.name).collect()
            } else {
                configuration.policies.into_iter().map(|policy| policy.name).collect()
            }
        };
        let known = self.ledger.configuration().await?.map(names).unwrap_or_default();
        Ok(Err(format!("--{scope} {name}: there is no such {scope}; expected one of {}", known.join(", "))))
    }

    pub async fn failure_list(&self, names: FilterNames, format: Format) -> anyhow::Result<Outcome> {
        let filter = match self.failure_filter(names).await? {
            Ok(filter) => filter,
            Err(wrong) => return Ok(Outcome::Misused(wrong)),
        };
        let counts = self.ledger.failure_counts(&filter).await?;
        match format {
            Format::Json => output::line(json!({ "counts": counts })),
            Format::Human if counts.is_empty() => say!("no failures"),
            Format::Human => counts.iter().for_each(|(reason, n)| say!("{:<18} {n}", reason.as_str())),
        }
        let mut after: Option<Failure> = None;
        loop {
            let page = self.ledger.failures(&filter, after.as_ref(), PAGE).await?;
            let headings: &[&str] =
                &["message", "subject", "stage", "channel", "policy", "failed at", "reason", "status", "code", "expires at"];
            if !page.is_empty() {
                output::list(format, &page, if after.is_none() { headings } else { &[""; 10] }, failure_cells)?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.clone()),
                _ => return Ok(Outcome::Done),
            }
        }
    }

    pub async fn failure(&self, id: uuid::Uuid, format: Format) -> anyhow::Result<Outcome> {
        let id = MessageId(id);
        let found = self.ledger.message(id).await?.zip(self.ledger.belongs_to(id).await?);
        let (Some(((message, attempts), belongs_to)), Some(replay)) =
            (found, self.ledger.could_replay(&[id]).await?.into_iter().next())
        else {
            remark!("there is no message {id}");
            return Ok(Outcome::DidNotHold);
        };
        if format == Format::Json {
            output::line(json!({ "message": message, "belongs_to": belongs_to, "attempts": attempts, "replay": replay }));
            return Ok(Outcome::Done);
        }
        say!("message      {id}");
        say!("about        {} {}", message.subject, message.due_on.map(|day| format!("due {day}")).unwrap_or_default());
        say!("stage        {} of {}: {} through {}", message.stage, belongs_to.policy, belongs_to.notice, belongs_to.channel);
        say!("state        {} {} since {}", message.state, message.reason.unwrap_or_default(), message.updated_at.to_rfc3339());
        say!("ends         {}", message.expires_at.to_rfc3339());
        say!("attempts     {} since it was last tried again; tried again {} times", message.attempts, message.replays);
        if let Some(at) = message.discarded_at {
            say!("discarded    {}", at.to_rfc3339());
        }
        match told(&replay) {
            None => say!("replay       possible now: `regua failures replay {id} --why TEXT`"),
            Some(why) => say!("replay       not possible: {why}"),
        }
        output::list(format, &attempts, &ATTEMPT_HEADINGS, attempt_cells)?;
        Ok(Outcome::Done)
    }

    pub async fn change_failures(
        &self,
        what: What,
        ids: Vec<uuid::Uuid>,
        names: FilterNames,
        why: Option<String>,
        dry_run: bool,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        let by_filter = names != FilterNames::default();
        if ids.is_empty() != by_filter {
            return Ok(Outcome::Misused("say which: either the messages' ids, or --reason, --stage and the like".into()));
        }
        let why = why.unwrap_or_default();
        if why.trim().is_empty() && !dry_run {
            return Ok(Outcome::Misused("--why is missing: say why, for whoever wonders later".into()));
        }
        let filter = match self.failure_filter(names).await? {
            Ok(filter) => by_filter.then_some(filter),
            Err(wrong) => return Ok(Outcome::Misused(wrong)),
        };
        let ids = ids.into_iter().map(MessageId).collect();
        let request = FailuresRequest { what, ids, filter, dry_run, why: why.trim().into(), by: who() };
        self.submit_and_tell(Request::Failures(request), format).await
    }
}

/// A value of a closed set, or what was expected.
fn closed<T>(
    flag: &str,
    name: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
    all: impl Iterator<Item = &'static str>,
) -> Result<Option<T>, String> {
    let Some(name) = name else { return Ok(None) };
    parse(&name).map(Some).ok_or_else(|| format!("{flag} {name} is none; expected one of {}", all.collect::<Vec<_>>().join(", ")))
}

fn failure_cells(failure: &Failure) -> Vec<String> {
    vec![
        failure.id.to_string(),
        failure.subject.clone(),
        failure.stage.to_string(),
        failure.channel.clone(),
        failure.policy.clone(),
        failure.failed_at.to_rfc3339(),
        failure.reason.to_string(),
        failure.http_status.map(|status| status.to_string()).unwrap_or_default(),
        failure.provider_code.clone().unwrap_or_default(),
        failure.expires_at.to_rfc3339(),
    ]
}
