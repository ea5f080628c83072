//! The source of credentials: the SDK's default chain, and a role that is assumed with them.

use std::sync::Arc;
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_sdk_sts::error::SdkError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::types::Tag;
use tracing::warn;

use super::outcomes::{CredentialOutcome, Outcomes};
use super::role::{AssumedRole, CallerNaming};
use super::skew::Skew;
use crate::{clock, error_chain};

/// The session tag that names a caller.
const CALLER_TAG: &str = "caller";

/// The source of credentials.
pub struct CredentialSource {
    chain: SharedCredentialsProvider,
    role: Option<(AssumedRole, aws_sdk_sts::Client)>,
    outcomes: Arc<Outcomes>,
    /// The difference between the clock of AWS and ours.
    skew: Skew,
}

/// The reason why no credentials were obtained.
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
    /// The source answered with expired credentials.
    #[error("the AWS credentials that were returned have already expired")]
    AlreadyExpired,
}

impl SourceError {
    /// The fix, as an instruction.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            // The SDK has no error of its own for this case, only a text.
            Self::Chain(_) if error_chain::joined(self).contains("was not defined") => {
                "correct AWS_PROFILE, or add that profile to the AWS configuration file"
            }
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

    /// The outcome as metrics count it.
    fn outcome(&self) -> CredentialOutcome {
        match self {
            Self::Chain(_) => CredentialOutcome::NoneFound,
            Self::AssumeRole(error) => CredentialOutcome::of_code(error.code()),
            Self::Incomplete | Self::AlreadyExpired => CredentialOutcome::Unusable,
        }
    }

    /// The full cause. It is for the log, not for callers.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::AssumeRole(error) => match (error.code(), error.message()) {
                (Some(code), message) => format!("{self}: {code}: {}", message.unwrap_or("no message")),
                (None, _) => error_chain::joined(self),
            },
            Self::Chain(_) => in_one_line(&error_chain::joined(self)),
            Self::Incomplete | Self::AlreadyExpired => error_chain::joined(self),
        }
    }
}

/// The SDK's text about a chain in which no source has credentials, as one line of a log. The SDK writes a line for each source,
/// and says of each that it is not enabled; other texts stay as they are.
fn in_one_line(text: &str) -> String {
    let Some((before, sources)) = text.split_once("Attempted:\n") else { return text.to_owned() };
    let summary = before.split(": ").next().unwrap_or_default();
    let tried = sources.lines().map(|line| match line.trim().split_once(": the credential provider was not enabled") {
        Some((source, "")) => format!("{source}: not configured"),
        Some((source, reason)) => format!("{source}{reason}"),
        None => line.trim().to_owned(),
    });
    format!("{summary}; tried {}", tried.collect::<Vec<_>>().join("; "))
}

impl CredentialSource {
    /// The SDK's default chain (environment, profile, SSO, web identity, container, IMDSv2), and on top of it a role.
    #[must_use]
    pub fn new(config: &SdkConfig, role: Option<AssumedRole>) -> Self {
        let chain = config.credentials_provider().expect("the default chain is always set");
        let role = role.map(|role| (role, aws_sdk_sts::Client::new(config)));
        Self { chain, role, outcomes: Arc::default(), skew: Skew::default() }
    }

    /// Returns the same source, which counts its outcomes together with those of other sources.
    #[must_use]
    pub fn counting(self, outcomes: Arc<Outcomes>) -> Self {
        Self { outcomes, ..self }
    }

    /// Returns the same source, which uses and corrects this skew.
    #[must_use]
    pub fn with_skew(self, skew: Skew) -> Self {
        Self { skew, ..self }
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
        if credentials.expiry().is_some_and(|expiry| expiry <= self.skew.correct(clock::now())) {
            return Err(SourceError::AlreadyExpired);
        }
        Ok(credentials)
    }

    /// True if STS refused the signature for its time. The SDK has taken note of that as well, and signs the next one for
    /// STS's time; without retries of its own it does not send it.
    fn is_refused_for_its_time(&self, error: &SdkError<AssumeRoleError>) -> bool {
        let Some(rejection) = error.raw_response().filter(|response| response.status().as_u16() == 403) else {
            return false;
        };
        let date = rejection.headers().get("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let now = clock::now();
        let is_detected = date.is_some_and(|there| self.skew.detect(there, now, self.skew.correct(now)));
        if is_detected {
            let hint = "synchronise this machine's clock (on EC2 with 169.254.169.123)";
            warn!(
                aws_is_ahead_s = self.skew.seconds(),
                hint, "clock skew was detected, and signatures now use the time of STS"
            );
        }
        is_detected
    }

    async fn ask(&self, caller: Option<&str>) -> Result<Credentials, SourceError> {
        let Some((role, sts)) = &self.role else {
            return self.chain.provide_credentials().await.map_err(SourceError::Chain);
        };
        // Without a caller, the appliance itself needs credentials; a trust policy may require a name all the same.
        let name = caller.unwrap_or(&role.session_name);
        let tag = || Tag::builder().key(CALLER_TAG).value(name).build().ok();
        let tag = (role.caller_naming == Some(CallerNaming::SessionTag)).then(tag).flatten();
        let identity = (role.caller_naming == Some(CallerNaming::SourceIdentity)).then(|| name.to_owned());
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
        Ok(Credentials::new(
            issued.access_key_id,
            issued.secret_access_key,
            Some(issued.session_token),
            Some(expiry),
            "AssumeRole",
        ))
    }
}

/// The ARN of the identity behind the default chain's credentials, if STS tells it.
pub async fn caller_identity(config: &SdkConfig) -> Option<String> {
    aws_sdk_sts::Client::new(config).get_caller_identity().send().await.ok()?.arn
}

#[cfg(test)]
mod tests {
    use super::in_one_line;

    #[test]
    fn the_sources_that_were_tried_are_one_line() {
        let text = "no AWS credentials were found: the credential provider was not enabled: no credentials found in chain. \
                    Attempted:\n  Environment: the credential provider was not enabled: environment variable not set\n  \
                    Profile: the credential provider was not enabled\n  Ec2InstanceMetadata: failed to load credentials";
        let expected = "no AWS credentials were found; tried Environment: environment variable not set; \
                        Profile: not configured; Ec2InstanceMetadata: failed to load credentials";
        assert_eq!(in_one_line(text), expected);
        assert_eq!(in_one_line("no AWS credentials were found: a: b\nc"), "no AWS credentials were found: a: b\nc");
    }
}
