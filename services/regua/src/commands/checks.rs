//! `regua check` and `regua support-bundle`: they look at a ledger as it is, reachable or not, and so have no session with it.

use crate::bundle;
use crate::check::{self, Grade, Part};
use crate::commands::Outcome;
use crate::output::{self, Format, say};
use anyhow::Context as _;
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use std::io::Write as _;
use std::path::Path;

/// This process's settings, or what is wrong with them.
fn settings() -> Result<(ServiceConfig, Environment), Outcome> {
    let environment = Environment::process();
    let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &environment);
    config.map(|config| (config, environment)).map_err(|problems| Outcome::Misused(problems.to_string()))
}

/// Looks at one part or at everything: one row each; it did not hold if one of them is a problem.
#[tokio::main]
pub async fn check(part: Option<Part>, format: Format) -> anyhow::Result<Outcome> {
    let (config, environment) = match settings() {
        Ok(settings) => settings,
        Err(outcome) => return Ok(outcome),
    };
    regua_telemetry::install_tls_provider();
    let findings = check::check(&config, &environment, part).await;
    output::list(format, &findings, &["state", "what", "result", "mend"], check::Finding::cells)?;
    let holds = findings.iter().all(|finding| finding.grade != Grade::Problem);
    Ok(if holds { Outcome::Done } else { Outcome::DidNotHold })
}

/// Writes the file.
#[tokio::main]
pub async fn support_bundle(out: &Path, from: &[String]) -> anyhow::Result<Outcome> {
    let (config, environment) = match settings() {
        Ok(settings) => settings,
        Err(outcome) => return Ok(outcome),
    };
    if let Some(wrong) = from.iter().find(|url| !url.starts_with("http://")) {
        return Ok(Outcome::Misused(format!(
            "--from {wrong}: expected http://HOST:PORT, as REGUA_HTTP_ADDR of a running process has it"
        )));
    }
    regua_telemetry::install_tls_provider();
    if out == Path::new("-") {
        let bundle = bundle::gather(&config, &environment, from).await;
        say!("{bundle:#}");
        return Ok(Outcome::Done);
    }
    // Made first: a file that can't be isn't worth a minute of looking.
    let mut file = match std::fs::File::create_new(out) {
        Ok(file) => file,
        Err(error) => return Ok(Outcome::Misused(format!("--out {}: {error}", out.display()))),
    };
    let bundle = bundle::gather(&config, &environment, from).await;
    let written = writeln!(file, "{bundle:#}").and_then(|()| file.sync_all());
    written.with_context(|| format!("{} can't be written", out.display()))?;
    say!("{}: names are numbers in it, and nobody's data is; read it before you send it", out.display());
    Ok(Outcome::Done)
}
