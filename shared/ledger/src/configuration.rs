//! The configuration in the ledger: applied as a whole, read back as a whole.
//!
//! Entries are known by name. What a file no longer names is never deleted, for history refers to it: its integrations, policies,
//! tasks and sources are switched off, the rest stays unused. What is read back leaves out notices of integrations that are off, and the
//! stages that speak through them: no file may name either.

mod changes;
mod read;
mod write;

pub(crate) use read::{read_closed_day, read_secret};

use crate::Ledger;
use crate::audit::{self, By};
use crate::database::Tx;
use crate::error::LedgerError;
use crate::secrets;
use crate::settings::{self, Settings};
use regua_domain::calendar::Calendar;
use regua_domain::configuration::{Configuration, Policy};
use regua_domain::window::WeekHours;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// Ids by name of one section.
type Ids = HashMap<String, Uuid>;

impl Ledger {
    /// As [`Ledger::apply_configuration_by`], by a process of its own accord.
    pub async fn apply_configuration(&self, configuration: Configuration) -> Result<(), LedgerError> {
        self.apply_configuration_by(configuration, By { who: "regua".into(), why: None }).await
    }

    /// Applies a whole configuration in one transaction: all of it or nothing. The audit log says who did, and what changed.
    pub async fn apply_configuration_by(&self, configuration: Configuration, by: By) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let (configuration, by) = (configuration.clone(), by.clone());
                Box::pin(async move { apply(tx, &configuration, &by).await })
            })
            .await
    }

    /// Applies what a file said at a start, unless the same file was the last one applied so: a process that starts again must not undo what
    /// an operator applied since. Whether it was applied.
    pub async fn apply_file_once(&self, configuration: Configuration) -> Result<bool, LedgerError> {
        let text = serde_json::to_string(&configuration)
            .map_err(|_| LedgerError::unreadable("configuration", "a configuration that is no JSON"))?;
        self.db
            .write(move |tx| {
                let (configuration, text) = (configuration.clone(), text.clone());
                Box::pin(async move {
                    let known = tx
                        .execute(
                            sql!(
                                "INSERT INTO settings (name, value) VALUES ('applied_file', $1)
                                 ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE settings.value <> excluded.value"
                            ),
                            values![text],
                        )
                        .await?;
                    if known == 0 {
                        return Ok(false);
                    }
                    apply(tx, &configuration, &By { who: "REGUA_CONFIG".into(), why: None }).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// The configuration in force; `None` while nothing was ever applied.
    pub async fn configuration(&self) -> Result<Option<Configuration>, LedgerError> {
        let mut tx = self.db.read().await?;
        in_force(&mut tx).await
    }
}

async fn in_force(tx: &mut Tx) -> Result<Option<Configuration>, LedgerError> {
    let applied = tx.fetch_one(sql!("SELECT count(*) AS n FROM settings WHERE name = 'provider'"), vec![]).await?;
    if applied.count("n")? == 0 {
        return Ok(None);
    }
    read::configuration(tx).await.map(Some)
}

async fn apply(tx: &mut Tx, configuration: &Configuration, by: &By) -> Result<(), LedgerError> {
    secrets::are_there(tx, configuration).await?;
    let old = match in_force(tx).await {
        // What another version wrote is replaced all the same.
        Err(LedgerError::Unreadable { .. }) => None,
        old => old?,
    };
    let now = tx.now().await?;
    audit::note(tx, changes::entry(old.as_ref(), configuration, by), now).await?;
    let settings = Settings {
        window: configuration.window.clone(),
        calendar: Calendar { municipal: configuration.holidays.clone() },
        own_hours: own_hours(configuration),
        caps: configuration.caps,
        expiry: configuration.expiry,
        approval: configuration.approval,
        retention: configuration.retention,
        pilot: configuration.pilot.clone(),
        price: configuration.price,
        provider: configuration.provider.clone(),
    };
    let today = settings.times().date_at(now);
    settings::store(tx, &settings, now).await?;
    let businesses = write::businesses(tx, configuration).await?;
    let integrations = write::integrations(tx, &configuration.integrations).await?;
    let channels = write::channels(tx, &configuration.channels, &integrations, &businesses, now).await?;
    let notices = write::notices(tx, &configuration.notices, &integrations, &channels).await?;
    let mut before: HashMap<String, Policy> = HashMap::new();
    for policy in read::policies(tx).await? {
        before.insert(policy.name.clone(), policy);
    }
    tx.execute(sql!("UPDATE policies SET enabled = $1"), values![false]).await?;
    for policy in &configuration.policies {
        write::policy(tx, policy, before.get(&policy.name), &notices, today).await?;
    }
    write::tasks(tx, &configuration.tasks, now).await?;
    tx.execute(sql!("UPDATE sources SET enabled = $1"), values![false]).await?;
    let names = serde_json::json!(configuration.sources.iter().map(|source| &source.name).collect::<Vec<_>>()).to_string();
    for source in &configuration.sources {
        write::source(tx, source, &names).await?;
    }
    Ok(())
}

/// The hours of policies and stages that are not those of the recipient's place, each once.
fn own_hours(configuration: &Configuration) -> Vec<WeekHours> {
    let of_policy = |policy: &Policy| policy.stages.iter().map(|stage| stage.hours).chain([policy.hours]).collect::<Vec<_>>();
    let hours: BTreeSet<WeekHours> = configuration.policies.iter().flat_map(of_policy).flatten().collect();
    hours.into_iter().collect()
}
