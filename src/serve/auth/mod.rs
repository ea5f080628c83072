//! Who sent a request: by token, session, load balancer or certificate; or nobody, where that is allowed.

pub(crate) mod browser;
pub(crate) mod certificate;
pub(crate) mod keys;

pub(crate) mod credentials;
pub(crate) mod error;

pub(crate) mod source;

pub use source::read_file;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName};
use arc_swap::ArcSwapOption;
use secrecy::ExposeSecret as _;

use self::credentials::Presented;
use self::error::{AccessError, TokensUnknown};
use self::keys::{KeyFetcher, Keys};
use crate::access::address::{self, Networks};
use crate::access::caller::{Caller, Grant, Means, Role, Subject, Targets, check_name};
use crate::access::limits::{Limits, Meter};
use crate::access::oidc::{Expected, OidcError, Unverified};
use crate::access::policy::Policy;
use crate::access::session::Sessions;
use crate::access::tokens::Tokens;
use crate::aws::secret::Secret;
use crate::http::body::Holdings;
use crate::http::client::Endpoint;

/// What a load balancer says of the user.
const OIDC_DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whom to let in, and to what.
pub struct CallerSettings {
    /// Where the tokens are, and what was read there; without it there are none.
    pub tokens: Option<TokenSettings>,
    /// What users of the load balancer and holders of certificates are granted.
    pub grants: Vec<Grant>,
    /// Whose word on a user is believed.
    pub oidc: Option<OidcSettings>,
    /// The role of those who present nothing; without it they are refused.
    pub anonymous: Option<Role>,
    /// Browsers' sessions.
    pub sessions: Sessions,
    /// Where requests may come from; anywhere, if it is not set.
    pub networks: Option<Networks>,
    /// Hops whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
    /// The number of them that a request passes at most.
    pub trusted_hops: usize,
    /// What is denied in spite of a role.
    pub policy: Policy,
    /// How much one caller may ask for.
    pub limits: Limits,
}

/// The tokens and where they are.
pub struct TokenSettings {
    /// Where to read them again.
    pub source: TokenSource,
    /// What was read at the start; nothing if AWS is to be asked first.
    pub initial: Option<Tokens>,
}

/// Where the token file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// On disk; also a systemd credential.
    File(PathBuf),
    /// In AWS's Parameter Store or Secrets Manager.
    Secret(SecretPlace),
}

/// A secret that AWS keeps, and where to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPlace {
    /// Which one.
    pub secret: Secret,
    /// Of the service.
    pub region: String,
    /// Of the service.
    pub endpoint: Endpoint,
}

/// The load balancer in front, which signs users in.
pub struct OidcSettings {
    /// What its word must say.
    pub expected: Expected,
    /// The claim that names the user.
    pub name_claim: String,
    /// Where its keys are published, and the path to them with a slash at its end.
    pub keys: (Endpoint, String),
}

/// What the workers share of it.
pub(crate) struct Callers {
    source: Option<TokenSource>,
    /// Nothing as long as they have not been read.
    tokens: ArcSwapOption<Tokens>,
    /// Why nobody can ask AWS for them, if that is so.
    without_credentials: ArcSwapOption<String>,
    grants: Vec<Grant>,
    oidc: Option<Oidc>,
    anonymous: Option<Role>,
    pub(crate) sessions: Sessions,
    networks: Option<Networks>,
    trusted_proxies: Networks,
    trusted_hops: usize,
    pub(crate) policy: Policy,
    pub(crate) meter: Meter<Arc<Holdings>>,
}

struct Oidc {
    expected: Expected,
    name_claim: String,
    keys: Keys,
}

impl Callers {
    /// Ready for use, but for tokens that AWS keeps.
    #[must_use]
    pub(crate) fn new(settings: CallerSettings) -> Self {
        let (source, initial) =
            settings.tokens.map_or((None, None), |tokens| (Some(tokens.source), tokens.initial.map(Into::into)));
        let oidc = settings.oidc.map(|oidc| Oidc {
            expected: oidc.expected,
            name_claim: oidc.name_claim,
            keys: Keys::new(oidc.keys.0, oidc.keys.1),
        });
        Self {
            source,
            tokens: ArcSwapOption::new(initial),
            without_credentials: ArcSwapOption::empty(),
            grants: settings.grants,
            oidc,
            anonymous: settings.anonymous,
            sessions: settings.sessions,
            networks: settings.networks,
            trusted_proxies: settings.trusted_proxies,
            trusted_hops: settings.trusted_hops,
            policy: settings.policy,
            meter: Meter::new(settings.limits),
        }
    }

