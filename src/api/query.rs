//! Calls in AWS's Query protocol by which an instance reports its start, and asks a load balancer for its health.

use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::error::ApiError;
use super::imds::InstanceIdentity;
use super::transport::{SignedRequest, Transport, value};
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::{Endpoint, ServiceResponse};
use crate::http::fields::Fields;
use crate::http::uri;
use crate::xml::Element;

/// The reason why a call had no effect.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The service did not answer.
    #[error(transparent)]
    Unanswered(#[from] ApiError),
    /// AWS answered with an error.
    #[error("AWS answered {status}: {text}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// The text of the error.
        text: String,
    },
}

impl QueryError {
    /// True if the same call may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Refused { status, text } => {
                status.is_server_error() || status.as_u16() == 429 || text.starts_with("Throttling")
            }
        }
    }
}

/// The health of a target, as a load balancer sees it.
#[derive(Debug)]
pub struct TargetHealth {
    /// Such as `healthy`, `initial` or `unhealthy`.
    pub state: String,
    /// Such as `Target.FailedHealthChecks`.
    pub reason: Option<String>,
    /// AWS's description.
    pub description: Option<String>,
}

/// Elastic Load Balancing `DescribeTargetHealth`, of one instance.
///
/// # Errors
/// [`QueryError`].
pub async fn target_health(
    transport: &Transport,
    (endpoint, region): (&Endpoint, &str),
    group: &str,
    instance: &str,
    credentials: &CurrentCredentials,
) -> Result<TargetHealth, QueryError> {
    let target = target(&[
        ("Action", "DescribeTargetHealth"),
        ("TargetGroupArn", group),
        ("Targets.member.1.Id", instance),
        ("Version", "2015-12-01"),
    ]);
    let health = xml(&signed(transport, (endpoint, region), "elasticloadbalancing", &target, credentials).await?);
    let text = |name| health.find("TargetHealth").and_then(|health| health.text_of(name));
    Ok(TargetHealth {
        state: text("State").unwrap_or_else(|| "unknown".to_owned()),
        reason: text("Reason"),
        description: text("Description"),
    })
}

/// IAM `GetRole`: the trust policy of a role.
///
/// # Errors
/// [`QueryError`].
pub async fn trust_policy(
    transport: &Transport,
    endpoint: &Endpoint,
    role: &str,
    credentials: &CurrentCredentials,
) -> Result<serde_json::Value, QueryError> {
    let target = target(&[("Action", "GetRole"), ("RoleName", role), ("Version", "2010-05-08")]);
    // IAM is in one region of its partition.
    let answer = signed(transport, (endpoint, "us-east-1"), "iam", &target, credentials).await?;
    let policy = xml(&answer).text_of("AssumeRolePolicyDocument").unwrap_or_default();
    let policy = percent_encoding::percent_decode_str(&policy).decode_utf8_lossy().into_owned();
    Ok(serde_json::from_str(&policy).unwrap_or_default())
}

/// CloudFormation `SignalResource`, proven by the instance's identity: no IAM permission is needed, and AWS lets an
/// instance signal for its own stack only. The form is that of `cfn-signal`.
///
/// # Errors
/// [`QueryError`].
pub async fn signal_resource(
    transport: &Transport,
    endpoint: &Endpoint,
    (stack, resource): (&str, &str),
    identity: &InstanceIdentity,
    is_success: bool,
) -> Result<(), QueryError> {
    let status = if is_success { "SUCCESS" } else { "FAILURE" };
    let target = target(&[
        ("Action", "SignalResource"),
        ("ContentType", "JSON"),
        ("LogicalResourceId", resource),
        ("StackName", stack),
        ("Status", status),
        ("UniqueId", &identity.instance),
        ("Version", "2010-05-15"),
    ]);
    let signature: String = identity.signature.split_whitespace().collect();
    let proof = format!("CFN_V1 {}:{signature}", BASE64_STANDARD.encode(&identity.document));
    let mut headers = Fields::new();
    headers.insert(header::ACCEPT, value("application/json"));
    headers.insert(header::AUTHORIZATION, value(&proof));
    accepted(&transport.exchange(endpoint, Method::GET, &target, headers, Bytes::new()).await?)
}

