//! The client certificate of a connection: the names in it, for as long as it holds.
//!
//! TLS verifies a certificate when a connection begins, and a connection can last for ever. So its end is looked at with
//! each request, and it is verified again once other authorities are trusted.

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

/// The certificate of a connection.
pub(crate) struct Certificate {
    names: Vec<String>,
    chain: Vec<CertificateDer<'static>>,
    /// When the first certificate of the chain ceases to hold.
    end: SystemTime,
    /// The authorities that have verified it.
    verified: Cell<Generation>,
}

/// Notes who is at the other end of a new connection.
pub(crate) fn note(chain: &[CertificateDer<'_>], data: &mut Extensions) {
    let Some(own) = chain.first() else { return };
    let ends = chain.iter().map(certificate::end).collect::<Result<Vec<_>, _>>();
    match (certificate::names(own), ends) {
        (Ok(names), Ok(ends)) => {
            let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
            let end = ends.into_iter().min().unwrap_or(SystemTime::UNIX_EPOCH);
            data.insert(Rc::new(Certificate { names, chain, end, verified: Cell::default() }));
        }
        (Err(error), _) | (_, Err(error)) => warn!(%error, "a client certificate is passed over"),
    }
}

/// The certificate of a request's connection.
#[must_use]
pub(crate) fn of(request: &HttpRequest) -> Option<Rc<Certificate>> {
    connection::data(request)
}

impl Certificate {
    /// The names in it.
    ///
    /// # Errors
    /// [`AccessError::Certificate`] if it does not hold any more. A new connection with it would be refused.
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
