//! The artifact gateway: MLflow's artifact service on S3, for callers who have no AWS credentials.
//!
//! Managed MLflow hands out `s3://` locations. Callers are told `mlflow-artifacts:/…` instead (`translate`), and what
//! they then ask for under `/api/2.0/mlflow-artifacts/` is answered here (`service`), as are the routes with which the
//! UI reads what belongs to a run, a model or a trace (`located`).

pub(crate) mod describe;
pub(crate) mod failure;
mod located;
mod object;
mod parts;
pub(crate) mod request;
mod route;
mod server_info;
mod service;
pub(crate) mod translate;

use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use crate::aws::sigv4::EMPTY_SHA256;
use crate::http::body::{Body, Intake};
use crate::http::client::Response;
use crate::http::{headers, uri};
use crate::serve::aside::aside;
use crate::serve::context::RequestContext;
use crate::serve::error::ProxyError;
use crate::serve::upstream::mlflow::MlflowClient;

use crate::serve::upstream::s3::S3Client;
pub(crate) use route::{Route, route};

/// One request to the gateway.
pub(crate) struct Exchange<'a> {
    pub upstream: &'a MlflowClient,
    pub store: &'a S3Client,
    pub intake: &'a Intake,
    pub request: &'a HttpRequest,
    /// The part of the caller's path that names the target.
    pub prefix: &'a str,
    /// The path and query as the managed MLflow would know them, in normal form.
    pub target: &'a str,
    pub context: &'a RequestContext,
    /// If this is true, managed MLflow is asked for artifacts outside of the store.
    pub may_be_elsewhere: bool,
}

/// What the gateway has to say.
pub(crate) enum Answer {
    /// An answer of its own.
    Own(HttpResponse),
    /// An object, or a part of it, on its way from S3, and the name of the file that it is.
    Object { response: Response, name: String },
    /// What managed MLflow said when it was asked about a run, a model or a trace.
    Upstream(Response),
    /// The artifact is elsewhere, and managed MLflow may know more about it.
    Elsewhere(web::Payload),
}

impl Answer {
    fn json(value: &Value) -> Self {
        Self::Own(HttpResponse::Ok().json(value))
    }

    /// JSON that has been written already.
    fn text(json: String) -> Self {
        Self::Own(HttpResponse::Ok().content_type(header::ContentType::json()).body(json))
    }
}

/// A document that managed MLflow may answer with when it is asked about one thing. Bytes.
const DOCUMENT_LIMIT: usize = 4 << 20;

impl Exchange<'_> {
    /// Takes the caller's turn to have a connection to S3.
    pub(crate) async fn share(&self) -> Result<(), ProxyError> {
        Ok(self.context.permits.share_store(&self.upstream.store_shares).await?)
    }

    /// Asks managed MLflow for a document. An answer other than 200 is the caller's to see.
    async fn ask(&self, target: &str) -> Result<Result<Value, Response>, ProxyError> {
        let mut fields = headers::for_upstream(self.request.headers());
        headers::ask_for_identity(&mut fields);
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::RANGE,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
        ] {
            fields.remove(&name);
        }
        // SECURITY: an id that a caller gave may be `..`; what is signed goes through the same eye of a needle.
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let target = uri::joined(&uri::normalize_path(path)?, query);
        let body = (&Body::None, EMPTY_SHA256);
        let response = self.upstream.send(&Method::GET, &target, fields, body, self.context).await?;
        if response.status != StatusCode::OK {
            return Ok(Err(response));
        }
        let bytes = response.body.collect(DOCUMENT_LIMIT).await.map_err(ProxyError::Document)?;
        let value = aside(bytes.len(), move || serde_json::from_slice(&bytes)).await?;
        Ok(Ok(value.map_err(|_| ProxyError::UnreadableDocument)?))
    }
}

/// Answers a request to the gateway.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(
    route: Route<'_>,
    exchange: Exchange<'_>,
    payload: web::Payload,
) -> Result<Answer, ProxyError> {
    match route {
        Route::Service(service) => service::answer(service, &exchange, payload).await,
        Route::Located(located) => located::answer(located, &exchange, payload).await,
        Route::ServerInfo => server_info::answer(&exchange).await,
    }
}
