//! Pix copy-and-paste codes: BR Code, which is EMV QRCPS-MPM as the central bank's "Manual de Padrões para Iniciação do
//! Pix" narrows it.
//!
//! A code is a row of fields, each of two digits of id, two digits of length and a value; a template's value is such a
//! row again. EMV counts a length in characters, some banks count UTF-8 bytes: a code with accents is accepted in
//! whichever of the two readings it holds.

use crate::money::Centavos;
use std::fmt;
use thiserror::Error;

/// The longest code that is read, in bytes. EMV's own limit is 512 characters.
pub const CODE_BYTES_MAX: usize = 512;

/// The globally unique identifier of Pix among the account templates; EMV compares it without case.
const PIX_GUI: &str = "br.gov.bcb.pix";
/// Field 54 has 13 characters at most (EMV QRCPS-MPM, table of the root fields).
const AMOUNT_BYTES_MAX: usize = 13;
/// The hex digits of field 63, which end the code.
const CRC_DIGITS: usize = 4;

/// Ids of the fields that are read; `KEY` and `URL` stand inside the account template.
mod id {
    pub const PAYLOAD_FORMAT: u8 = 0;
    pub const GUI: u8 = 0;
    pub const KEY: u8 = 1;
    pub const URL: u8 = 25;
    pub const CURRENCY: u8 = 53;
    pub const AMOUNT: u8 = 54;
    pub const COUNTRY: u8 = 58;
    pub const MERCHANT_NAME: u8 = 59;
    pub const MERCHANT_CITY: u8 = 60;
    pub const CRC: u8 = 63;
}

/// A Pix code that is whole: its structure holds to the last byte and its CRC is right.
///
/// That says nothing about the charge behind it, which may be paid, removed or expired. Personal data: `Debug` shows
/// only the form and the length, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PixCode {
    code: String,
    amount: Option<Centavos>,
    merchant_name: String,
    /// `None` where there is a URL.
    key: Option<String>,
}

impl PixCode {
    /// Reads a code; white space around it is no part of it.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in the order structure, CRC, content.
    pub fn parse(text: &str) -> Result<Self, PixCodeError> {
        let code = text.trim();
        check_text(code)?;
        read(code, LengthUnit::Characters).or_else(|error| read(code, LengthUnit::Bytes).map_err(|_| error))
    }

    /// The code, letter for letter as it was given.
    pub fn as_str(&self) -> &str {
        &self.code
    }

    /// The amount (field 54); `None` where it's absent or zero, when the payer is asked or the URL tells.
    ///
    /// Of a dynamic code it is a hint only: the payer's bank goes by what the URL answers.
    pub fn amount(&self) -> Option<Centavos> {
        self.amount
    }

    /// Whether the account is a URL that the payer's bank asks for the charge, rather than a Pix key.
    pub fn is_dynamic(&self) -> bool {
        self.key.is_none()
    }

    /// Who receives (field 59), as the account's bank wrote it: 25 characters at most by EMV, often capitals without accents.
    pub fn merchant_name(&self) -> &str {
        &self.merchant_name
    }

    /// The Pix key (field 01 of the account); `None` of a dynamic code, whose URL leads to the account.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Debug for PixCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.is_dynamic() { "dynamic" } else { "static" };
        write!(f, "PixCode({form}, {} bytes)", self.code.len())
    }
}

