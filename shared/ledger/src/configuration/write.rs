//! Writes the sections of a configuration, each known by its name.

use super::Ids;
use crate::database::Tx;
use crate::error::LedgerError;
use crate::new_id;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::configuration::{Channel, Configuration, Integration, Notice, Policy, SecretRef, Source, SourceKind, Task};
use regua_domain::policy::ClosedDay;
use regua_domain::window::WeekHours;
use std::collections::HashMap;
use std::num::{NonZeroU16, NonZeroU32};
use uuid::Uuid;

fn id_of(ids: &Ids, name: &str) -> Result<Uuid, LedgerError> {
    ids.get(name).copied().ok_or_else(|| LedgerError::unreadable("configuration", "a name that it doesn't define"))
}

pub(super) async fn businesses(tx: &mut Tx, configuration: &Configuration) -> Result<Ids, LedgerError> {
    let alone = configuration.channels.iter().filter(|channel| channel.business.is_none());
    let alone = alone.map(|channel| (own_business(channel), None));
    let named = configuration.businesses.iter().map(|business| (business.name.clone(), business.recipients_per_24h));
    let mut ids = Ids::new();
    for (name, limit) in alone.chain(named) {
        let row = tx
            .fetch_one(
                sql!(
                    "INSERT INTO businesses (id, name, recipients_per_24h) VALUES ($1, $2, CAST($3 AS BIGINT))
                     ON CONFLICT (name) DO UPDATE SET recipients_per_24h = excluded.recipients_per_24h RETURNING id"
                ),
                values![new_id(), &name, limit.map(NonZeroU32::get)],
            )
            .await?;
        ids.insert(name, row.id("id")?);
    }
    // What was started under the old limits is counted before the new ones hold, and who starts next sees them.
    tx.lock(sql!("SELECT channel_id FROM gates ORDER BY channel_id", for_update), vec![]).await?;
    // Who waits for a limit that was just raised shall not wait on; a start closes the gate again where it must.
    tx.execute(sql!("UPDATE gates SET paused_until = NULL, pause_reason = NULL WHERE pause_reason = 'budget'"), vec![]).await?;
    Ok(ids)
}

/// The business of a channel that names none: one of its own, without a budget. The blank in front keeps it apart from a
/// business of the channel's name, for no name in a file begins with one.
fn own_business(channel: &Channel) -> String {
    format!(" {}", channel.name)
}

pub(super) async fn integrations(tx: &mut Tx, integrations: &[Integration]) -> Result<Ids, LedgerError> {
    tx.execute(sql!("UPDATE integrations SET is_default = $1, enabled = $1"), values![false]).await?;
    let mut ids = Ids::new();
    for integration in integrations {
        let (kind, reference) = secret(&integration.token);
        let row = tx
            .fetch_one(
                sql!(
                    "INSERT INTO integrations (id, name, description, gateway, url, token_kind, token_ref, is_default, release, enabled,
                        webhook_secret, look_up)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CAST($11 AS TEXT), $12)
                     ON CONFLICT (name) DO UPDATE SET description = excluded.description, gateway = excluded.gateway, url = excluded.url,
                        token_kind = excluded.token_kind, token_ref = excluded.token_ref, is_default = excluded.is_default,
                        release = excluded.release, enabled = excluded.enabled, webhook_secret = excluded.webhook_secret,
                        look_up = excluded.look_up RETURNING id"
                ),
                values![
                    new_id(),
                    &integration.name,
                    &integration.description,
                    integration.gateway.as_str(),
                    integration.url.as_str(),
                    kind,
                    reference,
                    integration.default,
                    integration.release.as_str(),
                    integration.enabled,
                    webhook_secret(integration.webhook_secret.as_ref())?,
                    integration.look_up
                ],
            )
            .await?;
        ids.insert(integration.name.clone(), row.id("id")?);
    }
    Ok(ids)
}

pub(super) async fn channels(
    tx: &mut Tx,
    channels: &[Channel],
    integrations: &Ids,
    businesses: &Ids,
    now: DateTime<Utc>,
) -> Result<Ids, LedgerError> {
    let mut ids = Ids::new();
    for channel in channels {
        let row = tx
            .fetch_one(
                sql!(
                    "INSERT INTO channels (id, name, integration_id, provider_id, per_second, business_id)
                     VALUES ($1, $2, $3, $4, CAST($5 AS BIGINT), $6)
                     ON CONFLICT (name) DO UPDATE SET integration_id = excluded.integration_id, provider_id = excluded.provider_id,
                        per_second = excluded.per_second, business_id = excluded.business_id RETURNING id"
                ),
                values![
                    new_id(),
                    &channel.name,
                    id_of(integrations, &channel.integration)?,
                    &channel.id,
                    channel.per_second.map(NonZeroU16::get),
                    id_of(businesses, &channel.business.clone().unwrap_or_else(|| own_business(channel)))?
                ],
            )
            .await?;
        let id = row.id("id")?;
        tx.execute(sql!("INSERT INTO gates (channel_id, next_free_at) VALUES ($1, $2) ON CONFLICT DO NOTHING"), values![id, now])
            .await?;
        ids.insert(channel.name.clone(), id);
    }
    Ok(ids)
}

