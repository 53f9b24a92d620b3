//! Pix copy-and-paste codes.

use proptest::prelude::*;
use regua_domain::{
    money::Centavos,
    payment_codes::{CODE_BYTES_MAX, PixCode, PixCodeError},
};

/// BACEN, "Manual de Padrões para Iniciação do Pix" (2.10), section 2: static code. Quoted by the readme of
/// `github.com/ffss92/qrpix` among others.
const MANUAL_STATIC: &str = "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D";
/// The same section: dynamic code. Quoted by the tests of `github.com/imobanco/bb-wrapper` among others.
const MANUAL_DYNAMIC: &str = "00020101021226700014br.gov.bcb.pix2548pix.example.com/8b3da2f39a4140d1a91abd93113bd4415204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***630464E4";
/// The same section: a payment and a Pix Automático authorisation (template 80) in one code, with a key and an amount.
const MANUAL_COMPOSITE_STATIC: &str = "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865406100.505802BR5913Fulano de Tal6008BRASILIA62070503***80740014br.gov.bcb.pix2552pix.example.com/rec/2353c790eefb11eaadc10242ac12000263042875";
/// The same section: both again, with a URL.
const MANUAL_COMPOSITE_DYNAMIC: &str = "00020101021226700014br.gov.bcb.pix2548pix.example.com/8b3da2f39a4140d1a91abd93113bd4415204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***80740014br.gov.bcb.pix2552pix.example.com/rec/2353c790eefb11eaadc10242ac1200026304FB42";
/// The same section: an authorisation without any payment.
const MANUAL_AUTHORISATION_ONLY: &str = "00020126180014br.gov.bcb.pix5204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***80740014br.gov.bcb.pix2552pix.example.com/rec/2353c790eefb11eaadc10242ac1200026304F2DA";
/// `gist.github.com/matheusb-comp/1efa205b3c0ffd7af1e8ce63a10e02dc`, after the manual's section 6.2: GUI in capitals.
const GIST_DYNAMIC: &str = "00020101021226770014BR.GOV.BCB.PIX2555pix.example.com/qr/93598be0-1bd0-4997-8318-81776a1d8a995204000053039865802BR5907EMPRESA6009SAO PAULO62070503***6304EEAB";
/// The readme of the npm package `pixcode`: dynamic, with an amount.
const PIXCODE_README: &str = "00020101021226720014br.gov.bcb.pix2550bx.com.br/pix/8b3da2f3-9a41-40d1-a91a-bd93113bd4415204000053039865406123.455802BR5913Fulano de Tal6008BRASILIA62190515RP12345678-2019630445C8";

/// The same gist, after section 6.1. Its additional data (62) claims one character more than it has, under a right CRC.
const GIST_STATIC: &str =
    "00020126360014BR.GOV.BCB.PIX0114+5511943214321520400005303986540566.665802BR5907EMPRESA6008BRASILIA62080503***6304170E";

const PUBLISHED: [&str; 6] =
    [MANUAL_STATIC, MANUAL_DYNAMIC, MANUAL_COMPOSITE_STATIC, MANUAL_COMPOSITE_DYNAMIC, GIST_DYNAMIC, PIXCODE_README];

/// The fields of a code that is accepted, without field 63.
const FIELDS: [(&str, &str); 8] = [
    ("00", "01"),
    ("26", "0014br.gov.bcb.pix0111chave@teste"),
    ("52", "0000"),
    ("53", "986"),
    ("54", "99.90"),
    ("58", "BR"),
    ("59", "PROVEDOR TESTE"),
    ("60", "CHAPECO"),
];

fn characters(value: &str) -> usize {
    value.chars().count()
}

/// The fields in a row, ended by the CRC that belongs to them.
fn sealed(fields: &[(&str, &str)], length: fn(&str) -> usize) -> String {
    let fields = fields.iter().map(|(id, value)| format!("{id}{:02}{value}", length(value)));
    seal(&fields.collect::<Vec<_>>().concat())
}

fn seal(fields: &str) -> String {
    let guarded = format!("{fields}6304");
    let crc = guarded.bytes().fold(0xFFFF_u32, |crc, byte| {
        (0..8)
            .fold(crc ^ (u32::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 } & 0xFFFF)
    });
    format!("{guarded}{crc:04X}")
}

