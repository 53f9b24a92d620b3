//! The hours of a week: for each weekday at most one span.

use super::{Window, WindowError};
use crate::schedule::{Schedule, ScheduleError};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Weekday, WeekdaySet};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// The days of a week in their order.
const WEEK: [Weekday; 7] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// The hours of one day, half-open; `to` of midnight is the day's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The opening.
    pub from: NaiveTime,
    /// The closing.
    pub to: NaiveTime,
}

impl Span {
    /// The hours from `from` up to `to`.
    ///
    /// # Errors
    /// A closing that isn't later than the opening.
    pub fn new(from: NaiveTime, to: NaiveTime) -> Result<Self, WindowError> {
        if from >= to && to != NaiveTime::MIN {
            return Err(WindowError::ClosesBeforeItOpens { from, to });
        }
        Ok(Self { from, to })
    }

    /// 09:00 to 18:00: what all state laws have in common (contracts §4).
    pub fn business() -> Self {
        Self::hours(9, 18)
    }

    /// Whole hours of the day; 24 is its end.
    pub(super) fn hours(from: u32, to: u32) -> Self {
        let hour = |hour| NaiveTime::from_hms_opt(hour % 24, 0, 0).expect("an hour of the day");
        Self { from: hour(from), to: hour(to) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.from.format("%H:%M"))?;
        if self.to == NaiveTime::MIN { f.write_str("24:00") } else { write!(f, "{}", self.to.format("%H:%M")) }
    }
}

/// The hours of each weekday; at least one day has some. Written as `1-5 08:00-20:00` and `6 08:00-14:00`, one entry for the days
/// that are alike, with weekdays as in cron (7 and 0 are Sunday).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct WeekHours([Option<Span>; 7]);

/// Why hours aren't understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HoursError {
    /// Not `DAYS HH:MM-HH:MM`.
    #[error("{0:?} is not weekdays and hours")]
    NotAnEntry(String),
    /// The weekdays can't be read.
    #[error("its weekdays are no days of the week")]
    Weekdays(#[source] ScheduleError),
    /// It never opens.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Two entries name one day.
    #[error("{0:?} names a day that another entry has already")]
    Twice(String),
}

impl WeekHours {
    /// The same hours on each of some days.
    ///
    /// # Errors
    /// Without a day.
    pub fn new(days: WeekdaySet, span: Span) -> Result<Self, WindowError> {
        if days.is_empty() {
            return Err(WindowError::NoDays);
        }
        Ok(Self(WEEK.map(|day| days.contains(day).then_some(span))))
    }

    /// Monday to Friday 09:00 to 18:00: what all state laws have in common (contracts §4).
    pub fn business() -> Self {
        Self::weekdays(Span::business(), None)
    }

    /// Monday to Friday, and perhaps Saturday.
    pub(super) fn weekdays(span: Span, saturday: Option<Span>) -> Self {
        let on = |day| if day == Weekday::Sat { saturday } else { Window::BUSINESS_DAYS.contains(day).then_some(span) };
        Self(WEEK.map(on))
    }

    /// The hours of a day; `None` where its weekday has none.
    pub fn on(&self, day: NaiveDate) -> Option<Span> {
        self.0[day.weekday().num_days_from_monday() as usize]
    }

    /// Reads its entries.
    ///
    /// # Errors
    /// The first entry that isn't understood, never opens or names a day again; no entries at all.
    pub fn parse<'e>(entries: impl IntoIterator<Item = &'e str>) -> Result<Self, HoursError> {
        let mut hours = Self([None; 7]);
        for entry in entries {
            let (days, span) = parse_entry(entry)?;
            for day in days.iter(Weekday::Mon) {
                let place = &mut hours.0[day.num_days_from_monday() as usize];
                if place.replace(span).is_some() {
                    return Err(HoursError::Twice(entry.to_owned()));
                }
            }
        }
        if hours.0.iter().all(Option::is_none) { Err(WindowError::NoDays.into()) } else { Ok(hours) }
    }

    /// Its entries: days that are alike in one, Monday first.
    pub fn entries(&self) -> Vec<String> {
        let mut spans: Vec<Span> = Vec::new();
        for span in self.0.iter().flatten() {
            if !spans.contains(span) {
                spans.push(*span);
            }
        }
        spans.into_iter().map(|span| format!("{} {span}", self.days_with(span))).collect()
    }

    /// The weekdays that open at all.
    pub fn days(&self) -> WeekdaySet {
        WEEK.into_iter().filter(|day| self.0[day.num_days_from_monday() as usize].is_some()).collect()
    }

    /// The hours that every day which opens has: from the latest opening to the earliest closing; `None` if no hour is common.
    pub fn common(&self) -> Option<Span> {
        let end = |span: &Span| if span.to == NaiveTime::MIN { (1, span.to) } else { (0, span.to) };
        let from = self.0.iter().flatten().map(|span| span.from).max()?;
        let to = self.0.iter().flatten().min_by_key(|span| end(span))?.to;
        Span::new(from, to).ok()
    }

    /// `1-5,7`: Monday is 1, Sunday 7.
    fn days_with(&self, span: Span) -> String {
        let numbers: Vec<usize> = (1..=7).filter(|number| self.0[number - 1] == Some(span)).collect();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        let written = runs.into_iter().map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
        written.collect::<Vec<_>>().join(",")
    }
}

fn parse_entry(entry: &str) -> Result<(WeekdaySet, Span), HoursError> {
    let unreadable = || HoursError::NotAnEntry(entry.to_owned());
    let (days, span) = entry.trim().rsplit_once(' ').ok_or_else(unreadable)?;
    let (from, to) = span.split_once('-').ok_or_else(unreadable)?;
    let time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| unreadable());
    let to = if to == "24:00" { NaiveTime::MIN } else { time(to)? };
    let days = parse_weekdays(days.trim()).map_err(HoursError::Weekdays)?;
    Ok((days, Span::new(time(from)?, to)?))
}

/// Weekdays in the notation of a task's `day_of_week`, by asking on which days of one week such a task fires.
///
/// # Errors
/// What a schedule with such a field would be refused with.
pub(crate) fn parse_weekdays(text: &str) -> Result<WeekdaySet, ScheduleError> {
    let schedule = Schedule::parse("0", "0", "*", "*", text)?;
    let before = DateTime::UNIX_EPOCH + TimeDelta::hours(12);
    let fires = schedule.fires_between(Tz::UTC, before, before + TimeDelta::days(7));
    Ok(fires.map(|fire| fire.weekday()).collect())
}

impl fmt::Display for WeekHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.entries().join(", "))
    }
}

impl From<WeekHours> for Vec<String> {
    fn from(hours: WeekHours) -> Self {
        hours.entries()
    }
}

impl TryFrom<Vec<String>> for WeekHours {
    type Error = HoursError;

    fn try_from(entries: Vec<String>) -> Result<Self, HoursError> {
        Self::parse(entries.iter().map(String::as_str))
    }
}
