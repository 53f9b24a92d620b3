//! What the database under the ledger is and how it is set, for whoever asks whether the ledger's promises can hold on it.

use crate::Ledger;
use crate::database::{Database, Tx};
use crate::error::LedgerError;
use crate::migrations;

/// The schema that this Régua knows: how many migrations there are.
pub const SCHEMA: u32 = migrations::KNOWN;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The schema that the ledger has; 0 before the first migration.
    pub schema: u32,
    /// Its database.
    pub engine: Engine,
}

/// Which database, and how it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL.
    Postgres(PostgresFacts),
    /// SQLite.
    Sqlite(SqliteFacts),
}

/// A PostgreSQL server as a session of the ledger's sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "settings of the server's, each on or off")]
pub struct PostgresFacts {
    /// `server_version_num`: 150004 is 15.4.
    pub version: u32,
    /// Whether it is a standby, which takes no writes.
    pub in_recovery: bool,
    /// `fsync`.
    pub fsync: bool,
    /// `full_page_writes`.
    pub full_page_writes: bool,
    /// `synchronous_commit`: on, off, local, `remote_write`, `remote_apply`.
    pub synchronous_commit: String,
    /// Whether commits wait for a standby.
    pub has_synchronous_standby: bool,
    /// `max_connections` without those kept for superusers.
    pub connections_max: u64,
    /// Connections of clients now, this one among them.
    pub connections_used: u64,
    /// Which of the time-outs that a connection asks for don't hold: a pooler in between drops them.
    pub lost_bounds: Vec<&'static str>,
    /// The size of the database in bytes.
    pub bytes: u64,
}

/// A SQLite file as the ledger's writer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteFacts {
    /// Its version.
    pub version: String,
    /// `journal_mode`: wal.
    pub journal_mode: String,
    /// `synchronous`: 2 is FULL, 3 EXTRA.
    pub synchronous: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
}

impl Ledger {
    /// Connects once and says what is wrong where that fails, which the pool, trying again and again, doesn't tell.
    ///
    /// # Errors
    /// What the server or the way to it says.
    pub async fn reach(&self) -> Result<(), LedgerError> {
        self.db.reach().await
    }

    /// Looks at the schema's version and at the database's settings; changes nothing, and needs no schema.
    pub async fn inspect(&self) -> Result<Inspection, LedgerError> {
        let mut tx = self.db.read().await?;
        let schema = schema(&mut tx).await?;
        let engine = match &self.db {
            Database::Postgres(_) => Engine::Postgres(postgres(&mut tx).await?),
            Database::Sqlite(_) => {
                drop(tx);
                Engine::Sqlite(self.db.write(|tx| Box::pin(sqlite(tx))).await?)
            }
        };
        Ok(Inspection { schema, engine })
    }

    /// Writes the ledger's own row as it is and commits: whether a write can be made at all, and how long one takes.
    pub async fn write_nothing(&self) -> Result<(), LedgerError> {
        self.db
            .write(|tx| {
                Box::pin(async move {
                    let written = tx.execute(sql!("UPDATE ledger SET one = one"), vec![]).await?;
                    if written == 1 { Ok(()) } else { Err(LedgerError::MissingRow) }
                })
            })
            .await
    }

    /// What SQLite finds wrong with its file, in its own words; `None` for nothing, and for PostgreSQL, which has no such look. It reads the
    /// whole file.
    pub async fn quick_check(&self) -> Result<Option<String>, LedgerError> {
        if !self.is_embedded() {
            return Ok(None);
        }
        let row = self.db.read().await?.fetch_one(sql!("PRAGMA quick_check(1)"), vec![]).await?;
        Ok(Some(row.text("quick_check")?).filter(|said| said != "ok"))
    }
}

async fn schema(tx: &mut Tx) -> Result<u32, LedgerError> {
    let there = sql!({ postgres: "SELECT CASE WHEN to_regclass('migrations') IS NULL THEN 0::BIGINT ELSE 1::BIGINT END AS n",
                       sqlite: "SELECT count(*) AS n FROM sqlite_master WHERE type = 'table' AND name = 'migrations'" });
    if tx.fetch_one(there, vec![]).await?.count("n")? == 0 {
        return Ok(0);
    }
    tx.fetch_one(sql!("SELECT COALESCE(MAX(version), 0) AS version FROM migrations"), vec![]).await?.small("version")
}

async fn postgres(tx: &mut Tx) -> Result<PostgresFacts, LedgerError> {
    let row = tx
        .fetch_one(
            sql!(
                "SELECT CAST(current_setting('server_version_num') AS BIGINT) AS version, pg_is_in_recovery() AS in_recovery,
                        current_setting('fsync') = 'on' AS fsync, current_setting('full_page_writes') = 'on' AS full_page_writes,
                        current_setting('synchronous_commit') AS synchronous_commit,
                        current_setting('synchronous_standby_names') <> '' AS has_standby,
                        CAST(current_setting('max_connections') AS BIGINT)
                            - CAST(current_setting('superuser_reserved_connections') AS BIGINT) AS connections_max,
                        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections_used,
                        current_setting('statement_timeout') AS statement_timeout, current_setting('lock_timeout') AS lock_timeout,
                        current_setting('idle_in_transaction_session_timeout') AS idle_in_transaction_session_timeout,
                        pg_database_size(current_database()) AS bytes"
            ),
            vec![],
        )
        .await?;
    let mut lost_bounds = Vec::new();
    for (name, value) in Database::POSTGRES_BOUNDS {
        if row.text(name)? != value {
            lost_bounds.push(name);
        }
    }
    Ok(PostgresFacts {
        version: row.small("version")?,
        in_recovery: row.flag("in_recovery")?,
        fsync: row.flag("fsync")?,
        full_page_writes: row.flag("full_page_writes")?,
        synchronous_commit: row.text("synchronous_commit")?,
        has_synchronous_standby: row.flag("has_standby")?,
        connections_max: row.count("connections_max")?,
        connections_used: row.count("connections_used")?,
        lost_bounds,
        bytes: row.count("bytes")?,
    })
}

async fn sqlite(tx: &mut Tx) -> Result<SqliteFacts, LedgerError> {
    let row = tx
        .fetch_one(
            sql!(
                "SELECT sqlite_version() AS version, (SELECT journal_mode FROM pragma_journal_mode) AS journal_mode,
                        (SELECT synchronous FROM pragma_synchronous) AS synchronous,
                        (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) AS bytes"
            ),
            vec![],
        )
        .await?;
    Ok(SqliteFacts {
        version: row.text("version")?,
        journal_mode: row.text("journal_mode")?,
        synchronous: row.count("synchronous")?,
        bytes: row.count("bytes")?,
    })
}
