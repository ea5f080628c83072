//! Forward: sends a request to managed MLflow, which signs it, retries where that is harmless, and waits for its turn.

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
    let ReadyRequest { prepared, fields, body, sha256, places } = ready;
    let Routed { scope, upstream, .. } = &prepared.authorized.routed;
    let method = scope.request.method();
    let request = MlflowRequest { method, target: &prepared.target, fields, body: &body, sha256: &sha256 };
    let response = upstream.send(request, scope.context).await;
    if let Body::Streaming(passing) = &body {
        scope.context.log.received(passing.passed(), None);
    }
    let response = response?;
    let translation =
        prepared.store.as_ref().and_then(|store| translate::of_response(&response.headers, places, store));
    Ok(prepared.forwarded(response, translation))
}
