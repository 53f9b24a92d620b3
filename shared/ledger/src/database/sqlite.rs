//! SQLite: one write actor that group-commits what is pending, readers apart.
//!
//! Durability is `synchronous=FULL` always: with NORMAL the last commits can vanish on power loss after the request has
//! left (F8). A commit costs one fsync, so the actor runs every transaction that waits, each in its own savepoint where there are
//! several, and commits them together.

use super::{Body, REPEATS_MAX, Row, Tx, Value};
use crate::error::LedgerError;
use crate::simulation::{HostClock, StandStill};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, query::Query};
use std::{str::FromStr as _, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Transactions that one commit may carry.
const GROUP_MAX: usize = 64;
/// Transactions that may wait for the actor.
const WAITING_MAX: usize = 1024;
/// Readers at once.
const READERS_MAX: u32 = 4;
/// Prepared statements kept per connection: more than the ledger has.
const STATEMENTS_CACHED: usize = 256;
/// Rows on their way from the connection's own thread: a page, so that the two needn't wait for each other.
const ROWS_BUFFERED: usize = 1000;
/// How long another process's write is waited for (the command line beside a running `regua up`).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A SQLite database.
#[derive(Clone)]
pub struct Sqlite {
    jobs: mpsc::Sender<Box<dyn Job>>,
    readers: SqlitePool,
    clock: HostClock,
}

/// A connection, with the clock that its statements go by.
pub struct Connection {
    role: Role,
    clock: HostClock,
    _time_stands: Option<StandStill>,
}

enum Role {
    Writer(Box<SqliteConnection>),
    Reader(PoolConnection<sqlx::Sqlite>),
}

impl Sqlite {
    /// Opens or creates the file.
    pub(super) async fn open(url: &str) -> Result<Self, LedgerError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|_| LedgerError::Url { expected: "sqlite://path/to/regua.db" })?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        Self::connect(options, HostClock::Host).await
    }

    /// A new database in memory, for a simulation: SQLite's own memory file system lets the writer and the readers share it.
    pub(super) async fn in_memory(clock: HostClock) -> Result<Self, LedgerError> {
        let options = SqliteConnectOptions::new()
            .filename(format!("/regua-{}", crate::new_id()))
            .vfs("memdb")
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off);
        Self::connect(options, clock).await
    }

    async fn connect(options: SqliteConnectOptions, clock: HostClock) -> Result<Self, LedgerError> {
        let options = options
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS_CACHED)
            .row_buffer_size(ROWS_BUFFERED)
            .disable_statement_logging();
        let time_stands = clock.stand_still();
        let writer = SqliteConnection::connect_with(&options).await?;
        drop(time_stands);
        // No ping before each use: a file's connection doesn't go away.
        let readers = SqlitePoolOptions::new().max_connections(READERS_MAX).test_before_acquire(false);
        let readers = readers.connect_lazy_with(options.clone());
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let writer = Connection { role: Role::Writer(Box::new(writer)), clock, _time_stands: None };
        tokio::spawn(Actor { tx: Tx::Sqlite(writer), waiting }.run());
        Ok(Self { jobs, readers, clock })
    }

    pub(super) async fn read(&self) -> Result<Tx, LedgerError> {
        let time_stands = self.clock.stand_still();
        let role = Role::Reader(self.readers.acquire().await?);
        Ok(Tx::Sqlite(Connection { role, clock: self.clock, _time_stands: time_stands }))
    }

    pub(super) async fn write<T: Send + 'static>(&self, body: Body<T>, limit: Duration) -> Result<T, LedgerError> {
        let _time_stands = self.clock.stand_still();
        let (reply, answer) = oneshot::channel();
        let job = Transaction { body, limit, result: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| LedgerError::Closed)?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }

    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(Box::new(Close(Some(done)))).await.is_ok() && closed.await.is_err() {
            tracing::debug!("ledger.actor_was_gone");
        }
        self.readers.close().await;
    }
}

/// One transaction that waits for the actor.
trait Job: Send {
    /// Runs the work inside the open transaction; whether it shall be kept.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, bool>;
    /// The group's commit ended so.
    fn finish(self: Box<Self>, commit: Option<LedgerError>);
    /// Whether the actor shall end after this group.
    fn closes(&self) -> bool {
        false
    }
}

