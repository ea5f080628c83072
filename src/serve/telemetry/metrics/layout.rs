//! The layout of the counters: their labels, and the position of each combination of labels.
//!
//! Every combination has its cell from the start, so counting needs no lock, no allocation and no text. The number of
//! cells depends on the number of targets and on nothing that a client sends.

use actix_web::http::StatusCode;

use crate::access::caller::Role;
use crate::serve::telemetry::error_codes::ERROR_CODES;
use crate::serve::telemetry::finished::RequestOutcome;
use crate::serve::telemetry::metrics::histogram::BUCKETS;
use crate::serve::telemetry::metrics::route::RouteClass;

/// The roles of callers. The last stands for a request without a caller.
pub(crate) const ROLES: [&str; Role::LABELS.len() + 1] = {
    let [read, write, admin] = Role::LABELS;
    [read, write, admin, "none"]
};
/// The classes of statuses. The last stands for a request without a response.
pub(crate) const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// The index of `5xx` in [`STATUSES`].
pub(super) const SERVER_ERROR: usize = 4;

/// A stage of a request whose duration is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latency {
    /// From the head of the request to the last byte of the response.
    Total,
    /// From sending the request upstream to the head of the upstream's response.
    Upstream,
    /// The time that the appliance adds until the head of its own response, without waiting for the client's body.
    Overhead,
}

/// The direction of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From clients.
    Received,
    /// To clients.
    Sent,
}

pub(super) const CLASSES: usize = RouteClass::ALL.len();
const LATENCIES: usize = 3;
pub(super) const DISTRIBUTION: usize = BUCKETS + 1;
/// The kinds of presigned URLs: for downloads and for uploads.
pub(crate) const PRESIGNED_KINDS: [&str; 2] = ["download", "upload"];
/// The shares of the response time that are added up: of the appliance, of MLflow and of S3. The rest is the time in which
/// bodies travel.
pub(super) const SHARES: usize = 3;

// The positions at which the blocks of one target begin.
pub(super) const REQUESTS: usize = 0;
pub(super) const RECEIVED: usize = REQUESTS + ROLES.len() * CLASSES * STATUSES.len();
pub(super) const SENT: usize = RECEIVED + ROLES.len() * CLASSES;
pub(super) const ENDED: usize = SENT + ROLES.len() * CLASSES;
pub(super) const REJECTIONS: usize = ENDED + RequestOutcome::ALL.len();
pub(super) const RETRIES: usize = REJECTIONS + ERROR_CODES.len();
/// The requests that the appliance rejected with a 4xx.
pub(super) const REJECTED: usize = RETRIES + 1;
pub(super) const PRESIGNED: usize = REJECTED + 1;
pub(super) const TIME: usize = PRESIGNED + PRESIGNED_KINDS.len();
/// The distribution of the duration of requests that MLflow or S3 has answered.
pub(super) const ANSWERED: usize = TIME + SHARES;
const DISTRIBUTIONS: usize = ANSWERED + DISTRIBUTION;
/// The number of cells of one target.
const WIDTH: usize = DISTRIBUTIONS + LATENCIES * CLASSES * DISTRIBUTION;

/// Returns the number of cells for so many targets, and for requests that have no target.
pub(super) fn size(targets: usize) -> usize {
    (targets + 1) * WIDTH
}

/// Returns the first cell of a target.
pub(super) fn base(targets: usize, target: Option<usize>) -> usize {
    target.unwrap_or(targets).min(targets) * WIDTH
}

/// Returns the first cell of a distribution, relative to its target.
pub(super) fn distribution(latency: Latency, route: usize) -> usize {
    DISTRIBUTIONS + (latency as usize * CLASSES + route) * DISTRIBUTION
}

/// Returns the index of a status in [`STATUSES`].
pub(super) fn status(status: Option<StatusCode>) -> usize {
    status.map_or(STATUSES.len() - 1, |status| usize::from((status.as_u16() / 100).clamp(1, 5)) - 1)
}
