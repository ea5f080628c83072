//! The values that go with a request to its upstreams: the caller that it belongs to, and what forwarding it reports back.

use std::rc::Rc;
use std::time::Duration;

use crate::access::caller::Caller;
use crate::serve::limits::in_flight::InFlight;
use crate::serve::limits::shares::{CallerKey, SharePermit};
use crate::serve::telemetry::spans::Trace;

/// The caller that a request belongs to.
#[derive(Clone, Copy)]
pub(crate) struct RequestOwner<'a> {
    /// The caller, once it is authenticated.
    pub caller: Option<&'a Caller>,
    /// The key of the caller's share of connections.
    pub key: CallerKey,
    /// The trace that the request is part of, if it is recorded.
    pub trace: Option<&'a Rc<Trace>>,
}

/// The permits that forwarding a request holds, and its measurements. The permits are released when this is dropped, which is
/// when the response has ended.
#[derive(Default)]
pub(crate) struct Forwarding {
    /// The permit that counts against the in-flight limit of the target.
    pub in_flight: Option<InFlight>,
    /// The permit for a connection to the target.
    pub share: Option<SharePermit>,
    /// The permit for a connection to S3.
    pub s3_share: Option<SharePermit>,
    /// The number of attempts after the first.
    pub retries: u32,
    /// The time from the first byte that was sent upstream to the head of the response.
    pub upstream: Option<Duration>,
    /// The number of bytes of the request's body.
    pub received: u64,
    /// The time that the body took to arrive.
    pub buffering: Duration,
}
