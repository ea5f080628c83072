//! The permits that one request holds until its response has ended.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::access::limits::Permit;
use crate::http::body::{BodyOwner, Holdings};
use crate::serve::limits::in_flight::{InFlight, InFlightLimit};
use crate::serve::limits::shares::{ConnectionShares, ShareExceeded, ShareHolder, SharePermit};

/// The permits of one request. Dropping them releases the limits that they count against, in the order of the fields.
#[derive(Default)]
pub(crate) struct Permits {
    in_flight: RefCell<Option<InFlight>>,
    /// The connection to the target.
    pub(crate) target: HeldShare,
    /// The connection to S3.
    pub(crate) store: HeldShare,
    /// Has the counters whose address is the key of the shares above, so it is released after them.
    caller: RefCell<Option<Permit<Arc<Holdings>>>>,
}

/// The share that a target has of the connections to an endpoint that other targets use as well.
#[derive(Clone, Copy)]
pub(crate) struct EndpointShare<'a> {
    pub shares: &'a Rc<ConnectionShares>,
    pub target: ShareHolder,
}

/// The caller's share of the connections to one server, if the request holds one at the moment, and with it the target's share.
#[derive(Default)]
pub(crate) struct HeldShare(RefCell<Option<(SharePermit, Option<SharePermit>)>>);

impl Permits {
    /// Holds the permit that counts against the limits of the caller and its address, in place of an earlier one.
    pub(crate) fn hold(&self, permit: Permit<Arc<Holdings>>) {
        self.caller.replace(Some(permit));
    }

    /// Returns the parties that answer for the memory and disk that the request's body holds.
    #[must_use]
    pub(crate) fn body_owner(&self) -> BodyOwner {
        let caller = self.caller.borrow();
        let Some(permit) = &*caller else { return BodyOwner::default() };
        BodyOwner::new(permit.caller().cloned(), permit.address().cloned())
    }

    /// Returns the key of the caller whose share of connections the request counts against.
    #[must_use]
    pub(crate) fn caller_key(&self) -> ShareHolder {
        ShareHolder::of(self.caller.borrow().as_ref().and_then(Permit::caller))
    }

    /// Counts the request against the in-flight limit of its target.
    pub(crate) fn enter(&self, limit: &Rc<InFlightLimit>) {
        self.in_flight.borrow_mut().get_or_insert_with(|| limit.enter());
    }

    /// Gives back what the request holds of its target, whose answer is complete. S3 and the caller may take much longer. Another
    /// question to the target takes it again.
    pub(crate) fn leave_target(&self) {
        self.in_flight.take();
        self.target.release();
    }
}

impl HeldShare {
    /// Waits for a connection for the caller with this key, unless the request has one.
    ///
    /// # Errors
    /// [`ShareExceeded`].
    pub(crate) async fn take(
        &self,
        shares: &Rc<ConnectionShares>,
        key: ShareHolder,
        endpoint: Option<EndpointShare<'_>>,
    ) -> Result<(), ShareExceeded> {
        if self.0.borrow().is_none() {
            let of_caller = shares.take(key).await?;
            // Always in this order, so that a caller who waits for its share keeps no connection from other targets.
            let of_target = match endpoint {
                Some(EndpointShare { shares, target }) => Some(shares.take(target).await?),
                None => None,
            };
            self.0.replace(Some((of_caller, of_target)));
        }
        Ok(())
    }

    /// Gives the connection back.
    pub(crate) fn release(&self) {
        drop(self.0.take());
    }
}
