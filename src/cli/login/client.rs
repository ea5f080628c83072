//! The requests of `login` and `logout` to an appliance.

use std::path::Path;
use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;

use super::address::ApplianceUrl;
use crate::cli::command_error::{CommandError, ExitClass};
use crate::cli::trust::{Trust, dialer};
use crate::http::client::{Dialer, ServiceClient, ServiceLimits, ServiceResponse};
use crate::http::fields::Fields;

/// An appliance answers within seconds, even if it reloads its tokens first.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The description of a token has some hundred bytes.
const BODY_LIMIT: usize = 64 * 1024;
const ITSELF: &str = "/_appliance/tokens/self";

/// The connection to an appliance.
pub(super) struct ApplianceClient {
    url: ApplianceUrl,
    dialer: Dialer,
}

/// The answer to a question about a token.
pub(super) enum Answer {
    /// The appliance accepts the token, and describes it.
    Accepted(Value),
    /// The appliance does not accept it, or not yet.
    Unknown,
}

impl ApplianceClient {
    /// Prepares the connection.
    pub(super) fn new(url: &ApplianceUrl, ca_file: Option<&Path>) -> Result<Self, CommandError> {
        let trust = Trust::read(ca_file)?;
        Ok(Self { url: url.clone(), dialer: dialer(&url.endpoint, &trust.tls, &trust.egress.proxies) })
    }

    /// Asks whether the appliance accepts a token.
    pub(super) async fn ask(&self, token: &str) -> Result<Answer, CommandError> {
        let answer = self.send(Method::GET, token).await?;
        match answer.status {
            StatusCode::OK => match serde_json::from_slice(&answer.body) {
                Ok(accepted) => Ok(Answer::Accepted(accepted)),
                Err(_) => Err(self.unexpected(&answer)),
            },
            StatusCode::UNAUTHORIZED => Ok(Answer::Unknown),
            _ => Err(self.unexpected(&answer)),
        }
    }

    /// Revokes a token. Returns false if the appliance does not accept it any more.
    pub(super) async fn revoke(&self, token: &str) -> Result<bool, CommandError> {
        let answer = self.send(Method::DELETE, token).await?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(true),
            StatusCode::UNAUTHORIZED => Ok(false),
            _ => Err(self.unexpected(&answer)),
        }
    }

    async fn send(&self, method: Method, token: &str) -> Result<ServiceResponse, CommandError> {
        let limits =
            ServiceLimits { exchange_timeout: ANSWER_LIMIT, keep_alive: Duration::ZERO, body_limit: BODY_LIMIT };
        let mut headers = Fields::new();
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            CommandError::of(
                ExitClass::Usage,
                "the token has characters that no token has",
                Some("copy the token again"),
            )
        })?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let client = ServiceClient::new(self.dialer.clone(), limits);
        let answer = client.exchange(method, &self.url.target(ITSELF), headers, Bytes::new()).await;
        answer.map_err(|error| {
            let hint = "check the address, and the network between here and the appliance; `--ca-file` names authorities to trust";
            CommandError::new(ExitClass::Failed, &error, Some(hint))
        })
    }

    fn unexpected(&self, answer: &ServiceResponse) -> CommandError {
        let (page, status) = (self.url.page(ITSELF), answer.status.as_u16());
        let code = answer.headers.get("x-appliance-error").and_then(|code| code.to_str().ok());
        let message = serde_json::from_slice::<Value>(&answer.body)
            .ok()
            .and_then(|body| Some(body["message"].as_str()?.to_owned()));
        let (class, what, hint) = match (status, code) {
            (404, Some("no-such-page")) => (
                ExitClass::Configuration,
                "this appliance has no personal tokens".to_owned(),
                "its operator can allow them with `--personal-tokens`",
            ),
            (403, Some("wrong-credential")) => (
                ExitClass::Configuration,
                "this is not a personal token, but one of the operator".to_owned(),
                "the operator revokes it with `appliance token revoke`",
            ),
            (_, Some(_)) => (
                ExitClass::Failed,
                format!("the appliance answered {status}: {}", message.unwrap_or_default()),
                "do what the message says, and run the command again",
            ),
            (_, None) => (
                ExitClass::Configuration,
                format!("`{page}` answered {status}, but not as an appliance does"),
                "check the address; a program in front, such as a load balancer, must let requests with `Authorization` pass",
            ),
        };
        CommandError::of(class, &what, Some(hint))
    }
}
