//! Secrets in the ledger. The command line seals before it asks: no request, and so no row of commands, holds a plain text.

use crate::operator::{Answer, holds};
use regua_ledger::sealing::Sealed;
use regua_ledger::secrets::{Resealed, SecretRemoval};
use regua_ledger::{Ledger, LedgerError};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// `secrets set`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetRequest {
    /// Its name.
    pub name: String,
    /// What it is, sealed for this name in this ledger.
    pub sealed: Sealed,
    /// Why.
    pub why: Option<String>,
    /// Who.
    pub by: String,
}

/// `secrets remove`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemoveRequest {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
    /// Who.
    pub by: String,
}

/// `secrets rotate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotateRequest {
    /// Those that were under another key, under the new one.
    pub resealed: Vec<Resealed>,
    /// The new key's id.
    pub key_id: String,
    /// Why.
    pub why: String,
    /// Who.
    pub by: String,
}

pub(super) async fn set(ledger: &Ledger, request: SetRequest) -> Result<Answer, LedgerError> {
    let SetRequest { name, sealed, why, by } = request;
    let (text, data) = (
        format!("secret {name:?} is set under the key {}: every process with that key uses it within 5 s", sealed.key_id),
        json!({ "name": name, "key": sealed.key_id, "last_four": sealed.last_four }),
    );
    ledger.set_secret(name, sealed, by, why).await?;
    Ok(Answer::done(text, data))
}

pub(super) async fn remove(ledger: &Ledger, request: RemoveRequest) -> Result<Answer, LedgerError> {
    let RemoveRequest { name, why, by } = request;
    if let Some(problem) = holds::why_problem(&why) {
        return Ok(Answer::refused(problem));
    }
    Ok(match ledger.remove_secret(name.clone(), by, why.trim().into()).await? {
        SecretRemoval::Removed => Answer::done(format!("secret {name:?} is removed"), json!({ "name": name, "removed": true })),
        SecretRemoval::Unknown => Answer::refused(format!("there is no secret {name:?}: see `regua secrets list`")),
        SecretRemoval::InUse { used_by } => {
            let who = used_by.join(", ");
            Answer::refused(format!("secret {name:?} is the token of {who}: give it another one in the configuration first"))
        }
    })
}

pub(super) async fn rotate(ledger: &Ledger, request: RotateRequest) -> Result<Answer, LedgerError> {
    let RotateRequest { resealed, key_id, why, by } = request;
    if let Some(problem) = holds::why_problem(&why) {
        return Ok(Answer::refused(problem));
    }
    let (number, text) =
        (resealed.len(), format!("{} secrets are sealed under the key {key_id} now: the one before may go", resealed.len()));
    ledger.rotate_secrets(resealed, key_id.clone(), by, why.trim().into()).await?;
    Ok(Answer::done(text, json!({ "resealed": number, "key": key_id })))
}
