//! `regua calendar` and `regua window`: when messages may leave, and where.

use crate::commands::{Outcome, Session};
use crate::output::say;
use chrono::{DateTime, SecondsFormat, Utc};
use regua_domain::calendar::HolidayScope;
use regua_domain::place::{Place, Uf};
use regua_domain::stage::Stage;
use regua_domain::window::{WeekHours, WindowState};

/// A place as the command line names it.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// The state: two letters, or its name
    #[arg(long)]
    uf: String,
    /// The city; what it alone keeps is left out without
    #[arg(long, default_value = "")]
    city: String,
}

impl PlaceArgs {
    fn uf(&self) -> Result<Uf, Outcome> {
        Uf::parse(&self.uf)
            .ok_or_else(|| Outcome::Misused(format!("--uf {}: there is no such state; write two letters, like SP", self.uf)))
    }
}

impl Session {
    /// The holidays of a year: date, scope, name; tabs between.
    pub async fn calendar(&self, place: &PlaceArgs, year: i32) -> anyhow::Result<Outcome> {
        let uf = match place.uf() {
            Ok(uf) => uf,
            Err(misused) => return Ok(misused),
        };
        for holiday in self.ledger.settings().await?.calendar.holidays_of(Some(uf), &place.city, year) {
            let scope = match holiday.scope {
                HolidayScope::National => "national",
                HolidayScope::State(_) => "state",
                HolidayScope::Municipal => "municipal",
            };
            say!("{}\t{scope}\t{}", holiday.on, holiday.name);
        }
        Ok(Outcome::Done)
    }

    /// `open until T` or `closed until T`, for the hours of a place, or of a stage there.
    pub async fn window(
        &self,
        place: &PlaceArgs,
        at: Option<DateTime<Utc>>,
        stage: Option<(String, String)>,
    ) -> anyhow::Result<Outcome> {
        let uf = match place.uf() {
            Ok(uf) => uf,
            Err(misused) => return Ok(misused),
        };
        let own = match stage {
            Some((policy, stage)) => match self.hours_of(&policy, &stage).await? {
                Ok(hours) => hours,
                Err(misused) => return Ok(misused),
            },
            None => None,
        };
        let at = match at {
            Some(at) => at,
            None => self.ledger.now().await?,
        };
        let settings = self.ledger.settings().await?;
        let place = Place::of(&place.city, uf.as_str(), None, settings.window.zone);
        let zone = place.zone;
        let local = |at: DateTime<Utc>| at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false);
        match settings.times().at(place, own).state_at(at) {
            WindowState::Open { until } => say!("open until {}", local(until)),
            WindowState::Closed { until } => say!("closed until {}", local(until)),
        }
        Ok(Outcome::Done)
    }

    /// The hours that a stage of a policy has of its own.
    async fn hours_of(&self, policy: &str, stage: &str) -> anyhow::Result<Result<Option<WeekHours>, Outcome>> {
        let policies = self.ledger.policies().await?;
        let Some(plan) = policies.iter().find(|plan| plan.name == policy) else {
            return Ok(Err(Outcome::Misused(format!("--policy {policy:?}: no policy that is on has this name"))));
        };
        let wanted = Stage::parse(stage);
        Ok(match plan.stages.iter().find(|plan| Some(plan.stage) == wanted) {
            Some(plan) => Ok(plan.hours),
            None => Err(Outcome::Misused(format!("--stage {stage}: the policy {policy:?} has no such stage that is on"))),
        })
    }
}
