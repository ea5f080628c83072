//! The gate that every request passes before anything is done for it: from where, who, to which target, to do what, how
//! much.

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::http::Method;
use rustls::pki_types::CertificateDer;
use tracing::warn;

use super::browser;
use super::callers::refusal::AccessRefusal;
use super::record::Record;
use super::refusal::Refusal;
use super::worker::Worker;
use crate::access::caller::{Caller, Means};
use crate::access::graphql;
use crate::access::routes::{self, UNCLASSIFIED};
use crate::clock;
use crate::http::body::Body;
use crate::http::tls::certificate;

/// Finds out who sent a request.
///
/// # Errors
/// [`AccessRefusal`], as everywhere here within a [`Refusal`].
pub(super) async fn identify(worker: &Worker, request: &HttpRequest, record: &mut Record) -> Result<(), Refusal> {
    let callers = &worker.shared.callers;
    let names = request.conn_data::<CertificateNames>().map_or(&[][..], |names| names.0.as_slice());
    let caller = callers.identify(request.headers(), names, &worker.keys, clock::now()).await?;
    if caller.means == Means::Session && !browser::is_from_own_page(request) {
        return Err(AccessRefusal::Unproven.into());
    }
    record.caller = Some(caller);
    Ok(())
}

/// The names in a connection's client certificate, which TLS has verified.
struct CertificateNames(Vec<String>);

/// Notes who is at the other end of a new connection.
pub(super) fn note_certificate(chain: &[CertificateDer<'_>], data: &mut Extensions) {
    let Some(certificate) = chain.first() else { return };
    match certificate::names(certificate) {
        Ok(names) => drop(data.insert(CertificateNames(names))),
        Err(error) => warn!(%error, "a client certificate is passed over"),
    }
}

/// Decides whether the caller may do this to the target, and counts it.
///
/// # Errors
/// [`AccessRefusal`].
pub(super) fn admit(
    worker: &Worker,
    method: &Method,
    path: &str,
    target: &str,
    record: &mut Record,
) -> Result<(), Refusal> {
    let callers = &worker.shared.callers;
    let route = routes::of(method.as_str(), path);
    record.action = Some(route.action);
    let Some(caller) = &record.caller else { return Err(AccessRefusal::Nothing.into()) };
    if !caller.targets.contains(target) {
        return Err(AccessRefusal::Target.into());
    }
    callers.policy.decide(caller.role, route).map_err(AccessRefusal::Denied)?;
    let permit = match (caller.means, record.client) {
        // Strangers have no name of their own.
        (Means::Anonymous, Some(address)) => callers.meter.admit(&address.to_string()),
        _ => callers.meter.admit(&caller.name),
    };
    record.permit = Some(permit.map_err(AccessRefusal::Excess)?);
    Ok(())
}

/// True if the body has to be looked at to know what is done.
#[must_use]
pub(super) fn depends_on_body(worker: &Worker, path: &str, caller: Option<&Caller>) -> bool {
    let is_free = caller.is_some_and(|caller| worker.shared.callers.policy.allows_everything(caller.role));
    !is_free && routes::is_graphql(path)
}

/// Decides whether the caller may do what the body says.
///
/// # Errors
/// [`AccessRefusal`].
pub(super) fn admit_body(worker: &Worker, body: &Body, query: &str, record: &mut Record) -> Result<(), Refusal> {
    let Some(caller) = &record.caller else { return Err(AccessRefusal::Nothing.into()) };
    let policy = &worker.shared.callers.policy;
    let all = match (body.bytes(), query.is_empty()) {
        (Some(bytes), true) => graphql::routes(bytes),
        // SECURITY: a document in the query could be the one that is executed, and one on disk is not looked at.
        _ => vec![UNCLASSIFIED],
    };
    for route in all {
        record.action = Some(route.action);
        policy.decide(caller.role, route).map_err(AccessRefusal::Denied)?;
    }
    Ok(())
}
