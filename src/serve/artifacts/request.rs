//! A request to the artifact gateway with everything that serves it, and the gateway's response.

use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use crate::aws::sigv4::EMPTY_SHA256;
use crate::http::body::{Body, BodyLimits};
use crate::http::client::Response;
use crate::http::{headers, uri};
use crate::serve::context::RequestContext;
use crate::serve::error::ProxyError;
use crate::serve::offload::offload;
use crate::serve::upstream::mlflow::{MlflowClient, MlflowRequest};
use crate::serve::upstream::s3::S3Client;

/// The limit of a document with which managed MLflow describes one entity. Bytes.
const DOCUMENT_LIMIT: usize = 4 << 20;

/// One request to the gateway.
pub(crate) struct ArtifactRequest<'a> {
    pub mlflow: &'a MlflowClient,
    pub s3: &'a S3Client,
    pub body_limits: &'a BodyLimits,
    pub request: &'a HttpRequest,
    /// The part of the caller's path that names the target.
    pub prefix: &'a str,
    /// The path and query as managed MLflow would know them, in normal form.
    pub path_and_query: &'a str,
    pub context: &'a RequestContext,
    /// If this is true, the appliance requests artifacts outside of the store from managed MLflow.
    pub may_be_elsewhere: bool,
}

/// The gateway's response.
pub(crate) enum ArtifactResponse {
    /// A response of the gateway itself.
    Own(HttpResponse),
    /// An object, or a part of it, on its way from S3, and its file name.
    Object { response: Box<Response>, name: String },
    /// Managed MLflow's response to the question about a run, a model or a trace.
    Upstream(Box<Response>),
    /// The artifact is elsewhere, and managed MLflow may know more about it.
    Elsewhere(web::Payload),
}

impl ArtifactResponse {
    pub(crate) fn json(value: &Value) -> Self {
        Self::Own(HttpResponse::Ok().json(value))
    }

    /// Returns a response with JSON that has been written already.
    pub(crate) fn text(json: String) -> Self {
        Self::Own(HttpResponse::Ok().content_type(header::ContentType::json()).body(json))
    }
}

impl ArtifactRequest<'_> {
    /// Takes a permit for a connection to S3 from the caller's share.
    pub(crate) async fn take_share(&self) -> Result<(), ProxyError> {
        let (connections, permits) = (&self.s3.connections, &self.context.permits);
        Ok(permits.store.take(&connections.callers, permits.caller_key(), connections.share()).await?)
    }

    /// Requests a document from managed MLflow. A response other than 200 is for the caller.
    pub(crate) async fn ask(&self, path_and_query: &str) -> Result<Result<Value, Box<Response>>, ProxyError> {
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
        // SECURITY: an id from a caller may be `..`; everything that is signed must pass the same normalisation.
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let path_and_query = uri::joined(&uri::normalize_path(path)?, query);
        let (method, body, sha256) = (&Method::GET, &Body::None, EMPTY_SHA256);
        let request = MlflowRequest { method, path_and_query: &path_and_query, fields, body, sha256 };
        let response = self.mlflow.send(request, self.context).await?;
        if response.status != StatusCode::OK {
            return Ok(Err(response));
        }
        let bytes = response.body.collect(DOCUMENT_LIMIT).await.map_err(ProxyError::Document)?;
        // SECURITY: a caller who sends an upload slowly would otherwise hold a place of managed MLflow for all that time.
        self.context.permits.leave_target();
        let value = offload(bytes.len(), move || serde_json::from_slice(&bytes)).await?;
        Ok(Ok(value.map_err(|_| ProxyError::UnreadableDocument)?))
    }
}
