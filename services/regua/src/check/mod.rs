//! `regua check`: is everything there that a day needs? One row for each thing that is looked at, each problem with its mend. Nothing that
//! is checked is changed, and nothing is sent.

mod broker;
mod clocks;
mod environment;
mod finding;
mod ixc;
mod ledger;
mod needs;
mod opa;
mod tasks;
mod volume;
mod webhooks;

pub use finding::{Finding, Grade, Told, What};
pub use ledger::reach;

use crate::output::NOTHING_CONFIGURED;
use regua_domain::configuration::Configuration;
use regua_ledger::Ledger;
use regua_pipeline::Tokens;
use regua_telemetry::config::ServiceConfig;
use regua_telemetry::environment::Environment;
use regua_telemetry::logging::Chain;
use std::time::Duration;

/// How long a look into the ledger may take.
const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// How long the looks at all of one product may take: each of its parts has a shorter bound of its own.
const PRODUCT_WITHIN: Duration = Duration::from_mins(3);
/// How long tomorrow may be decided for.
const VOLUME_WITHIN: Duration = Duration::from_mins(1);

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
    config: &'a ServiceConfig,
    ledger: &'a Ledger,
    tokens: &'a Tokens,
    configuration: &'a Configuration,
    allow_private: bool,
}

/// Looks at one part, or at everything, in a fixed order.
pub async fn check(config: &ServiceConfig, environment: &Environment, part: Option<Part>) -> Vec<Finding> {
    let (reached, broker) =
        tokio::join!(ledger::reach(config), async { if part.is_none() { broker::check(config).await } else { Vec::new() } });
    let reached = match reached {
        Ok(reached) => reached,
        Err(finding) => {
            let before = if part.is_none() { environment::check(config, environment, None) } else { Vec::new() };
            return before.into_iter().chain([*finding]).chain(broker).collect();
        }
    };
    let findings = if reached.is_readable {
        Box::pin(inside(config, environment, part, &reached, broker)).await
    } else {
        let before = if part.is_none() { environment::check(config, environment, None) } else { Vec::new() };
        before.into_iter().chain(reached.findings.clone()).chain(broker).collect()
    };
    reached.ledger.close().await;
    findings
}

/// The looks that need what the ledger says.
async fn inside(
    config: &ServiceConfig,
    environment: &Environment,
    part: Option<Part>,
    reached: &ledger::Reached,
    broker: Vec<Finding>,
) -> Vec<Finding> {
    let ledger = &reached.ledger;
    let read = async {
        let configuration = ledger.configuration().await?;
        let allow_private = regua_pipeline::allows_private_urls(ledger, config).await?;
        Ok::<_, anyhow::Error>((configuration, allow_private, Tokens::load(ledger, config, environment).await?))
    };
    let failed = |finding: Finding| {
        let before = environment::check(config, environment, None).into_iter().chain(reached.findings.clone());
        before.chain(broker.clone()).chain([finding]).collect()
    };
    let (configuration, allow_private, tokens) = match tokio::time::timeout(LOOK_WITHIN, read).await {
        Ok(Ok((Some(configuration), allow_private, tokens))) => (configuration, allow_private, tokens),
        Ok(Ok((None, _, _))) => return failed(Finding::bad("configuration", NOTHING_CONFIGURED, "`regua config apply FILE`")),
        Ok(Err(error)) => {
            let mend = "if it is of another version, apply its file again: `regua config apply FILE`";
            return failed(Finding::bad("configuration", format!("it can't be read: {error:#}"), mend));
        }
        Err(_) => return failed(unanswered("configuration")),
    };
    let scene = Scene { config, ledger, tokens: &tokens, configuration: &configuration, allow_private };
    match part {
        Some(Part::Opa) => bounded("Opa! Suite", PRODUCT_WITHIN, opa::check(&scene)).await,
        Some(Part::Ixc) => bounded("IXC", PRODUCT_WITHIN, ixc::check(&scene)).await,
        None => {
            let before = environment::check(config, environment, Some(&configuration));
            let mut findings: Vec<_> = before.into_iter().chain(reached.findings.clone()).chain(broker).collect();
            findings.extend(Box::pin(everything(&scene)).await);
            findings
        }
    }
}

/// All looks at once; what they found in their order.
async fn everything(scene: &Scene<'_>) -> Vec<Finding> {
    let one = async |look: anyhow::Result<Finding>| look.map(|finding| vec![finding]);
    let looked = tokio::join!(
        bounded("secrets", LOOK_WITHIN, async { one(environment::check_sealed(scene).await).await }),
        bounded("clocks", LOOK_WITHIN * 2, clocks::check(scene)),
        bounded("Opa! Suite", PRODUCT_WITHIN, opa::check(scene)),
        bounded("IXC", PRODUCT_WITHIN, ixc::check(scene)),
        bounded("tasks", LOOK_WITHIN, tasks::check(scene)),
        bounded("volume", VOLUME_WITHIN, volume::check(scene)),
        bounded("webhooks", LOOK_WITHIN, webhooks::check(scene)),
        bounded("mirrors", LOOK_WITHIN, needs::check_mirrors(scene)),
        bounded("needs a person", LOOK_WITHIN, needs::check(scene)),
    );
    let (secrets, clocks, opa, ixc, tasks, volume, webhooks, mirrors, needs) = looked;
    let (policies, number) = (scene.configuration.policies.len(), scene.configuration.tasks.len());
    let configuration = Finding::good("configuration", Told::ours(format!("{policies} policies, {number} tasks")));
    let parts = [vec![configuration], secrets, clocks, opa, ixc, mirrors, tasks, volume, webhooks, needs];
    parts.into_iter().flatten().collect()
}

/// What a look found; one that fails or takes too long is a finding, too.
async fn bounded(what: &'static str, within: Duration, look: impl Future<Output = anyhow::Result<Vec<Finding>>>) -> Vec<Finding> {
    match tokio::time::timeout(within, look).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => vec![Finding::bad(what, Chain(&*error).to_string(), "see to the ledger's database, then check again")],
        Err(_) => vec![unanswered(what)],
    }
}

/// What wasn't seen may be anything: whoever goes by the exit status must hear of it.
fn unanswered(what: &'static str) -> Finding {
    Finding::bad(what, "it took too long and was given up", "check again at a quiet hour; `regua status` tells what there is")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test(start_paused = true)]
    async fn a_look_that_fails_or_gives_no_answer_is_a_problem() {
        let good = bounded("volume", VOLUME_WITHIN, ready(Ok(vec![Finding::good("volume", "enough")]))).await;
        let failed = bounded("volume", VOLUME_WITHIN, ready(Err(anyhow::anyhow!("the disk is away")))).await;
        let unanswered = bounded("volume", VOLUME_WITHIN, pending()).await;
        assert_eq!([&good, &failed, &unanswered].map(|findings| findings[0].grade), [Grade::Ok, Grade::Problem, Grade::Problem]);
        assert!(unanswered[0].mend.is_some() && unanswered[0].result.for_support().is_some(), "{unanswered:?}");
    }
}
