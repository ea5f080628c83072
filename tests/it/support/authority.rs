//! A certificate authority for the tests' servers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};

/// The authority, as a file to trust and as a maker of servers.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

/// One for all tests.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

impl Authority {
    /// Another one.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        Self { issuer: Issuer::new(parameters, key), file }
    }

    /// A PEM file to trust.
    pub fn file(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    /// PEM text of a certificate for these names, and of its key.
    pub fn pair(&self, names: Vec<SanType>) -> (String, String) {
        self.pair_for(names, None)
    }

    /// The same for a certificate that ends soon, if a time is given.
    pub fn pair_for(&self, names: Vec<SanType>, lifetime: Option<Duration>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.subject_alt_names = names;
        if let Some(lifetime) = lifetime {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            parameters.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970 + lifetime;
        }
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A client that trusts this authority and presents a certificate, if one is given as PEM.
    pub fn client(&self, pair: Option<&(String, String)>, protocols: &[&str]) -> Arc<ClientConfig> {
        client(self.file.path(), pair, protocols)
    }

    /// TLS for a server that is `name` and offers `protocols`.
    pub fn server(&self, name: &str, protocols: &[&str]) -> Arc<ServerConfig> {
        self.server_until(name, protocols, 4096)
    }

    /// The same with a certificate that ends with a year.
    pub fn server_until(&self, name: &str, protocols: &[&str], year: i32) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 12, 31);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A client that trusts the authority of a PEM file.
pub fn trusting(file: &Path) -> Arc<ClientConfig> {
    client(file, None, &[])
}

fn client(authority: &Path, pair: Option<&(String, String)>, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    // A resumed session would not show the certificate of the moment.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}
