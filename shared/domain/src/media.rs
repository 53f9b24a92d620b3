//! The media of a template's header: an address from which the platform fetches a picture or a document (contracts §1.5).

use crate::configuration::url::{Url, is_private};
use crate::variables::{Facts, RenderError, Variable, clean};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// The longest address that is sent, in bytes as written out: what browsers and servers bear.
pub const URL_BYTES_MAX: usize = 2048;

/// Where the media of a notice's messages is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Media {
    /// For every message the same address.
    Fixed(Url),
    /// The address that the invoice has: `#areceber_link#`.
    OfInvoice,
}

/// Why an address is none that the platform could fetch. No variant repeats it: it may open the customer's invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MediaFault {
    /// Not an absolute address, or something else is beside it.
    #[error("is no address")]
    Malformed,
    /// Another scheme, most likely http.
    #[error("is not https")]
    NotHttps,
    /// `user:password@host`.
    #[error("carries a user or password")]
    Credentials,
    /// A host that only this machine or this network reaches.
    #[error("has a private host, from which the platform can fetch nothing")]
    PrivateHost,
    /// Longer than [`URL_BYTES_MAX`].
    #[error("is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
}

impl Media {
    /// Reads what a notice says: an address without a fragment, or `#areceber_link#` (or another name of it) alone.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(text: &str) -> Result<Self, MediaFault> {
        let text = text.trim();
        let name = text.strip_prefix('#').and_then(|rest| rest.strip_suffix('#'));
        match name.map(|name| Variable::parse(name.trim())) {
            Some(Some(Variable::InvoiceLink)) => Ok(Self::OfInvoice),
            Some(_) => Err(MediaFault::Malformed),
            // Nothing is filled into an address: it would be sent with the variable's name.
            None if text.contains('#') => Err(MediaFault::Malformed),
            None => address(text).map(Self::Fixed),
        }
    }

    /// What it takes from an invoice.
    pub const fn variable(&self) -> Option<Variable> {
        match self {
            Self::Fixed(_) => None,
            Self::OfInvoice => Some(Variable::InvoiceLink),
        }
    }

    /// The address for one message.
    ///
    /// # Errors
    /// The invoice has none, or one that the platform couldn't fetch.
    pub fn render(&self, facts: &Facts<'_>) -> Result<String, RenderError> {
        match self {
            Self::Fixed(url) => Ok(url.to_string()),
            Self::OfInvoice => {
                let link = clean(facts.invoice.map_or("", |invoice| &invoice.payment_link));
                if link.is_empty() {
                    return Err(RenderError::Empty(Variable::InvoiceLink));
                }
                address(&link).map(String::from).map_err(RenderError::InvalidMedia)
            }
        }
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(url) => f.write_str(url.as_str()),
            Self::OfInvoice => Variable::InvoiceLink.fmt(f),
        }
    }
}

impl From<Media> for String {
    fn from(media: Media) -> Self {
        media.to_string()
    }
}

impl TryFrom<String> for Media {
    type Error = MediaFault;

    fn try_from(text: String) -> Result<Self, MediaFault> {
        Self::parse(&text)
    }
}

/// An address of the public internet, written out as browsers do. A blank inside it separates it from something else.
fn address(text: &str) -> Result<Url, MediaFault> {
    if text.contains(char::is_whitespace) {
        return Err(MediaFault::Malformed);
    }
    let url = Url::parse(text).map_err(|_| MediaFault::Malformed)?;
    let host = url.host().ok_or(if url.scheme() == "https" { MediaFault::Malformed } else { MediaFault::NotHttps })?;
    if url.scheme() != "https" {
        return Err(MediaFault::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(MediaFault::Credentials);
    }
    if is_private(&host) {
        return Err(MediaFault::PrivateHost);
    }
    if url.as_str().len() > URL_BYTES_MAX { Err(MediaFault::TooLong) } else { Ok(url) }
}