pub(super) async fn notices(tx: &mut Tx, notices: &[Notice], integrations: &Ids, channels: &Ids) -> Result<Ids, LedgerError> {
    let mut ids = Ids::new();
    for notice in notices {
        let row = tx
            .fetch_one(
                sql!(
                    "INSERT INTO notices (id, name, integration_id, channel_id, template_id, variables, payment, media)
                     VALUES ($1, $2, $3, $4, $5, $6, CAST($7 AS TEXT), CAST($8 AS TEXT))
                     ON CONFLICT (name) DO UPDATE SET integration_id = excluded.integration_id, channel_id = excluded.channel_id,
                        template_id = excluded.template_id, variables = excluded.variables, payment = excluded.payment,
                        media = excluded.media RETURNING id"
                ),
                values![
                    new_id(),
                    &notice.name,
                    id_of(integrations, &notice.integration)?,
                    id_of(channels, &notice.channel)?,
                    &notice.template,
                    &notice.variables,
                    notice.payment.map(|terms| serde_json::json!(terms).to_string()),
                    notice.media.as_ref().map(ToString::to_string)
                ],
            )
            .await?;
        ids.insert(notice.name.clone(), row.id("id")?);
    }
    Ok(ids)
}

/// Applies one policy. A stage that is switched on, or gets another day, counts from `today`; the others from when they did.
pub(super) async fn policy(
    tx: &mut Tx,
    policy: &Policy,
    before: Option<&Policy>,
    notices: &Ids,
    today: NaiveDate,
) -> Result<(), LedgerError> {
    let filters = serde_json::to_string(&policy.filters).map_err(|_| LedgerError::unreadable("policies.filters", "no JSON"))?;
    let row = tx
        .fetch_one(
            sql!(
                "INSERT INTO policies (id, name, priority, enabled, activated_on, filters, stated_activated_on, hours)
                 VALUES ($1, $2, $3, $4, $5, $6, CAST($7 AS TEXT), CAST($8 AS TEXT))
                 ON CONFLICT (name) DO UPDATE SET priority = excluded.priority, enabled = excluded.enabled, filters = excluded.filters,
                    stated_activated_on = excluded.stated_activated_on, hours = excluded.hours RETURNING id, activated_on"
            ),
            values![
                new_id(),
                &policy.name,
                policy.priority,
                policy.enabled,
                today,
                filters,
                policy.activated_on,
                policy.hours.map(hours_json)
            ],
        )
        .await?;
    let (id, policy_since) = (row.id("id")?, row.date("activated_on")?);
    let rows = tx.fetch(sql!("SELECT stage, activated_on FROM policy_stages WHERE policy_id = $1"), values![id]).await?;
    let mut since: HashMap<String, NaiveDate> = HashMap::new();
    for row in &rows {
        since.insert(row.text("stage")?, row.opt_date("activated_on")?.unwrap_or(policy_since));
    }
    tx.execute(sql!("DELETE FROM policy_stages WHERE policy_id = $1"), values![id]).await?;
    for stage in &policy.stages {
        let goes_on = before.is_some_and(|before| {
            before.enabled && before.stages.iter().any(|was| was.stage == stage.stage && was.enabled && was.days == stage.days)
        });
        let activated_on = since.get(stage.stage.as_str()).copied().filter(|_| goes_on).unwrap_or(today);
        tx.execute(
            sql!(
                "INSERT INTO policy_stages (policy_id, stage, days, notice_id, enabled, activated_on, closed_day, hours, only_after_notice)
                 VALUES ($1, $2, CAST($3 AS BIGINT), $4, $5, $6, CAST($7 AS TEXT), CAST($8 AS TEXT), $9)"
            ),
            values![
                id,
                stage.stage.as_str(),
                stage.days.map(i32::from),
                id_of(notices, &stage.notice)?,
                stage.enabled,
                activated_on,
                stage.closed_day.map(ClosedDay::as_str),
                stage.hours.map(hours_json),
                stage.only_after_notice.unwrap_or(true)
            ],
        )
        .await?;
    }
    Ok(())
}

fn hours_json(hours: WeekHours) -> String {
    serde_json::json!(hours).to_string()
}

