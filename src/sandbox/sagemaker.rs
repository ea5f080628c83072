//! The two calls of the SageMaker API that say where an MLflow keeps its artifacts, with signatures checked.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use ring::digest;
use serde_json::{Value, json};

use super::identity::{Issuer, Principal};
use super::s3;
use super::verify::{self, Received, Refusal, Service};
use crate::clock;
use crate::mlflow::arn::Mode;
use crate::mlflow::target::Target;

/// The pretended control plane.
pub(super) struct SageMaker {
    pub(super) issuer: Issuer,
    pub(super) targets: Vec<Target>,
}

/// Answers any request.
pub(super) async fn handle(api: web::Data<SageMaker>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    match describe(&api, &request, &body) {
        Ok(answer) => HttpResponse::Ok().content_type("application/x-amz-json-1.1").body(answer.to_string()),
        Err(refusal) => HttpResponse::build(refusal.status)
            .content_type("application/x-amz-json-1.1")
            .body(json!({"__type": refusal.code, "message": refusal.message}).to_string()),
    }
}

fn describe(api: &SageMaker, request: &HttpRequest, body: &[u8]) -> Result<Value, Refusal> {
    let sha256 = digest::digest(&digest::SHA256, body);
    let received = Received::new(request, sha256.as_ref());
    let region = api.targets.first().map_or("", |target| target.arn().region());
    let service = Service { name: "sagemaker", region, must_sign: &["x-amz-target"] };
    let principal = verify::verify(&received, &service, &api.issuer, clock::now())?;
    let operation = request.headers().get("x-amz-target").and_then(|name| name.to_str().ok()).unwrap_or_default();
    if principal != Principal::Role {
        let message = format!("User is not authorized to perform: {operation}");
        return Err(refusal(StatusCode::BAD_REQUEST, "AccessDeniedException", message));
    }
    let question: Value = serde_json::from_slice(body).unwrap_or_default();
    let found = match operation {
        "SageMaker.DescribeMlflowTrackingServer" => api.targets.iter().find(|target| {
            let arn = target.arn();
            arn.mode() == Mode::TrackingServer && question["TrackingServerName"] == arn.resource_name()
        }),
        "SageMaker.DescribeMlflowApp" => api.targets.iter().find(|target| question["Arn"] == target.arn().as_str()),
        _ => {
            let message = format!("the sandbox does not know {operation}");
            return Err(refusal(StatusCode::BAD_REQUEST, "UnknownOperationException", message));
        }
    };
    let target =
        found.ok_or_else(|| refusal(StatusCode::BAD_REQUEST, "ResourceNotFound", "There is no such MLflow."))?;
    let arn = target.arn().as_str();
    let store = format!("s3://{}/{}", s3::BUCKET, s3::PREFIX);
    Ok(match target.arn().mode() {
        Mode::TrackingServer => json!({"TrackingServerArn": arn, "ArtifactStoreUri": store}),
        Mode::App => json!({"Arn": arn, "ArtifactStoreUri": store}),
    })
}

fn refusal(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, code, message: message.into() }
}
