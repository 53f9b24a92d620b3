//! The base address of one Opa! Suite.

use regua_domain::configuration::url::{Correction, Product, UrlFault, normalise_url};
use std::fmt;
use url::Url;

/// `https://host/api/v1`, from whatever an operator pasted (interface, rule **URL**).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    pub(crate) url: Url,
    /// Whether it may be http or lead to a private address.
    pub(crate) allow_private: bool,
}

impl BaseUrl {
    /// The base address in `text`, and what had to be changed in it, which is told to the operator.
    ///
    /// `https:/host/atendente`, `https://host/atendente/…` and `host` all become `https://host/api/v1`. Without `allow_private`
    /// (`REGUA_ALLOW_PRIVATE_URLS`) plain http and hosts that only this machine or network reaches are refused: here by what the host is called,
    /// and when it is connected to by the addresses that its name has.
    ///
    /// # Errors
    /// See [`UrlFault`].
    pub fn parse(text: &str, allow_private: bool) -> Result<(Self, Vec<Correction>), UrlFault> {
        let (url, corrections) = normalise_url(text, Product::OpaSuite, allow_private)?;
        Ok((Self { url, allow_private }, corrections))
    }

    /// The address as text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Whether the token travels encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The address of a resource; each segment is escaped, and an empty last one gives the trailing slash that some paths have.
    pub(crate) fn resource(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(segments);
        url
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn base(text: &str) -> BaseUrl {
        BaseUrl::parse(text, false).expect("a usable address").0
    }

    #[test]
    fn what_operators_paste_becomes_the_api() {
        for text in [
            "https:/suporte.provedor.com.br/atendente",
            "https://suporte.provedor.com.br/atendente/conversas/1",
            "suporte.provedor.com.br",
            "https://suporte.provedor.com.br/",
            "https://suporte.provedor.com.br/api/v1/",
        ] {
            let (base, corrections) = BaseUrl::parse(text, false).expect("a usable address");
            assert_eq!(base.as_str(), "https://suporte.provedor.com.br/api/v1", "{text}");
            assert!(!corrections.is_empty(), "{text}: the change is told");
            assert_eq!(BaseUrl::parse(base.as_str(), false), Ok((base, vec![])), "{text}: nothing left to change");
        }
    }

    #[test]
    fn http_and_private_hosts_are_refused_unless_allowed() {
        for text in ["http://provedor.com.br", "https://127.0.0.1:8090", "https://localhost", "https://10.0.0.7", "https://[::1]"]
        {
            assert!(BaseUrl::parse(text, false).is_err(), "{text}");
            assert!(BaseUrl::parse(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_id_can_not_leave_its_place_in_a_path() {
        let url = base("provedor.com.br").resource(&["canal-comunicacao", "a/../b?c", "template"]);
        assert_eq!(url.as_str(), "https://provedor.com.br/api/v1/canal-comunicacao/a%2F..%2Fb%3Fc/template");
        assert_eq!(base("provedor.com.br").resource(&["canal-comunicacao", ""]).path(), "/api/v1/canal-comunicacao/");
    }
}
