//! Release: the watermark, and the bounded top-up that is the only maker of hints.

mod waiting;

use crate::database::{Tx, micros};
use crate::error::LedgerError;
use crate::evaluation::write_texts;
use crate::gates;
use crate::snapshot::{self, Loaded, json_ids};
use crate::stops::Stops;
use crate::{Ledger, looks, settings};
use chrono::{DateTime, TimeDelta, Utc};
use regua_domain::admission::{RECHECK, Terms, called_for};
use regua_domain::configuration::SecretRef;
use regua_domain::gate::Gate;
use regua_domain::ids::{BusinessId, ChannelId, IntegrationId, MessageId};
use regua_domain::message::{DeferReason, SkipReason};
use regua_domain::render::Rendered;
use serde_json::json;

/// Queued messages of a channel without a limit.
pub const BOUND_UNLIMITED: u32 = 1000;
/// Queued messages of a channel with one: a second of it, and never fewer than this.
pub const BOUND_MIN: u32 = 2;
/// A row that is queued for longer doesn't count towards the bound: its hint may be lost.
pub const COUNTS_FOR: TimeDelta = TimeDelta::seconds(10);

/// All queued rows of a channel, lost hints or not, are at most this many times its bound.
pub const FLOOD: u32 = 3;

/// What a top-up found for one channel.
#[derive(Clone, Debug, Default)]
pub struct TopUp {
    /// The messages that are queued now and whose hints must be published.
    pub queued: Vec<MessageId>,
    /// Messages that ended because they are not called for any more.
    pub skipped: u64,
    /// Messages rendered again because what they say changed.
    pub rendered_again: u64,
    /// Whether more may be waiting than there was room for.
    pub more: bool,
}

/// Where the messages of a channel go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The channel.
    pub channel_id: ChannelId,
    /// Its name.
    pub channel: String,
    /// Its id at Opa! Suite.
    pub provider_channel_id: String,
    /// Its business.
    pub business_id: BusinessId,
    /// Its integration.
    pub integration_id: IntegrationId,
    /// The integration's name.
    pub integration: String,
    /// The base of its API.
    pub url: String,
    /// Where its token is found.
    pub token: SecretRef,
    /// Whether the integration is in use: nothing goes through one that is switched off.
    pub enabled: bool,
}

/// A channel with what its release depends on.
struct Channel {
    per_second: Option<u32>,
    business_id: BusinessId,
    integration_id: IntegrationId,
    immediate: bool,
    released_through_at: DateTime<Utc>,
    gate: Gate,
}

impl Channel {
    /// How many messages may be queued: a second of the limit, but no more than the provider's allowance lets go, and one for a breaker that
    /// asks for a probe. So neither puts off messages that were queued only to wait.
    fn bound(&self, asked: Option<u32>, now: DateTime<Utc>) -> u32 {
        let bound = asked.unwrap_or_else(|| self.per_second.map_or(BOUND_UNLIMITED, |limit| limit.max(BOUND_MIN)));
        let most = if self.gate.trips > 0 { 1 } else { u64::MAX };
        u64::from(bound).min(most).min(self.gate.left(now)).try_into().unwrap_or(bound)
    }
}

impl Ledger {
    /// *Envia mensagens Omnichannel da fila*: from now on whatever runs planned up to `planned_at` decided may go, whenever it is inserted (F13).
    pub async fn release_through(&self, planned_at: DateTime<Utc>) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    tx.execute(
                        sql!(
                            "UPDATE integrations SET released_through_at = $1 WHERE released_through_at IS NULL OR released_through_at < $1"
                        ),
                        values![planned_at],
                    )
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Where the messages of each channel go: integration, address, and where its token is found.
    pub async fn routes(&self) -> Result<Vec<Route>, LedgerError> {
        let rows = self
            .db
            .read()
            .await?
            .fetch(
                sql!(
                    "SELECT c.id AS channel_id, c.name AS channel, c.provider_id, i.id AS integration_id, i.name, i.enabled, i.url, i.token_kind, i.token_ref, c.business_id
                     FROM channels c JOIN integrations i ON i.id = c.integration_id ORDER BY c.id"
                ),
                vec![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Route {
                    channel_id: ChannelId(row.id("channel_id")?),
                    channel: row.text("channel")?,
                    provider_channel_id: row.text("provider_id")?,
                    business_id: BusinessId(row.id("business_id")?),
                    integration_id: IntegrationId(row.id("integration_id")?),
                    integration: row.text("name")?,
                    url: row.text("url")?,
                    token: crate::configuration::read_secret(row)?,
                    enabled: row.flag("enabled")?,
                })
            })
            .collect()
    }

    /// The channels for which a message waits, released or not: one probe of the index for each, however many wait.
    pub async fn waiting_channels(&self) -> Result<Vec<ChannelId>, LedgerError> {
        let sql = sql!(
            "SELECT c.id FROM channels c
             WHERE (SELECT 1 FROM messages WHERE state = 'held' AND channel_id = c.id AND ",
            live,
            " LIMIT 1) IS NOT NULL OR (SELECT 1 FROM messages WHERE state = 'scheduled' AND channel_id = c.id AND ",
            live,
            " LIMIT 1) IS NOT NULL ORDER BY c.id"
        );
        let rows = self.db.read().await?.fetch(sql, vec![]).await?;
        rows.iter().map(|row| row.id("id").map(ChannelId)).collect()
    }

    /// Tops one channel's queued messages up to its bound, best first, and marks them. Publish their hints after it returns.
    ///
    /// `bound` replaces the channel's own bound; only a benchmark lifts it.
    pub async fn top_up(&self, channel: ChannelId, bound: Option<u32>) -> Result<TopUp, LedgerError> {
        self.db.write(move |tx| Box::pin(async move { top_up(tx, channel, bound).await })).await
    }

    /// Puts messages back whose hints could not be published: they wait as before, due at once.
    pub async fn unqueue_unpublished(&self, messages: Vec<MessageId>) -> Result<u64, LedgerError> {
        self.db
            .write(move |tx| {
                let ids = json_ids(messages.iter().map(|id| id.0));
                Box::pin(async move {
                    let now = tx.now().await?;
                    tx.execute(
                        sql!(
                            "UPDATE messages SET state = 'scheduled', next_attempt_at = $2, queued_at = NULL, updated_at = $2
                             WHERE ",
                            (still "state" "'queued'"),
                            " AND id",
                            (among 1 uuid)
                        ),
                        values![ids, now],
                    )
                    .await
                })
            })
            .await
    }
}

