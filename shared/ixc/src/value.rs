//! The ERP's scalars: dates, money, switches and free text. Everything arrives as text (contracts §2.1).

use chrono::{NaiveDate, NaiveTime};
use regua_domain::money::{Centavos, MoneyError};

/// Where a record comes from: it decides which forms of dates and ids are allowed and what an absent column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The ERP's webservice: ISO dates, numeric ids, and the switches that forbid a send must be there.
    Webservice,
    /// A file written by a person or an export: two forms of dates, ids of any origin, absent switches have defaults.
    File,
}

/// What was expected of a value that can't be read, for people.
pub type Expected = &'static str;

/// The most characters that are kept of any text: longer ones are refused, so that one record can't fill the ledger.
pub const TEXT_CHARS_MAX: usize = 2000;

const DATE: Expected = "a date as YYYY-MM-DD";
const DATE_IN_FILE: Expected = "a date as YYYY-MM-DD or DD/MM/YYYY";
const DATE_YEARS: Expected = "a date between the years 1900 and 2199";
const MONEY: Expected = "money as 1234.56 or 1.234,56";
const MONEY_AMBIGUOUS: Expected =
    "money whose cents are told, as 1234.00 or 1.234,00: one mark before three digits may mean either";
const MONEY_TOO_LARGE: Expected = "an amount that fits 64 bits of centavos";

/// Reads a date. Empty text and `0000-00-00` are `None`; a time of day after the date is allowed and dropped.
pub fn date(text: &str, origin: Origin) -> Result<Option<NaiveDate>, Expected> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let expected = match origin {
        Origin::Webservice => DATE,
        Origin::File => DATE_IN_FILE,
    };
    let (day_text, time_text) = text.split_at_checked(10).ok_or(expected)?;
    if !is_time_of_day(time_text) {
        return Err(expected);
    }
    let (year, month, day) = match origin {
        Origin::Webservice => iso(day_text),
        Origin::File => iso(day_text).or_else(|| brazilian(day_text)),
    }
    .ok_or(expected)?;
    if (year, month, day) == (0, 0, 0) {
        return Ok(None);
    }
    if !(1900..=2199).contains(&year) {
        return Err(DATE_YEARS);
    }
    let year = i32::try_from(year).map_err(|_| DATE_YEARS)?;
    NaiveDate::from_ymd_opt(year, month, day).map(Some).ok_or(expected)
}

fn iso(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('-');
    let date = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    parts.next().is_none().then_some(date)
}

fn brazilian(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('/');
    let (day, month, year) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 4)?);
    parts.next().is_none().then_some((year, month, day))
}

fn digits(text: &str, length: usize) -> Option<u32> {
    (text.len() == length && is_digits(text)).then(|| text.parse().ok())?
}

fn is_time_of_day(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix([' ', 'T']).is_some_and(|time| {
            NaiveTime::parse_from_str(time, "%H:%M:%S").is_ok() || NaiveTime::parse_from_str(time, "%H:%M").is_ok()
        })
}

/// Reads money, `1234.56` or `1.234,56`; empty text is `None`. See [`Centavos::parse`] for what is refused.
pub fn money(text: &str) -> Result<Option<Centavos>, Expected> {
    match Centavos::parse(text) {
        Ok(centavos) => Ok(Some(centavos)),
        Err(MoneyError::Empty) if text.trim().is_empty() => Ok(None),
        Err(MoneyError::Empty | MoneyError::Malformed) => Err(MONEY),
        Err(MoneyError::Ambiguous) => Err(MONEY_AMBIGUOUS),
        Err(MoneyError::TooLarge) => Err(MONEY_TOO_LARGE),
    }
}

/// Reads a switch: `S` is on; `N` and empty are off, for the ERP leaves an unchecked box empty (contracts §2.3).
pub fn switch(text: &str) -> Result<bool, Expected> {
    match text.trim() {
        "S" | "s" => Ok(true),
        "N" | "n" | "" => Ok(false),
        _ => Err("S, N or empty"),
    }
}

/// Cleans free text: control characters (a NUL would be refused by PostgreSQL) become spaces, the ends are trimmed.
pub fn text(raw: &str) -> Result<String, Expected> {
    let clean: String = raw.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    if clean.chars().nth(TEXT_CHARS_MAX).is_some() { Err("at most 2000 characters") } else { Ok(clean.to_owned()) }
}

/// Reads a key to another record: empty and `0` are none.
pub fn key(raw: &str) -> Result<String, Expected> {
    let key = text(raw)?;
    Ok(if key == "0" { String::new() } else { key })
}

/// Whether the text is one or more ASCII digits.
pub fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An id as the ERP numbers its records: 1 to 18 digits without a leading zero, so that it can be compared and listed in a filter.
pub fn erp_number(text: &str) -> Option<u64> {
    (is_digits(text) && text.len() <= 18 && !text.starts_with('0')).then(|| text.parse().ok())?
}

/// The shape of a value for error texts: digits become `9`, letters `a`, at most 24 characters. It never repeats the value itself.
pub fn shape(text: &str) -> String {
    const SHOWN: usize = 24;
    let text = text.trim();
    if text.is_empty() {
        return "empty".to_owned();
    }
    let mut shape: String = text.chars().take(SHOWN).map(masked).collect();
    let more = text.chars().skip(SHOWN).count();
    if more > 0 {
        return format!("`{shape}` and {more} more characters");
    }
    shape.insert(0, '`');
    shape.push('`');
    shape
}

fn masked(c: char) -> char {
    match c {
        c if c.is_numeric() => '9',
        c if c.is_alphabetic() => 'a',
        c if c.is_ascii_punctuation() && c != '`' || c == ' ' => c,
        _ => '?',
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