/// A task that changed, or was switched on, catches up only what it would have fired from now on (F20).
pub(super) async fn tasks(tx: &mut Tx, tasks: &[Task], now: DateTime<Utc>) -> Result<(), LedgerError> {
    let names: Vec<_> = tasks.iter().map(|task| &task.name).collect();
    tx.execute(
        sql!("UPDATE tasks SET enabled = $2 WHERE name", (not_among 1 text)),
        values![serde_json::json!(names).to_string(), false],
    )
    .await?;
    for task in tasks {
        tx.execute(
            sql!(
                "INSERT INTO tasks (id, name, kind, minute, hour, day_of_month, month, day_of_week, zone, enabled, effective_from_at,
                    missed, catch_up_s)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                 ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, minute = excluded.minute, hour = excluded.hour,
                    day_of_month = excluded.day_of_month, month = excluded.month, day_of_week = excluded.day_of_week, zone = excluded.zone,
                    enabled = excluded.enabled, effective_from_at = excluded.effective_from_at, missed = excluded.missed,
                    catch_up_s = excluded.catch_up_s
                 WHERE (tasks.kind, tasks.minute, tasks.hour, tasks.day_of_month, tasks.month, tasks.day_of_week, tasks.zone, tasks.enabled,
                        tasks.missed, tasks.catch_up_s)
                    <> (excluded.kind, excluded.minute, excluded.hour, excluded.day_of_month, excluded.month, excluded.day_of_week,
                        excluded.zone, excluded.enabled, excluded.missed, excluded.catch_up_s)"
            ),
            values![
                new_id(),
                &task.name,
                task.kind.as_str(),
                &task.minute,
                &task.hour,
                &task.day_of_month,
                &task.month,
                &task.day_of_week,
                task.zone.name(),
                task.enabled,
                now,
                task.missed.as_str(),
                task.catch_up_s
            ],
        )
        .await?;
    }
    Ok(())
}

/// Applies one source; `names` are those of all, as a JSON array.
pub(super) async fn source(tx: &mut Tx, source: &Source, names: &str) -> Result<(), LedgerError> {
    let nowhere = SecretRef::Env(String::new());
    let (url, token, back, ahead) = match &source.kind {
        SourceKind::Ixc { url, token, days_back, days_ahead, .. } => (url.as_str(), token, *days_back, *days_ahead),
        SourceKind::Files => ("", &nowhere, 0, 0),
    };
    let last_look = match &source.kind {
        SourceKind::Ixc { last_look, .. } => *last_look,
        SourceKind::Files => None,
    };
    let (kind, reference) = secret(token);
    // The same ERP under another name stays the same source: its messages are keyed by it, and nobody shall get them again.
    tx.execute(
        sql!(
            "UPDATE sources SET name = $2 WHERE NOT EXISTS (SELECT 1 FROM sources s WHERE s.name = $2)
                AND id = (SELECT s.id FROM sources s WHERE s.kind = $3 AND s.url = $4 AND s.name",
            (not_among 1 text),
            " ORDER BY s.id LIMIT 1)"
        ),
        values![names, &source.name, source.kind.as_str(), url],
    )
    .await?;
    tx.execute(
        sql!(
            "INSERT INTO sources (id, name, kind, url, token_kind, token_ref, max_age_s, days_back, days_ahead, enabled, last_look_s,
                last_look_unanswered, webhook_secret)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, CAST($13 AS TEXT))
             ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, url = excluded.url, token_kind = excluded.token_kind,
                token_ref = excluded.token_ref, max_age_s = excluded.max_age_s, days_back = excluded.days_back,
                days_ahead = excluded.days_ahead, enabled = excluded.enabled, last_look_s = excluded.last_look_s,
                last_look_unanswered = excluded.last_look_unanswered, webhook_secret = excluded.webhook_secret"
        ),
        values![
            new_id(),
            &source.name,
            source.kind.as_str(),
            url,
            kind,
            reference,
            source.max_age_s,
            back,
            ahead,
            true,
            last_look.map(|look| look.max_age_s),
            last_look.map(|look| look.unanswered.as_str().to_owned()),
            webhook_secret(source.webhook_secret.as_ref())?
        ],
    )
    .await?;
    Ok(())
}

fn secret(token: &SecretRef) -> (&'static str, &str) {
    match token {
        SecretRef::Env(name) => ("env", name),
        SecretRef::File(path) => ("file", path),
        SecretRef::Ledger(name) => ("ledger", name),
    }
}

/// The reference to a webhook's secret as it is stored: JSON, so that every kind of reference has a place.
fn webhook_secret(secret: Option<&SecretRef>) -> Result<Option<String>, LedgerError> {
    let unreadable = |_| LedgerError::unreadable("webhook_secret", "a reference that is no JSON");
    secret.map(serde_json::to_string).transpose().map_err(unreadable)
}
