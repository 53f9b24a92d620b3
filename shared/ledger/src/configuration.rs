//! The configuration in the ledger: applied as a whole, read back as a whole.
//!
//! Entries are known by name. What a file no longer names is never deleted, for history refers to it: its integrations, policies,
//! tasks and sources are switched off, the rest stays unused. What is read back leaves out notices of integrations that are off, and the
//! stages that speak through them: no file may name either.

mod changes;

use crate::audit::{self, By};
use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::notices::{read_media, read_payment};
use crate::secrets;
use crate::settings::{self, Settings};
use crate::{Ledger, new_id};
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::calendar::Calendar;
use regua_domain::configuration::{
    Business, Channel, Configuration, Gateway, Integration, Notice, Policy, PolicyStage, Release, SecretRef, Source, SourceKind,
    Task,
};
use regua_domain::policy::ClosedDay;
use regua_domain::schedule::{Missed, TaskKind};
use regua_domain::stage::{Stage, StageKind};
use regua_domain::window::WeekHours;
use std::collections::{BTreeSet, HashMap};
use std::num::{NonZeroU16, NonZeroU32};
use uuid::Uuid;

/// Ids by name of one section.
type Ids = HashMap<String, Uuid>;

impl Ledger {
    /// As [`Ledger::apply_configuration_by`], by a process of its own accord.
    pub async fn apply_configuration(&self, configuration: Configuration) -> Result<(), LedgerError> {
        self.apply_configuration_by(configuration, By { who: "regua".into(), why: None }).await
    }

    /// Applies a whole configuration in one transaction: all of it or nothing. The audit log says who did, and what changed.
    pub async fn apply_configuration_by(&self, configuration: Configuration, by: By) -> Result<(), LedgerError> {
        self.db
            .write(move |tx| {
                let (configuration, by) = (configuration.clone(), by.clone());
                Box::pin(async move { apply(tx, &configuration, &by).await })
            })
            .await
    }

