//! The schema's history: forward only, expand then contract.

use crate::database::{Database, Tx};
use crate::error::LedgerError;
use crate::new_id;

/// A migration's text for each database.
struct Migration {
    postgres: &'static str,
    sqlite: &'static str,
}

/// A migration by the name of its files.
macro_rules! migration {
    ($name:literal) => {
        Migration {
            postgres: include_str!(concat!("../migrations/postgres/", $name, ".sql")),
            sqlite: include_str!(concat!("../migrations/sqlite/", $name, ".sql")),
        }
    };
}

/// Every migration, the first one first; its number is its place, from 1.
const MIGRATIONS: &[Migration] = &[
    migration!("0001_initial"),
    migration!("0002_policies"),
    migration!("0003_sending_times"),
    migration!("0004_tasks"),
    migration!("0005_holds"),
    migration!("0006_events"),
    migration!("0007_consent"),
    migration!("0008_notices"),
    migration!("0009_payments"),
    migration!("0010_turns"),
    migration!("0011_audit"),
    migration!("0015_receipts"),
];

/// Brings the schema up to date in one transaction under a lock.
pub(crate) async fn run(db: &Database) -> Result<(), LedgerError> {
    db.write(|tx| Box::pin(migrate(tx))).await
}

async fn migrate(tx: &mut Tx) -> Result<(), LedgerError> {
    // The number is arbitrary and Régua's own; SQLite's writer is alone already.
    tx.script("SELECT pg_advisory_xact_lock(7264112309)", "SELECT 1").await?;
    tx.script(
        "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT",
    )
    .await?;
    let row = tx.fetch_one(sql!("SELECT COALESCE(MAX(version), 0) AS version FROM migrations"), vec![]).await?;
    let found = row.int("version")?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(LedgerError::Newer { found, known });
    }
    for (version, migration) in (1..).zip(MIGRATIONS) {
        if version <= found {
            continue;
        }
        tx.script(migration.postgres, migration.sqlite).await?;
        if version == 1 {
            let now = chrono::Utc::now();
            tx.execute(sql!("INSERT INTO ledger (id, created_at) VALUES ($1, $2)"), values![new_id(), now]).await?;
        }
        let now = tx.now().await?;
        tx.execute(sql!("INSERT INTO migrations (version, applied_at) VALUES ($1, $2)"), values![version, now]).await?;
        tracing::info!(version, "ledger.migrated");
    }
    Ok(())
}
