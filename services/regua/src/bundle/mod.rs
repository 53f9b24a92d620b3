//! `regua support-bundle`: what whoever helps needs to see, in one JSON file, without anybody's data.
//!
//! Every field is written by name from what is known to be numbers, instants, ids and closed names; nothing is copied whole and then cleaned. A
//! field that is added elsewhere isn't in it until somebody decides here that it may be. One plain file, and no archive: a provider can read all
//! of it before it leaves their hands, and nothing is needed to open it.

mod configuration;
mod names;
mod processes;
mod status;

use crate::check::{self, Finding, Told};
use crate::status::{Status, VERSION};
use chrono::Utc;
use names::Names;
use regua_ledger::Ledger;
use regua_ledger::inspection::{Engine, Inspection, SCHEMA};
use regua_telemetry::config::ServiceConfig;
use regua_telemetry::environment::Environment;
use serde_json::{Value, json};
use std::time::Duration;

/// How long each part that reads the ledger may take.
const PART_WITHIN: Duration = Duration::from_secs(30);

/// Gathers it. What can't be read is `null`: the checks say why.
pub async fn gather(config: &ServiceConfig, environment: &Environment, from: &[String]) -> Value {
    let findings = check::check(config, environment, None).await;
    let reached = check::reach(config).await.ok();
    let ledger = reached.as_ref().filter(|reached| reached.is_readable).map(|reached| &reached.ledger);
    let configured = match ledger {
        Some(ledger) => part(async { Ok(ledger.configuration().await?) }).await.flatten(),
        None => None,
    };
    let mut names = configured.as_ref().map(Names::of).unwrap_or_default();
    let configuration = configured.as_ref().map(|configuration| configuration::told(configuration, &mut names));
    let (status, failures) = match ledger {
        None => (None, None),
        Some(ledger) => (
            part(Status::gather(ledger)).await.map(|status| status::told(&status, &mut names)),
            part(status::failures(ledger, &mut names)).await,
        ),
    };
    let inspection = match &reached {
        Some(reached) => part(async { Ok(reached.ledger.inspect().await?) }).await,
        None => None,
    };
    let ledger_id = match ledger {
        Some(ledger) => part(id(ledger)).await,
        None => None,
    };
    if let Some(reached) = &reached {
        reached.ledger.close().await;
    }
    json!({
        "made_at": Utc::now(),
        "versions": {
            "regua": VERSION, "schema_known": SCHEMA, "os": std::env::consts::OS, "arch": std::env::consts::ARCH,
            "database": config.database_url.scheme(), "broker": config.broker_url.scheme(),
        },
        "ledger": ledger_id,
        "database": inspection.as_ref().map(database),
        "check": findings.iter().map(|finding| finding_told(finding, &mut names)).collect::<Vec<_>>(),
        "status": status,
        "failures": failures,
        "configuration": configuration,
        "processes": processes::told(from, &mut names).await,
    })
}

/// A part of it, unless it fails or takes too long.
async fn part<T>(work: impl Future<Output = anyhow::Result<T>>) -> Option<T> {
    tokio::time::timeout(PART_WITHIN, work).await.ok()?.ok()
}

async fn id(ledger: &Ledger) -> anyhow::Result<String> {
    Ok(ledger.id().await?.to_string())
}

/// A finding without its name and without what others said.
fn finding_told(finding: &Finding, names: &mut Names) -> Value {
    json!({
        "what": finding.what.kind, "which": finding.what.name.as_deref().map(|name| names.any(name)), "grade": finding.grade.as_str(),
        "result": finding.result.for_support(), "mend": finding.mend.as_ref().and_then(Told::for_support),
    })
}

fn database(inspection: &Inspection) -> Value {
    let engine = match &inspection.engine {
        Engine::Postgres(facts) => json!({
            "version": facts.version, "in_recovery": facts.in_recovery, "fsync": facts.fsync, "full_page_writes": facts.full_page_writes,
            "synchronous_commit": facts.synchronous_commit, "has_synchronous_standby": facts.has_synchronous_standby,
            "connections_max": facts.connections_max, "connections_used": facts.connections_used, "lost_bounds": facts.lost_bounds,
            "bytes": facts.bytes,
        }),
        Engine::Sqlite(facts) => json!({
            "version": facts.version, "journal_mode": facts.journal_mode, "synchronous": facts.synchronous, "bytes": facts.bytes,
        }),
    };
    json!({ "schema": inspection.schema, "settings": engine })
}
