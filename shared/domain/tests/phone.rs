//! Phones out of free-text fields: what is accepted, what is refused and why.

use proptest::prelude::*;
use regua_domain::phone::{AREA_CODES, Phone, PhoneKey, PhoneRefusal, choose, parse};

#[track_caller]
fn check(field: &str, e164: &str) {
    match parse(field) {
        Ok(phone) => assert_eq!(phone.e164(), e164, "{field:?}"),
        Err(refusal) => panic!("{field:?} was refused: {refusal}"),
    }
}

#[track_caller]
fn check_refused(field: &str, reason: &str) -> PhoneRefusal {
    match parse(field) {
        Ok(phone) => panic!("{field:?} was read as {}", phone.e164()),
        Err(refusal) => {
            assert_eq!(refusal.as_str(), reason, "{field:?}");
            refusal
        }
    }
}

#[test]
fn a_mobile_number_is_read_with_every_accepted_prefix() {
    for prefix in ["", "+55", "55", "0055", "0", "015", "021", "041", "099"] {
        check(&format!("{prefix}11987654321"), "+5511987654321");
        check(&format!("{prefix} (11) 98765-4321"), "+5511987654321");
    }
}

#[test]
fn area_code_55_is_told_from_the_country_code_by_total_length() {
    for prefix in ["", "+55", "55", "0055", "0", "015", "055"] {
        check(&format!("{prefix}55987654321"), "+5555987654321");
    }
    check("55 99999-1234", "+5555999991234");
    check_refused("5598765432", "missing_ninth_digit");
    check_refused("+55987654321", "too_short");
    check_refused("0055987654321", "too_short");
}

#[test]
fn the_signs_people_write_between_digits_are_passed_over() {
    for field in [
        "11987654321",
        " 11 98765 4321 ",
        "(11) 9 8765-4321",
        "(+55) 11 98765-4321",
        "+55 (11) 98765.4321",
        "11-98765-4321",
        "11\u{a0}98765\u{2011}4321",
        "\u{202a}+55 11 98765-4321\u{202c}",
        "11\t98765\n4321",
    ] {
        check(field, "+5511987654321");
    }
}

#[test]
fn the_first_valid_mobile_of_separated_numbers_wins() {
    for field in [
        "11987654321/1133334444",
        "1133334444/11987654321",
        "(11) 3333-4444 / (11) 98765-4321",
        "11 8765-4321; 11 98765-4321",
        "11987654321, 21912345678",
        "11987654321 ou 21912345678",
        "11 3333-4444 OU 11 98765-4321",
        "11 3333-4444 Ou11987654321",
        "recado com a mãe; 11987654321",
        "/11987654321/",
        "11987654321/",
    ] {
        check(field, "+5511987654321");
    }
}

#[test]
fn two_numbers_without_a_separator_are_refused() {
    for field in [
        "11987654321 21912345678",
        "11 98765-4321 - 21 91234-5678",
        "11 98765-4321 e 21 91234-5678",
        "1133334444 11987654321",
        "33334444 11987654321",
    ] {
        check_refused(field, "two_numbers");
    }
}

#[test]
fn ten_digits_beginning_6_to_9_are_refused_with_a_suggestion() {
    for (field, suggestion) in [
        ("1187654321", "+5511987654321"),
        ("(51) 6123-4567", "+5551961234567"),
        ("+55 11 7654-3210", "+5511976543210"),
        ("551187654321", "+5511987654321"),
        ("0151187654321", "+5511987654321"),
        ("01187654321", "+5511987654321"),
        ("5598765432", "+5555998765432"),
    ] {
        let refusal = check_refused(field, "missing_ninth_digit");
        assert_eq!(refusal.suggestion().map(Phone::e164), Some(suggestion), "{field:?}");
    }
}

