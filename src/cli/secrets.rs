//! Secrets in AWS's stores that options name: a secret, and the service to ask for it.

use super::options::RawValue;
use super::problems::{Problems, Reported};
use super::values;
use crate::api::stored_secret::StoredSecret;
use crate::aws::secret::{Keeper, Secret};
use crate::http::client::Endpoint;

/// The secret, and the service to ask for it: by the variables of AWS's SDKs, otherwise the region's.
///
/// The variables are read here, because these calls use no SDK.
pub(super) fn located(secret: Secret, region: &str) -> Result<StoredSecret, String> {
    let service = match secret.keeper() {
        Keeper::ParameterStore => "AWS_ENDPOINT_URL_SSM",
        Keeper::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    };
    let region = secret.region(region).to_owned();
    let given = [service, "AWS_ENDPOINT_URL"].into_iter().find_map(|variable| {
        let url = std::env::var(variable).ok().filter(|url| !url.is_empty())?;
        Some(values::endpoint(&url).map_err(|what| format!("{variable}: {what}")))
    });
    let endpoint = given.unwrap_or_else(|| Ok(Endpoint::https(secret.host(&region))))?;
    Ok(StoredSecret { secret, region, endpoint })
}

/// The secret that the value of an option names; none if it names a file. `region` is that of a secret without one.
///
/// SECURITY: the value may be the secret itself by mistake, so no message repeats it.
pub(super) fn stored(
    given: &RawValue,
    region: &str,
    problems: &mut Problems,
) -> Result<Option<StoredSecret>, Reported> {
    if !["ssm:", "secretsmanager:"].iter().any(|keeper| given.text.starts_with(keeper)) {
        return Ok(None);
    }
    let Some(secret) = Secret::parse(&given.text) else {
        let hint = "write a name or an ARN after the colon, as in `secretsmanager:mlflow/session-key`";
        problems.add(&given.origin, "the text after the colon is not the name of a secret", hint);
        return Err(Reported);
    };
    match located(secret, region) {
        Ok(secret) => Ok(Some(secret)),
        Err(what) => {
            problems.add(&given.origin, what, "write `https://host` or `https://host:port`");
            Err(Reported)
        }
    }
}
