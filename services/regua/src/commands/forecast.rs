//! `regua run update-collections --dry-run`: what a run would write, how long sending it takes, what binds, what it costs.

use crate::commands::lists::cell;
use crate::commands::notices::beside_the_text;
use crate::commands::{Outcome, Session};
use crate::output::{self, Format, NOTHING_CONFIGURED, say, table};
use billing_evaluator::forecast::{self, Forecast};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use regua_domain::decide::expires_at;
use regua_domain::forecast::{BudgetPart, Load};
use regua_domain::money::Centavos;
use regua_domain::render::Rendered;
use regua_domain::schedule::TaskKind;
use regua_domain::stage::Stage;
use regua_domain::variables;
use regua_ledger::settings::Settings;
use regua_ledger::volume::ChannelRoom;
use regua_ledger::{Ledger, LedgerError};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Session {
    pub async fn forecast(&self, on: Option<NaiveDate>, format: Format) -> anyhow::Result<Outcome> {
        if self.ledger.configuration().await?.is_none() {
            say!("{NOTHING_CONFIGURED}");
            return Ok(Outcome::DidNotHold);
        }
        let forecast = forecast::forecast(&self.ledger, on).await?;
        let Outlook { settings, channels, .. } = Outlook::of(&self.ledger, &forecast, Waiting::Too).await?;
        let texts = self.sample_texts(&forecast.samples).await?;
        let told = told(&forecast, &settings, &channels, &texts);
        match format {
            Format::Json => output::line(&told),
            Format::Human => print(&told),
        }
        Ok(Outcome::Done)
    }

    /// What the first customer of each stage would read; its values alone where the template's text isn't known.
    async fn sample_texts(&self, samples: &BTreeMap<Stage, Rendered>) -> anyhow::Result<Vec<Value>> {
        let templates = self.ledger.templates().await?;
        let text = |sample: &Rendered| {
            let template = templates.iter().find(|template| template.template_id == sample.template_id);
            let text = template.and_then(|template| template.text.as_deref());
            text.map(|text| variables::fill(text, sample.values.by_position()))
        };
        Ok(samples
            .iter()
            .map(
                |(stage, sample)| json!({ "stage": stage, "text": text(sample), "values": sample.values, "media": sample.media }),
            )
            .collect())
    }
}

/// What every channel has to send, and until when it will have.
pub(crate) struct Outlook {
    /// What the channels go by.
    pub settings: Settings,
    /// The limits that they have.
    pub rooms: Vec<ChannelRoom>,
    /// Those that have something to send.
    pub channels: Vec<ChannelOutlook>,
}

impl Outlook {
    /// Of what a run would add, and what waits.
    pub(crate) async fn of(ledger: &Ledger, forecast: &Forecast, waiting: Waiting) -> Result<Self, LedgerError> {
        let settings = ledger.settings().await?;
        let from = Release::from(ledger, &settings, forecast.on).await?;
        let mut rooms = ledger.channel_rooms(from.at_once, from.by_task.unwrap_or(DateTime::<Utc>::MAX_UTC)).await?;
        if waiting == Waiting::GoneByThen {
            for room in &mut rooms {
                (room.waiting, room.unreleased, room.ending) = (0, 0, 0);
            }
        }
        let channels = rooms.iter().filter_map(|room| channel(room, &rooms, forecast, &settings, from)).collect();
        Ok(Self { settings, rooms, channels })
    }
}

/// What becomes of the messages that wait now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// They go with what is added.
    Too,
    /// By then they have gone, or ended.
    GoneByThen,
}

/// What one channel has to send.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChannelOutlook {
    /// Its name.
    pub channel: String,
    /// Messages, what waits already among them.
    pub messages: u64,
    /// What waits already.
    pub waiting: u64,
    /// What ends unsent before anything lets it go.
    pub ending: u64,
    /// Different people at most.
    pub recipients: u64,
    /// Its limit; `None` is unlimited.
    pub per_second: Option<u32>,
    /// When the first one leaves, in the provider's zone; `None` where no task releases it.
    pub begins_at: Option<String>,
    /// When the last one has left.
    pub ends_at: Option<String>,
    /// How long that takes.
    pub seconds: Option<i64>,
    /// What decides that.
    pub binds: &'static str,
    /// What ends unsent, for its windows pass first.
    pub unsent: u64,
}

/// From when on messages may leave.
#[derive(Clone, Copy)]
struct Release {
    /// What waits for no task: the first opening.
    at_once: DateTime<Utc>,
    /// What waits for one: the first opening after the next send-queued-messages.
    by_task: Option<DateTime<Utc>>,
    /// When what the run decides ends unsent.
    ends_at: DateTime<Utc>,
}

