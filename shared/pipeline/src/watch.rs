//! Says in `/readyz` how the ledger and the broker are and what is stopped, and in `/metrics` what invariant 2 counts.

use crate::alarm::look_where_it_stands;
use crate::stops::what_ends;
use regua_broker::Broker;
use regua_domain::message::State;
use regua_domain::stop::StopScope;
use regua_ledger::stops::Stop;
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use regua_telemetry::metrics::MetricFamily;
use regua_telemetry::service::Process;
use std::sync::Arc;
use std::time::Duration;

/// How often the ledger and the broker are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How far this host's clock may be off the ledger's (invariant 9).
const SKEW_MAX: Duration = Duration::from_secs(2);

pub(crate) fn start(process: &Process, ledger: &Ledger, broker: &Arc<dyn Broker>) {
    let counts = ledger.clone();
    process.metrics.source("ledger", move || {
        let ledger = counts.clone();
        async move { Ok(families(&ledger).await?) }
    });
    let (process, ledger, broker) = (process.clone(), ledger.clone(), Arc::clone(broker));
    tokio::spawn(async move {
        let mut every = tokio::time::interval(EVERY);
        while !process.shutdown.has_begun() {
            every.tick().await;
            if let Err(outgrown @ LedgerError::Newer { .. }) = ledger.admits_this_binary().await {
                process.health.set("schema", Readiness::not_ready(outgrown.to_string()));
                process.shutdown.begin_for(outgrown.to_string());
            }
            process.health.set("ledger", ledger_readiness(&ledger).await);
            if let Err(error) = look_where_it_stands(&ledger, &process.shutdown).await {
                tracing::debug!(error = %Chain(&error), "ledger.not_asked_where_it_stands");
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

async fn ledger_readiness(ledger: &Ledger) -> Readiness {
    match ledger.host_skew().await {
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

async fn families(ledger: &Ledger) -> Result<Vec<MetricFamily>, LedgerError> {
    let counts = ledger.counts().await?;
    let mut messages = MetricFamily::gauge("regua_messages", "Messages by state.");
    for state in State::ALL {
        messages = messages.count(&[("state", state.as_str())], counts.of(*state));
    }
    let mut skipped = MetricFamily::gauge("regua_messages_skipped", "Skipped messages by reason.");
    for (reason, number) in &counts.skipped {
        skipped = skipped.count(&[("reason", reason)], *number);
    }
    let evaluated = MetricFamily::gauge(
        "regua_messages_evaluated",
        "Messages that all runs say they wrote: equals the sum of regua_messages.",
    )
    .count(&[], counts.evaluated);
    let mut missed = MetricFamily::counter(
        "regua_task_fires_missed_total",
        "Fires of tasks that nobody acted on within their minute: run late (caught_up) or never (dropped).",
    );
    for fires in ledger.missed_fires().await? {
        let of = |became| [("kind", fires.kind.as_str()), ("became", became)];
        missed = missed.count(&of("caught_up"), fires.caught_up).count(&of("dropped"), fires.dropped);
    }
    let (in_force, totals) = (ledger.stops().await?, ledger.stop_totals().await?);
    let mut stops = MetricFamily::gauge("regua_stops", "Stops in force by scope.");
    let mut raised = MetricFamily::counter("regua_stops_raised_total", "Stops that were raised, by scope.");
    let mut lifted = MetricFamily::counter("regua_stops_lifted_total", "Stops that were lifted, by scope.");
    for scope in StopScope::ALL {
        let of = [("scope", scope.as_str())];
        let total = totals.iter().find(|totals| totals.scope == *scope);
        stops = stops.count(&of, in_force.iter().filter(|stop| stop.scope == *scope).count() as u64);
        raised = raised.count(&of, total.map_or(0, |total| total.raised));
        lifted = lifted.count(&of, total.map_or(0, |total| total.lifted));
    }
    Ok(vec![messages, skipped, evaluated, missed, stops, raised, lifted])
}
