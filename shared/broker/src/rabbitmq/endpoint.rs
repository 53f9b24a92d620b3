//! The broker URL, parsed once. It holds a password: nothing here prints it, and no error repeats any part of it.

use crate::BrokerError;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use url::{Host, Url};

/// How often both sides show that they live, in seconds; a silence of twice that ends the connection. `?heartbeat=` overrides it.
const HEARTBEAT_S: u16 = 10;
/// What may follow `?` (the RabbitMQ URI query parameters that lapin reads).
const PARAMETERS: [&str; 4] = ["heartbeat", "channel_max", "frame_max", "auth_mechanism"];

/// Where RabbitMQ is and who we are there.
pub(super) struct Endpoint {
    uri: AMQPUri,
}

impl Endpoint {
    /// Parses `amqp[s]://[user[:password]@]host[:port][/vhost][?parameters]`. An absent or empty vhost is `/`.
    pub(super) fn parse(url: &SecretString) -> Result<Self, BrokerError> {
        let text = url.expose_secret().trim();
        let parsed = Url::parse(text).map_err(|_| fault("can't be parsed"))?;
        let scheme = match parsed.scheme() {
            "amqp" => AMQPScheme::AMQP,
            "amqps" => AMQPScheme::AMQPS,
            _ => return Err(fault("has an unknown scheme")),
        };
        // lapin's parser reads `[::1]` and a missing host as `localhost`.
        let host = match parsed.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Domain(_)) | None => return Err(fault("has no host")),
        };
        if parsed.port() == Some(0) {
            return Err(fault("has port 0"));
        }
        if parsed.fragment().is_some() {
            return Err(fault("has a `#`"));
        }
        if parsed.path().matches('/').count() > 1 {
            return Err(fault("has more than one `/` after the host (a `/` in the vhost is `%2f`)"));
        }
        if parsed.query_pairs().any(|(key, _)| !PARAMETERS.contains(&key.as_ref())) {
            return Err(fault("has an unknown parameter (heartbeat, channel_max, frame_max, auth_mechanism are known)"));
        }
        let mut uri: AMQPUri = text.parse().map_err(|_| fault("has a part that can't be decoded"))?;
        let AMQPAuthority { userinfo, port, .. } = uri.authority;
        uri.authority = AMQPAuthority { userinfo, host, port };
        uri.scheme = scheme;
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        Ok(Self { uri })
    }

    /// Host and port where no TLS is spoken.
    pub(super) fn plain_address(&self) -> Option<(String, u16)> {
        let AMQPAuthority { host, port, .. } = &self.uri.authority;
        (self.uri.scheme == AMQPScheme::AMQP).then(|| (host.clone(), *port))
    }

    /// What lapin connects to, password included.
    pub(super) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }
}

/// Host and port: what a person needs to find the server.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uri.authority.host, self.uri.authority.port)
    }
}

fn fault(fault: &'static str) -> BrokerError {
    BrokerError::Url { fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, BrokerError> {
        Endpoint::parse(&SecretString::from(url))
    }

    #[track_caller]
    fn check(url: &str, host: &str, port: u16, user: &str, password: &str, vhost: &str) {
        let uri = parse(url).unwrap_or_else(|error| panic!("{url}: {error}")).uri();
        let AMQPAuthority { userinfo, host: parsed_host, port: parsed_port } = uri.authority;
        assert_eq!(
            (parsed_host.as_str(), parsed_port, userinfo.username.as_str(), userinfo.password.as_str(), uri.vhost.as_str()),
            (host, port, user, password, vhost),
            "{url}"
        );
    }

    #[test]
    fn every_part_is_read() {
        check("amqp://rabbit", "rabbit", 5672, "guest", "guest", "/");
        check("amqps://rabbit", "rabbit", 5671, "guest", "guest", "/");
        check("amqp://rabbit/", "rabbit", 5672, "guest", "guest", "/");
        check("amqp://u:p@10.0.0.1:5673/regua", "10.0.0.1", 5673, "u", "p", "regua");
        check("amqp://u:p%40%2F@rabbit/%2f", "rabbit", 5672, "u", "p@/", "/");
        check("amqp://[::1]:5673", "::1", 5673, "guest", "guest", "/");
    }

    #[test]
    fn the_heartbeat_has_a_default_and_can_be_chosen() {
        assert_eq!(parse("amqp://rabbit").expect("good").uri().query.heartbeat, Some(HEARTBEAT_S));
        assert_eq!(parse("amqp://rabbit?heartbeat=30").expect("good").uri().query.heartbeat, Some(30));
    }

    #[test]
    fn a_malformed_url_is_refused_with_what_was_expected_and_without_any_part_of_it() {
        for url in [
            "",
            "memory",
            "s3cret",
            "postgres://u:s3cret@rabbit",
            "amqp:u:s3cret@rabbit",
            "amqp://",
            "amqp:///s3cret",
            "amqp://u:s3cret@rabbit:99999",
            "amqp://u:s3cret@rabbit:0",
            "amqp://u:s3#cret@rabbit",
            "amqp://u:%ff@rabbit/s3cret",
            "amqp://u:s3cret@rabbit/a/b",
            "amqp://u:s3cret@rabbit?heartbeat=s3cret",
            "amqp://u:s3cret@rabbit?s3cret=1",
        ] {
            let error = parse(url).err().unwrap_or_else(|| panic!("{url} was accepted")).to_string();
            assert!(error.contains("expected `memory:`, or `amqp://`"), "{url}: {error}");
            assert!(!error.contains("s3"), "{url}: {error}");
        }
    }
}
