//! `regua secrets`: what is secret goes in and never comes out.

use crate::commands::changes::who;
use crate::commands::lists::cell;
use crate::commands::{Outcome, Session};
use crate::operator::Request;
use crate::operator::secrets::{RemoveRequest, RotateRequest, SetRequest};
use crate::output::{self, Format, remark};
use console::Term;
use regua_domain::configuration::is_secret_name;
use regua_ledger::sealing::SecretKey;
use regua_ledger::secrets::Resealed;
use regua_pipeline::SecretKeys;
use regua_telemetry::environment::{secret_file, secret_text};
use regua_telemetry::logging::Chain;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What is said where a secret can't be sealed.
const NO_KEY: &str =
    "REGUA_SECRET_KEY is not set here: give this command the key that the services have; `regua secrets new-key` prints one";

/// Where a secret comes from.
pub enum SecretFrom {
    /// Standard input.
    StandardInput,
    /// A file.
    File(PathBuf),
    /// An environment variable, or the file that the variable with `_FILE` names.
    Variable(String),
}

/// `regua secrets new-key`.
pub fn new_key() {
    output::line(SecretKey::generate().expose_secret());
}

impl SecretFrom {
    /// The secret, or why there is none.
    fn read(self, session: &Session) -> Result<SecretString, String> {
        match self {
            Self::StandardInput => {
                let none = |error: std::io::Error| format!("no secret on standard input: {error}");
                if std::io::stdin().is_terminal() {
                    remark!("write the secret, which isn't shown, and Enter");
                    let line = Zeroizing::new(Term::stderr().read_secure_line().map_err(none)?);
                    return secret_text(line.as_bytes()).map_err(none);
                }
                secret_text(std::io::stdin().lock()).map_err(none)
            }
            Self::File(path) => secret_file(&path, "--from-file").map_err(|error| Chain(&error).to_string()),
            Self::Variable(name) => match session.environment.secret(&name) {
                Ok(secret) => secret.ok_or_else(|| format!("--from-env {name}: it is not set, nor {name}_FILE")),
                Err(error) => Err(Chain(&error).to_string()),
            },
        }
    }
}

impl Session {
    pub async fn set_secret(
        &self,
        name: String,
        from: SecretFrom,
        why: Option<String>,
        format: Format,
    ) -> anyhow::Result<Outcome> {
        if !is_secret_name(&name) {
            // Not repeated: it may be the secret itself.
            let rule =
                "NAME is 1 to 40 small letters, digits, - and _, a letter first; the secret itself comes on standard input";
            return Ok(Outcome::Misused(rule.into()));
        }
        let Some(key) = SecretKeys::of(&self.config).current else { return Ok(Outcome::Misused(NO_KEY.into())) };
        let secret = match from.read(self) {
            Ok(secret) => secret,
            Err(why) => return Ok(Outcome::Misused(why)),
        };
        let sealed = key.seal(self.ledger.id().await?, &name, &secret);
        self.submit_and_tell(Request::SetSecret(SetRequest { name, sealed, why, by: who() }), format).await
    }

    pub async fn remove_secret(&self, name: String, why: String, format: Format) -> anyhow::Result<Outcome> {
        self.submit_and_tell(Request::RemoveSecret(RemoveRequest { name, why, by: who() }), format).await
    }

    pub async fn rotate_secrets(&self, why: String, format: Format) -> anyhow::Result<Outcome> {
        let keys = SecretKeys::of(&self.config);
        let Some(key) = &keys.current else { return Ok(Outcome::Misused(NO_KEY.into())) };
        let ledger_id = self.ledger.id().await?;
        let (mut resealed, mut closed) = (Vec::new(), Vec::new());
        for secret in self.ledger.secrets().await?.into_iter().filter(|secret| secret.sealed.key_id != key.id()) {
            match keys.open(ledger_id, &secret.name, &secret.sealed) {
                Ok(plain) => resealed.push(Resealed {
                    sealed: key.seal(ledger_id, &secret.name, &plain),
                    old_key_id: secret.sealed.key_id,
                    set_at: secret.set_at,
                    name: secret.name,
                }),
                Err(error) => closed.push(error.to_string()),
            }
        }
        if !closed.is_empty() {
            remark!("nothing is sealed anew:\n{}", closed.join("\n"));
            return Ok(Outcome::DidNotHold);
        }
        let request = RotateRequest { resealed, key_id: key.id().to_owned(), why, by: who() };
        self.submit_and_tell(Request::RotateSecrets(request), format).await
    }

    pub async fn secrets(&self, format: Format) -> anyhow::Result<Outcome> {
        let (keys, ledger_id) = (SecretKeys::of(&self.config), self.ledger.id().await?);
        let secrets = self.ledger.secrets().await?;
        let lines = secrets.iter().map(|secret| {
            let closed = keys.open(ledger_id, &secret.name, &secret.sealed).err();
            json!({
                "name": secret.name, "last_four": secret.sealed.last_four.as_deref().unwrap_or("…"), "set_at": secret.set_at,
                "set_by": secret.set_by, "used_by": secret.used_by, "key": secret.sealed.key_id, "opens": closed.is_none(),
                "why_not": closed.map(|error| error.to_string()),
            })
        });
        let lines: Vec<_> = lines.collect();
        let headings = ["name", "last four", "set at", "set by", "key", "opens", "used by"];
        output::list(format, &lines, &headings, |secret| {
            let used_by: Vec<_> = secret["used_by"].as_array().into_iter().flatten().map(cell).collect();
            let (used_by, opens) = (used_by.join(", "), if secret["opens"] == true { "yes" } else { "NO" });
            let fields = ["name", "last_four", "set_at", "set_by", "key"].map(|field| cell(&secret[field]));
            fields.into_iter().chain([opens.to_owned(), used_by]).collect()
        })?;
        if format == Format::Human {
            lines.iter().filter(|secret| secret["opens"] == false).for_each(|secret| output::note(cell(&secret["why_not"])));
        }
        Ok(Outcome::Done)
    }
}
