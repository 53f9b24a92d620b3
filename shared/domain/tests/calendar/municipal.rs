//! The holidays that the configuration adds.

use chrono::NaiveDate;
use chrono_tz::America::Sao_Paulo;
use regua_domain::calendar::{Calendar, HolidayScope, MunicipalDay, MunicipalHoliday};
use regua_domain::place::{Place, Uf};

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn every_year(month: u32, day: u32) -> MunicipalDay {
    MunicipalDay::EveryYear { month, day }
}

fn calendar(uf: Uf, city: &str, day: MunicipalDay, name: &str) -> Calendar {
    Calendar { municipal: vec![MunicipalHoliday::new(uf, city, day, name)] }
}

#[track_caller]
fn check(calendar: &Calendar, city: &str, uf: &str, date: &str, expected: bool) {
    let place = Place::of(city, uf, None, Sao_Paulo);
    assert_eq!(calendar.is_holiday(&place, day(date)), expected, "{city}/{uf} on {date}");
}

#[test]
fn a_citys_holiday_closes_that_city_only_however_it_is_spelled() {
    let calendar = calendar(Uf::Sp, "São  José dos Campos", every_year(3, 19), "São José");
    check(&calendar, "SAO JOSE DOS CAMPOS", "SP", "2026-03-19", true);
    check(&calendar, " são josé dos campos ", "São Paulo", "2031-03-19", true);
    check(&calendar, "São José dos Campos", "SP", "2026-03-20", false);
    check(&calendar, "São José", "SP", "2026-03-19", false);
    check(&calendar, "São José dos Campos", "MG", "2026-03-19", false);
    check(&calendar, "São José dos Campos", "", "2026-03-19", false);
}

#[test]
fn a_holiday_without_a_city_closes_the_whole_state() {
    let calendar = calendar(Uf::Pe, "", every_year(6, 24), "São João");
    check(&calendar, "Caruaru", "PE", "2026-06-24", true);
    check(&calendar, "3828", "PE", "2026-06-24", true);
    check(&calendar, "Caruaru", "SE", "2026-06-24", false);
    let listed = calendar.holidays_of(Some(Uf::Pe), "Caruaru", 2026);
    let ours = listed.iter().find(|holiday| holiday.name == "São João").expect("the configured holiday");
    assert_eq!((ours.on, ours.scope), (day("2026-06-24"), HolidayScope::State(Uf::Pe)));
}

#[test]
fn a_city_that_is_unknown_keeps_no_citys_holidays() {
    let calendar = calendar(Uf::Sp, "Santos", every_year(1, 26), "Aniversário de Santos");
    check(&calendar, "", "SP", "2026-01-26", false);
    check(&calendar, "3828", "SP", "2026-01-26", false);
}

#[test]
fn a_day_that_falls_once_is_none_in_another_year() {
    let calendar = calendar(Uf::Sp, "São Paulo", MunicipalDay::Once(day("2026-06-04")), "Corpus Christi");
    check(&calendar, "São Paulo", "SP", "2026-06-04", true);
    check(&calendar, "São Paulo", "SP", "2027-06-04", false);
}

#[test]
fn a_29_february_is_kept_in_leap_years_only() {
    let calendar = calendar(Uf::Ba, "Ilhéus", every_year(2, 29), "Um dia raro");
    check(&calendar, "Ilhéus", "BA", "2028-02-29", true);
    check(&calendar, "Ilhéus", "BA", "2027-02-28", false);
    check(&calendar, "Ilhéus", "BA", "2027-03-01", false);
}

#[test]
fn a_configured_day_that_repeats_the_laws_is_listed_once() {
    let calendar = calendar(Uf::Sp, "Santos", every_year(12, 25), "Natal");
    let christmas: Vec<_> = calendar
        .holidays_of(Some(Uf::Sp), "Santos", 2026)
        .into_iter()
        .filter(|holiday| holiday.on == day("2026-12-25"))
        .collect();
    assert_eq!(christmas.iter().map(|holiday| holiday.scope).collect::<Vec<_>>(), [HolidayScope::National]);
}

#[test]
fn a_calendar_is_read_as_it_was_written_and_its_cities_are_normalised() {
    let written = Calendar {
        municipal: vec![
            MunicipalHoliday::new(Uf::Sp, "Ribeirão Preto", every_year(6, 19), "Aniversário"),
            MunicipalHoliday::new(Uf::Pe, "", MunicipalDay::Once(day("2026-06-24")), "São João"),
        ],
    };
    let json = serde_json::to_string(&written).expect("json");
    assert_eq!(serde_json::from_str::<Calendar>(&json).expect("a calendar"), written);

    let by_hand = r#"{"municipal": [
        {"uf": "SP", "city": " RIBEIRÃO  Preto", "day": {"every_year": {"month": 6, "day": 19}}, "name": "Aniversário"},
        {"uf": "PE", "day": {"once": "2026-06-24"}, "name": "São João"}]}"#;
    assert_eq!(serde_json::from_str::<Calendar>(by_hand).expect("a calendar"), written);
    assert_eq!(serde_json::from_str::<Calendar>("{}").expect("a calendar"), Calendar::default());
}