    /// Applies what a file said at a start, unless the same file was the last one applied so: a process that starts again must not undo what
    /// an operator applied since. Whether it was applied.
    pub async fn apply_file_once(&self, configuration: Configuration) -> Result<bool, LedgerError> {
        let text = serde_json::to_string(&configuration)
            .map_err(|_| LedgerError::unreadable("configuration", "a configuration that is no JSON"))?;
        self.db
            .write(move |tx| {
                let (configuration, text) = (configuration.clone(), text.clone());
                Box::pin(async move {
                    let known = tx
                        .execute(
                            sql!(
                                "INSERT INTO settings (name, value) VALUES ('applied_file', $1)
                                 ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE settings.value <> excluded.value"
                            ),
                            values![text],
                        )
                        .await?;
                    if known == 0 {
                        return Ok(false);
                    }
                    apply(tx, &configuration, &By { who: "REGUA_CONFIG".into(), why: None }).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// The configuration in force; `None` while nothing was ever applied.
    pub async fn configuration(&self) -> Result<Option<Configuration>, LedgerError> {
        let mut tx = self.db.read().await?;
        in_force(&mut tx).await
    }
}

async fn in_force(tx: &mut Tx) -> Result<Option<Configuration>, LedgerError> {
    let applied = tx.fetch_one(sql!("SELECT count(*) AS n FROM settings WHERE name = 'provider'"), vec![]).await?;
    if applied.count("n")? == 0 {
        return Ok(None);
    }
    read(tx).await.map(Some)
}

async fn apply(tx: &mut Tx, configuration: &Configuration, by: &By) -> Result<(), LedgerError> {
    secrets::are_there(tx, configuration).await?;
    let old = match in_force(tx).await {
        // What another version wrote is replaced all the same.
        Err(LedgerError::Unreadable { .. }) => None,
        old => old?,
    };
    let now = tx.now().await?;
    audit::note(tx, changes::entry(old.as_ref(), configuration, by), now).await?;
    let settings = Settings {
        window: configuration.window.clone(),
        calendar: Calendar { municipal: configuration.holidays.clone() },
        own_hours: own_hours(configuration),
        caps: configuration.caps,
        expiry: configuration.expiry,
        approval: configuration.approval,
        retention: configuration.retention,
        pilot: configuration.pilot.clone(),
        price: configuration.price,
        provider: configuration.provider.clone(),
    };
    let today = settings.times().date_at(now);
    settings::store(tx, &settings, now).await?;
    let businesses = apply_businesses(tx, configuration).await?;
    let integrations = apply_integrations(tx, &configuration.integrations).await?;
    let channels = apply_channels(tx, &configuration.channels, &integrations, &businesses, now).await?;
    let notices = apply_notices(tx, &configuration.notices, &integrations, &channels).await?;
    let mut before: HashMap<String, Policy> = HashMap::new();
    for policy in read_policies(tx).await? {
        before.insert(policy.name.clone(), policy);
    }
    tx.execute(sql!("UPDATE policies SET enabled = $1"), values![false]).await?;
    for policy in &configuration.policies {
        apply_policy(tx, policy, before.get(&policy.name), &notices, today).await?;
    }
    apply_tasks(tx, &configuration.tasks, now).await?;
    tx.execute(sql!("UPDATE sources SET enabled = $1"), values![false]).await?;
    let names = serde_json::json!(configuration.sources.iter().map(|source| &source.name).collect::<Vec<_>>()).to_string();
    for source in &configuration.sources {
        apply_source(tx, source, &names).await?;
    }
    Ok(())
}

/// The hours of policies and stages that are not those of the recipient's place, each once.
fn own_hours(configuration: &Configuration) -> Vec<WeekHours> {
    let of_policy = |policy: &Policy| policy.stages.iter().map(|stage| stage.hours).chain([policy.hours]).collect::<Vec<_>>();
    let hours: BTreeSet<WeekHours> = configuration.policies.iter().flat_map(of_policy).flatten().collect();
    hours.into_iter().collect()
}

fn id_of(ids: &Ids, name: &str) -> Result<Uuid, LedgerError> {
    ids.get(name).copied().ok_or_else(|| LedgerError::unreadable("configuration", "a name that it doesn't define"))
}

async fn apply_businesses(tx: &mut Tx, configuration: &Configuration) -> Result<Ids, LedgerError> {
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

async fn apply_integrations(tx: &mut Tx, integrations: &[Integration]) -> Result<Ids, LedgerError> {
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

async fn apply_channels(
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

async fn apply_notices(tx: &mut Tx, notices: &[Notice], integrations: &Ids, channels: &Ids) -> Result<Ids, LedgerError> {
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
async fn apply_policy(
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
async fn apply_tasks(tx: &mut Tx, tasks: &[Task], now: DateTime<Utc>) -> Result<(), LedgerError> {
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
async fn apply_source(tx: &mut Tx, source: &Source, names: &str) -> Result<(), LedgerError> {
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

async fn read(tx: &mut Tx) -> Result<Configuration, LedgerError> {
    let settings = settings::load(tx).await?;
    let businesses =
        tx.fetch(sql!("SELECT name, recipients_per_24h FROM businesses WHERE name NOT LIKE ' %' ORDER BY id"), vec![]).await?;
    let integrations = tx.fetch(sql!("SELECT * FROM integrations ORDER BY id"), vec![]).await?;
    let channels = tx
        .fetch(
            sql!(
                "SELECT c.*, i.name AS integration, CASE WHEN b.name LIKE ' %' THEN NULL ELSE b.name END AS business
                 FROM channels c JOIN integrations i ON i.id = c.integration_id JOIN businesses b ON b.id = c.business_id ORDER BY c.id"
            ),
            vec![],
        )
        .await?;
    let notices = tx
        .fetch(
            sql!(
                "SELECT n.*, i.name AS integration, c.name AS channel FROM notices n JOIN integrations i ON i.id = n.integration_id
                 JOIN channels c ON c.id = n.channel_id WHERE i.enabled ORDER BY n.id"
            ),
            vec![],
        )
        .await?;
    let tasks = tx.fetch(sql!("SELECT * FROM tasks ORDER BY id"), vec![]).await?;
    let sources = tx.fetch(sql!("SELECT * FROM sources WHERE enabled ORDER BY id"), vec![]).await?;
    Ok(Configuration {
        businesses: all(&businesses, read_business)?,
        integrations: all(&integrations, read_integration)?,
        channels: all(&channels, read_channel)?,
        notices: all(&notices, read_notice)?,
        policies: read_policies(tx).await?,
        tasks: all(&tasks, read_task)?,
        sources: all(&sources, read_source)?,
        window: settings.window,
        holidays: settings.calendar.municipal,
        caps: settings.caps,
        expiry: settings.expiry,
        approval: settings.approval,
        retention: settings.retention,
        pilot: settings.pilot,
        price: settings.price,
        provider: settings.provider,
    })
}

fn all<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, LedgerError>) -> Result<Vec<T>, LedgerError> {
    rows.iter().map(read).collect()
}

pub(crate) fn read_secret(row: &Row) -> Result<SecretRef, LedgerError> {
    let reference = row.text("token_ref")?;
    row.named("token_kind", |kind| match kind {
        "env" => Some(SecretRef::Env(reference.clone())),
        "file" => Some(SecretRef::File(reference.clone())),
        "ledger" => Some(SecretRef::Ledger(reference.clone())),
        _ => None,
    })
}

fn read_url(row: &Row) -> Result<regua_domain::configuration::url::Url, LedgerError> {
    row.named("url", |text| text.parse().ok())
}

fn read_business(row: &Row) -> Result<Business, LedgerError> {
    let limit = row.opt_int("recipients_per_24h")?.and_then(|n| u32::try_from(n).ok());
    Ok(Business { name: row.text("name")?, recipients_per_24h: limit.and_then(NonZeroU32::new) })
}

fn read_integration(row: &Row) -> Result<Integration, LedgerError> {
    Ok(Integration {
        name: row.text("name")?,
        description: row.text("description")?,
        gateway: row
            .named("gateway", |name| Gateway::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value))?,
        url: read_url(row)?,
        token: read_secret(row)?,
        default: row.flag("is_default")?,
        release: row
            .named("release", |name| Release::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value))?,
        enabled: row.flag("enabled")?,
        webhook_secret: row.opt_json("webhook_secret")?,
        look_up: row.flag("look_up")?,
    })
}

fn read_channel(row: &Row) -> Result<Channel, LedgerError> {
    let limit = row.opt_int("per_second")?.and_then(|n| u16::try_from(n).ok());
    Ok(Channel {
        name: row.text("name")?,
        integration: row.text("integration")?,
        id: row.text("provider_id")?,
        per_second: limit.and_then(NonZeroU16::new),
        business: row.opt_text("business")?,
    })
}

fn read_notice(row: &Row) -> Result<Notice, LedgerError> {
    Ok(Notice {
        name: row.text("name")?,
        integration: row.text("integration")?,
        channel: row.text("channel")?,
        template: row.text("template_id")?,
        variables: row.text("variables")?,
        payment: read_payment(row)?,
        media: read_media(row)?,
    })
}

async fn read_policies(tx: &mut Tx) -> Result<Vec<Policy>, LedgerError> {
    let rows = tx
        .fetch(sql!("SELECT id, name, priority, enabled, filters, stated_activated_on, hours FROM policies ORDER BY id"), vec![])
        .await?;
    let mut policies = Vec::with_capacity(rows.len());
    for row in &rows {
        let stages = tx
            .fetch(
                sql!(
                    "SELECT ps.stage, ps.days, ps.enabled, ps.only_after_notice, ps.closed_day, ps.hours, n.name AS notice
                     FROM policy_stages ps JOIN notices n ON n.id = ps.notice_id JOIN integrations i ON i.id = n.integration_id
                     WHERE i.enabled AND ps.policy_id = $1"
                ),
                values![row.id("id")?],
            )
            .await?;
        let mut stages = all(&stages, |row| {
            let stage = row.named("stage", Stage::parse)?;
            Ok(PolicyStage {
                stage,
                only_after_notice: if stage.kind() == StageKind::Event { Some(row.flag("only_after_notice")?) } else { None },
                days: row.opt_int("days")?.and_then(|days| i16::try_from(days).ok()),
                notice: row.text("notice")?,
                enabled: row.flag("enabled")?,
                closed_day: read_closed_day(row, stage)?,
                hours: row.opt_json("hours")?,
            })
        })?;
        stages.sort_by_key(|stage| stage.stage);
        policies.push(Policy {
            name: row.text("name")?,
            priority: u16::try_from(row.int("priority")?).unwrap_or(u16::MAX),
            enabled: row.flag("enabled")?,
            filters: row.json("filters")?,
            activated_on: row.opt_date("stated_activated_on")?,
            hours: row.opt_json("hours")?,
            stages,
        });
    }
    Ok(policies)
}

/// What a closed day means for a stage; rows from before it could be said have what holds where nothing is said.
pub(crate) fn read_closed_day(row: &Row, stage: Stage) -> Result<Option<ClosedDay>, LedgerError> {
    let stored = row.opt_named("closed_day", ClosedDay::parse)?;
    Ok(stored.or((stage.kind() == StageKind::Dated).then_some(ClosedDay::default_of(stage))))
}

fn read_task(row: &Row) -> Result<Task, LedgerError> {
    Ok(Task {
        name: row.text("name")?,
        kind: row.named("kind", TaskKind::parse)?,
        minute: row.text("minute")?,
        hour: row.text("hour")?,
        day_of_month: row.text("day_of_month")?,
        month: row.text("month")?,
        day_of_week: row.text("day_of_week")?,
        zone: row.named("zone", |zone| zone.parse().ok())?,
        enabled: row.flag("enabled")?,
        missed: row.named("missed", Missed::parse)?,
        catch_up_s: row.small("catch_up_s")?,
    })
}

fn read_source(row: &Row) -> Result<Source, LedgerError> {
    let days = |name: &str| row.int(name).map(|days| u16::try_from(days).unwrap_or(u16::MAX));
    let kind = if row.text("kind")? == "ixc" {
        SourceKind::Ixc {
            url: read_url(row)?,
            token: read_secret(row)?,
            days_back: days("days_back")?,
            days_ahead: days("days_ahead")?,
            last_look: crate::looks::read(row)?,
        }
    } else {
        SourceKind::Files
    };
    Ok(Source {
        name: row.text("name")?,
        kind,
        max_age_s: row.small("max_age_s")?,
        webhook_secret: row.opt_json("webhook_secret")?,
    })
}
