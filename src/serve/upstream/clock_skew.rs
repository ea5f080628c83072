//! Detects clock skew from a signature that AWS has rejected, and corrects the time of further signatures.

use std::time::SystemTime;

use actix_web::http::StatusCode;
use actix_web::http::header;
use tracing::warn;

use crate::clock;
use crate::http::client::Response;
use crate::serve::upstream::served_target::ServedTarget;

/// Returns true if the response rejects a request, signed for the time `signed`, only because of that time. Then AWS has done
/// nothing, and the next signature will have a time that AWS accepts.
///
/// The status and `Date` are enough to decide that; the texts differ between AWS's services.
pub(crate) fn detect(response: &Response, signed: SystemTime, target: &ServedTarget) -> bool {
    if response.status != StatusCode::FORBIDDEN {
        return false;
    }
    let date = response.headers.get(header::DATE).and_then(|value| value.to_str().ok());
    let Some(there) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return false };
    let is_detected = target.credentials.skew().detect(there, clock::now(), signed);
    if is_detected {
        warn!(
            mlflow = target.label(),
            aws_is_ahead_s = target.credentials.skew().seconds(),
            hint = "synchronise this machine's clock (on EC2 with 169.254.169.123)",
            "clock skew was detected, and signatures now use the time of AWS"
        );
    }
    is_detected
}
