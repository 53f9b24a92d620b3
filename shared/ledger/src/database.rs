//! The seam between the ledger and its two databases: connections, transactions, SQL text, rows.
//!
//! Every statement is written once, with `sql!` marking the few places where the dialects differ; a transaction's body
//! is written once, against [`Tx`]. What differs for good lives in `postgres` and `sqlite`: how a transaction
//! begins, is repeated and ends.

#[macro_use]
mod sql;
#[macro_use]
mod row;
mod postgres;
mod sqlite;

pub(crate) use postgres::OLD_PLAN;
pub use row::{Row, Value};
pub(crate) use sql::Sql;

use crate::error::LedgerError;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a transaction may take before it is given up (invariant 8).
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a transaction is repeated after a deadlock, a serialisation failure or a busy database.
pub const REPEATS_MAX: u32 = 5;

/// A database of either kind. Cheap to clone.
#[derive(Clone)]
pub enum Database {
    /// PostgreSQL 15 or newer: a pool.
    Postgres(postgres::Postgres),
    /// SQLite: one write actor and a pool of readers.
    Sqlite(sqlite::Sqlite),
}

/// What one process or one transaction of the whole database does at a time: PostgreSQL's advisory locks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AdvisoryLock {
    /// Bringing the schema up to date.
    Migration,
    /// Having the broker inside: two would take each other's published hints for lost.
    MemoryBroker,
    /// Mending the kept counts: two would mend the same difference twice.
    Recount,
}

impl AdvisoryLock {
    /// The numbers are arbitrary and Régua's own.
    const fn key(self) -> i64 {
        match self {
            Self::Migration => 7_264_112_309,
            Self::MemoryBroker => 7_264_112_310,
            Self::Recount => 7_264_112_311,
        }
    }
}

/// An advisory lock that a process has: until this is dropped, or PostgreSQL ends its connection, as a restart does.
pub struct Hold(Option<postgres::Hold>);

impl Hold {
    /// Whether the process has it still. On SQLite, whose file is locked, always.
    pub async fn lasts(&mut self) -> bool {
        match &mut self.0 {
            Some(hold) => hold.lasts().await,
            None => true,
        }
    }
}

/// The work of one write transaction. It may run more than once: it must depend on nothing but its captures and the database.
pub type Body<T> = Arc<dyn for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, LedgerError>> + Send + Sync>;

impl Database {
    /// The bounds of time that each connection to PostgreSQL asks for, as the server shows them.
    pub(crate) const POSTGRES_BOUNDS: [(&'static str, &'static str); 3] = postgres::BOUNDS;

    /// Connects once; what is wrong is told, where the pool only tries again. SQLite's file is open already.
    pub(crate) async fn reach(&self) -> Result<(), LedgerError> {
        match self {
            Self::Postgres(database) => database.reach().await,
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Opens `postgres://…` or `sqlite://path`.
    ///
    /// # Errors
    /// [`LedgerError::Url`] for any other scheme; [`LedgerError::Database`] when SQLite can't open its file. PostgreSQL
    /// connects lazily, so an unreachable server shows at the first use.
    pub async fn open(url: &str) -> Result<Self, LedgerError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            postgres::Postgres::open(url).map(Self::Postgres)
        } else if url.starts_with("sqlite:") {
            sqlite::Sqlite::open(url).await.map(Self::Sqlite)
        } else {
            Err(LedgerError::Url { expected: "postgres://user@host/database or sqlite://file.db" })
        }
    }

    /// A new SQLite database in memory whose clock is the simulation's.
    pub(crate) async fn in_memory(clock: crate::simulation::HostClock) -> Result<Self, LedgerError> {
        sqlite::Sqlite::in_memory(clock).await.map(Self::Sqlite)
    }

