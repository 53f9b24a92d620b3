//! What can go wrong with a request to the ERP. No variant repeats a value of a record.

use std::fmt;
use thiserror::Error;

/// What a sync does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same sync may succeed later without anybody's help.
    Retryable,
    /// A person has to change something, here or in the ERP.
    Terminal,
}

/// A failed request.
#[derive(Debug, Error)]
pub enum IxcError {
    /// DNS, connection or TLS failed. With "connection refused" the ERP's database is down (contracts §2.1).
    #[error("the ERP can't be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The name leads into a private network, which is not allowed.
    #[error("the ERP's name leads to a private address; if the ERP is in your own network set REGUA_ALLOW_PRIVATE_URLS=true")]
    PrivateAddress,
    /// No complete answer within the request's time-out.
    #[error("the ERP didn't answer in time")]
    TimedOut(#[source] reqwest::Error),
    /// The connection broke while the request or its answer was under way.
    #[error("the connection to the ERP broke")]
    Interrupted(#[source] reqwest::Error),
    /// A redirect: never followed, for it would carry the token away.
    #[error("the ERP redirects (HTTP {status}): the address is not that of its webservice")]
    Redirected {
        /// The HTTP status.
        status: u16,
    },
    /// 401 or 403: token or user inactive, or a token of a migrated server (contracts §2.1).
    #[error("the ERP refuses the token (HTTP {status}): is it active, of this server, and is the user's e-mail without accents?")]
    Unauthorized {
        /// The HTTP status.
        status: u16,
    },
    /// Any other HTTP status than 2xx.
    #[error("the ERP answered HTTP {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// `type: error` with HTTP 200.
    #[error("the ERP refused to list `{resource}`: {refusal}")]
    Refused {
        /// The resource asked for.
        resource: &'static str,
        /// What its message says.
        refusal: Refusal,
    },
    /// An HTML page with HTTP 2xx: the ERP's generic failure (contracts §2.1).
    #[error("the ERP answered with an HTML page instead of data")]
    Html,
    /// The answer is larger than allowed.
    #[error("the ERP's answer is larger than {bytes_max} bytes: use smaller pages")]
    BodyTooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// Not the JSON of a list.
    #[error("the ERP's answer is not a list in JSON (unreadable at line {line}, column {column})")]
    Unparsable {
        /// 1-based; 0 when the JSON is readable but no list.
        line: usize,
        /// 1-based; 0 when the JSON is readable but no list.
        column: usize,
    },
    /// The answer holds fewer rows than it counts, or more: the table changed meanwhile, or rows were cut off.
    #[error("the ERP says that {total} rows of `{resource}` match, of at most {asked} asked, but sent {sent}")]
    TotalDisagrees {
        /// The resource.
        resource: &'static str,
        /// The ERP's count.
        total: u64,
        /// Rows sent.
        sent: usize,
        /// Rows asked for.
        asked: usize,
    },
    /// Rows out of order, or an id twice: paging by id would lose some.
    #[error("the ERP didn't sort `{resource}` by id")]
    OrderIgnored {
        /// The resource.
        resource: &'static str,
    },
    /// A page that brings nothing beyond the last id although the ERP says that there is more.
    #[error("the ERP ignores the filter on the id of `{resource}`: its pages don't advance")]
    PageRepeats {
        /// The resource.
        resource: &'static str,
    },
    /// A filter on the due date finds no title in either written form (contracts §2.1): the list would silently be empty.
    #[error("the ERP finds no title by its due date, neither as DD/MM/YYYY nor as YYYY-MM-DD")]
    DateFilterBroken,
    /// An id that the ERP can't have given: nothing was asked.
    #[error("an id asked of the ERP is {shape}, not a number of 1 to 18 digits")]
    IdNotNumeric {
        /// The id's shape.
        shape: String,
    },
}

impl IxcError {
    /// Whether nobody answered, or somebody who isn't the webservice or doesn't want to now. Anything else was an answer, if a wrong one.
    pub const fn is_away(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::PrivateAddress
            | Self::TimedOut(_)
            | Self::Interrupted(_)
            | Self::Redirected { .. }
            | Self::Unauthorized { .. } => true,
            Self::Status { status } => matches!(status, 429 | 502..=504),
            Self::Refused { .. }
            | Self::Html
            | Self::BodyTooLarge { .. }
            | Self::Unparsable { .. }
            | Self::TotalDisagrees { .. }
            | Self::OrderIgnored { .. }
            | Self::PageRepeats { .. }
            | Self::DateFilterBroken
            | Self::IdNotNumeric { .. } => false,
        }
    }

    /// Whether trying again later may help.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::Interrupted(_)
            | Self::Html
            | Self::Unparsable { .. }
            | Self::TotalDisagrees { .. } => ErrorClass::Retryable,
            Self::Status { status } => status_class(*status),
            Self::PrivateAddress
            | Self::Redirected { .. }
            | Self::Unauthorized { .. }
            | Self::Refused { .. }
            | Self::BodyTooLarge { .. }
            | Self::OrderIgnored { .. }
            | Self::PageRepeats { .. }
            | Self::DateFilterBroken
            | Self::IdNotNumeric { .. } => ErrorClass::Terminal,
        }
    }
}