/// Why a text is not a Pix code that may be sent. `Display` names the field (its EMV id in brackets) and what was
/// expected, and never the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PixCodeError {
    /// Nothing but white space.
    #[error("the Pix code is empty: expected a copy-and-paste code that begins with 000201")]
    Empty,
    /// More than [`CODE_BYTES_MAX`].
    #[error("the Pix code is too long: expected at most {CODE_BYTES_MAX} bytes")]
    TooLong,
    /// A line break, tab, zero byte or other control character inside the code.
    #[error("the Pix code has a line break or another control character inside: expected one line of plain text")]
    ControlCharacter,
    /// The row of fields breaks off, also by a length that is 00 or leads past the end.
    #[error(
        "the Pix code breaks off at byte {at_byte}: expected a field of two digits of id, two digits of length (01 to 99) \
         and as many characters"
    )]
    Malformed {
        /// Where the field begins that can't be read, counted from zero.
        at_byte: usize,
    },
    /// One id twice in the same row.
    #[error("field {id:02} of the Pix code is there twice: expected it once")]
    Repeated {
        /// The id in question.
        id: u8,
    },
    /// Field 63 isn't the last one or isn't four hex digits.
    #[error("the CRC (63) of the Pix code is missing: expected it last, with length 04 and four hex digits")]
    NoCrc,
    /// The CRC belongs to another text.
    #[error("the CRC (63) of the Pix code doesn't match the text before it: a character was changed, lost or added")]
    WrongCrc,
    /// Field 00 isn't the first one or isn't "01".
    #[error("the payload format indicator (00) of the Pix code is wrong: expected it first, with the value 01")]
    PayloadFormat,
    /// Not exactly one of the account templates is Pix's.
    #[error("the merchant account (26 to 51) of the Pix code is wrong: expected exactly one with the GUI {PIX_GUI}")]
    Account,
    /// The account has neither key nor URL, or both.
    #[error("the merchant account (26 to 51) of the Pix code is wrong: expected either a key (01) or a URL (25)")]
    KeyOrUrl,
    /// Another currency or none.
    #[error("the currency (53) of the Pix code is wrong: expected 986, the Brazilian real")]
    Currency,
    /// Not an amount in whole centavos.
    #[error("the amount (54) of the Pix code is wrong: expected digits with at most two decimals after a point")]
    Amount,
    /// Another country or none.
    #[error("the country (58) of the Pix code is wrong: expected BR")]
    Country,
    /// Who is paid is not named.
    #[error("the merchant name (59) of the Pix code is missing")]
    MerchantName,
    /// The city of who is paid is not named.
    #[error("the merchant city (60) of the Pix code is missing")]
    MerchantCity,
}

fn check_text(code: &str) -> Result<(), PixCodeError> {
    if code.is_empty() {
        return Err(PixCodeError::Empty);
    }
    if code.len() > CODE_BYTES_MAX {
        return Err(PixCodeError::TooLong);
    }
    if code.chars().any(char::is_control) {
        return Err(PixCodeError::ControlCharacter);
    }
    Ok(())
}

fn read(code: &str, unit: LengthUnit) -> Result<PixCode, PixCodeError> {
    let root = Row::read(code, unit, 0)?;
    check_crc(code, &root)?;
    if root.0[0].id != id::PAYLOAD_FORMAT || root.0[0].value != "01" {
        return Err(PixCodeError::PayloadFormat);
    }
    let account = pix_account(&root, unit)?;
    let key = match (account.get(id::KEY), account.get(id::URL)) {
        (Some(key), None) => Some(key.to_owned()),
        (None, Some(_)) => None,
        (None, None) | (Some(_), Some(_)) => return Err(PixCodeError::KeyOrUrl),
    };
    if root.get(id::CURRENCY) != Some("986") {
        return Err(PixCodeError::Currency);
    }
    let amount = root.get(id::AMOUNT).map(read_amount).transpose()?.flatten();
    if root.get(id::COUNTRY) != Some("BR") {
        return Err(PixCodeError::Country);
    }
    let merchant_name = root.get(id::MERCHANT_NAME).ok_or(PixCodeError::MerchantName)?.to_owned();
    root.get(id::MERCHANT_CITY).ok_or(PixCodeError::MerchantCity)?;
    Ok(PixCode { code: code.to_owned(), amount, merchant_name, key })
}

/// The CRC goes over everything before its own four digits, its id and length included.
fn check_crc(code: &str, root: &Row<'_>) -> Result<(), PixCodeError> {
    let stated = root.0.last().filter(|last| last.id == id::CRC).map(|last| last.value);
    let stated = stated.filter(|text| text.len() == CRC_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let stated = stated.and_then(|text| u16::from_str_radix(text, 16).ok()).ok_or(PixCodeError::NoCrc)?;
    if stated == crc_16(&code.as_bytes()[..code.len() - CRC_DIGITS]) { Ok(()) } else { Err(PixCodeError::WrongCrc) }
}

/// CRC-16/CCITT-FALSE (ISO/IEC 13239): polynomial 0x1021, begins with 0xFFFF, nothing reflected.
fn crc_16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    })
}

