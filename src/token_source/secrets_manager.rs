//! Changes of tokens in Secrets Manager, which can compare and swap.
//!
//! A writer stores its tokens as a version beside the current one. Then it moves the label `AWSCURRENT` to it, and names the
//! version that it has read. AWS refuses that if the label is elsewhere by now, and the writer begins anew.

use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use tokio::time::sleep;

use super::calls::{ATTEMPTS, SecretCalls};
use super::error::{TokenSourceError, UpdateError};
use super::source::WhenMissing;
use crate::access::tokens::Tokens;

/// The label of a version until it is the current one. It is one label for all writers, because a secret has at most 20: a
/// writer that takes it from another's version does not delete that version.
const LABEL: &str = "appliance-next";

/// The current version.
struct CurrentSecret {
    version: String,
    tokens: Tokens,
}

/// Changes the tokens.
pub(super) async fn update<T, E>(
    calls: &SecretCalls<'_>,
    missing: WhenMissing,
    edit: &mut impl FnMut(&mut Tokens) -> Result<T, E>,
) -> Result<T, UpdateError<E>> {
    let mut waits = SecretCalls::waits();
    for _ in 0..ATTEMPTS {
        let current = current(calls).await?;
        if current.is_none() && missing == WhenMissing::Fail {
            return Err(TokenSourceError::Missing(calls.name().to_owned()).into());
        }
        let (read, mut tokens) = current.map_or((None, Tokens::default()), |it| (Some(it.version), it.tokens));
        let result = edit(&mut tokens).map_err(UpdateError::Edit)?;
        if replace(calls, read.as_deref(), &tokens).await? {
            return Ok(result);
        }
        sleep(waits.wait()).await;
    }
    Err(TokenSourceError::Contended(calls.name().to_owned()).into())
}

/// Makes these tokens current in the place of the version that was read. Returns false if another is current by now.
async fn replace(calls: &SecretCalls<'_>, read: Option<&str>, tokens: &Tokens) -> Result<bool, TokenSourceError> {
    let (name, version, text) = (calls.name(), new_version()?, tokens.to_string());
    if read.is_none() {
        let input = json!({"Name": name, "ClientRequestToken": version, "SecretString": text});
        match calls.ask("secretsmanager.CreateSecret", &input).await {
            Ok(_) => return Ok(true),
            // The secret has no value yet, as after its creation in the console, or another writer has just created it.
            Err(TokenSourceError::Refused { code, .. }) if code == "ResourceExistsException" => {}
            Err(error) => return Err(error),
        }
    }
    let input = json!({
        "SecretId": name,
        "ClientRequestToken": version,
        "SecretString": text,
        "VersionStages": [LABEL],
    });
    calls.ask("secretsmanager.PutSecretValue", &input).await?;
    let mut input = json!({"SecretId": name, "VersionStage": "AWSCURRENT", "MoveToVersionId": version});
    if let Some(read) = read {
        input["RemoveFromVersionId"] = read.into();
    }
    let Err(error) = calls.ask("secretsmanager.UpdateSecretVersionStage", &input).await else { return Ok(true) };
    // AWS has one error for a label that is elsewhere and for other faults, and its answer can get lost. The state decides.
    match current(calls).await? {
        Some(current) if current.version == version => Ok(true),
        Some(current) if Some(current.version.as_str()) != read => Ok(false),
        _ => Err(error),
    }
}

/// The current version; none if there is no such secret, or if it has no value.
async fn current(calls: &SecretCalls<'_>) -> Result<Option<CurrentSecret>, TokenSourceError> {
    const OPERATION: &str = "secretsmanager.GetSecretValue";
    let answer = match calls.ask(OPERATION, &json!({"SecretId": calls.name(), "VersionStage": "AWSCURRENT"})).await {
        Ok(answer) => answer,
        Err(TokenSourceError::Refused { code, .. }) if code == "ResourceNotFoundException" => return Ok(None),
        Err(error) => return Err(error),
    };
    let (Some(version), Some(text)) = (answer["VersionId"].as_str(), answer["SecretString"].as_str()) else {
        return Err(TokenSourceError::Answer(calls.action(OPERATION)));
    };
    Ok(Some(CurrentSecret { version: version.to_owned(), tokens: calls.parsed(text)? }))
}

/// A name for a new version. The same name with the same text twice makes one version, so a call may be repeated.
fn new_version() -> Result<String, TokenSourceError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| TokenSourceError::NoRandomness)?;
    Ok(hex::encode(bytes))
}
