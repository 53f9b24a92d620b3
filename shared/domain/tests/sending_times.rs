//! Whose hours and holidays hold for a recipient, and on whose clock.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::America::Sao_Paulo;
use proptest::prelude::*;
use regua_domain::calendar::{Calendar, MunicipalDay, MunicipalHoliday};
use regua_domain::configuration::{StateHours, StatesRule, WindowSettings};
use regua_domain::ids::CustomerId;
use regua_domain::mirror::Customer;
use regua_domain::place::Uf;
use regua_domain::sending_times::SendingTimes;
use regua_domain::window::{HoursError, WeekHours, WindowState, law_hours};

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("an instant").to_utc()
}

fn hours(entries: &[&str]) -> WeekHours {
    WeekHours::parse(entries.iter().copied()).expect("hours")
}

fn customer(city: &str, state: &str, phone: &str) -> Customer {
    Customer {
        person_type: "F".into(),
        mobile_phone: phone.into(),
        city: city.into(),
        state: state.into(),
        ..Customer::new(CustomerId("1".into()), "Maria")
    }
}

/// When the window of such a customer opens next after an instant.
fn opens(settings: &WindowSettings, customer: &Customer, own: Option<WeekHours>, instant: &str) -> DateTime<Utc> {
    let calendar = Calendar {
        municipal: vec![MunicipalHoliday::new(Uf::Sc, "Chapecó", MunicipalDay::EveryYear { month: 8, day: 25 }, "Aniversário")],
    };
    SendingTimes { settings, calendar: &calendar }.of(Some(customer), own).next_open(at(instant))
}

#[test]
fn hours_are_on_the_recipients_clock() {
    let business = WindowSettings::business_hours(Sao_Paulo);
    let opens = |city, state, phone| opens(&business, &customer(city, state, phone), None, "2026-03-09T03:00:00Z");
    assert_eq!(opens("Chapecó", "SC", ""), at("2026-03-09T12:00:00Z"));
    assert_eq!(opens("Rio Branco", "AC", "49 98000-0001"), at("2026-03-09T14:00:00Z"), "the record counts, not the phone");
    assert_eq!(opens("Fernando de Noronha", "PE", ""), at("2026-03-09T11:00:00Z"));
    assert_eq!(opens("Tabatinga", "AM", ""), at("2026-03-09T14:00:00Z"), "the west of Amazonas");
    assert_eq!(opens("", "", "68 98000-0001"), at("2026-03-09T14:00:00Z"), "Acre's area code, where the record has no state");
    assert_eq!(opens("", "", ""), at("2026-03-09T12:00:00Z"), "the provider's zone, where nothing is known");
}

/// From nine in the evening on it is tomorrow in UTC, and still today where the invoice was written.
#[test]
fn a_date_is_the_providers_while_utc_has_another() {
    let date_at = |zone, instant: &str| {
        let settings = WindowSettings::business_hours(zone);
        SendingTimes { settings: &settings, calendar: &Calendar::default() }.date_at(at(instant)).to_string()
    };
    for (instant, in_sao_paulo, in_acre) in [
        ("2026-03-09T23:59:59Z", "2026-03-09", "2026-03-09"),
        ("2026-03-10T02:59:59Z", "2026-03-09", "2026-03-09"),
        ("2026-03-10T03:00:00Z", "2026-03-10", "2026-03-09"),
        ("2026-03-10T05:00:00Z", "2026-03-10", "2026-03-10"),
        // Clocks were an hour ahead in the summers up to 2018/19.
        ("2019-01-10T01:59:59Z", "2019-01-09", "2019-01-09"),
        ("2019-01-10T02:00:00Z", "2019-01-10", "2019-01-09"),
    ] {
        assert_eq!(date_at(Sao_Paulo, instant), in_sao_paulo, "{instant}");
        assert_eq!(date_at(chrono_tz::America::Rio_Branco, instant), in_acre, "{instant}");
    }
}

#[test]
fn a_citys_own_holiday_closes_there_and_nowhere_else() {
    let business = WindowSettings::business_hours(Sao_Paulo);
    let opens = |city| opens(&business, &customer(city, "SC", ""), None, "2026-08-25T13:00:00Z");
    assert_eq!(opens("CHAPECO"), at("2026-08-26T12:00:00Z"), "a Tuesday");
    assert_eq!(opens("Xaxim"), at("2026-08-25T13:00:00Z"));
}

