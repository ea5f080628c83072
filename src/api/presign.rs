//! The SageMaker API: a URL that lets one browser into the UI of a managed MLflow, once.

use std::time::Duration;

use actix_web::http::StatusCode;
use secrecy::SecretString;
use serde_json::Value;

use super::error::ApiError;
use super::transport::Transport;
use super::{json, sagemaker};
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::Endpoint;
use crate::mlflow::arn::Mode;
use crate::mlflow::target::Target;

/// The lifetimes of a URL until it is opened, in seconds, by the service's model.
pub const URL_LIFETIME: std::ops::RangeInclusive<u64> = 5..=300;
/// The lifetimes of a browser's session, in seconds, by the service's model.
pub const SESSION_LIFETIME: std::ops::RangeInclusive<u64> = 1800..=43_200;

/// The lifetimes; AWS chooses those that are not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// The lifetime of the URL until it is opened.
    pub url: Option<Duration>,
    /// The lifetime of the browser's session from then on.
    pub session: Option<Duration>,
}

/// The reason why there is no URL.
#[derive(Debug, thiserror::Error)]
pub enum PresignError {
    /// The service did not answer.
    #[error("the SageMaker API did not answer")]
    Unanswered(#[from] ApiError),
    /// The identity has no permission.
    #[error("the SageMaker API refuses {operation}: {message}")]
    Denied {
        /// The operation.
        operation: &'static str,
        /// AWS's message.
        message: String,
    },
    /// There is no such MLflow.
    #[error("there is no such MLflow: {0}")]
    Missing(String),
    /// AWS answered with another error.
    #[error("the SageMaker API answered {operation} with {status} ({code}): {message}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The status of the answer.
        status: StatusCode,
        /// AWS's name for the error.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// The response contains no URL that is safe for a browser.
    #[error("the SageMaker API's response contains no HTTPS URL")]
    NoUrl,
}

/// The operation that makes a URL for this mode; with `sagemaker:` before it, the IAM action.
#[must_use]
pub fn operation(mode: Mode) -> &'static str {
    match mode {
        Mode::TrackingServer => "CreatePresignedMlflowTrackingServerUrl",
        Mode::App => "CreatePresignedMlflowAppUrl",
    }
}

/// Asks for a URL. It grants access to anyone who has it, so it is a secret.
///
/// # Errors
/// [`PresignError`].
pub async fn url(
    target: &Target,
    endpoint: &Endpoint,
    transport: &Transport,
    credentials: &CurrentCredentials,
    lifetimes: Lifetimes,
) -> Result<SecretString, PresignError> {
    let arn = target.arn();
    let mut input = sagemaker::about(arn);
    for (name, lifetime) in
        [("ExpiresInSeconds", lifetimes.url), ("SessionExpirationDurationInSeconds", lifetimes.session)]
    {
        if let Some(lifetime) = lifetime {
            input[name] = lifetime.as_secs().into();
        }
    }
    let operation = operation(arn.mode());
    let (status, answer) = sagemaker::ask(arn, (operation, &input), endpoint, transport, credentials).await?;
    if status != StatusCode::OK {
        let (code, message) = (json::error_code(&answer), json::error_message(&answer));
        return Err(match code.as_str() {
            "AccessDeniedException" | "AccessDenied" => PresignError::Denied { operation, message },
            "ResourceNotFound" | "ResourceNotFoundException" => PresignError::Missing(message),
            _ => PresignError::Refused { operation, status, code, message },
        });
    }
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let url = answer["AuthorizedUrl"].as_str().filter(|url| is_for_a_browser(url)).ok_or(PresignError::NoUrl)?;
    Ok(SecretString::from(url))
}

/// SECURITY: the URL is passed to another program as an argument, and printed on a terminal. Neither must misread it.
fn is_for_a_browser(url: &str) -> bool {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
    host.is_some_and(|host| !host.is_empty() && !host.contains('@')) && url.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_https_url_goes_to_a_browser() {
        for url in ["https://app-x.mlflow.sagemaker.eu-west-1.app.aws/auth?authToken=a.b-c_d", "https://localhost:1/"] {
            assert!(is_for_a_browser(url), "{url}");
        }
        for url in [
            "",
            "http://a.aws/",
            "https://",
            "https:///auth",
            "https://a.aws@evil.example/",
            "--new-window",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://a.aws/ b",
            "https://a.aws/\u{1b}[31m",
        ] {
            assert!(!is_for_a_browser(url), "{url}");
        }
    }
}
