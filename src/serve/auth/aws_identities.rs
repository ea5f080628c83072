//! Callers that prove an AWS identity: asks STS who signed a token, once for each token.
//!
//! A token can be made up, so an unauthenticated client can cause calls of STS. There is one call at a time for a token, a few
//! at once for one address and for all, and when too many wait, the oldest give way. So a flood from one address leaves most
//! calls to others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use actix_web::http::header::{HeaderName, HeaderValue};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::access::address::counted;
use crate::access::aws_identity::AwsIdentity;
use crate::access::aws_token::{self, AUDIENCE_HEADER, AwsTokenError, ExpectedRequest, Fingerprint, UnconfirmedToken};
use crate::access::caller::{AuthMethod, Caller};
use crate::access::grant::{Grant, Subject};
use crate::api::caller_identity::IdentityResponse;
use crate::clock;
use crate::http::client::Endpoint;
use crate::http::fields::Fields;
use crate::serve::auth::aws_token_cache::AwsTokenCache;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::service_clients::ServiceAccess;
use crate::serve::auth::settings::AwsIdentitySettings;
use crate::serve::limits::lifo_semaphore::{LifoPermit, LifoSemaphore};
use crate::serve::limits::single_flight::SingleFlight;

/// The responses of STS have less than a kilobyte; the message of an error repeats the request. Bytes.
const SIZE_LIMIT: usize = 64 * 1024;
/// The longest time for one exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time that a request waits for STS, also behind others.
const LONGEST_WAIT: Duration = EXCHANGE_TIMEOUT.saturating_mul(2);
/// The number of calls at once, of all workers.
const CONCURRENT_CALLS: usize = 16;
/// The number of calls at once for one address.
const CALLS_OF_AN_ADDRESS: usize = 4;
/// The number of calls that wait for a permit, of all addresses and of one.
const QUEUE_LIMIT: usize = 256;
/// The number of addresses that are remembered before idle ones are forgotten.
const ADDRESS_LIMIT: usize = 1000;

/// The AWS identities that are callers. All workers share it.
pub(crate) struct AwsIdentities {
    expected: ExpectedRequest,
    audience: HeaderValue,
    /// The endpoints of STS, in the order of [`ExpectedRequest::hosts`].
    endpoints: Vec<Endpoint>,
    grants: Vec<Grant>,
    cache: Mutex<AwsTokenCache>,
    /// The calls of STS in progress, by the fingerprints of their requests.
    calls: SingleFlight<Fingerprint>,
    permits: LifoSemaphore,
    addresses: Mutex<HashMap<IpAddr, Arc<LifoSemaphore>>>,
}

impl AwsIdentities {
    /// Returns the identities of these settings, to which `grants` gives roles.
    pub(crate) fn new(settings: AwsIdentitySettings, grants: &[Grant]) -> Self {
        let AwsIdentitySettings { audience, regions } = settings;
        let is_for_aws = |grant: &&Grant| matches!(grant.to, Subject::AwsPrincipal(_));
        let hosts = regions.iter().map(|(region, endpoint)| (region.clone(), endpoint.authority()));
        Self {
            audience: HeaderValue::try_from(&audience).expect("an audience that was checked"),
            expected: ExpectedRequest { audience, hosts: hosts.collect() },
            endpoints: regions.into_iter().map(|(_, endpoint)| endpoint).collect(),
            grants: grants.iter().filter(is_for_aws).cloned().collect(),
            cache: Mutex::default(),
            calls: SingleFlight::default(),
            permits: LifoSemaphore::new(CONCURRENT_CALLS, QUEUE_LIMIT),
            addresses: Mutex::default(),
        }
    }

    fn cache(&self) -> MutexGuard<'_, AwsTokenCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the caller behind a token, and asks STS if the token is new.
    ///
    /// # Errors
    /// [`AccessError::AwsToken`] or [`AccessError::StsUnavailable`].
    pub(crate) async fn caller(
        &self,
        token: &str,
        sts: ServiceAccess<'_>,
        now: SystemTime,
    ) -> Result<Caller, AccessError> {
        let spelled = aws_token::fingerprint(token);
        if let Some(caller) = self.cache().confirmed(&spelled, now) {
            return Ok(caller);
        }
        let unconfirmed = UnconfirmedToken::parse(token, &self.expected, now)?;
        let obtained = timeout(LONGEST_WAIT, self.obtain(&unconfirmed, spelled, sts, now)).await;
        obtained.unwrap_or(Err(AccessError::StsUnavailable))
    }

