//! The credentials that requests are signed with, always at hand and always fresh.
//!
//! One task obtains them ahead of expiry and publishes them; requests read the latest without waiting. When AWS
//! cannot be reached, the old ones serve until they expire; after that requests are told so at once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_sdk_sts::error::SdkError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::types::Tag;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::outcomes::{CredentialOutcome, Outcomes};
use super::role::{Carries, Role};
use super::skew::Skew;
use crate::{causes, clock};

/// Credentials without an expiry may still change, in a profile file for example; they are read again this often.
const REREAD_INTERVAL: Duration = Duration::from_mins(15);
/// Credentials are renewed this long before they expire, or a quarter of their life, whichever is shorter.
const RENEWAL_MARGIN: Duration = Duration::from_mins(10);
/// The wait after a failure doubles from the first to the second of these.
const RETRY_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The session tag that names a caller.
const CALLER_TAG: &str = "caller";

/// Where credentials come from.
pub struct Source {
    chain: SharedCredentialsProvider,
    role: Option<(Role, aws_sdk_sts::Client)>,
    outcomes: Arc<Outcomes>,
    /// How far STS's clock is from ours.
    skew: Skew,
}

/// Why no credentials were obtained.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The default chain found nothing.
    #[error("no AWS credentials were found")]
    Chain(#[source] CredentialsError),
    /// STS refused, or could not be asked.
    #[error("the role could not be assumed")]
    AssumeRole(#[source] Box<SdkError<AssumeRoleError>>),
    /// The source answered with a part missing; the SDK's parsers read past that.
    #[error("the AWS credentials that were returned are incomplete")]
    Incomplete,
    /// The source answered with credentials of the past.
    #[error("the AWS credentials that were returned have already expired")]
    AlreadyExpired,
}

impl SourceError {
    /// What to do about it, as an instruction.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Chain(_) => {
                "set AWS_PROFILE, run `aws sso login`, or attach a role to this machine; on EC2 check that IMDSv2 answers"
            }
            Self::AssumeRole(error) => match error.code() {
                Some("AccessDenied") => {
                    "add this machine's role to the trust policy of the role to assume, and check the external id; to carry \
                     callers' names, allow `sts:SetSourceIdentity` or `sts:TagSession` there as well"
                }
                Some("ValidationError") => {
                    "check the session duration against the role's maximum; it is 1 hour when a role assumes a role"
                }
                Some("ExpiredToken" | "ExpiredTokenException") => "renew the credentials that assume the role",
                Some("InvalidClientTokenId" | "SignatureDoesNotMatch") => {
                    "check the credentials that assume the role, and this machine's clock"
                }
                _ => "check that the regional STS endpoint can be reached from here",
            },
            Self::Incomplete => "check what is configured as the STS or metadata endpoint: it does not behave like AWS",
            Self::AlreadyExpired => "check this machine's clock, and renew the session that the credentials come from",
        }
    }

    /// As metrics count it.
    fn outcome(&self) -> CredentialOutcome {
        match self {
            Self::Chain(_) => CredentialOutcome::NoneFound,
            Self::AssumeRole(error) => CredentialOutcome::of_code(error.code()),
            Self::Incomplete | Self::AlreadyExpired => CredentialOutcome::Unusable,
        }
    }

    /// Everything that is known about the cause; for the log, not for callers.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::AssumeRole(error) => match (error.code(), error.message()) {
                (Some(code), message) => format!("{self}: {code}: {}", message.unwrap_or("no message")),
                (None, _) => causes::joined(self),
            },
            Self::Chain(_) | Self::Incomplete | Self::AlreadyExpired => causes::joined(self),
        }
    }
}

impl Source {
    /// The SDK's default chain (environment, profile, SSO, web identity, container, IMDSv2), and on top of it a role.
    #[must_use]
    pub fn new(config: &SdkConfig, role: Option<Role>) -> Self {
        let chain = config.credentials_provider().expect("the default chain is always set");
        let role = role.map(|role| (role, aws_sdk_sts::Client::new(config)));
        Self { chain, role, outcomes: Arc::default(), skew: Skew::default() }
    }

