//! Digitable lines of boletos and of collection documents.

use chrono::NaiveDate;
use proptest::prelude::*;
use regua_domain::{
    money::Centavos,
    payment_codes::{DigitableLine, DigitableLineError},
};

/// A line with its barcode, its centavos and a boleto's due date.
type Example = (&'static str, &'static str, Option<i64>, Option<&'static str>);

const BOLETOS: [Example; 8] = [
    // Banco do Brasil's example; the barcode in `github.com/mcrvaz/boleto-brasileiro-validator`, test/boleto.js, the line
    // in the tests of the Python package clipbarcode, which names the bank's manual Doc5175Bloqueto.pdf.
    (
        "00190.50095 40144.816069 06809.350314 3 37370000000100",
        "00193373700000001000500940144816060680935031",
        Some(100),
        Some("2007-12-31"),
    ),
    // Itaú's own example (factor 1667, R$ 123,45), which libraries for its boletos quote and work through digit by digit.
    (
        "34191.10121 34567.880058 71234.570001 6 16670000012345",
        "34196166700000123451101234567880057123457000",
        Some(12_345),
        Some("2002-05-01"),
    ),
    // `github.com/eduardocereto/pyboleto`, tests/test_banco_itau.py and tests/test_banco_bradesco.py.
    (
        "34191.09008 00015.710296 30132.800001 9 43950000002980",
        "34199439500000029801090000015710293013280000",
        Some(2_980),
        Some("2009-10-19"),
    ),
    (
        "23790.27804 60000.212559 25003.923205 4 48690000828000",
        "23794486900008280000278060000212552500392320",
        Some(828_000),
        Some("2011-02-05"),
    ),
    // `github.com/kivanio/brcobranca`, spec/brcobranca/boleto/banco_brasil_spec.rb; the second's general digit is 1.
    (
        "00190.00009 01238.798977 77700.168188 3 37690000013500",
        "00193376900000135000000001238798977770016818",
        Some(13_500),
        Some("2008-02-01"),
    ),
    (
        "00191.23801 12345.640424 00061.900189 1 37690000013500",
        "00191376900000135001238012345640420006190018",
        Some(13_500),
        Some("2008-02-01"),
    ),
    // `github.com/mrmgomes/boleto-utils`, README.md.
    (
        "34192220090000556638551012140003679060000100000",
        "34196790600001000002220000005566385101214000",
        Some(100_000),
        Some("2019-05-31"),
    ),
    // The Python package clipbarcode: a boleto with neither due date nor amount.
    ("00190.00009 02803.164017 29488.511667 4 00000000000000", "00194000000000000000000002803164012948851166", None, None),
];

const COLLECTION_DOCUMENTS: [Example; 5] = [
    // `github.com/mcrvaz/boleto-brasileiro-validator`, test/boleto-arrecadacao.js: by module 10, then by module 11.
    ("836200000005 667800481000 180975657313 001589636081", "83620000000667800481001809756573100158963608", Some(6_678), None),
    ("848900000002404201622015806051904292586034111220", "84890000000404201622018060519042958603411122", Some(4_042), None),
    (
        "85890000460-9 52460179160-5 60759305086-5 83148300001-0",
        "85890000460524601791606075930508683148300001",
        Some(4_605_246),
        None,
    ),
    // The Python package clipbarcode: a municipal document, and one of the federal revenue (DAS).
    ("826500000110 314400081704 924000000027 202104000015", "82650000011314400081709240000000220210400001", Some(113_144), None),
    (
        "85870000134 7 79110328221 0 40072022125 6 74512580554 8",
        "85870000134791103282214007202212574512580554",
        Some(1_347_911),
        None,
    ),
];

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn parsed(text: &str) -> DigitableLine {
    DigitableLine::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[track_caller]
fn check_refused(text: &str, expected: DigitableLineError) {
    assert_eq!(DigitableLine::parse(text), Err(expected), "{text:?}");
}

fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The line with another digit at one place.
fn changed(digits: &str, at: usize, other: u32) -> String {
    format!("{}{other}{}", &digits[..at], &digits[at + 1..])
}

/// The line with the digit at one place one higher, 9 becoming 0.
fn bumped(digits: &str, at: usize) -> String {
    let digit = u32::from(digits.as_bytes()[at] - b'0');
    changed(digits, at, (digit + 1) % 10)
}

/// A boleto's line with the check digits that belong to it.
fn boleto(bank: u32, free: &str, factor: u32, centavos: u64) -> String {
    let value = format!("{factor:04}{centavos:010}");
    let bank = format!("{bank:03}9");
    let general = match remainder_11(&format!("{bank}{value}{free}")) {
        0 | 1 => 1,
        remainder => 11 - remainder,
    };
    let field = |digits: &str| format!("{digits}{}", luhn(digits));
    let first = field(&format!("{bank}{}", &free[..5]));
    format!("{first}{}{}{general}{value}", field(&free[5..15]), field(&free[15..]))
}

/// A collection document's line out of 43 digits, without the general check digit at the fourth place.
fn collection(guarded: &str) -> String {
    let check = |digits: &str| match (guarded.as_bytes()[2], remainder_11(digits)) {
        (b'6' | b'7', _) => luhn(digits),
        (_, 0 | 1) => 0,
        (_, remainder) => 11 - remainder,
    };
    let barcode = format!("{}{}{}", &guarded[..3], check(guarded), &guarded[3..]);
    [0, 11, 22, 33].map(|at| &barcode[at..at + 11]).map(|block| format!("{block}{}", check(block))).concat()
}

fn luhn(digits: &str) -> u32 {
    let sum: u32 = digits
        .chars()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = digit.to_digit(10).expect("a digit");
            if place % 2 == 1 { digit } else { digit * 2 - if digit > 4 { 9 } else { 0 } }
        })
        .sum();
    (10 - sum % 10) % 10
}

