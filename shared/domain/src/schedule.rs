//! When a task runs: five cron fields in a time zone.
//!
//! Weekdays are Unix's (0 and 7 Sunday), day of month and day of week combine as in Debian's cron, and a change of
//! the clocks neither loses nor repeats a run. The `cron` crate underneath counts weekdays as Quartz does, demands both
//! day fields at once, and over such a change its next instant may lie before the one asked for. So it only ever
//! iterates *naive local* time, with UTC as the carrier; `wall_clock` turns that into instants.

mod field;
mod fires;
mod plan;
pub(crate) mod wall_clock;

pub use field::Field;
pub use fires::{
    CATCH_UP, CATCH_UP_S, DueFires, FIRES_MAX, Missed, ON_TIME, SEND_WITHIN, SendOutlook, WatchedTask, due_fires, send_outlook,
};
pub use plan::{Clash, ClashRule, PLAN_HORIZON, PlannedTask, SEND_AFTER_UPDATE, TaskKind, first_clash};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use field::FieldValues;
use std::{fmt, str::FromStr};
use thiserror::Error;

/// The last year that the `cron` crate knows.
const LAST_YEAR: i32 = 2100;

/// A minute, an hour and days: when a task runs, on the wall clock of a zone that the caller names.
///
/// `Display` writes the five fields, which `FromStr` reads back. Instants are found from 1970 to 2100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The five fields as they were given, with "Todos" written as `*`.
    fields: [String; 5],
    /// Whether the minute or the hour begins with `*`.
    follows_wall_clock: bool,
    /// One, or two whose fires are merged: by day of month and by day of week.
    naive: Vec<cron::Schedule>,
}

/// Why five fields are no schedule. `Display` names the field, what it held and the mend.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// Not five fields in one text.
    #[error("a schedule is five fields with spaces between (minute, hour, day of month, month, day of week), not {found}")]
    FieldCount {
        /// How many there were.
        found: usize,
    },
    /// A field, or one entry of its list, is empty.
    #[error("{field} has an empty entry; write a value, or `*` (Todos) for every one")]
    EmptyEntry {
        /// Which of the five.
        field: Field,
    },
    /// Neither a number nor a name that the field knows.
    #[error("{field}: `{text}` is not understood; write {}", field.values())]
    NotAValue {
        /// Which of the five.
        field: Field,
        /// The part that isn't understood.
        text: String,
    },
    /// A number outside the field's values.
    #[error("{field}: {value} is out of range; write {}", field.values())]
    OutOfRange {
        /// Which of the five.
        field: Field,
        /// The number.
        value: u32,
    },
    /// A range whose end is before its start.
    #[error("{field}: the range `{text}` ends before it begins; write two ranges with a comma between")]
    ReversedRange {
        /// Which of the five.
        field: Field,
        /// The range.
        text: String,
    },
    /// `5/10`: cron steps through a range or `*` only.
    #[error("{field}: the step of `{text}` needs a range before it, for example {}-{}/2", field.min(), field.max())]
    StepWithoutRange {
        /// Which of the five.
        field: Field,
        /// The entry.
        text: String,
    },
    /// A step of zero, or one larger than every value of the field.
    #[error("{field}: the step of `{text}` must be from 1 to {}", field.max())]
    StepOutOfRange {
        /// Which of the five.
        field: Field,
        /// The entry.
        text: String,
    },
    /// Well-formed, and on no day of any year, as on 31 February.
    #[error("this schedule never fires: no year has such a day; correct the day of month or the month")]
    NeverFires,
}

