//! The two databases: an empty one for each test, and SQL past the ledger to prepare and to look at what no function shows.

use chrono::TimeDelta;
use futures::FutureExt as _;
use regua_ledger::Ledger;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Connection as _};
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use uuid::Uuid;

/// Names the PostgreSQL database in which each test makes a schema of its own.
const VARIABLE: &str = "REGUA_TEST_DATABASE_URL";

/// How long a test waits for another transaction to meet a lock.
const BLOCKED_WITHIN: std::time::Duration = std::time::Duration::from_secs(4);

/// An empty database.
pub struct Fixture {
    /// What `Ledger::open` takes.
    pub url: String,
    raw: Raw,
}

enum Raw {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Tries a rule on a new SQLite file.
pub async fn on_sqlite<F: Future<Output = ()>>(rule: impl FnOnce(Fixture) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/regua.db", folder.path().display());
    let raw = SqlitePoolOptions::new().max_connections(2).connect_lazy(&url).unwrap();
    rule(Fixture { url, raw: Raw::Sqlite(raw) }).await;
}

/// Tries a rule in a new schema, which goes with the test, failed or not.
pub async fn on_postgres<F: Future<Output = ()>>(rule: impl FnOnce(Fixture) -> F) {
    let in_schema = |server: &str, schema: &str| {
        let sign = if server.contains('?') { '&' } else { '?' };
        format!("{server}{sign}options=-c%20search_path%3D{schema}")
    };
    apart("SCHEMA", "CASCADE", in_schema, rule).await;
}

/// Tries a rule in a new database, for what is a whole database's.
#[allow(dead_code, reason = "the tests of plans share this file")]
pub async fn on_own_database<F: Future<Output = ()>>(rule: impl FnOnce(Fixture) -> F) {
    let of_server = |server: &str, database: &str| {
        let (address, settings) = server.split_once('?').map_or((server, None), |(address, settings)| (address, Some(settings)));
        let (host, _) = address.rsplit_once('/').unwrap();
        format!("{host}/{database}{}", settings.map(|settings| format!("?{settings}")).unwrap_or_default())
    };
    apart("DATABASE", "WITH (FORCE)", of_server, rule).await;
}

async fn apart<F: Future<Output = ()>>(
    kind: &str,
    drop_how: &str,
    url: impl Fn(&str, &str) -> String,
    rule: impl FnOnce(Fixture) -> F,
) {
    let server = std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} must name a PostgreSQL database that the tests may write to; `cargo xtask test` starts one and sets it"
        )
    });
    let name = format!("regua_test_{}", Uuid::now_v7().simple());
    let mut owner = PgConnection::connect(&server).await.unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE {kind} {name}"))).execute(&mut owner).await.unwrap();
    let url = url(&server, &name);
    let raw = PgPoolOptions::new().max_connections(2).connect_lazy(&url).unwrap();
    let fixture = Fixture { url, raw: Raw::Postgres(raw) };
    let result = AssertUnwindSafe(rule(fixture)).catch_unwind().await;
    let dropped = sqlx::raw_sql(AssertSqlSafe(format!("DROP {kind} {name} {drop_how}"))).execute(&mut owner).await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
    dropped.unwrap();
}

impl Fixture {
    /// A ledger over this database, as another process would have it; not migrated.
    pub async fn open(&self) -> Ledger {
        Ledger::open(&self.url).await.unwrap()
    }

    pub const fn is_sqlite(&self) -> bool {
        matches!(self.raw, Raw::Sqlite(_))
    }

    /// Runs one statement past the ledger; how many rows it touched.
    pub async fn try_execute(&self, sql: impl Into<String>) -> Result<u64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.into());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::raw_sql(sql).execute(pool).await.map(|done| done.rows_affected()),
            Raw::Sqlite(pool) => sqlx::raw_sql(sql).execute(pool).await.map(|done| done.rows_affected()),
        }
    }

    /// Runs one statement that must work.
    pub async fn execute(&self, sql: impl Into<String>) -> u64 {
        let sql = sql.into();
        self.try_execute(sql.clone()).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The whole number that a statement returns; nothing for NULL.
    pub async fn number(&self, sql: impl Into<String>) -> Option<i64> {
        let sql = AssertSqlSafe(sql.into());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
            Raw::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    /// A count that a statement returns.
    pub async fn count(&self, what: &str) -> i64 {
        self.number(format!("SELECT count(*) FROM {what}")).await.unwrap()
    }

    /// The texts of a statement's one column.
    pub async fn texts(&self, sql: impl Into<String>) -> Vec<Option<String>> {
        let sql = AssertSqlSafe(sql.into());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
            Raw::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        }
    }

    /// The one text of a statement.
    pub async fn text(&self, sql: impl Into<String>) -> Option<String> {
        let mut texts = self.texts(sql).await;
        assert_eq!(texts.len(), 1, "one row");
        texts.remove(0)
    }

    /// Moves the ledger's clock.
    pub async fn advance(&self, by: TimeDelta) {
        let us = by.num_microseconds().unwrap();
        assert_eq!(self.execute(format!("UPDATE ledger SET clock_offset_us = clock_offset_us + {us}")).await, 1);
    }

    /// The pool on SQLite.
    #[allow(dead_code, reason = "for the tests of plans, which share this file")]
    pub const fn sqlite(&self) -> Option<&SqlitePool> {
        match &self.raw {
            Raw::Sqlite(pool) => Some(pool),
            Raw::Postgres(_) => None,
        }
    }

    /// Waits until something waits for a lock of `holder`, a transaction on PostgreSQL; the holder's number.
    pub async fn blocked_by(&self, holder: &mut PgConnection) -> i32 {
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(holder).await.unwrap();
        let blocked = format!("SELECT count(*) FROM pg_stat_activity WHERE {pid} = ANY(pg_blocking_pids(pid))");
        let deadline = tokio::time::Instant::now() + BLOCKED_WITHIN;
        while self.number(&blocked).await.unwrap() == 0 {
            assert!(tokio::time::Instant::now() < deadline, "nothing ever waited for the lock");
            tokio::task::yield_now().await;
        }
        pid
    }

    /// Waits until something waits for what waits for that holder, or `is_over`.
    #[allow(dead_code, reason = "the tests of plans share this file")]
    pub async fn blocked_behind(&self, pid: i32, is_over: impl Fn() -> bool) {
        let blocked = format!(
            "SELECT count(*) FROM pg_stat_activity near JOIN pg_stat_activity far ON near.pid = ANY(pg_blocking_pids(far.pid))
             WHERE {pid} = ANY(pg_blocking_pids(near.pid))"
        );
        let deadline = tokio::time::Instant::now() + BLOCKED_WITHIN;
        while !is_over() && self.number(&blocked).await.unwrap() == 0 {
            assert!(tokio::time::Instant::now() < deadline, "nothing ever waited behind it");
            tokio::task::yield_now().await;
        }
    }

    /// The pool on PostgreSQL, for what only two connections show.
    pub const fn postgres(&self) -> Option<&PgPool> {
        match &self.raw {
            Raw::Postgres(pool) => Some(pool),
            Raw::Sqlite(_) => None,
        }
    }
}
