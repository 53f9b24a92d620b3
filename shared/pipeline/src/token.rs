//! Tokens: the ledger refers to them, or has them sealed; each process reads them from its own environment or disk, or opens them.

use regua_domain::configuration::SecretRef;
use regua_domain::ids::LedgerId;
use regua_ledger::sealing::{OpenError, Sealed, SecretKey};
use regua_ledger::{Ledger, LedgerError};
use regua_telemetry::config::{KeyBytes, ServiceConfig};
use regua_telemetry::environment::{Environment, Problem, secret_file};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;

/// Why a token isn't there.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Its variable is unset in this process.
    #[error("{0} is not set in this process: set it, or {0}_FILE, to the token")]
    Unset(String),
    /// It can't be read.
    #[error(transparent)]
    Unusable(#[from] Problem),
    /// The ledger has no such secret.
    #[error("the ledger has no secret {0:?}: `regua secrets set {0}` puts it there")]
    NotInLedger(String),
    /// This process has no key.
    #[error(
        "the secret {name:?} is sealed under the key {sealed_under}, and this process has none: set REGUA_SECRET_KEY, or REGUA_SECRET_KEY_FILE, to that key"
    )]
    NoKey {
        /// The secret.
        name: String,
        /// The id of its key.
        sealed_under: String,
    },
    /// This process has another key.
    #[error("the secret {name:?} is sealed under another key (id {sealed_under}); this process has {}: give it that one as REGUA_SECRET_KEY or REGUA_SECRET_KEY_PREVIOUS, or set the secret again", ids.join(" and "))]
    OtherKey {
        /// The secret.
        name: String,
        /// The id of its key.
        sealed_under: String,
        /// The ids of this process's keys.
        ids: Vec<String>,
    },
    /// It isn't what was sealed.
    #[error("the secret {name:?} can't be opened: {why}; set it again")]
    Damaged {
        /// The secret.
        name: String,
        /// Why.
        why: OpenError,
    },
}

/// The keys of this process.
pub struct SecretKeys {
    /// What is sealed now is sealed under this one.
    pub current: Option<SecretKey>,
    /// What was sealed before it opens under this one, too.
    pub previous: Option<SecretKey>,
}

impl SecretKeys {
    /// Those of a process.
    pub fn of(config: &ServiceConfig) -> Self {
        let key = |bytes: &Option<KeyBytes>| bytes.as_ref().map(|bytes| SecretKey::new(bytes.expose_secret()));
        Self { current: key(&config.secret_key), previous: key(&config.secret_key_previous) }
    }

    /// The key of an id.
    pub fn of_id(&self, id: &str) -> Option<&SecretKey> {
        self.all().find(|key| key.id() == id)
    }

    fn all(&self) -> impl Iterator<Item = &SecretKey> {
        self.current.iter().chain(&self.previous)
    }

    /// Opens a secret of a ledger.
    ///
    /// # Errors
    /// [`TokenError::NoKey`], [`TokenError::OtherKey`] or [`TokenError::Damaged`].
    pub fn open(&self, ledger: LedgerId, name: &str, sealed: &Sealed) -> Result<SecretString, TokenError> {
        let (name, sealed_under) = (name.to_owned(), sealed.key_id.clone());
        let ids: Vec<String> = self.all().map(|key| key.id().to_owned()).collect();
        match self.of_id(&sealed.key_id) {
            Some(key) => key.open(ledger, &name, sealed).map_err(|why| TokenError::Damaged { name, why }),
            None if ids.is_empty() => Err(TokenError::NoKey { name, sealed_under }),
            None => Err(TokenError::OtherKey { name, sealed_under, ids }),
        }
    }
}

/// Where this process finds tokens, as of one look into the ledger.
pub struct Tokens {
    environment: Environment,
    keys: SecretKeys,
    ledger_id: LedgerId,
    sealed: BTreeMap<String, Sealed>,
}

impl Tokens {
    /// Reads what the ledger has sealed.
    pub async fn load(ledger: &Ledger, config: &ServiceConfig, environment: &Environment) -> Result<Self, LedgerError> {
        let sealed = ledger.secrets().await?.into_iter().map(|secret| (secret.name, secret.sealed)).collect();
        let (environment, keys) = (environment.clone(), SecretKeys::of(config));
        Ok(Self { environment, keys, ledger_id: ledger.id().await?, sealed })
    }

    /// Reads the token that `reference` names; `owner` is the integration or source it belongs to, for the error's text.
    pub fn of(&self, reference: &SecretRef, owner: &str) -> Result<SecretString, TokenError> {
        match reference {
            SecretRef::Env(name) => self.environment.secret(name)?.ok_or_else(|| TokenError::Unset(name.clone())),
            SecretRef::File(path) => Ok(secret_file(Path::new(path), owner)?),
            SecretRef::Ledger(name) => {
                let sealed = self.sealed.get(name).ok_or_else(|| TokenError::NotInLedger(name.clone()))?;
                self.keys.open(self.ledger_id, name, sealed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LEDGER: LedgerId = LedgerId(Uuid::from_u128(1));
    const TOKEN: &str = "the-token-of-opa";
    const OLD: u8 = 0;
    const NEW: u8 = 1;

    fn key(byte: u8) -> SecretKey {
        SecretKey::new(&[byte; 32])
    }

    #[track_caller]
    fn check(current: Option<u8>, previous: Option<u8>, sealed: Option<Sealed>, expected: &str) {
        let keys = SecretKeys { current: current.map(key), previous: previous.map(key) };
        let sealed = sealed.into_iter().map(|sealed| ("opa".to_owned(), sealed)).collect();
        let tokens = Tokens { environment: Environment::default(), keys, ledger_id: LEDGER, sealed };
        let token = tokens.of(&SecretRef::Ledger("opa".into()), "Matriz");
        let told = token.map_or_else(|error| error.to_string(), |token| token.expose_secret().to_owned());
        assert!(told.contains(expected), "{told}");
        assert!(told == expected || !told.contains(TOKEN), "{told}");
    }

    #[test]
    fn a_sealed_token_opens_under_the_key_of_this_process_and_the_one_before() {
        let sealed = |byte| Some(key(byte).seal(LEDGER, "opa", &TOKEN.into()));
        check(Some(NEW), None, sealed(NEW), TOKEN);
        check(Some(NEW), Some(OLD), sealed(OLD), TOKEN);
        check(None, Some(OLD), sealed(OLD), TOKEN);
    }

    #[test]
    fn a_token_that_does_not_open_says_why_and_how_to_mend_it() {
        let sealed = |name| Some(key(OLD).seal(LEDGER, name, &TOKEN.into()));
        check(Some(NEW), None, None, "the ledger has no secret \"opa\": `regua secrets set opa` puts it there");
        check(None, None, sealed("opa"), "this process has none: set REGUA_SECRET_KEY, or REGUA_SECRET_KEY_FILE");
        let other = format!("is sealed under another key (id {}); this process has {}", key(OLD).id(), key(NEW).id());
        check(Some(NEW), None, sealed("opa"), &other);
        check(Some(OLD), None, sealed("ixc"), "it was altered, or sealed under another name");
    }
}
