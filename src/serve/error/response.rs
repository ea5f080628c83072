//! The response to a request that ends in a proxy error: a status, MLflow-shaped JSON, and no more.
//!
//! MLflow clients read `{"error_code", "message"}`, and retry on 408, 429, 500 and 502 to 504. The cause goes to the log with
//! the request id; it may name files, hosts and roles that a caller need not know.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use crate::serve::auth::error::AccessError;
use crate::serve::error::proxy_error::ProxyError;
use crate::serve::error::s3_error::S3Error;

/// Distinguishes the appliance's own responses from the upstream's. The value is [`ProxyError::error_code`].
const ERROR_HEADER: HeaderName = HeaderName::from_static("x-appliance-error");

/// Seconds after which the client may retry, where the cause passes by itself.
const RETRY_AFTER_S: &str = "5";

#[derive(Serialize)]
struct ErrorBody<'a> {
    error_code: &'a str,
    message: String,
    request_id: &'a str,
}

impl ProxyError {
    /// Makes the response.
    pub(crate) fn response(&self, request_id: &str) -> HttpResponse {
        let mut builder = HttpResponseBuilder::new(self.status());
        builder.insert_header((ERROR_HEADER, self.error_code()));
        if matches!(self, Self::AfterTheLast | Self::Access(AccessError::Certificate)) {
            builder.force_close();
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            builder.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"MLflow\""));
        }
        if let Some(seconds) = self.retry_after() {
            builder.insert_header((header::RETRY_AFTER, seconds));
        }
        builder.json(ErrorBody { error_code: self.mlflow_error_code(), message: self.message(), request_id })
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        if let Self::Access(error) = self
            && let Some(wait) = error.retry_after()
        {
            return Some(whole_seconds(wait));
        }
        if let Self::CircuitOpen(left) | Self::S3(S3Error::CircuitOpen(left)) = self {
            return Some(whole_seconds(*left));
        }
        matches!(
            self.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY
        )
        .then(|| HeaderValue::from_static(RETRY_AFTER_S))
    }
}

/// Rounds up, so that a client never retries too early.
fn whole_seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}
