//! Digitable lines (linha digitável): the digits of a boleto's barcode in the order in which people type them.
//!
//! 47 digits are a bank's boleto (BACEN Carta Circular 2.926/2000 and the banks' manuals after it), 48 digits beginning
//! with 8 a collection document (FEBRABAN, "Layout Padrão de Arrecadação/Recebimento com Utilização do Código de Barras").

use crate::money::Centavos;
use chrono::{Days, NaiveDate};
use std::{fmt, ops::Range};
use thiserror::Error;

const BOLETO_DIGITS: usize = 47;
const COLLECTION_DIGITS: usize = 48;
const BARCODE_DIGITS: usize = 44;

/// Fields of a boleto that have a check digit of their own, which follows each.
const BOLETO_FIELDS: [Range<usize>; 3] = [0..9, 10..20, 21..31];
/// Blocks of a collection document, each followed by its check digit.
const COLLECTION_BLOCKS: [Range<usize>; 4] = [0..11, 12..23, 24..35, 36..47];

/// Where due-date factors count from. Factor 1000 is 2000-07-03 and 9999 is 2025-02-21.
const FACTOR_BASE: NaiveDate = NaiveDate::from_ymd_opt(1997, 10, 7).expect("a date of the calendar");
/// Factors below it mean no due date.
const FACTOR_MIN: u64 = 1000;
/// On 2025-02-22 the factor starts again at 1000 (FEBRABAN), so that the same factor comes back after these days.
const FACTOR_CYCLE: Days = Days::new(9000);

/// A digitable line whose check digits are all right.
///
/// By the standard's design a boleto's general check digit 1 stands for three remainders, so that one wrong digit in
/// due date or amount may pass when it is 1. Personal data: `Debug` shows only the count of digits, and there is no
/// `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct DigitableLine {
    /// [`BOLETO_DIGITS`] or [`COLLECTION_DIGITS`] ASCII digits.
    digits: String,
}

impl DigitableLine {
    /// Reads a line with or without dots, spaces and hyphens.
    ///
    /// # Errors
    /// Other signs, another count of digits (a barcode's 44 are told apart), or the first check digit that is wrong.
    pub fn parse(text: &str) -> Result<Self, DigitableLineError> {
        let digits = only_digits(text)?;
        match digits.len() {
            BOLETO_DIGITS => check_boleto(&digits)?,
            COLLECTION_DIGITS => check_collection(&digits)?,
            BARCODE_DIGITS => return Err(DigitableLineError::Barcode),
            count => return Err(DigitableLineError::Length { count }),
        }
        Ok(Self { digits })
    }

    /// The 47 or 48 digits and nothing else.
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// The grouping in which it is printed: `00000.00000 00000.000000 00000.000000 0 00000000000000`, or four blocks of
    /// `00000000000-0`.
    pub fn formatted(&self) -> String {
        let d = &self.digits;
        if self.is_collection() {
            return COLLECTION_BLOCKS.map(|block| format!("{}-{}", &d[block.clone()], &d[block.end..=block.end])).join(" ");
        }
        let point = |field: &str| format!("{}.{}", &field[..5], &field[5..]);
        format!("{} {} {} {} {}", point(&d[..10]), point(&d[10..21]), point(&d[21..32]), &d[32..33], &d[33..])
    }

    /// The amount. `None` where it's zero, or of a collection document whose value is a reference and not reais.
    ///
    /// Without a due-date factor a boleto's amount takes its four digits too (from R$ 100 million).
    pub fn amount(&self) -> Option<Centavos> {
        let digits = match (self.is_collection(), self.digits.as_bytes()[2]) {
            (true, b'6' | b'8') => &self.barcode()[4..15],
            (true, _) => return None,
            (false, _) if self.due_factor().is_some() => &self.digits[37..],
            (false, _) => &self.digits[33..],
        };
        digits.parse().ok().filter(|centavos| *centavos > 0).map(Centavos)
    }

    /// The 44 digits of the barcode that this line stands for.
    pub fn barcode(&self) -> String {
        if self.is_collection() { collection_barcode(&self.digits) } else { boleto_barcode(&self.digits) }
    }

    /// A boleto's due date; `None` where it states none, as a collection document never does.
    ///
    /// Since the factor started again in 2025 it stands for two dates 9000 days apart: given is the one nearest to
    /// `near`, the due date of the invoice, and the earlier one where both are as near.
    pub fn due_on(&self, near: NaiveDate) -> Option<NaiveDate> {
        let first = FACTOR_BASE.checked_add_days(Days::new(self.due_factor()?))?;
        let second = first.checked_add_days(FACTOR_CYCLE)?;
        [first, second].into_iter().min_by_key(|date| (*date - near).num_days().abs())
    }

    fn due_factor(&self) -> Option<u64> {
        let factor = if self.is_collection() { None } else { self.digits[33..37].parse().ok() };
        factor.filter(|factor| *factor >= FACTOR_MIN)
    }

    fn is_collection(&self) -> bool {
        self.digits.len() == COLLECTION_DIGITS
    }
}

impl fmt::Debug for DigitableLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigitableLine({} digits)", self.digits.len())
    }
}

