//! Secrets that the ledger keeps, sealed. Nothing here can open one: keys belong to processes.

use crate::Ledger;
use crate::audit::{self, Entry};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::sealing::Sealed;
use chrono::{DateTime, Utc};
use regua_domain::audit::Action;
use regua_domain::configuration::{Configuration, SecretRef, SourceKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A secret in the ledger.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// What can be opened only with its key.
    pub sealed: Sealed,
    /// When it was set.
    pub set_at: DateTime<Utc>,
    /// Who set it.
    pub set_by: String,
    /// Which integrations and sources use it, each as `integration "Matriz"`.
    pub used_by: Vec<String>,
}

/// A secret that is to be sealed under another key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resealed {
    /// Its name.
    pub name: String,
    /// When the secret that was opened was set: another one set since stays as it is.
    pub set_at: DateTime<Utc>,
    /// The key that it was sealed under.
    pub old_key_id: String,
    /// The same secret under the new key.
    pub sealed: Sealed,
}

/// What became of a secret that was to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRemoval {
    /// It is gone.
    Removed,
    /// There is none of this name.
    Unknown,
    /// The configuration uses it.
    InUse {
        /// Who does, each as `integration "Matriz"`.
        used_by: Vec<String>,
    },
}

/// A token that a configuration looks for in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// Whose token it is, as `integration "Matriz"`.
    pub user: String,
    /// The secret's name.
    pub secret: String,
}

impl SecretUse {
    /// Every one of a configuration's.
    pub fn of(configuration: &Configuration) -> Vec<Self> {
        let of_integration = configuration.integrations.iter().flat_map(|integration| {
            [Some(&integration.token), integration.webhook_secret.as_ref()]
                .map(|secret| (secret, "integration", &integration.name))
        });
        let of_source = configuration.sources.iter().flat_map(|source| {
            let token = match &source.kind {
                SourceKind::Ixc { token, .. } => Some(token),
                SourceKind::Files => None,
            };
            [token, source.webhook_secret.as_ref()].map(|secret| (secret, "source", &source.name))
        });
        let uses = of_integration.chain(of_source).filter_map(|(secret, kind, name)| match secret? {
            SecretRef::Ledger(secret) => Some(Self { user: format!("{kind} {name:?}"), secret: secret.clone() }),
            SecretRef::Env(_) | SecretRef::File(_) => None,
        });
        uses.collect()
    }

    /// What a person is told of one whose secret isn't there, with the mend.
    pub fn missing(&self) -> String {
        let Self { user, secret } = self;
        format!("{user}: the ledger has no secret {secret:?}; `regua secrets set {secret}` puts it there")
    }
}

impl Ledger {
    /// Every secret, by name.
    pub async fn secrets(&self) -> Result<Vec<Secret>, LedgerError> {
        all(&mut self.db.read().await?).await
    }

    /// Sets a secret, new or in place of the one of this name.
    pub async fn set_secret(&self, name: String, sealed: Sealed, by: String, why: Option<String>) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let (name, sealed, by, why) = (name.clone(), sealed.clone(), by.clone(), why.clone());
                Box::pin(async move { set(tx, &name, &sealed, &by, why.as_deref()).await })
            })
            .await
    }

    /// Removes a secret that nothing uses.
    pub async fn remove_secret(&self, name: String, by: String, why: String) -> Result<SecretRemoval, LedgerError> {
        self.db
            .write(move |tx| {
                let (name, by, why) = (name.clone(), by.clone(), why.clone());
                Box::pin(async move { remove(tx, &name, &by, &why).await })
            })
            .await
    }

    /// Writes secrets that were sealed anew, all of them or none, and after that every secret is under the one key.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when one was set or removed meanwhile.
    pub async fn rotate_secrets(
        &self,
        resealed: Vec<Resealed>,
        key_id: String,
        by: String,
        why: String,
    ) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let (resealed, key_id, by, why) = (resealed.clone(), key_id.clone(), by.clone(), why.clone());
                Box::pin(async move { rotate(tx, &resealed, &key_id, &by, &why).await })
            })
            .await
    }

    /// The secrets that a configuration names and the ledger doesn't have.
    pub async fn missing_secrets(&self, configuration: &Configuration) -> Result<Vec<SecretUse>, LedgerError> {
        missing(&mut self.db.read().await?, configuration).await
    }
}

async fn all(tx: &mut Tx) -> Result<Vec<Secret>, LedgerError> {
    let mut used_by = users(tx).await?;
    let rows =
        tx.fetch(sql!("SELECT name, sealed, key_id, last_four, set_at, set_by FROM secrets ORDER BY name"), vec![]).await?;
    rows.iter()
        .map(|row| {
            let name = row.text("name")?;
            let used_by = used_by.remove(&name).unwrap_or_default();
            Ok(Secret { name, sealed: read_sealed(row)?, set_at: row.instant("set_at")?, set_by: row.text("set_by")?, used_by })
        })
        .collect()
}

fn read_sealed(row: &Row) -> Result<Sealed, LedgerError> {
    Ok(Sealed { text: row.text("sealed")?, key_id: row.text("key_id")?, last_four: row.opt_text("last_four")? })
}

