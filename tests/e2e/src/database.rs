//! SQL past the ledger, for what no function of it shows or does: looking, breaking, and moving the clock.

use chrono::TimeDelta;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Row};
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;
use uuid::Uuid;

/// How long another process's write is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A number per name.
pub type Count = (String, i64);

/// A ledger's database.
#[derive(Clone)]
pub struct Database {
    /// What `REGUA_DATABASE_URL` says.
    pub url: String,
    raw: Raw,
}

#[derive(Clone)]
enum Raw {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Database {
    /// A new schema on a server; [`Database::drop_schema`] removes it.
    pub(crate) async fn new_schema(server: &str) -> (Self, String) {
        let schema = format!("regua_e2e_{}", Uuid::now_v7().simple());
        let mut owner = PgConnection::connect(server).await.unwrap_or_else(|error| panic!("PostgreSQL: {error}"));
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut owner).await.expect("a schema can be made");
        let sign = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{sign}options=-c%20search_path%3D{schema}");
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url).expect("the URL was just used");
        (Self { url, raw: Raw::Postgres(pool) }, schema)
    }

    /// Removes a schema, from outside of any runtime.
    pub(crate) fn drop_schema(server: String, schema: String) {
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut owner = PgConnection::connect(&server).await?;
                sqlx::raw_sql(AssertSqlSafe(format!("SET lock_timeout = '10s'; DROP SCHEMA {schema} CASCADE")))
                    .execute(&mut owner)
                    .await?;
                Ok::<_, sqlx::Error>(())
            })
        });
        match dropping.join() {
            Ok(Ok(())) => {}
            // A server of the test's own may have gone before.
            Ok(Err(error)) => eprintln!("the test's schema stays: {error}"),
            Err(_) => eprintln!("the test's schema stays"),
        }
    }

    /// The SQLite file of an embedded ledger, which another process may be writing to.
    pub fn sqlite(path: &Path) -> Self {
        let url = format!("sqlite://{}", path.display());
        let options = SqliteConnectOptions::from_str(&url).expect("a path").busy_timeout(BUSY_TIMEOUT);
        Self { url, raw: Raw::Sqlite(SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options)) }
    }

    /// Runs statements; how many rows the last one touched.
    pub async fn execute(&self, sql: &str) -> u64 {
        let safe = AssertSqlSafe(sql.to_owned());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::raw_sql(safe).execute(pool).await.map(|done| done.rows_affected()),
            Raw::Sqlite(pool) => sqlx::raw_sql(safe).execute(pool).await.map(|done| done.rows_affected()),
        }
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The whole number that a statement returns; `None` for no row, NULL, or a table that isn't there yet.
    pub async fn number(&self, sql: &str) -> Option<i64> {
        let safe = AssertSqlSafe(sql.to_owned());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::query_scalar(safe).fetch_optional(pool).await.ok().flatten().flatten(),
            Raw::Sqlite(pool) => sqlx::query_scalar(safe).fetch_optional(pool).await.ok().flatten().flatten(),
        }
    }

    /// How many rows there are of `what`: a table and, with ` WHERE …`, which of its rows.
    pub async fn count(&self, what: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {what}")).await.unwrap_or(0)
    }

    /// The rows of a statement, every column a text.
    pub async fn texts(&self, sql: &str) -> Vec<Vec<String>> {
        let safe = AssertSqlSafe(sql.to_owned());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::query(safe).fetch_all(pool).await.map(|rows| rows.iter().map(texts).collect()),
            Raw::Sqlite(pool) => sqlx::query(safe).fetch_all(pool).await.map(|rows| rows.iter().map(texts).collect()),
        }
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Rows of a name and a number.
    pub async fn counts(&self, sql: &str) -> Vec<Count> {
        let safe = AssertSqlSafe(sql.to_owned());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::query_as(safe).fetch_all(pool).await,
            Raw::Sqlite(pool) => sqlx::query_as(safe).fetch_all(pool).await,
        }
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Whole numbers, one per row.
    pub async fn numbers(&self, sql: &str) -> Vec<i64> {
        let safe = AssertSqlSafe(sql.to_owned());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::query_scalar(safe).fetch_all(pool).await,
            Raw::Sqlite(pool) => sqlx::query_scalar(safe).fetch_all(pool).await,
        }
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Moves the ledger's clock forward, which every process sees at once: leases and hint ages pass without waiting for them. This is the
    /// demo's own offset (invariant 9), moved by hand as only a test may.
    pub async fn pass(&self, time: TimeDelta) {
        let micros = time.num_microseconds().expect("a short time");
        assert_eq!(self.execute(&format!("UPDATE ledger SET clock_offset_us = clock_offset_us + {micros}")).await, 1);
    }

    /// Ends the connections: before the server is stopped.
    pub async fn close(&self) {
        match &self.raw {
            Raw::Postgres(pool) => pool.close().await,
            Raw::Sqlite(pool) => pool.close().await,
        }
    }
}

/// A row's columns as texts; NULL is empty.
fn texts<R: Row>(row: &R) -> Vec<String>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    (0..row.len()).map(|at| row.get::<Option<String>, _>(at).unwrap_or_default()).collect()
}
