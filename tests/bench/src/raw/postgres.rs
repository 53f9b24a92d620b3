//! PostgreSQL as fast as it is known to go: prepared statements over arrays.

use super::{BUCKET_US, Batch, Ended, LEASE, Planned};
use regua_ledger::runs::{self, LeasedRun};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Postgres as Db, Transaction};
use std::sync::Arc;
use uuid::Uuid;

/// As many as the ledger's own pool has.
const CONNECTIONS_MAX: u32 = 10;

/// A pool.
pub(super) struct Postgres(PgPool);

impl Postgres {
    pub async fn open(url: &str) -> sqlx::Result<Self> {
        PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect(url).await.map(Self)
    }

    pub const fn pool(&self) -> &PgPool {
        &self.0
    }

    pub async fn write(&self, batch: &Batch, now_us: i64) -> sqlx::Result<()> {
        let mut tx = self.0.begin().await?;
        match batch {
            Batch::Insert { run, source, policy, rows } => insert(&mut tx, run, *source, *policy, rows, now_us).await?,
            Batch::Watermark { planned_at_us } => {
                let sql = "UPDATE integrations SET released_through_at = $1";
                sqlx::query(sql).bind(planned_at_us).execute(&mut *tx).await?;
            }
            Batch::Queue { ids } => {
                let sql =
                    "UPDATE messages SET state = 'queued', queued_at = $2, next_attempt_at = NULL, reason = NULL, updated_at = $2
                           WHERE id = ANY($1)";
                sqlx::query(sql).bind(ids).bind(now_us).execute(&mut *tx).await?;
            }
            Batch::Start { rows } => start(&mut tx, rows, now_us).await?,
            Batch::Finish { rows } => finish(&mut tx, rows, now_us).await?,
        }
        tx.commit().await
    }
}

/// One column of the rows, as an array.
fn column<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