fn remainder_11(digits: &str) -> u32 {
    let weighted = digits
        .chars()
        .rev()
        .enumerate()
        .map(|(place, digit)| digit.to_digit(10).expect("a digit") * (2 + u32::try_from(place % 8).expect("small")));
    weighted.sum::<u32>() % 11
}

#[test]
fn published_lines_are_read_as_their_sources_say() {
    for (text, barcode, centavos, due_on) in BOLETOS.into_iter().chain(COLLECTION_DOCUMENTS) {
        let line = parsed(text);
        assert_eq!((line.digits(), line.barcode().as_str()), (digits_of(text).as_str(), barcode));
        assert_eq!(line.amount(), centavos.map(Centavos), "{text}");
        assert_eq!(line.due_on(date("2010-01-01")), due_on.map(date), "{text}");
    }
}

#[test]
fn a_line_is_formatted_as_it_is_printed() {
    let [bank_example, ..] = BOLETOS;
    assert_eq!(parsed(&digits_of(bank_example.0)).formatted(), bank_example.0);
    let [_, _, printed, ..] = COLLECTION_DOCUMENTS;
    assert_eq!(parsed(&digits_of(printed.0)).formatted(), printed.0);
    for (text, ..) in BOLETOS.into_iter().chain(COLLECTION_DOCUMENTS) {
        assert_eq!(parsed(&parsed(text).formatted()), parsed(text));
    }
}

#[test]
fn dots_spaces_and_hyphens_don_t_matter_and_other_signs_do() {
    let digits = digits_of(BOLETOS[0].0);
    for text in
        [format!(" {digits}\r\n"), digits.replace("00", "0-0"), digits.replace("00", "0. 0"), digits.replace("00", "0\u{a0}0")]
    {
        assert_eq!(parsed(&text).digits(), digits);
    }
    for sign in ["x", "_", "/", ",", "\0", "\u{200b}", "٢", "０", "😀"] {
        check_refused(&format!("{digits}{sign}"), DigitableLineError::NotDigits);
        check_refused(&format!("{}{sign}{}", &digits[..20], &digits[21..]), DigitableLineError::NotDigits);
    }
}

#[test]
fn each_check_digit_is_verified() {
    let digits = digits_of(BOLETOS[0].0);
    for (at, field) in [(9, 1), (20, 2), (31, 3)] {
        check_refused(&bumped(&digits, at), DigitableLineError::FieldCheckDigit { field });
    }
    check_refused(&bumped(&digits, 32), DigitableLineError::GeneralCheckDigit);
    for (text, ..) in COLLECTION_DOCUMENTS {
        for (at, field) in [(11, 1), (23, 2), (35, 3), (47, 4)] {
            check_refused(&bumped(&digits_of(text), at), DigitableLineError::FieldCheckDigit { field });
        }
    }
}

