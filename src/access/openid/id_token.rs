//! The checks of an ID token that go beyond those of any token (OpenID Connect Core 3.1.3.7), and the claims beside it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use serde_json::{Map, Value};

use crate::access::jwt::{JwtAlgorithm, JwtClaims};

/// The longest `sub` (OpenID Connect Core, 2). Characters.
const SUBJECT_LIMIT: usize = 255;

/// The reason why an ID token with a valid signature is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// The token was made for another sign-in.
    #[error("the ID token has the nonce of another sign-in, or none")]
    Nonce,
    /// The token was issued to another client.
    #[error("the ID token was issued to another client")]
    Client,
    /// The token belongs to another access token.
    #[error("the ID token belongs to another access token")]
    AccessToken,
    /// The token names no person.
    #[error("the ID token names no subject")]
    Subject,
    /// The user info is about another person.
    #[error("the user info is about another subject than the ID token")]
    OtherSubject,
}

/// Checks the claims of an ID token whose signature, issuer, audience and times are valid.
///
/// # Errors
/// [`IdTokenError`].
pub fn check_id_token(
    claims: &JwtClaims,
    client_id: &str,
    nonce: &str,
    access_token: Option<&str>,
    algorithm: JwtAlgorithm,
) -> Result<(), IdTokenError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // SECURITY: this ties the token to the browser that began the sign-in; a token of another sign-in is a replay.
    if text("nonce") != Some(nonce) {
        return Err(IdTokenError::Nonce);
    }
    let has_others = matches!(claims.get("aud"), Some(Value::Array(list)) if list.len() > 1);
    match claims.get("azp") {
        None if has_others => return Err(IdTokenError::Client),
        Some(party) if party != client_id => return Err(IdTokenError::Client),
        _ => {}
    }
    if let (Some(hash), Some(token)) = (claims.get("at_hash"), access_token)
        && *hash != left_half(algorithm, token).as_str()
    {
        return Err(IdTokenError::AccessToken);
    }
    match text("sub") {
        Some(subject) if !subject.is_empty() && subject.chars().count() <= SUBJECT_LIMIT => Ok(()),
        _ => Err(IdTokenError::Subject),
    }
}

/// Adds the claims of the user info that the ID token lacks. Those of the ID token are signed, and stay as they are.
///
/// # Errors
/// [`IdTokenError::OtherSubject`].
pub fn merge_user_info(claims: &JwtClaims, info: Map<String, Value>) -> Result<JwtClaims, IdTokenError> {
    // SECURITY: without this, a provider's mistake could give one person the groups of another (OpenID Connect Core, 5.3.2).
    if info.get("sub").is_none() || info.get("sub") != claims.get("sub") {
        return Err(IdTokenError::OtherSubject);
    }
    let mut all = info;
    for (name, value) in claims.iter() {
        all.insert(name.clone(), value.clone());
    }
    Ok(JwtClaims::from(all))
}

/// `at_hash`: the left half of the access token's hash, with the hash function of the ID token's signature.
fn left_half(algorithm: JwtAlgorithm, token: &str) -> String {
    let function: &'static Algorithm = match algorithm {
        JwtAlgorithm::Rs256 | JwtAlgorithm::Ps256 | JwtAlgorithm::Es256 => &SHA256,
        JwtAlgorithm::Rs384 | JwtAlgorithm::Ps384 | JwtAlgorithm::Es384 => &SHA384,
        JwtAlgorithm::Rs512 | JwtAlgorithm::Ps512 | JwtAlgorithm::EdDsa => &SHA512,
    };
    let hash = digest(function, token.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: &Value) -> JwtClaims {
        JwtClaims::from(value.as_object().expect("it is an object").clone())
    }

    #[test]
    fn an_id_token_is_for_this_sign_in_this_client_and_this_access_token() {
        // The example of OpenID Connect Core, A.3, for the access token that RFC 6749 uses.
        let (token, hash) = ("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ");
        let check = |change: &Value, token| {
            let mut all = json!({"sub": "ada", "nonce": "n", "aud": "mlflow"});
            for (name, value) in change.as_object().expect("it is an object") {
                all[name] = value.clone();
            }
            check_id_token(&claims(&all), "mlflow", "n", token, JwtAlgorithm::Rs256).err()
        };
        for (change, expected) in [
            (json!({}), None),
            (json!({"azp": "mlflow"}), None),
            (json!({"aud": ["mlflow", "other"], "azp": "mlflow"}), None),
            (json!({"at_hash": hash}), None),
            (json!({"nonce": "m"}), Some(IdTokenError::Nonce)),
            (json!({"nonce": null}), Some(IdTokenError::Nonce)),
            (json!({"nonce": ["n"]}), Some(IdTokenError::Nonce)),
            (json!({"azp": "other"}), Some(IdTokenError::Client)),
            (json!({"azp": 7}), Some(IdTokenError::Client)),
            (json!({"aud": ["mlflow", "other"]}), Some(IdTokenError::Client)),
            (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), Some(IdTokenError::AccessToken)),
            (json!({"at_hash": 7}), Some(IdTokenError::AccessToken)),
            (json!({"sub": ""}), Some(IdTokenError::Subject)),
            (json!({"sub": 7}), Some(IdTokenError::Subject)),
            (json!({"sub": "x".repeat(256)}), Some(IdTokenError::Subject)),
        ] {
            assert_eq!(check(&change, Some(token)), expected, "{change}");
        }
        assert_eq!(check(&json!({"at_hash": hash}), None), None);
    }

    #[test]
    fn user_info_adds_claims_and_replaces_none() {
        let token = claims(&json!({"sub": "ada", "groups": ["a"]}));
        let info = |value: Value| merge_user_info(&token, value.as_object().expect("it is an object").clone());
        let merged =
            info(json!({"sub": "ada", "groups": ["b"], "email": "ada@corp.example"})).expect("it is about ada");
        assert_eq!(merged, claims(&json!({"sub": "ada", "groups": ["a"], "email": "ada@corp.example"})));
        for other in [json!({"sub": "eve"}), json!({"groups": ["a"]}), json!({"sub": null})] {
            assert_eq!(info(other), Err(IdTokenError::OtherSubject));
        }
    }
}