struct Transaction<T> {
    body: Body<T>,
    limit: Duration,
    result: Option<Result<T, LedgerError>>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<T: Send + 'static> Job for Transaction<T> {
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, bool> {
        Box::pin(async move {
            // A panic in one body must not end the writing of all.
            let body = std::panic::AssertUnwindSafe((self.body)(tx)).catch_unwind();
            let result = match tokio::time::timeout(self.limit, body).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(LedgerError::Panicked),
                Err(_) => Err(LedgerError::TimedOut),
            };
            let keep = result.is_ok();
            self.result = Some(result);
            keep
        })
    }

    fn finish(self: Box<Self>, commit: Option<LedgerError>) {
        let result = match (self.result, commit) {
            (Some(Ok(_)), Some(error)) => Err(error),
            (Some(result), _) => result,
            (None, error) => Err(error.unwrap_or(LedgerError::Closed)),
        };
        if self.reply.send(result).is_err() {
            tracing::debug!("ledger.caller_left");
        }
    }
}

struct Close(Option<oneshot::Sender<()>>);

impl Job for Close {
    fn run<'t>(&'t mut self, _tx: &'t mut Tx) -> BoxFuture<'t, bool> {
        Box::pin(std::future::ready(true))
    }

    fn finish(mut self: Box<Self>, _commit: Option<LedgerError>) {
        if let Some(done) = self.0.take()
            && done.send(()).is_err()
        {
            tracing::debug!("ledger.caller_left");
        }
    }

    fn closes(&self) -> bool {
        true
    }
}

struct Actor {
    tx: Tx,
    waiting: mpsc::Receiver<Box<dyn Job>>,
}

impl Actor {
    async fn run(mut self) {
        let mut group: Vec<Box<dyn Job>> = Vec::with_capacity(GROUP_MAX);
        while self.waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
            let closes = group.iter().any(|job| job.closes());
            let failure = self.commit_group(&mut group).await.err();
            let failure = failure.map(|error| error.to_string());
            for job in group.drain(..) {
                job.finish(failure.as_ref().map(|text| LedgerError::Database(sqlx::Error::Protocol(text.clone()))));
            }
            if closes {
                break;
            }
        }
    }

    async fn commit_group(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), LedgerError> {
        self.begin().await?;
        if let [job] = group {
            let keep = job.run(&mut self.tx).await;
            return self.end(keep).await;
        }
        for job in group.iter_mut() {
            self.tx.script("", "SAVEPOINT job").await?;
            let keep = job.run(&mut self.tx).await;
            self.tx.script("", if keep { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" }).await?;
        }
        self.end(true).await
    }

    async fn end(&mut self, keep: bool) -> Result<(), LedgerError> {
        if !keep {
            return self.tx.script("", "ROLLBACK").await;
        }
        let committed = self.tx.script("", "COMMIT").await;
        if committed.is_err() {
            self.tx.script("", "ROLLBACK").await?;
        }
        committed
    }

    /// Begins, repeating while another process writes; a transaction left open by a failure is rolled back first.
    async fn begin(&mut self) -> Result<(), LedgerError> {
        let mut repeats = 0;
        loop {
            match self.tx.script("", "BEGIN IMMEDIATE").await {
                Err(error) if repeats < REPEATS_MAX => {
                    repeats += 1;
                    tracing::debug!(%error, "ledger.begin_repeated");
                    if self.tx.script("", "ROLLBACK").await.is_err() {
                        tracing::trace!("ledger.no_transaction_was_open");
                    }
                }
                result => return result,
            }
        }
    }
}

impl Connection {
    fn inner(&mut self) -> &mut SqliteConnection {
        match &mut self.role {
            Role::Writer(connection) => connection,
            Role::Reader(connection) => connection,
        }
    }

    /// The clock of the one process.
    pub(super) const fn clock(&self) -> HostClock {
        self.clock
    }

    pub(super) async fn fetch(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, LedgerError> {
        let rows = bound(sql, values).fetch_all(self.inner()).await?;
        Ok(rows.into_iter().map(Row::Sqlite).collect())
    }

    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, LedgerError> {
        Ok(bound(sql, values).execute(self.inner()).await?.rows_affected())
    }

    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), LedgerError> {
        self.inner().execute(sqlx::raw_sql(sql)).await?;
        Ok(())
    }
}

fn bound(sql: &'static str, values: Vec<Value>) -> Query<'static, sqlx::Sqlite, SqliteArguments> {
    let query = sqlx::query(sql);
    values.into_iter().fold(query, |query, value| match value {
        Value::Null(_) => query.bind(None::<String>),
        Value::Flag(flag) => query.bind(flag),
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::Id(id) => query.bind(id.to_string()),
    })
}
