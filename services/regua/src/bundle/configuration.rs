//! The configuration as a support bundle has it: numbers, dates, switches and closed names, field by field. What isn't written here stays.

use super::names::Names;
use regua_domain::configuration::{
    Channel, Configuration, Integration, Notice, Policy, PolicyStage, SecretRef, Source, SourceKind, Task,
};
use regua_domain::filling::Parameters;
use regua_domain::pilot::Pilot;
use regua_domain::policy::PolicyFilters;
use serde_json::{Value, json};

pub(super) fn told(configuration: &Configuration, names: &mut Names) -> Value {
    let integrations: Vec<_> = configuration.integrations.iter().map(|one| integration(one, names)).collect();
    let businesses: Vec<_> = configuration
        .businesses
        .iter()
        .map(|one| json!({ "business": names.alias("business", &one.name), "recipients_per_24h": one.recipients_per_24h }))
        .collect();
    let channels: Vec<_> = configuration.channels.iter().map(|one| channel(one, names)).collect();
    let notices: Vec<_> = configuration.notices.iter().map(|one| notice(one, names)).collect();
    let policies: Vec<_> = configuration.policies.iter().map(|one| policy(one, names)).collect();
    let tasks: Vec<_> = configuration.tasks.iter().map(|one| task(one, names)).collect();
    let sources: Vec<_> = configuration.sources.iter().map(|one| source(one, names)).collect();
    json!({
        "integrations": integrations, "businesses": businesses, "channels": channels, "notices": notices, "policies": policies,
        "tasks": tasks, "sources": sources,
        "window": configuration.window, "holidays": configuration.holidays.len(),
        "caps": configuration.caps, "expiry": configuration.expiry, "approval": configuration.approval,
        "retention": configuration.retention, "has_price": configuration.price.per_message.is_some(),
        "pilot": pilot(&configuration.pilot), "branches": configuration.provider.branches.len(),
        "days_late_from": configuration.provider.days_late_from,
    })
}

/// Whom messages reach: how many phones, never which.
pub(super) fn pilot(pilot: &Pilot) -> Value {
    match pilot {
        Pilot::Off => json!("off"),
        Pilot::Only(phones) => json!({ "only": phones.len() }),
        Pilot::RedirectTo(_) => json!("redirect"),
    }
}

/// Where a secret is found; not even the name of it.
const fn kind(secret: &SecretRef) -> &'static str {
    match secret {
        SecretRef::Env(_) => "env",
        SecretRef::File(_) => "file",
        SecretRef::Ledger(_) => "ledger",
    }
}

fn integration(one: &Integration, names: &mut Names) -> Value {
    json!({
        "integration": names.alias("integration", &one.name), "gateway": one.gateway.as_str(), "is_https": one.url.scheme() == "https",
        "token": kind(&one.token), "default": one.default, "release": one.release.as_str(), "enabled": one.enabled,
        "webhook_secret": one.webhook_secret.as_ref().map(kind), "look_up": one.look_up,
    })
}

fn channel(one: &Channel, names: &mut Names) -> Value {
    json!({
        "channel": names.alias("channel", &one.name), "integration": names.alias("integration", &one.integration),
        "per_second": one.per_second, "business": one.business.as_ref().map(|business| names.alias("business", business)),
    })
}

/// Variables are counted, not repeated: words may stand between them.
fn notice(one: &Notice, names: &mut Names) -> Value {
    let filling = one.filling().ok();
    let variables = filling.as_ref().map(|filling| match &filling.parameters {
        Parameters::ByPosition(entries) => entries.len(),
        Parameters::Payment(_) => 0,
    });
    json!({
        "notice": names.alias("notice", &one.name), "channel": names.alias("channel", &one.channel), "variables": variables,
        "payment": one.payment.map(|terms| terms.means.as_str()), "media": one.media.is_some(),
    })
}

fn policy(one: &Policy, names: &mut Names) -> Value {
    let stages: Vec<_> = one.stages.iter().map(|stage| policy_stage(stage, names)).collect();
    json!({
        "policy": names.alias("policy", &one.name), "priority": one.priority, "enabled": one.enabled, "filters": filters(&one.filters),
        "activated_on": one.activated_on, "hours": one.hours, "stages": stages,
    })
}

/// How many values each filter has.
fn filters(filters: &PolicyFilters) -> Value {
    json!({
        "branch": filters.branch.len(), "portfolio": filters.portfolio.len(), "customer_type": filters.customer_type.len(),
        "person_type": filters.person_type.len(), "receipt_type": filters.receipt_type.len(),
        "contract_status": filters.contract_status.len(), "city": filters.city.len(), "amount_min": filters.amount_min.is_some(),
    })
}

fn policy_stage(one: &PolicyStage, names: &mut Names) -> Value {
    json!({
        "stage": one.stage, "days": one.days, "notice": names.alias("notice", &one.notice), "enabled": one.enabled,
        "only_after_notice": one.only_after_notice, "closed_day": one.closed_day, "hours": one.hours,
    })
}

/// Its five fields are a schedule's: they were read, so they hold nothing else.
fn task(one: &Task, names: &mut Names) -> Value {
    let schedule = one.schedule().is_ok().then_some([&one.minute, &one.hour, &one.day_of_month, &one.month, &one.day_of_week]);
    json!({
        "task": names.alias("task", &one.name), "kind": one.kind.as_str(), "schedule": schedule, "zone": one.zone.name(),
        "enabled": one.enabled, "missed": one.missed.as_str(), "catch_up_s": one.catch_up_s,
    })
}

fn source(one: &Source, names: &mut Names) -> Value {
    let webservice = match &one.kind {
        SourceKind::Files => Value::Null,
        SourceKind::Ixc { url, token, days_back, days_ahead, last_look } => json!({
            "is_https": url.scheme() == "https", "token": kind(token), "days_back": days_back, "days_ahead": days_ahead,
            "last_look": last_look,
        }),
    };
    json!({
        "source": names.alias("source", &one.name), "kind": one.kind.as_str(), "webservice": webservice, "max_age_s": one.max_age_s,
        "webhook_secret": one.webhook_secret.as_ref().map(kind),
    })
}