#[test]
fn what_is_no_mobile_number_is_refused_with_its_reason() {
    for (field, reason) in [
        ("", "empty"),
        ("   ", "empty"),
        ("-", "empty"),
        (" / ; ", "empty"),
        ("não tem", "not_a_number"),
        ("11987654321 (João)", "not_a_number"),
        ("11 98765-432x", "not_a_number"),
        ("11987654321 + 1", "not_a_number"),
        ("1198765+4321", "not_a_number"),
        ("00000000000", "not_a_number"),
        ("987654321", "too_short"),
        ("3333-4444", "too_short"),
        ("0987654321", "too_short"),
        ("+55 98765-4321", "too_short"),
        ("+55", "too_short"),
        ("119876543210", "too_long"),
        ("+55119876543210", "too_long"),
        ("+55 0 11 98765-4321", "too_long"),
        ("55119876543210", "too_long"),
        ("123456789012345", "too_long"),
        ("1234567890123456789012345678901", "too_long"),
        ("+11 98765-4321", "not_brazilian"),
        ("+351 912 345 678", "not_brazilian"),
        ("00351912345678", "not_brazilian"),
        ("10987654321", "unknown_area_code"),
        ("2398765-4321", "unknown_area_code"),
        ("0800 777 7777", "unknown_area_code"),
        ("+5520987654321", "unknown_area_code"),
        ("1133334444", "landline"),
        ("+55 11 2222-3333", "landline"),
        ("0 15 11 5555-3333", "landline"),
        ("11 3333-4444 / 11 5555-6666", "landline"),
        ("11 3333-4444 ou recado", "landline"),
        ("11887654321", "not_a_mobile"),
        ("1113334444", "not_a_mobile"),
    ] {
        check_refused(field, reason);
    }
}

#[test]
fn ou_inside_a_word_separates_nothing() {
    check_refused("loura 11987654321", "not_a_number");
    check_refused("ouro 11987654321", "not_a_number");
    check_refused("São Paulo 11987654321", "not_a_number");
    check_refused("Lou 11987654321", "not_a_number");
    check_refused("11987654321 ouro", "not_a_number");
}

#[test]
fn whatsapp_comes_before_the_mobile_phone() {
    #[track_caller]
    fn check(whatsapp: &str, mobile: &str, expected: Result<&str, &str>) {
        let chosen = choose(whatsapp, mobile);
        assert_eq!(chosen.as_ref().map(Phone::e164).map_err(PhoneRefusal::as_str), expected, "{whatsapp:?}, {mobile:?}");
    }
    check("11987654321", "21912345678", Ok("+5511987654321"));
    check("", "21912345678", Ok("+5521912345678"));
    check("1133334444", "21912345678", Ok("+5521912345678"));
    check("", "1133334444", Err("landline"));
    check("1187654321", "1133334444", Err("missing_ninth_digit"));
    check("1187654321", "", Err("missing_ninth_digit"));
    check("", "", Err("empty"));
}

#[test]
fn there_are_67_area_codes_in_ascending_order() {
    assert!(AREA_CODES.is_sorted_by(|a, b| a < b));
    assert_eq!(AREA_CODES.len(), 67);
}

#[test]
fn debug_output_shows_the_last_four_digits_only() {
    let phone = parse("11987654321").expect("a mobile number");
    assert_eq!(format!("{phone:?} {:?}", phone.key()), "Phone(…4321) PhoneKey(…4321)");
    let refusal = parse("1187654321").expect_err("its ninth digit is missing");
    assert!(!format!("{refusal:?}").contains("8765"));
}

#[test]
fn a_key_is_read_back_only_if_it_is_one() {
    let key = parse("11987654321").expect("a mobile number").key();
    assert_eq!(key.as_str(), "1187654321");
    assert_eq!(key.as_str().parse(), Ok(key));
    for text in ["", "118765432", "11987654321", "1087654321", "11 8765432", "é187654321"] {
        assert!(text.parse::<PhoneKey>().is_err(), "{text:?}");
    }
}

fn mobile() -> impl Strategy<Value = (u8, u32)> {
    (prop::sample::select(AREA_CODES.to_vec()), 0..100_000_000_u32)
}