/// Contracts §4, as the laws are told there: weekdays, Saturday.
#[test]
fn the_states_laws_are_those_of_the_contracts() {
    let table = [
        (Uf::Sp, "1-5 08:00-20:00, 6 08:00-14:00"),
        (Uf::Rj, "1-5 09:00-19:00"),
        (Uf::Es, "1-5 08:00-19:00"),
        (Uf::Am, "1-5 09:00-19:00"),
        (Uf::Al, "1-5 08:00-20:00, 6 08:00-14:00"),
        (Uf::Ce, "1-5 08:00-18:00"),
    ];
    for (uf, expected) in table {
        assert_eq!(law_hours(uf).map(|hours| hours.to_string()).as_deref(), Some(expected), "{uf}");
    }
    assert_eq!(Uf::ALL.into_iter().filter(|uf| law_hours(*uf).is_some()).count(), table.len());
}

#[test]
fn a_stages_hours_come_before_the_states_own_before_the_laws_before_the_common_ones() {
    let own = StateHours { uf: Uf::Rj, hours: hours(&["3 10:00-11:00"]) };
    let common = WindowSettings { own: vec![own], ..WindowSettings::business_hours(Sao_Paulo) };
    let law = WindowSettings { states: StatesRule::Law, ..common.clone() };
    let monday = "2026-03-09T03:00:00Z";
    let opens = |settings: &WindowSettings, state, own| opens(settings, &customer("", state, ""), own, monday);
    assert_eq!(opens(&common, "SP", None), at("2026-03-09T12:00:00Z"));
    assert_eq!(opens(&law, "SP", None), at("2026-03-09T11:00:00Z"), "São Paulo allows 8 o'clock");
    assert_eq!(opens(&law, "SC", None), at("2026-03-09T12:00:00Z"), "no law is known");
    for settings in [&common, &law] {
        assert_eq!(opens(settings, "RJ", None), at("2026-03-11T13:00:00Z"), "the file's hours for the state");
        assert_eq!(opens(settings, "RJ", Some(hours(&["2 07:00-08:00"]))), at("2026-03-10T10:00:00Z"));
    }
}

#[test]
fn hours_that_cannot_be_understood_say_why() {
    let error = |entries: &[&str]| WeekHours::parse(entries.iter().copied()).expect_err("not hours");
    assert!(matches!(error(&[]), HoursError::Window(_)));
    assert!(matches!(error(&["1-5"]), HoursError::NotAnEntry(_)));
    assert!(matches!(error(&["1-5 8-18"]), HoursError::NotAnEntry(_)));
    assert!(matches!(error(&["9 08:00-18:00"]), HoursError::Weekdays(_)));
    assert!(matches!(error(&["1 18:00-08:00"]), HoursError::Window(_)));
    assert!(matches!(error(&["1-5 08:00-18:00", "5 09:00-10:00"]), HoursError::Twice(_)));
}

proptest! {
    /// Before top-up asks message by message it asks whether any window may be open: never "no" while one is.
    #[test]
    fn any_open_never_misses_an_open_window(
        minutes in 0_i64..527_040, state in prop::sample::select(Uf::ALL.to_vec()), law in any::<bool>(), saturday in any::<bool>(),
    ) {
        let now = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(minutes);
        let states = if law { StatesRule::Law } else { StatesRule::Common };
        let settings = WindowSettings { states, ..WindowSettings::business_hours(Sao_Paulo) };
        let calendar = Calendar::default();
        let times = SendingTimes { settings: &settings, calendar: &calendar };
        let own = saturday.then(|| hours(&["6 08:00-14:00"]));
        let window = times.of(Some(&customer("", state.as_str(), "")), own);
        let is_open = matches!(window.state_at(now), WindowState::Open { .. });
        prop_assert!(!is_open || times.any_open(own.as_slice(), now));
    }

    /// No message leaves on a holiday, a weekend or outside the hours of the place.
    #[test]
    fn an_open_window_is_within_the_hours_and_on_no_holiday(minutes in 0_i64..1_054_080, state in prop::sample::select(Uf::ALL.to_vec())) {
        let now = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(minutes);
        let settings = WindowSettings::business_hours(Sao_Paulo);
        let calendar = Calendar::default();
        let window = SendingTimes { settings: &settings, calendar: &calendar }.of(Some(&customer("", state.as_str(), "")), None);
        let opens_at = window.next_open(now);
        let local = opens_at.with_timezone(&state.zone());
        let date: NaiveDate = local.date_naive();
        prop_assert!((9..18).contains(&chrono::Timelike::hour(&local)));
        prop_assert!(chrono::Datelike::weekday(&date).num_days_from_monday() < 5);
        let holidays = calendar.holidays_of(Some(state), "", chrono::Datelike::year(&date));
        prop_assert!(holidays.iter().all(|holiday| holiday.on != date));
    }
}
