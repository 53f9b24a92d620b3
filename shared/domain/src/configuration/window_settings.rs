//! `[window]`: when messages may leave, everywhere and in single states.

use crate::message::names;
use crate::place::Uf;
use crate::window::{Span, WeekHours, law_hours};
use chrono::{NaiveTime, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// Whose hours hold in a state that the file gives none of its own.
    StatesRule {
        /// Those of `[window]`, everywhere.
        Common = "common",
        /// Those that the state's law allows, where one is known to us ([`law_hours`]).
        Law = "law",
    }
}

/// `[window]` and `[[window.state]]`: the days and hours in which messages may leave, on the recipient's wall clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct WindowSettings {
    /// The hours where nothing else is said.
    pub hours: WeekHours,
    /// The provider's zone: its dates are this zone's, and so is the wall clock of a recipient whose state is unknown.
    pub zone: Tz,
    /// Whose hours hold in a state without own ones.
    pub states: StatesRule,
    /// States with hours of their own, each once.
    pub own: Vec<StateHours>,
}

/// `[[window.state]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHours {
    /// The state.
    pub uf: Uf,
    /// Its hours.
    pub hours: WeekHours,
}

impl WindowSettings {
    /// Monday to Friday 09:00 to 18:00, what all state laws have in common (contracts §4), in every state.
    pub fn business_hours(zone: Tz) -> Self {
        Self { hours: WeekHours::business(), zone, states: StatesRule::Common, own: Vec::new() }
    }

    /// The hours of a state; of an unknown one, those of everywhere.
    pub fn hours_in(&self, uf: Option<Uf>) -> WeekHours {
        let own = |uf| self.own.iter().find(|state| state.uf == uf).map(|state| state.hours);
        let by_law = |uf| law_hours(uf).filter(|_| self.states == StatesRule::Law);
        uf.and_then(|uf| own(uf).or_else(|| by_law(uf))).unwrap_or(self.hours)
    }
}

/// As it is stored. A version that knew only one span of hours for some weekdays reads `days`, `from` and `to`: what all its days share.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    days: Vec<Weekday>,
    from: NaiveTime,
    to: NaiveTime,
    zone: Tz,
    #[serde(default)]
    hours: Option<WeekHours>,
    #[serde(default)]
    states: Option<StatesRule>,
    #[serde(default)]
    own: Vec<StateHours>,
}

impl From<WindowSettings> for Stored {
    fn from(settings: WindowSettings) -> Self {
        let WindowSettings { hours, zone, states, own } = settings;
        let common = hours.common().unwrap_or(Span { from: NaiveTime::MIN, to: NaiveTime::MIN });
        let days = hours.days().iter(Weekday::Mon).collect();
        Self { days, from: common.from, to: common.to, zone, hours: Some(hours), states: Some(states), own }
    }
}

impl From<Stored> for WindowSettings {
    fn from(stored: Stored) -> Self {
        let Stored { days, from, to, zone, hours, states, own } = stored;
        let uniform = || WeekHours::new(days.into_iter().collect(), Span::new(from, to).ok()?).ok();
        let hours = hours.or_else(uniform).unwrap_or_else(WeekHours::business);
        Self { hours, zone, states: states.unwrap_or(StatesRule::Common), own }
    }
}
