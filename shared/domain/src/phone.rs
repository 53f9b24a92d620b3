//! Brazilian mobile numbers out of the ERP's free-text fields (contracts §3.3).
//!
//! A field is read or refused, never guessed. What stands before the area code is decided by total length and not by
//! prefix: area code 55 exists, so `55987654321` is a mobile number of Rio Grande do Sul and not a country code.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// The 67 area codes (DDD) of Brazil's numbering plan, ascending.
pub const AREA_CODES: [u8; 67] = [
    11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 24, 27, 28, 31, 32, 33, 34, 35, 37, 38, 41, 42, 43, 44, 45, 46, 47, 48, 49, 51,
    53, 54, 55, 61, 62, 63, 64, 65, 66, 67, 68, 69, 71, 73, 74, 75, 77, 79, 81, 82, 83, 84, 85, 86, 87, 88, 89, 91, 92, 93, 94,
    95, 96, 97, 98, 99,
];

/// The most digits that one number can have: `0055`, area code, nine digits.
const ONE_NUMBER_DIGITS_MAX: usize = 15;
/// Up to here a longer row of digits is read as two numbers, beyond it as nothing.
const TWO_NUMBERS_DIGITS_MAX: usize = 2 * ONE_NUMBER_DIGITS_MAX;

/// A Brazilian mobile number: a known area code and nine digits, the first of them 9.
///
/// Personal data: `Debug` shows the last four digits only, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone {
    /// `+55DDNNNNNNNNN`: always 14 ASCII characters.
    e164: String,
}

impl Phone {
    fn new(area_code: &str, nine_digits: &str) -> Self {
        Self { e164: format!("+55{area_code}{nine_digits}") }
    }

    /// The international form that the platform takes: `+55DDNNNNNNNNN` (contracts §1.5).
    pub fn e164(&self) -> &str {
        &self.e164
    }

    /// The form by which opt-outs, caps and spacing know this person.
    pub fn key(&self) -> PhoneKey {
        PhoneKey(format!("{}{}", &self.e164[3..5], &self.e164[6..]))
    }
}

impl Serialize for Phone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.e164)
    }
}

impl<'de> Deserialize<'de> for Phone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map_err(D::Error::custom)
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone(…{})", &self.e164[10..])
    }
}

/// The canonical form of a phone: area code and last eight digits, ten digits in all.
///
/// Accounts from before the ninth digit keep an id without it, so both spellings of one person have the same key
/// (contracts §3.3). Personal data: `Debug` shows the last four digits only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneKey(String);

impl PhoneKey {
    /// The area code (DDD), two digits.
    pub fn area_code(&self) -> &str {
        &self.0[..2]
    }

    /// The ten digits, as the ledger stores them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneKey(…{})", &self.0[6..])
    }
}

/// The text is not ten digits that begin with a known area code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a phone key is ten digits: a known area code and the last eight digits")]
pub struct NotAPhoneKey;

impl FromStr for PhoneKey {
    type Err = NotAPhoneKey;

    fn from_str(text: &str) -> Result<Self, NotAPhoneKey> {
        let ten_digits = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
        if ten_digits && is_area_code(&text[..2]) { Ok(Self(text.to_owned())) } else { Err(NotAPhoneKey) }
    }
}

/// Why a field holds no number that may be written to. `Display` names the mend and never the number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PhoneRefusal {
    /// Nothing is in the field.
    #[error("there is no number: write the area code and the nine digits")]
    Empty,
    /// Letters or other signs stand between the digits, or it is only zeros.
    #[error("this is not a number: write only the area code and the nine digits")]
    NotANumber,
    /// Fewer than ten digits, mostly a missing area code.
    #[error("digits are missing: write the area code (two digits) and the nine digits")]
    TooShort,
    /// More digits than one number has.
    #[error("there are too many digits: write the area code (two digits) and the nine digits")]
    TooLong,
    /// A country code other than 55.
    #[error("this is not a Brazilian number: after `+` or `00` only country code 55 is known")]
    NotBrazilian,
    /// No such area code.
    #[error("area code {area_code} does not exist in Brazil: correct the first two digits")]
    UnknownAreaCode {
        /// The two digits where the area code should be.
        area_code: String,
    },
    /// Eight digits beginning with 6 to 9: a mobile number as it was written before the ninth digit.
    #[error("the ninth digit is missing: write a 9 between the area code and the eight digits")]
    MissingNinthDigit {
        /// The number with a 9 in front; only a person may decide that it is meant.
        suggestion: Phone,
    },
    /// Eight digits beginning with 2 to 5.
    #[error("this is a landline: write a mobile number, nine digits beginning with 9")]
    Landline,
    /// Ten or eleven digits of neither kind.
    #[error("this is not a mobile number: after the area code come nine digits beginning with 9")]
    NotAMobile,
    /// Two numbers without a separator that tells them apart.
    #[error("there seem to be two numbers: keep one, or separate them with `/`, `;`, `,` or \"ou\"")]
    TwoNumbers,
}

impl PhoneRefusal {
    /// The reason's name in output, SQL and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotANumber => "not_a_number",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::NotBrazilian => "not_brazilian",
            Self::UnknownAreaCode { .. } => "unknown_area_code",
            Self::MissingNinthDigit { .. } => "missing_ninth_digit",
            Self::Landline => "landline",
            Self::NotAMobile => "not_a_mobile",
            Self::TwoNumbers => "two_numbers",
        }
    }

    /// The number that may have been meant.
    pub const fn suggestion(&self) -> Option<&Phone> {
        match self {
            Self::MissingNinthDigit { suggestion } => Some(suggestion),
            Self::Empty
            | Self::NotANumber
            | Self::TooShort
            | Self::TooLong
            | Self::NotBrazilian
            | Self::UnknownAreaCode { .. }
            | Self::Landline
            | Self::NotAMobile
            | Self::TwoNumbers => None,
        }
    }
}

