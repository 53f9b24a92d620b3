//! The pilot: while a provider tries Régua out, only a few phones get messages, or one phone gets all.

use crate::message::SkipReason;
use crate::phone::Phone;
use crate::render::Rendered;
use serde::{Deserialize, Serialize};

/// `[pilot]`: whom messages reach while the provider tries Régua out.
///
/// It is asked when a message is decided, when it is topped up and when it starts. What was skipped for it may come back when it ends, as
/// after any other reason that went away: within the days in which its stage is still caught up, so that the end of a pilot is no flood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pilot {
    /// There is none: everybody.
    #[default]
    Off,
    /// Only these phones; everybody else's messages are skipped.
    Only(Vec<Phone>),
    /// Every message goes to this phone in place of its customer's. The person there counts for no cap; the spacing holds.
    RedirectTo(Phone),
}

impl Pilot {
    /// What is sent under this pilot in place of `text`.
    ///
    /// # Errors
    /// [`SkipReason::Pilot`] for who takes no part in it.
    pub fn admit(&self, text: Rendered) -> Result<Rendered, SkipReason> {
        match self {
            Self::Off => Ok(text),
            Self::Only(phones) if phones.iter().any(|phone| phone.key().as_str() == text.phone_key) => Ok(text),
            Self::Only(_) => Err(SkipReason::Pilot),
            Self::RedirectTo(phone) => Ok(Rendered {
                phone: phone.e164().to_owned(),
                phone_key: phone.key().as_str().to_owned(),
                redirected: true,
                ..text
            }),
        }
    }

    /// Whether one phone gets everything.
    pub const fn redirects(&self) -> bool {
        matches!(self, Self::RedirectTo(_))
    }

    /// What an operator has to know of it; `None` where there is none. No number, but the last digits of the one that gets everything.
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Only(phones) if phones.len() == 1 => Some("only one phone gets messages; everybody else's are skipped".into()),
            Self::Only(phones) => Some(format!("only {} phones get messages; everybody else's are skipped", phones.len())),
            Self::RedirectTo(phone) => {
                let last = phone.e164().get(10..).unwrap_or_default();
                Some(format!("every message goes to the phone that ends in {last}; no customer gets any"))
            }
        }
    }
}
