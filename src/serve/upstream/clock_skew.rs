//! Recognises AWS's refusal of a signature for its time, and takes AWS's time from it.

use std::time::SystemTime;

use actix_web::http::StatusCode;
use actix_web::http::header;
use tracing::warn;

use crate::clock;
use crate::http::client::Response;
use crate::serve::upstream::backend::ServedTarget;

/// True if the answer refuses a request, signed for `signed`, for its time alone: then nothing was done, and another
/// signature will have a time that AWS accepts.
///
/// The status and `Date` say enough; the words of the refusal differ between AWS's services.
#[must_use]
pub(crate) fn is_refused_for_its_time(response: &Response, signed: SystemTime, backend: &ServedTarget) -> bool {
    if response.status != StatusCode::FORBIDDEN {
        return false;
    }
    let date = response.headers.get(header::DATE).and_then(|value| value.to_str().ok());
    let Some(there) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return false };
    let is_learnt = backend.skew.learn(there, clock::now(), signed);
    if is_learnt {
        warn!(
            mlflow = backend.label(),
            aws_is_ahead_s = backend.skew.seconds(),
            hint = "synchronise this machine's clock (on EC2 with 169.254.169.123)",
            "clock skew detected: signatures use the time of AWS"
        );
    }
    is_learnt
}
