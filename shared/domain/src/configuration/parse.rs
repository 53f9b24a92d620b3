//! From the text of a file to a checked [`Configuration`].

use super::model::{Configuration, Notice, Policy, Source, SourceKind};
use super::problem::{ConfigurationErrors, Fault, Note};
use super::reader::{Report, Reported, Section};
use super::retention::retention;
use super::rules::{ReadStage, approval, expiry};
use crate::stage::Stage;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use std::collections::BTreeSet;

/// The largest file that is read, in bytes: a provider with hundreds of templates needs a tenth of it.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// What the file's meaning takes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// The provider's zone (`REGUA_TIMEZONE`), for tasks and the window that name none.
    pub zone: Tz,
    /// Whether integrations and sources may be http or private (`REGUA_ALLOW_PRIVATE_URLS`).
    pub allow_private_urls: bool,
    /// The instant from which schedules are tried: whether they ever fire, and whether the tasks' times go together.
    pub now: DateTime<Utc>,
}

impl Configuration {
    /// Reads and checks a file; `file` is only repeated in messages, `lookup_env` gives an environment variable's value.
    ///
    /// # Errors
    /// Every problem that was found, with its line. Text that is no TOML is told by itself: what follows from it is not guessed.
    pub fn parse(
        text: &str,
        file: &str,
        defaults: &Defaults,
        lookup_env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigurationErrors> {
        Self::parse_with_notes(text, file, defaults, lookup_env).map(|(configuration, _)| configuration)
    }

    /// As [`Configuration::parse`], with what was corrected or should be known, in the order of the lines.
    ///
    /// # Errors
    /// As [`Configuration::parse`].
    pub fn parse_with_notes(
        text: &str,
        file: &str,
        defaults: &Defaults,
        lookup_env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Note>), ConfigurationErrors> {
        let report = Report::new(text);
        let configuration = Reading { report: &report, defaults, lookup_env }.file(text);
        let notes = report.close(file)?;
        let configuration = configuration.expect("nothing is missing where no problem was recorded");
        Ok((configuration, notes))
    }
}

/// One file being read.
pub(super) struct Reading<'r, 't> {
    pub report: &'r Report<'t>,
    pub defaults: &'r Defaults,
    pub lookup_env: &'r dyn Fn(&str) -> Option<String>,
}

impl Reading<'_, '_> {
    fn file(&self, text: &str) -> Result<Configuration, Reported> {
        if text.len() > FILE_BYTES_MAX {
            return Err(self.report.push(1, String::new(), String::new(), Fault::TooLarge { limit: FILE_BYTES_MAX }));
        }
        let table = self.report.parse().ok_or(Reported)?;
        if table.is_empty() {
            return Err(self.report.push(1, String::new(), String::new(), Fault::Empty));
        }
        let mut root = Section::root(self.report, &table);
        let (integrations, known) = self.integrations(root.tables("integration", "[[integration]], with two brackets"));
        let (businesses, business_names) = self.businesses(root.tables("business", "[[business]], with two brackets"));
        let channels = root.tables("channel", "[[channel]], with two brackets");
        let (channels, channel_names) = self.channels(channels, &known, &business_names);
        let provider = root.table("provider", "[provider]");
        let provider = self.provider(provider, root.tables("branch", "[[branch]], with two brackets"));
        let notices = root.tables("notice", "[[notice]], with two brackets");
        let (notices, notice_names) = self.notices(notices, &known, &channel_names, provider.as_ref().ok());
        let policies = self.policies(root.tables("policy", "[[policy]], with two brackets"), &notice_names);
        let tasks = self.tasks(root.tables("task", "[[task]], with two brackets"));
        let sources = self.sources(root.tables("source", "[[source]], with two brackets"));
        let window = self.window(root.table("window", "[window]"));
        let holidays = self.holidays(root.tables("holiday", "[[holiday]], with two brackets"));
        let read_caps = self.caps(root.table("caps", "[caps]"));
        let read_expiry = expiry(root.table("expiry", "[expiry]"));
        let read_approval = approval(root.table("approval", "[approval]"));
        let read_retention = retention(root.table("retention", "[retention]"));
        let read_pilot = self.pilot(root.table("pilot", "[pilot]"));
        let price = self.price(root.table("price", "[price]"));
        root.finish();
        self.reminders_are_listed(&policies, &sources);
        known.disabled_ones_are_unused(self.report, &notices);
        let policies: Vec<Policy> = policies.into_iter().map(|(policy, _)| policy).collect();
        self.queue_moves(&known.holding, &integrations_in_use(&policies, &notices), &tasks);
        let (window, holidays, provider) = (window?, holidays?, provider?);
        let (caps, expiry, approval, pilot) = (read_caps?, read_expiry?, read_approval?, read_pilot?);
        let retention = read_retention?;
        Ok(Configuration {
            integrations,
            businesses,
            channels,
            notices,
            policies,
            tasks,
            sources,
            window,
            holidays,
            caps,
            expiry,
            approval,
            retention,
            pilot,
            price: price?,
            provider,
        })
    }

    /// A reminder can't be sent before its title is listed. (Late stages can: a known title is re-read by id.)
    fn reminders_are_listed(&self, policies: &[(Policy, Vec<ReadStage>)], sources: &[Source]) {
        let on = policies.iter().filter(|(policy, _)| policy.enabled).flat_map(|(_, stages)| stages);
        for days in
            on.filter(|read| read.stage.enabled && read.stage.stage == Stage::PreDue).filter_map(|read| read.days.as_ref())
        {
            for source in sources {
                let SourceKind::Ixc { days_ahead, .. } = source.kind else { continue };
                if days.value.unsigned_abs() > days_ahead {
                    self.report.refuse(days, Fault::BeyondDaysAhead { source_name: source.name.clone(), days_ahead });
                }
            }
        }
    }
}

/// The integrations through which enabled stages of enabled policies speak.
fn integrations_in_use<'a>(policies: &[Policy], notices: &'a [Notice]) -> BTreeSet<&'a str> {
    let stages = policies.iter().filter(|policy| policy.enabled).flat_map(|policy| &policy.stages).filter(|stage| stage.enabled);
    let named: BTreeSet<&str> = stages.map(|stage| stage.notice.as_str()).collect();
    notices.iter().filter(|notice| named.contains(notice.name.as_str())).map(|notice| notice.integration.as_str()).collect()
}