    /// Runs `body` in one write transaction: repeated after deadlocks and busy databases, committed, then returned.
    ///
    /// # Errors
    /// Whatever `body` returns, after a roll-back; [`LedgerError::Database`] when the commit fails, in which case it may
    /// nevertheless have happened.
    pub async fn write<T, F>(&self, body: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, LedgerError>> + Send + Sync + 'static,
    {
        self.write_as(Arc::new(body), TRANSACTION_TIMEOUT, REPEATS_MAX).await
    }

    /// As [`Database::write`], tried once and with another bound: for what may read tables of millions of rows.
    pub(crate) async fn write_once<T, F>(&self, limit: Duration, body: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, LedgerError>> + Send + Sync + 'static,
    {
        self.write_as(Arc::new(body), limit, 0).await
    }

    async fn write_as<T: Send + 'static>(&self, body: Body<T>, limit: Duration, repeats_max: u32) -> Result<T, LedgerError> {
        match self {
            Self::Postgres(database) => database.write(body, limit, repeats_max).await,
            Self::Sqlite(database) => database.write(body, limit).await,
        }
    }

    /// Takes a lock for as long as the result lives; `None` while another process has it. SQLite has one process anyway, which the file's lock
    /// sees to.
    pub(crate) async fn hold(&self, lock: AdvisoryLock) -> Result<Option<Hold>, LedgerError> {
        match self {
            Self::Postgres(database) => Ok(database.hold(lock.key()).await?.map(|hold| Hold(Some(hold)))),
            Self::Sqlite(_) => Ok(Some(Hold(None))),
        }
    }

    /// As [`Database::hold`], after the process lost it.
    pub(crate) async fn hold_again(&self, lock: AdvisoryLock, lost: &Hold) -> Result<Option<Hold>, LedgerError> {
        match (self, &lost.0) {
            (Self::Postgres(database), Some(lost)) => {
                Ok(database.hold_again(lock.key(), lost).await?.map(|hold| Hold(Some(hold))))
            }
            _ => self.hold(lock).await,
        }
    }

    /// A connection for reading. Its statements see committed data, each for itself.
    pub async fn read(&self) -> Result<Tx, LedgerError> {
        match self {
            Self::Postgres(database) => database.read().await,
            Self::Sqlite(database) => database.read().await,
        }
    }

    /// Ends every connection; on SQLite after the transactions that were handed in.
    pub async fn close(&self) {
        match self {
            Self::Postgres(database) => database.close().await,
            Self::Sqlite(database) => database.close().await,
        }
    }

    /// Whether this is SQLite: one process, small batches.
    pub const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

/// A connection of either database, inside a transaction or (from [`Database::read`]) outside of one.
pub enum Tx {
    /// A PostgreSQL connection.
    Postgres(postgres::Connection),
    /// A SQLite connection.
    Sqlite(sqlite::Connection),
}

impl Tx {
    /// Runs a statement that returns rows.
    pub(crate) async fn fetch(&mut self, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>, LedgerError> {
        sql.trace();
        match self {
            Self::Postgres(connection) => connection.fetch(sql.postgres, values).await,
            Self::Sqlite(connection) => connection.fetch(sql.sqlite, values).await,
        }
    }

    /// Runs a statement that returns at most one row.
    pub(crate) async fn fetch_optional(&mut self, sql: Sql, values: Vec<Value>) -> Result<Option<Row>, LedgerError> {
        Ok(self.fetch(sql, values).await?.into_iter().next())
    }

    /// Runs a statement that returns exactly one row.
    pub(crate) async fn fetch_one(&mut self, sql: Sql, values: Vec<Value>) -> Result<Row, LedgerError> {
        self.fetch_optional(sql, values).await?.ok_or(LedgerError::MissingRow)
    }

    /// Runs a statement for its effect; how many rows it touched.
    pub(crate) async fn execute(&mut self, sql: Sql, values: Vec<Value>) -> Result<u64, LedgerError> {
        sql.trace();
        match self {
            Self::Postgres(connection) => connection.execute(sql.postgres, values).await,
            Self::Sqlite(connection) => connection.execute(sql.sqlite, values).await,
        }
    }

    /// Locks the rows that a statement returns, in its order. On SQLite nothing is run: its one writer is alone.
    pub(crate) async fn lock(&mut self, sql: Sql, values: Vec<Value>) -> Result<(), LedgerError> {
        match self {
            Self::Postgres(_) => self.fetch(sql, values).await.map(drop),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Waits for a lock, as long as the transaction may last, and has it until its end. On SQLite nothing is run, as in [`Tx::lock`].
    pub(crate) async fn wait_for(&mut self, lock: AdvisoryLock) -> Result<(), LedgerError> {
        match self {
            Self::Postgres(connection) => {
                connection.script(postgres::PATIENCE).await?;
                self.execute(sql!("SELECT pg_advisory_xact_lock($1)"), values![lock.key()]).await.map(drop)
            }
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Lets this transaction read whole tables, for as long as that takes: bounds and plans of a connection are those of short statements.
    pub(crate) async fn read_whole_tables(&mut self) -> Result<(), LedgerError> {
        self.script(postgres::WHOLE_TABLES, "SELECT 1").await
    }

    /// Runs a migration: several statements without parameters.
    pub(crate) async fn script(&mut self, postgres: &'static str, sqlite: &'static str) -> Result<(), LedgerError> {
        match self {
            Self::Postgres(connection) => connection.script(postgres).await,
            Self::Sqlite(connection) => connection.script(sqlite).await,
        }
    }

    /// The ledger's clock, the only one that decides anything (invariant 9). Call it after the locks are held.
    ///
    /// PostgreSQL: the server's clock, not the transaction's start. SQLite: this host's, which is the one process's. Both
    /// plus the ledger's offset, which is zero but in demos and tests.
    pub(crate) async fn now(&mut self) -> Result<DateTime<Utc>, LedgerError> {
        let host_clock = self.host_clock();
        let row = self.fetch_one(sql!("SELECT ", (clock 1), " AS now FROM ledger"), vec![host_clock]).await?;
        row.instant("now")
    }

    /// The parameter of `(clock …)`: what this host adds to the ledger's clock. Nothing but on SQLite, whose clock is the one process's.
    pub(crate) fn host_clock(&self) -> Value {
        Value::Int(match self {
            Self::Postgres(_) => 0,
            Self::Sqlite(connection) => connection.clock().now().timestamp_micros(),
        })
    }
}

/// An instant as the ledger stores it: whole microseconds since 1970-01-01 UTC.
pub(crate) fn micros(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_micros()
}

/// An instant of stored microseconds; the epoch for what no calendar holds.
pub(crate) fn from_micros(micros: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH.checked_add_signed(TimeDelta::microseconds(micros)).unwrap_or(DateTime::UNIX_EPOCH)
}
