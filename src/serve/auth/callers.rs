//! The callers: finds the caller and the client address of a request, and counts requests against the caller's limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName};
use secrecy::ExposeSecret as _;

use crate::access::address::{self, Networks};
use crate::access::aws_token::{self, AwsTokenError};
use crate::access::balancer_jwt::BalancerJwtError;
use crate::access::caller::{AuthMethod, Caller, Role, Targets};
use crate::access::grant::{Grant, Subject};
use crate::access::issuer_session::IssuerSession;
use crate::access::jwt;
use crate::access::limits::{Meter, Permit};
use crate::access::policy::Policy;
use crate::http::body::Holdings;
use crate::serve::auth::aws_identities::AwsIdentities;
use crate::serve::auth::balancer::BalancerTrust;
use crate::serve::auth::credentials::{self, CallerCredentials};
use crate::serve::auth::error::AccessError;
use crate::serve::auth::issuers::Issuers;
use crate::serve::auth::personal_store::PersonalStore;
use crate::serve::auth::service_clients::ServiceAccess;
use crate::serve::auth::session_store::SessionStore;
use crate::serve::auth::settings::CallerSettings;
use crate::serve::auth::token_store::TokenStore;
use crate::serve::limits::lifo_semaphore::LifoSemaphore;

/// The header with a load balancer's statement about the user.
const OIDC_DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");
/// The number of people whose codes are exchanged at once, and who wait for that.
const CONCURRENT_EXCHANGES: usize = 32;
const WAITING_EXCHANGES: usize = 256;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The state of authentication that all workers share.
pub(crate) struct Callers {
    pub(crate) tokens: TokenStore,
    pub(crate) issuers: Issuers,
    /// Permits to exchange a code with an identity provider, of all workers.
    pub(crate) exchanges: LifoSemaphore,
    /// The personal tokens, if people may make any.
    pub(crate) personal: Option<PersonalStore>,
    pub(super) grants: Vec<Grant>,
    balancer: Option<BalancerTrust>,
    aws: Option<AwsIdentities>,
    anonymous: Option<Role>,
    pub(crate) sessions: SessionStore,
    pub(crate) sign_in_help: Option<String>,
    networks: Option<Networks>,
    pub(crate) trusted_proxies: Networks,
    trusted_hops: usize,
    pub(crate) policy: Policy,
    meter: Meter<Arc<Holdings>>,
}

impl Callers {
    /// Returns the state that these settings describe.
    pub(crate) fn new(settings: CallerSettings) -> Self {
        let balancer = settings.oidc.map(BalancerTrust::new);
        let aws = settings.aws.map(|aws| AwsIdentities::new(aws, &settings.grants));
        Self {
            tokens: TokenStore::new(settings.tokens),
            issuers: Issuers::new(settings.issuers),
            exchanges: LifoSemaphore::new(CONCURRENT_EXCHANGES, WAITING_EXCHANGES),
            personal: settings.personal.map(PersonalStore::new),
            grants: settings.grants,
            balancer,
            aws,
            anonymous: settings.anonymous,
            sessions: SessionStore::new(settings.sessions),
            sign_in_help: settings.sign_in_help,
            networks: settings.networks,
            trusted_proxies: settings.trusted_proxies,
            trusted_hops: settings.trusted_hops,
            policy: settings.policy,
            meter: Meter::new(settings.limits),
        }
    }

    /// Returns the client address of a request.
    ///
    /// # Errors
    /// [`AccessError`] if the address cannot be read, or is not allowed.
    pub(crate) fn client_address(&self, request: &HttpRequest) -> Result<Option<IpAddr>, AccessError> {
        let Some(peer) = request.peer_addr() else { return Ok(None) };
        let values: Vec<_> = if self.trusted_proxies.is_empty() {
            Vec::new()
        } else {
            // A value that is not text is no address.
            request.headers().get_all(FORWARDED_FOR).map(|value| value.to_str().unwrap_or("unreadable")).collect()
        };
        let client = address::client(peer.ip(), values.into_iter(), &self.trusted_proxies, self.trusted_hops)?;
        match &self.networks {
            Some(networks) if !networks.contain(client) => Err(AccessError::Network(client)),
            _ => Ok(Some(client)),
        }
    }

    /// Counts a request of a caller against the caller's limits.
    ///
    /// # Errors
    /// [`AccessError::LimitExceeded`].
    pub(crate) fn count(&self, caller: &Caller, client: Option<IpAddr>) -> Result<Permit<Arc<Holdings>>, AccessError> {
        self.meter.count(caller, client).map_err(AccessError::LimitExceeded)
    }

    /// Counts a request whose caller is about to sign in.
    ///
    /// # Errors
    /// [`AccessError::LimitExceeded`].
    pub(crate) fn count_unauthenticated(&self, client: Option<IpAddr>) -> Result<Permit<Arc<Holdings>>, AccessError> {
        self.meter.count_unauthenticated(client).map_err(AccessError::LimitExceeded)
    }

