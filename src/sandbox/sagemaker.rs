//! The emulated SageMaker API: the calls that describe an MLflow and its artifact store, and those that open its UI in a browser,
//! with signatures checked. A URL for a browser works once and for a short time, as at AWS.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use ring::digest;
use serde_json::{Value, json};

use super::iam;
use super::identity::{Issuer, Principal, random_text};
use super::s3;
use super::verify::{self, AwsRejection, ReceivedRequest, SigningScope};
use crate::clock;
use crate::mlflow::arn::Mode;
use crate::mlflow::target::Target;

/// The path of URLs for browsers.
const BROWSER_PATH: &str = "/auth";
const TICKET: &str = "authToken=";
/// The default in seconds, by the service's model, as are the two ranges.
const DEFAULT_LIFETIME: u64 = 300;
const LIFETIMES: RangeInclusive<u64> = 5..=300;
const SESSIONS: RangeInclusive<u64> = 1800..=43_200;

/// The emulated control plane.
pub(super) struct SageMaker {
    pub(super) issuer: Issuer,
    pub(super) targets: Vec<Target>,
    /// The URL of the API itself.
    pub(super) url: String,
    /// The URL to which an accepted browser is redirected.
    pub(super) mlflow: String,
    /// The tickets of URLs, with their expiry.
    pub(super) tickets: Mutex<HashMap<String, Instant>>,
}

/// Responds to any request.
pub(super) async fn handle(api: web::Data<SageMaker>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    if request.method() == Method::GET && request.path() == BROWSER_PATH {
        return api.open_ui(request.query_string());
    }
    match answer(&api, &request, &body) {
        Ok(answer) => HttpResponse::Ok().content_type("application/x-amz-json-1.1").body(answer.to_string()),
        Err(rejection) => HttpResponse::build(rejection.status)
            .content_type("application/x-amz-json-1.1")
            .body(json!({"__type": rejection.code, "message": rejection.message}).to_string()),
    }
}

fn answer(api: &SageMaker, request: &HttpRequest, body: &[u8]) -> Result<Value, AwsRejection> {
    let sha256 = digest::digest(&digest::SHA256, body);
    let received = ReceivedRequest::new(request, sha256.as_ref());
    let region = api.targets.first().map_or("", |target| target.arn().region());
    let service = SigningScope { name: "sagemaker", region, must_sign: &["x-amz-target"] };
    let principal = verify::verify(&received, &service, &api.issuer, clock::now())?;
    let operation = request.headers().get("x-amz-target").and_then(|name| name.to_str().ok()).unwrap_or_default();
    if principal != Principal::Role {
        let message = format!("User is not authorized to perform: {}", operation.replace("SageMaker.", "sagemaker:"));
        return Err(rejection("AccessDeniedException", message));
    }
    let parameters: Value = serde_json::from_slice(body).unwrap_or_default();
    match operation {
        "SageMaker.DescribeMlflowTrackingServer" | "SageMaker.DescribeMlflowApp" => {
            Ok(described(api.find(operation, &parameters)?))
        }
        "SageMaker.CreatePresignedMlflowTrackingServerUrl" | "SageMaker.CreatePresignedMlflowAppUrl" => {
            api.find(operation, &parameters)?;
            api.presign(&parameters)
        }
        _ => Err(rejection("UnknownOperationException", format!("the sandbox does not know {operation}"))),
    }
}

fn described(target: &Target) -> Value {
    let arn = target.arn().as_str();
    let store = format!("s3://{}/{}", s3::BUCKET, s3::PREFIX);
    match target.arn().mode() {
        Mode::TrackingServer => json!({
            "TrackingServerArn": arn,
            "ArtifactStoreUri": store,
            "RoleArn": iam::SERVICE_ROLE_ARN,
            "TrackingServerStatus": "Created",
            "IsActive": "Active",
        }),
        Mode::App => {
            json!({"Arn": arn, "ArtifactStoreUri": store, "RoleArn": iam::SERVICE_ROLE_ARN, "Status": "Created"})
        }
    }
}

impl SageMaker {
    /// Returns the target that a request names: by name or by ARN, depending on its mode.
    fn find(&self, operation: &str, parameters: &Value) -> Result<&Target, AwsRejection> {
        let is_meant = |target: &&Target| {
            let arn = target.arn();
            match arn.mode() {
                Mode::TrackingServer => {
                    operation.contains("TrackingServer") && parameters["TrackingServerName"] == arn.resource_name()
                }
                Mode::App => operation.contains("App") && parameters["Arn"] == arn.as_str(),
            }
        };
        let found = self.targets.iter().find(is_meant);
        found.ok_or_else(|| rejection("ResourceNotFound", "There is no such MLflow."))
    }

    fn presign(&self, parameters: &Value) -> Result<Value, AwsRejection> {
        let within = |name: &str, allowed: &RangeInclusive<u64>| match parameters.get(name) {
            None => Ok(None),
            Some(given) => given.as_u64().filter(|seconds| allowed.contains(seconds)).map(Some).ok_or_else(|| {
                let message = format!("Value '{given}' at '{name}' failed to satisfy constraint: {allowed:?}");
                rejection("ValidationException", message)
            }),
        };
        let lifetime = within("ExpiresInSeconds", &LIFETIMES)?.unwrap_or(DEFAULT_LIFETIME);
        within("SessionExpirationDurationInSeconds", &SESSIONS)?;
        let ticket = random_text(64, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef");
        let now = Instant::now();
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, end| *end > now);
        tickets.insert(ticket.clone(), now + Duration::from_secs(lifetime));
        Ok(json!({"AuthorizedUrl": format!("{}{BROWSER_PATH}?{TICKET}{ticket}", self.url)}))
    }

    fn open_ui(&self, query: &str) -> HttpResponse {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let end = query.split('&').find_map(|part| part.strip_prefix(TICKET)).and_then(|ticket| tickets.remove(ticket));
        if end.is_some_and(|end| end > Instant::now()) {
            HttpResponse::SeeOther().insert_header((header::LOCATION, self.mlflow.as_str())).finish()
        } else {
            HttpResponse::Forbidden().content_type("text/plain").body("This URL has been used, or has expired.\n")
        }
    }
}

fn rejection(code: &'static str, message: impl Into<String>) -> AwsRejection {
    AwsRejection { status: StatusCode::BAD_REQUEST, code, message: message.into() }
}
