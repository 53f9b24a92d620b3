//! The raw loops: the same rows in the same transactions, the same publishes, acks and requests, and not one decision. What they write
//! was worked out before the clock runs.

mod dispatch;
mod hints;
mod http;
mod kept;
mod plan;
mod postgres;
mod sqlite;

pub(crate) use dispatch::{PLACES, dispatch};
pub(crate) use hints::Hints;
pub(crate) use kept::repeat;
pub(crate) use plan::{Plan, Planned};

use crate::world::World;
use chrono::{DateTime, Utc};
use regua_domain::ids::ChannelId;
use regua_ledger::runs::LeasedRun;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Messages that one transaction of the release marks: what a channel without a limit is topped up to.
pub(crate) const RELEASE_BATCH: usize = regua_ledger::release::BOUND_UNLIMITED as usize;
/// Messages that are written at once into the history.
const HISTORY_BATCH: usize = 1000;
/// How long an attempt's lease is; any length does.
const LEASE: Duration = Duration::from_mins(1);
/// Width of the buckets in which a business's recipients are counted, in microseconds.
const BUCKET_US: i64 = 300_000_000;

/// One transaction.
#[derive(Clone)]
pub(crate) enum Batch {
    /// Messages with their texts, and the run's counters and cursor.
    Insert { run: Arc<LeasedRun>, source: Uuid, policy: Uuid, rows: Vec<Arc<Planned>> },
    /// The watermark.
    Watermark { planned_at_us: i64 },
    /// Messages whose hints are about to be published.
    Queue { ids: Vec<Uuid> },
    /// Attempts of one channel that are about to be made.
    Start { rows: Vec<Arc<Planned>> },
    /// Attempts that succeeded.
    Finish { rows: Vec<Ended> },
}

/// An attempt that succeeded.
#[derive(Clone)]
pub(crate) struct Ended {
    pub message: Arc<Planned>,
    pub provider_id: String,
    pub latency_ms: i64,
}

/// What every transaction knows without asking.
#[derive(Clone, Copy)]
struct Clock {
    /// The ledger's clock minus this host's.
    ahead_us: i64,
}

impl Clock {
    fn now_us(self) -> i64 {
        Utc::now().timestamp_micros() + self.ahead_us
    }
}

/// A database without the ledger's crate around it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Raw {
    database: Arc<Database>,
    clock: Clock,
}

enum Database {
    Postgres(postgres::Postgres),
    Sqlite(sqlite::Sqlite),
}

impl Raw {
    /// Connects to a ledger's database; `ledger_now` is what the ledger's clock says now.
    pub async fn connect(url: &str, ledger_now: DateTime<Utc>) -> anyhow::Result<Self> {
        let clock = Clock { ahead_us: ledger_now.timestamp_micros() - Utc::now().timestamp_micros() };
        let database = if url.starts_with("sqlite:") {
            Database::Sqlite(sqlite::Sqlite::open(url, clock).await?)
        } else {
            Database::Postgres(postgres::Postgres::open(url).await?)
        };
        Ok(Self { database: Arc::new(database), clock })
    }

    /// Commits one transaction.
    pub async fn write(&self, batch: Batch) -> anyhow::Result<()> {
        match &*self.database {
            Database::Postgres(database) => Ok(database.write(&batch, self.clock.now_us()).await?),
            Database::Sqlite(database) => database.write(batch).await,
        }
    }

    /// Messages that aren't sent.
    pub async fn unsent(&self) -> anyhow::Result<u64> {
        self.count("SELECT count(*) FROM messages WHERE state <> 'sent'").await
    }

    /// All messages.
    pub async fn messages(&self) -> anyhow::Result<u64> {
        self.count("SELECT count(*) FROM messages").await
    }

    /// Attempts that were ever opened.
    pub async fn attempts(&self) -> anyhow::Result<u64> {
        self.count("SELECT count(*) FROM attempts").await
    }