impl Schedule {
    /// Reads the five fields of the ERP's task form: numbers, lists, ranges, steps, English three-letter names of
    /// months and weekdays, and `*` or "Todos" for every value.
    ///
    /// # Errors
    /// A field that isn't understood, and a schedule that can never fire.
    pub fn parse(minute: &str, hour: &str, day_of_month: &str, month: &str, day_of_week: &str) -> Result<Self, ScheduleError> {
        let minute = FieldValues::parse(Field::Minute, minute)?;
        let hour = FieldValues::parse(Field::Hour, hour)?;
        let day_of_month = FieldValues::parse(Field::DayOfMonth, day_of_month)?;
        let month = FieldValues::parse(Field::Month, month)?;
        let day_of_week = FieldValues::parse(Field::DayOfWeek, day_of_week)?;

        let quartz = |days_of_month: &str, days_of_week: &str| {
            let expression = format!("0 {} {} {days_of_month} {} {days_of_week}", minute.quartz(), hour.quartz(), month.quartz());
            cron::Schedule::from_str(&expression).expect("lists of values within their bounds are a Quartz expression")
        };
        // cron demands both day fields; Debian's does so only if one of them begins with `*`, else either is enough.
        let naive = if day_of_month.begins_with_star || day_of_week.begins_with_star {
            vec![quartz(&day_of_month.quartz(), &day_of_week.quartz())]
        } else {
            vec![quartz(&day_of_month.quartz(), "*"), quartz("*", &day_of_week.quartz())]
        };
        let schedule = Self {
            follows_wall_clock: minute.begins_with_star || hour.begins_with_star,
            fields: [minute, hour, day_of_month, month, day_of_week].map(|field| field.text),
            naive,
        };
        // Days repeat after 28 years, so that one look from 2000 to the crate's last year, 2100, sees them all.
        let never =
            NaiveDate::from_ymd_opt(2000, 1, 1).is_some_and(|day| schedule.next_naive(day.and_time(NaiveTime::MIN)).is_none());
        if never { Err(ScheduleError::NeverFires) } else { Ok(schedule) }
    }

    /// The first fire later than `after`, or `None` when there is none before 2101.
    ///
    /// Over a change of the clocks a fixed minute and hour fires once: the first time a repeated hour passes, and at
    /// the first instant after a gap. Where the minute or the hour begins with `*` the wall clock is followed: both
    /// passes of a repeated hour, nothing in a gap.
    pub fn next_after(&self, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = after.max(DateTime::UNIX_EPOCH);
        if after.year() > LAST_YEAR {
            return None;
        }
        if self.follows_wall_clock { self.next_on_the_wall_clock(zone, after) } else { self.next_fixed(zone, after) }
    }

    /// The fires later than `after` and not later than `until`, ascending.
    pub fn fires_between(
        &self,
        zone: Tz,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Iterator<Item = DateTime<Utc>> + use<'_> {
        std::iter::successors(self.next_after(zone, after), move |fire| self.next_after(zone, *fire))
            .take_while(move |fire| *fire <= until)
    }

    /// Fires of a repeated hour's second pass resolve to its first and are passed over as not later than `after`.
    fn next_fixed(&self, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        std::iter::successors(self.next_naive(wall_clock::local(zone, after)), |naive| self.next_naive(*naive))
            .map(|naive| wall_clock::first_instant(zone, naive))
            .find(|fire| *fire > after)
    }

    /// Walks through stretches of one UTC offset; within one the wall clock runs evenly.
    fn next_on_the_wall_clock(&self, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut stretch_from = after;
        let mut naive_after = wall_clock::local(zone, after);
        loop {
            let offset = wall_clock::offset_at(zone, stretch_from);
            let fire = (self.next_naive(naive_after)? - offset).and_utc();
            let Some(change) = wall_clock::next_change(zone, stretch_from, fire) else { return Some(fire) };
            stretch_from = change;
            naive_after = wall_clock::local(zone, change) - TimeDelta::seconds(1);
        }
    }

    fn next_naive(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        self.naive.iter().filter_map(|cron| cron.after(&after.and_utc()).next()).min().map(|fire| fire.naive_utc())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fields.join(" "))
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        match *text.split_whitespace().collect::<Vec<_>>() {
            [minute, hour, day_of_month, month, day_of_week] => Self::parse(minute, hour, day_of_month, month, day_of_week),
            ref fields => Err(ScheduleError::FieldCount { found: fields.len() }),
        }
    }
}
