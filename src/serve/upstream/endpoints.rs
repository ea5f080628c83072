//! The connections of one worker to each endpoint, which all targets behind that endpoint share.
//!
//! All tracking servers of a region have one host, so a connection can carry the requests of any of them: each is signed by itself,
//! and names its target. A target that is slow must not use up the connections of the others, so targets get shares of an endpoint's
//! connections, as callers get shares of a target's. Credentials, circuit breaker, retry budget and in-flight limit belong to the
//! target.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::http::client::{Client, ClientSettings, Dialer};
use crate::serve::limits::permits::EndpointShare;
use crate::serve::limits::shares::{ConnectionShares, ShareHolder};
use crate::serve::upstream::served_target::ServedTarget;

/// The connections to an endpoint that several targets share, as a multiple of those that one target can have. With two, a
/// target that is alone at the moment gets as many as it would have by itself, since half of all are its share.
const FOR_SEVERAL: usize = 2;

/// The endpoints of one kind, MLflow or S3, that a worker connects to.
///
/// The two kinds share nothing, even at one address: a request that holds a connection to S3 may wait for one to MLflow, and
/// could otherwise wait for itself.
#[derive(Default)]
pub(crate) struct Endpoints(RefCell<Vec<Rc<SharedEndpoint>>>);

/// The connections to one endpoint, and the targets that use them.
struct SharedEndpoint {
    dialer: Dialer,
    client: Client,
    shares: Rc<ConnectionShares>,
    targets: Cell<usize>,
}

/// The connections that the requests to one target use.
pub(crate) struct TargetConnections {
    endpoint: Rc<SharedEndpoint>,
    target: ShareHolder,
    /// The shares of the target's callers.
    pub(crate) callers: Rc<ConnectionShares>,
}

impl Endpoints {
    /// Returns the connections of a target to the dialer's endpoint. It must be called on the thread that will use them.
    ///
    /// All targets have the same settings and proxies, and trust the same authorities, so endpoints differ by their addresses.
    pub(crate) fn connections(
        &self,
        target: &Arc<ServedTarget>,
        dialer: Dialer,
        settings: ClientSettings,
    ) -> TargetConnections {
        let mut all = self.0.borrow_mut();
        let known = all.iter().find(|known| known.dialer.is_interchangeable_with(&dialer)).map(Rc::clone);
        let endpoint = known.unwrap_or_else(|| {
            let connection_limit = settings.connection_limit.saturating_mul(FOR_SEVERAL);
            let endpoint = Rc::new(SharedEndpoint {
                client: Client::new(dialer.clone(), ClientSettings { connection_limit, ..settings }),
                dialer,
                shares: ConnectionShares::new(connection_limit),
                targets: Cell::new(0),
            });
            all.push(Rc::clone(&endpoint));
            endpoint
        });
        endpoint.targets.set(endpoint.targets.get() + 1);
        let callers = ConnectionShares::new(settings.connection_limit);
        TargetConnections { endpoint, target: ShareHolder::of(Some(target)), callers }
    }
}

impl TargetConnections {
    /// The client that has the connections.
    pub(crate) fn client(&self) -> &Client {
        &self.endpoint.client
    }

    /// The target's share of the connections; nothing if no other target uses the endpoint.
    pub(crate) fn share(&self) -> Option<EndpointShare<'_>> {
        let SharedEndpoint { client, shares, targets, .. } = &*self.endpoint;
        if targets.get() < 2 {
            return None;
        }
        // An upstream of HTTP/2 says how many requests it takes at a time.
        shares.set_connections(client.request_limit());
        Some(EndpointShare { shares, target: self.target })
    }
}
