//! When messages may leave, as a person with a wall calendar would say it: the few places, hours and holidays that the sequences meet.

use crate::world::{Closed, Hours, Rules, StageRule, phone_of};
use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveDateTime, TimeDelta, Timelike as _, Utc, Weekday};
use regua_domain::mirror::Customer;
use regua_domain::stage::Stage;

/// Where a recipient's clock hangs: hours behind UTC, and the state, where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    behind_h: i64,
    state: &'static str,
}

/// The provider's own.
pub const PROVIDER: Place = Place { behind_h: 3, state: "" };
/// Days after the first on which it could be sent within which a stage is still sent.
const CATCH_UP: u64 = 3;
/// No window of these tests is closed for longer.
const CLOSED_MAX: usize = 14;

/// The state of the record, else of the phone's area code; the provider's clock where neither says.
pub fn place_of(customer: Option<&Customer>) -> Place {
    let Some(customer) = customer else { return PROVIDER };
    let by_phone = phone_of(customer).map_or("", |phone| phone.state);
    match if customer.state.is_empty() { by_phone } else { customer.state.as_str() } {
        "SP" => Place { behind_h: 3, state: "SP" },
        "RJ" => Place { behind_h: 3, state: "RJ" },
        "AM" => Place { behind_h: 4, state: "AM" },
        "AC" => Place { behind_h: 5, state: "AC" },
        _ => PROVIDER,
    }
}

impl Place {
    /// What the clock on the wall there shows.
    pub fn local(self, instant: DateTime<Utc>) -> NaiveDateTime {
        (instant - TimeDelta::hours(self.behind_h)).naive_utc()
    }

    /// The instant at which the clock there shows this.
    pub fn instant(self, local: NaiveDateTime) -> DateTime<Utc> {
        local.and_utc() + TimeDelta::hours(self.behind_h)
    }

    /// Good Friday, Tiradentes and Labour Day 2026 everywhere, São Jorge in Rio de Janeiro.
    fn is_holiday(self, day: NaiveDate) -> bool {
        matches!((day.month(), day.day()), (4, 3 | 21) | (5, 1)) || (self.state == "RJ" && (day.month(), day.day()) == (4, 23))
    }

    /// The whole hours between which messages may leave on a day.
    pub fn hours_on(self, rules: &Rules, day: NaiveDate) -> Option<(u32, u32)> {
        if self.is_holiday(day) {
            return None;
        }
        let (weekdays, saturday) = match rules.hours {
            _ if self.state == "AM" && rules.own_in_am => ((10, 16), None),
            Hours::Business => ((9, 18), None),
            Hours::Long => ((8, 20), Some((8, 14))),
            Hours::Short => ((9, 12), None),
        };
        match day.weekday() {
            Weekday::Sat => saturday,
            Weekday::Sun => None,
            Weekday::Mon | Weekday::Tue | Weekday::Wed | Weekday::Thu | Weekday::Fri => Some(weekdays),
        }
    }

    /// Whether a message may leave at an instant.
    pub fn is_open(self, rules: &Rules, instant: DateTime<Utc>) -> bool {
        let local = self.local(instant);
        self.hours_on(rules, local.date()).is_some_and(|(from, to)| (from..to).contains(&local.hour()))
    }

    /// The last day on which a message may leave that was decided at an instant: that of the n-th window that isn't over.
    pub fn last_day_of(self, rules: &Rules, decided_at: DateTime<Utc>) -> NaiveDate {
        let local = self.local(decided_at);
        let is_ahead =
            |day: &NaiveDate| self.hours_on(rules, *day).is_some_and(|(_, to)| *day > local.date() || local.hour() < to);
        let windows = usize::from(rules.open_windows) - 1;
        local.date().iter_days().filter(is_ahead).nth(windows).expect("some day is open")
    }
}

/// The days on which a stage is due.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// Its own day.
    pub day: NaiveDate,
    /// The first.
    pub from: NaiveDate,
    /// The last.
    pub until: NaiveDate,
    /// The last day on which its text is right.
    pub last_day: Option<NaiveDate>,
}

/// The day of a stage by its offset alone.
pub fn day_of(due_on: NaiveDate, days: i64) -> NaiveDate {
    due_on + TimeDelta::days(days)
}

/// When a dated stage is due for an invoice: from its day, or the open day before a closed one, until three days after the first on which
/// it could leave; a reminder not after the due date, *No vencimento* on no other day than its own.
pub fn period(stage: &StageRule, due_on: NaiveDate, place: Place, rules: &Rules) -> Option<Period> {
    let day = day_of(due_on, stage.days?);
    let is_open = |day: &NaiveDate| place.hours_on(rules, *day).is_some();
    let next_open = day.iter_days().take(CLOSED_MAX).find(is_open)?;
    let is_closed = next_open != day;
    if is_closed && stage.closed == Closed::Skip {
        return None;
    }
    let before = (1..=CLOSED_MAX as u64).map(|back| day - Days::new(back)).find(is_open);
    let before = before.filter(|_| is_closed && stage.closed == Closed::Previous);
    let last_day = match stage.stage {
        Stage::PreDue => Some(due_on),
        Stage::DueDay => Some(if before.is_some() { day } else { next_open }),
        _ => None,
    };
    let caught_up = next_open + Days::new(CATCH_UP);
    let until = last_day.map_or(caught_up, |last| last.min(caught_up));
    let from = before.unwrap_or(day);
    (from <= until).then_some(Period { day, from, until, last_day })
}