#[test]
fn the_general_check_digit_of_a_collection_document_is_verified() {
    // Module 10: raising one digit of a block and its check digit along leaves only the general one to notice.
    let digits = digits_of(COLLECTION_DOCUMENTS[0].0);
    let forged = format!("{}{}{}", &digits[..4], collection_block(&digits, 4), &digits[12..]);
    check_refused(&forged, DigitableLineError::GeneralCheckDigit);
}

/// The rest of the first block from `at`, with the digit there raised and the block's check digit made right.
fn collection_block(digits: &str, at: usize) -> String {
    let block = &bumped(digits, at)[..11];
    format!("{}{}", &block[at..], luhn(block))
}

#[test]
fn any_single_digit_changed_is_refused() {
    let guarded = |text: &str| text.len() == 48 || &text[32..33] != "1";
    for digits in BOLETOS.into_iter().chain(COLLECTION_DOCUMENTS).map(|(text, ..)| digits_of(text)).filter(|text| guarded(text)) {
        for at in 0..digits.len() {
            for other in (0..10).map(|digit| changed(&digits, at, digit)).filter(|other| *other != digits) {
                assert!(DigitableLine::parse(&other).is_err(), "{other}");
            }
        }
    }
}

#[test]
fn a_general_check_digit_of_1_guards_less_by_the_standard_s_design() {
    let digits = digits_of(BOLETOS[5].0);
    let passes = |at: &usize| {
        (0..10).map(|digit| changed(&digits, *at, digit)).any(|other| other != digits && DigitableLine::parse(&other).is_ok())
    };
    let unguarded: Vec<_> = (0..47).filter(passes).collect();
    assert!(!unguarded.is_empty() && unguarded.iter().all(|at| *at > 32), "{unguarded:?}");
}

#[test]
fn a_line_of_another_length_is_refused_and_a_barcode_is_called_one() {
    let digits = digits_of(BOLETOS[0].0);
    for (text, count) in [("", 0), (" .-", 0), ("12345", 5), (&digits[1..], 46), (&digits.repeat(2), 94)] {
        check_refused(text, DigitableLineError::Length { count });
    }
    for (_, barcode, ..) in BOLETOS.into_iter().chain(COLLECTION_DOCUMENTS) {
        check_refused(barcode, DigitableLineError::Barcode);
    }
    check_refused(&"9".repeat(1 << 20), DigitableLineError::Length { count: 1 << 20 });
    check_refused(&"😀".repeat(1 << 18), DigitableLineError::NotDigits);
    assert!(DigitableLineError::Barcode.to_string().contains("barcode"));
}

#[test]
fn only_a_line_that_begins_with_8_has_48_digits_and_its_third_says_how_it_is_checked() {
    let digits = digits_of(COLLECTION_DOCUMENTS[0].0);
    for first in [0, 1, 7, 9] {
        check_refused(&changed(&digits, 0, first), DigitableLineError::NotCollection);
    }
    for third in 0..6 {
        check_refused(&changed(&digits, 2, third), DigitableLineError::ValueKind);
    }
}

#[test]
fn a_reference_value_is_no_amount() {
    for (value_kind, centavos) in [(6, Some(9_990)), (7, None), (8, Some(9_990)), (9, None)] {
        let line = collection(&format!("84{value_kind}00000009990{:029}", 123_456_789));
        assert_eq!(parsed(&line).amount(), centavos.map(Centavos), "{line}");
    }
}

#[test]
fn the_due_date_is_the_nearest_of_the_factor_s_two() {
    // FEBRABAN: 1000 is 2000-07-03, 9999 is 2025-02-21, and on 2025-02-22 it starts again at 1000; the factors as in
    // `github.com/kivanio/brcobranca`, spec/brcobranca/calculo_data_spec.rb.
    for (factor, near, expected) in [
        (1000, "2000-07-03", "2000-07-03"),
        (1000, "2000-01-01", "2000-07-03"),
        (1000, "2025-02-21", "2025-02-22"),
        (1000, "2025-02-22", "2025-02-22"),
        (1000, "2025-03-31", "2025-02-22"),
        (1001, "2025-02-20", "2025-02-23"),
        (1667, "2002-04-01", "2002-05-01"),
        (1667, "2026-12-25", "2026-12-21"),
        (3769, "2008-02-01", "2008-02-01"),
        (4789, "2010-11-17", "2010-11-17"),
        (9998, "2025-02-22", "2025-02-20"),
        (9999, "2025-02-21", "2025-02-21"),
        (9999, "2025-02-22", "2025-02-21"),
        (9999, "2049-10-13", "2049-10-13"),
        // As near to both: the earlier one.
        (1000, "2012-10-28", "2000-07-03"),
        (1000, "2012-10-29", "2025-02-22"),
    ] {
        let line = parsed(&boleto(237, &"0".repeat(25), factor, 9_990));
        assert_eq!(line.due_on(date(near)), Some(date(expected)), "factor {factor} near {near}");
    }
    for near in [NaiveDate::MIN, NaiveDate::MAX] {
        assert!(parsed(&boleto(237, &"0".repeat(25), 9999, 1)).due_on(near).is_some());
    }
}

