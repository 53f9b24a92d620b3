//! Opening the ledger and the broker: what is wrong by itself is refused, what is merely down is waited for.

use crate::alarm::look_where_it_stands;
use crate::watch;
use chrono::Utc;
use regua_broker::Broker;
use regua_domain::configuration::{Configuration, ConfigurationErrors, Defaults};
use regua_domain::ids::LedgerId;
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::config::ServiceConfig;
use regua_telemetry::environment::Environment;
use regua_telemetry::health::Readiness;
use regua_telemetry::logging::Chain;
use regua_telemetry::retry::RetryPolicy;
use regua_telemetry::service::{Failure, Process};
use secrecy::SecretString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a ledger that can't be asked where it stands is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How a ledger that can't be reached is waited for.
const WAIT: RetryPolicy = RetryPolicy { initial: Duration::from_millis(200), multiplier: 2.0, max: Duration::from_secs(5) };

/// What every process says that finds an empty ledger: it is up, ready and idle.
pub const NOTHING_CONFIGURED: &str =
    "nothing is configured yet: write a file like ops/examples/regua-completa.toml and run `regua config apply FILE`";

/// A ledger and a broker that work together. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    /// The truth.
    pub ledger: Ledger,
    /// Its id, which every hint carries.
    pub ledger_id: LedgerId,
    /// What carries ticks and hints.
    pub broker: Arc<dyn Broker>,
}

/// Why a configuration file was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The file can't be read.
    #[error("{path} can't be read")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        why: std::io::Error,
    },
    /// What it says is wrong.
    #[error("{0}")]
    Wrong(ConfigurationErrors),
    /// The ledger failed.
    #[error("the configuration can't be written")]
    Ledger(#[from] LedgerError),
}

/// Opens ledger and broker, brings the schema up to date, applies `REGUA_CONFIG`. `None` when the shutdown began meanwhile.
///
/// # Errors
/// What is wrong by itself: an address that no database or broker has, a configuration with mistakes, a demo clock for a
/// ledger in use. A database that is down is waited for and told in `/readyz`.
pub async fn open(process: &Process) -> Result<Option<Pipeline>, Failure> {
    let config = &process.config;
    process.health.expect(&["ledger", "broker"]);
    let ledger = Ledger::open(config.database_url.expose()).await.map_err(Failure::configuration)?;
    let Some(ledger_id) = reach(process, &ledger).await? else { return Ok(None) };
    if !stands_where_it_may(process, &ledger).await? {
        return Ok(None);
    }
    if let Some(instant) = config.demo_now {
        // A restart of the same demo finds its ledger in use and its clock set: that is no mistake.
        match ledger.set_demo_clock(instant).await {
            Ok(()) => {}
            Err(LedgerError::Refused(_)) if ledger.has_demo_clock().await.map_err(Failure::fault)? => {}
            Err(error) => return Err(Failure::configuration(error)),
        }
    }
    if let Some(path) = &config.config_file {
        apply_file(&ledger, path, config, &process.environment).await.map_err(Failure::configuration)?;
    }
    match ledger.configuration().await.map_err(Failure::fault)? {
        None => tracing::info!("{NOTHING_CONFIGURED}"),
        Some(configuration) => {
            if let Some(pilot) = configuration.pilot.told() {
                tracing::warn!("pilot.on: {pilot}");
            }
        }
    }
    let url = SecretString::from(config.broker_url.expose().to_owned());
    let broker = regua_broker::connect(&url, ledger_id).map_err(Failure::configuration)?;
    watch::start(process, &ledger, &broker);
    Ok(Some(Pipeline { ledger, ledger_id, broker }))
}

/// Sees to it that a ledger that stands elsewhere is stopped before anything is sent from it. False when the shutdown began meanwhile.
async fn stands_where_it_may(process: &Process, ledger: &Ledger) -> Result<bool, Failure> {
    while !process.shutdown.has_begun() {
        match look_where_it_stands(ledger, &process.shutdown).await {
            Ok(is_seen_to) => return Ok(is_seen_to),
            Err(outgrown @ LedgerError::Newer { .. }) => return Err(Failure::configuration(outgrown)),
            Err(error) => {
                let why = format!("the ledger can't be asked where it stands: {}", Chain(&error));
                process.health.set("ledger", Readiness::not_ready(why));
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
    Ok(false)
}

/// Whether addresses in private networks may be called: the environment allows it, or the ledger has a demo's clock, which only an empty ledger
/// can be given, so that its providers are simulators.
pub async fn allows_private_urls(ledger: &Ledger, config: &ServiceConfig) -> Result<bool, LedgerError> {
    Ok(config.allow_private_urls || ledger.has_demo_clock().await?)
}

/// Waits for the ledger, migrates it, and reads its id.
async fn reach(process: &Process, ledger: &Ledger) -> Result<Option<LedgerId>, Failure> {
    for attempt in 1.. {
        let migrated = tokio::select! {
            migrated = migrated(ledger) => migrated,
            () = process.shutdown.begun() => return Ok(None),
        };
        let error = match migrated {
            Ok(id) => {
                process.health.set("ledger", Readiness::Ready);
                return Ok(Some(id));
            }
            Err(error @ (LedgerError::Newer { .. } | LedgerError::Unreadable { .. })) => {
                return Err(Failure::configuration(error));
            }
            Err(error) => error,
        };
        let wait = WAIT.delay(attempt, rand::random());
        tracing::warn!(error = %Chain(&error), attempt, wait_ms = wait.as_millis(), "ledger.not_reached");
        process.health.set("ledger", Readiness::not_ready(format!("the ledger's database can't be reached: {}", Chain(&error))));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = process.shutdown.begun() => return Ok(None),
        }
    }
    Ok(None)
}

async fn migrated(ledger: &Ledger) -> Result<LedgerId, LedgerError> {
    ledger.migrate().await?;
    ledger.id().await
}

/// Reads, checks and applies the file of `REGUA_CONFIG`: all of it or nothing, and only if it isn't the one applied last.
async fn apply_file(ledger: &Ledger, path: &Path, config: &ServiceConfig, environment: &Environment) -> Result<(), ApplyError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| ApplyError::Unreadable { path: name.clone(), why })?;
    let defaults = Defaults { zone: config.timezone, allow_private_urls: config.allow_private_urls, now: Utc::now() };
    let (configuration, notes) =
        Configuration::parse_with_notes(&text, &name, &defaults, &|name| environment.get(name)).map_err(ApplyError::Wrong)?;
    for note in notes {
        tracing::info!(line = note.line, field = %note.field, "{}", note.text);
    }
    if ledger.apply_file_once(configuration).await? {
        tracing::info!(file = %name, "configuration.applied");
    } else {
        tracing::debug!(file = %name, "configuration.known");
    }
    Ok(())
}
