//! PostgreSQL: a pool, transactions repeated after deadlocks.

use super::row::Kind;
use super::{Body, Row, Tx, Value};
use crate::error::LedgerError;
use sqlx::Connection as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, query::Query};
use std::{str::FromStr as _, time::Duration};
use uuid::Uuid;

/// Connections of one process: dispatchers need two to four for their batches, the rest is for reading.
const CONNECTIONS_MAX: u32 = 10;
/// How long a free connection is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bounds for what hangs, of every connection.
pub(super) const BOUNDS: [(&str, &str); 3] =
    [("idle_in_transaction_session_timeout", "10s"), ("lock_timeout", "5s"), ("statement_timeout", "30s")];

/// Settings of every connection: plans along indexes for short statements, as all of ours are. The planner can't
/// know how few rows the JSON parameter of a batch has. It takes a hundred, and reads whole tables for them, in parallel or compiled, which
/// costs more than the statement is worth; a table without a fitting index is still read whole. The page cost is that of a disk without a
/// moving head.
const PLANS: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("random_page_cost", "1.1"), ("max_parallel_workers_per_gather", "0"), ("jit", "off")];

/// What takes that back in one transaction. Of the rest nothing is in the way of one that writes: its plans are never parallel.
pub(super) const WHOLE_TABLES: &str = "SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on";

/// What lets one transaction wait for a lock for longer than a connection's bounds allow.
pub(super) const PATIENCE: &str = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0";

/// PostgreSQL's "feature not supported", which says of a prepared statement that its columns are others now.
pub(crate) const OLD_PLAN: &str = "0A000";

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
}

/// One of its connections.
pub struct Connection(PoolConnection<sqlx::Postgres>);

/// A connection that holds a lock: the server frees it when it hears that the connection ended.
pub struct Hold {
    connection: sqlx::PgConnection,
    /// The server's process, and since when it is this connection's: its number alone may be another's after a restart.
    backend: (i32, String),
}

impl Hold {
    /// Whether the connection lives, and so the lock is still this one's.
    pub(super) async fn lasts(&mut self) -> bool {
        matches!(tokio::time::timeout(ACQUIRE_TIMEOUT, self.connection.ping()).await, Ok(Ok(())))
    }
}

impl Postgres {
    /// Prepares the pool; connects at the first use.
    pub(super) fn open(url: &str) -> Result<Self, LedgerError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| LedgerError::Url { expected: "postgres://user@host:port/database" })?
            .application_name("regua")
            .disable_statement_logging()
            .options(BOUNDS)
            .options(PLANS);
        let pool =
            PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Connects once, beside the pool.
    pub(super) async fn reach(&self) -> Result<(), LedgerError> {
        let options = self.pool.connect_options();
        let connection = tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await.map_err(|_| LedgerError::TimedOut)??;
        Ok(sqlx::Connection::close(connection).await?)
    }

    /// Takes a lock of the whole database for as long as the returned connection lives; `None` while another process has it.
    pub(super) async fn hold(&self, key: i64) -> Result<Option<Hold>, LedgerError> {
        let mut connection = self.pool.acquire().await?.detach();
        let taken = "SELECT pg_try_advisory_lock($1) AS held, pid, CAST(backend_start AS TEXT) AS since
                     FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = sqlx::query(taken).bind(key).fetch_one(&mut connection).await?;
        let backend = (sqlx::Row::try_get(&row, "pid")?, sqlx::Row::try_get(&row, "since")?);
        let held: bool = sqlx::Row::try_get(&row, "held")?;
        Ok(held.then_some(Hold { connection, backend }))
    }

    /// As [`hold`](Self::hold), after a connection that held it was lost, of which the server may not have heard.
    pub(super) async fn hold_again(&self, key: i64, lost: &Hold) -> Result<Option<Hold>, LedgerError> {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND CAST(backend_start AS TEXT) = $2";
        let mut connection = self.pool.acquire().await?;
        sqlx::query(end).bind(lost.backend.0).bind(&lost.backend.1).execute(&mut *connection).await?;
        self.hold(key).await
    }

    pub(super) async fn read(&self) -> Result<Tx, LedgerError> {
        Ok(Tx::Postgres(Connection(self.pool.acquire().await?)))
    }

    pub(super) async fn write<T>(&self, body: Body<T>, limit: Duration, repeats_max: u32) -> Result<T, LedgerError>
    where
        T: Send + 'static,
    {
        let mut repeats = 0;
        loop {
            let result = match tokio::time::timeout(limit, self.once(&body)).await {
                Ok(result) => result,
                Err(_) => Err(LedgerError::TimedOut),
            };
            match result {
                Err(error) if error.asks_for_repeat() && repeats < repeats_max => {
                    repeats += 1;
                    tracing::debug!(repeats, "ledger.transaction_repeated");
                }
                result => return result,
            }
        }
    }

    /// One try: begin, body, commit. A connection whose transaction didn't end cleanly is closed, not pooled.
    async fn once<T>(&self, body: &Body<T>) -> Result<T, LedgerError> {
        let tx = Tx::Postgres(Connection(self.pool.acquire().await?));
        Unfinished(Some(tx)).run(body).await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection with a transaction from its beginning on: dropped in the middle (a time-out, a cancelled caller) it is closed, not pooled.
struct Unfinished(Option<Tx>);

impl Unfinished {
    async fn run<T>(mut self, body: &Body<T>) -> Result<T, LedgerError> {
        let tx = self.0.as_mut().expect("present until the end of this function");
        tx.script("BEGIN", "").await?;
        let result = body(tx).await;
        let end = tx.script(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }, "").await;
        if end.is_ok() {
            drop(self.0.take());
        }
        match result {
            Ok(value) => end.map(|()| value),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(Tx::Postgres(Connection(connection))) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl Connection {
    pub(super) async fn fetch(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, LedgerError> {
        let rows = match bound(sql, &values).fetch_all(&mut *self.0).await {
            Err(error) if is_of_an_old_plan(&error) => {
                self.0.clear_cached_statements().await?;
                // In a transaction, which has failed by then, this fails too: it is repeated as a whole.
                bound(sql, &values).fetch_all(&mut *self.0).await.map_err(|_| error)?
            }
            result => result?,
        };
        Ok(rows.into_iter().map(Row::Postgres).collect())
    }

    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, LedgerError> {
        Ok(bound(sql, &values).execute(&mut *self.0).await?.rows_affected())
    }

    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), LedgerError> {
        (&mut *self.0).execute(sqlx::raw_sql(sql)).await?;
        Ok(())
    }
}

/// Whether a statement that was prepared before a migration would return other columns now (`SELECT *`): prepared anew, it runs.
fn is_of_an_old_plan(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(OLD_PLAN))
}

fn bound<'q>(sql: &'static str, values: &'q [Value]) -> Query<'q, sqlx::Postgres, PgArguments> {
    let query = sqlx::query(sql);
    values.iter().fold(query, |query, value| match value {
        Value::Null(Kind::Flag) => query.bind(None::<bool>),
        Value::Null(Kind::Int) => query.bind(None::<i64>),
        Value::Null(Kind::Text) => query.bind(None::<String>),
        Value::Null(Kind::Id) => query.bind(None::<Uuid>),
        Value::Flag(flag) => query.bind(*flag),
        Value::Int(number) => query.bind(*number),
        Value::Text(text) => query.bind(text),
        Value::Id(id) => query.bind(*id),
    })
}