async fn insert(
    tx: &mut Transaction<'_, Db>,
    run: &LeasedRun,
    source: Uuid,
    policy: Uuid,
    rows: &[Arc<Planned>],
    now_us: i64,
) -> sqlx::Result<()> {
    let ids = column(rows, |row| row.id);
    let sql = "INSERT INTO messages (id, source_id, subject, stage, stage_rank, occasion, due_on, state, policy_id, notice_id, channel_id,
                      phone_key, run_id, run_planned_at, expires_at, facts_version, created_at, updated_at)
               SELECT r.id, $1, r.subject, r.stage, r.stage_rank, r.due_on, r.due_on, 'held', $2, r.notice_id, r.channel_id, r.phone_key,
                      $3, $4, r.expires_at, r.facts_version, $5, $5
               FROM UNNEST($6::uuid[], $7::text[], $8::text[], $9::bigint[], $10::text[], $11::uuid[], $12::uuid[], $13::text[],
                           $14::bigint[], $15::text[])
                    AS r(id, subject, stage, stage_rank, due_on, notice_id, channel_id, phone_key, expires_at, facts_version)";
    sqlx::query(sql)
        .bind(source)
        .bind(policy)
        .bind(run.run.id.0)
        .bind(run.run.planned_at.timestamp_micros())
        .bind(now_us)
        .bind(&ids)
        .bind(column(rows, |row| row.subject.as_str()))
        .bind(column(rows, |row| row.stage))
        .bind(column(rows, |row| row.stage_rank))
        .bind(column(rows, |row| row.due_on.as_str()))
        .bind(column(rows, |row| row.notice))
        .bind(column(rows, |row| row.channel))
        .bind(column(rows, |row| row.phone_key.as_str()))
        .bind(column(rows, |row| row.expires_at_us))
        .bind(column(rows, |row| row.facts_version.as_str()))
        .execute(&mut **tx)
        .await?;
    let sql = "INSERT INTO message_texts (message_id, phone, provider_channel_id, template_id, variables)
               SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])";
    sqlx::query(sql)
        .bind(&ids)
        .bind(column(rows, |row| row.phone.as_str()))
        .bind(column(rows, |row| row.provider_channel_id.as_str()))
        .bind(column(rows, |row| row.template_id.as_str()))
        .bind(column(rows, |row| row.variables.as_str()))
        .execute(&mut **tx)
        .await?;
    let sql = "UPDATE runs SET evaluated = evaluated + $2, held = held + $2, cursor_source = $3, cursor_due_on = $4, cursor_invoice = $5,
                      lease_expires_at = $6 WHERE id = $1";
    let last = rows.last();
    sqlx::query(sql)
        .bind(run.run.id.0)
        .bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
        .bind(source)
        .bind(last.map(|row| row.due_on.as_str()))
        .bind(last.map(|row| row.subject.as_str()))
        .bind(now_us + runs::LEASE.num_microseconds().unwrap_or(i64::MAX))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn start(tx: &mut Transaction<'_, Db>, rows: &[Arc<Planned>], now_us: i64) -> sqlx::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let lease_us = now_us + i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
    let (ids, attempts) = (column(rows, |row| row.id), column(rows, |row| row.attempt));
    let gate = "UPDATE gates SET next_free_at = $2 WHERE channel_id = $1";
    sqlx::query(gate).bind(first.channel).bind(now_us).execute(&mut **tx).await?;
    let recipients = "INSERT INTO recipients (business_id, phone_key, last_start_at, counted_at, last_attempt_id)
                      SELECT $1, r.phone_key, $2, $2, r.attempt_id FROM UNNEST($3::text[], $4::uuid[]) AS r(phone_key, attempt_id)
                      ON CONFLICT (business_id, phone_key) DO UPDATE SET last_start_at = excluded.last_start_at,
                          counted_at = excluded.counted_at, last_attempt_id = excluded.last_attempt_id";
    sqlx::query(recipients)
        .bind(first.business)
        .bind(now_us)
        .bind(column(rows, |row| row.phone_key.as_str()))
        .bind(&attempts)
        .execute(&mut **tx)
        .await?;
    let bucket = "INSERT INTO budget_buckets (business_id, bucket_at, recipients) VALUES ($1, $2, $3)
                  ON CONFLICT (business_id, bucket_at) DO UPDATE SET recipients = budget_buckets.recipients + excluded.recipients";
    sqlx::query(bucket)
        .bind(first.business)
        .bind(now_us.div_euclid(BUCKET_US) * BUCKET_US)
        .bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
        .execute(&mut **tx)
        .await?;
    let messages =
        "UPDATE messages SET state = 'sending', queued_at = NULL, next_attempt_at = NULL, reason = NULL, phone_slot_at = NULL,
                           attempts = 1, attempt_id = r.attempt_id, lease_expires_at = $3, updated_at = $4
                    FROM UNNEST($1::uuid[], $2::uuid[]) AS r(id, attempt_id) WHERE messages.id = r.id";
    sqlx::query(messages).bind(&ids).bind(&attempts).bind(lease_us).bind(now_us).execute(&mut **tx).await?;
    let opened =
        "INSERT INTO attempts (id, message_id, number, channel_id, dispatcher, slot_at, lease_expires_at, recipient_before)
                  SELECT r.id, r.message_id, 1, $3, 'raw', $4, $5,
                         '{\"last_start_at\":null,\"day\":null,\"sent_today\":0,\"counted_at\":null}'
                  FROM UNNEST($1::uuid[], $2::uuid[]) AS r(id, message_id)";
    sqlx::query(opened).bind(&attempts).bind(&ids).bind(first.channel).bind(now_us).bind(lease_us).execute(&mut **tx).await?;
    Ok(())
}

async fn finish(tx: &mut Transaction<'_, Db>, rows: &[Ended], now_us: i64) -> sqlx::Result<()> {
    let provider_ids = column(rows, |row| row.provider_id.as_str());
    let attempts =
        "UPDATE attempts SET outcome = 'sent', provider_id = r.provider_id, http_status = 200, latency_ms = r.latency_ms,
                           finished_at = $4
                    FROM UNNEST($1::uuid[], $2::text[], $3::bigint[]) AS r(id, provider_id, latency_ms) WHERE attempts.id = r.id";
    sqlx::query(attempts)
        .bind(column(rows, |row| row.message.attempt))
        .bind(&provider_ids)
        .bind(column(rows, |row| row.latency_ms))
        .bind(now_us)
        .execute(&mut **tx)
        .await?;
    let messages = "UPDATE messages SET state = 'sent', provider_id = r.provider_id, lease_expires_at = NULL, updated_at = $3
                    FROM UNNEST($1::uuid[], $2::text[]) AS r(id, provider_id) WHERE messages.id = r.id";
    sqlx::query(messages).bind(column(rows, |row| row.message.id)).bind(&provider_ids).bind(now_us).execute(&mut **tx).await?;
    Ok(())
}
