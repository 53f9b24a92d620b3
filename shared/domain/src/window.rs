//! When messages may leave: weekdays and hours on the wall clock of a zone.

mod hours;
mod law;

pub(crate) use hours::parse_weekdays;
pub use hours::{HoursError, Span, WeekHours};
pub use law::law_hours;

use crate::schedule::wall_clock;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc, Weekday, WeekdaySet};
use chrono_tz::Tz;
use thiserror::Error;

/// How many days a search for the next opening looks ahead.
pub const WINDOW_HORIZON: Days = Days::new(400);

/// The days and hours in which messages may leave, half-open: from the first instant of `from` to just before `to`.
///
/// It is never open while the wall clock shows an hour outside, over a change of the clocks neither: a limit inside a
/// repeated hour makes the window the shorter one, and a limit inside a gap falls on the gap's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    hours: WeekHours,
    zone: Tz,
}

/// A window that never opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WindowError {
    /// No weekday.
    #[error("the window has no weekday; name at least one")]
    NoDays,
    /// It would close before it opens.
    #[error("the window opens at {from} and closes at {to}; it must close later on the same day (00:00 is the day's end)")]
    ClosesBeforeItOpens {
        /// The opening.
        from: NaiveTime,
        /// The closing.
        to: NaiveTime,
    },
}

/// What a window is at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowState {
    /// Messages may leave.
    Open {
        /// The instant at which it closes, itself outside.
        until: DateTime<Utc>,
    },
    /// Messages must wait.
    Closed {
        /// The instant at which it opens, or at which to ask again if no day within [`WINDOW_HORIZON`] opens.
        until: DateTime<Utc>,
    },
}

impl Window {
    /// Monday to Friday: the days that every state's law allows (contracts §4).
    pub const BUSINESS_DAYS: WeekdaySet =
        WeekdaySet::from_array([Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri]);

    /// A window on these weekdays, from `from` up to `to`, where `to` of midnight is the day's end.
    ///
    /// # Errors
    /// Without a weekday, or with a closing that isn't later than the opening.
    pub fn new(days: WeekdaySet, from: NaiveTime, to: NaiveTime, zone: Tz) -> Result<Self, WindowError> {
        Ok(Self { hours: WeekHours::new(days, Span::new(from, to)?)?, zone })
    }

    /// A window with hours of their own for each weekday.
    pub const fn of(hours: WeekHours, zone: Tz) -> Self {
        Self { hours, zone }
    }

    /// Monday to Friday 09:00 to 18:00: what all state laws have in common (contracts §4).
    pub fn business_hours(zone: Tz) -> Self {
        Self { hours: WeekHours::business(), zone }
    }

    /// The date that the window's wall clock shows.
    pub fn local_date(&self, instant: DateTime<Utc>) -> NaiveDate {
        wall_clock::local(self.zone, instant).date()
    }

    /// The first instant of a local day.
    pub fn start_of_day(&self, day: NaiveDate) -> DateTime<Utc> {
        wall_clock::first_instant(self.zone, day.and_time(NaiveTime::MIN))
    }

    /// The zone whose wall clock decides.
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// Whether messages may leave at `instant`, and until when that stays so. On a day that `is_holiday` it is closed.
    pub fn state_at(&self, instant: DateTime<Utc>, is_holiday: &dyn Fn(NaiveDate) -> bool) -> WindowState {
        let today = wall_clock::local(self.zone, instant).date();
        match self.openings(today, is_holiday).find(|opening| opening.end > instant) {
            Some(opening) if opening.start <= instant => WindowState::Open { until: opening.end },
            Some(opening) => WindowState::Closed { until: opening.start },
            None => WindowState::Closed { until: instant.checked_add_days(WINDOW_HORIZON).unwrap_or(DateTime::<Utc>::MAX_UTC) },
        }
    }

    /// The first instant not before `instant` at which messages may leave; see [`WindowState::Closed`] for the horizon.
    pub fn next_open(&self, instant: DateTime<Utc>, is_holiday: &dyn Fn(NaiveDate) -> bool) -> DateTime<Utc> {
        match self.state_at(instant, is_holiday) {
            WindowState::Open { .. } => instant,
            WindowState::Closed { until } => until,
        }
    }

    /// The end of the first open window on or after a local day: no message of that day expires before it.
    ///
    /// If no day within [`WINDOW_HORIZON`] opens, the end of that horizon.
    pub fn first_open_end_on_or_after(&self, day: NaiveDate, is_holiday: &dyn Fn(NaiveDate) -> bool) -> DateTime<Utc> {
        self.openings(day, is_holiday).next().map_or_else(
            || {
                let last_day = day.checked_add_days(WINDOW_HORIZON).unwrap_or(NaiveDate::MAX);
                wall_clock::first_instant(self.zone, last_day.and_time(NaiveTime::MIN))
            },
            |opening| opening.end,
        )
    }

    /// Whether messages may leave at any time of a local day.
    pub fn is_open_on(&self, day: NaiveDate, is_holiday: &dyn Fn(NaiveDate) -> bool) -> bool {
        self.opening_on(day).is_some() && !is_holiday(day)
    }

    /// The openings of the local days from `first_day` on, ascending, within the horizon.
    fn openings(&self, first_day: NaiveDate, is_holiday: &dyn Fn(NaiveDate) -> bool) -> impl Iterator<Item = Opening> {
        first_day
            .iter_days()
            .take_while(move |day| first_day.checked_add_days(WINDOW_HORIZON).is_none_or(|end| *day < end))
            .filter_map(move |day| self.opening_on(day).filter(|_| !is_holiday(day)))
    }

    /// The opening of a local day; a change of the clocks may leave none of it.
    fn opening_on(&self, day: NaiveDate) -> Option<Opening> {
        let span = self.hours.on(day)?;
        let last_day = if span.to == NaiveTime::MIN { day.succ_opt().unwrap_or(day) } else { day };
        let opening = Opening {
            start: wall_clock::last_instant(self.zone, day.and_time(span.from)),
            end: wall_clock::first_instant(self.zone, last_day.and_time(span.to)),
        };
        (opening.start < opening.end).then_some(opening)
    }
}

/// One day's window as instants, half-open.
struct Opening {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}
