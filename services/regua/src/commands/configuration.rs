//! `regua config`.

use crate::commands::changes::who;
use crate::commands::{Outcome, Session};
use crate::lock::sqlite_path;
use crate::operator::Request;
use crate::output::{self, Format, NOTHING_CONFIGURED, remark, say};
use chrono::Utc;
use regua_domain::configuration::{Configuration, Defaults, diff, export};
use regua_ledger::Ledger;
use regua_ledger::secrets::SecretUse;
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::logging::Chain;
use std::path::Path;
use std::time::Duration;

/// How long the ledger may take to say which secrets it has.
const LEDGER_WITHIN: Duration = Duration::from_secs(5);

fn read(file: &Path, config: &ServiceConfig, environment: &Environment) -> Result<Configuration, Outcome> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| Outcome::Misused(format!("{name} can't be read: {error}")))?;
    let defaults = Defaults { zone: config.timezone, allow_private_urls: config.allow_private_urls, now: Utc::now() };
    let (configuration, notes) = Configuration::parse_with_notes(&text, &name, &defaults, &|name| environment.get(name))
        .map_err(|errors| Outcome::Misused(errors.to_string()))?;
    for note in notes {
        remark!("{name}:{}: {}: {}", note.line, note.field, note.text);
    }
    Ok(configuration)
}

/// `regua config check`.
pub fn config_check(file: &Path) -> Outcome {
    let environment = Environment::process();
    let config = match ServiceConfig::load(Service::Regua, Hosting::Embedded, &environment) {
        Ok(config) => config,
        Err(problems) => return Outcome::Misused(problems.to_string()),
    };
    let configuration = match read(file, &config, &environment) {
        Ok(configuration) => configuration,
        Err(outcome) => return outcome,
    };
    let missing = if SecretUse::of(&configuration).is_empty() { Vec::new() } else { missing_secrets(&config, &configuration) };
    if missing.is_empty() {
        say!("{} is in order", file.display());
        return Outcome::Done;
    }
    let told: Vec<String> = missing.iter().map(|used| format!("{}: {}", file.display(), used.missing())).collect();
    Outcome::Misused(told.join("\n"))
}

/// The secrets that a configuration names and the ledger doesn't have. A ledger that isn't there yet, or can't be asked, misses none.
#[tokio::main(flavor = "current_thread")]
async fn missing_secrets(config: &ServiceConfig, configuration: &Configuration) -> Vec<SecretUse> {
    let url = config.database_url.expose();
    regua_telemetry::install_tls_provider();
    let asked = async {
        if sqlite_path(url).is_some_and(|path| !path.exists()) {
            return Err("it isn't there yet".to_owned());
        }
        let missing = async { Ledger::open(url).await?.missing_secrets(configuration).await };
        missing.await.map_err(|error| Chain(&error).to_string())
    };
    let answer = tokio::time::timeout(LEDGER_WITHIN, asked).await.unwrap_or_else(|_| Err("it doesn't answer".to_owned()));
    answer.unwrap_or_else(|why| {
        remark!("whether the ledger has the secrets that the file names was not looked at: {why}");
        Vec::new()
    })
}

impl Session {
    pub async fn config_apply(&self, file: &Path, why: Option<String>, dry_run: bool) -> anyhow::Result<Outcome> {
        let configuration = match read(file, &self.config, &self.environment) {
            Ok(configuration) => configuration,
            Err(outcome) => return Ok(outcome),
        };
        let old = self.ledger.configuration().await?;
        let changes = diff(old.as_ref(), &configuration);
        if changes.is_empty() {
            output::before_a_change("nothing changes");
        }
        changes.iter().for_each(output::before_a_change);
        if let Some(pilot) = configuration.pilot.told() {
            remark!("PILOT: {pilot}");
        }
        let request = Request::ApplyConfiguration { configuration: Box::new(configuration), dry_run, why, by: who() };
        self.submit_and_tell(request, Format::Human).await
    }

    pub async fn config_export(&self) -> anyhow::Result<Outcome> {
        let Some(configuration) = self.ledger.configuration().await? else {
            output::note(NOTHING_CONFIGURED);
            return Ok(Outcome::DidNotHold);
        };
        output::line(export(&configuration).trim_end());
        Ok(Outcome::Done)
    }
}
