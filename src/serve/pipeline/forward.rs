//! Forward: waits for a connection from the caller's share, signs the request, sends it to managed MLflow, and retries
//! it where that is harmless.

use crate::http::body::Body;
use crate::serve::artifacts::translate;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::body::ReadyRequest;
use crate::serve::pipeline::forwarded::Forwarded;
use crate::serve::pipeline::route::Routed;
use crate::serve::upstream::mlflow::MlflowRequest;

/// Forwards a request.
///
/// # Errors
/// [`ProxyError`] if there is no response.
pub(super) async fn forward(ready: ReadyRequest<'_>) -> Result<Forwarded, ProxyError> {
    // Used where it is: a future keeps room for an argument, so parts that were moved out of it would have room twice.
    let prepared = ready.prepared;
    let Routed { scope, upstream, .. } = &prepared.authorized.routed;
    let method = scope.request.method();
    let request = MlflowRequest {
        method,
        path_and_query: &prepared.path_and_query,
        fields: ready.fields,
        body: &ready.body,
        sha256: &ready.sha256,
    };
    let response = upstream.send(request, scope.context).await;
    if let Body::Streaming(streaming) = &ready.body {
        scope.context.log.received(streaming.sent(), None);
    }
    let response = response?;
    let translation = match &prepared.store {
        Some(store) => translate::of_response(&response, ready.places, store)?,
        None => None,
    };
    Ok(prepared.forwarded(response, translation))
}