    /// Counts a request that is rejected with this status. A request of an authenticated caller has been counted already.
    ///
    /// SECURITY: this slows down an address that guesses tokens or floods the log with rejections. Users behind the same
    /// address notice nothing as long as their credentials are valid.
    ///
    /// # Errors
    /// [`AccessError::LimitExceeded`] if too many requests of that address were rejected.
    pub(crate) fn count_rejection(
        &self,
        caller: Option<&Caller>,
        client: Option<IpAddr>,
        status: StatusCode,
    ) -> Result<(), AccessError> {
        match (caller, client) {
            // Only errors of the client count against its limit.
            (None, Some(address)) if status.is_client_error() => {
                self.meter.reject(address).map_err(AccessError::LimitExceeded)
            }
            _ => Ok(()),
        }
    }

    /// Returns the caller of a request with these headers. `cookie` is the name of the session cookie on its connection, and
    /// `certificate` has the names in the connection's certificate.
    ///
    /// # Errors
    /// [`AccessError`]. Invalid credentials are always rejected; no other method is tried.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        cookie: &'static str,
        certificate: &[String],
        services: ServiceAccess<'_>,
        now: SystemTime,
    ) -> Result<Caller, AccessError> {
        if self.tokens.is_configured() || self.personal.is_some() || self.issuers.are_configured() || self.aws.is_some()
        {
            match credentials::of(headers, cookie)? {
                CallerCredentials::Token(token) if token.expose_secret().starts_with(aws_token::PREFIX) => {
                    let aws = self.aws.as_ref().ok_or(AwsTokenError::NotConfigured)?;
                    return Box::pin(aws.caller(token.expose_secret(), services, now)).await;
                }
                CallerCredentials::Token(token) => return self.holder(token.expose_secret(), now).await,
                // A browser whose session is over is sent to sign in again.
                CallerCredentials::Session(value) => {
                    if let Some((caller, _)) = self.session(value, now)? {
                        return Ok(caller);
                    }
                }
                CallerCredentials::None => {}
            }
        }
        if let (Some(balancer), Some(statement)) = (&self.balancer, headers.get(OIDC_DATA)) {
            let statement = statement.to_str().map_err(|_| BalancerJwtError::Malformed)?;
            return Box::pin(balancer.user(statement, &self.grants, services.clients, now)).await;
        }
        let named = |subject: &Subject| matches!(subject, Subject::Certificate(name) if certificate.contains(name));
        if let Some(grant @ Grant { to: Subject::Certificate(name), .. }) = Grant::first(&self.grants, named) {
            return Ok(grant.caller(name, AuthMethod::Certificate));
        }
        let role = self.anonymous.ok_or(AccessError::NoCredential)?;
        let (name, targets) = ("anonymous".to_owned(), Targets::All);
        Ok(Caller { name, role, targets, auth_method: AuthMethod::Anonymous, issuer: None, expires: None })
    }

    /// Returns true if a person with a browser can sign in.
    pub(crate) fn can_sign_in(&self) -> bool {
        self.tokens.is_configured() || self.issuers.sign_people_in()
    }

    /// Returns the holder of the session in a cookie, and the time at which it ends. Returns nothing if it has ended.
    ///
    /// # Errors
    /// [`AccessError::SessionKeyUnknown`] and [`AccessError::TokensUnknown`].
    pub(crate) fn session(&self, value: &str, now: SystemTime) -> Result<Option<(Caller, SystemTime)>, AccessError> {
        let sessions = self.sessions.get()?;
        if IssuerSession::looks_like_one(value) {
            let session = IssuerSession::open(&sessions.sealer, value, now);
            return Ok(session.and_then(|session| Some((self.issuers.session_holder(&session)?, session.end()))));
        }
        let Some((id, end)) = sessions.open(value, now) else { return Ok(None) };
        let holder = self.tokens.session_holder(id, now)?;
        Ok(holder.map(|(caller, of_token)| (caller, of_token.map_or(end, |of_token| end.min(of_token)))))
    }

    /// Returns the holder of a bearer token.
    async fn holder(&self, token: &str, now: SystemTime) -> Result<Caller, AccessError> {
        if self.issuers.are_configured() && jwt::looks_like_jwt(token) {
            if let Some(caller) = self.issuers.known(token, now) {
                return Ok(caller);
            }
            // Boxed, since a token is verified once, and this would make every request's future larger.
            return Ok(Box::pin(self.issuers.authenticate(token, now)).await?);
        }
        // Without tokens of its own, the store knows none.
        let is_jwt_only = self.issuers.are_configured() && !self.tokens.is_configured();
        let found = if is_jwt_only { Err(AccessError::NotAJwt) } else { self.tokens.holder(token, now) };
        match found {
            Err(error) if self.personal.is_some() => Box::pin(self.personal_holder(token, error, now)).await,
            found => found,
        }
    }
}