/// Reads every template to its end and gives the one that is Pix's account.
fn pix_account<'a>(root: &Row<'a>, unit: LengthUnit) -> Result<Row<'a>, PixCodeError> {
    let mut account = None;
    for field in root.0.iter().filter(|field| is_template(field.id)) {
        let template = Row::read(field.value, unit, field.value_at)?;
        let is_pix = template.get(id::GUI).is_some_and(|gui| gui.eq_ignore_ascii_case(PIX_GUI));
        if is_pix && is_account(field.id) && account.replace(template).is_some() {
            return Err(PixCodeError::Account);
        }
    }
    account.ok_or(PixCodeError::Account)
}

/// Merchant accounts; 02 to 25 are those of card brands and have no GUI.
fn is_account(id: u8) -> bool {
    matches!(id, 26..=51)
}

/// Whether the value is a row of fields: an account, additional data (62), another language (64) or an unreserved
/// template (80 to 99, as Pix Automático has one).
fn is_template(id: u8) -> bool {
    is_account(id) || matches!(id, 62 | 64 | 80..=99)
}

/// Digits and at most one point, which EMV allows without decimals too; zero is no amount.
fn read_amount(text: &str) -> Result<Option<Centavos>, PixCodeError> {
    let (reais, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits_only = reais.bytes().chain(decimals.bytes()).all(|byte| byte.is_ascii_digit());
    if !digits_only || reais.is_empty() || decimals.len() > 2 || text.len() > AMOUNT_BYTES_MAX {
        return Err(PixCodeError::Amount);
    }
    let centavos = format!("{reais}{decimals:0<2}").parse().map_err(|_| PixCodeError::Amount)?;
    Ok((centavos > 0).then_some(Centavos(centavos)))
}

/// What a length counts.
#[derive(Clone, Copy)]
enum LengthUnit {
    Characters,
    Bytes,
}

impl LengthUnit {
    /// The byte after the first `length` units of the text; `None` past its end or inside a character.
    fn end(self, text: &str, length: u8) -> Option<usize> {
        let length = usize::from(length);
        match self {
            Self::Characters => text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(length),
            Self::Bytes => text.is_char_boundary(length).then_some(length),
        }
    }
}

struct Field<'a> {
    id: u8,
    value: &'a str,
    /// Where the value begins, in bytes of the whole code.
    value_at: usize,
}

/// A row of fields, read to its end: at least one, each id once.
struct Row<'a>(Vec<Field<'a>>);

impl<'a> Row<'a> {
    /// `text_at` is where the text begins in the whole code, in bytes.
    fn read(text: &'a str, unit: LengthUnit, text_at: usize) -> Result<Self, PixCodeError> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let malformed = PixCodeError::Malformed { at_byte: text_at + at };
            let (id, value) = first_field(&text[at..], unit).ok_or(malformed)?;
            if fields.iter().any(|field| field.id == id) {
                return Err(PixCodeError::Repeated { id });
            }
            fields.push(Field { id, value, value_at: text_at + at + 4 });
            at += 4 + value.len();
        }
        Ok(Self(fields))
    }

    fn get(&self, id: u8) -> Option<&'a str> {
        self.0.iter().find(|field| field.id == id).map(|field| field.value)
    }
}

/// Id and value of the field that the text begins with. EMV knows no empty field: a length is 01 to 99.
fn first_field(text: &str, unit: LengthUnit) -> Option<(u8, &str)> {
    let id = two_digits(text.get(..2)?)?;
    let length = two_digits(text.get(2..4)?).filter(|length| *length > 0)?;
    let value_and_rest = &text[4..];
    Some((id, &value_and_rest[..unit.end(value_and_rest, length)?]))
}

fn two_digits(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
