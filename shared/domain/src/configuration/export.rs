//! A configuration as the file that says it, and as the list of entries that two configurations are compared by.

use super::model::{Configuration, LastLook, Policy, PolicyStage, SecretRef, Source, SourceKind};
use super::window_settings::WindowSettings;
use crate::calendar::{MunicipalDay, MunicipalHoliday};
use crate::pilot::Pilot;
use crate::policy::Filter;
use crate::provider::{Identity, Provider};
use crate::window::WeekHours;

/// The file that parses to `configuration` again. Secrets are references; addresses are written out as they were normalised.
///
/// That holds for every configuration that [`Configuration::parse`] can give, under the same permission for private addresses.
pub fn export(configuration: &Configuration) -> String {
    let mut file = String::from("# Written by `regua config export`.\n");
    for entry in entries(configuration) {
        file.push('\n');
        file.push_str(entry.header);
        file.push('\n');
        for (key, value) in &entry.fields {
            file.push_str(key);
            file.push_str(" = ");
            file.push_str(value);
            file.push('\n');
        }
    }
    file
}

/// One section of a file.
pub(super) struct Entry {
    /// `[[channel]]`.
    pub header: &'static str,
    /// What tells it from the others with the same header; empty where there is only one.
    pub name: String,
    /// Keys and values in TOML's notation, every key that has a value.
    pub fields: Vec<(&'static str, String)>,
}

/// Every section, in an order that a person would write them in.
pub(super) fn entries(configuration: &Configuration) -> Vec<Entry> {
    let mut entries = Vec::new();
    entries.extend(configuration.integrations.iter().map(|integration| {
        let fields = vec![
            ("name", text(&integration.name)),
            ("description", text(&integration.description)),
            ("gateway", text(integration.gateway.as_str())),
            ("url", text(integration.url.as_str())),
            secret(TOKEN_KEYS, &integration.token),
            ("default", integration.default.to_string()),
            ("release", text(integration.release.as_str())),
            ("enabled", integration.enabled.to_string()),
            webhook_secret(integration.webhook_secret.as_ref()),
            ("look_up", integration.look_up.to_string()),
        ];
        Entry { header: "[[integration]]", name: integration.name.clone(), fields: without_empty(fields) }
    }));
    entries.extend(configuration.businesses.iter().map(|business| {
        let fields = vec![("name", text(&business.name)), ("recipients_per_24h", limit(business.recipients_per_24h))];
        Entry { header: "[[business]]", name: business.name.clone(), fields }
    }));
    entries.extend(configuration.channels.iter().map(|channel| {
        let fields = vec![
            ("name", text(&channel.name)),
            ("integration", text(&channel.integration)),
            ("id", text(&channel.id)),
            ("per_second", limit(channel.per_second)),
            ("business", text(channel.business.as_deref().unwrap_or_default())),
        ];
        Entry { header: "[[channel]]", name: channel.name.clone(), fields: without_empty(fields) }
    }));
    entries.extend(configuration.notices.iter().map(|notice| {
        let fields = vec![
            ("name", text(&notice.name)),
            ("integration", text(&notice.integration)),
            ("channel", text(&notice.channel)),
            ("template", text(&notice.template)),
            ("variables", text(&notice.variables)),
            ("payment", notice.payment.map_or_else(String::new, |terms| text(terms.means.as_str()))),
            ("payment_amount", notice.payment.map_or_else(String::new, |terms| text(terms.amount.as_str()))),
            ("media", notice.media.as_ref().map_or_else(String::new, |media| text(&media.to_string()))),
        ];
        Entry { header: "[[notice]]", name: notice.name.clone(), fields: without_empty(fields) }
    }));
    for policy in &configuration.policies {
        entries.push(policy_entry(policy));
        entries.extend(filters_entry(policy));
        entries.extend(policy.stages.iter().map(|stage| stage_entry(policy, stage)));
    }
    entries.extend(configuration.tasks.iter().map(|task| {
        let fields = vec![
            ("name", text(&task.name)),
            ("kind", text(task.kind.as_str())),
            ("minute", text(&task.minute)),
            ("hour", text(&task.hour)),
            ("day_of_month", text(&task.day_of_month)),
            ("month", text(&task.month)),
            ("day_of_week", text(&task.day_of_week)),
            ("zone", text(task.zone.name())),
            ("enabled", task.enabled.to_string()),
            ("missed", text(task.missed.as_str())),
            ("catch_up", text(&duration(task.catch_up_s))),
        ];
        Entry { header: "[[task]]", name: task.name.clone(), fields }
    }));
    entries.extend(configuration.sources.iter().map(source_entry));
    entries.extend(window_entries(&configuration.window));
    entries.extend(configuration.holidays.iter().map(holiday_entry));
    entries.extend(settings(configuration));
    entries.extend(provider(&configuration.provider));
    entries
}

fn policy_entry(policy: &Policy) -> Entry {
    let fields = vec![
        ("name", text(&policy.name)),
        ("priority", policy.priority.to_string()),
        ("enabled", policy.enabled.to_string()),
        ("activated_on", policy.activated_on.map_or_else(String::new, |date| date.to_string())),
        ("hours", hours(policy.hours)),
    ];
    Entry { header: "[[policy]]", name: policy.name.clone(), fields: without_empty(fields) }
}

/// A policy's filters, if it has any.
fn filters_entry(policy: &Policy) -> Option<Entry> {
    let values = Filter::ALL.iter().map(|filter| (filter.as_str(), list(policy.filters.values(*filter))));
    let amount = policy.filters.amount_min.map_or_else(String::new, |amount| text(&amount.format_brl()));
    let fields = without_empty(values.chain([(Filter::AmountMin.as_str(), amount)]).collect());
    (!fields.is_empty()).then(|| Entry { header: "[policy.filters]", name: policy.name.clone(), fields })
}

fn stage_entry(policy: &Policy, stage: &PolicyStage) -> Entry {
    let fields = vec![
        ("stage", text(stage.stage.as_str())),
        ("days", stage.days.map_or_else(String::new, |days| days.to_string())),
        ("notice", text(&stage.notice)),
        ("enabled", stage.enabled.to_string()),
        ("only_after_notice", stage.only_after_notice.map_or_else(String::new, |only| only.to_string())),
        ("closed_day", stage.closed_day.map_or_else(String::new, |closed_day| text(closed_day.as_str()))),
        ("hours", hours(stage.hours)),
    ];
    let name = format!("{} / {}", policy.name, stage.stage);
    Entry { header: "[[policy.stage]]", name, fields: without_empty(fields) }
}

fn source_entry(source: &Source) -> Entry {
    let mut fields = vec![("name", text(&source.name)), ("kind", text(source.kind.as_str()))];
    if let SourceKind::Ixc { url, token, days_back, days_ahead, last_look } = &source.kind {
        fields.extend([("url", text(url.as_str())), secret(TOKEN_KEYS, token)]);
        fields.extend([("days_back", days_back.to_string()), ("days_ahead", days_ahead.to_string())]);
        if let Some(LastLook { max_age_s, unanswered }) = last_look {
            fields.extend([("last_look", text(&duration(*max_age_s))), ("last_look_unanswered", text(unanswered.as_str()))]);
        }
    }
    fields.extend([("max_age", text(&duration(source.max_age_s))), webhook_secret(source.webhook_secret.as_ref())]);
    Entry { header: "[[source]]", name: source.name.clone(), fields: without_empty(fields) }
}

fn window_entries(window: &WindowSettings) -> Vec<Entry> {
    let fields =
        vec![("hours", hours(Some(window.hours))), ("zone", text(window.zone.name())), ("states", text(window.states.as_str()))];
    let own = window.own.iter().map(|state| {
        let fields = vec![("uf", text(state.uf.as_str())), ("hours", hours(Some(state.hours)))];
        Entry { header: "[[window.state]]", name: state.uf.to_string(), fields }
    });
    [Entry { header: "[window]", name: String::new(), fields }].into_iter().chain(own).collect()
}

fn holiday_entry(holiday: &MunicipalHoliday) -> Entry {
    let day = match holiday.day {
        MunicipalDay::EveryYear { month, day } => ("every", text(&format!("{day:02}/{month:02}"))),
        MunicipalDay::Once(date) => ("date", date.to_string()),
    };
    let fields =
        vec![("name", text(&holiday.name)), ("uf", text(holiday.uf.as_str())), ("city", text(&holiday.city)), day.clone()];
    let name = format!("{} / {} {} / {}", holiday.name, holiday.uf, holiday.city, day.1);
    Entry { header: "[[holiday]]", name, fields: without_empty(fields) }
}

fn settings(configuration: &Configuration) -> Vec<Entry> {
    let entry = |header, fields| Entry { header, name: String::new(), fields };
    let price = configuration.price.per_message.map(|price| entry("[price]", vec![("per_message", text(&price.to_string()))]));
    let always = [
        entry(
            "[caps]",
            vec![
                ("per_day", configuration.caps.per_day.to_string()),
                ("per_7_days", configuration.caps.per_7_days.to_string()),
                ("days_between_stages", configuration.caps.days_between_stages.to_string()),
            ],
        ),
        entry("[expiry]", vec![("open_windows", configuration.expiry.open_windows.to_string())]),
        entry("[approval]", vec![("above", limit(configuration.approval.above))]),
        entry("[retention]", vec![("personal_data_days", configuration.retention.personal_data_days.to_string())]),
    ];
    let pilot = match &configuration.pilot {
        Pilot::Off => None,
        Pilot::Only(phones) => {
            let phones: Vec<String> = phones.iter().map(|phone| phone.e164().to_owned()).collect();
            Some(entry("[pilot]", vec![("phones", list(&phones))]))
        }
        Pilot::RedirectTo(phone) => Some(entry("[pilot]", vec![("redirect_to", text(phone.e164()))])),
    };
    always.into_iter().chain(price).chain(pilot).collect()
}

fn provider(provider: &Provider) -> Vec<Entry> {
    let mut head = identity(&provider.head);
    head.push(("days_late_from", text(provider.days_late_from.as_str())));
    let mut entries = vec![Entry { header: "[provider]", name: String::new(), fields: without_empty(head) }];
    entries.extend(provider.branches.iter().map(|branch| {
        let mut fields = vec![("id", text(&branch.id))];
        fields.extend(identity(&branch.identity));
        Entry { header: "[[branch]]", name: branch.id.clone(), fields: without_empty(fields) }
    }));
    entries
}

fn identity(identity: &Identity) -> Vec<(&'static str, String)> {
    vec![
        ("name", text(&identity.name)),
        ("trade_name", text(&identity.trade_name)),
        ("tax_id", text(&identity.tax_id)),
        ("address", text(&identity.address)),
        ("phone", text(&identity.phone)),
        ("pix_key", identity.pix_key.as_ref().map_or_else(String::new, |key| text(key.as_str()))),
        ("pix_key_type", identity.pix_key.as_ref().map_or_else(String::new, |key| text(key.kind().as_str()))),
    ]
}

/// The keys of a token, in the order of the kinds of references.
const TOKEN_KEYS: [&str; 3] = ["token_env", "token_file", "token_secret"];

/// A secret under one of its keys.
fn secret([env, file, ledger]: [&'static str; 3], secret: &SecretRef) -> (&'static str, String) {
    match secret {
        SecretRef::Env(name) => (env, text(name)),
        SecretRef::File(path) => (file, text(path)),
        SecretRef::Ledger(name) => (ledger, text(name)),
    }
}

fn webhook_secret(reference: Option<&SecretRef>) -> (&'static str, String) {
    reference.map_or(("", String::new()), |reference| {
        secret(["webhook_secret_env", "webhook_secret_file", "webhook_secret"], reference)
    })
}

/// In the largest unit that loses nothing: `6h`.
fn duration(seconds: u32) -> String {
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
    let whole = units.into_iter().find(|(unit_s, _)| seconds.is_multiple_of(*unit_s));
    whole.map_or_else(|| format!("{seconds}s"), |(unit_s, unit)| format!("{}{unit}", seconds / unit_s))
}

fn limit(limit: Option<impl ToString>) -> String {
    limit.map_or_else(|| text("unlimited"), |limit| limit.to_string())
}

/// The hours of a week as a list of entries; nothing for none.
fn hours(hours: Option<WeekHours>) -> String {
    hours.map_or_else(String::new, |hours| list(&hours.entries()))
}

/// A list in TOML's notation; nothing for an empty one.
fn list(values: &[String]) -> String {
    if values.is_empty() {
        String::new()
    } else {
        format!("[{}]", values.iter().map(|value| text(value)).collect::<Vec<_>>().join(", "))
    }
}

/// In TOML's notation, escaped; nothing for nothing.
fn text(value: &str) -> String {
    if value.is_empty() { String::new() } else { toml::Value::String(value.to_owned()).to_string() }
}

fn without_empty(mut fields: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    fields.retain(|(_, value)| !value.is_empty());
    fields
}
