//! A certificate authority for one run of the sandbox, and the certificate of its endpoints.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, Error, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// The certificate of the endpoints, and the authority that signed it.
pub(super) struct Certificates {
    /// The certificate authority, for clients that trust the sandbox.
    pub(super) authority_pem: String,
    /// The TLS configuration of the listeners.
    pub(super) server: ServerConfig,
}

/// The reason why the certificates could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Creating them failed.
    #[error(transparent)]
    Make(#[from] Error),
    /// Using them failed.
    #[error(transparent)]
    Use(#[from] rustls::Error),
}

/// Creates an authority and a certificate for this machine.
pub(super) fn make() -> Result<Certificates, CertificateError> {
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "appliance sandbox authority");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let private_key = PrivateKeyDer::try_from(key.serialize_der()).expect("rcgen writes PKCS#8");
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private_key)?;
    Ok(Certificates { authority_pem, server })
}