/// Auto Scaling `CompleteLifecycleAction`: the instance goes into service, or is given up.
///
/// # Errors
/// [`QueryError`].
pub async fn complete_lifecycle_action(
    transport: &Transport,
    (endpoint, region): (&Endpoint, &str),
    (group, hook): (&str, &str),
    instance: &str,
    is_success: bool,
    credentials: &CurrentCredentials,
) -> Result<(), QueryError> {
    let target = target(&[
        ("Action", "CompleteLifecycleAction"),
        ("AutoScalingGroupName", group),
        ("InstanceId", instance),
        ("LifecycleActionResult", if is_success { "CONTINUE" } else { "ABANDON" }),
        ("LifecycleHookName", hook),
        ("Version", "2011-01-01"),
    ]);
    signed(transport, (endpoint, region), "autoscaling", &target, credentials).await.map(drop)
}

/// Sends a signed request, and returns the body of a success.
async fn signed(
    transport: &Transport,
    (endpoint, region): (&Endpoint, &str),
    service: &'static str,
    target: &str,
    credentials: &CurrentCredentials,
) -> Result<Bytes, QueryError> {
    let (method, body) = (Method::GET, Bytes::new());
    let call = SignedRequest { endpoint, region, service, method, target, content_type: None, routing: None, body };
    let answer = transport.signed(call, credentials).await?;
    accepted(&answer)?;
    Ok(answer.body)
}

/// The parameters, which are sorted by name, as path and query in normal form.
fn target(parameters: &[(&str, &str)]) -> String {
    let query: Vec<_> = parameters.iter().map(|(name, text)| format!("{name}={}", uri::encoded(text))).collect();
    format!("/?{}", query.join("&"))
}

fn accepted(answer: &ServiceResponse) -> Result<(), QueryError> {
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    Err(QueryError::Refused { status: answer.status, text: error_text(&answer.body) })
}

/// The text of an error: `Code` and `Message` of its XML or JSON.
fn error_text(body: &[u8]) -> String {
    let document = xml(body);
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let field =
        |name: &str| json.pointer(&format!("/Error/{name}")).and_then(serde_json::Value::as_str).map(ToOwned::to_owned);
    let part = |name: &str| document.text_of(name).or_else(|| field(name));
    match (part("Code"), part("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "no reason given".to_owned(),
    }
}

/// Reads a document; an empty one if it is not XML.
pub(super) fn xml(body: &[u8]) -> Element {
    Element::parse(&String::from_utf8_lossy(body)).unwrap_or_default()
}

/// Puts a success or a failure with its reason to the presigned URL of a wait condition's handle.
///
/// # Errors
/// [`QueryError`].
pub async fn signal_wait_handle(
    transport: &Transport,
    endpoint: &Endpoint,
    target: &str,
    instance: &str,
    outcome: Result<(), &str>,
) -> Result<(), QueryError> {
    let body = serde_json::json!({
        "Status": if outcome.is_ok() { "SUCCESS" } else { "FAILURE" },
        "Reason": outcome.err().unwrap_or("the appliance is ready"),
        "UniqueId": instance,
        "Data": "",
    });
    // S3 has signed for an empty content type.
    let body = Bytes::from(body.to_string());
    accepted(&transport.exchange(endpoint, Method::PUT, target, Fields::new(), body).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        assert_eq!(target(&[("A", "x y/z"), ("B", "arn:aws")]), "/?A=x%20y%2Fz&B=arn%3Aaws");
    }

    #[test]
    fn errors_of_either_form_are_read() {
        let xml = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
        assert_eq!(error_text(xml), "AccessDenied: no");
        assert_eq!(
            error_text(b"{\"Error\":{\"Code\":\"Throttling\",\"Message\":\"Rate exceeded\"}}"),
            "Throttling: Rate exceeded"
        );
        assert_eq!(error_text(b"<html>"), "no reason given");
    }
}
