//! A request whose response has ended, as plain values for the log, the metrics and the spans.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actix_web::http::{Method, StatusCode};

use crate::access::caller::Caller;
use crate::labelled::labelled;
use crate::serve::telemetry::error_codes::{CUT_OFF, UPSTREAM_DENIED, UPSTREAM_ERROR};

labelled! {
    /// The end of a request.
    #[derive(Default)]
    pub(crate) enum RequestOutcome {
        /// The client received the whole response.
        Complete = "complete",
        /// The client closed the connection before that.
        #[default]
        CallerGone = "caller-gone",
        /// The upstream closed its connection in the middle of the response.
        Truncated = "truncated",
    }
}

/// The attention that a request needs from the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The request needs no attention, because a load balancer sends such probes several times a minute.
    Probe,
    /// The request needs no more than a line in the log.
    #[default]
    Usual,
    /// The operator has to do something.
    Alarming,
}

/// The time of the calls that the appliance made for one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallTimes {
    /// All calls to managed MLflow, each until the head of its response.
    pub mlflow: Duration,
    /// All calls to S3, with their retries.
    pub s3: Duration,
}

/// A request whose response has ended. It has no query, no header and no body, so that nothing that a caller or AWS
/// considers secret is reported.
#[derive(Clone, Copy)]
pub(crate) struct FinishedRequest<'a> {
    pub request_id: &'a str,
    pub method: &'a Method,
    /// The path without the query.
    pub path: &'a str,
    pub client: Option<IpAddr>,
    pub caller: Option<&'a Caller>,
    /// The name of the issuer of the caller's or of a rejected JWT.
    pub issuer: Option<&'a str>,
    /// The target's index.
    pub target: Option<usize>,
    /// The target's name, if it has one.
    pub target_name: Option<&'a str>,
    /// The action, as in the table of routes.
    pub action: Option<&'static str>,
    /// The id of the personal token that the request makes, revokes or asks about.
    pub token: Option<&'a str>,
    /// True if authentication or authorization rejected the request.
    pub is_denied: bool,
    pub status: Option<StatusCode>,
    /// The code of the proxy error, if the appliance rejected the request.
    pub error_code: Option<&'static str>,
    /// The cause in full, where there is more to say than the fields do.
    pub cause: Option<&'a str>,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the response's body.
    pub sent: u64,
    pub ended: Instant,
    pub total: Duration,
    /// The time from the first byte sent to the upstream to the head of its response.
    pub upstream: Option<Duration>,
    /// The time that the appliance added to that, without waiting for the caller's body.
    pub overhead: Option<Duration>,
    pub calls: CallTimes,
    /// The presigned URLs for downloads and for uploads in the response.
    pub presigned: [u32; 2],
    /// AWS's own id of the request, to quote in a support case.
    pub upstream_request_id: Option<&'a str>,
    /// Attempts after the first.
    pub retries: u32,
    pub outcome: RequestOutcome,
    pub severity: Severity,
}

/// Returns a duration in milliseconds, with the microseconds as decimals.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

