//! TLS towards callers: a certificate that can be replaced while running, and client certificates.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::alpn::{HTTP1, HTTP2};
use super::certificate;
use super::client_verifier::{ClientVerifier, Trusted};
use super::trust::{TrustError, provider, read_authorities, read_certificates};
use crate::regular_file;

/// The files of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// PEM: the certificate, and those between it and an authority.
    pub certificate: PathBuf,
    /// PEM: its private key, in PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// PEM: authorities whose certificates clients may present.
    pub client_authorities: Option<PathBuf>,
    /// True if clients must present a certificate.
    pub is_client_certificate_required: bool,
}

/// The reason why a listener's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file of certificates.
    #[error(transparent)]
    Certificates(#[from] TrustError),
    /// The key cannot be read.
    #[error("cannot read `{}`", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The error of reading it.
        source: io::Error,
    },
    /// There is no key in the file, or none that can be used.
    #[error("`{}` holds no private key in PEM that can be used", .0.display())]
    NoKey(PathBuf),
    /// The key belongs to another certificate.
    #[error("the key in `{}` does not belong to the certificate in `{}`", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// A file cannot be reloaded.
    #[error("cannot reload `{}`", path.display())]
    Unreloadable {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: io::Error,
    },
    /// The authorities cannot be used to check clients.
    #[error("`{}` cannot be used to check client certificates", path.display())]
    Verifier {
        /// The file.
        path: PathBuf,
        /// The error of the authorities.
        source: rustls::server::VerifierBuilderError,
    },
}

/// The certificate that a listener presents and the clients that it trusts, shared with later handshakes.
#[derive(Clone)]
pub struct ServerTls {
    files: ServerFiles,
    identity: Arc<ServerIdentity>,
    clients: Option<Arc<ClientVerifier>>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`ServerTlsError`].
    pub fn load(files: ServerFiles) -> Result<Self, ServerTlsError> {
        let identity = Arc::new(ServerIdentity(ArcSwap::new(read_identity(&files)?)));
        let clients = read_verifier(&files)?.map(|trusted| Arc::new(ClientVerifier::new(trusted)));
        Ok(Self { files, identity, clients })
    }

    /// Reloads the files for later handshakes. Returns true if the certificate is another one.
    ///
    /// # Errors
    /// [`ServerTlsError`]; what was in use stays in use.
    pub fn reload(&self) -> Result<bool, ServerTlsError> {
        // SECURITY: this runs on the thread of all background tasks, and a named pipe would stop them.
        let files = [Some(&self.files.certificate), Some(&self.files.key), self.files.client_authorities.as_ref()];
        for path in files.into_iter().flatten() {
            regular_file::check(path).map_err(|source| ServerTlsError::Unreloadable { path: path.clone(), source })?;
        }
        let identity = read_identity(&self.files)?;
        let trusted = read_verifier(&self.files)?;
        let old = self.identity.0.swap(identity);
        if let (Some(clients), Some(trusted)) = (&self.clients, trusted) {
            clients.replace(trusted);
        }
        Ok(old.cert != self.identity.0.load().cert)
    }

    /// The begin and the end of the certificate's validity; nothing if it cannot be read.
    #[must_use]
    pub fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        self.certificate().and_then(|certificate| certificate::validity(&certificate).ok())
    }

    /// The certificate that callers are shown now.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.identity.0.load().cert.first().cloned()
    }

    /// The generation of the trusted authorities. A handshake may have been verified by an earlier one.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.clients
            .as_ref()
            .map_or(Generation::default(), |clients| Generation(clients.changes.load(Ordering::Acquire)))
    }

    /// True if a client with this chain would be accepted now.
    #[must_use]
    pub fn verifies(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> bool {
        let (Some(clients), Some((end_entity, intermediates))) = (&self.clients, chain.split_first()) else {
            return false;
        };
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        clients.verify_client_cert(end_entity, intermediates, now).is_ok()
    }

    /// True if clients without a certificate are rejected.
    #[must_use]
    pub fn is_client_certificate_required(&self) -> bool {
        self.files.client_authorities.is_some() && self.files.is_client_certificate_required
    }

    /// The configuration for a listener.
    #[must_use]
    pub fn config(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring supports TLS 1.2 and 1.3");
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::<ClientVerifier>::clone(clients)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::<ServerIdentity>::clone(&self.identity));
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        if self.clients.is_some() {
            // SECURITY: a resumed session is not verified again, so it could outlive the trust in its certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config
    }
}

fn read_identity(files: &ServerFiles) -> Result<Arc<CertifiedKey>, ServerTlsError> {
    let chain = read_certificates(&files.certificate)?;
    let unreadable = |source| ServerTlsError::Key { path: files.key.clone(), source };
    let unusable = || ServerTlsError::NoKey(files.key.clone());
    let pem = Zeroizing::new(fs::read(&files.key).map_err(unreadable)?);
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable())?;
    let key = provider().key_provider.load_private_key(key).map_err(|_| unusable())?;
    let identity = CertifiedKey::new(chain, key);
    identity
        .keys_match()
        .map_err(|_| ServerTlsError::Mismatch { key: files.key.clone(), certificate: files.certificate.clone() })?;
    Ok(Arc::new(identity))
}

fn read_verifier(files: &ServerFiles) -> Result<Option<Trusted>, ServerTlsError> {
    let Some(path) = &files.client_authorities else { return Ok(None) };
    let authorities = read_authorities(path)?;
    let roots = authorities.roots.clone();
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider());
    let builder = if files.is_client_certificate_required { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|source| ServerTlsError::Verifier { path: path.clone(), source })?;
    Ok(Some(Trusted { roots, verifier }))
}

/// The number of times that the trusted authorities have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

/// Presents the current certificate.
#[derive(Debug)]
struct ServerIdentity(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn write(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn files_that_do_not_match_are_rejected_and_the_old_ones_stay_in_use() {
        let directory = tempfile::tempdir().expect("a directory");
        let pair = || {
            let key = KeyPair::generate().expect("a key");
            let certificate =
                CertificateParams::new(["localhost".into()]).expect("a name").self_signed(&key).expect("signed");
            (certificate.pem(), key.serialize_pem())
        };
        let (one, other) = (pair(), pair());
        let files = ServerFiles {
            certificate: write(&directory, "certificate.pem", &one.0),
            key: write(&directory, "key.pem", &one.1),
            client_authorities: None,
            is_client_certificate_required: false,
        };
        let tls = ServerTls::load(files.clone()).expect("loaded");
        assert!(tls.validity().is_some());
        assert!(matches!(tls.reload(), Ok(false)));
        write(&directory, "key.pem", &other.1);
        assert!(matches!(tls.reload(), Err(ServerTlsError::Mismatch { .. })));
        write(&directory, "certificate.pem", &other.0);
        assert!(matches!(tls.reload(), Ok(true)));
        write(&directory, "key.pem", "nothing");
        assert!(matches!(tls.reload(), Err(ServerTlsError::NoKey(_))));
        let missing = ServerFiles { key: directory.path().join("missing"), ..files.clone() };
        assert!(matches!(ServerTls::load(missing), Err(ServerTlsError::Key { .. })));
        let empty = write(&directory, "empty.pem", "");
        let authorities = ServerFiles { client_authorities: Some(empty), ..files };
        write(&directory, "key.pem", &other.1);
        assert!(matches!(ServerTls::load(authorities), Err(ServerTlsError::Certificates(TrustError::Empty(_)))));
    }
}
