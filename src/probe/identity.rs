//! Obtains the credentials that sign: the machine's own, and those of the role that it assumes.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use tokio::time::{Instant, timeout};

use super::finding::Finding;
use super::settings::PROBE_LIMIT;
use crate::aws::credentials::CurrentCredentials;
use crate::aws::role::AssumedRole;
use crate::aws::source::{CredentialSource, SourceError, caller_identity};
use crate::clock;

/// Credentials that are renewed are never closer to their end.
const SHORT: Duration = Duration::from_mins(5);

/// Obtains credentials as `serve` would, one step at a time.
pub(super) async fn probe(
    config: &SdkConfig,
    role: Option<&AssumedRole>,
) -> (Vec<Finding>, Option<CurrentCredentials>) {
    let began = Instant::now();
    let own = match obtained(CredentialSource::new(config, None)).await {
        Ok(credentials) => credentials,
        Err((text, fix)) => {
            let finding = Finding { took: began.elapsed(), ..Finding::failure("credentials", "", text, fix) };
            return (vec![finding], None);
        }
    };
    // The ARN is only informative, so an error is no failure: the call needs no permission, but it does need STS.
    let who = timeout(PROBE_LIMIT, caller_identity(config)).await.ok().flatten();
    let finding = lifetime("credentials", "", &own, clock::now(), who.as_deref().unwrap_or("found"));
    let mut findings = vec![Finding { took: began.elapsed(), ..finding }];
    let Some(role) = role else { return (findings, Some(CurrentCredentials::holding(own))) };

    let began = Instant::now();
    let (finding, credentials) = match obtained(CredentialSource::new(config, Some(role.clone()))).await {
        Ok(credentials) => (
            lifetime("role", &role.arn, &credentials, clock::now(), "assumed"),
            Some(CurrentCredentials::holding(credentials)),
        ),
        Err((text, fix)) => {
            let who = who.map(|who| format!(" (this machine is `{who}`)")).unwrap_or_default();
            (Finding::failure("role", &role.arn, text, format!("{fix}{who}")), None)
        }
    };
    findings.push(Finding { took: began.elapsed(), ..finding });
    (findings, credentials)
}

async fn obtained(source: CredentialSource) -> Result<Credentials, (String, String)> {
    match timeout(PROBE_LIMIT, source.obtain(None)).await {
        Ok(Ok(credentials)) => Ok(credentials),
        Ok(Err(error)) => Err((error.detail(), SourceError::hint(&error).to_owned())),
        Err(_) => Err((
            format!("there was no answer within {PROBE_LIMIT:?}"),
            "check that STS can be reached from here".into(),
        )),
    }
}

fn lifetime(check: &'static str, subject: &str, credentials: &Credentials, now: SystemTime, what: &str) -> Finding {
    let Some(expiry) = credentials.expiry() else {
        return Finding::ok(check, subject, format!("{what}; they do not expire"));
    };
    let left = expiry.duration_since(now).unwrap_or_default();
    let shown = humantime::format_duration(Duration::from_secs(left.as_secs()));
    if left < SHORT {
        let fix = "renew the session that they come from, with `aws sso login` for example";
        return Finding::warning(check, subject, format!("{what}; they expire in {shown}"), fix);
    }
    Finding::ok(check, subject, format!("{what}; they expire in {shown}"))
}
