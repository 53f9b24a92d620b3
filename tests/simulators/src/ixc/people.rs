//! Invented people: names, tax ids, phones and places, each a pure function of the seed and the customer's id.

use crate::mix::{draw, pick};

/// A city of the `cidade` list.
#[derive(Debug)]
pub(crate) struct City {
    pub id: u64,
    pub name: &'static str,
    /// Index into [`STATES`].
    pub state: usize,
    /// Area code.
    pub area_code: u8,
}

/// Name and abbreviation of the 27 states; the id in the `uf` list is the index plus one.
pub(crate) const STATES: [(&str, &str); 27] = [
    ("Acre", "AC"),
    ("Alagoas", "AL"),
    ("Amapá", "AP"),
    ("Amazonas", "AM"),
    ("Bahia", "BA"),
    ("Ceará", "CE"),
    ("Distrito Federal", "DF"),
    ("Espírito Santo", "ES"),
    ("Goiás", "GO"),
    ("Maranhão", "MA"),
    ("Mato Grosso", "MT"),
    ("Mato Grosso do Sul", "MS"),
    ("Minas Gerais", "MG"),
    ("Pará", "PA"),
    ("Paraíba", "PB"),
    ("Paraná", "PR"),
    ("Pernambuco", "PE"),
    ("Piauí", "PI"),
    ("Rio de Janeiro", "RJ"),
    ("Rio Grande do Norte", "RN"),
    ("Rio Grande do Sul", "RS"),
    ("Rondônia", "RO"),
    ("Roraima", "RR"),
    ("Santa Catarina", "SC"),
    ("São Paulo", "SP"),
    ("Sergipe", "SE"),
    ("Tocantins", "TO"),
];

const fn city(id: u64, name: &'static str, state: usize, area_code: u8) -> City {
    City { id, name, state, area_code }
}

/// Cities of customers; area code 55 (contracts §3.3) twice. Chapecó's id is the one of the vendor's sample.
pub(crate) const CITIES: [City; 24] = [
    city(3828, "Chapecó", 23, 49),
    city(3904, "Florianópolis", 23, 48),
    city(3960, "Joinville", 23, 47),
    city(4002, "Santa Maria", 20, 55),
    city(4003, "Uruguaiana", 20, 55),
    city(4010, "Porto Alegre", 20, 51),
    city(4020, "Caxias do Sul", 20, 54),
    city(2900, "Curitiba", 15, 41),
    city(2910, "Londrina", 15, 43),
    city(3510, "São Paulo", 24, 11),
    city(3520, "Campinas", 24, 19),
    city(3530, "Ribeirão Preto", 24, 16),
    city(3300, "Rio de Janeiro", 18, 21),
    city(3310, "Campos dos Goytacazes", 18, 22),
    city(3200, "Vitória", 7, 27),
    city(1700, "Belo Horizonte", 12, 31),
    city(1710, "Uberlândia", 12, 34),
    city(520, "Goiânia", 8, 62),
    city(640, "Salvador", 4, 71),
    city(760, "Fortaleza", 5, 85),
    city(880, "Recife", 16, 81),
    city(120, "Maceió", 1, 82),
    city(210, "Manaus", 3, 92),
    city(310, "Cuiabá", 10, 65),
];

const FIRST_NAMES: [&str; 24] = [
    "Ana",
    "Bruno",
    "Camila",
    "Diego",
    "Eduarda",
    "Felipe",
    "Gabriela",
    "Henrique",
    "Isabela",
    "João",
    "Karina",
    "Lucas",
    "Mariana",
    "Nelson",
    "Olívia",
    "Paulo",
    "Queila",
    "Rafael",
    "Sofia",
    "Tiago",
    "Úrsula",
    "Vinícius",
    "Yasmin",
    "Zélia",
];

const SURNAMES: [&str; 24] = [
    "Almeida",
    "Barbosa",
    "Cardoso",
    "Dias",
    "Esteves",
    "Ferreira",
    "Gonçalves",
    "Hoffmann",
    "Ibarra",
    "Jardim",
    "Klein",
    "Lima",
    "Moraes",
    "Nascimento",
    "Oliveira",
    "Pereira",
    "Queiroz",
    "Ribeiro",
    "Souza",
    "Teixeira",
    "Uchôa",
    "Vieira",
    "Xavier",
    "Zanella",
];

