//! `regua check`: is everything there that a day needs? Each problem with its mend.

mod finding;
mod ixc;
mod opa;

pub use finding::Finding;

use crate::output::NOTHING_CONFIGURED;
use regua_domain::configuration::Configuration;
use regua_ledger::Ledger;
use regua_pipeline::Tokens;
use regua_telemetry::config::ServiceConfig;
use regua_telemetry::environment::Environment;
use std::time::Duration;

/// How far this host's clock may be off the ledger's.
const SKEW_MAX: Duration = Duration::from_secs(2);

/// How long the broker may take to answer.
const BROKER_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked.
const BROKER_AGAIN: Duration = Duration::from_millis(200);

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Opa! Suite: address, token, channels, templates, daily allowance
    Opa,
    /// IXC: address, token, lists, and whether it notifies customers itself
    Ixc,
}

/// What the parts of a check look at.
struct Scene<'a> {
    ledger: &'a Ledger,
    tokens: &'a Tokens,
    configuration: &'a Configuration,
    allow_private: bool,
}

/// Looks at one part, or at everything.
pub async fn check(
    ledger: &Ledger,
    config: &ServiceConfig,
    environment: &Environment,
    part: Option<Part>,
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if part.is_none() {
        findings.push(check_clock(ledger).await?);
        findings.push(check_broker(ledger, config).await?);
    }
    let Some(configuration) = ledger.configuration().await? else {
        findings.push(Finding::bad("configuration", NOTHING_CONFIGURED, "`regua config apply FILE`"));
        return Ok(findings);
    };
    let allow_private = regua_pipeline::allows_private_urls(ledger, config).await?;
    let tokens = Tokens::load(ledger, config, environment).await?;
    let scene = Scene { ledger, tokens: &tokens, configuration: &configuration, allow_private };
    if part.is_none() {
        let (policies, tasks) = (configuration.policies.len(), configuration.tasks.len());
        findings.push(Finding::good("configuration", format!("{policies} policies, {tasks} tasks")));
        findings.extend(check_queue(ledger).await?);
    }
    if part.is_none_or(|part| part == Part::Opa) {
        findings.extend(opa::check(&scene).await?);
    }
    if part.is_none_or(|part| part == Part::Ixc) {
        findings.extend(ixc::check(&scene).await?);
    }
    if part.is_none() {
        findings.extend(check_mirrors(ledger).await?);
    }
    Ok(findings)
}

async fn check_clock(ledger: &Ledger) -> anyhow::Result<Finding> {
    let skew = ledger.host_skew().await?;
    Ok(if skew > SKEW_MAX {
        let result = format!("reached, but this host's clock is {:.1} s off", skew.as_secs_f64());
        Finding::bad("ledger", result, "set the clock by NTP")
    } else {
        Finding::good("ledger", "reached, clocks agree")
    })
}

/// Whether the broker can be reached; the in-process one always can.
async fn check_broker(ledger: &Ledger, config: &ServiceConfig) -> anyhow::Result<Finding> {
    let url = secrecy::SecretString::from(config.broker_url.expose().to_owned());
    if regua_broker::is_memory(&url) {
        return Ok(Finding::good("broker", "in the process of `regua up`"));
    }
    let broker = regua_broker::connect(&url, ledger.id().await?)?;
    let reached = tokio::time::timeout(BROKER_WITHIN, async {
        while broker.ready_hints().await.is_err() {
            tokio::time::sleep(BROKER_AGAIN).await;
        }
    })
    .await;
    let finding = if reached.is_ok() {
        Finding::good("broker", "reached")
    } else {
        let why = broker.status().problem().unwrap_or_else(|| "it doesn't answer".into());
        Finding::bad("broker", why, "check REGUA_BROKER_URL, its user and password, and that RabbitMQ runs")
    };
    broker.close().await;
    Ok(finding)
}

/// Messages that no task will release (fila parada).
async fn check_queue(ledger: &Ledger) -> anyhow::Result<Option<Finding>> {
    let mend = "enable a [[task]] of kind send-queued-messages, or `regua run send-queued-messages` once";
    Ok(ledger.parked().await?.map(|parked| Finding::bad("queue", parked.why(), mend)))
}

/// Mirrors that are too old to decide from.
async fn check_mirrors(ledger: &Ledger) -> anyhow::Result<Vec<Finding>> {
    let now = ledger.now().await?;
    let sources = ledger.sources().await?;
    let stale = sources.iter().filter(|source| !source.is_fresh(now)).map(|source| {
        let age = source.complete_at.map_or_else(|| "never".to_owned(), |at| at.to_rfc3339());
        let mend = if source.kind == "ixc" { "run `regua run update-collections`" } else { "run `regua import invoices FILE`" };
        Finding::bad(format!("mirror of {:?}", source.name), format!("too old to decide from: synced {age}"), mend)
    });
    Ok(stale.collect())
}