/// Who uses each secret. An integration that is switched off does, for a file may switch it on again.
async fn users(tx: &mut Tx) -> Result<BTreeMap<String, Vec<String>>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "SELECT CASE WHEN token_kind = 'ledger' THEN token_ref END AS token, webhook_secret, 'integration' AS kind, name FROM integrations
                 UNION ALL SELECT CASE WHEN token_kind = 'ledger' THEN token_ref END, webhook_secret, 'source', name FROM sources WHERE enabled
                 ORDER BY 3, 4"
            ),
            vec![],
        )
        .await?;
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let webhook = match row.opt_json("webhook_secret")? {
            Some(SecretRef::Ledger(secret)) => Some(secret),
            Some(SecretRef::Env(_) | SecretRef::File(_)) | None => None,
        };
        let user = format!("{} {:?}", row.text("kind")?, row.text("name")?);
        // One secret for both is used once.
        let secrets: BTreeSet<String> = row.opt_text("token")?.into_iter().chain(webhook).collect();
        for secret in secrets {
            users.entry(secret).or_default().push(user.clone());
        }
    }
    Ok(users)
}

async fn set(tx: &mut Tx, name: &str, sealed: &Sealed, by: &str, why: Option<&str>) -> Result<(), LedgerError> {
    let known = locked(tx, name).await?;
    let now = tx.now().await?;
    tx.execute(
        sql!(
            "INSERT INTO secrets (name, sealed, key_id, last_four, set_at, set_by) VALUES ($1, $2, $3, CAST($4 AS TEXT), $5, $6)
             ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, key_id = excluded.key_id, last_four = excluded.last_four,
                set_at = excluded.set_at, set_by = excluded.set_by"
        ),
        values![name, &sealed.text, &sealed.key_id, sealed.last_four.clone(), now, by],
    )
    .await?;
    let was = known.as_ref().map(told);
    audit::note(tx, Entry { by, action: Action::SecretSet, target: name, why, was, became: Some(told(sealed)) }, now).await
}

/// What the audit log says of a secret.
fn told(sealed: &Sealed) -> Value {
    json!({ "key": sealed.key_id, "last_four": sealed.last_four })
}

/// The secret of a name, which from now on nobody else changes or begins to use.
async fn locked(tx: &mut Tx, name: &str) -> Result<Option<Sealed>, LedgerError> {
    let row = tx
        .fetch_optional(sql!("SELECT sealed, key_id, last_four FROM secrets WHERE name = $1", for_update), values![name])
        .await?;
    row.as_ref().map(read_sealed).transpose()
}

async fn remove(tx: &mut Tx, name: &str, by: &str, why: &str) -> Result<SecretRemoval, LedgerError> {
    let Some(sealed) = locked(tx, name).await? else { return Ok(SecretRemoval::Unknown) };
    if let Some(used_by) = users(tx).await?.remove(name) {
        return Ok(SecretRemoval::InUse { used_by });
    }
    let now = tx.now().await?;
    tx.execute(sql!("DELETE FROM secrets WHERE name = $1"), values![name]).await?;
    let was = Some(told(&sealed));
    audit::note(tx, Entry { by, action: Action::SecretRemoved, target: name, why: Some(why), was, became: None }, now).await?;
    Ok(SecretRemoval::Removed)
}

async fn rotate(tx: &mut Tx, resealed: &[Resealed], key_id: &str, by: &str, why: &str) -> Result<(), LedgerError> {
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for Resealed { name, set_at, old_key_id, sealed } in resealed {
        let moved = tx
            .execute(
                sql!("UPDATE secrets SET sealed = $4, key_id = $5 WHERE name = $1 AND set_at = $2 AND key_id = $3"),
                values![name, *set_at, old_key_id, &sealed.text, &sealed.key_id],
            )
            .await?;
        if moved == 0 {
            return Err(LedgerError::Refused(format!(
                "secret {name:?} was changed meanwhile, and nothing is sealed anew: say it again"
            )));
        }
        *keys.entry(old_key_id).or_default() += 1;
    }
    let rest = tx.fetch(sql!("SELECT name FROM secrets WHERE key_id <> $1 ORDER BY name"), values![key_id]).await?;
    if let Some(row) = rest.first() {
        let name = row.text("name")?;
        return Err(LedgerError::Refused(format!("secret {name:?} was set meanwhile, and nothing is sealed anew: say it again")));
    }
    let now = tx.now().await?;
    let (was, became) = (Some(json!({ "keys": keys })), Some(json!({ "key": key_id, "secrets": resealed.len() })));
    audit::note(tx, Entry { by, action: Action::SecretsRotated, target: "", why: Some(why), was, became }, now).await
}

async fn missing(tx: &mut Tx, configuration: &Configuration) -> Result<Vec<SecretUse>, LedgerError> {
    let mut uses = SecretUse::of(configuration);
    if !uses.is_empty() {
        let rows = tx.fetch(sql!("SELECT name FROM secrets"), vec![]).await?;
        let known = rows.iter().map(|row| row.text("name")).collect::<Result<BTreeSet<_>, _>>()?;
        uses.retain(|used| !known.contains(&used.secret));
    }
    Ok(uses)
}

/// Refuses a configuration that names a secret that isn't there; those that are there stay until this transaction ends.
pub(crate) async fn are_there(tx: &mut Tx, configuration: &Configuration) -> Result<(), LedgerError> {
    let names: BTreeSet<String> = SecretUse::of(configuration).into_iter().map(|used| used.secret).collect();
    tx.lock(
        sql!("SELECT name FROM secrets WHERE name", (among 1 text), " ORDER BY name", for_update),
        values![json!(names).to_string()],
    )
    .await?;
    let missing: Vec<String> = missing(tx, configuration).await?.iter().map(SecretUse::missing).collect();
    if missing.is_empty() { Ok(()) } else { Err(LedgerError::Refused(missing.join("\n"))) }
}