/// What libphonenumber takes for a mobile number and Régua refuses: how, how often in the table, and why.
const REFUSED: [(&str, usize, &str); 3] = [
    (
        "missing_ninth_digit",
        68,
        "eight digits beginning with 7 were trunked radio's; WhatsApp's numbers have nine, so a person must look",
    ),
    ("not_a_number", 6, "words around a number may say whose it is: a field is read or refused, never guessed"),
    ("too_long", 36, "the country code and then the 0 of a call within the country: none of the forms that are accepted"),
];
/// What Régua reads and libphonenumber doesn't: what stands before the number, how often in the table, and why.
const READ: [(&str, usize, &str); 2] = [
    (
        "0 and a carrier",
        84,
        "libphonenumber knows today's carriers; a field of the ERP may be older, and the number behind it is the same",
    ),
    ("0055", 24, "from Brazil one dials 00 and a carrier; people and programs write 00 as everywhere else"),
];

/// libphonenumber's metadata is the measure of what a Brazilian mobile number is: whatever Régua reads is one, of the same international form.
#[test]
fn what_is_read_is_libphonenumbers_mobile_number_too_but_for_what_is_named_here() {
    use std::collections::{BTreeMap, BTreeSet};
    let rows = include_str!("expectations/phones.tsv").lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('\t').collect()).collect();
    let mobiles: BTreeSet<&str> = rows.iter().filter(|row| row[1] == "mobile").map(|row| row[2]).collect();
    let (mut agreed, mut refused, mut read) = (0, BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    for row in &rows {
        let [written, kind, e164] = row[..] else { panic!("{row:?}") };
        match parse(written) {
            Ok(phone) if kind == "mobile" => {
                assert_eq!(phone.e164(), e164, "{written:?}");
                agreed += 1;
            }
            Ok(phone) => {
                assert!(mobiles.contains(phone.e164()), "{written:?} is no mobile number without what stands before it");
                let before = if written.replace(' ', "").starts_with("0055") { "0055" } else { "0 and a carrier" };
                *read.entry(before).or_default() += 1;
            }
            Err(refusal) if kind == "mobile" => *refused.entry(refusal.as_str()).or_default() += 1,
            Err(_) => agreed += 1,
        }
    }
    assert!(agreed > 1000, "{agreed}");
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), REFUSED.map(|(how, times, _why)| (how, times)));
    assert_eq!(read.into_iter().collect::<Vec<_>>(), READ.map(|(before, times, _why)| (before, times)));
}

proptest! {
    #[test]
    fn every_mobile_number_is_read_back_from_every_form(
        (area, last_eight) in mobile(),
        prefix in prop::sample::select(vec!["", "+55", "55", "0055", "0", "015", "031", "055"]),
    ) {
        let phone = parse(&format!("{prefix}{area}9{last_eight:08}")).expect("a mobile number");
        prop_assert_eq!(phone.e164(), format!("+55{area}9{last_eight:08}"));
        prop_assert_eq!(phone.key().as_str().to_owned(), format!("{area}{last_eight:08}"));
        prop_assert_eq!(parse(phone.e164()), Ok(phone));
    }

    #[test]
    fn whatever_is_typed_gives_a_mobile_number_or_a_reason_that_does_not_repeat_it(field in "\\PC{0,40}|[0-9+ /;,ou()-]{0,40}") {
        match parse(&field) {
            Ok(phone) => {
                prop_assert_eq!(phone.e164().len(), 14);
                prop_assert_eq!(&phone.e164()[5..6], "9");
                prop_assert!(AREA_CODES.contains(&phone.e164()[3..5].parse().expect("two digits")));
            }
            Err(refusal) => {
                let told = refusal.to_string();
                prop_assert!(!told.is_empty() && !refusal.as_str().is_empty());
                prop_assert!(told.bytes().filter(u8::is_ascii_digit).count() <= 4, "{}", told);
            }
        }
    }

    #[test]
    fn the_ninth_digit_is_suggested_and_never_added((area, last_eight) in mobile(), first in 6..10_u8) {
        let eight = format!("{first}{:07}", last_eight % 10_000_000);
        let refusal = parse(&format!("{area}{eight}")).expect_err("eight digits are not enough");
        let suggestion = refusal.suggestion().expect("a mobile number before the ninth digit");
        prop_assert_eq!(suggestion.e164(), format!("+55{area}9{eight}"));
        prop_assert_eq!(suggestion.key().as_str().to_owned(), format!("{area}{eight}"));
    }
}
