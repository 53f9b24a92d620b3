//! A resolver that refuses private addresses: a public name may still point into the provider's own network.

use regua_domain::configuration::url::is_private_address;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::SocketAddr;
use thiserror::Error;

/// The name leads to a private address, and those are not allowed.
#[derive(Debug, Error)]
#[error("the name leads to a private address")]
pub struct PrivateAddress;

/// Resolves names and drops private addresses.
pub struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found.into_iter().filter(|address| !is_private_address(address.ip())).collect();
            if public.is_empty() {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}