/// Load, time-outs and faults of the server pass; any other status doesn't.
const fn status_class(status: u16) -> ErrorClass {
    match status {
        408 | 425 | 429 | 500..=599 => ErrorClass::Retryable,
        _ => ErrorClass::Terminal,
    }
}

/// What the message of a `type: error` says, as far as the vendor documents it (contracts §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// "Recurso X não está disponível!": the user's group may not list the resource.
    ResourceUnavailable,
    /// "Seu IP não está liberado…": this server's address is not among the group's *Redes Permitidas*.
    AddressNotAllowed,
    /// Another message, cleaned: no tags, digits masked, at most 200 characters.
    Other(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResourceUnavailable => {
                f.write_str("the token's user may not list it; allow the resource in the ERP's user group")
            }
            Self::AddressNotAllowed => {
                f.write_str("this server's IP address is not allowed; add it to `Redes Permitidas` of the ERP's user group")
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Refusal {
    /// Reads the message, which may contain HTML.
    pub(super) fn read(message: &str) -> Self {
        let text = without_tags(message);
        let lower = text.to_lowercase();
        if lower.contains("recurso") && lower.contains("dispon") {
            Self::ResourceUnavailable
        } else if lower.contains("ip") && lower.contains("liberado") {
            Self::AddressNotAllowed
        } else {
            Self::Other(cleaned(&text))
        }
    }
}

fn without_tags(message: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for c in message.chars().take(4000) {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                text.push(' ');
            }
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text
}

/// Masks what could identify anybody or be a key: digits, addresses, long words. A list's filters hold only ids and dates, so the
/// ERP has no name to repeat.
fn cleaned(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let masked: Vec<String> = words
        .map(|word| match word {
            word if word.contains('@') || word.chars().count() > 24 => "…".to_owned(),
            word => word.chars().map(|c| if c.is_numeric() { '#' } else { c }).collect(),
        })
        .collect();
    let text: String = masked.join(" ").chars().take(200).collect();
    if text.is_empty() { "without a message".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_refusals_are_told_apart() {
        assert_eq!(Refusal::read("Recurso fn_areceber não está disponível!<br />"), Refusal::ResourceUnavailable);
        assert_eq!(Refusal::read("<b>Seu IP não está liberado</b> (200.1.2.3)"), Refusal::AddressNotAllowed);
        assert_eq!(
            Refusal::read("Parcela já está recebida ou cancelada!<br />"),
            Refusal::Other("Parcela já está recebida ou cancelada!".to_owned())
        );
    }

    #[test]
    fn a_refusal_keeps_no_number_address_or_key() {
        let Refusal::Other(text) =
            Refusal::read("CPF 123.456.789-00 <a href='x'>ana@example.invalid</a> 0123456789abcdef0123456789abcdef")
        else {
            panic!("another message");
        };
        assert_eq!(text, "CPF ###.###.###-## … …");
        assert_eq!(Refusal::read(" <p></p> "), Refusal::Other("without a message".to_owned()));
        let Refusal::Other(long) = Refusal::read(&"ab ".repeat(5000)) else { panic!("another message") };
        assert!(long.chars().count() <= 200);
    }

    #[test]
    fn only_what_passes_by_itself_is_retryable() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(IxcError::Status { status }.class(), ErrorClass::Retryable, "{status}");
        }
        for status in [400, 404, 405, 410, 422] {
            assert_eq!(IxcError::Status { status }.class(), ErrorClass::Terminal, "{status}");
        }
        assert_eq!(IxcError::Unauthorized { status: 401 }.class(), ErrorClass::Terminal);
        assert_eq!(IxcError::Html.class(), ErrorClass::Retryable);
        assert_eq!(IxcError::DateFilterBroken.class(), ErrorClass::Terminal);
    }
}
