//! The provider's own daily allowance of each channel, as it was reported: it closes a gate, and raises nothing (contracts §1.4).

use crate::Ledger;
use crate::database::Tx;
use crate::error::LedgerError;
use crate::gates;
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::gate::{ALLOWANCE_HOLDS, Closing};
use regua_domain::ids::ChannelId;

/// How often a channel's allowance is asked for, by all processes together.
pub const ASK_EVERY: TimeDelta = TimeDelta::minutes(5);

/// A channel whose allowance is to be asked for now.
#[derive(Clone, Copy, Debug)]
pub struct AllowanceLook {
    /// The channel.
    pub channel: ChannelId,
    /// When it was taken: what is reported is as old as this.
    asked_at: DateTime<Utc>,
    /// The gate's starts then: whatever starts from here on may not be in the report.
    starts: u64,
}

impl Ledger {
    /// Takes the look at a channel's allowance, if the last one was taken long enough ago; nobody else takes it then.
    pub async fn take_allowance_look(&self, channel: ChannelId) -> Result<Option<AllowanceLook>, LedgerError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    let row = tx
                        .fetch_optional(
                            sql!(
                                "UPDATE gates SET allowance_asked_at = $2
                                 WHERE channel_id = $1 AND (allowance_asked_at IS NULL OR allowance_asked_at <= $3) RETURNING starts"
                            ),
                            values![channel, now, now - ASK_EVERY],
                        )
                        .await?;
                    row.map(|row| Ok(AllowanceLook { channel, asked_at: now, starts: row.count("starts")? })).transpose()
                })
            })
            .await
    }

    /// Notes how many messages the provider lets a channel send as of that look; `None`: it reports no limit. Nothing left closes the gate until
    /// the report is old, more than nothing opens the gate that an earlier one closed.
    pub async fn note_allowance(&self, look: AllowanceLook, available: Option<u64>) -> Result<(), LedgerError> {
        self.db.write(move |tx| Box::pin(async move { note(tx, look, available).await })).await
    }
}

async fn note(tx: &mut Tx, look: AllowanceLook, available: Option<u64>) -> Result<(), LedgerError> {
    let Some(gate) = gates::lock(tx, look.channel, None).await? else { return Ok(()) };
    let allowance = available.map(|available| (look.starts.saturating_add(available), look.asked_at + ALLOWANCE_HOLDS));
    let (through, until) = allowance.map(|(through, until)| (i64::try_from(through).unwrap_or(i64::MAX), until)).unzip();
    tx.execute(
        sql!(
            "UPDATE gates SET allowance_through = CAST($2 AS BIGINT), allowance_until_at = CAST($3 AS BIGINT),
                    paused_until = CASE WHEN pause_reason = $4 THEN NULL ELSE paused_until END,
                    pause_reason = CASE WHEN pause_reason = $4 THEN NULL ELSE pause_reason END
             WHERE channel_id = $1"
        ),
        values![look.channel, through, until, Closing::Allowance.as_str()],
    )
    .await?;
    if let Some((_, until)) = allowance.filter(|(through, _)| gate.starts >= *through) {
        gates::pause(tx, look.channel, until, Closing::Allowance.as_str()).await?;
    }
    Ok(())
}