impl Release {
    /// When what a run of this date decides may leave: at once, and when the next send-queued-messages comes.
    async fn from(ledger: &Ledger, settings: &Settings, on: NaiveDate) -> Result<Self, LedgerError> {
        let begins_at = settings.times().looked_at_from(on, ledger.now().await?);
        let tasks = ledger.tasks().await?;
        let fires = tasks.iter().filter(|task| task.kind == TaskKind::SendQueuedMessages);
        let next = fires.filter_map(|task| task.schedule()?.next_after(task.zone, begins_at)).min();
        let window = settings.times().of(None, None);
        let opens_at = window.next_open(begins_at);
        Ok(Self {
            at_once: opens_at,
            by_task: next.map(|next| window.next_open(next)),
            ends_at: expires_at(&window, opens_at, None, settings.expiry.open_windows),
        })
    }
}

/// What all channels of a business have to send: they share its budget.
fn of_business(room: &ChannelRoom, rooms: &[ChannelRoom], forecast: &Forecast, release: Release) -> u64 {
    let of_business = rooms.iter().filter(|other| other.business_id == room.business_id);
    of_business.map(|other| other.waiting + added(other, forecast, release).0).sum()
}

/// Of what the run would add: messages that may go, and those that end before anything lets them.
fn added(room: &ChannelRoom, forecast: &Forecast, release: Release) -> (u64, u64) {
    let messages = forecast.channels.get(&room.id).map_or(0, |load| load.messages);
    let is_late = room.waits_for_task && release.by_task.is_some_and(|at| at >= release.ends_at);
    if is_late { (0, messages) } else { (messages, 0) }
}

