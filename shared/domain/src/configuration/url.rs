//! The base addresses of the two products, from whatever an operator pasted.
//!
//! Pure text: no name is resolved here, so a public name that answers with a private address is the HTTP client's to refuse.

use std::{fmt, net::IpAddr, net::Ipv4Addr, net::Ipv6Addr};
use thiserror::Error;
use url::Host;

pub use url::Url;

/// The product behind an address; it decides the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Opa! Suite: the base ends in `/api/v1` (contracts §1.1).
    OpaSuite,
    /// IXC Provedor: the base ends in `/webservice/v1` (contracts §2.1).
    Ixc,
}

impl Product {
    const fn base(self) -> [&'static str; 2] {
        match self {
            Self::OpaSuite => ["api", "v1"],
            Self::Ixc => ["webservice", "v1"],
        }
    }

    /// First path segments of the product's own pages, which operators copy from the browser's address bar.
    const fn panel_pages(self) -> &'static [&'static str] {
        match self {
            Self::OpaSuite => &["api", "atendente", "auth", "dashboard", "login", "motivo-atendimento", "relatorio"],
            Self::Ixc => &["adm.php", "app", "aplicativo", "index.php", "login", "webservice"],
        }
    }

    /// The path that the product's API is served under.
    pub fn base_path(self) -> String {
        format!("/{}", self.base().join("/"))
    }
}

/// What was changed in an address; told to the operator, never silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Correction {
    /// `host/…` was taken as `https://host/…`.
    SchemeAdded,
    /// `https:/host`, as the vendor's own page misprints it, was taken as `https://host`.
    SlashesMended,
    /// The query or the fragment was left out.
    QueryDropped,
    /// The panel's path was replaced by the API's.
    PathReplaced {
        /// The path as given.
        from: String,
        /// The path that is used.
        to: String,
    },
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SchemeAdded => f.write_str("`https://` added"),
            Self::SlashesMended => f.write_str("two slashes written after the scheme"),
            Self::QueryDropped => f.write_str("what follows `?` or `#` left out"),
            Self::PathReplaced { from, to } => write!(f, "path `{from}` replaced by `{to}`"),
        }
    }
}

/// Why an address can't be a base. No variant repeats the address, which may carry a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlFault {
    /// Nothing but blanks.
    #[error("the address is empty")]
    Empty,
    /// Neither `https` nor `http`.
    #[error("the address has the scheme `{0}`")]
    Scheme(String),
    /// Not an address at all.
    #[error("the text is no address")]
    Malformed(#[source] url::ParseError),
    /// `user:password@host`.
    #[error("the address carries a user or password")]
    Credentials,
    /// `http` where private addresses are not allowed.
    #[error("the address is http, which would send the token unencrypted")]
    Unencrypted,
    /// A host that only this machine or this network reaches.
    #[error("the address names the private host `{0}`")]
    PrivateHost(String),
    /// A path that is neither the API's nor a page of the panel.
    #[error("the address has the path `{path}`, which is neither `{base}` nor a page of the product")]
    UnknownPath {
        /// The path as given.
        path: String,
        /// The path of the API.
        base: String,
    },
}

/// The base address of a product's API, and what had to be corrected.
///
/// `https:/host/atendente`, `https://host/atendente/…` and `host` all become `https://host/api/v1` for Opa! (interface, rule **URL**).
/// The result has no trailing slash, query, fragment or credentials, and is a fixed point: given again it needs no correction.
/// A prefix before the API's path (a reverse proxy's) is kept. `allow_private` accepts `http` and private hosts.
///
/// # Errors
/// See [`UrlFault`].
pub fn normalise_url(text: &str, product: Product, allow_private: bool) -> Result<(Url, Vec<Correction>), UrlFault> {
    let mut corrections = Vec::new();
    let absolute = with_scheme(text.trim(), &mut corrections)?;
    let mut url = Url::parse(&absolute).map_err(UrlFault::Malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlFault::Credentials);
    }
    if url.scheme() == "http" && !allow_private {
        return Err(UrlFault::Unencrypted);
    }
    if let Some(host) = url.host().filter(|host| !allow_private && is_private(host)) {
        return Err(UrlFault::PrivateHost(host.to_string()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        url.set_query(None);
        url.set_fragment(None);
        corrections.push(Correction::QueryDropped);
    }
    let to = base_path_of(url.path(), product)?;
    if url.path() != to {
        corrections.push(Correction::PathReplaced { from: url.path().to_owned(), to: to.clone() });
        url.set_path(&to);
    }
    Ok((url, corrections))
}

/// `https://rest` or `http://rest`, whatever number of slashes was written.
fn with_scheme(text: &str, corrections: &mut Vec<Correction>) -> Result<String, UrlFault> {
    if text.is_empty() {
        return Err(UrlFault::Empty);
    }
    let (before, after) = text.split_once(':').unwrap_or((text, ""));
    let scheme = before.to_ascii_lowercase();
    if scheme == "https" || scheme == "http" {
        let rest = after.trim_start_matches(['/', '\\']);
        if after.len() - rest.len() != 2 {
            corrections.push(Correction::SlashesMended);
        }
        return Ok(format!("{scheme}://{rest}"));
    }
    let is_word = !before.is_empty() && before.chars().all(|c| c.is_ascii_alphanumeric() || "+-".contains(c));
    if is_word && !after.is_empty() && !after.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(UrlFault::Scheme(scheme));
    }
    corrections.push(Correction::SchemeAdded);
    Ok(format!("https://{}", text.trim_start_matches(['/', '\\'])))
}

fn base_path_of(path: &str, product: Product) -> Result<String, UrlFault> {
    let base = product.base();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let Some(first) = segments.first().map(|first| first.to_ascii_lowercase()) else {
        return Ok(product.base_path());
    };
    if product.panel_pages().contains(&first.as_str()) {
        return Ok(product.base_path());
    }
    if segments.ends_with(&base) {
        return Ok(format!("/{}", segments.join("/")));
    }
    Err(UrlFault::UnknownPath { path: path.to_owned(), base: product.base_path() })
}

/// Whether a host is one that only this machine or this network reaches, by its name or number.
pub fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => is_private_v4(*address),
        Host::Ipv6(address) => is_private_v6(*address),
        Host::Domain(name) => is_private_name(name),
    }
}

/// A single label, and the suffixes set apart for local use (RFC 6761, 6762, 8375; `.internal` by ICANN; `.lan` by habit).
fn is_private_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let local = ["localhost", "local", "internal", "lan", "home.arpa", "intranet"];
    !name.contains('.') || local.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')))
}

/// Whether an address is not one of the public internet: private, local, shared, set apart, or one of those mapped into IPv6.
pub fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let carrier_grade_nat = first == 100 && (64..128).contains(&second);
    let benchmark = first == 198 && (second == 18 || second == 19);
    let protocols = address.octets()[..3] == [192, 0, 0];
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || carrier_grade_nat
        || benchmark
        || protocols
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let is_site_local = segments[0] & 0xffc0 == 0xfec0;
    let is_local_nat64 = segments[..3] == [0x64, 0xff9b, 1];
    let embedded = match segments {
        // Mapped; compatible, which `::` and `::1` are of; NAT64 (RFC 6052); 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(v4(high, low))
        }
        _ => None,
    };
    embedded.is_some_and(is_private_v4)
        || address.is_loopback()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || is_site_local
        || is_local_nat64
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}
