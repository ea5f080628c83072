//! The artifact gateway: MLflow's artifact service on S3, for callers who have no AWS credentials.
//!
//! Managed MLflow names `s3://` locations. Callers get `mlflow-artifacts:/…` instead (`translate`), and the gateway answers what
//! they then request under `/api/2.0/mlflow-artifacts/` (`service`), and the routes with which the UI reads the artifacts of a
//! run, a model or a trace (`entities`). Requests that could make managed MLflow read or write elsewhere are rejected (`translate`, `spans`).

mod entities;
mod listing;
mod multipart;
mod object;
mod parameters;
pub(crate) mod request;
pub(crate) mod route;
mod server_info;
mod service;
pub(crate) mod spans;
pub(crate) mod store_discovery;
pub(crate) mod translate;

use actix_web::web;

use crate::serve::error::ProxyError;
use request::{ArtifactRequest, ArtifactResponse};
use route::ArtifactRoute;

/// Answers a request to the gateway.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(
    route: ArtifactRoute<'_>,
    request: ArtifactRequest<'_>,
    payload: web::Payload,
) -> Result<ArtifactResponse, ProxyError> {
    match route {
        ArtifactRoute::Service(route) => service::answer(route, &request, payload).await,
        ArtifactRoute::Entity(route) => entities::answer(route, &request, payload).await,
        ArtifactRoute::ServerInfo => server_info::answer(&request).await,
    }
}