/// The phone of a customer: the `whatsapp` field first, then `telefone_celular`.
///
/// # Errors
/// Why the preferred field that holds anything was refused.
pub fn choose(whatsapp: &str, mobile: &str) -> Result<Phone, PhoneRefusal> {
    parse(whatsapp).or_else(|preferred| match parse(mobile) {
        Ok(phone) => Ok(phone),
        Err(other) if preferred == PhoneRefusal::Empty => Err(other),
        Err(_) => Err(preferred),
    })
}

/// Reads one free-text field: the first valid mobile number among those that `/`, `;`, `,` or the word "ou" separate.
///
/// Before a number may stand `+55`, `55`, `0055`, `0`, or `0` and a carrier's two digits; between its digits spaces,
/// brackets, dots and dashes.
///
/// # Errors
/// Why the first number of the field was refused, if none is valid.
pub fn parse(field: &str) -> Result<Phone, PhoneRefusal> {
    let mut first_refusal = None;
    for part in field.split(['/', ';', ',']).flat_map(split_at_ou) {
        match parse_one(part) {
            Ok(phone) => return Ok(phone),
            Err(PhoneRefusal::Empty) => {}
            Err(refusal) => {
                first_refusal.get_or_insert(refusal);
            }
        }
    }
    Err(first_refusal.unwrap_or(PhoneRefusal::Empty))
}

/// Splits at the word "ou" (or), in any case; inside another word it separates nothing.
fn split_at_ou(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = find_ou(text) else { return rest.take() };
        rest = Some(&text[at + 2..]);
        Some(&text[..at])
    })
}

fn find_ou(text: &str) -> Option<usize> {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    (0..text.len().saturating_sub(1)).find(|&at| {
        text.as_bytes()[at..at + 2].eq_ignore_ascii_case(b"ou")
            && !is_letter(text[..at].chars().next_back())
            && !is_letter(text[at + 2..].chars().next())
    })
}

fn parse_one(text: &str) -> Result<Phone, PhoneRefusal> {
    let mut digits = String::new();
    let mut plus = false;
    let mut other_signs = false;
    for sign in text.chars() {
        match sign {
            '0'..='9' => digits.push(sign),
            '+' if !plus && digits.is_empty() => plus = true,
            _ if is_punctuation(sign) => {}
            _ => other_signs = true,
        }
    }
    match digits.len() {
        0 if other_signs => return Err(PhoneRefusal::NotANumber),
        0 => return Err(PhoneRefusal::Empty),
        count if count > TWO_NUMBERS_DIGITS_MAX => return Err(PhoneRefusal::TooLong),
        count if count > ONE_NUMBER_DIGITS_MAX => return Err(PhoneRefusal::TwoNumbers),
        _ => {}
    }
    if other_signs || digits.bytes().all(|digit| digit == b'0') {
        return Err(PhoneRefusal::NotANumber);
    }
    classify(national_number(&digits, plus)?)
}

/// What people and programs write between digits, with the invisible marks that come along when a number is copied.
fn is_punctuation(sign: char) -> bool {
    sign.is_whitespace()
        || matches!(sign, '(' | ')' | '-' | '.' | '\u{2010}'..='\u{2015}' | '\u{2212}')
        || matches!(sign, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Strips what stands before the area code; the rest has ten or eleven digits.
fn national_number(digits: &str, plus: bool) -> Result<&str, PhoneRefusal> {
    if plus {
        return after_country_code(digits);
    }
    if let Some(international) = digits.strip_prefix("00") {
        return after_country_code(international);
    }
    let trunk = digits.starts_with('0');
    match digits.len() {
        10 | 11 if !trunk => Ok(digits),
        11 | 12 if trunk => Ok(&digits[1..]),
        13 | 14 if trunk => Ok(&digits[3..]),
        12 | 13 if digits.starts_with("55") => Ok(&digits[2..]),
        0..=10 => Err(PhoneRefusal::TooShort),
        _ => Err(PhoneRefusal::TooLong),
    }
}

/// After `+` or `00` a country code is certain, so that `+55987654321` lacks its area code.
fn after_country_code(digits: &str) -> Result<&str, PhoneRefusal> {
    let national = digits.strip_prefix("55").ok_or(PhoneRefusal::NotBrazilian)?;
    match national.len() {
        10 | 11 => Ok(national),
        0..=9 => Err(PhoneRefusal::TooShort),
        _ => Err(PhoneRefusal::TooLong),
    }
}

/// Decides over ten or eleven digits, area code first.
fn classify(national: &str) -> Result<Phone, PhoneRefusal> {
    let (area_code, subscriber) = national.split_at(2);
    if !is_area_code(area_code) {
        return Err(PhoneRefusal::UnknownAreaCode { area_code: area_code.to_owned() });
    }
    match (subscriber.len(), subscriber.as_bytes()[0]) {
        (9, b'9') => Ok(Phone::new(area_code, subscriber)),
        (8, b'6'..=b'9') => Err(PhoneRefusal::MissingNinthDigit { suggestion: Phone::new(area_code, &format!("9{subscriber}")) }),
        (8, b'2'..=b'5') => Err(PhoneRefusal::Landline),
        _ => Err(PhoneRefusal::NotAMobile),
    }
}

fn is_area_code(two_digits: &str) -> bool {
    two_digits.parse().is_ok_and(|code: u8| AREA_CODES.binary_search(&code).is_ok())
}