    /// Returns the caller behind a token, by asking STS or by waiting for another request that asks.
    async fn obtain(
        &self,
        unconfirmed: &UnconfirmedToken,
        spelled: Fingerprint,
        sts: ServiceAccess<'_>,
        now: SystemTime,
    ) -> Result<Caller, AccessError> {
        let request = unconfirmed.fingerprint;
        let known = || self.cache().result(&request, now);
        let _call = match self.calls.find_or_begin(&request, known).await {
            Ok(result) => return Ok(result?),
            Err(call) => call,
        };
        let confirmed = self.confirm(unconfirmed, sts).await?;
        // STS may have taken longer to answer than a rejection is remembered.
        let (mut cache, now) = (self.cache(), clock::now());
        match &confirmed {
            Ok(caller) => cache.confirm([spelled, request], caller.clone(), unconfirmed.expires, now),
            Err(error) => cache.reject(request, error.clone(), now),
        }
        drop(cache);
        Ok(confirmed?)
    }

    /// Asks STS about a token.
    async fn confirm(
        &self,
        token: &UnconfirmedToken,
        sts: ServiceAccess<'_>,
    ) -> Result<Result<Caller, AwsTokenError>, AccessError> {
        let endpoint = &self.endpoints[token.region];
        let _permits = self.permits(sts.client).await.ok_or(AccessError::StsUnavailable)?;
        let mut headers = Fields::new();
        headers.insert(HeaderName::from_static(AUDIENCE_HEADER), self.audience.clone());
        let limits = (EXCHANGE_TIMEOUT, SIZE_LIMIT);
        let answer = match sts.clients.get(endpoint, limits, token.target(), headers).await {
            Ok(response) => IdentityResponse::read(response.status, &response.body),
            Err(error) => IdentityResponse::Unavailable(error),
        };
        let (arn, account) = match answer {
            IdentityResponse::Identity { arn, account } => (arn, account),
            IdentityResponse::Rejected { code, reason } => return Ok(Err(AwsTokenError::Aws { code, reason })),
            IdentityResponse::Unavailable(error) => {
                let (sts, hint) = (endpoint.url(), "allow HTTPS to that host, and see `appliance check`");
                warn!(sts, error, hint, "cannot confirm an AWS identity");
                return Err(AccessError::StsUnavailable);
            }
        };
        let Some(identity) = AwsIdentity::read(&arn, &account) else {
            let arn = arn.chars().filter(char::is_ascii_graphic).take(256).collect();
            return Ok(Err(AwsTokenError::NoGrant(arn)));
        };
        let is_for = |subject: &Subject| match subject {
            Subject::AwsPrincipal(pattern) => pattern.matches(&identity.principal) || pattern.matches(&identity.arn),
            _ => false,
        };
        let Some(grant) = Grant::first(&self.grants, is_for) else {
            return Ok(Err(AwsTokenError::NoGrant(identity.arn)));
        };
        let caller = Caller { expires: Some(token.expires), ..grant.caller(&identity.name, AuthMethod::Aws) };
        info!(caller = caller.name, role = %caller.role, principal = identity.arn, "AWS confirmed an identity");
        Ok(Ok(caller))
    }

    /// Waits for the permits of a call: first for that of the address, so that a flood from one address waits there.
    async fn permits(&self, client: Option<IpAddr>) -> Option<(Option<LifoPermit>, LifoPermit)> {
        let of_address = match client.map(|client| self.of_address(counted(client))) {
            Some(permits) => Some(permits.acquire().await?),
            None => None,
        };
        Some((of_address, self.permits.acquire().await?))
    }

    fn of_address(&self, address: IpAddr) -> Arc<LifoSemaphore> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= ADDRESS_LIMIT {
            addresses.retain(|_, permits| !permits.is_idle());
        }
        let permits = addresses.entry(address);
        Arc::clone(permits.or_insert_with(|| Arc::new(LifoSemaphore::new(CALLS_OF_AN_ADDRESS, QUEUE_LIMIT))))
    }
}
