//! Which waiting messages a top-up takes: those that could start now, best first.
//!
//! Many may wait that can't: for a later window, for their release, for a person's consent. So the look-up goes from turn to turn, not from
//! message to message. A turn is all that one run decided and that waits for one instant. There are few of them; those that haven't come are
//! passed over whole, and of the others only the best messages are read.

use super::Channel;
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::snapshot::json_ids;
use chrono::{DateTime, Utc};
use regua_domain::ids::{ChannelId, MessageId};
use std::collections::HashSet;

/// Messages that move from a stopped channel to another in one top-up.
const MOVES_MAX: u32 = 200;

/// The best messages that could start, locked: released and due, of fresh sources, under no stop of their own.
pub(super) async fn best(
    tx: &mut Tx,
    channel_id: ChannelId,
    channel: &Channel,
    room: u32,
    now: DateTime<Utc>,
) -> Result<Vec<MessageId>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "WITH RECURSIVE ",
                (withholding 3 6),
                ", ",
                waiting_runs,
                ",
                 turns (state, run_id, comes_at) AS (
                   SELECT w.state, w.run_id, (SELECT COALESCE(m.next_attempt_at, 0) FROM messages m
                       WHERE m.state = w.state AND m.channel_id = $1 AND m.",
                live,
                "      AND m.run_id = w.run_id ORDER BY COALESCE(m.next_attempt_at, 0) LIMIT 1)
                   FROM waiting_runs w
                   WHERE EXISTS (SELECT 1 FROM fresh)
                     AND (SELECT COALESCE(r.approval, '') <> 'waiting' AND (w.state = 'scheduled' OR $4 = 1 OR r.planned_at <= $5)
                          FROM runs r WHERE r.id = w.run_id)
                   UNION ALL
                   SELECT t.state, t.run_id, (SELECT COALESCE(m.next_attempt_at, 0) FROM messages m
                       WHERE m.state = t.state AND m.channel_id = $1 AND m.",
                live,
                "      AND m.run_id = t.run_id AND COALESCE(m.next_attempt_at, 0) > t.comes_at
                       ORDER BY COALESCE(m.next_attempt_at, 0) LIMIT 1)
                   FROM turns t WHERE t.comes_at <= $3)
                 SELECT m.id FROM turns t CROSS JOIN ",
                { postgres: "LATERAL (SELECT b.id, b.stage_rank, b.due_on, b.amount", sqlite: "messages m WHERE m.id IN (SELECT b.id" },
                " FROM messages b WHERE b.state = t.state AND b.channel_id = $1 AND b.",
                live,
                "      AND b.run_id = t.run_id AND COALESCE(b.next_attempt_at, 0) = t.comes_at AND ",
                startable,
                " ORDER BY b.stage_rank DESC, b.due_on, b.amount DESC, b.id LIMIT $2) ",
                { postgres: "m WHERE", sqlite: "AND" },
                " t.comes_at <= $3 ORDER BY m.stage_rank DESC, m.due_on, m.amount DESC, m.id LIMIT $2"
            ),
            values![
                channel_id,
                room,
                now,
                i64::from(channel.immediate),
                channel.released_through_at,
                crate::looks::WANTED_MAX,
            ],
        )
        .await?;
    lock(tx, &rows).await
}

/// Waiting messages of the channel whose stage's notice goes through another one by now, locked. Only an applied configuration moves them,
/// and a run that began well after it has decided by it: it may have read its clock before it got its locks.
pub(super) async fn moving_away(tx: &mut Tx, channel_id: ChannelId) -> Result<Vec<MessageId>, LedgerError> {
    let rows = tx
        .fetch(
            sql!(
                "WITH RECURSIVE ",
                waiting_runs,
                " SELECT m.id FROM waiting_runs w JOIN messages m ON m.state = w.state AND m.channel_id = $1 AND m.run_id = w.run_id AND m.",
                live,
                " JOIN policy_stages ps ON ps.policy_id = m.policy_id AND ps.stage = m.stage JOIN notices n ON n.id = ps.notice_id
                 WHERE n.channel_id <> $1 AND (SELECT r.created_at <= COALESCE((SELECT CAST(s.value AS BIGINT) + 60000000 FROM settings s WHERE s.name = 'applied_at'), r.created_at)
                                               FROM runs r WHERE r.id = w.run_id) LIMIT $2"
            ),
            values![channel_id, MOVES_MAX],
        )
        .await?;
    lock(tx, &rows).await
}

/// The messages that the rows name and that wait still, locked, in the order of the rows.
async fn lock(tx: &mut Tx, rows: &[Row]) -> Result<Vec<MessageId>, LedgerError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<MessageId> = rows.iter().map(|row| row.id("id").map(MessageId)).collect::<Result<_, _>>()?;
    let locked = tx
        .fetch(
            sql!("SELECT id FROM messages WHERE ", (still "state" "'held', 'scheduled'"), " AND id", (among 1 uuid), " ORDER BY id", for_update),
            values![json_ids(ids.iter().map(|id| id.0))],
        )
        .await?;
    let locked: HashSet<_> = locked.iter().map(|row| row.id("id").map(MessageId)).collect::<Result<_, _>>()?;
    Ok(ids.into_iter().filter(|id| locked.contains(id)).collect())
}