    /// The same, counting together with others how it goes.
    #[must_use]
    pub fn counting(self, outcomes: Arc<Outcomes>) -> Self {
        Self { outcomes, ..self }
    }

    /// Obtains credentials; for this caller, if the role carries names.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn obtain(&self, caller: Option<&str>) -> Result<Credentials, SourceError> {
        let result = self.checked(caller).await;
        let outcome = result.as_ref().map_or_else(SourceError::outcome, |_| CredentialOutcome::Obtained);
        self.outcomes.count(self.role.is_some(), outcome);
        result
    }

    async fn checked(&self, caller: Option<&str>) -> Result<Credentials, SourceError> {
        let credentials = match self.ask(caller).await {
            Err(SourceError::AssumeRole(error)) if self.is_refused_for_its_time(&error) => self.ask(caller).await?,
            answer => answer?,
        };
        let parts =
            [Some(credentials.access_key_id()), Some(credentials.secret_access_key()), credentials.session_token()];
        if parts.into_iter().flatten().any(str::is_empty) {
            return Err(SourceError::Incomplete);
        }
        if credentials.expiry().is_some_and(|expiry| expiry <= clock::now()) {
            return Err(SourceError::AlreadyExpired);
        }
        Ok(credentials)
    }

    /// True if STS refused the signature for its time. The SDK has taken note of that as well, and signs the next one for
    /// STS's time; without retries of its own it does not send it.
    fn is_refused_for_its_time(&self, error: &SdkError<AssumeRoleError>) -> bool {
        let Some(refusal) = error.raw_response().filter(|response| response.status().as_u16() == 403) else {
            return false;
        };
        let date = refusal.headers().get("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let now = clock::now();
        let is_learnt = date.is_some_and(|there| self.skew.learn(there, now, self.skew.correct(now)));
        if is_learnt {
            let hint = "synchronise this machine's clock (on EC2 with 169.254.169.123)";
            warn!(aws_is_ahead_s = self.skew.seconds(), hint, "STS has another time; signatures are made with it");
        }
        is_learnt
    }

    async fn ask(&self, caller: Option<&str>) -> Result<Credentials, SourceError> {
        let Some((role, sts)) = &self.role else {
            return self.chain.provide_credentials().await.map_err(SourceError::Chain);
        };
        // Without a caller it is the appliance itself: a trust policy may demand that there is a name.
        let name = caller.unwrap_or(&role.session_name);
        let tag = || Tag::builder().key(CALLER_TAG).value(name).build().ok();
        let tag = (role.carries == Some(Carries::SessionTag)).then(tag).flatten();
        let identity = (role.carries == Some(Carries::SourceIdentity)).then(|| name.to_owned());
        let answer = sts
            .assume_role()
            .set_source_identity(identity)
            .set_tags(tag.map(|tag| vec![tag]))
            .role_arn(&role.arn)
            .role_session_name(&role.session_name)
            .set_external_id(role.external_id.clone())
            .duration_seconds(i32::try_from(role.duration.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| SourceError::AssumeRole(Box::new(error)))?;
        let issued = answer.credentials.ok_or(SourceError::Incomplete)?;
        let expiry = SystemTime::try_from(issued.expiration).map_err(|_| SourceError::Incomplete)?;
        // Renewal goes by our clock.
        let expiry = self.skew.ours(expiry);
        Ok(Credentials::new(
            issued.access_key_id,
            issued.secret_access_key,
            Some(issued.session_token),
            Some(expiry),
            "AssumeRole",
        ))
    }
}

/// The latest credentials, shared by everyone who signs. Cloning shares.
#[derive(Clone, Debug)]
pub struct Current {
    state: Arc<ArcSwap<State>>,
    renew: Arc<Notify>,
    outcomes: Arc<Outcomes>,
}

#[derive(Debug)]
struct State {
    credentials: Option<Credentials>,
    problem: String,
}

/// No valid credentials at this moment; the text says why, in words that any caller may read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(String);

impl Default for Current {
    fn default() -> Self {
        let state = State { credentials: None, problem: "AWS credentials have not been obtained yet".to_owned() };
        Self { state: Arc::new(ArcSwap::from_pointee(state)), renew: Arc::default(), outcomes: Arc::default() }
    }
}

impl Current {
    /// These credentials and no others, for a few calls that end before they do.
    #[must_use]
    pub fn holding(credentials: Credentials) -> Self {
        let state = State { credentials: Some(credentials), problem: "the AWS credentials have expired".to_owned() };
        Self { state: Arc::new(ArcSwap::from_pointee(state)), renew: Arc::default(), outcomes: Arc::default() }
    }

    /// Calls `sign` with the credentials to use at `now`. Never waits.
    ///
    /// # Errors
    /// [`Unavailable`] before the first success, and after expiry if renewal fails.
    pub fn with<T>(&self, now: SystemTime, sign: impl FnOnce(&Credentials) -> T) -> Result<T, Unavailable> {
        let state = self.state.load();
        match &state.credentials {
            Some(credentials) if credentials.expiry().is_none_or(|expiry| expiry > now) => Ok(sign(credentials)),
            _ => Err(Unavailable(state.problem.clone())),
        }
    }

    /// When those that are held expire, if they do; nothing if there are none.
    #[must_use]
    pub fn expiry(&self) -> Option<Option<SystemTime>> {
        self.state.load().credentials.as_ref().map(Credentials::expiry)
    }

    /// Counts how attempts to obtain them went.
    #[must_use]
    pub fn outcomes(&self) -> &Arc<Outcomes> {
        &self.outcomes
    }

    /// Asks for renewal now, for example because AWS called the credentials expired or revoked.
    pub fn renew(&self) {
        self.renew.notify_one();
    }

    /// Keeps the credentials fresh for as long as it is polled; those that are held already are first renewed when it is
    /// time. Run exactly one.
    pub async fn keep_fresh(&self, source: &Source) {
        let mut failures = 0;
        let held = self.state.load().credentials.as_ref().map(|held| until_renewal(held, clock::now()));
        if let Some(wait) = held {
            self.pause(wait).await;
        }
        loop {
            let wait = match source.obtain(None).await {
                Ok(credentials) => {
                    failures = 0;
                    let wait = until_renewal(&credentials, clock::now());
                    self.publish(credentials);
                    wait
                }
                Err(error) => {
                    failures += 1;
                    self.note_failure(&error);
                    let (first, longest) = RETRY_WAITS;
                    (first * 2_u32.pow((failures - 1).min(5))).min(longest)
                }
            };
            self.pause(wait).await;
        }
    }

    /// Until then, or until somebody asks for others.
    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.renew.notified() => {}
        }
    }

    pub(super) fn publish(&self, credentials: Credentials) {
        let lifetime = credentials.expiry().and_then(|expiry| expiry.duration_since(clock::now()).ok());
        info!(valid_for_s = lifetime.map(|lifetime| lifetime.as_secs()), "AWS credentials obtained");
        let problem = "the AWS credentials have expired and could not be renewed yet".to_owned();
        self.state.store(Arc::new(State { credentials: Some(credentials), problem }));
    }

    pub(super) fn note_failure(&self, error: &SourceError) {
        let still_valid = self.with(clock::now(), |_| ()).is_ok();
        warn!(still_valid, error = error.detail(), hint = error.hint(), "AWS credentials not obtained");
        let state = self.state.load();
        self.state.store(Arc::new(State { credentials: state.credentials.clone(), problem: error.to_string() }));
    }
}

/// Whose the credentials of the default chain are, as STS says; nothing if it does not say.
pub async fn caller_identity(config: &SdkConfig) -> Option<String> {
    aws_sdk_sts::Client::new(config).get_caller_identity().send().await.ok()?.arn
}

/// How long to keep credentials before renewing them.
pub(super) fn until_renewal(credentials: &Credentials, now: SystemTime) -> Duration {
    let Some(expiry) = credentials.expiry() else {
        return REREAD_INTERVAL;
    };
    let lifetime = expiry.duration_since(now).unwrap_or_default();
    let margin = RENEWAL_MARGIN.min(lifetime / 4);
    // A source that hands out credentials at the end of their life must not be asked in a tight loop.
    lifetime.saturating_sub(margin).max(Duration::from_secs(1))
}
