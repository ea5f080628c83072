//! A TLS endpoint that behaves like the one that AWS puts before managed MLflow: it rejects every request that is not signed
//! and routed as AWS demands, in the format of AWS. Behind it is a real MLflow.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::identity::{Issuer, Principal};
use super::verify::{self, AwsRejection, ReceivedRequest, SigningScope};
use crate::clock;
use crate::http::body::{BodyLimits, BodyOwner, buffer};
use crate::http::client::{Client, Request};
use crate::http::fields::Fields;
use crate::http::{headers, into_response};
use crate::mlflow::target::Target;

/// The requests that an endpoint has verified and rejected.
#[derive(Debug, Default)]
pub(super) struct Tally {
    verified: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    /// Counts one request.
    pub(super) fn count(&self, is_verified: bool) {
        let counter = if is_verified { &self.verified } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the requests with a valid signature, and the rejected requests.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.verified.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

/// The endpoint of one target.
pub(super) struct Gateway {
    pub(super) target: Target,
    pub(super) issuer: Issuer,
    pub(super) tally: Arc<Tally>,
    pub(super) body_limits: BodyLimits,
    pub(super) mlflow: Client,
    pub(super) mlflow_host: HeaderValue,
}

/// Responds to any request.
pub(super) async fn handle(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let gateway = Rc::clone(request.app_data::<Rc<Gateway>>().expect("set when the server was built"));
    match exchange(&gateway, &request, payload).await {
        Ok(response) => response,
        Err(rejection) => {
            gateway.tally.count(false);
            render(&rejection)
        }
    }
}

async fn exchange(
    gateway: &Gateway,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, AwsRejection> {
    let length = headers::content_length(request.headers());
    let body = buffer(payload, length, &gateway.body_limits, &BodyOwner::default())
        .await
        .map_err(|error| rejection(StatusCode::BAD_REQUEST, "BadRequestException", error.to_string()))?;
    let service = SigningScope {
        name: gateway.target.signing_name(),
        region: gateway.target.arn().region(),
        must_sign: &[gateway.target.arn_header()],
    };
    let received = ReceivedRequest::new(request, &body.sha256);
    let principal = verify::verify(&received, &service, &gateway.issuer, clock::now())?;
    authorize(&gateway.target, principal, request.headers())?;
    gateway.tally.count(true);

    let mut crossing = request.headers().clone();
    headers::keep_end_to_end(&mut crossing);
    for name in [header::AUTHORIZATION, header::CONTENT_LENGTH, header::HOST] {
        crossing.remove(name);
    }
    let mut fields: Fields = crossing.into_iter().collect();
    fields.insert(header::HOST, gateway.mlflow_host.clone());
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let outgoing = Request { method: request.method().clone(), target, headers: &fields, body: &body.body };
    let mut response = gateway.mlflow.send(outgoing).await.map_err(|error| {
        rejection(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailableException",
            format!("MLflow behind the sandbox: {error}"),
        )
    })?;
    let mut fields = std::mem::take(&mut response.headers);
    headers::keep_end_to_end(&mut fields);
    fields.remove(header::CONTENT_LENGTH);
    Ok(into_response(response.status, fields, response.announced, response.body))
}

/// Checks that the role calls, with the header that names this target.
fn authorize(target: &Target, principal: Principal, headers: &HeaderMap) -> Result<(), AwsRejection> {
    let named = headers.get(target.arn_header()).and_then(|arn| arn.to_str().ok());
    match (named, principal) {
        // Observed at the real tracking server: without the header it fails without an explanation.
        (None, _) => Err(rejection(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "Internal Server Error")),
        (Some(arn), Principal::Role) if arn == target.arn().as_str() => Ok(()),
        (Some(arn), _) => Err(rejection(
            StatusCode::FORBIDDEN,
            "AccessDeniedException",
            format!("User is not authorized to perform: {} on resource: {arn}", target.required_action()),
        )),
    }
}

fn rejection(status: StatusCode, code: &'static str, message: impl Into<String>) -> AwsRejection {
    AwsRejection { status, code, message: message.into() }
}

/// Renders an error as AWS does: the exception's name in a header, the text in the body.
fn render(rejection: &AwsRejection) -> HttpResponse {
    HttpResponse::build(rejection.status)
        .insert_header(("x-amzn-errortype", rejection.code))
        .json(json!({"message": rejection.message}))
}
