//! `[window]`, `[[window.state]]`, `[[holiday]]`, and the `hours` of policies and stages: when messages may leave.

use super::nearest::nearest;
use super::parse::Reading;
use super::problem::Fault;
use super::reader::{Field, Located, Reported, Section};
use super::window_settings::{StateHours, StatesRule, WindowSettings};
use crate::calendar::{MunicipalDay, MunicipalHoliday};
use crate::place::Uf;
use crate::window::{Span, WeekHours, Window, parse_weekdays};
use chrono::{NaiveDate, NaiveTime, WeekdaySet};

/// Entries of one week: a day has at most one.
const HOURS_MAX: usize = 7;
/// Holidays of the file: every city of a large provider with several of its own.
const HOLIDAYS_MAX: usize = 2000;

impl Reading<'_, '_> {
    pub fn window(&self, section: Option<Section<'_, '_>>) -> Result<WindowSettings, Reported> {
        let default = WindowSettings::business_hours(self.defaults.zone);
        let Some(mut section) = section else { return Ok(default) };
        let one_span = self.one_span(&mut section);
        let hours = self.hours(&mut section);
        let zone = self.zone(&mut section);
        let states: Vec<_> = StatesRule::ALL.iter().map(|rule| (rule.as_str(), *rule)).collect();
        let states = section.choice("states", &states);
        let own = section.tables("state", "[[window.state]], with two brackets");
        section.finish();
        let own = self.states(own);
        let hours = match (one_span?, hours?) {
            (Some(_), Some(hours)) => {
                return Err(self.report.refuse(&hours, Fault::Conflict { with: "days, from and to".into() }));
            }
            (one_span, hours) => hours.map(|hours| hours.value).or(one_span).unwrap_or(default.hours),
        };
        Ok(WindowSettings { hours, zone: zone?, states: states?.map_or(default.states, |rule| rule.value), own: own? })
    }

    /// `days`, `from` and `to`, if one of them is given: the same hours on each of some days.
    fn one_span(&self, section: &mut Section<'_, '_>) -> Result<Option<WeekHours>, Reported> {
        let days = self.weekdays(section);
        let from = self.time_of_day(section, "from");
        let to = self.time_of_day(section, "to");
        let place = section.implied("to", ());
        let (days, from, to) = (days?, from?, to?);
        if days.is_none() && from.is_none() && to.is_none() {
            return Ok(None);
        }
        let place = to.as_ref().or(from.as_ref()).map_or(place, |at| at.clone().map(|_| ()));
        let usual = Span::business();
        let time = |read: Option<Located<NaiveTime>>, usual| read.map_or(usual, |read| read.value);
        let days = days.map_or(Window::BUSINESS_DAYS, |days| days.value);
        let hours = Span::new(time(from, usual.from), time(to, usual.to)).and_then(|span| WeekHours::new(days, span));
        hours.map(Some).map_err(|error| self.report.refuse(&place, Fault::Window(error)))
    }

    fn weekdays(&self, section: &mut Section<'_, '_>) -> Field<WeekdaySet> {
        let Some(text) = section.text_or_number("days")? else { return Ok(None) };
        let days = parse_weekdays(&text.value).map_err(|error| self.report.refuse(&text, Fault::Schedule(error)))?;
        Ok(Some(text.map(|_| days)))
    }

    /// `09:00`; `24:00` is the midnight that ends the day.
    fn time_of_day(&self, section: &mut Section<'_, '_>, key: &'static str) -> Field<NaiveTime> {
        let Some(text) = section.text(key)? else { return Ok(None) };
        if key == "to" && text.value == "24:00" {
            return Ok(Some(text.map(|_| NaiveTime::MIN)));
        }
        match NaiveTime::parse_from_str(&text.value, "%H:%M") {
            Ok(time) => Ok(Some(text.map(|_| time))),
            Err(_) => Err(self.report.refuse(&text, Fault::NotATimeOfDay)),
        }
    }

    /// `hours = ["1-5 08:00-20:00", "6 08:00-14:00"]`.
    pub(super) fn hours(&self, section: &mut Section<'_, '_>) -> Field<WeekHours> {
        let entries = section.texts("hours", HOURS_MAX)?;
        let Some(first) = entries.first() else { return Ok(None) };
        let place = first.clone().map(|_| ());
        match WeekHours::parse(entries.iter().map(|entry| entry.value.as_str())) {
            Ok(hours) => Ok(Some(place.map(|()| hours))),
            Err(error) => {
                // The first entry after which it is no longer understood is the one that is wrong.
                let upto = |count: usize| WeekHours::parse(entries[..count].iter().map(|entry| entry.value.as_str()));
                let wrong = (1..=entries.len()).find(|count| upto(*count).is_err()).map_or(first, |count| &entries[count - 1]);
                Err(self.report.refuse(wrong, Fault::Hours(error)))
            }
        }
    }