async fn top_up(tx: &mut Tx, channel_id: ChannelId, bound: Option<u32>) -> Result<TopUp, LedgerError> {
    let Some(channel) = lock_channel(tx, channel_id).await? else { return Ok(TopUp::default()) };
    let (now, settings, stops) = settings::now_in_force(tx).await?;
    if !settings.times().any_open(&settings.own_hours, now) {
        return Ok(TopUp::default());
    }
    let look = Look { terms: settings.terms(), stops: &stops, now };
    if channel.gate.paused_until.is_some_and(|until| until > now)
        || stops.hold_channel(channel.business_id, channel.integration_id, channel_id)
    {
        // Nothing goes out here; what a person has pointed to another channel meanwhile goes there.
        let moving = waiting::moving_away(tx, channel_id).await?;
        return queue(tx, channel_id, &moving, look).await;
    }
    let bound = channel.bound(bound, now);
    let row = tx
        .fetch_one(
            sql!(
                "SELECT count(*) AS n, count(*) FILTER (WHERE queued_at > $2) AS recent FROM messages
                 WHERE state = 'queued' AND channel_id = $1 AND ",
                live
            ),
            values![channel_id, now - COUNTS_FOR],
        )
        .await?;
    // However long nobody takes hints, the broker never holds a flood of them.
    let flood = bound.saturating_mul(FLOOD).saturating_sub(row.small("n")?);
    let room = bound.saturating_sub(row.small("recent")?).min(flood);
    if room == 0 {
        return Ok(TopUp { more: true, ..TopUp::default() });
    }
    let ids = waiting::best(tx, channel_id, &channel, room, now).await?;
    let more = ids.len() as u64 == u64::from(room);
    let mut result = queue(tx, channel_id, &ids, look).await?;
    result.more = more;
    Ok(result)
}

/// Locks the channel's gate, which also keeps two top-ups of it apart.
async fn lock_channel(tx: &mut Tx, id: ChannelId) -> Result<Option<Channel>, LedgerError> {
    let Some(gate) = gates::lock(tx, id, None).await? else { return Ok(None) };
    let row = tx
        .fetch_one(
            sql!(
                "SELECT c.per_second, c.business_id, c.integration_id, i.release, i.released_through_at
                 FROM channels c JOIN integrations i ON i.id = c.integration_id WHERE c.id = $1"
            ),
            values![id],
        )
        .await?;
    Ok(Some(Channel {
        per_second: row.opt_int("per_second")?.and_then(|n| u32::try_from(n).ok()),
        business_id: BusinessId(row.id("business_id")?),
        integration_id: IntegrationId(row.id("integration_id")?),
        immediate: row.text("release")? == "immediate",
        released_through_at: row.opt_instant("released_through_at")?.unwrap_or(DateTime::<Utc>::MIN_UTC),
        gate,
    }))
}

/// What a top-up looks at its messages with.
#[derive(Clone, Copy)]
struct Look<'a> {
    terms: Terms<'a>,
    stops: &'a Stops,
    now: DateTime<Utc>,
}