/// [`FIELDS`] with one value replaced; an empty one takes the field away.
fn with(id: &str, value: &str) -> String {
    let fields = FIELDS.map(|(known, usual)| if known == id { (known, value) } else { (known, usual) });
    let kept: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    sealed(&kept, characters)
}

fn parsed(text: &str) -> PixCode {
    PixCode::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[track_caller]
fn check_refused(text: &str, expected: PixCodeError) {
    assert_eq!(PixCode::parse(text), Err(expected), "{text:?}");
}

#[test]
fn published_codes_are_read_as_their_sources_say() {
    for (code, centavos, is_dynamic) in [
        (MANUAL_STATIC, None, false),
        (MANUAL_DYNAMIC, None, true),
        (MANUAL_COMPOSITE_STATIC, Some(10_050), false),
        (MANUAL_COMPOSITE_DYNAMIC, None, true),
        (GIST_DYNAMIC, None, true),
        (PIXCODE_README, Some(12_345), true),
    ] {
        let pix = parsed(code);
        assert_eq!((pix.as_str(), pix.amount(), pix.is_dynamic()), (code, centavos.map(Centavos), is_dynamic));
    }
}

#[test]
fn an_authorisation_without_a_payment_is_nothing_to_send() {
    check_refused(MANUAL_AUTHORISATION_ONLY, PixCodeError::KeyOrUrl);
}

#[test]
fn a_right_crc_does_not_make_up_for_a_wrong_length() {
    check_refused(GIST_STATIC, PixCodeError::Malformed { at_byte: 111 });
}

#[test]
fn white_space_around_a_code_is_no_part_of_it() {
    assert_eq!(parsed(&format!(" \n{MANUAL_STATIC}\r\n\t")).as_str(), MANUAL_STATIC);
}

#[test]
fn a_crc_in_lower_case_is_the_same_crc() {
    let (guarded, crc) = MANUAL_STATIC.split_at(MANUAL_STATIC.len() - 4);
    let lower = format!("{guarded}{}", crc.to_ascii_lowercase());
    assert_eq!(parsed(&lower).as_str(), lower);
}

#[test]
fn any_single_character_changed_is_refused() {
    for code in PUBLISHED {
        for at in 0..code.len() {
            for other in ' '..='~' {
                let changed = format!("{}{other}{}", &code[..at], &code[at + 1..]);
                let is_crc_in_other_case = at >= code.len() - 4 && changed.eq_ignore_ascii_case(code);
                if changed != code && !is_crc_in_other_case {
                    assert!(PixCode::parse(&changed).is_err(), "{changed:?}");
                }
            }
        }
    }
}

#[test]
fn any_single_character_lost_or_added_is_refused() {
    for code in PUBLISHED {
        for at in 0..code.len() {
            let lost = format!("{}{}", &code[..at], &code[at + 1..]);
            assert!(PixCode::parse(&lost).is_err(), "{lost:?}");
            let doubled = format!("{}{}", &code[..=at], &code[at..]);
            assert!(PixCode::parse(&doubled).is_err(), "{doubled:?}");
            assert!(PixCode::parse(&code[..at]).is_err(), "{:?}", &code[..at]);
        }
        assert!(PixCode::parse(&format!("{code}0")).is_err());
        assert!(PixCode::parse(&format!("{code}{code}")).is_err());
    }
}

#[test]
fn a_row_that_breaks_off_is_refused_where_it_does_even_under_a_right_crc() {
    let account = "0014br.gov.bcb.pix0111chave@teste";
    for (fields, at_byte) in [
        ("5".to_owned(), 6),
        ("59".to_owned(), 6),
        ("5A03abc".to_owned(), 6),
        ("59 3abc".to_owned(), 6),
        ("5900".to_owned(), 6),
        ("5999abc".to_owned(), 6),
        (format!("2634{account}0"), 10 + 33),
        (format!("2632{}", &account[..32]), 10 + 18),
        (format!("2633{account}6204050*"), 6 + 37 + 4),
    ] {
        check_refused(&seal(&format!("000201{fields}")), PixCodeError::Malformed { at_byte });
    }
}

#[test]
fn every_field_that_a_payment_needs_is_checked() {
    for (id, value, expected) in [
        ("00", "02", PixCodeError::PayloadFormat),
        ("00", "", PixCodeError::PayloadFormat),
        ("26", "", PixCodeError::Account),
        ("26", "0014br.gov.bcb.xyz0111chave@teste", PixCodeError::Account),
        ("26", "0111chave@teste", PixCodeError::Account),
        ("26", "0014br.gov.bcb.pix0205nada!", PixCodeError::KeyOrUrl),
        ("26", "0014br.gov.bcb.pix0111chave@teste2509a.example", PixCodeError::KeyOrUrl),
        ("53", "840", PixCodeError::Currency),
        ("53", "", PixCodeError::Currency),
        ("58", "US", PixCodeError::Country),
        ("58", "br", PixCodeError::Country),
        ("58", "", PixCodeError::Country),
        ("59", "", PixCodeError::MerchantName),
        ("60", "", PixCodeError::MerchantCity),
    ] {
        check_refused(&with(id, value), expected);
    }
}

#[test]
fn the_account_may_be_any_of_the_templates_26_to_51_but_only_one() {
    let account = FIELDS[1].1;
    for id in ["26", "27", "51"] {
        parsed(&sealed(&FIELDS.map(|(known, value)| (if known == "26" { id } else { known }, value)), characters));
    }
    for id in ["25", "52", "80"] {
        let fields: Vec<_> = FIELDS.into_iter().filter(|(known, _)| *known != "52" && *known != "26").collect();
        check_refused(&sealed(&[&fields[..], &[(id, account)]].concat(), characters), PixCodeError::Account);
    }
    check_refused(&sealed(&[&FIELDS[..], &[("27", account)]].concat(), characters), PixCodeError::Account);
    parsed(&sealed(&[&FIELDS[..], &[("27", "0011com.example")]].concat(), characters));
}

#[test]
fn the_format_comes_first_the_crc_last_and_every_field_once() {
    let mut late = FIELDS;
    late.swap(0, 1);
    check_refused(&sealed(&late, characters), PixCodeError::PayloadFormat);
    check_refused(&sealed(&[&FIELDS[..], &[("53", "986")]].concat(), characters), PixCodeError::Repeated { id: 53 });
    check_refused(&with("26", "0014br.gov.bcb.pix0101a0101b"), PixCodeError::Repeated { id: 1 });
    let whole = with("59", "PROVEDOR TESTE");
    let unsealed = &whole[..whole.len() - 8];
    for ending in ["", "6303ABC", "6305ABCDE", "6304+12F", "63040x1F", "6304ABCG", "6304ABC ", "6404ABCD"] {
        let code = format!("{unsealed}{ending}");
        assert!(matches!(PixCode::parse(&code), Err(PixCodeError::NoCrc | PixCodeError::Malformed { .. })), "{code:?}");
    }
    check_refused(&format!("{whole}6401x"), PixCodeError::NoCrc);
    check_refused(&format!("{unsealed}63040000"), PixCodeError::WrongCrc);
}

#[test]
fn an_amount_is_exact_or_refused() {
    for (text, centavos) in [
        ("0.01", Some(1)),
        ("1", Some(100)),
        ("1.", Some(100)),
        ("1.5", Some(150)),
        ("1284.50", Some(128_450)),
        ("0099.90", Some(9_990)),
        ("9999999999.99", Some(999_999_999_999)),
        ("9999999999999", Some(999_999_999_999_900)),
        ("0.00", None),
        ("0", None),
    ] {
        assert_eq!(parsed(&with("54", text)).amount(), centavos.map(Centavos), "{text}");
    }
    assert_eq!(parsed(&with("54", "")).amount(), None);
    for text in [
        ".",
        ".5",
        "1,50",
        "1.234",
        "1.234.567",
        "1.2.3",
        "-5",
        "+5",
        "1e3",
        "0x10",
        " 1",
        "1 ",
        "R$1",
        "٢",
        "1.٢",
        "99999999999.99",
    ] {
        check_refused(&with("54", text), PixCodeError::Amount);
    }
}

#[test]
fn accents_are_counted_as_characters_or_as_bytes_but_not_as_both() {
    let accented = FIELDS.map(|(id, value)| match id {
        "59" => (id, "JOÃO PROVEDOR ÇÉ"),
        "60" => (id, "CHAPECÓ"),
        _ => (id, value),
    });
    for length in [characters as fn(&str) -> usize, str::len] {
        let code = sealed(&accented, length);
        assert_eq!((parsed(&code).as_str(), parsed(&code).amount()), (code.as_str(), Some(Centavos(9_990))));
        assert!(PixCode::parse(&code.replace('Ã', "A")).is_err());
        assert!(PixCode::parse(&code.replace('Ã', "Á")).is_err());
    }
    let mixed = |value: &str| if value.starts_with("JO") { value.len() } else { characters(value) };
    assert!(PixCode::parse(&sealed(&accented, mixed)).is_err());
}

#[test]
fn absurd_texts_are_refused() {
    for text in ["", " ", "\r\n", "\u{a0}"] {
        check_refused(text, PixCodeError::Empty);
    }
    check_refused(&"0".repeat(1 << 20), PixCodeError::TooLong);
    check_refused(&"😀".repeat(1 << 18), PixCodeError::TooLong);
    check_refused(&"0".repeat(CODE_BYTES_MAX + 1), PixCodeError::TooLong);
    check_refused(&"0".repeat(CODE_BYTES_MAX), PixCodeError::Malformed { at_byte: 0 });
    check_refused("😀😀😀", PixCodeError::Malformed { at_byte: 0 });
    for sign in ['\0', '\n', '\t', '\u{7f}', '\u{85}'] {
        check_refused(&with("59", &format!("PROVEDOR{sign}TESTE")), PixCodeError::ControlCharacter);
    }
    for text in ["000201", "pix@example.com", "https://pix.example.com/qr", "00020126PIX"] {
        assert!(PixCode::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_longest_code_is_as_long_as_stated() {
    let padded = |bytes: usize| {
        let languages = [("27", 95), ("28", 95), ("29", 95), ("30", bytes)]
            .map(|(id, bytes)| (id, format!("00{bytes}{}", "x".repeat(bytes))));
        let more: Vec<_> = languages.iter().map(|(id, value)| (*id, value.as_str())).collect();
        sealed(&[&FIELDS[..], &more].concat(), characters)
    };
    let rest = CODE_BYTES_MAX - (padded(10).len() - 10);
    assert_eq!(parsed(&padded(rest)).as_str().len(), CODE_BYTES_MAX);
    check_refused(&padded(rest + 1), PixCodeError::TooLong);
}

#[test]
fn neither_an_error_nor_debug_output_repeats_the_code() {
    let secrets = ["chave", "PROVEDOR", "CHAPECO", "99.90"];
    let whole = with("59", "PROVEDOR TESTE");
    let mut told = vec![format!("{:?}", parsed(&whole))];
    for at in 0..whole.len() {
        let error = PixCode::parse(&format!("{}~{}", &whole[..at], &whole[at + 1..])).expect_err("a changed character");
        told.push(format!("{error} {error:?}"));
    }
    for (id, value) in [("53", "PROVEDOR"), ("54", "chave"), ("58", "CHAPECO"), ("26", "chave")] {
        let error = PixCode::parse(&with(id, value)).expect_err("a wrong field");
        told.push(format!("{error} {error:?}"));
    }
    for text in told {
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_is_in_the_field_gives_that_code_or_a_reason(text in "\\PC{0,60}|(\\PC|\0|\n){0,60}|000201[0-9a-zé]{0,80}(6304[0-9A-F]{4})?") {
        match PixCode::parse(&text) {
            Ok(pix) => prop_assert_eq!(pix.as_str(), text.trim()),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn a_well_formed_code_is_accepted_whatever_its_free_text(
        name in "[A-Za-z0-9À-ÿ .&-]{1,25}", city in "[A-ZÀ-Ý]{1,15}", centavos in 1..100_000_000_i64, by_bytes: bool,
    ) {
        let amount = format!("{}.{:02}", centavos / 100, centavos % 100);
        let fields = FIELDS.map(|(id, value)| match id {
            "54" => (id, amount.as_str()),
            "59" => (id, name.as_str()),
            "60" => (id, city.as_str()),
            _ => (id, value),
        });
        let code = sealed(&fields, if by_bytes { str::len } else { characters });
        prop_assert_eq!(PixCode::parse(&code).map(|pix| pix.amount()), Ok(Some(Centavos(centavos))));
    }
}