    async fn count(&self, sql: &'static str) -> anyhow::Result<u64> {
        let count = match &*self.database {
            Database::Postgres(database) => sqlx::query_scalar::<_, i64>(sql).fetch_one(database.pool()).await?,
            Database::Sqlite(database) => sqlx::query_scalar::<_, i64>(sql).fetch_one(database.reader()).await?,
        };
        Ok(u64::try_from(count)?)
    }

    /// The end of PostgreSQL's log, in bytes; nothing for SQLite.
    pub async fn log_end(&self) -> anyhow::Result<u64> {
        self.number("SELECT CAST(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS BIGINT)").await
    }

    /// Bytes of messages, texts and attempts with their indexes; nothing for SQLite.
    pub async fn bytes(&self) -> anyhow::Result<u64> {
        self.number(
            "SELECT CAST(SUM(pg_total_relation_size(name)) AS BIGINT)
             FROM (VALUES ('messages'::regclass), ('message_texts'), ('attempts')) AS tables(name)",
        )
        .await
    }

    async fn number(&self, postgres: &'static str) -> anyhow::Result<u64> {
        match &*self.database {
            Database::Postgres(_) => self.count(postgres).await,
            Database::Sqlite(_) => Ok(0),
        }
    }

    /// Gives PostgreSQL's planner the statistics that autovacuum gives it within a minute; SQLite never has any.
    pub async fn analyze(&self) -> anyhow::Result<()> {
        if let Database::Postgres(database) = &*self.database {
            sqlx::raw_sql("ANALYZE").execute(database.pool()).await?;
        }
        Ok(())
    }

    /// The database's own version.
    pub async fn version(&self) -> anyhow::Result<String> {
        Ok(match &*self.database {
            Database::Postgres(database) => sqlx::query_scalar("SHOW server_version").fetch_one(database.pool()).await?,
            Database::Sqlite(database) => sqlx::query_scalar("SELECT sqlite_version()").fetch_one(database.reader()).await?,
        })
    }

    /// Ends its connections.
    pub async fn close(&self) {
        match &*self.database {
            Database::Postgres(database) => database.pool().close().await,
            Database::Sqlite(database) => database.reader().close().await,
        }
    }
}

/// What a provider in use has in its tables: as many messages again, sent before, so that no table is empty and none is planned for as one.
pub(crate) async fn fill_history(world: &World, plan: &Plan) -> anyhow::Result<()> {
    for rows in plan.messages.chunks(HISTORY_BATCH) {
        let (run, rows) = (Arc::clone(&plan.run), rows.to_vec());
        world.raw.write(Batch::Insert { run, source: plan.source, policy: plan.policy, rows: rows.clone() }).await?;
        for channel in rows.chunk_by(|a, b| a.channel == b.channel) {
            world.raw.write(Batch::Start { rows: channel.to_vec() }).await?;
        }
        let ended = |message| Ended { message, provider_id: String::from("before"), latency_ms: 1 };
        world.raw.write(Batch::Finish { rows: rows.into_iter().map(ended).collect() }).await?;
    }
    Ok(())
}

/// (a) Every message of the plan, in the order and the batches of the evaluator.
pub(crate) async fn evaluate(world: &World, plan: &Plan) -> anyhow::Result<()> {
    let page = world.pipeline.ledger.evaluation_page() as usize;
    for rows in plan.messages.chunks(page) {
        let (run, rows) = (Arc::clone(&plan.run), rows.to_vec());
        world.raw.write(Batch::Insert { run, source: plan.source, policy: plan.policy, rows }).await?;
    }
    Ok(())
}

/// (b) Marks and publishes, channel by channel, best first.
pub(crate) async fn release(world: &World, plan: &Plan, channels: &[ChannelId]) -> anyhow::Result<()> {
    world.raw.write(Batch::Watermark { planned_at_us: plan.run.run.planned_at.timestamp_micros() }).await?;
    let publisher = world.hints.publisher().await?;
    for channel in channels {
        for ids in plan.ids_of(*channel).chunks(RELEASE_BATCH) {
            world.raw.write(Batch::Queue { ids: ids.to_vec() }).await?;
            publisher.publish(ids).await?;
        }
    }
    publisher.close().await
}
