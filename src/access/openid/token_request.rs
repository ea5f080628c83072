//! The token request, in which the appliance exchanges a code for an ID token, and its response.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::SecretString;
use serde_json::Value;
use url::form_urlencoded::{self, byte_serialize};

use super::authorization::shown;

/// Returns the form of a token request. `secret` is for a provider that wants it there.
#[must_use]
pub fn token_form(
    client_id: &str,
    secret: Option<&str>,
    code: &str,
    redirect_uri: &str,
    verifier: &str,
) -> SecretString {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("client_id", client_id)
        .append_pair("code_verifier", verifier);
    if let Some(secret) = secret {
        form.append_pair("client_secret", secret);
    }
    form.finish().into()
}

/// Returns the value of `Authorization` for a client with a secret. Both are form-encoded first (RFC 6749, 2.3.1).
#[must_use]
pub fn basic_credentials(client_id: &str, secret: &str) -> SecretString {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret)))).into()
}

/// The tokens of a person who has signed in.
#[derive(Debug)]
pub struct TokenResponse {
    /// The ID token, which names the person.
    pub id_token: String,
    /// The access token, with which the provider tells more about the person.
    pub access_token: Option<SecretString>,
}

/// A provider's reason for an error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRefusal(String);

impl std::fmt::Display for ProviderRefusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The provider has not issued an ID token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenResponseError {
    /// The provider answered with an error.
    #[error("the identity provider answered {status}: {refusal}")]
    Refused {
        /// The status of the response.
        status: u16,
        /// The reason.
        refusal: ProviderRefusal,
    },
    /// The code is used up, expired, or was not for this client.
    #[error("the identity provider does not accept the code: {0}")]
    Code(ProviderRefusal),
    /// The provider does not accept the client or its secret.
    #[error("the identity provider does not accept the client or its secret: {0}")]
    Client(ProviderRefusal),
    /// The answer is not an object of JSON with a token in it.
    #[error("the identity provider's response has no ID token")]
    NoIdToken,
}

impl TokenResponse {
    /// Reads a response.
    ///
    /// # Errors
    /// [`TokenResponseError`].
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, TokenResponseError> {
        let document = serde_json::from_slice::<Value>(body).ok();
        let text = |name: &str| document.as_ref()?.get(name)?.as_str();
        if status != 200 {
            let code = text("error").map_or_else(|| "no reason".to_owned(), shown);
            let description = text("error_description").map(|text| format!(": {}", shown(text))).unwrap_or_default();
            let refusal = ProviderRefusal(format!("{code}{description}"));
            return Err(match code.as_str() {
                "invalid_grant" => TokenResponseError::Code(refusal),
                "invalid_client" | "unauthorized_client" => TokenResponseError::Client(refusal),
                _ => TokenResponseError::Refused { status, refusal },
            });
        }
        let id_token = text("id_token").ok_or(TokenResponseError::NoIdToken)?.to_owned();
        let is_bearer = text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access_token = text("access_token").filter(|_| is_bearer).map(SecretString::from);
        Ok(Self { id_token, access_token })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_request_has_the_code_and_proves_the_client() {
        let form = |secret| {
            let form = token_form("ml flow", secret, "a+b", "https://mlflow.corp/x", "v");
            form.expose_secret().to_owned()
        };
        let public = "grant_type=authorization_code&code=a%2Bb&redirect_uri=https%3A%2F%2Fmlflow.corp%2Fx&\
                      client_id=ml+flow&code_verifier=v";
        assert_eq!(form(None), public);
        assert_eq!(form(Some("s&t")), format!("{public}&client_secret=s%26t"));
        // `ml+flow:s%26t`
        assert_eq!(basic_credentials("ml flow", "s&t").expose_secret(), "Basic bWwrZmxvdzpzJTI2dA==");
    }

    #[test]
    fn a_response_has_an_id_token_or_a_reason() {
        let body = br#"{"id_token": "i", "access_token": "a", "token_type": "bearer", "expires_in": 60}"#;
        let found = TokenResponse::parse(200, body).expect("valid");
        assert_eq!(found.id_token, "i");
        assert_eq!(found.access_token.expect("it is there").expose_secret(), "a");
        let dpop = TokenResponse::parse(200, br#"{"id_token": "i", "access_token": "a", "token_type": "DPoP"}"#);
        assert!(dpop.expect("valid").access_token.is_none(), "a token that needs a proof is of no use");
        for (status, body, expected) in [
            (200, "", "has no ID token"),
            (200, "{}", "has no ID token"),
            (200, "[]", "has no ID token"),
            (200, r#"{"id_token": 7}"#, "has no ID token"),
            (400, r#"{"error": "invalid_grant"}"#, "does not accept the code: invalid_grant"),
            (
                401,
                r#"{"error": "invalid_client", "error_description": "wrong\nsecret"}"#,
                "does not accept the client or its secret: invalid_client: wrong secret",
            ),
            (503, "<html>", "answered 503: no reason"),
        ] {
            let error = TokenResponse::parse(status, body.as_bytes()).expect_err(body).to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
