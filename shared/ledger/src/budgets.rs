//! How many different people a business wrote to, by five minutes: the moving 24 hours are their sum.

use crate::database::{Tx, micros};
use crate::error::LedgerError;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::admission::{BUDGET_PERIOD, Budget};
use regua_domain::ids::BusinessId;
use serde_json::json;
use std::collections::BTreeMap;

/// Width of the buckets in which a business's recipients are counted.
pub(crate) const BUCKET: TimeDelta = TimeDelta::minutes(5);

/// What a business with a limit has used up of it; whoever goes by it holds the business's lock.
pub(crate) async fn load(
    tx: &mut Tx,
    business: BusinessId,
    limit: Option<u32>,
    now: DateTime<Utc>,
) -> Result<Budget, LedgerError> {
    if limit.is_none() {
        return Ok(Budget { limit, used: 0, frees_at: None });
    }
    let row = tx
        .fetch_one(
            sql!(
                "SELECT CAST(COALESCE(SUM(recipients), 0) AS BIGINT) AS used, MIN(bucket_at) AS oldest FROM budget_buckets
                 WHERE business_id = $1 AND bucket_at > $2 AND recipients > 0"
            ),
            values![business, now - BUDGET_PERIOD - BUCKET],
        )
        .await?;
    let frees_at = row.opt_instant("oldest")?.map(|at| at + BUCKET + BUDGET_PERIOD);
    Ok(Budget { limit, used: row.small("used")?, frees_at })
}

/// Changes to the five-minute buckets of recipients, added up over a batch.
#[derive(Default)]
pub(crate) struct BucketChanges(BTreeMap<(BusinessId, i64), i64>);

impl BucketChanges {
    /// Moves one recipient from the bucket of one instant to that of another.
    pub(crate) fn move_recipient(&mut self, business: BusinessId, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) {
        let bucket = |at: DateTime<Utc>| micros(at).div_euclid(bucket_us()) * bucket_us();
        for (at, change) in [(from, -1), (to, 1)] {
            if let Some(at) = at {
                *self.0.entry((business, bucket(at))).or_default() += change;
            }
        }
    }

    /// Adds what was counted, and takes away what is counted elsewhere now. Several buckets are locked first, oldest first: a start moves
    /// people to newer ones and a give-back to older ones, and they would wait for each other.
    pub(crate) async fn store(self, tx: &mut Tx) -> Result<(), LedgerError> {
        if self.0.len() > 1 {
            let keys: Vec<_> =
                self.0.keys().map(|(business, bucket)| json!({"business_id": business, "bucket_at": bucket})).collect();
            tx.lock(
                sql!(
                    "SELECT b.bucket_at FROM ",
                    (rows 1 r business_id: uuid, bucket_at: bigint),
                    " JOIN budget_buckets b ON b.business_id = r.business_id AND b.bucket_at = r.bucket_at
                      ORDER BY b.business_id, b.bucket_at",
                    { postgres: " FOR NO KEY UPDATE OF b", sqlite: "" }
                ),
                values![json!(keys).to_string()],
            )
            .await?;
        }
        let rows = |sign: i64| -> Vec<_> {
            let changes = self.0.iter().filter(|(_, change)| change.signum() == sign);
            changes
                .map(|((business, bucket), change)| json!({"business_id": business, "bucket_at": bucket, "change": change}))
                .collect()
        };
        let (more, fewer) = (rows(1), rows(-1));
        if !more.is_empty() {
            tx.execute(
                sql!(
                    "INSERT INTO budget_buckets (business_id, bucket_at, recipients) SELECT r.business_id, r.bucket_at, r.change FROM ",
                    (rows 1 r business_id: uuid, bucket_at: bigint, change: bigint),
                    " WHERE true ON CONFLICT (business_id, bucket_at) DO UPDATE
                      SET recipients = budget_buckets.recipients + excluded.recipients"
                ),
                values![json!(more).to_string()],
            )
            .await?;
        }
        if !fewer.is_empty() {
            tx.execute(
                sql!(
                    "UPDATE budget_buckets SET recipients = CASE WHEN recipients + r.change < 0 THEN 0 ELSE recipients + r.change END FROM ",
                    (rows 1 r business_id: uuid, bucket_at: bigint, change: bigint),
                    " WHERE budget_buckets.business_id = r.business_id AND budget_buckets.bucket_at = r.bucket_at"
                ),
                values![json!(fewer).to_string()],
            )
            .await?;
        }
        Ok(())
    }
}

const fn bucket_us() -> i64 {
    BUCKET.num_seconds() * 1_000_000
}
