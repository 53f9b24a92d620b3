//! What update-collections would decide, without writing anything: the same pages, the same decisions, only added up.

use crate::evaluate::lacks_pix;
use chrono::{DateTime, NaiveDate, Utc};
use regua_domain::decide::{Day, decide, due_dates};
use regua_domain::events::first_day;
use regua_domain::ids::ChannelId;
use regua_domain::message::SkipReason;
use regua_domain::policy::{PolicyPlan, needs_totals, policy_for};
use regua_domain::render::Rendered;
use regua_domain::stage::Stage;
use regua_ledger::evaluation::Candidate;
use regua_ledger::events::{EventCursor, decide_page};
use regua_ledger::mirror::Source;
use regua_ledger::runs::Cursor;
use regua_ledger::settings::Settings;
use regua_ledger::{Ledger, LedgerError};
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

/// What a run would write.
#[derive(Debug, Default)]
pub struct Forecast {
    /// The date that was decided for.
    pub on: NaiveDate,
    /// Messages to be sent, new ones and those that come back, by stage.
    pub to_send: BTreeMap<Stage, u64>,
    /// Of those, the ones that are skipped now and would come back.
    pub revived: u64,
    /// New messages that would be written as skipped, by stage and reason.
    pub skipped: BTreeMap<(Stage, SkipReason), u64>,
    /// Invoices for which nothing would be written, by why.
    pub not_due: BTreeMap<&'static str, u64>,
    /// Open invoices that no policy speaks for.
    pub no_policy: u64,
    /// Messages whose Pix code the run would ask the ERP for: until then they have no text.
    pub pix_asked: u64,
    /// The first text of each stage.
    pub samples: BTreeMap<Stage, Rendered>,
    /// What each channel would have to send.
    pub channels: BTreeMap<ChannelId, ChannelForecast>,
    /// Sources whose mirror is older than allowed: a run would sync them first, and decide nothing while that fails.
    pub stale: Vec<String>,
}

/// What one channel would have to send.
#[derive(Debug, Default)]
pub struct ChannelForecast {
    /// Messages.
    pub messages: u64,
    /// Different people. Their phones are kept as hashes, eight bytes for each.
    people: HashSet<u64>,
}

impl ChannelForecast {
    /// How many different people the messages go to.
    pub fn recipients(&self) -> u64 {
        self.people.len() as u64
    }
}

/// Decides what a run for `on` would, from the mirror as it is. A date other than today's is looked at from its beginning; events are those
/// of today, whatever the date.
///
/// # Errors
/// Whatever the ledger says.
pub async fn forecast(ledger: &Ledger, on: Option<NaiveDate>) -> Result<Forecast, LedgerError> {
    let (settings, policies, now) = (ledger.settings().await?, ledger.policies().await?, ledger.now().await?);
    let (times, provider) = (settings.times(), &settings.provider);
    let today = on.unwrap_or_else(|| times.date_at(now));
    let begins_at = times.looked_at_from(today, now);
    let days_between_stages = settings.caps.days_between_stages;
    let day = Day { today, now: begins_at, times, provider, days_between_stages };
    let mut told = Tally {
        settings: &settings,
        policies: &policies,
        hasher: RandomState::new(),
        forecast: Forecast { on: today, ..Forecast::default() },
    };
    for source in ledger.sources().await? {
        if !source.is_fresh(now) {
            told.forecast.stale.push(source.name.clone());
        }
        told.events(ledger, &source, now).await?;
        told.invoices(ledger, &source, day).await?;
    }
    Ok(told.forecast)
}

/// A forecast that is being added up.
struct Tally<'a> {
    settings: &'a Settings,
    policies: &'a [PolicyPlan],
    hasher: RandomState,
    forecast: Forecast,
}

impl Tally<'_> {
    async fn events(&mut self, ledger: &Ledger, source: &Source, now: DateTime<Utc>) -> Result<(), LedgerError> {
        let told_since = first_day(self.settings.times().date_at(now));
        let mut after = Some(EventCursor::default());
        while let Some(cursor) = after {
            let (limit, with_totals) = (ledger.evaluation_page(), needs_totals(self.policies));
            let (candidates, next) = ledger.events(source.id, told_since, &cursor, limit, with_totals).await?;
            let (messages, _) = decide_page(&candidates, self.policies, self.settings, now);
            for message in messages {
                self.add(message.stage, message.channel_id, message.revives, message.text);
            }
            after = next;
        }
        Ok(())
    }

    async fn invoices(&mut self, ledger: &Ledger, source: &Source, day: Day<'_>) -> Result<(), LedgerError> {
        let Some(due) = due_dates(self.policies, day.today) else { return Ok(()) };
        let with_totals = needs_totals(self.policies);
        let limit = ledger.evaluation_page();
        let mut after: Option<Cursor> = None;
        loop {
            // Whatever its age: a run would look at it again first.
            let page = ledger.candidates(source.id, due, DateTime::UNIX_EPOCH, after.as_ref(), limit, with_totals).await?;
            for candidate in &page {
                self.decide(candidate, source, day);
            }
            after = page.last().map(|last| Cursor {
                source_id: source.id,
                due_on: last.invoice.due_on,
                invoice_id: last.invoice.id.0.clone(),
            });
            if page.len() < limit as usize {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    fn decide(&mut self, candidate: &Candidate, source: &Source, day: Day<'_>) {
        let Candidate { invoice, customer, known, totals, .. } = candidate;
        let Some(policy) = policy_for(self.policies, invoice, customer.as_ref()) else {
            self.forecast.no_policy += u64::from(invoice.is_open());
            return;
        };
        if source.kind == "ixc" && lacks_pix(self.policies, &self.settings.pilot, candidate, day) {
            self.forecast.pix_asked += 1;
            return;
        }
        match decide(policy, invoice, customer.as_ref(), known, *totals, day, &candidate.reach(&self.settings.pilot)) {
            Err(why) => *self.forecast.not_due.entry(why.as_str()).or_default() += 1,
            Ok(decided) => {
                self.add(decided.stage.stage, decided.stage.notice.channel_id, decided.revives.is_some(), decided.text);
            }
        }
    }

    fn add(&mut self, stage: Stage, channel: ChannelId, revives: bool, text: Result<Rendered, SkipReason>) {
        match text {
            Err(why) => *self.forecast.skipped.entry((stage, why)).or_default() += 1,
            Ok(text) => {
                *self.forecast.to_send.entry(stage).or_default() += 1;
                self.forecast.revived += u64::from(revives);
                let load = self.forecast.channels.entry(channel).or_default();
                load.messages += 1;
                load.people.insert(self.hasher.hash_one(&text.phone_key));
                self.forecast.samples.entry(stage).or_insert(text);
            }
        }
    }
}
