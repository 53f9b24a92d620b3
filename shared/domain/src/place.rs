//! Where a customer lives: the state, the city, and the zone whose wall clock hangs there.

use crate::folding::folded;
use chrono_tz::{America, Tz};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A customer's place, as far as it is known: it decides the wall clock and the holidays of what is sent there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The state, if the customer's record or area code tells.
    pub uf: Option<Uf>,
    /// The city as [`folded`] writes it; empty if unknown.
    pub city: String,
    /// The zone of the city.
    pub zone: Tz,
}

impl Place {
    /// The place of a customer's `city` and `uf` as the ERP writes them, and of the phone's `area_code` (two digits).
    ///
    /// The state is the record's; without one it is the area code's, which may be that of an earlier home; without either it
    /// is unknown and the zone is `fallback`. An id that the ERP didn't resolve (uf `0`, city `3828`) counts as unknown.
    pub fn of(city: &str, uf: &str, area_code: Option<&str>, fallback: Tz) -> Self {
        let uf = Uf::parse(uf).or_else(|| area_code.and_then(Uf::of_area_code));
        let city = if is_id(city) { String::new() } else { folded(city) };
        let zone = uf.map_or(fallback, |uf| zone_of_city(uf, &city));
        Self { uf, city, zone }
    }
}

fn is_id(city: &str) -> bool {
    city.trim().bytes().all(|byte| byte.is_ascii_digit())
}

/// The municipalities of Amazonas at UTC−5: those west of the line from Tabatinga to Porto Acre (Lei 12.876/2013; the tz
/// database's America/Eirunepe).
const WESTERN_AMAZONAS: [&str; 13] = [
    "atalaia do norte",
    "benjamin constant",
    "boca do acre",
    "eirunepe",
    "envira",
    "guajara",
    "ipixuna",
    "itamarati",
    "jutai",
    "labrea",
    "pauini",
    "sao paulo de olivenca",
    "tabatinga",
];

fn zone_of_city(uf: Uf, city: &str) -> Tz {
    match uf {
        Uf::Pe if city == "fernando de noronha" => America::Noronha,
        Uf::Am if WESTERN_AMAZONAS.contains(&city) => America::Eirunepe,
        _ => uf.zone(),
    }
}

/// A state of Brazil, or the Federal District (*unidade federativa*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Uf {
    /// Acre.
    Ac,
    /// Alagoas.
    Al,
    /// Amazonas.
    Am,
    /// Amapá.
    Ap,
    /// Bahia.
    Ba,
    /// Ceará.
    Ce,
    /// Distrito Federal.
    Df,
    /// Espírito Santo.
    Es,
    /// Goiás.
    Go,
    /// Maranhão.
    Ma,
    /// Minas Gerais.
    Mg,
    /// Mato Grosso do Sul.
    Ms,
    /// Mato Grosso.
    Mt,
    /// Pará.
    Pa,
    /// Paraíba.
    Pb,
    /// Pernambuco.
    Pe,
    /// Piauí.
    Pi,
    /// Paraná.
    Pr,
    /// Rio de Janeiro.
    Rj,
    /// Rio Grande do Norte.
    Rn,
    /// Rondônia.
    Ro,
    /// Roraima.
    Rr,
    /// Rio Grande do Sul.
    Rs,
    /// Santa Catarina.
    Sc,
    /// Sergipe.
    Se,
    /// São Paulo.
    Sp,
    /// Tocantins.
    To,
}

impl Uf {
    /// Every state, in the order of the two letters.
    pub const ALL: [Self; 27] = [
        Self::Ac,
        Self::Al,
        Self::Am,
        Self::Ap,
        Self::Ba,
        Self::Ce,
        Self::Df,
        Self::Es,
        Self::Go,
        Self::Ma,
        Self::Mg,
        Self::Ms,
        Self::Mt,
        Self::Pa,
        Self::Pb,
        Self::Pe,
        Self::Pi,
        Self::Pr,
        Self::Rj,
        Self::Rn,
        Self::Ro,
        Self::Rr,
        Self::Rs,
        Self::Sc,
        Self::Se,
        Self::Sp,
        Self::To,
    ];

