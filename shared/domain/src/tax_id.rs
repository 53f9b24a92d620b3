//! CPF and CNPJ, numeric and, since July 2026, alphanumeric (Receita Federal, IN RFB 2.229/2024).

use std::fmt;

const CPF_LENGTH: usize = 11;
const CNPJ_LENGTH: usize = 14;

/// A CPF or a CNPJ by its form. Personal data where it is a CPF: `Debug` shows only the kind.
#[derive(Clone, PartialEq, Eq)]
pub struct TaxId {
    /// [`CPF_LENGTH`] digits, or [`CNPJ_LENGTH`] capitals and digits of which the last two are digits.
    signs: String,
}

impl TaxId {
    /// Reads one with or without its points, slash and hyphen, by its form alone: an ERP's records hold many with wrong check digits.
    pub fn parse(text: &str) -> Option<Self> {
        let signs: String =
            text.chars().filter(|c| !matches!(c, '.' | '-' | '/' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
        let is_digit = |byte: u8| byte.is_ascii_digit();
        let fits = match signs.len() {
            CPF_LENGTH => signs.bytes().all(is_digit),
            CNPJ_LENGTH => {
                let (base, check) = signs.as_bytes().split_at(CNPJ_LENGTH - 2);
                base.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) && check.iter().copied().all(is_digit)
            }
            _ => false,
        };
        fits.then_some(Self { signs })
    }

    /// Whether both check digits are right, and it isn't one sign repeated.
    pub fn is_valid(&self) -> bool {
        let bytes = self.signs.as_bytes();
        let (base, check) = bytes.split_at(bytes.len() - 2);
        // A CPF's weights go up to 11, a CNPJ's start again after 9.
        let weights: &[u32] = if self.is_cpf() { &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11] } else { &[2, 3, 4, 5, 6, 7, 8, 9] };
        let digit = |guarded: &[u8]| {
            let products = guarded.iter().rev().zip(weights.iter().cycle()).map(|(byte, weight)| u32::from(byte - b'0') * weight);
            match products.sum::<u32>() % 11 {
                0 | 1 => 0,
                remainder => 11 - remainder,
            }
        };
        let first = digit(base);
        let second = digit(&bytes[..bytes.len() - 1]);
        let stated = check.iter().map(|byte| u32::from(byte - b'0'));
        bytes.iter().any(|byte| *byte != bytes[0]) && stated.eq([first, second])
    }

    /// Without points, slash and hyphen: 11 digits, or 14 capitals and digits.
    pub fn signs(&self) -> &str {
        &self.signs
    }

    /// As people write it: `123.456.789-09`, `12.345.678/0001-95`.
    pub fn formatted(&self) -> String {
        self.written(|_| false)
    }

    /// Enough for whoever knows it to recognise it, too little for anybody else: `***.456.789-**`, `**.345.678/0001-**`.
    pub fn masked(&self) -> String {
        let (hidden_first, length) = if self.is_cpf() { (3, CPF_LENGTH) } else { (2, CNPJ_LENGTH) };
        self.written(|place| place < hidden_first || place >= length - 2)
    }

    fn written(&self, is_hidden: impl Fn(usize) -> bool) -> String {
        let signs: String = self.signs.chars().enumerate().map(|(place, c)| if is_hidden(place) { '*' } else { c }).collect();
        if self.is_cpf() {
            format!("{}.{}.{}-{}", &signs[..3], &signs[3..6], &signs[6..9], &signs[9..])
        } else {
            format!("{}.{}.{}/{}-{}", &signs[..2], &signs[2..5], &signs[5..8], &signs[8..12], &signs[12..])
        }
    }

    fn is_cpf(&self) -> bool {
        self.signs.len() == CPF_LENGTH
    }
}

impl fmt::Debug for TaxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_cpf() { "TaxId(CPF)" } else { "TaxId(CNPJ)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, formatted: &str, masked: &str, is_valid: bool) {
        let id = TaxId::parse(text).unwrap_or_else(|| panic!("{text:?} has the form"));
        assert_eq!((id.formatted().as_str(), id.masked().as_str(), id.is_valid()), (formatted, masked, is_valid), "{text:?}");
    }

    #[test]
    fn both_are_read_with_and_without_their_signs() {
        check("123.456.789-09", "123.456.789-09", "***.456.789-**", true);
        check("12345678909", "123.456.789-09", "***.456.789-**", true);
        check("11.222.333/0001-81", "11.222.333/0001-81", "**.222.333/0001-**", true);
        // The example of the Receita Federal's and Serpro's notes on the alphanumeric CNPJ.
        check("12.abc.345/01DE-35", "12.ABC.345/01DE-35", "**.ABC.345/01DE-**", true);
    }

    #[test]
    fn a_wrong_check_digit_is_seen() {
        check("123.456.789-08", "123.456.789-08", "***.456.789-**", false);
        check("123.456.788-09", "123.456.788-09", "***.456.788-**", false);
        check("11.222.333/0001-80", "11.222.333/0001-80", "**.222.333/0001-**", false);
        check("12.ABC.345/01DF-35", "12.ABC.345/01DF-35", "**.ABC.345/01DF-**", false);
        check("111.111.111-11", "111.111.111-11", "***.111.111-**", false);
    }

    #[test]
    fn what_has_neither_form_is_none() {
        for text in ["", "123", "1234567890A", "12.345.678/0001-9A", "123.456.789-090", "ção"] {
            assert_eq!(TaxId::parse(text), None, "{text:?}");
        }
    }
}
