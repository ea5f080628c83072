//! Changes of tokens in the Parameter Store, which cannot compare and swap.
//!
//! `PutParameter` overwrites whatever is there, and returns the number of the new version. The next number after the one that
//! was read means that nothing came between. Otherwise the writer has overwritten another change, and repairs that: it reads the
//! version before its own from the history, applies its own change to it, and writes the result, until nothing comes between.
//!
//! A third writer may have read what was written before the repair, and lack the change that the repair restores. So a writer
//! carries that change along with its own from then on. Whoever overwrites several versions repairs only the last of
//! them, because the writer of that one does the same for the one before it.
//!
//! A version that lacks a token does not say if its writer has revoked it or has never seen it. So each version names in a
//! comment what its writer has revoked, and what any version in the history names never comes back.
//!
//! If a writer is killed between its write and its repair, the overwritten change stays lost. The history still has it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::calls::{ATTEMPTS, SecretCalls};
use super::error::{TokenSourceError, UpdateError};
use super::patch::TokenPatch;
use super::source::WhenMissing;
use crate::access::tokens::Tokens;

const HISTORY: &str = "AmazonSSM.GetParameterHistory";
const PUT: &str = "AmazonSSM.PutParameter";
/// The beginning of a comment with the ids of revoked tokens.
const REVOKED: &str = "# revoked:";
/// AWS keeps 100 versions, on pages of at most 50.
const PAGE_LIMIT: usize = 10;

/// A version of a parameter, with what a new version takes over from it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterVersion {
    name: String,
    version: u64,
    value: String,
    r#type: String,
    key_id: Option<String>,
    tier: Option<String>,
}

/// Changes the tokens.
pub(super) async fn update<T, E>(
    calls: &SecretCalls<'_>,
    missing: WhenMissing,
    edit: &mut impl FnMut(&mut Tokens) -> Result<T, E>,
) -> Result<T, UpdateError<E>> {
    let mut waits = SecretCalls::waits();
    for _ in 0..ATTEMPTS {
        let latest = history(calls).await?.into_iter().max_by_key(|one| one.version);
        let old = match &latest {
            None if missing == WhenMissing::Fail => {
                return Err(TokenSourceError::Missing(calls.name().to_owned()).into());
            }
            None => Tokens::default(),
            Some(latest) => calls.parsed(&latest.value)?,
        };
        let mut new = old.clone();
        let result = edit(&mut new).map_err(UpdateError::Edit)?;
        match latest {
            Some(latest) => {
                replace(calls, &latest, old, new).await?;
                return Ok(result);
            }
            None if create(calls, &new).await? => return Ok(result),
            // Another writer has just created it.
            None => sleep(waits.wait()).await,
        }
    }
    Err(TokenSourceError::Contended(calls.name().to_owned()).into())
}

/// Creates the parameter. Returns false if it exists by now.
async fn create(calls: &SecretCalls<'_>, tokens: &Tokens) -> Result<bool, TokenSourceError> {
    let input = json!({"Name": calls.name(), "Value": tokens.to_string(), "Type": "SecureString", "Overwrite": false});
    match calls.ask(PUT, &input).await {
        Ok(_) => Ok(true),
        Err(TokenSourceError::Refused { code, .. }) if code == "ParameterAlreadyExists" => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the new tokens, and repairs what that overwrites.
async fn replace(
    calls: &SecretCalls<'_>,
    latest: &ParameterVersion,
    mut old: Tokens,
    mut new: Tokens,
) -> Result<(), TokenSourceError> {
    let mut change = TokenPatch::between(&old, &new);
    let mut read = latest.version;
    let mut waits = SecretCalls::waits();
    for _ in 0..ATTEMPTS {
        let written = put(calls, latest, &with_revoked(&new, &change)).await?;
        // After a deletion the numbers begin anew, and there is nothing that was overwritten.
        if written <= read + 1 {
            return Ok(());
        }
        let versions = history(calls).await?;
        let revoked: BTreeSet<_> =
            versions.iter().flat_map(|one| revoked_in(&one.value)).map(ToOwned::to_owned).collect();
        let before = versions.into_iter().find(|one| one.version == written - 1);
        let before = before.ok_or_else(|| TokenSourceError::Answer(calls.action(HISTORY)))?;
        let overwritten = calls.parsed(&before.value)?;
        let theirs = TokenPatch::between(&old, &overwritten);
        // Another program than this one writes no such comment, and may have revoked what is missing.
        let is_ours = before.value.lines().any(|line| line.starts_with(REVOKED));
        change = change.after(if is_ours { theirs.intended(&revoked) } else { theirs });
        let mut repaired = change.applied(&overwritten);
        repaired.remove(|entry| revoked.contains(&entry.id));
        if TokenPatch::between(&new, &repaired).is_empty() {
            return Ok(());
        }
        (old, new, read) = (new, repaired, written);
        sleep(waits.wait()).await;
    }
    Err(TokenSourceError::Contended(calls.name().to_owned()))
}

/// Overwrites the parameter, and returns the number of the new version. Type, key and tier stay as they were.
async fn put(calls: &SecretCalls<'_>, latest: &ParameterVersion, text: &str) -> Result<u64, TokenSourceError> {
    // AWS accepts no ARN here, so the name is the one in the history.
    let mut input = json!({"Name": latest.name, "Value": text, "Type": latest.r#type, "Overwrite": true});
    if let (Some(key), "SecureString") = (&latest.key_id, latest.r#type.as_str()) {
        input["KeyId"] = key.as_str().into();
    }
    if let Some(tier) = &latest.tier {
        input["Tier"] = tier.as_str().into();
    }
    let answer = calls.ask(PUT, &input).await?;
    answer["Version"].as_u64().ok_or_else(|| TokenSourceError::Answer(calls.action(PUT)))
}

/// The text of the tokens, with a comment that names what the change revokes.
fn with_revoked(tokens: &Tokens, change: &TokenPatch) -> String {
    let ids: Vec<&str> = change.revoked().collect();
    format!("{tokens}{REVOKED} {}\n", ids.join(" "))
}

/// The ids in such a comment.
fn revoked_in(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix(REVOKED)).flat_map(str::split_whitespace)
}

/// All versions that AWS keeps; none if there is no such parameter.
async fn history(calls: &SecretCalls<'_>) -> Result<Vec<ParameterVersion>, TokenSourceError> {
    let mut versions = Vec::new();
    let mut input = json!({"Name": calls.name(), "WithDecryption": true});
    for _ in 0..PAGE_LIMIT {
        let mut answer = match calls.ask(HISTORY, &input).await {
            Ok(answer) => answer,
            Err(TokenSourceError::Refused { code, .. }) if code == "ParameterNotFound" => return Ok(versions),
            Err(error) => return Err(error),
        };
        let page: Vec<ParameterVersion> = serde_json::from_value(answer["Parameters"].take())
            .map_err(|_| TokenSourceError::Answer(calls.action(HISTORY)))?;
        versions.extend(page);
        match answer["NextToken"].as_str() {
            Some(next) if !next.is_empty() => input["NextToken"] = next.into(),
            _ => break,
        }
    }
    Ok(versions)
}
