//! Pix keys: what an account is known by in the central bank's directory (DICT), each kind in the form that the directory keeps
//! ("Manual Operacional do DICT"; regular expressions of the DICT API).

use crate::message::names;
use crate::tax_id::TaxId;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// The most characters of an e-mail as a key.
const EMAIL_CHARS_MAX: usize = 77;
/// Digits of a phone after its `+` (E.164); the fewest are those of a Brazilian landline with its country code.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 12..=15;
/// Where the hyphens of a random key stand, and how long it is: a UUID.
const EVP_HYPHENS: [usize; 4] = [8, 13, 18, 23];
const EVP_LENGTH: usize = 36;

names! {
    /// The kinds of Pix keys.
    PixKeyKind {
        /// 11 digits.
        Cpf = "cpf",
        /// 14 digits, or capitals and digits.
        Cnpj = "cnpj",
        /// `+`, country code and number.
        Phone = "phone",
        /// In lower case.
        Email = "email",
        /// A random key (*chave aleatória*): a UUID.
        Evp = "evp",
    }
}

/// A Pix key of the right form: whether the directory knows it is another matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixKey {
    kind: PixKeyKind,
    key: String,
}

/// The text is no key of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is no Pix key of the type {0}")]
pub struct NotAPixKey(pub PixKeyKind);

impl PixKey {
    /// Reads a key of a kind: a CPF or CNPJ with or without its points (their check digits are verified), a phone with or without blanks,
    /// parentheses and hyphens but with its `+`, letters in either case.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(kind: PixKeyKind, text: &str) -> Result<Self, NotAPixKey> {
        let text = text.trim();
        let key = match kind {
            PixKeyKind::Cpf => tax_id(text).filter(|signs| signs.len() == 11),
            PixKeyKind::Cnpj => tax_id(text).filter(|signs| signs.len() == 14),
            PixKeyKind::Phone => phone(text),
            PixKeyKind::Email => email(text),
            PixKeyKind::Evp => evp(text),
        };
        key.map(|key| Self { kind, key }).ok_or(NotAPixKey(kind))
    }

    /// The key of a static code (field 01 of its account), whose kind the code doesn't say: no text has the form of two of them, for a
    /// phone begins with `+`. `None` where it has that of none.
    pub fn of_code(text: &str) -> Option<Self> {
        PixKeyKind::ALL.iter().find_map(|kind| Self::parse(*kind, text).ok())
    }

    /// Its kind.
    pub const fn kind(&self) -> PixKeyKind {
        self.kind
    }

    /// The key as the directory keeps it.
    pub fn as_str(&self) -> &str {
        &self.key
    }
}

fn tax_id(text: &str) -> Option<String> {
    TaxId::parse(text).filter(TaxId::is_valid).map(|id| id.signs().to_owned())
}

fn phone(text: &str) -> Option<String> {
    let digits: String = text.strip_prefix('+')?.chars().filter(|c| !matches!(c, ' ' | '(' | ')' | '-')).collect();
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    (is_number && PHONE_DIGITS.contains(&digits.len())).then(|| format!("+{digits}"))
}

fn email(text: &str) -> Option<String> {
    let (name, host) = text.split_once('@')?;
    let is_sign = |c: char| c.is_ascii_graphic() && c != '@';
    let has_signs = |part: &str| !part.is_empty() && part.chars().all(is_sign);
    let has_domain = host.split('.').count() > 1 && host.split('.').all(|label| !label.is_empty());
    (has_signs(name) && has_signs(host) && has_domain && text.len() <= EMAIL_CHARS_MAX).then(|| text.to_ascii_lowercase())
}

fn evp(text: &str) -> Option<String> {
    let fits = |(place, byte): (usize, u8)| if EVP_HYPHENS.contains(&place) { byte == b'-' } else { byte.is_ascii_hexdigit() };
    (text.len() == EVP_LENGTH && text.bytes().enumerate().all(fits)).then(|| text.to_ascii_lowercase())
}