/// Looks at each message once more: not called for → skipped; its recipient's window closed → waits for that; its title to be read once more →
/// waits for that; says something else → rendered again; then queued.
async fn queue(tx: &mut Tx, channel_id: ChannelId, ids: &[MessageId], look: Look<'_>) -> Result<TopUp, LedgerError> {
    let Look { terms, stops, now } = look;
    if ids.is_empty() {
        return Ok(TopUp::default());
    }
    let loaded = snapshot::load(tx, ids, terms.times.date_at(now), stops).await?;
    let mut skipped = Vec::new();
    let mut changed: Vec<(&Loaded, Rendered)> = Vec::new();
    let mut waiting = Vec::new();
    let mut wanted = Vec::new();
    let mut queued = std::collections::HashSet::new();
    for message in &loaded {
        let opens_at = message.snapshot.window(terms.times).next_open(now);
        match called_for(&message.snapshot, terms, now) {
            Err(why) => skipped.push(json!({"id": message.id, "reason": why})),
            Ok(_) if opens_at >= message.snapshot.expires_at => {
                skipped.push(json!({"id": message.id, "reason": SkipReason::Expired}));
            }
            // Whatever it waits for, it waits for the other channel's top-up: here it would be put off again and again, or go unreleased.
            Ok(text) if moves_to(message) != Some(channel_id) => changed.push((message, text)),
            Ok(_) if opens_at > now => waiting.push(wait(message.id, opens_at, DeferReason::WindowClosed)),
            // Its own row is old though its source is young: nothing is sent from it, and it makes room for others.
            Ok(_) if message.snapshot.fresh_until.is_none_or(|until| until <= now) => {
                waiting.push(wait(message.id, now + RECHECK, DeferReason::StaleSource));
            }
            Ok(_) if message.snapshot.look.is_some_and(|look| look.is_wanted(now, looks::AHEAD)) => {
                waiting.push(wait(message.id, now + RECHECK, DeferReason::LastLook));
                wanted.extend(message.snapshot.invoice.as_ref().map(|invoice| (message.source_id, &invoice.id)));
            }
            Ok(text) if text.facts_version() != message.snapshot.facts_version => changed.push((message, text)),
            Ok(_) => {
                queued.insert(message.id);
            }
        }
    }
    render_again(tx, &changed, now).await?;
    put_off(tx, &waiting, now).await?;
    looks::want(tx, &wanted).await?;
    // One that now goes through another channel waits for that channel's top-up.
    queued.extend(changed.iter().filter(|(message, _)| moves_to(message) == Some(channel_id)).map(|(message, _)| message.id));
    let queued: Vec<MessageId> = ids.iter().copied().filter(|id| queued.contains(id)).collect();
    tx.execute(
        sql!(
            "UPDATE messages SET state = 'queued', queued_at = $2, next_attempt_at = NULL, reason = NULL, updated_at = $2
             WHERE ",
            (still "state" "'held', 'scheduled'"),
            " AND id",
            (among 1 uuid)
        ),
        values![json_ids(queued.iter().map(|id| id.0)), now],
    )
    .await?;
    let skipped = if skipped.is_empty() { 0 } else { crate::start::skip(tx, &skipped, now).await? };
    Ok(TopUp { queued, skipped, rendered_again: changed.len() as u64, more: false })
}

fn wait(id: MessageId, until: DateTime<Utc>, why: DeferReason) -> serde_json::Value {
    json!({"id": id, "next_attempt_at": micros(until), "reason": why})
}

/// Lets messages wait where they are; `rows` are JSON objects of [`wait`].
async fn put_off(tx: &mut Tx, rows: &[serde_json::Value], now: DateTime<Utc>) -> Result<(), LedgerError> {
    if rows.is_empty() {
        return Ok(());
    }
    tx.execute(
        sql!(
            "UPDATE messages SET reason = r.reason, next_attempt_at = r.next_attempt_at, updated_at = $2 FROM ",
            (rows 1 r id: uuid, next_attempt_at: bigint, reason: text),
            " WHERE messages.id = r.id AND ",
            (still "messages.state" "'held', 'scheduled'")
        ),
        values![json!(rows).to_string(), now],
    )
    .await?;
    Ok(())
}

fn moves_to(message: &Loaded) -> Option<ChannelId> {
    message.snapshot.notice.as_ref().map(|notice| notice.channel_id)
}

async fn render_again(tx: &mut Tx, changed: &[(&Loaded, Rendered)], now: DateTime<Utc>) -> Result<(), LedgerError> {
    let rows: Vec<_> = changed
        .iter()
        .filter_map(|(message, text)| {
            let notice = message.snapshot.notice.as_ref()?;
            Some(json!({
                "id": message.id, "phone_key": text.phone_key, "facts_version": text.facts_version(), "notice_id": notice.id,
                "channel_id": notice.channel_id, "amount": text.amount,
            }))
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    tx.execute(
        sql!(
            "UPDATE messages SET phone_key = r.phone_key, facts_version = r.facts_version, notice_id = r.notice_id, channel_id = r.channel_id,
                    amount = r.amount, phone_slot_at = NULL, updated_at = $2 FROM ",
            (rows 1 r id: uuid, phone_key: text, facts_version: text, notice_id: uuid, channel_id: uuid, amount: bigint),
            " WHERE messages.id = r.id AND ",
            (still "messages.state" "'held', 'scheduled'")
        ),
        values![json!(rows).to_string(), now],
    )
    .await?;
    write_texts(tx, &changed.iter().map(|(message, text)| (message.id, text)).collect::<Vec<_>>()).await
}