    fn states(&self, sections: Vec<Section<'_, '_>>) -> Result<Vec<StateHours>, Reported> {
        let mut states: Vec<(StateHours, usize)> = Vec::new();
        let mut outcome = Ok(());
        for mut section in sections {
            let uf = self.uf(&mut section);
            let hours = self.hours(&mut section);
            if matches!(hours, Ok(None)) {
                outcome = Err(section.missing("hours", "hours = [\"1-5 08:00-20:00\"]"));
            }
            let line = section.line;
            section.finish();
            let (Ok(uf), Ok(Some(hours))) = (uf, hours) else {
                outcome = Err(Reported);
                continue;
            };
            if let Some((_, first_line)) = states.iter().find(|(known, _)| known.uf == uf.value) {
                let mend = "keep one [[window.state]] for each state";
                outcome = Err(self.report.refuse(&uf, Fault::Duplicate { first_line: *first_line, mend }));
                continue;
            }
            states.push((StateHours { uf: uf.value, hours: hours.value }, line));
        }
        outcome.map(|()| states.into_iter().map(|(state, _)| state).collect())
    }

    fn uf(&self, section: &mut Section<'_, '_>) -> Result<Located<Uf>, Reported> {
        let text = section.required_text("uf", "uf = \"SP\"")?;
        if let Some(uf) = Uf::parse(&text.value) {
            return Ok(text.map(|_| uf));
        }
        let nearest = nearest(&text.value, Uf::ALL.into_iter().flat_map(|uf| [uf.as_str(), uf.name()]));
        let allowed = Uf::ALL.iter().map(ToString::to_string).collect();
        Err(self.report.refuse(&text, Fault::NotInList { nearest, allowed }))
    }

    pub fn holidays(&self, sections: Vec<Section<'_, '_>>) -> Result<Vec<MunicipalHoliday>, Reported> {
        if let Some(first_too_many) = sections.get(HOLIDAYS_MAX) {
            return Err(self.report.refuse(&first_too_many.implied("name", ()), Fault::TooManyValues { limit: HOLIDAYS_MAX }));
        }
        let mut holidays: Vec<(MunicipalHoliday, usize)> = Vec::new();
        let mut outcome = Ok(());
        for section in sections {
            let place = section.implied("name", ());
            match self.holiday(section) {
                Ok(holiday) => match holidays.iter().find(|(known, _)| *known == holiday) {
                    Some((_, first_line)) => {
                        let fault = Fault::Duplicate { first_line: *first_line, mend: "keep one of them" };
                        outcome = Err(self.report.refuse(&place, fault));
                    }
                    None => holidays.push((holiday, place.line)),
                },
                Err(reported) => outcome = Err(reported),
            }
        }
        outcome.map(|()| holidays.into_iter().map(|(holiday, _)| holiday).collect())
    }

    fn holiday(&self, mut section: Section<'_, '_>) -> Result<MunicipalHoliday, Reported> {
        let name = section.required_text("name", "name = \"Aniversário da cidade\"");
        let uf = self.uf(&mut section);
        let city = section.text("city");
        let date = section.date("date");
        let every = self.day_of_year(&mut section);
        let day = match (date, every) {
            (Ok(Some(date)), Ok(None)) => Ok(MunicipalDay::Once(date.value)),
            (Ok(None), Ok(Some(every))) => Ok(every.value),
            (Ok(Some(_)), Ok(Some(every))) => Err(self.report.refuse(&every, Fault::Conflict { with: "date".into() })),
            (Ok(None), Ok(None)) => Err(section.missing("every", "every = \"25/08\", or date = 2027-03-04 for one that moves")),
            (Err(reported), _) | (_, Err(reported)) => Err(reported),
        };
        section.finish();
        let city = city?.map_or_else(String::new, |city| city.value);
        Ok(MunicipalHoliday::new(uf?.value, &city, day?, name?.value))
    }

    /// `25/08`, on the same date each year.
    fn day_of_year(&self, section: &mut Section<'_, '_>) -> Field<MunicipalDay> {
        let Some(text) = section.text("every")? else { return Ok(None) };
        let read = text.value.split_once('/').and_then(|(day, month)| Some((day.parse().ok()?, month.parse().ok()?)));
        // 2000 has every date that any year has.
        match read.filter(|(day, month)| NaiveDate::from_ymd_opt(2000, *month, *day).is_some()) {
            Some((day, month)) => Ok(Some(text.map(|_| MunicipalDay::EveryYear { month, day }))),
            None => Err(self.report.refuse(&text, Fault::NotADayOfYear)),
        }
    }
}
