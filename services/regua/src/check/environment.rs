//! The environment: variables that nobody reads, the file of `REGUA_CONFIG`, and whether what is sealed opens.

use super::{Finding, Scene, Told};
use chrono::Utc;
use regua_domain::configuration::{Configuration, Defaults, SecretRef, SourceKind};
use regua_pipeline::SecretKeys;
use regua_telemetry::config::{ServiceConfig, VARIABLES};
use regua_telemetry::environment::Environment;
use std::collections::BTreeSet;

/// What begins the names of ours.
const PREFIX: &str = "REGUA_";
/// Of the demo and the tests: any name.
const NOT_OURS: [&str; 2] = ["REGUA_DEMO_", "REGUA_TEST_"];
/// What follows the name of a variable that may also be read from a file; its meaning says so.
const FILE: &str = "_FILE";

/// Looks at the variables and at the file that one of them names. Each is usable, or the command would have ended before.
pub fn check(config: &ServiceConfig, environment: &Environment, configuration: Option<&Configuration>) -> Vec<Finding> {
    let set = environment.names(PREFIX);
    let known: BTreeSet<String> = VARIABLES
        .iter()
        .flat_map(|(name, _, meaning)| [Some((*name).to_owned()), meaning.contains(FILE).then(|| format!("{name}{FILE}"))])
        .flatten()
        .chain(configuration.into_iter().flat_map(named_by))
        .collect();
    let strange: Vec<_> = set
        .iter()
        .filter(|name| !known.contains(*name) && !NOT_OURS.iter().any(|prefix| name.starts_with(prefix)))
        .cloned()
        .collect();
    let finding = if strange.is_empty() {
        Finding::good("environment", Told::ours(format!("{} variables of Régua's, all usable", set.len())))
    } else {
        let result = format!("nobody reads {}", strange.join(", "));
        Finding::warning("environment", result, "is it misspelt? README.md, \"Environment\", has every name")
    };
    std::iter::once(finding).chain(check_file(config, environment)).collect()
}

/// The variables that a configuration names.
fn named_by(configuration: &Configuration) -> impl Iterator<Item = String> {
    let integrations = configuration.integrations.iter().flat_map(|one| [Some(&one.token), one.webhook_secret.as_ref()]);
    let sources = configuration.sources.iter().flat_map(|one| {
        let token = match &one.kind {
            SourceKind::Ixc { token, .. } => Some(token),
            SourceKind::Files => None,
        };
        [token, one.webhook_secret.as_ref()]
    });
    let names = integrations.chain(sources).flatten().filter_map(|secret| match secret {
        SecretRef::Env(name) => Some(name.clone()),
        SecretRef::File(_) | SecretRef::Ledger(_) => None,
    });
    names.flat_map(|name| [format!("{name}{FILE}"), name])
}

/// The file that services apply when they start: one with a mistake keeps them from starting.
fn check_file(config: &ServiceConfig, environment: &Environment) -> Option<Finding> {
    let path = config.config_file.as_ref()?;
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let mend = "let REGUA_CONFIG name a file that this user may read: no service starts without";
            return Some(Finding::bad("REGUA_CONFIG", format!("{name} can't be read: {error}"), mend));
        }
    };
    let defaults = Defaults { zone: config.timezone, allow_private_urls: config.allow_private_urls, now: Utc::now() };
    Some(match Configuration::parse(&text, &name, &defaults, &|name| environment.get(name)) {
        Ok(_) => Finding::good("REGUA_CONFIG", "the file is read and free of mistakes"),
        Err(errors) => {
            let text = errors.to_string();
            let first = text.lines().next().unwrap_or_default().to_owned();
            Finding::bad("REGUA_CONFIG", first, "`regua config check FILE` tells each mistake with its line and its mend")
        }
    })
}

/// Whether this process can open what the ledger keeps sealed.
pub async fn check_sealed(scene: &Scene<'_>) -> anyhow::Result<Finding> {
    let (keys, ledger_id) = (SecretKeys::of(scene.config), scene.ledger.id().await?);
    let secrets = scene.ledger.secrets().await?;
    let closed: Vec<_> = secrets
        .iter()
        .filter_map(|secret| keys.open(ledger_id, &secret.name, &secret.sealed).err())
        .map(|error| error.to_string())
        .collect();
    if let Some(first) = closed.first() {
        let result = format!("{} of {} sealed secrets don't open: {first}", closed.len(), secrets.len());
        return Ok(Finding::bad("secrets", result, "give every process the key as REGUA_SECRET_KEY, or set the secrets again"));
    }
    let current = keys.current.as_ref().map(|key| key.id().to_owned());
    let older = secrets.iter().filter(|secret| Some(&secret.sealed.key_id) != current.as_ref()).count();
    Ok(if older > 0 {
        let result = Told::ours(format!("{older} of {} are still sealed under the key before", secrets.len()));
        Finding::warning("secrets", result, "`regua secrets rotate`, then take REGUA_SECRET_KEY_PREVIOUS away")
    } else {
        Finding::good("secrets", Told::ours(format!("{} sealed in the ledger: all open", secrets.len())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Grade;
    use regua_telemetry::config::{Hosting, Service};

    #[track_caller]
    fn check_variables(pairs: &[(&str, &str)], grade: Grade, says: &str) {
        let environment = Environment::only(pairs.iter().copied());
        let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &environment).expect("usable");
        let findings = check(&config, &environment, None);
        assert!(
            findings.iter().any(|finding| finding.grade == grade && finding.cells().join(" ").contains(says)),
            "{findings:?}"
        );
    }

    #[test]
    fn a_variable_that_nobody_reads_and_a_file_that_no_service_could_apply_are_told() {
        check_variables(&[("REGUA_LOG", "info"), ("REGUA_DEMO_OPA_URL", "x")], Grade::Ok, "2 variables");
        check_variables(&[("REGUA_DATABSE_URL", "x")], Grade::Warning, "nobody reads REGUA_DATABSE_URL");
        check_variables(&[("REGUA_LOG_FILE", "x")], Grade::Warning, "nobody reads REGUA_LOG_FILE");
        check_variables(&[("REGUA_CONFIG", "/nowhere/regua.toml")], Grade::Problem, "can't be read");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("regua.toml");
        std::fs::write(&path, "[[integration]]\nnam = 1\n").expect("it can be written");
        check_variables(&[("REGUA_CONFIG", path.to_str().expect("text"))], Grade::Problem, "regua config check");
    }
}
