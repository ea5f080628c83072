//! The two journeys of the browser to the provider: the authorization request with its response, and the sign-out.

use url::{Url, form_urlencoded};

use super::client::OpenIdClient;
use super::provider::Provider;
use crate::access::code_flow::FlowStart;

/// The longest code of a provider. Bytes. Entra's codes have more than a thousand.
const CODE_LIMIT: usize = 8 * 1024;
/// The longest text of a provider that is shown to a person. Characters.
const SHOWN_LIMIT: usize = 300;

/// Returns the address at which a person signs in. With `again`, the provider asks even a person who is signed in there.
#[must_use]
pub fn authorization_url(
    provider: &Provider,
    client: &OpenIdClient,
    redirect_uri: &str,
    start: &FlowStart,
    again: bool,
) -> Url {
    let mut url = provider.authorization.clone();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &client.id)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("scope", &client.scopes)
        .append_pair("state", &start.state)
        .append_pair("nonce", &start.nonce)
        .append_pair("code_challenge", &start.challenge)
        .append_pair("code_challenge_method", "S256");
    if again {
        url.query_pairs_mut().append_pair("prompt", "login");
    }
    url
}

/// Returns the address at which a person signs out of the provider, if it has one.
#[must_use]
pub fn end_session_url(provider: &Provider, client: &OpenIdClient, return_to: &str) -> Option<Url> {
    let mut url = provider.end_session.clone()?;
    url.query_pairs_mut().append_pair("client_id", &client.id).append_pair(provider.return_parameter, return_to);
    Some(url)
}

/// The query with which a provider returns a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationResponse {
    /// `state`.
    pub state: String,
    /// `iss`.
    pub issuer: Option<String>,
    /// The code, or the reason why there is none: an error code, and perhaps an explanation.
    pub result: Result<String, (String, Option<String>)>,
}

/// The query is not an authorization response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationResponseError {
    /// A parameter is missing.
    #[error("the address has no `{0}`")]
    Missing(&'static str),
    /// A parameter occurs twice, so that two readers could read two things.
    #[error("the address has a parameter twice")]
    Repeated,
    /// A parameter is too long.
    #[error("the address has a parameter that is too long")]
    TooLong,
}

impl AuthorizationResponse {
    /// Reads a query.
    ///
    /// # Errors
    /// [`AuthorizationResponseError`].
    pub fn parse(query: &str) -> Result<Self, AuthorizationResponseError> {
        use AuthorizationResponseError::{Missing, Repeated, TooLong};
        let (mut code, mut state, mut issuer, mut error, mut description) = (None, None, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "code" => &mut code,
                "state" => &mut state,
                "iss" => &mut issuer,
                "error" => &mut error,
                "error_description" => &mut description,
                _ => continue,
            };
            if value.len() > CODE_LIMIT {
                return Err(TooLong);
            }
            if place.replace(value.into_owned()).is_some() {
                return Err(Repeated);
            }
        }
        let result = match (code, error) {
            (_, Some(error)) => Err((shown(&error), description.as_deref().map(shown))),
            (Some(code), None) => Ok(code),
            (None, None) => return Err(Missing("code")),
        };
        Ok(Self { state: state.ok_or(Missing("state"))?, issuer, result })
    }
}

/// Returns a provider's text without control characters, and not too long for a page and a line of the log.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client() -> OpenIdClient {
        OpenIdClient {
            id: "ml flow".to_owned(),
            scopes: "openid groups".to_owned(),
            label: "Okta".to_owned(),
            redirect_url: None,
        }
    }

    fn provider() -> Provider {
        let document = json!({
            "authorization_endpoint": "https://idp.example/authorize?tenant=a",
            "token_endpoint": "https://idp.example/token",
            "end_session_endpoint": "https://idp.example/logout",
        });
        Provider::parse("https://idp.example", |name| document.get(name)).expect("valid")
    }

    #[test]
    fn the_browser_is_sent_with_everything_that_protects_the_flow() {
        let start = FlowStart { state: "s".to_owned(), nonce: "n".to_owned(), challenge: "c".to_owned() };
        let callback = "https://mlflow.corp/_appliance/oidc/callback";
        let url = authorization_url(&provider(), &client(), callback, &start, false);
        assert_eq!(
            url.as_str(),
            "https://idp.example/authorize?tenant=a&response_type=code&client_id=ml+flow&redirect_uri=https%3A%2F%2F\
             mlflow.corp%2F_appliance%2Foidc%2Fcallback&scope=openid+groups&state=s&nonce=n&code_challenge=c&\
             code_challenge_method=S256"
        );
        let again = authorization_url(&provider(), &client(), callback, &start, true);
        assert!(again.as_str().ends_with("&prompt=login"));
        let out = end_session_url(&provider(), &client(), "https://mlflow.corp/_appliance/login").expect("it has one");
        assert_eq!(
            out.as_str(),
            "https://idp.example/logout?client_id=ml+flow&post_logout_redirect_uri=https%3A%2F%2Fmlflow.corp%2F\
             _appliance%2Flogin"
        );
        let cognito = Provider { return_parameter: "logout_uri", ..provider() };
        let out = end_session_url(&cognito, &client(), "https://mlflow.corp/out").expect("it has one");
        assert_eq!(out.query(), Some("client_id=ml+flow&logout_uri=https%3A%2F%2Fmlflow.corp%2Fout"));
    }

    #[test]
    fn a_response_has_a_code_or_an_error_and_a_state() {
        use AuthorizationResponseError::{Missing, Repeated, TooLong};
        let found = AuthorizationResponse::parse("code=a%2Bb&state=s&iss=https%3A%2F%2Fidp.example&session_state=x");
        let found = found.expect("valid");
        assert_eq!((found.state.as_str(), found.issuer.as_deref()), ("s", Some("https://idp.example")));
        assert_eq!(found.result, Ok("a+b".to_owned()));
        let failed = AuthorizationResponse::parse("error=access_denied&error_description=No%0Away&state=s&code=x");
        let reason = ("access_denied".to_owned(), Some("No way".to_owned()));
        assert_eq!(failed.expect("valid").result, Err(reason));
        let long = format!("code={}&state=s", "x".repeat(CODE_LIMIT + 1));
        for (query, error) in [
            ("", Missing("code")),
            ("code=x", Missing("state")),
            ("state=x", Missing("code")),
            ("code=x&code=y&state=s", Repeated),
            ("code=x&state=s&state=s", Repeated),
            ("code=x&state=s&iss=a&iss=b", Repeated),
            (&long, TooLong),
        ] {
            assert_eq!(AuthorizationResponse::parse(query), Err(error), "{query:.40}");
        }
    }
}
