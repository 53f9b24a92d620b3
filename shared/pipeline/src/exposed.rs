//! What the ledger knows, as metrics: exposed by one role alone, read seldom however often somebody asks. ops/docs/metrics.md tells each family.

use chrono::{DateTime, Utc};
use regua_domain::stop::{StopScope, is_automatic};
use regua_ledger::counts::KeptCounts;
use regua_ledger::gauges::{ChannelGauges, GateState, Gauges};
use regua_ledger::mirror::Source;
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::metrics::{Counter, MetricFamily, Metrics};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How old what is shown may be.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// The last reading.
#[derive(Default)]
struct Sample {
    /// What was read, and when.
    read: Option<(Instant, Vec<MetricFamily>)>,
    /// Whether the log has it that counts are below zero.
    told_below_zero: bool,
}

/// Messages that counted as unsent and were sent, as a receipt or a look-up shows.
pub fn contradicting_receipts(metrics: &Metrics) -> Counter {
    metrics.counter("regua_receipts_contradicting_total", "Receipts of messages that counted as unsent.", &[])
}

/// Hints that the broker confirmed to this process, which released them.
pub fn hints_published(metrics: &Metrics) -> Counter {
    metrics.counter("regua_hints_published_total", "Hints that the broker confirmed.", &[])
}

/// Exposes what the ledger knows: once in a process, and by the scheduler alone, for every process would say the same.
pub fn expose_ledger(metrics: &Metrics, ledger: &Ledger) {
    let (ledger, sample) = (ledger.clone(), Arc::new(Mutex::new(Sample::default())));
    metrics.source("ledger", move || {
        let (ledger, sample) = (ledger.clone(), Arc::clone(&sample));
        async move { Ok(sampled(&ledger, &mut *sample.lock().await).await?) }
    });
}

async fn sampled(ledger: &Ledger, sample: &mut Sample) -> Result<Vec<MetricFamily>, LedgerError> {
    if let Some((at, families)) = &sample.read
        && at.elapsed() < SAMPLE_EVERY
    {
        return Ok(families.clone());
    }
    let kept = ledger.kept_counts().await?;
    if kept.below_zero > 0 && !sample.told_below_zero {
        let mend = "they are shown as 0; `regua recount` sets the counts to what the messages are";
        tracing::error!(counts = kept.below_zero, mend, "counts.below_zero");
    }
    sample.told_below_zero = kept.below_zero > 0;
    let families = read(ledger, &kept).await?;
    sample.read = Some((Instant::now(), families.clone()));
    Ok(families)
}

async fn read(ledger: &Ledger, kept: &KeptCounts) -> Result<Vec<MetricFamily>, LedgerError> {
    let gauges = ledger.gauges().await?;
    let mut families = messages(kept);
    families.extend(channels(&gauges));
    families.extend(runs(&gauges));
    families.extend(sources(&ledger.sources().await?, gauges.now));
    families.extend(stops(ledger).await?);
    Ok(families)
}

fn messages(kept: &KeptCounts) -> Vec<MetricFamily> {
    let mut messages = MetricFamily::gauge("regua_messages", "Messages by state, stage and reason.");
    let mut by_labels = std::collections::BTreeMap::new();
    for of in &kept.messages {
        *by_labels.entry((of.state, of.stage, of.reason.as_deref().unwrap_or_default())).or_insert(0) += of.messages;
    }
    for ((state, stage, reason), number) in by_labels {
        messages = messages.count(&[("state", state.as_str()), ("stage", stage.as_str()), ("reason", reason)], number);
    }
    let redirected = "Messages whose last attempt went to the phone of the pilot.";
    let evaluated = "Messages that all runs say they wrote: equals the sum of regua_messages.";
    vec![
        messages,
        MetricFamily::gauge("regua_messages_redirected", redirected).count(&[], kept.counts().redirected),
        MetricFamily::gauge("regua_messages_evaluated", evaluated).count(&[], kept.evaluated),
    ]
}

