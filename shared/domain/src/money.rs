//! Money as whole centavos.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// An amount in Brazilian centavos. Never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Centavos(pub i64);

/// Why a text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// Nothing is in the field.
    #[error("the amount is empty; write it as 1234.56 or 1.234,56")]
    Empty,
    /// Something else than digits with one decimal sign and groups of three.
    #[error("not an amount; write it as 1234.56 or 1.234,56")]
    Malformed,
    /// `1.234`: one thousand two hundred and thirty-four reais, or three decimals.
    #[error("thousands or decimals? one sign with three digits after it may be either; write 1234.00 or 1.234,00")]
    Ambiguous,
    /// More than about 92 quadrillion reais.
    #[error("the amount is too large")]
    TooLarge,
}

impl Centavos {
    /// Reads dot-decimal money as the ERP's webservice writes it (`26.00`, `26`, `26.5`) and Brazilian money
    /// (`1.234,56`, `1.234.567`, `26,5`), with or without `R$` and a sign in front.
    ///
    /// # Errors
    /// Anything else; `1.234` too, because two readers would read it differently.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let text = text.trim();
        let (negative, text) = strip_minus(text);
        let text = text.strip_prefix("R$").map_or(text, str::trim_start);
        if text.is_empty() {
            return Err(MoneyError::Empty);
        }
        let (reais, decimals) = split_decimals(text)?;
        let centavos = match decimals.as_bytes() {
            [] => 0,
            [tens] => i64::from(tens - b'0') * 10,
            [tens, ones] => i64::from(tens - b'0') * 10 + i64::from(ones - b'0'),
            _ => return Err(MoneyError::Malformed),
        };
        let reais: i64 = reais.parse().map_err(|_| MoneyError::TooLarge)?;
        let total = reais.checked_mul(100).and_then(|c| c.checked_add(centavos)).ok_or(MoneyError::TooLarge)?;
        Ok(Self(if negative { -total } else { total }))
    }

    /// The amount as the seed prints it, without a space: `R$123,00`, `R$1.234,56`, `-R$0,05`.
    pub fn format_brl(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let reais = (self.0.unsigned_abs() / 100).to_string();
        let mut grouped = String::with_capacity(reais.len() + reais.len() / 3);
        for (place, digit) in reais.chars().enumerate() {
            if place > 0 && (reais.len() - place).is_multiple_of(3) {
                grouped.push('.');
            }
            grouped.push(digit);
        }
        format!("{sign}R${grouped},{:02}", self.0.unsigned_abs() % 100)
    }
}

/// What one message costs, in ten-thousandths of a real: WhatsApp's prices are fractions of a centavo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitPrice(u32);

/// Ten-thousandths of a real.
const PARTS: u32 = 10_000;

impl UnitPrice {
    /// The dearest that is taken for a price and not for a slip: R$100.
    pub const MAX: Self = Self(100 * PARTS);

    /// Reads reais with up to four decimals, after a comma or a dot: `0,0435`. `None` for anything else, nothing, and more than
    /// [`UnitPrice::MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("R$").map_or(text, str::trim_start);
        let (reais, decimals) = text.split_once([',', '.']).unwrap_or((text, "0"));
        if !is_digits(reais) || !is_digits(decimals) || decimals.len() > 4 {
            return None;
        }
        let parts: u32 = format!("{decimals:0<4}").parse().ok()?;
        let price = reais.parse::<u32>().ok()?.checked_mul(PARTS)?.checked_add(parts)?;
        (1..=Self::MAX.0).contains(&price).then_some(Self(price))
    }

    /// What so many messages cost, to the centavo, half of one rounded up.
    pub fn times(self, messages: u64) -> Centavos {
        let parts = u128::from(self.0) * u128::from(messages);
        Centavos(i64::try_from((parts + 50) / 100).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{:04}", self.0 / PARTS, self.0 % PARTS)
    }
}

fn strip_minus(text: &str) -> (bool, &str) {
    text.strip_prefix('-').map_or((false, text), |rest| (true, rest.trim_start()))
}

/// Splits into the digits of the reais, without their group signs, and of the decimals; both are ASCII digits.
fn split_decimals(text: &str) -> Result<(String, &str), MoneyError> {
    let at_sign = match (text.split_once(','), text.split_once('.')) {
        (Some(at_comma), _) => Some(at_comma),
        (None, Some(at_dot)) if text.matches('.').count() == 1 => Some(at_dot),
        (None, _) => None,
    };
    let (whole, decimals) = at_sign.unwrap_or((text, "00"));
    if !is_digits(decimals) {
        return Err(MoneyError::Malformed);
    }
    if decimals.len() == 3 && whole.len() <= 3 && is_digits(whole) {
        return Err(MoneyError::Ambiguous);
    }
    Ok((ungroup(whole)?, decimals))
}

/// Takes out the dots of Brazilian thousands: one to three digits, then groups of exactly three.
fn ungroup(whole: &str) -> Result<String, MoneyError> {
    let first_group = whole.split('.').next().unwrap_or_default();
    let ungrouped = first_group.len() == whole.len();
    let well_grouped = first_group.len() <= 3 && whole.split('.').skip(1).all(|group| group.len() == 3);
    let digits = whole.replace('.', "");
    if (ungrouped || well_grouped) && is_digits(first_group) && is_digits(&digits) {
        Ok(digits)
    } else {
        Err(MoneyError::Malformed)
    }
}

/// One or more ASCII digits.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
