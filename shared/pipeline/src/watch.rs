//! Says in `/readyz` and `/metrics` how the ledger and the broker are, and what is stopped.

use crate::alarm::look_where_it_stands;
use crate::stops::what_ends;
use regua_broker::{Broker, BrokerStatus};
use regua_ledger::stops::Stop;
use regua_ledger::{Ledger, LedgerError, SKEW_MAX};
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use regua_telemetry::metrics::MetricFamily;
use regua_telemetry::service::Process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the ledger and the broker are looked at.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) fn start(process: &Process, ledger: &Ledger, broker: &Arc<dyn Broker>) {
    let skew = Arc::new(Mutex::new(None));
    let (seen, links) = (Arc::clone(&skew), Arc::clone(broker));
    process.metrics.source("links", move || {
        let families = families(*seen.lock().unwrap_or_else(PoisonError::into_inner), &links.status());
        async move { Ok(families) }
    });
    let (process, ledger, broker) = (process.clone(), ledger.clone(), Arc::clone(broker));
    tokio::spawn(async move {
        let mut every = tokio::time::interval(EVERY);
        while !process.shutdown.has_begun() {
            every.tick().await;
            let found = ledger.host_skew().await;
            *skew.lock().unwrap_or_else(PoisonError::into_inner) = found.as_ref().ok().copied();
            process.health.set("ledger", ledger_readiness(found));
            match look_where_it_stands(&ledger, &process.shutdown).await {
                Ok(_) => {}
                Err(outgrown @ LedgerError::Newer { .. }) => {
                    process.health.set("schema", Readiness::not_ready(outgrown.to_string()));
                    process.shutdown.begin_for(outgrown.to_string());
                }
                Err(error) => tracing::debug!(error = %Chain(&error), "ledger.not_asked_where_it_stands"),
            }
            if let Ok(stops) = ledger.stops().await {
                process.health.set("stops", stops_readiness(&stops));
            }
            process.health.set(
                "broker",
                match broker.status().problem() {
                    None => Readiness::Ready,
                    Some(problem) => Readiness::not_ready(problem),
                },
            );
        }
    });
}

/// The families of the two links that every process has.
fn families(skew: Option<Duration>, broker: &BrokerStatus) -> Vec<MetricFamily> {
    let mut families = vec![
        MetricFamily::gauge("regua_broker_up", "Whether every link to the broker works.")
            .count(&[], u64::from(broker.is_connected())),
        MetricFamily::counter("regua_broker_reconnects_total", "Links to the broker that were lost and came back.")
            .count(&[], broker.reconnects),
        broker.poisoned.iter().fold(
            MetricFamily::counter("regua_dead_lettered_total", "Broker messages that could not be read, by reason."),
            |family, (reason, messages)| family.count(&[("reason", reason.as_str())], *messages),
        ),
    ];
    if let Some(skew) = skew {
        let help = "How far this host's clock is off the ledger's.";
        families.push(MetricFamily::gauge("regua_ledger_skew_seconds", help).sample(&[], skew.as_secs_f64()));
    }
    families
}

fn ledger_readiness(skew: Result<Duration, LedgerError>) -> Readiness {
    match skew {
        Err(error) => Readiness::not_ready(format!("the ledger's database can't be reached: {}", Chain(&error))),
        Ok(skew) if skew > SKEW_MAX => Readiness::not_ready(format!(
            "this host's clock is {:.1} s off the ledger's; at most {} s are allowed: set it by NTP",
            skew.as_secs_f64(),
            SKEW_MAX.as_secs()
        )),
        Ok(_) => Readiness::Ready,
    }
}

/// A stop is no fault of the process: it goes on with whatever isn't stopped, and says what is.
fn stops_readiness(stops: &[Stop]) -> Readiness {
    if stops.is_empty() {
        return Readiness::Ready;
    }
    let told: Vec<String> = stops
        .iter()
        .map(|stop| {
            let what = if stop.name.is_empty() { stop.scope.to_string() } else { format!("{} {}", stop.scope, stop.name) };
            format!("{what} is stopped by {}: {}; {}", stop.raised_by, stop.why, what_ends(stop))
        })
        .collect();
    Readiness::degraded(told.join(". "))
}
