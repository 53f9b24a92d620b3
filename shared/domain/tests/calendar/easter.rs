//! Easter, and what moves with it.

use chrono::{Datelike, NaiveDate, Weekday};
use regua_domain::calendar::easter;

/// Dates as almanacs publish them, among them the earliest (1818, 2285) and the latest (1943, 2038) possible day, and 1954, 1981,
/// 2049 and 2076, where the shorter rule of Gauss needs its exceptions.
#[test]
fn easter_is_on_the_published_dates() {
    for date in [
        "1583-04-10",
        "1818-03-22",
        "1900-04-15",
        "1943-04-25",
        "1954-04-18",
        "1981-04-19",
        "2000-04-23",
        "2008-03-23",
        "2011-04-24",
        "2016-03-27",
        "2019-04-21",
        "2020-04-12",
        "2021-04-04",
        "2022-04-17",
        "2023-04-09",
        "2024-03-31",
        "2025-04-20",
        "2026-04-05",
        "2027-03-28",
        "2028-04-16",
        "2029-04-01",
        "2030-04-21",
        "2031-04-13",
        "2032-03-28",
        "2033-04-17",
        "2034-04-09",
        "2035-03-25",
        "2036-04-13",
        "2037-04-05",
        "2038-04-25",
        "2039-04-10",
        "2040-04-01",
        "2049-04-18",
        "2076-04-19",
        "2100-03-28",
        "2285-03-22",
    ] {
        let date: NaiveDate = date.parse().expect("a date");
        assert_eq!(easter(date.year()), Some(date));
    }
}

#[test]
fn easter_is_a_sunday_from_22_march_to_25_april() {
    for year in -5_000..=10_000 {
        let date = easter(year).expect("a year within the calendar");
        let earliest = NaiveDate::from_ymd_opt(year, 3, 22).expect("a date");
        let latest = NaiveDate::from_ymd_opt(year, 4, 25).expect("a date");
        assert!(date.weekday() == Weekday::Sun && (earliest..=latest).contains(&date), "{date}");
    }
}
