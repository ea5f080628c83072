//! Tests whether the identity may read from the target, with one real call that is signed like callers' requests.

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;

use super::finding::Finding;
use super::settings::ProbeTarget;
use crate::api::{ApiError, SignedRequest};
use crate::aws::credentials::CurrentCredentials;
use crate::error_chain;
use crate::mlflow::arn::Mode;

const CHECK: &str = "target";
/// A path that exists in every MLflow and returns little.
const PATH: &str = "/api/2.0/mlflow/experiments/search?max_results=1";

/// Asks for one experiment.
pub(super) async fn probe(subject: &ProbeTarget, credentials: &CurrentCredentials) -> Finding {
    let (target, name) = (&subject.target, subject.name.as_str());
    let arn = target.arn().as_str();
    let call = SignedRequest {
        endpoint: subject.transport.dialer.endpoint(),
        region: target.arn().region(),
        service: target.signing_name(),
        method: Method::GET,
        target: PATH,
        content_type: None,
        routing: Some((target.arn_header(), arn)),
        body: Bytes::new(),
    };
    match subject.transport.signed(call, credentials).await {
        Ok(answer) if answer.status == StatusCode::OK => match serde_json::from_slice::<Value>(&answer.body) {
            Ok(Value::Object(_)) => Finding::ok(CHECK, name, format!("`{arn}` can be read")),
            _ => Finding::failure(
                CHECK,
                name,
                "the response is not from MLflow",
                "check `upstream-endpoint`: another program listens there",
            ),
        },
        Ok(answer) => refused(subject, answer.status, &answer.body),
        Err(error @ ApiError::Credentials(_)) => {
            Finding::failure(CHECK, name, error_chain::joined(&error), "see the credentials above")
        }
        Err(error) => Finding::failure(CHECK, name, error_chain::joined(&error), "see the connection above"),
    }
}

fn refused(subject: &ProbeTarget, status: StatusCode, body: &[u8]) -> Finding {
    let (target, name) = (&subject.target, subject.name.as_str());
    let arn = target.arn().as_str();
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["message", "Message"].into_iter().find_map(|key| answer[key].as_str()).unwrap_or("no reason given");
    let text = format!("`{arn}` cannot be read: {} {said}", status.as_u16());
    let whose = subject.role.as_ref().map_or("this machine's role", |role| role.arn.as_str());
    let fix = match (status, target.arn().mode()) {
        (StatusCode::FORBIDDEN, _) if said.contains("signature") || said.contains("Signature") => {
            "check this machine's clock, and that nothing between here and AWS changes requests".to_owned()
        }
        (StatusCode::FORBIDDEN, Mode::TrackingServer) => format!(
            "allow `sagemaker-mlflow:SearchExperiments` (or `sagemaker-mlflow:*`) on `{arn}` in the policy of {whose}"
        ),
        (StatusCode::FORBIDDEN, Mode::App) => format!(
            "allow `sagemaker:CallMlflowAppApi` on `{arn}` in the policy of {whose}; `sagemaker-mlflow:*` does nothing \
             for an app"
        ),
        (StatusCode::NOT_FOUND, _) => "check the ARN: its account, region and name".to_owned(),
        (status, Mode::TrackingServer) if status.is_server_error() => {
            "check that the tracking server is running: `aws sagemaker describe-mlflow-tracking-server`".to_owned()
        }
        (status, Mode::App) if status.is_server_error() => {
            "check that the app exists and is `Created` or `Updated`: `aws sagemaker describe-mlflow-app`".to_owned()
        }
        _ => "try again; if it persists, look at the AWS Health Dashboard of the region".to_owned(),
    };
    Finding::failure(CHECK, name, text, fix)
}