const BUSINESSES: [&str; 8] = ["Padaria", "Mercado", "Oficina", "Farmácia", "Papelaria", "Restaurante", "Clínica", "Transportes"];

const NAME: u64 = 101;
const PLACE: u64 = 102;

pub(crate) fn person_name(seed: u64, customer: u64) -> String {
    let draw = draw(seed, NAME, customer);
    let (first, middle, last) = (pick(draw, 24), pick(draw >> 16, 24), pick(draw >> 32, 24));
    format!("{} {} {}", FIRST_NAMES[first], SURNAMES[middle], SURNAMES[last])
}

pub(crate) fn company_name(seed: u64, customer: u64) -> String {
    let draw = draw(seed, NAME, customer);
    format!("{} {} Ltda", BUSINESSES[pick(draw, 8)], SURNAMES[pick(draw >> 16, 24)])
}

pub(crate) fn city_of(seed: u64, customer: u64) -> &'static City {
    &CITIES[pick(draw(seed, PLACE, customer), CITIES.len())]
}

/// The eight digits after the 9 of a mobile number. Different for any two customers below 40 million: the factor is coprime to the modulus.
pub(crate) fn mobile_digits(seed: u64, customer: u64) -> u64 {
    const MODULUS: u64 = 40_000_000;
    60_000_000 + (customer * 7_654_321 + seed % MODULUS) % MODULUS
}

/// A CPF with valid check digits, punctuated as IXC keeps it (contracts §2.3).
pub(crate) fn cpf(seed: u64, customer: u64) -> String {
    let base = (customer * 611_953 + seed % 1_000_000_000) % 1_000_000_000;
    let mut digits = digits_of(base, 9);
    for _ in 0..2 {
        let weights = 2..;
        let digit = check_digit(digits.iter().rev().zip(weights));
        digits.push(digit);
    }
    let text = text_of(&digits);
    format!("{}.{}.{}-{}", &text[0..3], &text[3..6], &text[6..9], &text[9..11])
}

/// A CNPJ with valid check digits, punctuated.
pub(crate) fn cnpj(seed: u64, customer: u64) -> String {
    let base = (customer * 7_919 + seed % 100_000_000) % 100_000_000;
    let mut digits = digits_of(base * 10_000 + 1, 12);
    for _ in 0..2 {
        let weights = (2..=9).cycle();
        let digit = check_digit(digits.iter().rev().zip(weights));
        digits.push(digit);
    }
    let text = text_of(&digits);
    format!("{}.{}.{}/{}-{}", &text[0..2], &text[2..5], &text[5..8], &text[8..12], &text[12..14])
}

fn check_digit<'d>(weighted: impl Iterator<Item = (&'d u64, u64)>) -> u64 {
    let rest = weighted.map(|(digit, weight)| digit * weight).sum::<u64>() % 11;
    if rest < 2 { 0 } else { 11 - rest }
}

fn digits_of(number: u64, length: usize) -> Vec<u64> {
    format!("{number:0length$}").bytes().map(|byte| u64::from(byte - b'0')).collect()
}

fn text_of(digits: &[u64]) -> String {
    digits.iter().map(u64::to_string).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_check_digits_are_those_of_known_numbers() {
        // 000.000.001-91 and 00.000.000/0001-91 are the lowest of each kind.
        assert_eq!(cpf(1, 0), "000.000.001-91");
        assert_eq!(cnpj(0, 0), "00.000.000/0001-91");
    }

    #[test]
    fn no_two_customers_have_the_same_number_by_accident() {
        let numbers: HashSet<u64> = (1..=100_000).map(|customer| mobile_digits(42, customer)).collect();
        assert_eq!(numbers.len(), 100_000);
        assert!(numbers.iter().all(|number| (60_000_000..100_000_000).contains(number)));
    }
}
