//! SQLite as fast as it is known to go: one writer that commits everything pending at once, many rows per statement.

use super::{BUCKET_US, Batch, Clock, Ended, LEASE, Planned};
use anyhow::{Context as _, anyhow};
use regua_ledger::runs::{self, LeasedRun};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, QueryBuilder, Sqlite as Db};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Transactions that one commit may carry, as in the ledger.
const GROUP_MAX: usize = 64;
/// Rows of one `VALUES` list; measured, more gains nothing.
const VALUES_MAX: usize = 50;
/// How long another connection's write is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

type Reply = oneshot::Sender<Result<(), String>>;

/// The writer's handle, and a connection to look with.
pub(super) struct Sqlite {
    jobs: mpsc::Sender<(Batch, Reply)>,
    reader: SqlitePool,
}

impl Sqlite {
    pub async fn open(url: &str, clock: Clock) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)?
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = options.connect().await?;
        let (jobs, waiting) = mpsc::channel(GROUP_MAX);
        tokio::spawn(write_all(writer, waiting, clock));
        Ok(Self { jobs, reader: SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options) })
    }

    pub const fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    pub async fn write(&self, batch: Batch) -> anyhow::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send((batch, reply)).await.ok().context("the writer has ended")?;
        answer.await.context("the writer has ended")?.map_err(|error| anyhow!(error))
    }
}

async fn write_all(mut writer: SqliteConnection, mut waiting: mpsc::Receiver<(Batch, Reply)>, clock: Clock) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
        let (batches, replies): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        let committed = commit(&mut writer, &batches, clock.now_us()).await.map_err(|error| error.to_string());
        let failed = committed.is_err();
        for reply in replies {
            // A caller that left isn't waited for: its measurement has failed already.
            reply.send(committed.clone()).unwrap_or_default();
        }
        if failed {
            return;
        }
    }
}

async fn commit(writer: &mut SqliteConnection, batches: &[Batch], now_us: i64) -> sqlx::Result<()> {
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *writer).await?;
    for batch in batches {
        match batch {
            Batch::Insert { run, source, policy, rows } => insert(writer, run, *source, *policy, rows, now_us).await?,
            Batch::Watermark { planned_at_us } => {
                let sql = "UPDATE integrations SET released_through_at = $1";
                sqlx::query(sql).bind(planned_at_us).execute(&mut *writer).await?;
            }
            Batch::Queue { ids } => {
                let sql =
                    "UPDATE messages SET state = 'queued', queued_at = $2, next_attempt_at = NULL, reason = NULL, updated_at = $2
                           WHERE id IN (SELECT value FROM json_each($1))";
                sqlx::query(sql).bind(json!(ids).to_string()).bind(now_us).execute(&mut *writer).await?;
            }
            Batch::Start { rows } => start(writer, rows, now_us).await?,
            Batch::Finish { rows } => finish(writer, rows, now_us).await?,
        }
    }
    sqlx::raw_sql("COMMIT").execute(&mut *writer).await?;
    Ok(())
}

async fn insert(
    writer: &mut SqliteConnection,
    run: &LeasedRun,
    source: Uuid,
    policy: Uuid,
    rows: &[Arc<Planned>],
    now_us: i64,
) -> sqlx::Result<()> {
    let (source, policy, run_id) = (source.to_string(), policy.to_string(), run.run.id.to_string());
    for rows in rows.chunks(VALUES_MAX) {
        let mut query: QueryBuilder<Db> = QueryBuilder::new(
            "INSERT INTO messages (id, source_id, subject, stage, stage_rank, occasion, due_on, state, policy_id, notice_id, channel_id,
                    phone_key, run_id, run_planned_at, expires_at, facts_version, created_at, updated_at) ",
        );
        query.push_values(rows, |mut tuple, row| {
            tuple
                .push_bind(row.id.to_string())
                .push_bind(source.clone())
                .push_bind(row.subject.clone())
                .push_bind(row.stage)
                .push_bind(row.stage_rank)
                .push_bind(row.due_on.clone())
                .push_bind(row.due_on.clone())
                .push("'held'")
                .push_bind(policy.clone())
                .push_bind(row.notice.to_string())
                .push_bind(row.channel.to_string())
                .push_bind(row.phone_key.clone())
                .push_bind(run_id.clone())
                .push_bind(run.run.planned_at.timestamp_micros())
                .push_bind(row.expires_at_us)
                .push_bind(row.facts_version.clone())
                .push_bind(now_us)
                .push_bind(now_us);
        });
        query.build().execute(&mut *writer).await?;
        let mut query: QueryBuilder<Db> =
            QueryBuilder::new("INSERT INTO message_texts (message_id, phone, provider_channel_id, template_id, variables) ");
        query.push_values(rows, |mut tuple, row| {
            tuple
                .push_bind(row.id.to_string())
                .push_bind(row.phone.clone())
                .push_bind(row.provider_channel_id.clone())
                .push_bind(row.template_id.clone())
                .push_bind(row.variables.clone());
        });
        query.build().execute(&mut *writer).await?;
    }
    let sql = "UPDATE runs SET evaluated = evaluated + $2, held = held + $2, cursor_source = $3, cursor_due_on = $4, cursor_invoice = $5,
                      lease_expires_at = $6 WHERE id = $1";
    let last = rows.last();
    sqlx::query(sql)
        .bind(run_id)
        .bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
        .bind(source)
        .bind(last.map(|row| row.due_on.clone()))
        .bind(last.map(|row| row.subject.clone()))
        .bind(now_us + runs::LEASE.num_microseconds().unwrap_or(i64::MAX))
        .execute(&mut *writer)
        .await?;
    Ok(())
}

