//! Gates: what closes one for every dispatcher at once and opens it again. A start closes them too, in its own transaction.

use crate::Ledger;
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use chrono::{DateTime, Utc};
use regua_domain::gate::{Allowance, Closing, Gate, rest};
use regua_domain::ids::{AttemptId, ChannelId};
use regua_domain::message::DeferReason;

/// What came of a channel's one probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ProbeEnd {
    /// The provider gave an answer, whichever: the breaker closes.
    Answered,
    /// It gave none, or one that proves nothing: the channel rests again, for longer.
    Failed {
        /// In `[0, 1)`, drawn by the caller.
        jitter: f64,
    },
    /// Nothing was sent: the next start has the probe.
    NotMade,
}

impl Ledger {
    /// Opens a channel's breaker: it rests, then gives one probe at a time. Until when it rests; `None` if the breaker is open already.
    pub async fn open_breaker(&self, channel: ChannelId, jitter: f64) -> Result<Option<DateTime<Utc>>, LedgerError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let Some(gate) = lock(tx, channel, None).await?.filter(|gate| gate.trips == 0) else { return Ok(None) };
                    rest_again(tx, channel, &gate, jitter).await.map(Some)
                })
            })
            .await
    }

    /// Says what came of a channel's probe; until when it rests, if it does. An attempt that isn't its probe any more changes nothing: its lease
    /// ended, and another one is on its way.
    pub async fn end_probe(
        &self,
        channel: ChannelId,
        attempt: AttemptId,
        end: ProbeEnd,
    ) -> Result<Option<DateTime<Utc>>, LedgerError> {
        self.db.write(move |tx| Box::pin(async move { end_probe(tx, channel, attempt, end).await })).await
    }
}

/// A gate as its row has it.
pub(crate) fn read(row: &Row, per_second: Option<u32>) -> Result<Gate, LedgerError> {
    let allowance = match (row.opt_int("allowance_through")?, row.opt_instant("allowance_until_at")?) {
        (Some(through), Some(until)) => Some(Allowance { through: u64::try_from(through).unwrap_or(0), until }),
        (None, _) | (_, None) => None,
    };
    Ok(Gate {
        per_second,
        next_free_at: row.instant("next_free_at")?,
        paused_until: row.opt_instant("paused_until")?,
        closed_by: None,
        trips: row.small("trips")?,
        starts: row.count("starts")?,
        allowance,
    })
}

/// A channel's gate with its lock; `per_second` is its limit, for who goes by it.
pub(crate) async fn lock(tx: &mut Tx, channel: ChannelId, per_second: Option<u32>) -> Result<Option<Gate>, LedgerError> {
    let row = tx
        .fetch_optional(
            sql!(
                "SELECT next_free_at, paused_until, trips, starts, allowance_through, allowance_until_at FROM gates WHERE channel_id = $1",
                for_update
            ),
            values![channel],
        )
        .await?;
    row.as_ref().map(|row| read(row, per_second)).transpose()
}

async fn end_probe(
    tx: &mut Tx,
    channel: ChannelId,
    attempt: AttemptId,
    end: ProbeEnd,
) -> Result<Option<DateTime<Utc>>, LedgerError> {
    let Some(gate) = lock(tx, channel, None).await? else { return Ok(None) };
    let is_answered = i64::from(end == ProbeEnd::Answered);
    let ended = tx
        .fetch_optional(
            sql!(
                "UPDATE gates SET probe_attempt_id = NULL, trips = CASE WHEN $3 = 1 THEN 0 ELSE trips END,
                        paused_until = CASE WHEN pause_reason = $4 THEN NULL ELSE paused_until END,
                        pause_reason = CASE WHEN pause_reason = $4 THEN NULL ELSE pause_reason END
                 WHERE channel_id = $1 AND probe_attempt_id = $2 RETURNING trips"
            ),
            values![channel, attempt, is_answered, Closing::Probe.as_str()],
        )
        .await?;
    match (ended, end) {
        (Some(_), ProbeEnd::Failed { jitter }) => rest_again(tx, channel, &gate, jitter).await.map(Some),
        (Some(_), ProbeEnd::Answered | ProbeEnd::NotMade) | (None, _) => Ok(None),
    }
}

/// Opens the breaker once more in a row; a longer pause of another cause stays.
async fn rest_again(tx: &mut Tx, channel: ChannelId, gate: &Gate, jitter: f64) -> Result<DateTime<Utc>, LedgerError> {
    let trips = gate.trips.saturating_add(1);
    let until = tx.now().await? + rest(trips, jitter);
    tx.execute(sql!("UPDATE gates SET trips = $2 WHERE channel_id = $1"), values![channel, trips]).await?;
    pause(tx, channel, until, DeferReason::Gate.as_str()).await?;
    Ok(until)
}

/// Pauses a channel; a longer pause stays, with its reason. But for that of an exhausted budget or allowance: such a one ends as soon as a place
/// is given back, and would take this one with it; the next start decides it anew.
pub(crate) async fn pause(tx: &mut Tx, channel: ChannelId, until: DateTime<Utc>, why: &str) -> Result<(), LedgerError> {
    tx.execute(
        sql!(
            "UPDATE gates SET paused_until = $2, pause_reason = $3
             WHERE channel_id = $1 AND (paused_until IS NULL OR paused_until < $2 OR pause_reason IN ('budget', 'allowance'))"
        ),
        values![channel, until, why],
    )
    .await?;
    Ok(())
}
