//! The client certificate of a connection: the names in it, for as long as it is valid.
//!
//! TLS verifies a certificate when a connection begins, and a connection can last for ever. So each request checks the end of
//! its validity, and a reload of the trusted authorities makes it be verified again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::SystemTime;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use rustls::pki_types::CertificateDer;
use tracing::warn;

use crate::http::tls::certificate;
use crate::http::tls::server::{Generation, ServerTls};
use crate::serve::auth::error::AccessError;
use crate::serve::server::connection;

/// The client certificate of a connection.
pub(crate) struct ClientCertificate {
    names: Vec<String>,
    chain: Vec<CertificateDer<'static>>,
    /// The time when the first certificate of the chain expires.
    end: SystemTime,
    /// The generation of the trusted authorities that have verified it.
    verified: Cell<Generation>,
}

/// Stores the client certificate of a new connection.
pub(crate) fn note(chain: &[CertificateDer<'_>], data: &mut Extensions) {
    let Some(own) = chain.first() else { return };
    let ends = chain.iter().map(certificate::end).collect::<Result<Vec<_>, _>>();
    match (certificate::names(own), ends) {
        (Ok(names), Ok(ends)) => {
            let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
            let end = ends.into_iter().min().unwrap_or(SystemTime::UNIX_EPOCH);
            data.insert(Rc::new(ClientCertificate { names, chain, end, verified: Cell::default() }));
        }
        (Err(error), _) | (_, Err(error)) => warn!(%error, "a client certificate that cannot be read is ignored"),
    }
}

/// Returns the client certificate of a request's connection.
pub(crate) fn of(request: &HttpRequest) -> Option<Rc<ClientCertificate>> {
    connection::data(request)
}

impl ClientCertificate {
    /// Returns the names in it.
    ///
    /// # Errors
    /// [`AccessError::Certificate`] if it is no longer valid. A new connection with it would be rejected.
    pub(crate) fn names(&self, tls: &ServerTls, now: SystemTime) -> Result<&[String], AccessError> {
        let generation = tls.generation();
        if now >= self.end || self.verified.get() != generation {
            if !tls.verifies(&self.chain, now) {
                return Err(AccessError::Certificate);
            }
            self.verified.set(generation);
        }
        Ok(&self.names)
    }
}
