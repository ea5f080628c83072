//! A worker's own connections to the STS endpoints of regions.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;

use crate::access::aws_token::AUDIENCE_HEADER;
use crate::api::caller_identity::IdentityResponse;
use crate::error_chain;
use crate::http::client::{Dialer, Endpoint, ServiceClient, ServiceLimits};
use crate::http::fields::Fields;

/// The responses of STS have less than a kilobyte; the message of an error repeats the request. Bytes.
const SIZE_LIMIT: usize = 64 * 1024;
/// The longest time for one exchange.
pub(crate) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// A worker's own connections to STS, which are opened when they are first needed.
pub(crate) struct StsClients {
    dialer: Dialer,
    keep_alive: Duration,
    clients: RefCell<HashMap<usize, Rc<ServiceClient>>>,
}

impl StsClients {
    /// Returns clients without a connection.
    #[must_use]
    pub(crate) fn new(dialer: Dialer, keep_alive: Duration) -> Self {
        Self { dialer, keep_alive, clients: RefCell::default() }
    }

    /// Sends a presigned request to the endpoint with this number, with the audience of this appliance.
    pub(crate) async fn ask(
        &self,
        (number, endpoint): (usize, &Endpoint),
        target: &str,
        audience: &HeaderValue,
    ) -> IdentityResponse {
        let client = Rc::clone(self.clients.borrow_mut().entry(number).or_insert_with(|| {
            let limits = ServiceLimits {
                exchange_timeout: EXCHANGE_TIMEOUT,
                keep_alive: self.keep_alive,
                body_limit: SIZE_LIMIT,
            };
            Rc::new(ServiceClient::new(self.dialer.to(endpoint.clone()), limits))
        }));
        let mut headers = Fields::new();
        headers.insert(HeaderName::from_static(AUDIENCE_HEADER), audience.clone());
        match client.exchange(Method::GET, target, headers, Bytes::new()).await {
            Ok(response) => IdentityResponse::read(response.status, &response.body),
            Err(error) => IdentityResponse::Unavailable(error_chain::joined(&error)),
        }
    }
}
