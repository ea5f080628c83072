//! The authorities and certificates that a connection trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite};

/// The cipher suites for upstreams, in the order of browsers and of BoringSSL, which an upstream without an order of its own follows.
/// rustls' default has AES-256 first: it takes 14 rounds for each block instead of 10, and nobody can break either.
static CIPHER_SUITES: [SupportedCipherSuite; 9] = [
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The reason why certificates could not be used, before anything was connected.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read or is not PEM.
    #[error("cannot read certificates from `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of reading it.
        source: rustls::pki_types::pem::Error,
    },
    /// The file was read, but holds no certificate.
    #[error("`{}` holds no certificate", .0.display())]
    Empty(PathBuf),
    /// A certificate that is not one.
    #[error("`{}` holds a certificate that cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error of the certificate.
        source: rustls::Error,
    },
    /// Neither the system nor the file has an authority. Every connection would fail later, and less clearly.
    #[error("no certificate authorities were found on this system")]
    NoRoots,
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// When the file cannot be read, is not PEM, or holds no certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unreadable = |source| TrustError::Unreadable { path: path.to_owned(), source };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(TrustError::Empty(path.to_owned()));
    }
    Ok(certificates)
}

/// The authorities in a PEM file.
pub(super) fn read_authorities(path: &Path) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|source| TrustError::Unusable { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client configuration that trusts the system's authorities and, beside them, those of `extra`.
///
/// The system's are found as OpenSSL finds them; `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.
///
/// # Errors
/// [`TrustError`]; nothing has been connected.
pub fn client_config(extra: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = extra.map_or_else(|| Ok(RootCertStore::empty()), read_authorities)?;
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TrustError::NoRoots);
    }
    let provider = CryptoProvider { cipher_suites: CIPHER_SUITES.to_vec(), ..rustls::crypto::ring::default_provider() };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::DEFAULT_CIPHER_SUITES;

    use super::*;

    #[test]
    fn only_the_order_of_the_cipher_suites_is_ours() {
        assert_eq!(CIPHER_SUITES.len(), DEFAULT_CIPHER_SUITES.len());
        assert!(DEFAULT_CIPHER_SUITES.iter().all(|suite| CIPHER_SUITES.contains(suite)));
    }
}
