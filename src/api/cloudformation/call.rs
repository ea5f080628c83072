//! One call, with all that may stand in its way: throttling, an outage, credentials that expire meanwhile.

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::super::Signed;
use super::super::xml::Element;
use super::{CloudFormation, CloudFormationError, Delay};
use crate::backoff::Backoff;
use crate::http::uri;

const VERSION: &str = "2010-05-15";
/// Throttled and failing calls are repeated after waits that double, from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));
const ATTEMPTS: u32 = 6;
/// Credentials that have expired are renewed meanwhile; those that cannot be are not worth more.
const ATTEMPTS_AFTER_EXPIRY: u32 = 3;
/// After so long without an answer it is said that there is none yet.
const SILENCE: Duration = Duration::from_secs(5);

impl CloudFormation<'_> {
    /// Asks, again where that may help, and says what takes long.
    pub(super) async fn call(
        &self,
        operation: &'static str,
        given: &[(&str, &str)],
    ) -> Result<String, CloudFormationError> {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        let mut attempt = 1;
        loop {
            let error = match self.heard(operation, given).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let of = if error.is_expiry() { ATTEMPTS_AFTER_EXPIRY } else { ATTEMPTS };
            if attempt >= of || !error.may_pass() {
                return Err(error);
            }
            if error.is_expiry() {
                self.credentials.renew();
            }
            attempt += 1;
            let wait = backoff.wait();
            (self.delayed)(&Delay::Repetition { operation, error: &error, wait, attempt, of });
            sleep(wait).await;
        }
    }

    /// Asks once, and says while there is no answer.
    async fn heard(&self, operation: &'static str, given: &[(&str, &str)]) -> Result<String, CloudFormationError> {
        let since = Instant::now();
        let mut answer = std::pin::pin!(self.once(operation, given));
        loop {
            match timeout(SILENCE, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) => (self.delayed)(&Delay::Silence { operation, waited: since.elapsed() }),
            }
        }
    }

    async fn once(&self, operation: &'static str, given: &[(&str, &str)]) -> Result<String, CloudFormationError> {
        let mut form = format!("Action={operation}&Version={VERSION}");
        for (name, text) in given {
            form.extend(["&", *name, "=", &uri::encoded(text)]);
        }
        let call = Signed {
            endpoint: &self.endpoint,
            region: self.region,
            service: "cloudformation",
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
        Err(CloudFormationError::Refused { operation, code, message })
    }
}
