//! The broker: whether it can be reached, whether it takes what is published, and whether its queues are there as Régua declares them.

use super::{Finding, Told};
use regua_broker::{BrokerFacts, Publishing, QueueFacts, QueueState};
use regua_telemetry::config::ServiceConfig;
use secrecy::SecretString;
use std::time::Duration;

/// How long all looks at the broker may take.
const WITHIN: Duration = Duration::from_secs(20);
/// What to do about a broker that can't be reached.
const MEND: &str = "check REGUA_BROKER_URL, its user and password, and that RabbitMQ runs";

/// Looks at the broker; the in-process one needs no look.
pub async fn check(config: &ServiceConfig) -> Vec<Finding> {
    let url = SecretString::from(config.broker_url.expose().to_owned());
    if regua_broker::is_memory(&url) {
        return vec![Finding::good("broker", "in the process of `regua up`")];
    }
    match tokio::time::timeout(WITHIN, regua_broker::inspect(&url)).await {
        Err(_) => vec![Finding::bad("broker", "it doesn't answer within 20 s", MEND)],
        Ok(Err(error)) => vec![Finding::bad("broker", error.to_string(), MEND)],
        Ok(Ok(facts)) => graded(&facts),
    }
}

fn graded(facts: &BrokerFacts) -> Vec<Finding> {
    let version = facts.version.as_deref().map_or_else(String::new, |version| format!(", RabbitMQ {version}"));
    let reached = Finding::good("broker", Told::ours(format!("reached{version}")));
    let mut findings = vec![reached];
    findings.extend(publishing(facts.publishing));
    let missing = facts.queues.iter().filter(|queue| queue.state == QueueState::Missing).count();
    if missing > 0 {
        let result = Told::ours(format!("{missing} of {} queues aren't there yet", facts.queues.len()));
        findings.push(Finding::warning("queues", result, "start a service: the first one that connects declares them"));
        return findings;
    }
    findings.extend(facts.queues.iter().filter(|queue| !queue.is_dead).map(living));
    findings.push(dead(&facts.queues));
    findings
}

/// Whether it takes what is published; nothing to say where that works, or where the missing queues say it.
fn publishing(found: Publishing) -> Option<Finding> {
    match found {
        Publishing::Works | Publishing::NoExchange => None,
        Publishing::Blocked => Some(Finding::bad(
            "publishing",
            "RabbitMQ blocks it: it has an alarm of memory or of disk, and no tick and no hint goes out until that is over",
            "`rabbitmq-diagnostics alarms` on its host says which: free disk space, or give it more memory (vm_memory_high_watermark)",
        )),
        Publishing::Unconfirmed => Some(Finding::bad(
            "publishing",
            "a message was not confirmed within 5 s, and RabbitMQ told of no alarm",
            "see RabbitMQ's log and its host's load and disk; messages wait in the ledger meanwhile",
        )),
    }
}

/// One queue that is worked from. Its messages are ids, and as good as new in a moment: what counts is whether anybody takes them.
fn living(queue: &QueueFacts) -> Finding {
    let about = |text: &str| Told::ours(format!("{} {text}", queue.name));
    match queue.state {
        QueueState::Missing => Finding::warning("queue", about("isn't there yet"), "start a service"),
        QueueState::Different => different(queue),
        QueueState::There { ready, consumers: 0 } => {
            let look = "start billing-evaluator for regua.ticks, dispatcher for regua.hints; or see in their /readyz why they aren't connected";
            Finding::warning("queue", about(&format!("has {ready} ready and nobody consumes it")), look)
        }
        QueueState::There { ready, consumers } => {
            Finding::good("queue", about(&format!("is a quorum queue, {ready} ready, {consumers} consumers")))
        }
    }
}

fn different(queue: &QueueFacts) -> Finding {
    let result = Told::ours(format!("{} is no quorum queue with Régua's own properties", queue.name));
    Finding::bad(
        "queue",
        result,
        "stop the services, delete the queue, start them: what was in it is published again from the ledger",
    )
}

fn dead(queues: &[QueueFacts]) -> Finding {
    let dead: Vec<_> = queues.iter().filter(|queue| queue.is_dead).collect();
    if let Some(queue) = dead.iter().find(|queue| queue.state == QueueState::Different) {
        return different(queue);
    }
    let letters: u32 = dead
        .iter()
        .map(|queue| match queue.state {
            QueueState::There { ready, .. } => ready,
            QueueState::Missing | QueueState::Different => 0,
        })
        .sum();
    if letters == 0 {
        return Finding::good("dead letters", "none");
    }
    let look = "look at them in RabbitMQ (regua.ticks.dead, regua.hints.dead): somebody published what Régua can't read; then purge them";
    Finding::warning("dead letters", Told::ours(format!("{letters}")), look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Grade;

    fn facts(publishing: Publishing, states: [QueueState; 4]) -> BrokerFacts {
        let names = [("regua.ticks.dead", true), ("regua.hints.dead", true), ("regua.ticks", false), ("regua.hints", false)];
        let queues = names.into_iter().zip(states);
        let queues = queues.map(|((name, is_dead), state)| QueueFacts { name: name.into(), is_dead, state }).collect();
        BrokerFacts { version: Some("3.10.8".into()), publishing, queues }
    }

    #[test]
    fn queues_that_are_missing_different_unattended_or_dead_are_told() {
        use QueueState::{Different, Missing};
        let there = |ready, consumers| QueueState::There { ready, consumers };
        let good = [there(0, 0), there(0, 0), there(0, 1), there(3, 2)];
        let grades = |states: [QueueState; 4]| {
            graded(&facts(Publishing::Works, states)).iter().map(|finding| finding.grade).collect::<Vec<_>>()
        };
        assert_eq!(grades(good.clone()), [Grade::Ok; 4]);
        assert_eq!(grades([Missing, Missing, Missing, Missing]), [Grade::Ok, Grade::Warning]);
        let [a, b, c, d] = good;
        assert_eq!(grades([a.clone(), there(2, 0), c.clone(), d.clone()])[3], Grade::Warning);
        assert_eq!(grades([a.clone(), b.clone(), there(0, 0), d.clone()])[1], Grade::Warning);
        assert_eq!(grades([a.clone(), b.clone(), c.clone(), Different])[2], Grade::Problem);
        assert_eq!(grades([a, Different, c, d])[3], Grade::Problem);
    }

    #[test]
    fn a_server_that_takes_nothing_is_a_problem_with_its_mend_and_one_without_an_exchange_is_told_by_its_queues() {
        let told = |publishing| {
            let found = graded(&facts(publishing, [const { QueueState::Missing }; 4]));
            let [_, finding, ..] = &found[..] else { panic!("{found:?}") };
            (found.len(), finding.grade, finding.mend.as_ref().map_or("", Told::text).to_owned())
        };
        let (rows, grade, mend) = told(Publishing::Blocked);
        assert!(rows == 3 && grade == Grade::Problem && mend.contains("rabbitmq-diagnostics alarms"), "{mend}");
        let (rows, grade, mend) = told(Publishing::Unconfirmed);
        assert!(rows == 3 && grade == Grade::Problem && mend.contains("RabbitMQ's log"), "{mend}");
        for quiet in [Publishing::Works, Publishing::NoExchange] {
            assert_eq!((told(quiet).0, told(quiet).1), (2, Grade::Warning));
        }
    }
}
