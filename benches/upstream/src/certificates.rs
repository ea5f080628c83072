//! An authority that exists as long as the process, and this machine's certificate from it.

use std::error::Error;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::PrivateKeyDer;

pub(crate) struct Certificates {
    /// The certificate that the proxies trust.
    pub(crate) authority_pem: String,
    pub(crate) server: ServerConfig,
}

pub(crate) fn make() -> Result<Certificates, Box<dyn Error>> {
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "benchmark authority");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let mut server = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der())?)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    // AWS resumes sessions with tickets, as any number of servers behind one name do.
    server.ticketer = Ticketer::new()?;
    Ok(Certificates { authority_pem, server })
}