    /// The state of its two letters or its full name, in any case, with or without accents and blanks around it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let by_letters = Self::ALL.into_iter().find(|uf| uf.as_str().eq_ignore_ascii_case(text));
        by_letters.or_else(|| Self::of_name(&folded(text)))
    }

    fn of_name(folded_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|uf| folded(uf.name()) == folded_name)
    }

    /// The two letters: `AC` to `TO`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ac => "AC",
            Self::Al => "AL",
            Self::Am => "AM",
            Self::Ap => "AP",
            Self::Ba => "BA",
            Self::Ce => "CE",
            Self::Df => "DF",
            Self::Es => "ES",
            Self::Go => "GO",
            Self::Ma => "MA",
            Self::Mg => "MG",
            Self::Ms => "MS",
            Self::Mt => "MT",
            Self::Pa => "PA",
            Self::Pb => "PB",
            Self::Pe => "PE",
            Self::Pi => "PI",
            Self::Pr => "PR",
            Self::Rj => "RJ",
            Self::Rn => "RN",
            Self::Ro => "RO",
            Self::Rr => "RR",
            Self::Rs => "RS",
            Self::Sc => "SC",
            Self::Se => "SE",
            Self::Sp => "SP",
            Self::To => "TO",
        }
    }

    /// The full name, in Portuguese.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ac => "Acre",
            Self::Al => "Alagoas",
            Self::Am => "Amazonas",
            Self::Ap => "Amapá",
            Self::Ba => "Bahia",
            Self::Ce => "Ceará",
            Self::Df => "Distrito Federal",
            Self::Es => "Espírito Santo",
            Self::Go => "Goiás",
            Self::Ma => "Maranhão",
            Self::Mg => "Minas Gerais",
            Self::Ms => "Mato Grosso do Sul",
            Self::Mt => "Mato Grosso",
            Self::Pa => "Pará",
            Self::Pb => "Paraíba",
            Self::Pe => "Pernambuco",
            Self::Pi => "Piauí",
            Self::Pr => "Paraná",
            Self::Rj => "Rio de Janeiro",
            Self::Rn => "Rio Grande do Norte",
            Self::Ro => "Rondônia",
            Self::Rr => "Roraima",
            Self::Rs => "Rio Grande do Sul",
            Self::Sc => "Santa Catarina",
            Self::Se => "Sergipe",
            Self::Sp => "São Paulo",
            Self::To => "Tocantins",
        }
    }

    /// The zone of most of the state (tz database, `zone.tab`); [`Place::of`] knows the municipalities that differ.
    pub const fn zone(self) -> Tz {
        match self {
            Self::Ac => America::Rio_Branco,
            Self::Al | Self::Se => America::Maceio,
            Self::Am => America::Manaus,
            Self::Ap | Self::Pa => America::Belem,
            Self::Ba => America::Bahia,
            Self::Ce | Self::Ma | Self::Pb | Self::Pi | Self::Rn => America::Fortaleza,
            Self::Ms => America::Campo_Grande,
            Self::Mt => America::Cuiaba,
            Self::Pe => America::Recife,
            Self::Ro => America::Porto_Velho,
            Self::Rr => America::Boa_Vista,
            Self::To => America::Araguaina,
            Self::Df | Self::Es | Self::Go | Self::Mg | Self::Pr | Self::Rj | Self::Rs | Self::Sc | Self::Sp => {
                America::Sao_Paulo
            }
        }
    }

    /// The state of an area code (DDD, two digits), by Anatel's numbering plan; `None` if there is no such code.
    ///
    /// 61 is the Federal District, though it is also the code of the towns of Goiás around it: both have one zone.
    pub fn of_area_code(area_code: &str) -> Option<Self> {
        Some(match area_code.trim() {
            "11" | "12" | "13" | "14" | "15" | "16" | "17" | "18" | "19" => Self::Sp,
            "21" | "22" | "24" => Self::Rj,
            "27" | "28" => Self::Es,
            "31" | "32" | "33" | "34" | "35" | "37" | "38" => Self::Mg,
            "41" | "42" | "43" | "44" | "45" | "46" => Self::Pr,
            "47" | "48" | "49" => Self::Sc,
            "51" | "53" | "54" | "55" => Self::Rs,
            "61" => Self::Df,
            "62" | "64" => Self::Go,
            "63" => Self::To,
            "65" | "66" => Self::Mt,
            "67" => Self::Ms,
            "68" => Self::Ac,
            "69" => Self::Ro,
            "71" | "73" | "74" | "75" | "77" => Self::Ba,
            "79" => Self::Se,
            "81" | "87" => Self::Pe,
            "82" => Self::Al,
            "83" => Self::Pb,
            "84" => Self::Rn,
            "85" | "88" => Self::Ce,
            "86" | "89" => Self::Pi,
            "91" | "93" | "94" => Self::Pa,
            "92" | "97" => Self::Am,
            "95" => Self::Rr,
            "96" => Self::Ap,
            "98" | "99" => Self::Ma,
            _ => return None,
        })
    }
}

impl fmt::Display for Uf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
