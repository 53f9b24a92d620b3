//! How a request leaves for an address that an operator wrote: once, straight, and to a public host over TLS unless private ones are allowed.
//!
//! A public name may lead into the provider's own network, today or after the next answer of its name server. So the rule is held to where
//! the connection is made: the addresses that a name has at that moment are the only ones that are connected to, and the private ones among
//! them are dropped. (An address that is a number is judged where it is read, by `normalise_url`: it leads nowhere else.)

use regua_domain::configuration::url::is_private_address;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A connection idle for longer is not used again: shorter than the 5 s after which Node.js closes it, which would make doubt (F24).
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// The name leads to a private address, and those are not allowed.
#[derive(Debug, Error)]
#[error("the name leads to a private address; for a host in your own network set REGUA_ALLOW_PRIVATE_URLS=true")]
pub struct PrivateAddress;

/// A client that follows no redirect, repeats nothing by itself and takes no proxy from the environment. Without `allow_private`
/// (`REGUA_ALLOW_PRIVATE_URLS`) it speaks only https, and only to public addresses.
pub fn builder(allow_private: bool) -> ClientBuilder {
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .pool_idle_timeout(POOL_IDLE_TIMEOUT);
    if allow_private { builder } else { builder.https_only(true).dns_resolver(Arc::new(PublicResolver)) }
}

/// How long a glance may take.
const GLANCE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server answers to one plain request, without any token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// The HTTP status.
    pub status: u16,
    /// Its `Date`, as it stands there.
    pub date: Option<String>,
    /// The body, as far as it was asked for.
    pub body: Vec<u8>,
}

/// Looks at an address: one GET that says nothing of us, of whose answer at most `bytes_max` are read.
///
/// # Errors
/// Whatever the request fails with; a name that leads inside, see [`leads_inside`].
pub async fn glance(url: &str, allow_private: bool, bytes_max: usize) -> Result<Glance, reqwest::Error> {
    let client = builder(allow_private).timeout(GLANCE_TIMEOUT).build()?;
    let mut answer = client.get(url).send().await?;
    let date = answer.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    let (status, mut body) = (answer.status().as_u16(), Vec::new());
    while body.len() < bytes_max
        && let Some(chunk) = answer.chunk().await?
    {
        body.extend_from_slice(&chunk[..chunk.len().min(bytes_max - body.len())]);
    }
    Ok(Glance { status, date, body })
}

/// Whether a request failed because its host's name leads to a private address: then nothing of it was written.
pub fn leads_inside(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.into_iter().any(<dyn Error>::is::<PrivateAddress>)
}

/// Resolves names and drops private addresses.
struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            public(found).map(|public| Box::new(public.into_iter()) as Addrs).ok_or_else(|| PrivateAddress.into())
        })
    }
}

/// The public ones of a name's addresses; `None` if there is none.
fn public(found: impl Iterator<Item = SocketAddr>) -> Option<Vec<SocketAddr>> {
    let public: Vec<SocketAddr> = found.filter(|address| !is_private_address(address.ip())).collect();
    (!public.is_empty()).then_some(public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_names_addresses_only_the_public_ones_are_connected_to() {
        let of = |texts: &[&str]| {
            let addresses = texts.iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0));
            public(addresses).map(|public| public.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>())
        };
        let mixed = ["10.0.0.1", "8.8.8.8", "::ffff:192.168.0.1", "64:ff9b::a00:1", "2001:4860:4860::8888", "::1"];
        assert_eq!(of(&mixed), Some(vec!["8.8.8.8".to_owned(), "2001:4860:4860::8888".to_owned()]));
        assert_eq!(of(&["127.0.0.1", "fd00::1"]), None);
        assert_eq!(of(&[]), None);
    }
}
