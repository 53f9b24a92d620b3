//! How a law names a holiday's day, for every year at once.

use chrono::{Datelike, Days, NaiveDate, TimeDelta, Weekday};

/// A holiday of a law.
pub(super) struct Rule {
    /// The holiday's name, in Portuguese.
    pub name: &'static str,
    day: Day,
    from_year: i32,
}

/// The day of a year that a law names.
#[derive(Clone, Copy)]
pub(super) enum Day {
    /// The same date in every year.
    Fixed { month: u32, day: u32 },
    /// The date, or the Friday after it if it falls on a Tuesday, Wednesday or Thursday.
    FridayIfMidweek { month: u32, day: u32 },
    /// The date if it is a Sunday, else the Sunday after it.
    SundayFrom { month: u32, day: u32 },
    /// So many days after Easter Sunday; before it if negative.
    AfterEaster { days: i64 },
}

impl Rule {
    /// A holiday of every year.
    pub const fn new(name: &'static str, day: Day) -> Self {
        Self { name, day, from_year: i32::MIN }
    }

    /// The holiday of the same date in every year.
    pub const fn fixed(name: &'static str, month: u32, day: u32) -> Self {
        Self::new(name, Day::Fixed { month, day })
    }

    /// The same holiday, first kept in `year`.
    pub const fn from(self, year: i32) -> Self {
        Self { from_year: year, ..self }
    }

    /// The date of the holiday in `year`; none before the law.
    pub fn date_in(&self, year: i32) -> Option<NaiveDate> {
        if year < self.from_year { None } else { self.day.date_in(year) }
    }

    /// Whether `on` is this holiday.
    pub fn falls_on(&self, on: NaiveDate) -> bool {
        self.date_in(on.year()) == Some(on)
    }
}

impl Day {
    fn date_in(self, year: i32) -> Option<NaiveDate> {
        match self {
            Self::Fixed { month, day } => NaiveDate::from_ymd_opt(year, month, day),
            Self::FridayIfMidweek { month, day } => friday_if_midweek(NaiveDate::from_ymd_opt(year, month, day)?),
            Self::SundayFrom { month, day } => sunday_from(NaiveDate::from_ymd_opt(year, month, day)?),
            Self::AfterEaster { days } => easter(year)?.checked_add_signed(TimeDelta::days(days)),
        }
    }
}

fn friday_if_midweek(date: NaiveDate) -> Option<NaiveDate> {
    let days = match date.weekday() {
        Weekday::Tue => 3,
        Weekday::Wed => 2,
        Weekday::Thu => 1,
        Weekday::Mon | Weekday::Fri | Weekday::Sat | Weekday::Sun => 0,
    };
    date.checked_add_days(Days::new(days))
}

fn sunday_from(date: NaiveDate) -> Option<NaiveDate> {
    let days = date.weekday().days_since(Weekday::Sun);
    date.checked_add_days(Days::new(u64::from((7 - days) % 7)))
}

/// Easter Sunday of a year of the Gregorian calendar, by the computus of Meeus, Jones and Butcher; `None` beyond the years
/// that [`NaiveDate`] holds.
pub fn easter(year: i32) -> Option<NaiveDate> {
    let golden = year.rem_euclid(19);
    let century = year.div_euclid(100);
    let of_century = year.rem_euclid(100);
    let moon_correction = (century - (century + 8).div_euclid(25) + 1).div_euclid(3);
    let epact = (19 * golden + century - century.div_euclid(4) - moon_correction + 15).rem_euclid(30);
    let to_sunday = (32 + 2 * century.rem_euclid(4) + 2 * (of_century / 4) - epact - of_century % 4) % 7;
    let late_moon = (golden + 11 * epact + 22 * to_sunday) / 451;
    let day_of_march = epact + to_sunday - 7 * late_moon + 22;
    NaiveDate::from_ymd_opt(year, 3, 1)?.checked_add_signed(TimeDelta::days(i64::from(day_of_march) - 1))
}