    /// Where a request comes from.
    ///
    /// # Errors
    /// [`AccessError`] if that cannot be told, or may not be.
    pub(crate) fn origin(&self, request: &HttpRequest) -> Result<Option<IpAddr>, AccessError> {
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

    /// True if the peer's word on how it was reached is believed.
    #[must_use]
    pub(crate) fn trusts(&self, request: &HttpRequest) -> bool {
        request.peer_addr().is_some_and(|peer| self.trusted_proxies.contain(peer.ip()))
    }

    /// The region in which AWS keeps the tokens, if it does.
    #[must_use]
    pub(crate) fn secret_region(&self) -> Option<&str> {
        match &self.source {
            Some(TokenSource::Secret(place)) => Some(&place.region),
            _ => None,
        }
    }

    /// Why nobody can be let in at the moment.
    #[must_use]
    pub(crate) fn obstacle(&self) -> Option<TokensUnknown> {
        (self.has_tokens() && self.tokens.load().is_none()).then(|| self.unknown())
    }

    fn unknown(&self) -> TokensUnknown {
        TokensUnknown(self.without_credentials.load_full())
    }

    /// True if a person with a browser can sign in here.
    #[must_use]
    pub(crate) fn has_tokens(&self) -> bool {
        self.source.is_some()
    }

    /// The caller of a request with these headers. `cookie` holds sessions on its connection, and `certificate` has the
    /// names in the connection's certificate.
    ///
    /// # Errors
    /// [`AccessError`]. What is presented and is wrong is refused, never passed over in favour of something else.
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        cookie: &'static str,
        certificate: &[String],
        fetcher: &KeyFetcher,
        now: SystemTime,
    ) -> Result<Caller, AccessError> {
        if self.has_tokens() {
            match credentials::by(headers, cookie)? {
                Presented::Token(token) => return self.holder(token.expose_secret(), now),
                Presented::Session(value) => {
                    if let Some(caller) = self.visitor(value, now)? {
                        return Ok(caller);
                    }
                }
                Presented::Nothing => {}
            }
        }
        if let (Some(oidc), Some(data)) = (&self.oidc, headers.get(OIDC_DATA)) {
            let data = data.to_str().map_err(|_| OidcError::Malformed)?;
            return Box::pin(self.user(oidc, data, fetcher, now)).await;
        }
        let named = |subject: &Subject| matches!(subject, Subject::Certificate(name) if certificate.contains(name));
        if let Some(grant) = Grant::first(&self.grants, named)
            && let Some(name) = certificate.iter().find(|name| grant.to == Subject::Certificate((*name).clone()))
        {
            return Ok(grant.caller(name, Means::Certificate));
        }
        match self.anonymous {
            Some(role) => {
                Ok(Caller { name: "anonymous".to_owned(), role, targets: Targets::All, means: Means::Anonymous })
            }
            None => Err(AccessError::Nothing),
        }
    }

    /// The holder of a token.
    pub(crate) fn holder(&self, token: &str, now: SystemTime) -> Result<Caller, AccessError> {
        let tokens = self.tokens.load();
        let tokens = tokens.as_ref().ok_or_else(|| self.unknown())?;
        Ok(tokens.find(token, now)?.caller(Means::Token))
    }

    /// Somebody with a session; nobody if it is over, so that the browser can be sent to sign in again.
    fn visitor(&self, session: &str, now: SystemTime) -> Result<Option<Caller>, AccessError> {
        let Some(id) = self.sessions.token_id(session, now) else { return Ok(None) };
        let tokens = self.tokens.load();
        let tokens = tokens.as_ref().ok_or_else(|| self.unknown())?;
        Ok(tokens.by_id(id, now).ok().map(|entry| entry.caller(Means::Session)))
    }

    async fn user(
        &self,
        oidc: &Oidc,
        data: &str,
        fetcher: &KeyFetcher,
        now: SystemTime,
    ) -> Result<Caller, AccessError> {
        let unverified = Unverified::parse(data)?;
        // Before a key is fetched: a stranger's word is not worth a request.
        unverified.check(&oidc.expected, now)?;
        let key = oidc.keys.get(unverified.key_id(), fetcher).await.ok_or(OidcError::NoKey)?;
        let claims = unverified.verify(&key, &oidc.expected, now)?;
        let name = claims.text(&oidc.name_claim).filter(|name| check_name(name).is_ok());
        let grant = Grant::first(&self.grants, |subject| claims.fit(subject)).ok_or(AccessError::NoGrant)?;
        let name = grant.name.as_deref().or(name).ok_or(AccessError::NoName)?;
        Ok(grant.caller(name, Means::Oidc))
    }
}
