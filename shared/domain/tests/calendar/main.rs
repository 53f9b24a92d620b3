//! The calendar: the law's holidays against an outside list, Easter against published dates, and the configured ones.

mod easter;
mod municipal;
mod place;

use chrono::{Days, NaiveDate};
use proptest::prelude::*;
use regua_domain::calendar::{Calendar, Holiday, HolidayScope, MunicipalDay, MunicipalHoliday};
use regua_domain::place::{Place, Uf};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// What the package says: see the header, and the script beside it.
const EXPECTED: &str = include_str!("../expectations/holidays.tsv");
const YEARS: RangeInclusive<i32> = 2024..=2040;

/// A state's holiday about which the package and the law differ: here the law is followed.
struct Difference {
    uf: Uf,
    name: &'static str,
    side: Side,
    reason: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    OnlyThePackage,
    OnlyTheLaw,
}

const DIFFERENCES: [Difference; 3] = [
    Difference {
        uf: Uf::Ac,
        name: "Dia do Católico",
        side: Side::OnlyTheLaw,
        reason: "20 January is a holiday by Lei estadual 3.137/2016; the state's yearly decrees list it",
    },
    Difference {
        uf: Uf::Ap,
        name: "São Tiago",
        side: Side::OnlyThePackage,
        reason: "the Supreme Court annulled Lei estadual 1.696/2012 on 20 September 2018 (ADI 4.820)",
    },
    Difference {
        uf: Uf::Ro,
        name: "Dia do Evangélico",
        side: Side::OnlyThePackage,
        reason: "the Supreme Court annulled Lei estadual 1.026/2001 in March 2020 (ADI 3.940)",
    },
];

fn is_difference(side: Side, uf: Option<Uf>, name: &str) -> bool {
    DIFFERENCES.iter().any(|known| known.side == side && Some(known.uf) == uf && known.name == name)
}

/// The rows of the package for a state, or for the whole country.
fn expected_rows(uf: Option<Uf>) -> impl Iterator<Item = (NaiveDate, &'static str)> {
    let label = uf.map_or("BR", Uf::as_str);
    EXPECTED.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let [row_label, date, name] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("not three columns: {line}") };
        (row_label == label).then(|| (date.parse().expect("a date"), name))
    })
}

/// Our holidays of the years, of one scope, in a city that the configuration doesn't name.
fn ours(uf: Option<Uf>) -> impl Iterator<Item = Holiday> {
    let scope = uf.map_or(HolidayScope::National, HolidayScope::State);
    YEARS.flat_map(move |year| Calendar::default().holidays_of(uf, "", year)).filter(move |holiday| holiday.scope == scope)
}

#[track_caller]
fn check_dates(uf: Option<Uf>) {
    let expected: BTreeSet<NaiveDate> =
        expected_rows(uf).filter(|(_, name)| !is_difference(Side::OnlyThePackage, uf, name)).map(|(date, _)| date).collect();
    let actual: BTreeSet<NaiveDate> =
        ours(uf).filter(|holiday| !is_difference(Side::OnlyTheLaw, uf, &holiday.name)).map(|holiday| holiday.on).collect();
    let missing: Vec<_> = expected.difference(&actual).collect();
    let surplus: Vec<_> = actual.difference(&expected).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "{uf:?}: missing {missing:?}, surplus {surplus:?}");
}

#[test]
fn the_national_holidays_are_those_of_the_outside_list() {
    assert_eq!(expected_rows(None).count(), 10 * YEARS.count(), "the list has ten a year");
    check_dates(None);
}

#[test]
fn every_states_own_holidays_are_those_of_the_outside_list() {
    for uf in Uf::ALL {
        check_dates(Some(uf));
    }
}

#[test]
fn every_listed_difference_exists_in_every_year() {
    for Difference { uf, name, side, reason } in DIFFERENCES {
        let theirs = expected_rows(Some(uf)).filter(|(_, row_name)| *row_name == name).count();
        let ours = ours(Some(uf)).filter(|holiday| holiday.name == name).count();
        let expected = match side {
            Side::OnlyThePackage => (YEARS.count(), 0),
            Side::OnlyTheLaw => (0, YEARS.count()),
        };
        assert_eq!((theirs, ours), expected, "{uf} {name}: {reason}");
    }
}

fn names_on(uf: Option<Uf>, date: &str) -> Vec<String> {
    let date: NaiveDate = date.parse().expect("a date");
    let year = date.format("%Y").to_string().parse().expect("a year");
    let holidays = Calendar::default().holidays_of(uf, "", year);
    holidays.into_iter().filter(|holiday| holiday.on == date).map(|holiday| holiday.name.into_owned()).collect()
}

#[test]
fn consciencia_negra_is_national_from_2024_on() {
    assert_eq!(names_on(None, "2023-11-20"), Vec::<String>::new());
    assert_eq!(names_on(None, "2024-11-20"), ["Dia Nacional de Zumbi e da Consciência Negra"]);
}

