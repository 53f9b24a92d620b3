//! The schema's history: forward only, expand then contract.

use crate::database::{Database, Tx};
use crate::error::LedgerError;
use crate::new_id;
use std::time::Duration;

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
    migration!("0012_secrets"),
    migration!("0013_retention"),
    migration!("0014_receipts"),
    migration!("0015_gates"),
    migration!("0016_last_look"),
    migration!("0017_look_ups"),
    migration!("0018_told_early"),
    migration!("0019_counts"),
];

/// How long the migrations of a large ledger may take.
const MIGRATION_TIMEOUT: Duration = Duration::from_hours(1);

/// Brings the schema up to date in one transaction under a lock.
pub(crate) async fn run(db: &Database) -> Result<(), LedgerError> {
    db.write_within(MIGRATION_TIMEOUT, |tx| Box::pin(migrate(tx))).await
}

async fn migrate(tx: &mut Tx) -> Result<(), LedgerError> {
    // The number is arbitrary and Régua's own; SQLite's writer is alone already.
    tx.script("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(7264112309)", "SELECT 1").await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the migration that makes SQLite's table of integrations anew.
    const SECRETS: usize = 12;

    #[tokio::test]
    async fn integrations_that_channels_and_notices_refer_to_come_through_the_migration_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("regua.db").display());
        let db = Database::open(&url).await.expect("a new file");
        db.write(|tx| Box::pin(before(tx))).await.expect("the schema before");
        run(&db).await.expect("it migrates");
        let mut tx = db.read().await.expect("a reader");
        let row = tx.fetch_one(sql!("SELECT * FROM integrations"), vec![]).await.expect("it is there");
        let read = ["id", "name", "description", "token_kind", "token_ref"].map(|column| row.text(column).expect("a text"));
        assert_eq!(read, ["i", "Matriz", "d", "env", "OPA"]);
        assert_eq!((row.int("released_through_at").ok(), row.flag("enabled").ok()), (Some(7), Some(false)));
        assert!(tx.fetch(sql!("PRAGMA foreign_key_check"), vec![]).await.expect("a check").is_empty());
        let orphaned = db.write(|tx| Box::pin(tx.execute(sql!("DELETE FROM integrations"), vec![]))).await;
        assert!(orphaned.is_err_and(|error| error.is_violation()), "channels still refer to it");
    }

    /// The schema before, with an integration in use.
    async fn before(tx: &mut Tx) -> Result<(), LedgerError> {
        tx.script("", "CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT").await?;
        for migration in &MIGRATIONS[..SECRETS - 1] {
            tx.script("", migration.sqlite).await?;
        }
        tx.script(
            "",
            "INSERT INTO ledger (id, created_at) VALUES ('018f0000-0000-7000-8000-000000000001', 0);
             INSERT INTO migrations (version, applied_at) VALUES (11, 0);
             INSERT INTO businesses (id, name) VALUES ('b', 'Provedor');
             INSERT INTO integrations (id, name, description, gateway, url, token_kind, token_ref, is_default, release,
                released_through_at, enabled) VALUES ('i', 'Matriz', 'd', 'opa-suite', 'https://x', 'env', 'OPA', 1, 'on-task', 7, 0);
             INSERT INTO channels (id, name, integration_id, provider_id, business_id) VALUES ('c', 'Cobranca', 'i', 'p', 'b');",
        )
        .await
    }
}
