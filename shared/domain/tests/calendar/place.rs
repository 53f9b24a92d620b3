//! Where a customer lives, out of what the ERP says.

use chrono::{NaiveDate, Offset, TimeZone};
use chrono_tz::{America, Tz};
use proptest::prelude::*;
use regua_domain::folding::folded;
use regua_domain::phone::AREA_CODES;
use regua_domain::place::{Place, Uf};
use std::collections::BTreeSet;

/// A zone that no state has, so that a fallback shows.
const FALLBACK: Tz = America::Lima;

fn hours_from_utc(zone: Tz) -> i32 {
    let noon = NaiveDate::from_ymd_opt(2026, 1, 15).and_then(|day| day.and_hms_opt(12, 0, 0)).expect("an instant");
    zone.offset_from_utc_datetime(&noon).fix().local_minus_utc() / 3_600
}

#[track_caller]
fn check(city: &str, uf: &str, area_code: Option<&str>, expected: (Option<Uf>, &str, Tz)) {
    let place = Place::of(city, uf, area_code, FALLBACK);
    assert_eq!((place.uf, place.city.as_str(), place.zone), expected, "{city}/{uf} {area_code:?}");
}

#[test]
fn the_state_is_the_records_then_the_area_codes_then_unknown() {
    check("Campinas", "SP", Some("92"), (Some(Uf::Sp), "campinas", America::Sao_Paulo));
    check("Manaus", "", Some("92"), (Some(Uf::Am), "manaus", America::Manaus));
    check("Manaus", "??", Some(" 92 "), (Some(Uf::Am), "manaus", America::Manaus));
    check("Manaus", "", Some("20"), (None, "manaus", FALLBACK));
    check("Manaus", "", None, (None, "manaus", FALLBACK));
}

#[test]
fn an_id_that_the_erp_did_not_resolve_is_unknown() {
    check("3828", "0", None, (None, "", FALLBACK));
    check(" 3828 ", "25", Some("68"), (Some(Uf::Ac), "", America::Rio_Branco));
    check("", "", None, (None, "", FALLBACK));
}

#[test]
fn fernando_de_noronha_is_an_hour_ahead_of_pernambuco() {
    check("Fernando de Noronha", "PE", None, (Some(Uf::Pe), "fernando de noronha", America::Noronha));
    check("FERNANDO  DE NORONHA", "", Some("81"), (Some(Uf::Pe), "fernando de noronha", America::Noronha));
    check("Fernando de Noronha", "RN", None, (Some(Uf::Rn), "fernando de noronha", America::Fortaleza));
    check("Recife", "PE", None, (Some(Uf::Pe), "recife", America::Recife));
    assert_eq!(hours_from_utc(America::Noronha), -2);
}

#[test]
fn western_amazonas_is_an_hour_behind_manaus() {
    for city in [
        "Atalaia do Norte",
        "Benjamin Constant",
        "Boca do Acre",
        "Eirunepé",
        "Envira",
        "Guajará",
        "Ipixuna",
        "Itamarati",
        "Jutaí",
        "Lábrea",
        "Pauini",
        "São Paulo de Olivença",
        "Tabatinga",
    ] {
        let zone_in = |city: &str, uf| Place::of(city, uf, None, FALLBACK).zone;
        assert_eq!(zone_in(city, "AM"), America::Eirunepe, "{city}");
        assert_eq!(zone_in(&city.to_uppercase(), "Amazonas"), America::Eirunepe, "{city}");
        assert_eq!(zone_in(city, "PA"), America::Belem, "{city} of another state");
    }
    check("Tefé", "AM", None, (Some(Uf::Am), "tefe", America::Manaus));
    check("Guajará-Mirim", "RO", None, (Some(Uf::Ro), "guajara-mirim", America::Porto_Velho));
    assert_eq!((hours_from_utc(America::Eirunepe), hours_from_utc(America::Manaus)), (-5, -4));
}

#[test]
fn acre_is_at_utc_minus_5_five_states_at_minus_4_and_the_others_at_minus_3() {
    for uf in Uf::ALL {
        let expected = match uf {
            Uf::Ac => -5,
            Uf::Am | Uf::Ms | Uf::Mt | Uf::Ro | Uf::Rr => -4,
            _ => -3,
        };
        assert_eq!(hours_from_utc(uf.zone()), expected, "{uf}");
    }
}

#[test]
fn every_area_code_has_a_state_every_state_one_and_nothing_else_does() {
    let two_digits = (0..100).map(|code| (code, Uf::of_area_code(&format!("{code:02}"))));
    let known: Vec<(u8, Uf)> = two_digits.filter_map(|(code, uf)| Some((code, uf?))).collect();
    assert_eq!(known.iter().map(|(code, _)| *code).collect::<Vec<_>>(), AREA_CODES);
    assert_eq!(known.iter().map(|(_, uf)| *uf).collect::<BTreeSet<_>>(), BTreeSet::from(Uf::ALL));
    for nothing in ["", "1", "011", "+55", "1a", "١١"] {
        assert_eq!(Uf::of_area_code(nothing), None, "{nothing:?}");
    }
}

/// Each capital's code (Anatel), so that no row of the table is in the wrong state.
#[test]
fn a_capitals_area_code_is_its_states() {
    let capitals = "68 AC, 82 AL, 92 AM, 96 AP, 71 BA, 85 CE, 61 DF, 27 ES, 62 GO, 98 MA, 31 MG, 67 MS, 65 MT, 91 PA, 83 PB, 81 PE, \
                    86 PI, 41 PR, 21 RJ, 84 RN, 69 RO, 95 RR, 51 RS, 48 SC, 79 SE, 11 SP, 63 TO";
    for (code, uf) in capitals.split(", ").map(|row| row.split_once(' ').expect("a code and a state")) {
        assert_eq!(Uf::of_area_code(code), Uf::parse(uf), "{code}");
    }
}

#[test]
fn a_state_is_read_by_letters_or_name_in_any_case_with_or_without_accents() {
    for uf in Uf::ALL {
        for text in [uf.as_str(), uf.name(), &uf.as_str().to_lowercase(), &uf.name().to_uppercase(), &folded(uf.name())] {
            assert_eq!(Uf::parse(&format!("  {text} ")), Some(uf), "{text}");
        }
    }
    for unknown in ["", "0", "25", "XX", "SPX", "Sao", "Brasil"] {
        assert_eq!(Uf::parse(unknown), None, "{unknown:?}");
    }
}

#[test]
fn the_states_are_27_in_the_order_of_their_letters_and_serialise_as_these() {
    assert!(Uf::ALL.is_sorted_by_key(|uf| uf.as_str()));
    for uf in Uf::ALL {
        let json = format!("\"{}\"", uf.as_str());
        assert_eq!(serde_json::to_string(&uf).expect("json"), json);
        assert_eq!(serde_json::from_str::<Uf>(&json).expect("a state"), uf);
        assert_eq!(uf.to_string(), uf.as_str());
    }
}

#[test]
fn a_city_is_lower_case_without_accents_with_single_spaces() {
    assert_eq!(folded("  SÃO\tJosé   do Vale do Rio Prêto "), "sao jose do vale do rio preto");
    assert_eq!(folded("Olho-d'Água do Borges"), "olho-d'agua do borges");
    // The same letters with the accents standing after them.
    assert_eq!(folded("Sa\u{303}o Lui\u{301}s"), "sao luis");
}

proptest! {
    #[test]
    fn normalising_twice_is_normalising_once(city in any::<String>()) {
        let once = folded(&city);
        prop_assert_eq!(folded(&once), once);
    }
}