/// Why a text is not a digitable line that may be sent. `Display` says what was expected and never repeats the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DigitableLineError {
    /// Something other than digits, dots, spaces and hyphens.
    #[error("the digitable line has other signs than digits: expected digits, dots, spaces and hyphens only")]
    NotDigits,
    /// Neither 47 nor 48 digits.
    #[error("the digitable line has {count} digits: expected 47 of a boleto, or 48 of a collection document")]
    Length {
        /// How many there are.
        count: usize,
    },
    /// 44 digits.
    #[error("this is a barcode (44 digits): expected the digitable line, 47 digits of a boleto or 48 of a collection document")]
    Barcode,
    /// 48 digits that begin with another digit than 8.
    #[error("the first digit of the digitable line is wrong: expected 8 where there are 48 digits")]
    NotCollection,
    /// The third of 48 digits, which says how the check digits are reckoned.
    #[error("the third digit of the digitable line is wrong: expected 6, 7, 8 or 9 where there are 48 digits")]
    ValueKind,
    /// A field's own check digit.
    #[error("the check digit of field {field} of the digitable line doesn't match: a digit was changed, lost or added")]
    FieldCheckDigit {
        /// 1 to 3 of a boleto, 1 to 4 of a collection document.
        field: usize,
    },
    /// The check digit over the whole barcode.
    #[error("the general check digit of the digitable line doesn't match: a digit was changed, lost or added")]
    GeneralCheckDigit,
}

fn only_digits(text: &str) -> Result<String, DigitableLineError> {
    let signs = text.chars().filter(|sign| !sign.is_whitespace() && !matches!(sign, '.' | '-'));
    let digits: Option<String> = signs.map(|sign| sign.is_ascii_digit().then_some(sign)).collect();
    digits.ok_or(DigitableLineError::NotDigits)
}

fn check_boleto(digits: &str) -> Result<(), DigitableLineError> {
    check_fields(digits, &BOLETO_FIELDS, mod_10)?;
    check_general(&boleto_barcode(digits), 4, boleto_mod_11)
}

fn check_collection(digits: &str) -> Result<(), DigitableLineError> {
    if !digits.starts_with('8') {
        return Err(DigitableLineError::NotCollection);
    }
    let check_digit = match digits.as_bytes()[2] {
        b'6' | b'7' => mod_10,
        b'8' | b'9' => collection_mod_11,
        _ => return Err(DigitableLineError::ValueKind),
    };
    check_fields(digits, &COLLECTION_BLOCKS, check_digit)?;
    check_general(&collection_barcode(digits), 3, check_digit)
}

/// Reckons a check digit out of the digits that it guards.
type CheckDigit = fn(&str) -> u32;

fn check_fields(digits: &str, fields: &[Range<usize>], check_digit: CheckDigit) -> Result<(), DigitableLineError> {
    let wrong = |field: &Range<usize>| check_digit(&digits[field.clone()]) != digit_at(digits, field.end);
    match fields.iter().position(wrong) {
        Some(at) => Err(DigitableLineError::FieldCheckDigit { field: at + 1 }),
        None => Ok(()),
    }
}

/// `at` is the check digit's own place, which it doesn't guard.
fn check_general(barcode: &str, at: usize, check_digit: CheckDigit) -> Result<(), DigitableLineError> {
    let guarded = format!("{}{}", &barcode[..at], &barcode[at + 1..]);
    if check_digit(&guarded) == digit_at(barcode, at) { Ok(()) } else { Err(DigitableLineError::GeneralCheckDigit) }
}

/// Bank and currency, general check digit, factor and amount, then the bank's 25 free digits.
fn boleto_barcode(digits: &str) -> String {
    [&digits[..4], &digits[32..], &digits[4..9], &digits[10..20], &digits[21..31]].concat()
}

fn collection_barcode(digits: &str) -> String {
    COLLECTION_BLOCKS.map(|block| &digits[block]).concat()
}

fn digit_at(digits: &str, at: usize) -> u32 {
    u32::from(digits.as_bytes()[at] - b'0')
}

/// Weights 2 and 1 in turn from the right, summing the digits of each product.
fn mod_10(digits: &str) -> u32 {
    let products = digits.bytes().rev().zip([2, 1].into_iter().cycle()).map(|(digit, weight)| u32::from(digit - b'0') * weight);
    (10 - products.map(|product| product / 10 + product % 10).sum::<u32>() % 10) % 10
}

/// 11 less the remainder; the results 0, 10 and 11 become 1, since a bank's general check digit is never 0.
fn boleto_mod_11(digits: &str) -> u32 {
    match remainder_11(digits) {
        0 | 1 => 1,
        remainder => 11 - remainder,
    }
}

/// 11 less the remainder; the results 10 and 11 become 0.
fn collection_mod_11(digits: &str) -> u32 {
    match remainder_11(digits) {
        0 | 1 => 0,
        remainder => 11 - remainder,
    }
}

/// Weights 2 to 9 in turn from the right.
fn remainder_11(digits: &str) -> u32 {
    digits.bytes().rev().zip((2..=9).cycle()).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum::<u32>() % 11
}
