//! The verification of client certificates by authorities that can be replaced while running.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

/// Verifies client certificates by the current authorities.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    trusted: ArcSwap<Trusted>,
    pub(super) changes: AtomicU64,
}

/// Authorities, and the verifier that uses them.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) roots: Vec<TrustAnchor<'static>>,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientVerifier {
    pub(super) fn new(trusted: Trusted) -> Self {
        Self { trusted: ArcSwap::from_pointee(trusted), changes: AtomicU64::new(0) }
    }

    /// Connections are verified again only where it makes a difference: files are read every minute.
    pub(super) fn replace(&self, trusted: Trusted) {
        let old = self.trusted.swap(Arc::new(trusted));
        if old.roots != self.trusted.load().roots {
            // After the swap, so that a verdict of the old authorities never counts as one of the new ones.
            self.changes.fetch_add(1, Ordering::Release);
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    /// No hints: they would have to outlive the authorities they name. Clients then offer what they have.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.trusted.load().verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.load().verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.load().verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusted.load().verifier.supported_verify_schemes()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.trusted.load().verifier.client_auth_mandatory()
    }
}
