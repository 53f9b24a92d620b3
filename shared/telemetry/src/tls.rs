//! The TLS provider of the process.

/// Makes `ring` the process's TLS provider; every binary calls it before its first client, and calling it again changes nothing.
///
/// The HTTP clients are built without a provider of their own, so that one is linked and none is chosen by accident.
pub fn install_tls_provider() {
    if let Err(installed) = rustls::crypto::ring::default_provider().install_default() {
        tracing::trace!(suites = installed.cipher_suites.len(), "a TLS provider was already installed");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_provider_can_be_installed_twice() {
        super::install_tls_provider();
        super::install_tls_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
