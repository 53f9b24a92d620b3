//! What needs a person: stops, runs that wait for consent, the parked queue, doubt, failures, templates that changed, mirrors that are old.

use super::{Finding, Scene, Told, What};
use crate::commands::not_as_accepted;
use regua_domain::message::State;
use regua_domain::stop::is_automatic;
use regua_ledger::failures::FailureFilter;
use regua_ledger::stops::Stop;
use regua_pipeline::what_ends;

/// Runs that are looked at for failed ones: the newest.
const RUNS: u32 = 10;

/// Looks at all of it.
pub async fn check(scene: &Scene<'_>) -> anyhow::Result<Vec<Finding>> {
    let ledger = scene.ledger;
    let stops = ledger.stops().await?;
    let mut findings: Vec<_> = stops.iter().map(of_stop).collect();
    if findings.is_empty() {
        findings.push(Finding::good("stops", "none"));
    }
    let waiting = ledger.runs_waiting_for_approval().await?;
    findings.extend(waiting.iter().map(|run| {
        let result = Told::ours(format!("run {} would send {} messages, far more than usual, and waits", run.id, run.held));
        Finding::bad(
            "approval",
            result,
            Told::ours(format!("look at `regua messages --run {0}`, then `regua runs approve {0} --why TEXT`", run.id)),
        )
    }));
    findings.extend(parked(scene).await?);
    findings.extend(failed_run(scene).await?);
    let counts = ledger.kept_counts().await?.counts();
    findings.push(number(
        "doubt",
        counts.of(State::InDoubt),
        "`regua in-doubt list`, then `regua in-doubt resolve ID --sent|--resend|--drop --why TEXT`",
    ));
    let failures: u64 = ledger.failure_counts(&FailureFilter::default()).await?.values().sum();
    findings.push(number("failures", failures, "`regua failures list`, then `regua failures replay` or `discard`"));
    let changed = not_as_accepted(&ledger.templates().await?).len();
    findings.push(number(
        "templates",
        changed as u64,
        "they aren't as they were accepted: `regua status` shows how, `regua notice accept NOTICE --why TEXT` accepts them",
    ));
    Ok(findings)
}

fn of_stop(stop: &Stop) -> Finding {
    let what = What::named(scope(stop), &stop.name);
    let result = format!("by {} since {}: {}", stop.raised_by, stop.since_at.to_rfc3339(), stop.why);
    if is_automatic(&stop.raised_by) {
        Finding::bad(what, result, what_ends(stop))
    } else {
        Finding::warning(what, result, what_ends(stop))
    }
}

const fn scope(stop: &Stop) -> &'static str {
    use regua_domain::stop::StopScope;
    match stop.scope {
        StopScope::Everything => "stop of everything",
        StopScope::Business => "stop of business",
        StopScope::Integration => "stop of integration",
        StopScope::Channel => "stop of channel",
        StopScope::Template => "stop of template",
        StopScope::Policy => "stop of policy",
        StopScope::Stage => "stop of stage",
    }
}

/// Messages that no task will release (fila parada).
async fn parked(scene: &Scene<'_>) -> anyhow::Result<Option<Finding>> {
    let mend = "enable a [[task]] of kind send-queued-messages, or `regua run send-queued-messages` once";
    Ok(scene.ledger.parked().await?.map(|parked| Finding::bad("queue", parked.why(), mend)))
}

/// The newest run that failed, unless one of its kind has ended well since.
async fn failed_run(scene: &Scene<'_>) -> anyhow::Result<Option<Finding>> {
    let runs = scene.ledger.runs(RUNS).await?;
    let failed = runs.iter().enumerate().find(|(place, run)| {
        run.state == "failed" && !runs[..*place].iter().any(|newer| newer.kind == run.kind && newer.state == "done")
    });
    Ok(failed.map(|(_, run)| {
        let result =
            format!("run {} of {} failed: {}", run.id, run.task_name, run.note.as_deref().unwrap_or("it doesn't say why"));
        let mend = format!("mend that, then `regua run {}`", run.kind.as_str());
        Finding::bad("runs", result, mend)
    }))
}

fn number(what: &'static str, number: u64, look: &'static str) -> Finding {
    match number {
        0 => Finding::good(what, "none"),
        number => Finding::warning(what, Told::ours(number.to_string()), look),
    }
}

/// Mirrors: those that are too old to decide from.
pub async fn check_mirrors(scene: &Scene<'_>) -> anyhow::Result<Vec<Finding>> {
    let now = scene.ledger.now().await?;
    let sources = scene.ledger.sources().await?;
    let looked = sources.iter().map(|source| {
        let what = What::named("mirror of", &source.name);
        let age = source.complete_at.map_or_else(|| "never".to_owned(), |at| at.to_rfc3339());
        if source.is_fresh(now) {
            return Finding::good(what, Told::ours(format!("synced {age}")));
        }
        let mend = if source.kind == "ixc" { "run `regua run update-collections`" } else { "run `regua import invoices FILE`" };
        Finding::bad(what, Told::ours(format!("too old to decide from: synced {age}")), mend)
    });
    Ok(looked.collect())
}
