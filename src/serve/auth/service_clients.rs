//! A worker's own connections to the services that authentication asks: STS, and the keys of load balancers.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::Method;
use bytes::Bytes;

use crate::error_chain;
use crate::http::client::{Dialer, Endpoint, ServiceClient, ServiceLimits, ServiceResponse};
use crate::http::fields::Fields;

/// The connections, which are opened when they are first needed. The services are few, so a list finds one fastest.
pub(crate) struct ServiceClients {
    dialer: Dialer,
    keep_alive: Duration,
    clients: RefCell<Vec<(Endpoint, Rc<ServiceClient>)>>,
}

/// The means of one worker to ask services for a client at this address.
#[derive(Clone, Copy)]
pub(crate) struct ServiceAccess<'a> {
    pub(crate) clients: &'a ServiceClients,
    pub(crate) client: Option<IpAddr>,
}

impl ServiceClients {
    /// Returns clients without a connection.
    pub(crate) fn new(dialer: Dialer, keep_alive: Duration) -> Self {
        Self { dialer, keep_alive, clients: RefCell::default() }
    }

    /// Sends a `GET` to an endpoint. Each endpoint always has the same longest time and largest response, in bytes.
    ///
    /// # Errors
    /// The reason why there is no response.
    pub(crate) async fn get(
        &self,
        endpoint: &Endpoint,
        (exchange_timeout, body_limit): (Duration, usize),
        target: &str,
        headers: Fields,
    ) -> Result<ServiceResponse, String> {
        let known =
            self.clients.borrow().iter().find(|(known, _)| known == endpoint).map(|(_, client)| Rc::clone(client));
        let client = known.unwrap_or_else(|| {
            let limits = ServiceLimits { exchange_timeout, keep_alive: self.keep_alive, body_limit };
            let client = Rc::new(ServiceClient::new(self.dialer.to(endpoint.clone()), limits));
            self.clients.borrow_mut().push((endpoint.clone(), Rc::clone(&client)));
            client
        });
        let response = client.exchange(Method::GET, target, headers, Bytes::new()).await;
        response.map_err(|error| error_chain::joined(&error))
    }
}
