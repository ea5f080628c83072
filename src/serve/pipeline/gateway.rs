//! Gateway: writes public artifact locations as real ones, and answers requests for artifacts from S3. All other requests
//! continue to managed MLflow.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use actix_web::web;

use crate::http::client::Response;
use crate::http::uri;
use crate::mlflow::locations::{self, Locations};
use crate::serve::artifacts;
use crate::serve::artifacts::request::{ArtifactRequest, ArtifactResponse};
use crate::serve::artifacts::route::{self, ArtifactRoute};
use crate::serve::artifacts::translate::{self, Translation};
use crate::serve::error::ProxyError;
use crate::serve::pipeline::authorize::Authorized;
use crate::serve::pipeline::forwarded::Forwarded;
use crate::serve::pipeline::route::Routed;
use crate::serve::upstream::s3::S3Client;

/// An authorized request as its target knows it.
pub(super) struct Prepared<'a> {
    pub authorized: Authorized<'a>,
    /// The target's artifact store; nothing if the gateway is off.
    pub store: Option<Rc<S3Client>>,
    /// The places of artifact locations in the bodies of this route's requests and responses.
    pub locations: Locations,
    /// Path and query, with real artifact locations.
    pub path_and_query: String,
}

/// Finds the target's artifact store, with the caller's own credentials if each caller has some, and with the request's trace.
///
/// # Errors
/// [`ProxyError`] if the store is not known yet, or there are no credentials for it.
pub(super) async fn store(authorized: &Authorized<'_>) -> Result<Option<Rc<S3Client>>, ProxyError> {
    let routed = &authorized.routed;
    let Some(shared) = routed.upstream.store()? else { return Ok(None) };
    let mut store = Rc::clone(shared);
    if routed.upstream.served.caller_sessions.is_some() {
        let credentials = routed.upstream.served.credentials_for(Some(routed.caller)).await?;
        store = Rc::new(store.signing_for(&routed.caller.source_identity(), credentials.into_owned()));
    }
    if let Some(trace) = &routed.scope.context.log.trace {
        store = Rc::new(store.traced(Rc::clone(trace)));
    }
    Ok(Some(store))
}

/// Prepares a request for its target.
pub(super) fn prepare(authorized: Authorized<'_>, store: Option<Rc<S3Client>>) -> Prepared<'_> {
    let Routed { path, query, .. } = &authorized.routed;
    let (locations, path_and_query) = match &store {
        Some(store) => {
            let locations = locations::of(path.as_str());
            (locations, uri::joined(path.sent(), &translate::of_query(query, locations.request, store)))
        }
        None => (Locations::default(), uri::joined(path.sent(), query)),
    };
    Prepared { authorized, store, locations, path_and_query }
}

/// Finds the store and the route of a request for an artifact, which S3 answers. Any other request goes to managed MLflow.
///
/// # Errors
/// [`ProxyError::ArtifactMethod`].
pub(super) fn artifact_route<'a>(
    prepared: &'a Prepared<'_>,
) -> Result<Option<(&'a S3Client, ArtifactRoute<'a>)>, ProxyError> {
    let Some(store) = &prepared.store else { return Ok(None) };
    let Routed { scope, path, .. } = &prepared.authorized.routed;
    Ok(route::route(scope.request.method(), path.as_str())?.map(|route| (&**store, route)))
}

/// Answers a request for an artifact. One for an artifact outside of the store goes to managed MLflow, too.
///
/// # Errors
/// [`ProxyError`].
pub(super) async fn answer_from_s3(
    prepared: &Prepared<'_>,
    (store, route): (&S3Client, ArtifactRoute<'_>),
    payload: web::Payload,
) -> Result<ControlFlow<Forwarded, web::Payload>, ProxyError> {
    let Routed { scope, upstream, prefix, .. } = prepared.authorized.routed;
    // Calls to S3 have many places, and each may be one of several, so the client itself adds up their time.
    let time = Rc::new(Cell::new(Duration::ZERO));
    let s3 = store.timed(Rc::clone(&time));
    let request = ArtifactRequest {
        mlflow: upstream,
        s3: &s3,
        body_limits: &scope.worker.body_limits,
        request: scope.request,
        prefix,
        path_and_query: &prepared.path_and_query,
        context: scope.context,
        may_be_elsewhere: prepared.may_be_elsewhere(),
    };
    request.take_share().await?;
    let answer = artifacts::answer(route, request, payload).await;
    scope.context.log.called_s3(time.get(), answer.is_ok());
    Ok(match answer? {
        ArtifactResponse::Own(response) => ControlFlow::Break(Forwarded::Own(response)),
        ArtifactResponse::Object { response, name } => ControlFlow::Break(Forwarded::Object { response, name }),
        ArtifactResponse::Upstream(response) => ControlFlow::Break(prepared.forwarded(response, None)),
        ArtifactResponse::Elsewhere(payload) => {
            scope.context.permits.store.release();
            ControlFlow::Continue(payload)
        }
    })
}

impl Prepared<'_> {
    /// True if the spans in the body could name locations that the caller must not name.
    #[must_use]
    pub(super) fn depends_on_spans(&self) -> bool {
        self.store.is_some() && !self.may_be_elsewhere() && locations::takes_spans(self.authorized.routed.path.as_str())
    }

    /// True if managed MLflow may be asked for artifacts outside of the store.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        let artifacts = self.authorized.routed.upstream.served.artifacts.as_ref();
        artifacts.is_some_and(|artifacts| artifacts.may_be_elsewhere)
    }

    /// The result of forwarding the request to managed MLflow.
    pub(super) fn forwarded(&self, response: Box<Response>, translation: Option<Translation>) -> Forwarded {
        let Routed { upstream, prefix, .. } = &self.authorized.routed;
        Forwarded::Mlflow {
            response,
            prefix: (*prefix).to_owned(),
            required_action: upstream.served.target.required_action(),
            translation,
        }
    }
}
