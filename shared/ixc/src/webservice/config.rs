//! The settings of one source of kind `ixc`, checked before the first request.

use regua_domain::configuration::url::{Product, Url, UrlFault, normalise_url};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use thiserror::Error;

/// Settings of the client.
#[derive(Clone, Debug)]
pub struct IxcConfig {
    /// The ERP's address: `https://erp.example`, or what the browser shows there (interface, rule **URL**).
    pub base_url: String,
    /// The token as the ERP shows it: `<user>:<secret>`.
    pub token: SecretString,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long one request may take, connection and body included.
    pub request_timeout: Duration,
    /// The most bytes of one answer.
    pub body_bytes_max: usize,
    /// Rows per page, 1 to 1000: big pages provoke 504 (contracts §2.1).
    pub page_size: u16,
    /// Lets the address be plain http or private (simulators, an ERP in the same network).
    pub allow_private: bool,
}

impl IxcConfig {
    /// The defaults: 5 s to connect, 60 s a request, 16 MiB a body, 500 rows a page, only public https.
    pub fn new(base_url: impl Into<String>, token: SecretString) -> Self {
        Self {
            base_url: base_url.into(),
            token,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_mins(1),
            body_bytes_max: 16 << 20,
            page_size: 500,
            allow_private: false,
        }
    }

    /// The base of all resources, without a slash at its end.
    pub(super) fn base(&self) -> Result<Url, ConfigError> {
        let (base, _) = normalise_url(&self.base_url, Product::Ixc, self.allow_private).map_err(ConfigError::Url)?;
        Ok(base)
    }

    /// User and secret of the token.
    pub(super) fn user_and_secret(&self) -> Result<(String, SecretString), ConfigError> {
        let token = self.token.expose_secret().trim();
        let (user, secret) = token.split_once(':').ok_or(ConfigError::Token)?;
        let printable = token.bytes().all(|byte| byte.is_ascii_graphic());
        if user.is_empty() || secret.is_empty() || !printable {
            return Err(ConfigError::Token);
        }
        Ok((user.to_owned(), SecretString::from(secret)))
    }

    pub(super) fn check_bounds(&self) -> Result<(), ConfigError> {
        if !(1..=1000).contains(&self.page_size) {
            return Err(ConfigError::PageSize { found: self.page_size });
        }
        if self.body_bytes_max < 4096 {
            return Err(ConfigError::BodyBytes { found: self.body_bytes_max });
        }
        if self.connect_timeout.is_zero() || self.request_timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        Ok(())
    }
}

/// What is wrong with the settings by themselves. No variant holds the token.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not the address of a webservice, or a private one that is not allowed.
    #[error(
        "the ERP's address can't be used; write it as https://erp.example (REGUA_ALLOW_PRIVATE_URLS=true allows http and private hosts)"
    )]
    Url(#[source] UrlFault),
    /// Not `<user>:<secret>`.
    #[error("the ERP's token must be `<user>:<secret>`, as the ERP shows it, without spaces")]
    Token,
    /// Out of bounds.
    #[error("rows per page must be 1 to 1000, found {found}")]
    PageSize {
        /// What was set.
        found: u16,
    },
    /// Too small for one row.
    #[error("the bound of a body must be at least 4096 bytes, found {found}")]
    BodyBytes {
        /// What was set.
        found: usize,
    },
    /// A zero time-out.
    #[error("the time-outs of the ERP must be longer than zero")]
    Timeout,
    /// The TLS stack refused to start.
    #[error("the HTTP client of the ERP can't start")]
    Client(#[source] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, allow_private: bool) -> IxcConfig {
        IxcConfig { allow_private, ..IxcConfig::new(url, SecretString::from("1:abc")) }
    }

    #[test]
    fn an_address_becomes_the_base_of_the_resources() {
        for url in
            ["https://erp.example", "erp.example/", " https:/erp.example/webservice/v1/ ", "https://erp.example/adm.php?x=1"]
        {
            assert_eq!(
                config(url, false).base().expect("a valid address").as_str(),
                "https://erp.example/webservice/v1",
                "{url}"
            );
        }
        let simulator = config("http://127.0.0.1:8081", true).base().expect("an allowed address");
        assert_eq!(simulator.as_str(), "http://127.0.0.1:8081/webservice/v1");
    }

    #[test]
    fn an_address_that_is_not_public_https_is_refused_unless_allowed() {
        for url in [
            "http://erp.example",
            "https://127.0.0.1",
            "https://localhost",
            "https://[::ffff:10.0.0.1]",
            "https://u:p@erp.example",
        ] {
            assert!(matches!(config(url, false).base(), Err(ConfigError::Url(_))), "{url}");
        }
    }

    #[test]
    fn a_token_has_a_user_and_a_secret_and_is_never_shown() {
        for token in ["", "abc", ":abc", "1:", "1:a b", "1:á"] {
            let config = IxcConfig { token: SecretString::from(token), ..config("https://erp.example", false) };
            assert!(matches!(config.user_and_secret(), Err(ConfigError::Token)), "{token:?}");
        }
        let config = IxcConfig { token: SecretString::from(" 12:s3cr:et\n"), ..config("https://erp.example", false) };
        let (user, secret) = config.user_and_secret().expect("a valid token");
        assert_eq!((user.as_str(), secret.expose_secret()), ("12", "s3cr:et"));
        assert!(!format!("{config:?}").contains("s3cr"));
    }

    #[test]
    fn bounds_are_checked() {
        let base = config("https://erp.example", false);
        assert!(matches!(IxcConfig { page_size: 0, ..base.clone() }.check_bounds(), Err(ConfigError::PageSize { found: 0 })));
        assert!(matches!(
            IxcConfig { page_size: 1001, ..base.clone() }.check_bounds(),
            Err(ConfigError::PageSize { found: 1001 })
        ));
        assert!(matches!(IxcConfig { body_bytes_max: 1, ..base.clone() }.check_bounds(), Err(ConfigError::BodyBytes { .. })));
        assert!(matches!(
            IxcConfig { request_timeout: Duration::ZERO, ..base.clone() }.check_bounds(),
            Err(ConfigError::Timeout)
        ));
        assert!(base.check_bounds().is_ok());
    }
}
