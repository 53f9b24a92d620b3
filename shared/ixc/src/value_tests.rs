//! Tables and properties of the ERP's scalars.

use super::*;
use proptest::prelude::*;

#[track_caller]
fn check_money(text: &str, read: Result<Option<i64>, Expected>) {
    assert_eq!(money(text), read.map(|centavos| centavos.map(Centavos)), "{text:?}");
}

#[test]
fn money_has_two_forms_and_what_is_ambiguous_is_refused() {
    for (text, centavos) in [
        ("26.00", 2600),
        ("26", 2600),
        ("26.5", 2650),
        (" 7.10 ", 710),
        ("-3.05", -305),
        ("1.234,56", 123_456),
        ("1234,56", 123_456),
        ("0,01", 1),
        ("92233720368547758.07", i64::MAX),
    ] {
        check_money(text, Ok(Some(centavos)));
    }
    check_money("  ", Ok(None));
    for text in ["1.234", "1,234", "12.345"] {
        check_money(text, Err(MONEY_AMBIGUOUS));
    }
    for text in ["1,234.56", "12.34,56", "1..2", "1.2345", ",5", "5.", "1 234,00", "-", "1e3", "٣.00", "NaN"] {
        check_money(text, Err(MONEY));
    }
    check_money("92233720368547758.08", Err(MONEY_TOO_LARGE));
    check_money(&"9".repeat(400), Err(MONEY_TOO_LARGE));
}

#[track_caller]
fn check_date(origin: Origin, text: &str, ymd: Option<(i32, u32, u32)>) {
    let wanted = ymd.map(|(y, m, d)| NaiveDate::from_ymd_opt(y, m, d).expect("a test date"));
    assert_eq!(date(text, origin), Ok(wanted), "{text:?}");
}

#[test]
fn dates_have_one_form_in_the_webservice_and_two_in_files() {
    for origin in [Origin::Webservice, Origin::File] {
        check_date(origin, "2024-11-21", Some((2024, 11, 21)));
        check_date(origin, "2024-11-08 13:53:41", Some((2024, 11, 8)));
        check_date(origin, "0000-00-00", None);
        check_date(origin, "0000-00-00 00:00:00", None);
        check_date(origin, "", None);
    }
    check_date(Origin::File, "21/11/2024", Some((2024, 11, 21)));
    check_date(Origin::File, "00/00/0000", None);
    assert_eq!(date("21/11/2024", Origin::Webservice), Err(DATE));
    for text in [
        "2024-13-01",
        "2024-02-30",
        "24-11-21",
        "2024/11/21",
        "21-11-2024",
        "11/21/2024",
        "2024-11-21x",
        "2024-1-1",
        "+024-01-01",
    ] {
        assert_eq!(date(text, Origin::File), Err(DATE_IN_FILE), "{text:?}");
    }
    assert_eq!(date("0001-01-01", Origin::File), Err(DATE_YEARS));
    assert_eq!(date("9999-12-31", Origin::Webservice), Err(DATE_YEARS));
}

#[test]
fn a_switch_is_off_when_it_is_empty() {
    assert_eq!([switch("S"), switch(" s "), switch("N"), switch("")], [Ok(true), Ok(true), Ok(false), Ok(false)]);
    assert!(switch("1").is_err() && switch("sim").is_err());
}

#[test]
fn an_erp_number_is_canonical_digits() {
    assert_eq!(erp_number("145535"), Some(145_535));
    for text in ["", "0", "07", "1,2", "-1", "1234567890123456789", "12a", " 1"] {
        assert_eq!(erp_number(text), None, "{text:?}");
    }
}

#[test]
fn a_shape_never_repeats_the_value() {
    assert_eq!(shape("12,3x"), "`99,9a`");
    assert_eq!(shape("  "), "empty");
    assert_eq!(shape("Maria José da Silva Sauro Pereira"), "`aaaaa aaaa aa aaaaa aaaa` and 9 more characters");
}

#[test]
fn control_characters_of_text_become_spaces() {
    assert_eq!(text(" a\u{0}b\r\n"), Ok("a b".to_owned()));
    assert!(text(&"x".repeat(TEXT_CHARS_MAX)).is_ok());
    assert!(text(&"x".repeat(TEXT_CHARS_MAX + 1)).is_err());
}

fn grouped(whole: u64) -> String {
    let plain = whole.to_string();
    let mut out = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            out.push('.');
        }
        out.push(digit);
    }
    out
}

proptest! {
    #[test]
    fn money_round_trips_in_every_written_form(centavos in 0i64..=i64::MAX) {
        let (whole, cents) = (centavos.unsigned_abs() / 100, centavos % 100);
        let wanted = Ok(Some(Centavos(centavos)));
        let point = format!("{whole}.{cents:02}");
        prop_assert_eq!(money(&point), wanted);
        prop_assert_eq!(money(&format!("{},{cents:02}", grouped(whole))), wanted);
        prop_assert_eq!(money(&format!("-{point}")), Ok(Some(Centavos(-centavos))));
    }

    #[test]
    fn dates_round_trip_in_both_forms(days in 0i64..100_000) {
        let day = NaiveDate::from_ymd_opt(1900, 1, 1).expect("a date") + chrono::TimeDelta::days(days);
        prop_assert_eq!(date(&day.format("%Y-%m-%d").to_string(), Origin::Webservice), Ok(Some(day)));
        prop_assert_eq!(date(&day.format("%d/%m/%Y").to_string(), Origin::File), Ok(Some(day)));
    }

    #[test]
    fn no_text_makes_a_reader_panic(raw in ".*") {
        for origin in [Origin::Webservice, Origin::File] {
            prop_assert!(date(&raw, origin).is_ok() || date(&raw, origin).is_err());
        }
        prop_assert!(money(&raw).is_ok() || money(&raw).is_err());
        prop_assert!(shape(&raw).chars().count() <= 64);
    }

    #[test]
    fn a_shape_has_no_letter_or_digit_of_its_own(raw in "[b-zB-Z0-8]{4,24}") {
        let shape = shape(&raw);
        prop_assert!(shape.trim_matches('`').chars().all(|c| c == 'a' || c == '9'));
    }
}