#[test]
fn without_a_factor_there_is_no_due_date_and_the_amount_has_its_place_too() {
    for (factor, centavos, amount) in
        [(0, 0, None), (0, 1, Some(1)), (1, 0, Some(10_000_000_000)), (999, 5, Some(9_990_000_000_005))]
    {
        let line = parsed(&boleto(1, &"1".repeat(25), factor, centavos));
        assert_eq!((line.due_on(date("2026-01-01")), line.amount()), (None, amount.map(Centavos)));
    }
    let line = parsed(&boleto(1, &"1".repeat(25), 1000, 9_999_999_999));
    assert_eq!(line.amount(), Some(Centavos(9_999_999_999)));
}

#[test]
fn neither_an_error_nor_debug_output_repeats_the_line() {
    let digits = digits_of(BOLETOS[0].0);
    assert_eq!(format!("{:?}", parsed(&digits)), "DigitableLine(47 digits)");
    for at in 0..47 {
        let error = DigitableLine::parse(&bumped(&digits, at)).expect_err("a changed digit");
        let told = format!("{error} {error:?}");
        assert!(told.bytes().filter(u8::is_ascii_digit).count() <= 2, "{told}");
    }
}

proptest! {
    #[test]
    fn whatever_is_in_the_field_gives_its_digits_or_a_reason(text in "\\PC{0,60}|(\\PC|\0|\n){0,60}|[0-9]{44,48}|8[0-9]{47}|[0-9 .-]{40,70}") {
        match DigitableLine::parse(&text) {
            Ok(line) => prop_assert_eq!(line.digits(), digits_of(&text)),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn a_boleto_is_read_back_and_refused_with_any_digit_changed(
        bank in 0..1000_u32, free in "[0-9]{25}", days in 1000..19_000_u32, centavos in 0..10_000_000_000_u64, at in 0..47_usize, by in 1..10_u32,
    ) {
        let factor = if days < 10_000 { days } else { days - 9000 };
        let due_on = date("1997-10-07") + chrono::Days::new(days.into());
        let digits = boleto(bank, &free, factor, centavos);
        let line = parsed(&digits);
        prop_assert_eq!(line.due_on(due_on), Some(due_on));
        prop_assert_eq!(line.amount().map_or(0, |amount| amount.0), i64::try_from(centavos).expect("ten digits"));
        prop_assert_eq!(line.barcode().len(), 44);
        prop_assert_eq!(&line.barcode()[19..], free);
        let digit = u32::from(digits.as_bytes()[at] - b'0');
        let is_guarded = at <= 32 || &digits[32..33] != "1";
        prop_assert!(!is_guarded || DigitableLine::parse(&changed(&digits, at, (digit + by) % 10)).is_err());
    }

    #[test]
    fn a_collection_document_by_module_10_is_read_back_and_refused_with_any_digit_changed(
        segment in 1..10_u32, kind in 6..8_u32, rest in "[0-9]{40}", at in 0..48_usize, by in 1..10_u32,
    ) {
        let guarded = format!("8{segment}{kind}{rest}");
        let digits = collection(&guarded);
        let barcode = parsed(&digits).barcode();
        prop_assert_eq!(format!("{}{}", &barcode[..3], &barcode[4..]), guarded);
        let digit = u32::from(digits.as_bytes()[at] - b'0');
        let other = changed(&digits, at, (digit + by) % 10);
        // Another third digit may change the rule itself; the examples cover that.
        prop_assert!(at == 2 || DigitableLine::parse(&other).is_err(), "{}", other);
    }
}