async fn start(writer: &mut SqliteConnection, rows: &[Arc<Planned>], now_us: i64) -> sqlx::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let lease_us = now_us + i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
    let (channel, business) = (first.channel.to_string(), first.business.to_string());
    let json = |row: &Arc<Planned>| json!({"id": row.id, "attempt_id": row.attempt, "phone_key": row.phone_key});
    let rows_json = json!(rows.iter().map(json).collect::<Vec<_>>()).to_string();
    let gate = "UPDATE gates SET next_free_at = $2 WHERE channel_id = $1";
    sqlx::query(gate).bind(&channel).bind(now_us).execute(&mut *writer).await?;
    let recipients = "INSERT INTO recipients (business_id, phone_key, last_start_at, counted_at, last_attempt_id)
                      SELECT $1, value ->> '$.phone_key', $2, $2, value ->> '$.attempt_id' FROM json_each($3) WHERE true
                      ON CONFLICT (business_id, phone_key) DO UPDATE SET last_start_at = excluded.last_start_at,
                          counted_at = excluded.counted_at, last_attempt_id = excluded.last_attempt_id";
    sqlx::query(recipients).bind(&business).bind(now_us).bind(&rows_json).execute(&mut *writer).await?;
    let bucket = "INSERT INTO budget_buckets (business_id, bucket_at, recipients) VALUES ($1, $2, $3)
                  ON CONFLICT (business_id, bucket_at) DO UPDATE SET recipients = budget_buckets.recipients + excluded.recipients";
    sqlx::query(bucket)
        .bind(business)
        .bind(now_us.div_euclid(BUCKET_US) * BUCKET_US)
        .bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
        .execute(&mut *writer)
        .await?;
    let messages =
        "UPDATE messages SET state = 'sending', queued_at = NULL, next_attempt_at = NULL, reason = NULL, phone_slot_at = NULL,
                           attempts = 1, attempt_id = r.attempt_id, lease_expires_at = $2, updated_at = $3
                    FROM (SELECT value ->> '$.id' AS id, value ->> '$.attempt_id' AS attempt_id FROM json_each($1)) AS r
                    WHERE messages.id = r.id";
    sqlx::query(messages).bind(&rows_json).bind(lease_us).bind(now_us).execute(&mut *writer).await?;
    let opened =
        "INSERT INTO attempts (id, message_id, number, channel_id, dispatcher, slot_at, lease_expires_at, recipient_before)
                  SELECT value ->> '$.attempt_id', value ->> '$.id', 1, $2, 'raw', $3, $4,
                         '{\"last_start_at\":null,\"day\":null,\"sent_today\":0,\"counted_at\":null}' FROM json_each($1)";
    sqlx::query(opened).bind(rows_json).bind(channel).bind(now_us).bind(lease_us).execute(&mut *writer).await?;
    Ok(())
}

async fn finish(writer: &mut SqliteConnection, rows: &[Ended], now_us: i64) -> sqlx::Result<()> {
    let json = |row: &Ended| json!({"id": row.message.id, "attempt_id": row.message.attempt, "provider_id": row.provider_id, "latency_ms": row.latency_ms});
    let rows = json!(rows.iter().map(json).collect::<Vec<_>>()).to_string();
    let attempts =
        "UPDATE attempts SET outcome = 'sent', provider_id = r.provider_id, http_status = 200, latency_ms = r.latency_ms,
                           finished_at = $2
                    FROM (SELECT value ->> '$.attempt_id' AS id, value ->> '$.provider_id' AS provider_id,
                                 value ->> '$.latency_ms' AS latency_ms FROM json_each($1)) AS r WHERE attempts.id = r.id";
    sqlx::query(attempts).bind(&rows).bind(now_us).execute(&mut *writer).await?;
    let messages = "UPDATE messages SET state = 'sent', provider_id = r.provider_id, lease_expires_at = NULL, updated_at = $2
                    FROM (SELECT value ->> '$.id' AS id, value ->> '$.provider_id' AS provider_id FROM json_each($1)) AS r
                    WHERE messages.id = r.id";
    sqlx::query(messages).bind(rows).bind(now_us).execute(&mut *writer).await?;
    Ok(())
}