#[test]
fn carnival_is_a_holiday_where_a_state_makes_it_one() {
    assert_eq!(names_on(Some(Uf::Rj), "2026-02-17"), ["Carnaval"]);
    assert_eq!(names_on(Some(Uf::Sp), "2026-02-17"), Vec::<String>::new());
    assert_eq!(names_on(Some(Uf::Rj), "2026-02-16"), Vec::<String>::new(), "the Monday is none");
}

#[test]
fn acre_moves_a_midweek_holiday_to_the_friday_but_not_its_birthday() {
    // 2027: 8 March is a Monday, 15 June a Tuesday, 17 November a Wednesday. 2029: 8 March is a Thursday.
    assert_eq!(names_on(Some(Uf::Ac), "2027-03-08"), ["Dia Internacional da Mulher"]);
    assert_eq!(names_on(Some(Uf::Ac), "2027-06-15"), ["Aniversário do Acre"]);
    assert_eq!(names_on(Some(Uf::Ac), "2027-11-17"), Vec::<String>::new());
    assert_eq!(names_on(Some(Uf::Ac), "2027-11-19"), ["Assinatura do Tratado de Petrópolis"]);
    assert_eq!(names_on(Some(Uf::Ac), "2029-03-09"), ["Dia Internacional da Mulher"]);
}

#[test]
fn two_holidays_of_one_date_are_both_named_the_countrys_first() {
    assert_eq!(names_on(Some(Uf::Df), "2026-04-21"), ["Tiradentes", "Fundação de Brasília"]);
}

/// The calendar of the property: days that repeat the law's, that a year lacks, and that fall once.
fn configured() -> Calendar {
    let every_year = |month, day| MunicipalDay::EveryYear { month, day };
    let once = MunicipalDay::Once(NaiveDate::from_ymd_opt(2030, 6, 20).expect("a date"));
    Calendar {
        municipal: vec![
            MunicipalHoliday::new(Uf::Sp, "São Paulo", every_year(1, 25), "Aniversário da cidade"),
            MunicipalHoliday::new(Uf::Sp, "São Paulo", every_year(12, 25), "Natal"),
            MunicipalHoliday::new(Uf::Sp, "São Paulo", once, "Corpus Christi"),
            MunicipalHoliday::new(Uf::Am, "", every_year(2, 29), "Um dia raro"),
            MunicipalHoliday::new(Uf::Rj, "", every_year(10, 20), "Um dia do estado"),
        ],
    }
}

/// Any date around the years of the rules, and often one on which something is.
fn a_date() -> impl Strategy<Value = NaiveDate> {
    let first = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date");
    let days = YEARS.flat_map(|year| configured().holidays_of(Some(Uf::Sp), "São Paulo", year)).map(|holiday| holiday.on);
    prop_oneof![(0_u64..20_000).prop_map(move |days| first + Days::new(days)), prop::sample::select(days.collect::<Vec<_>>())]
}

fn a_place() -> impl Strategy<Value = Place> {
    let uf = prop_oneof![prop::sample::select(Uf::ALL.map(Uf::as_str).to_vec()), Just("SP"), Just("0")];
    let city = prop::sample::select(vec!["São Paulo", "SANTOS", "", "3828"]);
    (uf, city).prop_map(|(uf, city)| Place::of(city, uf, None, chrono_tz::America::Sao_Paulo))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn is_holiday_agrees_with_the_years_list(on in a_date(), place in a_place()) {
        let calendar = configured();
        let year = on.format("%Y").to_string().parse().expect("a year");
        let listed = calendar.holidays_of(place.uf, &place.city, year);
        prop_assert_eq!(calendar.is_holiday(&place, on), listed.iter().any(|holiday| holiday.on == on));
    }

    #[test]
    fn a_years_list_is_sorted_within_the_year_and_names_nothing_twice(year in 1990_i32..2200, place in a_place()) {
        let listed = configured().holidays_of(place.uf, &place.city, year);
        prop_assert!(listed.is_sorted_by_key(|holiday| holiday.on));
        prop_assert!(listed.iter().all(|holiday| holiday.on.format("%Y").to_string() == year.to_string()));
        let distinct: BTreeSet<_> = listed.iter().map(|holiday| (holiday.on, holiday.name.clone())).collect();
        prop_assert_eq!(distinct.len(), listed.len());
    }

    #[test]
    fn no_date_and_no_year_panics(days in any::<i32>(), year in any::<i32>(), place in a_place()) {
        let on = NaiveDate::from_num_days_from_ce_opt(days).unwrap_or(NaiveDate::MAX);
        let calendar = configured();
        calendar.is_holiday(&place, on);
        calendar.holidays_of(place.uf, &place.city, year);
    }
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for uf in Uf::ALL {
        let place = Place::of("", uf.as_str(), None, uf.zone());
        assert!(!Calendar::default().is_holiday(&place, NaiveDate::MIN + Days::new(1)));
        assert!(!Calendar::default().is_holiday(&place, NaiveDate::MAX));
        assert_eq!(Calendar::default().holidays_of(Some(uf), "", i32::MAX), []);
        assert_eq!(Calendar::default().holidays_of(Some(uf), "", i32::MIN), []);
    }
}
