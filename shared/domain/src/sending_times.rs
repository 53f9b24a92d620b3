//! When messages may leave for one recipient: the hours that hold for it, on its own wall clock, with its own holidays.

use crate::calendar::Calendar;
use crate::configuration::WindowSettings;
use crate::mirror::Customer;
use crate::phone;
use crate::place::{Place, Uf};
use crate::window::{WeekHours, Window, WindowState};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::{America, Tz};

/// One zone of each offset that Brazil has: what is open anywhere is open in one of these.
const ZONES: [Tz; 4] = [America::Noronha, America::Sao_Paulo, America::Manaus, America::Rio_Branco];

/// What the configuration and the law say about when messages may leave.
#[derive(Clone, Copy, Debug)]
pub struct SendingTimes<'a> {
    /// The hours everywhere, and of states.
    pub settings: &'a WindowSettings,
    /// The holidays.
    pub calendar: &'a Calendar,
}

/// The window of one recipient.
#[derive(Clone, Debug)]
pub struct RecipientWindow<'a> {
    window: Window,
    place: Place,
    calendar: &'a Calendar,
}

impl<'a> SendingTimes<'a> {
    /// The provider's date at an instant: dates are the provider's, hours the recipient's.
    pub fn date_at(&self, instant: DateTime<Utc>) -> NaiveDate {
        instant.with_timezone(&self.settings.zone).date_naive()
    }

    /// The instant from which a day is looked at: now for today, for another day its beginning.
    pub fn looked_at_from(&self, day: NaiveDate, now: DateTime<Utc>) -> DateTime<Utc> {
        if day == self.date_at(now) { now } else { self.of(None, None).start_of_day(day) }
    }

    /// The window of a customer; `own` are the hours of its stage or policy, if these have any.
    ///
    /// Zone and holidays follow the city and state of its record, else the area code of the number that it is written to. Where not
    /// even the state is known it is the provider's zone.
    pub fn of(&self, customer: Option<&Customer>, own: Option<WeekHours>) -> RecipientWindow<'a> {
        let (city, state) = customer.map_or(("", ""), |customer| (&customer.city, &customer.state));
        let mut place = Place::of(city, state, None, self.settings.zone);
        if place.uf.is_none()
            && let Some(phone) = customer.and_then(|customer| phone::choose(&customer.whatsapp, &customer.mobile_phone).ok())
        {
            place = Place::of(city, state, Some(phone.key().area_code()), self.settings.zone);
        }
        self.at(place, own)
    }

    /// The window of a place.
    pub fn at(&self, place: Place, own: Option<WeekHours>) -> RecipientWindow<'a> {
        let hours = own.unwrap_or_else(|| self.settings.hours_in(place.uf));
        RecipientWindow { window: Window::of(hours, place.zone), place, calendar: self.calendar }
    }

    /// Whether any recipient's window may be open: a cheap look before thousands of messages are asked one by one. `own` are the hours
    /// that stages and policies have of their own. Holidays of states and cities are left out: somewhere else it is a working day.
    pub fn any_open(&self, own: &[WeekHours], instant: DateTime<Utc>) -> bool {
        let nowhere = Place { uf: None, city: String::new(), zone: self.settings.zone };
        let is_holiday = |day| self.calendar.is_holiday(&nowhere, day);
        let states = Uf::ALL.into_iter().map(|uf| self.settings.hours_in(Some(uf)));
        let mut hours: Vec<WeekHours> = own.iter().copied().chain([self.settings.hours_in(None)]).chain(states).collect();
        hours.sort_unstable();
        hours.dedup();
        let zones = || ZONES.into_iter().chain([self.settings.zone]);
        let is_open = |window: Window| matches!(window.state_at(instant, &is_holiday), WindowState::Open { .. });
        hours.into_iter().any(|hours| zones().any(|zone| is_open(Window::of(hours, zone))))
    }
}

impl RecipientWindow<'_> {
    /// Where the recipient is.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether a message may leave at `instant`, and until when that stays so.
    pub fn state_at(&self, instant: DateTime<Utc>) -> WindowState {
        self.window.state_at(instant, &|day| self.is_holiday(day))
    }

    /// The first instant not before `instant` at which a message may leave.
    pub fn next_open(&self, instant: DateTime<Utc>) -> DateTime<Utc> {
        self.window.next_open(instant, &|day| self.is_holiday(day))
    }

    /// The end of the first opening on or after a local day.
    pub fn first_open_end_on_or_after(&self, day: NaiveDate) -> DateTime<Utc> {
        self.window.first_open_end_on_or_after(day, &|day| self.is_holiday(day))
    }

    /// Whether messages may leave at any time of a local day.
    pub fn is_open_on(&self, day: NaiveDate) -> bool {
        self.window.is_open_on(day, &|day| self.is_holiday(day))
    }

    /// The date that the recipient's clock shows.
    pub fn local_date(&self, instant: DateTime<Utc>) -> NaiveDate {
        self.window.local_date(instant)
    }

    /// The first instant of a day of the recipient's.
    pub fn start_of_day(&self, day: NaiveDate) -> DateTime<Utc> {
        self.window.start_of_day(day)
    }

    fn is_holiday(&self, day: NaiveDate) -> bool {
        self.calendar.is_holiday(&self.place, day)
    }
}
