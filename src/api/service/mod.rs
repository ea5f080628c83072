//! A service in AWS's Query protocol, and one call of it with retries for throttling, outages and credentials that expire.

mod error;

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

pub use error::{ServiceError, ServiceResult};

use super::transport::{SignedRequest, Transport};
use crate::aws::credentials::CurrentCredentials;
use crate::backoff::Backoff;
use crate::http::client::Endpoint;
use crate::http::uri;
use crate::xml::Element;

/// Throttled and failing calls are retried after waits that double, from the first to the second of these.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(16));
/// Credentials that have expired are renewed meanwhile; those that cannot be are not worth more.
const ATTEMPTS_AFTER_EXPIRY: u32 = 3;
/// The time without an answer after which a delay is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The names of a service, and the number of attempts that its answers are worth.
#[derive(Clone, Copy, Debug)]
pub struct ServiceDescription {
    /// Its name for people.
    pub title: &'static str,
    /// Its name in signatures.
    pub name: &'static str,
    /// The version of its API.
    pub version: &'static str,
    /// The most attempts of one call.
    pub attempts: u32,
}

/// Signed calls of one service in one region.
#[derive(Clone)]
pub struct QueryService<'a> {
    /// The service.
    pub about: ServiceDescription,
    /// The transport to it.
    pub transport: &'a Transport,
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// The region in signatures.
    pub region: &'a str,
    /// The credentials with which calls are signed.
    pub credentials: &'a CurrentCredentials,
    /// Hears of each delay.
    pub delayed: &'a dyn Fn(&Delay<'_>),
}

/// The reason why there is no answer yet.
pub enum Delay<'a> {
    /// AWS has not answered for some time.
    NoAnswer {
        /// The service, by its name for people.
        service: &'static str,
        /// The operation.
        operation: &'static str,
        /// The time since the call began.
        waited: Duration,
    },
    /// The call will be repeated, since that may help.
    Retry {
        /// The service, by its name for people.
        service: &'static str,
        /// The error of the last attempt.
        error: &'a ServiceError,
        /// The wait before the next attempt.
        wait: Duration,
        /// The number of that attempt, from 1.
        attempt: u32,
        /// The most attempts.
        of: u32,
    },
}

impl QueryService<'_> {
    /// Calls the operation and reads the response: the element `<OperationResult>`, or in EC2's form of the protocol all of it.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub(super) async fn ask(&self, operation: &'static str, given: &[(&str, &str)]) -> Result<Element, ServiceError> {
        let text = self.call(operation, given).await?;
        let root = Element::parse(&text).map_err(|source| ServiceError::Unreadable { operation, source })?;
        let result = format!("{operation}Result");
        let name = if root.find(&result).is_some() { result } else { format!("{operation}Response") };
        Ok(root.take(&name).unwrap_or_default())
    }

    /// Calls the operation, retries where that may help, and reports delays.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub(super) async fn call(&self, operation: &'static str, given: &[(&str, &str)]) -> Result<String, ServiceError> {
        let mut backoff = BACKOFF;
        let mut attempt = 1;
        loop {
            let error = match self.call_once(operation, given).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let of = if error.is_expiry() { ATTEMPTS_AFTER_EXPIRY } else { self.about.attempts };
            if attempt >= of || !error.is_temporary() {
                return Err(error);
            }
            if error.is_expiry() {
                self.credentials.renew();
            }
            attempt += 1;
            let wait = backoff.wait();
            (self.delayed)(&Delay::Retry { service: self.about.title, error: &error, wait, attempt, of });
            sleep(wait).await;
        }
    }

    /// Calls once, and reports while there is no answer.
    async fn call_once(&self, operation: &'static str, given: &[(&str, &str)]) -> Result<String, ServiceError> {
        let since = Instant::now();
        let mut answer = std::pin::pin!(self.send(operation, given));
        loop {
            if let Ok(answer) = timeout(REPORT_INTERVAL, &mut answer).await {
                return answer;
            }
            let service = self.about.title;
            (self.delayed)(&Delay::NoAnswer { service, operation, waited: since.elapsed() });
        }
    }

    async fn send(&self, operation: &'static str, given: &[(&str, &str)]) -> Result<String, ServiceError> {
        let mut form = format!("Action={operation}&Version={}", self.about.version);
        for (name, text) in given {
            form.extend(["&", *name, "=", &uri::encoded(text)]);
        }
        let call = SignedRequest {
            endpoint: &self.endpoint,
            region: self.region,
            service: self.about.name,
            method: Method::POST,
            target: "/",
            content_type: Some("application/x-www-form-urlencoded; charset=utf-8"),
            routing: None,
            body: Bytes::from(form),
        };
        let answer = self.transport.signed(call, self.credentials).await?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status == StatusCode::OK {
            return Ok(text.into_owned());
        }
        let root = Element::parse(&text).unwrap_or_default();
        let words = root.find("Error");
        let code = words.and_then(|words| words.some("Code")).unwrap_or_else(|| answer.status.as_u16().to_string());
        let message = words.map(|words| words.text("Message")).unwrap_or_default();
        Err(ServiceError::Refused { operation, code, message })
    }
}
