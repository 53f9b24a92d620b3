//! How a secret is sealed: ChaCha20-Poly1305 (RFC 8439) by `ring`, which TLS needs anyway, under a key that is in no ledger.
//!
//! What is authenticated with a secret is its place: the ledger's id and the secret's name. So a row that was copied to another name or into
//! another ledger doesn't open. Nonces are 96 random bits. A key may seal 2³² times before two of them meet with a probability of 2⁻³²
//! (NIST SP 800-38D, section 8.3, for nonces of this size): a person who sets a secret every second needs 136 years for that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regua_domain::ids::LedgerId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Characters of a secret that a person is shown, and how long it must be for that.
const TAIL: usize = 4;
const SHOWN_FROM: usize = 12;

/// A secret as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Base64 of the nonce, the sealed text and the tag.
    pub text: String,
    /// Which key opens it: [`SecretKey::id`].
    pub key_id: String,
    /// The secret's last four characters; `None` for one of less than twelve.
    pub last_four: Option<String>,
}

/// Why a sealed secret doesn't open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// It was sealed under another key.
    #[error("it is sealed under another key")]
    OtherKey,
    /// It is not what was sealed under this name in this ledger.
    #[error("it was altered, or sealed under another name or in another ledger")]
    Damaged,
}

/// A key that seals and opens. It has no `Debug`.
pub struct SecretKey {
    id: String,
    key: LessSafeKey,
}

impl SecretKey {
    /// The key of these bytes.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("the cipher's keys have 32 bytes");
        Self { id: id_of(bytes), key: LessSafeKey::new(key) }
    }

    /// New bytes for a key, as 64 hexadecimal digits.
    pub fn generate() -> SecretString {
        hex(&random::<KEY_BYTES>()).into()
    }

    /// Which key it is, without telling the key: eight hexadecimal digits of a hash.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a secret for one name in one ledger.
    pub fn seal(&self, ledger: LedgerId, name: &str, secret: &SecretString) -> Sealed {
        let secret = secret.expose_secret();
        let nonce = random::<NONCE_LEN>();
        // What will hold text and tag, so that no copy of the text is left behind where it grew.
        let mut text = Vec::with_capacity(secret.len() + CHACHA20_POLY1305.tag_len());
        text.extend_from_slice(secret.as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place(ledger, name), &mut text)
            .expect("no secret has the 256 GiB at which the cipher ends");
        Sealed { text: STANDARD.encode([&nonce[..], &text].concat()), key_id: self.id.clone(), last_four: last_four(secret) }
    }

    /// Opens what was sealed for this name in this ledger.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, ledger: LedgerId, name: &str, sealed: &Sealed) -> Result<SecretString, OpenError> {
        if sealed.key_id != self.id {
            return Err(OpenError::OtherKey);
        }
        // It is opened where it stands, and wiped.
        let mut bytes = Zeroizing::new(STANDARD.decode(&sealed.text).map_err(|_| OpenError::Damaged)?);
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(OpenError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Damaged)?;
        let opened = self.key.open_in_place(nonce, place(ledger, name), text).map_err(|_| OpenError::Damaged)?;
        std::str::from_utf8(opened).map(SecretString::from).map_err(|_| OpenError::Damaged)
    }
}

/// What is authenticated beside the secret. No name holds a blank, so no two places are written alike.
fn place(ledger: LedgerId, name: &str) -> Aad<String> {
    Aad::from(format!("regua secret 1 {} {name}", ledger.0))
}

fn last_four(secret: &str) -> Option<String> {
    let length = secret.chars().count();
    (length >= SHOWN_FROM).then(|| secret.chars().skip(length - TAIL).collect())
}

fn id_of(key: &[u8]) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(b"regua secret key id");
    hash.update(key);
    hex(&hash.finish().as_ref()[..4])
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes once it has started");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LEDGER: LedgerId = LedgerId(Uuid::from_u128(1));
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.opa-matriz.c3VwZXItc2VjcmV0";

    fn new_key() -> SecretKey {
        SecretKey::new(&random())
    }

    #[test]
    fn a_keys_id_tells_keys_apart_and_is_the_same_for_ever() {
        let (one, other) = (SecretKey::new(&[0; KEY_BYTES]), SecretKey::new(&[1; KEY_BYTES]));
        // By `printf 'regua secret key id'; head -c 32 /dev/zero`, through sha256sum.
        assert_eq!(one.id(), "d1c0de72");
        assert_ne!(one.id(), other.id());
        let (new, newer) = (SecretKey::generate(), SecretKey::generate());
        assert_ne!(new.expose_secret(), newer.expose_secret());
        assert!(new.expose_secret().len() == 64 && new.expose_secret().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn what_was_sealed_opens_under_its_key_and_no_other() {
        let (key, other) = (new_key(), new_key());
        for secret in ["x", TOKEN, "sênha com ç", &"y".repeat(64 * 1024)] {
            let sealed = key.seal(LEDGER, "opa", &secret.into());
            assert_eq!(key.open(LEDGER, "opa", &sealed).expect("it opens").expose_secret(), secret);
            assert_eq!(other.open(LEDGER, "opa", &sealed).map(drop), Err(OpenError::OtherKey));
            let forged = Sealed { key_id: other.id().to_owned(), ..sealed };
            assert_eq!(other.open(LEDGER, "opa", &forged).map(drop), Err(OpenError::Damaged));
        }
    }

    #[test]
    fn a_secret_opens_only_under_its_own_name_in_its_own_ledger() {
        let key = new_key();
        let sealed = key.seal(LEDGER, "opa", &TOKEN.into());
        assert_eq!(key.open(LEDGER, "ixc", &sealed).map(drop), Err(OpenError::Damaged));
        assert_eq!(key.open(LedgerId(Uuid::from_u128(2)), "opa", &sealed).map(drop), Err(OpenError::Damaged));
    }

    #[test]
    fn not_one_bit_of_it_can_be_altered() {
        let key = new_key();
        let sealed = key.seal(LEDGER, "opa", &"abc".into());
        let bytes = STANDARD.decode(&sealed.text).expect("base64");
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let altered = Sealed { text: STANDARD.encode(altered), ..sealed.clone() };
            assert_eq!(key.open(LEDGER, "opa", &altered).map(drop), Err(OpenError::Damaged), "bit {bit}");
        }
        for text in [String::new(), "no base64!".into(), STANDARD.encode(&bytes[..NONCE_LEN + 3]), STANDARD.encode(&bytes[..3])] {
            assert_eq!(key.open(LEDGER, "opa", &Sealed { text, ..sealed.clone() }).map(drop), Err(OpenError::Damaged));
        }
    }

    #[test]
    fn the_same_secret_is_sealed_differently_each_time_and_never_shown() {
        let key = new_key();
        let (one, other) = (key.seal(LEDGER, "opa", &TOKEN.into()), key.seal(LEDGER, "opa", &TOKEN.into()));
        assert_ne!(one.text, other.text);
        assert!(!format!("{one:?}").contains(&TOKEN[..8]));
    }

    #[test]
    fn only_a_long_secret_shows_its_last_four_characters() {
        let key = new_key();
        let shown = |secret: &str| key.seal(LEDGER, "opa", &secret.into()).last_four;
        assert_eq!(shown("12345678901"), None);
        assert_eq!(shown("123456789012").as_deref(), Some("9012"));
        assert_eq!(shown("éééééééééééç").as_deref(), Some("éééç"));
    }
}