/// What waits, the gates with their limits, and the budgets behind them.
fn channels(gauges: &Gauges) -> Vec<MetricFamily> {
    let mut waiting = MetricFamily::gauge("regua_waiting_messages", "Messages on their way, by what they wait for.");
    let mut due_age = MetricFamily::gauge("regua_oldest_due_age_seconds", "How long the oldest due message has been due.");
    let mut limits = MetricFamily::gauge("regua_channel_limit_per_second", "The limit of a channel that has one.");
    let mut gates = MetricFamily::gauge("regua_channel_gate", "1 for the state that the gate of the channel is in.");
    for of in &gauges.channels {
        let channel = ("channel", of.channel.as_str());
        for (state, number) in by_place(of) {
            waiting = waiting.count(&[channel, ("state", state)], number);
        }
        due_age = due_age.sample(&[channel], age(gauges.now, of.due_since));
        if let Some(limit) = of.per_second {
            limits = limits.count(&[channel], limit.into());
        }
        for state in GateState::ALL {
            gates = gates.count(&[channel, ("state", state.as_str())], u64::from(of.gate == state));
        }
    }
    let mut used =
        MetricFamily::gauge("regua_business_recipients", "Different people that a business wrote to first in 24 hours.");
    let mut budgets =
        MetricFamily::gauge("regua_business_recipients_limit", "How many people a business may write to in 24 hours.");
    for of in &gauges.businesses {
        let business = [("business", of.business.as_str())];
        used = used.count(&business, of.used);
        budgets = budgets.count(&business, of.limit.into());
    }
    let doubt_age = MetricFamily::gauge("regua_oldest_doubt_age_seconds", "How long the oldest message in doubt has been so.");
    vec![waiting, due_age, limits, gates, used, budgets, doubt_age.sample(&[], age(gauges.now, gauges.doubt_since))]
}

const fn by_place(of: &ChannelGauges) -> [(&'static str, u64); 6] {
    [
        ("held", of.held),
        ("scheduled", of.scheduled),
        ("withheld", of.withheld),
        ("due", of.due),
        ("queued", of.queued),
        ("sending", of.sending),
    ]
}

fn runs(gauges: &Gauges) -> Vec<MetricFamily> {
    let mut waiting = MetricFamily::gauge("regua_runs_waiting", "Runs that are planned or worked on.");
    let mut oldest =
        MetricFamily::gauge("regua_oldest_run_age_seconds", "Since the planned instant of the oldest run that has not ended.");
    let mut last = MetricFamily::gauge("regua_last_run_timestamp_seconds", "Planned instant of the last run that ended done.");
    for of in &gauges.runs {
        let kind = [("kind", of.kind.as_str())];
        waiting = waiting.count(&kind, of.waiting);
        oldest = oldest.sample(&kind, age(gauges.now, of.oldest_planned_at));
        if let Some(planned_at) = of.done_planned_at {
            last = last.sample(&kind, age(planned_at, Some(DateTime::UNIX_EPOCH)));
        }
    }
    let unapproved = "Runs that hold more than may go without the consent of a person.";
    let unapproved = MetricFamily::gauge("regua_runs_waiting_approval", unapproved).count(&[], gauges.runs_waiting_for_approval);
    vec![waiting, oldest, last, unapproved]
}

fn sources(sources: &[Source], now: DateTime<Utc>) -> Vec<MetricFamily> {
    let mut ages = MetricFamily::gauge("regua_source_age_seconds", "How old the mirror of a source is.");
    let mut max = MetricFamily::gauge("regua_source_max_age_seconds", "How old the mirror of a source may be.");
    for source in sources {
        let of = [("source", source.name.as_str())];
        ages = ages.sample(&of, source.complete_at.map_or(f64::INFINITY, |at| age(now, Some(at))));
        max = max.sample(&of, source.max_age.as_seconds_f64());
    }
    vec![ages, max]
}

async fn stops(ledger: &Ledger) -> Result<Vec<MetricFamily>, LedgerError> {
    let mut missed = MetricFamily::counter(
        "regua_task_fires_missed_total",
        "Fires of tasks that nobody acted on within their minute: run late (caught_up) or never (dropped).",
    );
    for fires in ledger.missed_fires().await? {
        let of = |became| [("kind", fires.kind.as_str()), ("became", became)];
        missed = missed.count(&of("caught_up"), fires.caught_up).count(&of("dropped"), fires.dropped);
    }
    let (in_force, totals) = (ledger.stops().await?, ledger.stop_totals().await?);
    let mut stops = MetricFamily::gauge("regua_stops", "Stops in force by scope and by who raised them.");
    let mut raised = MetricFamily::counter("regua_stops_raised_total", "Stops that were raised, by scope.");
    let mut lifted = MetricFamily::counter("regua_stops_lifted_total", "Stops that were lifted, by scope.");
    for scope in StopScope::ALL {
        let of = ("scope", scope.as_str());
        let total = totals.iter().find(|totals| totals.scope == *scope);
        for (raised_by, by_itself) in [("person", false), ("automatic", true)] {
            let these = in_force.iter().filter(|stop| stop.scope == *scope && is_automatic(&stop.raised_by) == by_itself);
            stops = stops.count(&[of, ("raised_by", raised_by)], these.count() as u64);
        }
        raised = raised.count(&[of], total.map_or(0, |total| total.raised));
        lifted = lifted.count(&[of], total.map_or(0, |total| total.lifted));
    }
    Ok(vec![missed, stops, raised, lifted])
}

/// Seconds from an instant until now; 0 without one.
fn age(now: DateTime<Utc>, since: Option<DateTime<Utc>>) -> f64 {
    since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0))
}
