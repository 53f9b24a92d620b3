//! Holidays, from the rules of the law and not from a list of years: those of the country, of the states, and of the
//! municipalities that the configuration names.
//!
//! The rules are those in force from 2024 on; for earlier years the calendar is incomplete.

mod national;
mod rule;
mod state;

pub use rule::easter;

use crate::folding::folded;
use crate::place::{Place, Uf};
use chrono::{Datelike, NaiveDate};
use rule::Rule;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// The holidays of every place: the law's, and what the configuration adds for cities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// The holidays that no rule here knows, in any order.
    #[serde(default)]
    pub municipal: Vec<MunicipalHoliday>,
}

/// A holiday of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MunicipalHoliday {
    /// The state of the city.
    pub uf: Uf,
    /// The city as [`folded`] writes it; empty for the whole state.
    #[serde(default, deserialize_with = "folded_city")]
    pub city: String,
    /// When it is.
    pub day: MunicipalDay,
    /// Its name, for people.
    pub name: String,
}

/// When a holiday of the configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MunicipalDay {
    /// On the same date each year. A date that a year lacks (29 February) is no holiday in it.
    EveryYear {
        /// 1 to 12.
        month: u32,
        /// 1 to 31.
        day: u32,
    },
    /// On one date only: a day that moves, or that a decree has moved.
    Once(NaiveDate),
}

/// A day on which nothing is sent, with the reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holiday {
    /// The local date.
    pub on: NaiveDate,
    /// Where it is kept.
    pub scope: HolidayScope,
    /// Its name, in Portuguese.
    pub name: Cow<'static, str>,
}

/// Where a holiday is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HolidayScope {
    /// In the whole country.
    National,
    /// In one state.
    State(Uf),
    /// In one city.
    Municipal,
}

impl Calendar {
    /// The holidays of a year in a city, by date; on one date the country's first, then the state's, then the city's.
    ///
    /// `city` may be spelled in any way; if it is unknown (empty) the municipal ones are left out, and if `uf` is too,
    /// everything but the national ones. Two of the same date and name are one.
    pub fn holidays_of(&self, uf: Option<Uf>, city: &str, year: i32) -> Vec<Holiday> {
        let mut holidays: Vec<Holiday> = by_rules(national::RULES, HolidayScope::National, year).collect();
        if let Some(uf) = uf {
            holidays.extend(by_rules(state::rules(uf), HolidayScope::State(uf), year));
            holidays.extend(self.configured(uf, &folded(city), year));
        }
        holidays.sort_by_key(|holiday| holiday.on);
        without_repetitions(holidays)
    }

    /// Whether the local date `on` is a holiday at `place`; where the state is unknown, only national ones count.
    ///
    /// It allocates nothing, and takes time linear in the configured holidays.
    pub fn is_holiday(&self, place: &Place, on: NaiveDate) -> bool {
        is_by_rule(national::RULES, on)
            || place.uf.is_some_and(|uf| is_by_rule(state::rules(uf), on) || self.is_configured(uf, &place.city, on))
    }

    fn configured(&self, uf: Uf, city: &str, year: i32) -> impl Iterator<Item = Holiday> {
        self.municipal.iter().filter(move |holiday| holiday.is_kept_in(uf, city)).filter_map(move |holiday| holiday.in_year(year))
    }

    fn is_configured(&self, uf: Uf, city: &str, on: NaiveDate) -> bool {
        self.municipal.iter().any(|holiday| holiday.day.date_in(on.year()) == Some(on) && holiday.is_kept_in(uf, city))
    }
}

/// Whether the local date `on` is a holiday in the whole country.
pub fn is_national_holiday(on: NaiveDate) -> bool {
    is_by_rule(national::RULES, on)
}

impl MunicipalHoliday {
    /// A holiday of a city in any spelling, or of the whole state if `city` is empty.
    pub fn new(uf: Uf, city: &str, day: MunicipalDay, name: impl Into<String>) -> Self {
        Self { uf, city: folded(city), day, name: name.into() }
    }

    /// `city` is folded; an unknown one keeps only what the whole state keeps.
    fn is_kept_in(&self, uf: Uf, city: &str) -> bool {
        self.uf == uf && (self.city.is_empty() || self.city == city)
    }

    fn in_year(&self, year: i32) -> Option<Holiday> {
        let scope = if self.city.is_empty() { HolidayScope::State(self.uf) } else { HolidayScope::Municipal };
        Some(Holiday { on: self.day.date_in(year)?, scope, name: self.name.clone().into() })
    }
}

impl MunicipalDay {
    fn date_in(self, year: i32) -> Option<NaiveDate> {
        match self {
            Self::EveryYear { month, day } => NaiveDate::from_ymd_opt(year, month, day),
            Self::Once(date) => Some(date).filter(|date| date.year() == year),
        }
    }
}

fn by_rules(rules: &'static [Rule], scope: HolidayScope, year: i32) -> impl Iterator<Item = Holiday> {
    rules.iter().filter_map(move |rule| Some(Holiday { on: rule.date_in(year)?, scope, name: rule.name.into() }))
}

fn is_by_rule(rules: &[Rule], on: NaiveDate) -> bool {
    rules.iter().any(|rule| rule.falls_on(on))
}

/// The first of each date and name. A year has some twenty holidays: looking back is cheap.
fn without_repetitions(holidays: Vec<Holiday>) -> Vec<Holiday> {
    let mut kept: Vec<Holiday> = Vec::with_capacity(holidays.len());
    for holiday in holidays {
        if !kept.iter().any(|earlier| earlier.on == holiday.on && earlier.name == holiday.name) {
            kept.push(holiday);
        }
    }
    kept
}

fn folded_city<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|city| folded(&city))
}
