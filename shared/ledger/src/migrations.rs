//! The schema's history: forward only, expand then contract.

use crate::database::{Database, Tx};
use crate::error::LedgerError;
use crate::new_id;

/// A migration's text for each database.
struct Migration {
    postgres: &'static str,
    sqlite: &'static str,
}

/// Every migration, the first one first; its number is its place, from 1.
const MIGRATIONS: &[Migration] = &[
    Migration {
        postgres: include_str!("../migrations/postgres/0001_initial.sql"),
        sqlite: include_str!("../migrations/sqlite/0001_initial.sql"),
    },
    Migration {
        postgres: include_str!("../migrations/postgres/0002_policies.sql"),
        sqlite: include_str!("../migrations/sqlite/0002_policies.sql"),
    },
    Migration {
        postgres: include_str!("../migrations/postgres/0003_sending_times.sql"),
        sqlite: include_str!("../migrations/sqlite/0003_sending_times.sql"),
    },
    Migration {
        postgres: include_str!("../migrations/postgres/0004_tasks.sql"),
        sqlite: include_str!("../migrations/sqlite/0004_tasks.sql"),
    },
    Migration {
        postgres: include_str!("../migrations/postgres/0005_holds.sql"),
        sqlite: include_str!("../migrations/sqlite/0005_holds.sql"),
    },
    Migration {
        postgres: include_str!("../migrations/postgres/0006_events.sql"),
        sqlite: include_str!("../migrations/sqlite/0006_events.sql"),
    },
    Migration {
        postgres: include_str!("../migrations/postgres/0007_consent.sql"),
        sqlite: include_str!("../migrations/sqlite/0007_consent.sql"),
    },
    Migration {
        postgres: include_str!("../migrations/postgres/0008_notices.sql"),
        sqlite: include_str!("../migrations/sqlite/0008_notices.sql"),
    },
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
