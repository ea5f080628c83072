//! The addresses of an OpenID provider, from its discovery document.

use std::net::IpAddr;

use serde_json::Value;
use url::{Host, Url};

/// The key with the methods by which a client proves itself in a token request.
const METHODS: &str = "token_endpoint_auth_methods_supported";

/// The addresses of a provider, and what it supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// `authorization_endpoint`.
    pub authorization: Url,
    /// `token_endpoint`.
    pub token: Url,
    /// `userinfo_endpoint`.
    pub user_info: Option<Url>,
    /// `end_session_endpoint`, or Cognito's own address.
    pub end_session: Option<Url>,
    /// The parameter with the address to which the sign-out returns the browser.
    pub return_parameter: &'static str,
    /// If this is true, the client's secret goes into the form of the token request instead of `Authorization`.
    pub posts_secret: bool,
    /// If this is true, every authorization response has `iss` (RFC 9207).
    pub names_itself: bool,
}

/// The reason why people cannot sign in with a discovery document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// An address that is needed is missing.
    #[error("the discovery document has no `{0}`")]
    Missing(&'static str),
    /// An address is not one.
    #[error("`{0}` in the discovery document is not an `https://` URL")]
    Address(&'static str),
    /// The provider knows PKCE, but not its safe method.
    #[error("the provider does not support PKCE with the method S256")]
    Pkce,
}

impl Provider {
    /// Reads the values of a discovery document, whose `issuer` has been compared already; `issuer` is that URL.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn parse<'a>(issuer: &str, document: impl Fn(&str) -> Option<&'a Value>) -> Result<Self, ProviderError> {
        let is_local = issuer.starts_with("http://");
        let address = |name: &'static str| match document(name) {
            None => Ok(None),
            Some(value) => {
                let url = value.as_str().and_then(|text| parsed(text, is_local));
                url.map(Some).ok_or(ProviderError::Address(name))
            }
        };
        let needed = |name: &'static str| address(name)?.ok_or(ProviderError::Missing(name));
        let lists = |name: &str, wanted: &str| {
            document(name).and_then(Value::as_array).map(|list| list.iter().any(|item| item == wanted))
        };
        // Providers that list no methods support PKCE all the same, as Entra does; the others ignore the parameter.
        if lists("code_challenge_methods_supported", "S256") == Some(false) {
            return Err(ProviderError::Pkce);
        }
        let authorization = needed("authorization_endpoint")?;
        let (end_session, return_parameter) = if is_cognito(issuer) {
            // https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html
            (authorization.join("/logout").ok(), "logout_uri")
        } else {
            (address("end_session_endpoint")?, "post_logout_redirect_uri")
        };
        Ok(Self {
            authorization,
            token: needed("token_endpoint")?,
            user_info: address("userinfo_endpoint")?,
            end_session,
            return_parameter,
            posts_secret: lists(METHODS, "client_secret_basic") == Some(false)
                && lists(METHODS, "client_secret_post") == Some(true),
            names_itself: document("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        })
    }
}

/// True for a user pool of Amazon Cognito, whose sign-out has a protocol of its own.
fn is_cognito(issuer: &str) -> bool {
    let url = Url::parse(issuer).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let region = host.strip_prefix("cognito-idp.").and_then(|rest| rest.strip_suffix(".amazonaws.com"));
    region.is_some_and(|region| !region.is_empty() && !region.contains('.'))
}

/// SECURITY: codes, secrets and people go to these addresses. Plain HTTP is for a provider on this machine only.
fn parsed(text: &str, may_be_local: bool) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| text.len() <= 2048 && url.username().is_empty())?;
    let is_local = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(address).is_loopback(),
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && may_be_local && is_local);
    (is_safe && url.password().is_none() && url.fragment().is_none()).then_some(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(change: &str, value: &Value) -> Result<Provider, ProviderError> {
        parse_for("https://idp.example", change, value)
    }

    fn parse_for(issuer: &str, change: &str, value: &Value) -> Result<Provider, ProviderError> {
        let mut document = json!({
            "issuer": "https://idp.example",
            "authorization_endpoint": "https://idp.example/authorize?tenant=a",
            "token_endpoint": "https://idp.example/token",
            "userinfo_endpoint": "https://idp.example/me",
            "end_session_endpoint": "https://idp.example/logout",
        });
        let document = document.as_object_mut().expect("it is an object");
        if value.is_null() {
            document.remove(change);
        } else {
            document.insert(change.to_owned(), value.clone());
        }
        Provider::parse(issuer, |name| document.get(name))
    }

    #[test]
    fn a_document_has_the_addresses() {
        let provider = parse("", &Value::Null).expect("valid");
        assert_eq!(provider.authorization.as_str(), "https://idp.example/authorize?tenant=a");
        assert!(!provider.posts_secret && !provider.names_itself && provider.end_session.is_some());
        let without = parse("end_session_endpoint", &Value::Null).expect("valid");
        assert_eq!(without.end_session, None);
        let named = parse("authorization_response_iss_parameter_supported", &json!(true)).expect("valid");
        assert!(named.names_itself);
        for (methods, posts) in [
            (json!(["client_secret_post"]), true),
            (json!(["client_secret_post", "client_secret_basic"]), false),
            (json!(["private_key_jwt"]), false),
        ] {
            let provider = parse("token_endpoint_auth_methods_supported", &methods).expect("valid");
            assert_eq!(provider.posts_secret, posts, "{methods}");
        }
    }

    #[test]
    fn cognito_has_a_sign_out_of_its_own() {
        let cognito = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI";
        let domain = json!("https://corp.auth.eu-west-1.amazoncognito.com/oauth2/authorize");
        let signs_out = |issuer: &str| {
            let provider = parse_for(issuer, "authorization_endpoint", &domain).expect("valid");
            (provider.end_session.map(String::from), provider.return_parameter)
        };
        let own = "https://corp.auth.eu-west-1.amazoncognito.com/logout".to_owned();
        assert_eq!(signs_out(cognito), (Some(own), "logout_uri"));
        for other in [
            "https://idp.example",
            "https://cognito-idp.amazonaws.com",
            "https://cognito-idp.eu.west.amazonaws.com/x",
            "https://cognito-idp.eu-west-1.amazonaws.com.evil.example/x",
            "https://evil.example/cognito-idp.eu-west-1.amazonaws.com",
        ] {
            let usual = (Some("https://idp.example/logout".to_owned()), "post_logout_redirect_uri");
            assert_eq!(signs_out(other), usual, "{other}");
        }
    }

    #[test]
    fn an_unsafe_document_is_rejected() {
        for name in ["authorization_endpoint", "token_endpoint"] {
            assert_eq!(parse(name, &Value::Null), Err(ProviderError::Missing(name)));
        }
        for address in [
            json!("http://idp.example/token"),
            json!("javascript:alert(1)"),
            json!("https://user:secret@idp.example/"),
            json!("https://idp.example/#x"),
            json!("/token"),
            json!(7),
            json!(format!("https://idp.example/{}", "x".repeat(2048))),
        ] {
            for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint"] {
                assert_eq!(parse(name, &address), Err(ProviderError::Address(name)), "{address}");
            }
        }
        for address in ["http://127.0.0.1:8080/token", "http://[::1]:8080/token", "http://localhost/token"] {
            assert!(parse_for("http://127.0.0.1:8080", "token_endpoint", &json!(address)).is_ok());
            let error = Err(ProviderError::Address("token_endpoint"));
            assert_eq!(parse("token_endpoint", &json!(address)), error, "a provider elsewhere names this machine");
        }
        assert_eq!(parse("code_challenge_methods_supported", &json!(["plain"])), Err(ProviderError::Pkce));
    }
}
