//! Reads the configuration back.

use crate::database::{Row, Tx};
use crate::error::LedgerError;
use crate::notices::{read_media, read_payment};
use crate::settings;
use regua_domain::configuration::{
    Business, Channel, Configuration, Gateway, Integration, Notice, Policy, PolicyStage, Release, SecretRef, Source, SourceKind,
    Task,
};
use regua_domain::policy::ClosedDay;
use regua_domain::schedule::{Missed, TaskKind};
use regua_domain::stage::{Stage, StageKind};
use std::num::{NonZeroU16, NonZeroU32};

pub(super) async fn configuration(tx: &mut Tx) -> Result<Configuration, LedgerError> {
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
        policies: policies(tx).await?,
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

pub(super) async fn policies(tx: &mut Tx) -> Result<Vec<Policy>, LedgerError> {
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