/// How long a channel takes for what waits and what the run would add; `None` for one with nothing to send.
fn channel(
    room: &ChannelRoom,
    rooms: &[ChannelRoom],
    forecast: &Forecast,
    settings: &Settings,
    release: Release,
) -> Option<ChannelOutlook> {
    let (added, ending) = added(room, forecast, release);
    let (messages, ending) = (room.waiting + added, room.ending + ending);
    if messages + ending == 0 {
        return None;
    }
    let mine = |people: u64| {
        let part = u128::from(people) * u128::from(messages) / u128::from(of_business(room, rooms, forecast, release).max(1));
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    let per_24h = room.recipients_per_24h.map(u64::from);
    let budget_after = |sent: u64| {
        let left = |limit: u64| mine(limit.saturating_sub(room.recipients_used)).saturating_sub(sent);
        per_24h.map(|limit| BudgetPart { left: left(limit), per_24h: mine(limit) })
    };
    // Of what waits already nobody counts the people: each is taken for another one.
    let new = forecast.channels.get(&room.id).filter(|_| added > 0).map_or(0, forecast::ChannelForecast::recipients);
    let recipients = room.waiting + new;
    let parts = parts(room, messages, release);
    let (mut told, mut sent, mut unsent) = (Vec::new(), 0, 0);
    for (part, from) in &parts {
        let load = Load {
            messages: *part,
            recipients: recipients.min(*part),
            per_second: room.per_second,
            budget: budget_after(sent),
            open_windows: settings.expiry.open_windows,
        };
        let forecast = from.map(|from| load.forecast(&settings.times().of(None, None), from));
        unsent += forecast.map_or(*part, |forecast| forecast.unsent);
        told.extend(forecast);
        sent += part;
    }
    let (first, last) = (told.first(), told.last().filter(|_| told.len() == parts.len()));
    let local = |at: DateTime<Utc>| at.with_timezone(&settings.window.zone).to_rfc3339_opts(SecondsFormat::Secs, false);
    Some(ChannelOutlook {
        channel: room.name.clone(),
        messages,
        waiting: room.waiting,
        ending,
        recipients,
        per_second: room.per_second,
        begins_at: first.map(|first| local(first.begins_at)),
        ends_at: last.map(|last| local(last.ends_at)),
        seconds: last.zip(first).map(|(last, first)| (last.ends_at - first.begins_at).num_seconds()),
        binds: last.map_or(if parts.is_empty() { "nothing" } else { "no_task" }, |last| last.binds.as_str()),
        unsent,
    })
}

/// What a channel has to send, by when it may go: at once, and once the task comes; that one last.
fn parts(room: &ChannelRoom, messages: u64, release: Release) -> Vec<(u64, Option<DateTime<Utc>>)> {
    let by_task = if room.waits_for_task { messages - (room.waiting - room.unreleased) } else { 0 };
    let all = [(messages - by_task, Some(release.at_once)), (by_task, release.by_task)];
    all.into_iter().filter(|(part, _)| *part > 0).collect()
}

fn told(forecast: &Forecast, settings: &Settings, channels: &[ChannelOutlook], texts: &[Value]) -> Value {
    let to_send: u64 = forecast.to_send.values().sum();
    let cost = settings.price.per_message.map(|price| price.times(to_send));
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for ((_, why), n) in &forecast.skipped {
        *reasons.entry(why.as_str()).or_default() += n;
    }
    let stages = Stage::ALL.iter().filter_map(|stage| {
        let to_send = forecast.to_send.get(stage).copied().unwrap_or(0);
        let skipped: u64 = forecast.skipped.iter().filter(|((of, _), _)| of == stage).map(|(_, n)| n).sum();
        (to_send + skipped > 0)
            .then(|| json!({ "stage": stage, "erp": stage.erp_label(), "to_send": to_send, "skipped": skipped }))
    });
    json!({
        "on": forecast.on, "to_send": to_send, "revived": forecast.revived, "stages": stages.collect::<Vec<_>>(), "skipped": reasons,
        "not_due": forecast.not_due, "no_policy": forecast.no_policy, "pix_asked": forecast.pix_asked, "stale": forecast.stale,
        "channels": channels, "cost": cost.map(Centavos::format_brl),
        "price_per_message": settings.price.per_message.map(|price| price.to_string()),
        "samples": texts,
    })
}

fn print(told: &Value) {
    let field = |name: &str| cell(&told[name]);
    let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
    say!("update-collections on {}, without writing anything: {} messages to be sent", field("on"), field("to_send"));
    for source in list("stale") {
        say!("the mirror of {} is older than allowed: a run would read it again first", cell(&source));
    }
    let headings = ["stage", "erp", "to send", "skipped"];
    let row = |stage: &Value| headings.map(|heading| cell(&stage[heading.replace(' ', "_")])).to_vec();
    let rows: Vec<Vec<String>> = list("stages").iter().map(row).collect();
    if !rows.is_empty() {
        say!("{}", table(&headings, &rows).trim_end());
    }
    for (title, name) in [("skipped", "skipped"), ("nothing written", "not_due")] {
        for (why, n) in told[name].as_object().into_iter().flatten() {
            say!("{title}: {why} {n}");
        }
    }
    for (name, what) in [
        ("no_policy", "invoices without a policy"),
        ("revived", "of them skipped before"),
        ("pix_asked", "wait for a Pix code of the ERP's"),
    ] {
        if told[name].as_u64().is_some_and(|n| n > 0) {
            say!("{what}: {}", field(name));
        }
    }
    for channel in list("channels") {
        print_channel(&channel);
    }
    if told["cost"].is_string() {
        say!("costs: about {} at R${} a message", field("cost"), field("price_per_message"));
    }
    for sample in list("samples") {
        say!("\n{}:", cell(&sample["stage"]));
        match sample["text"].as_str() {
            Some(text) => say!("{text}"),
            None => say!("{} (the template's text isn't known yet: `regua config apply` reads it)", cell(&sample["values"])),
        }
        for line in beside_the_text(&sample) {
            say!("{line}");
        }
    }
}

fn print_channel(channel: &Value) {
    let part = |name: &str| cell(&channel[name]);
    if channel["begins_at"].is_null() {
        say!("{}: {} messages, and no send-queued-messages task that would release them", part("channel"), part("messages"));
        return;
    }
    let binds = match channel["binds"].as_str() {
        Some("per_second") => format!("the limit of {} per second binds", part("per_second")),
        Some("budget") => "the budget of recipients per 24 hours binds".to_owned(),
        Some("window") => "the window binds: it closes before all is sent".to_owned(),
        _ => "no limit binds".to_owned(),
    };
    say!(
        "{}: {} messages ({} of them wait already) to at most {} people, from {} to {}; {binds}",
        part("channel"),
        part("messages"),
        part("waiting"),
        part("recipients"),
        part("begins_at"),
        part("ends_at")
    );
    if channel["ending"].as_u64().is_some_and(|n| n > 0) {
        say!(
            "{}: {} messages would end unsent before the next send-queued-messages: run it by hand, or earlier",
            part("channel"),
            part("ending")
        );
    }
    if channel["unsent"].as_u64().is_some_and(|n| n > 0) {
        say!("{}: {} messages would end unsent, for their windows pass first", part("channel"), part("unsent"));
    }
}