impl FinishedRequest<'_> {
    /// True if it failed on the side of the appliance or its upstream.
    pub(crate) fn has_failed(&self) -> bool {
        self.status.is_some_and(|status| status.is_server_error())
    }

    /// True if the operator may have to do something about it.
    pub(crate) fn concerns_operator(&self) -> bool {
        self.has_failed() || self.severity == Severity::Alarming || self.outcome == RequestOutcome::Truncated
    }

    /// True if the appliance itself rejected it because of the client. A 4xx of MLflow is an ordinary response.
    pub(crate) fn is_rejected(&self) -> bool {
        self.error_code.is_some() && self.status.is_some_and(|status| status.is_client_error())
    }

    /// Returns the bytes of an artifact that came from the client, and of one that went there.
    pub(crate) fn artifact_bytes(&self) -> (u64, u64) {
        // A response with a presigned URL contains no byte of the artifact.
        let has_bytes = self.presigned == [0, 0] && self.status.is_some_and(|status| status.is_success());
        match self.action {
            Some("artifacts:upload") if has_bytes => (self.received, 0),
            Some("artifacts:get" | "logged-models:get-artifact") if has_bytes => (0, self.sent),
            _ => (0, 0),
        }
    }

    /// The error code under which it is shown among the recent failures, if it is one.
    pub(crate) fn failure_code(&self) -> Option<&'static str> {
        match (self.error_code, self.status) {
            // A browser without a session is sent to the sign-in page, as it should be.
            (Some(_), Some(status)) if status.is_redirection() => None,
            (Some(code), _) => Some(code),
            _ if self.outcome == RequestOutcome::Truncated => Some(CUT_OFF),
            _ if self.has_failed() => Some(UPSTREAM_ERROR),
            (None, Some(StatusCode::FORBIDDEN)) if self.concerns_operator() => Some(UPSTREAM_DENIED),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl FinishedRequest<'static> {
        /// A request without a caller, a target and an action, which took no time and no bytes.
        pub(crate) fn plain() -> Self {
            Self {
                request_id: "1",
                method: &Method::GET,
                path: "/",
                client: None,
                caller: None,
                issuer: None,
                target: None,
                target_name: None,
                action: None,
                token: None,
                is_denied: false,
                status: None,
                error_code: None,
                cause: None,
                received: 0,
                sent: 0,
                ended: Instant::now(),
                total: Duration::ZERO,
                upstream: None,
                overhead: None,
                calls: CallTimes::default(),
                presigned: [0, 0],
                upstream_request_id: None,
                retries: 0,
                outcome: RequestOutcome::Complete,
                severity: Severity::Usual,
            }
        }
    }

    fn finished(status: u16, error_code: Option<&'static str>) -> FinishedRequest<'static> {
        FinishedRequest { status: StatusCode::from_u16(status).ok(), error_code, ..FinishedRequest::plain() }
    }

    #[test]
    fn only_the_appliance_rejects_requests() {
        for (status, error_code, is_rejected) in [
            (200, None, false),
            (404, None, false),
            (303, Some("unauthenticated"), false),
            (401, Some("unauthenticated"), true),
            (429, Some("rate-limited"), true),
            (502, Some("upstream-closed"), false),
        ] {
            assert_eq!(finished(status, error_code).is_rejected(), is_rejected, "{status} {error_code:?}");
        }
    }

    #[test]
    fn only_failures_are_shown_among_the_recent_failures() {
        let alarming = FinishedRequest { severity: Severity::Alarming, ..finished(403, None) };
        let truncated = FinishedRequest { outcome: RequestOutcome::Truncated, ..finished(200, None) };
        let left = FinishedRequest { outcome: RequestOutcome::CallerGone, ..finished(200, None) };
        for (request, code, concerns_operator) in [
            (finished(200, None), None, false),
            (finished(404, None), None, false),
            (finished(303, Some("unauthenticated")), None, false),
            (finished(401, Some("unauthenticated")), Some("unauthenticated"), false),
            (finished(502, Some("upstream-closed")), Some("upstream-closed"), true),
            (finished(500, None), Some(UPSTREAM_ERROR), true),
            (finished(403, None), None, false),
            (alarming, Some(UPSTREAM_DENIED), true),
            (truncated, Some(CUT_OFF), true),
            (left, None, false),
        ] {
            let case = (request.status, request.error_code, request.outcome);
            assert_eq!((request.failure_code(), request.concerns_operator()), (code, concerns_operator), "{case:?}");
        }
    }

    #[test]
    fn only_bytes_of_artifacts_that_passed_the_appliance_count_for_a_caller() {
        let success = FinishedRequest { received: 10, sent: 7, ..finished(200, None) };
        for (action, request, expected) in [
            (Some("artifacts:upload"), success, (10, 0)),
            (Some("artifacts:get"), success, (0, 7)),
            (Some("logged-models:get-artifact"), success, (0, 7)),
            (Some("runs:get"), success, (0, 0)),
            (None, success, (0, 0)),
            (Some("artifacts:upload"), FinishedRequest { status: None, ..success }, (0, 0)),
            (Some("artifacts:get"), FinishedRequest { presigned: [1, 0], ..success }, (0, 0)),
        ] {
            assert_eq!(FinishedRequest { action, ..request }.artifact_bytes(), expected, "{action:?}");
        }
    }
}
