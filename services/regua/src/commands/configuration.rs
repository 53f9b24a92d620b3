//! `regua config`.

use crate::commands::{Outcome, Session};
use crate::operator::Request;
use crate::output::{self, Format, NOTHING_CONFIGURED, remark, say};
use chrono::Utc;
use regua_domain::configuration::{Configuration, Defaults, diff, export};
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use std::path::Path;

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
    match read(file, &config, &environment) {
        Ok(_) => {
            say!("{} is in order", file.display());
            Outcome::Done
        }
        Err(outcome) => outcome,
    }
}

impl Session {
    pub async fn config_apply(&self, file: &Path, dry_run: bool) -> anyhow::Result<Outcome> {
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
        let request = Request::ApplyConfiguration { configuration: Box::new(configuration), dry_run };
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
