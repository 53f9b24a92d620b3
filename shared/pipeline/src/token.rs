//! Tokens: the ledger only refers to them; each process reads them from its own environment or disk.

use regua_domain::configuration::SecretRef;
use regua_telemetry::environment::{Environment, Problem, secret_file};
use secrecy::SecretString;
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
}

/// Reads the token that `reference` names; `owner` is the integration or source it belongs to, for the error's text.
pub fn token(reference: &SecretRef, owner: &str, environment: &Environment) -> Result<SecretString, TokenError> {
    match reference {
        SecretRef::Env(name) => environment.secret(name)?.ok_or_else(|| TokenError::Unset(name.clone())),
        SecretRef::File(path) => Ok(secret_file(Path::new(path), owner)?),
    }
}
