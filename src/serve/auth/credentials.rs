//! The credentials in a request: a token in `Authorization`, or a session in a cookie.

use actix_web::http::header::{self, HeaderMap};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::SecretString;

use crate::serve::auth::error::AccessError;

/// The name of the session cookie without TLS, as on connections of this machine to itself.
pub(crate) const COOKIE: &str = "appliance-session";
/// The name of the session cookie over TLS. Browsers accept a name like this only from this very host, and only over TLS.
pub(crate) const SECURE_COOKIE: &str = "__Host-appliance-session";

/// The beginning of an `Authorization` that is a signature with AWS credentials, as AWS's plugin for MLflow makes it.
const AWS_SIGNATURE: &str = "AWS4-";

/// The credentials of a caller.
pub(crate) enum CallerCredentials<'a> {
    /// A bearer token, or the password of a user whose name does not matter.
    Token(SecretString),
    /// The session of a browser.
    Session(&'a str),
    None,
}

/// Finds the credentials in these headers. `cookie` is the name of the session cookie on their connection.
///
/// # Errors
/// [`AccessError::Authorization`] for an `Authorization` that is malformed or repeated, and [`AccessError::SignedWithAws`] for a
/// signature, which only AWS could verify.
pub(crate) fn of<'a>(headers: &'a HeaderMap, cookie: &str) -> Result<CallerCredentials<'a>, AccessError> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let value = value.to_str().map_err(|_| AccessError::Authorization)?;
            if value.starts_with(AWS_SIGNATURE) {
                return Err(AccessError::SignedWithAws);
            }
            Ok(CallerCredentials::Token(token(value).ok_or(AccessError::Authorization)?))
        }
        // SECURITY: of two values, a proxy in front may have checked the other one.
        (Some(_), Some(_)) => Err(AccessError::Authorization),
        (None, _) => Ok(session(headers, cookie).map_or(CallerCredentials::None, CallerCredentials::Session)),
    }
}

fn token(value: &str) -> Option<SecretString> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.into());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = SecretString::from(String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?);
    let (_, password) = secrecy::ExposeSecret::expose_secret(&decoded).split_once(':')?;
    Some(password.into())
}

/// Returns the value of the session cookie, if there is one.
///
/// SECURITY: a page on a sibling domain can set `appliance-session` for this host as well, and sign a visitor in under another
/// name. Over TLS only `__Host-…` counts, which no other host can set. Where that name cannot be used, two different values
/// are ignored.
pub(crate) fn session<'a>(headers: &'a HeaderMap, cookie: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == cookie).map(|(_, value)| value);
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn found(fields: &[(header::HeaderName, &'static str)]) -> Option<String> {
        found_in(COOKIE, fields)
    }

    fn found_in(cookie: &str, fields: &[(header::HeaderName, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        match of(&headers, cookie).ok()? {
            CallerCredentials::Token(token) => Some(format!("token {}", token.expose_secret())),
            CallerCredentials::Session(value) => Some(format!("session {value}")),
            CallerCredentials::None => Some("nothing".to_owned()),
        }
    }

    #[test]
    fn a_token_is_a_bearer_token_or_a_password() {
        let authorization = |value| found(&[(header::AUTHORIZATION, value)]);
        assert_eq!(authorization("Bearer mlfa_x").as_deref(), Some("token mlfa_x"));
        assert_eq!(authorization("bearer  mlfa_x ").as_deref(), Some("token mlfa_x"));
        // `user:mlfa_x:y`: only the first colon separates.
        assert_eq!(authorization("Basic dXNlcjptbGZhX3g6eQ==").as_deref(), Some("token mlfa_x:y"));
        for value in ["", "Bearer", "mlfa_x", "Digest x", "Basic x", "Basic dXNlcg==", "Basic /////w=="] {
            assert_eq!(authorization(value), None, "{value}");
        }
        let twice = [(header::AUTHORIZATION, "Bearer a"), (header::AUTHORIZATION, "Bearer b")];
        assert_eq!(found(&twice), None);
    }

    #[test]
    fn a_signature_for_aws_is_not_a_token() {
        let mut headers = HeaderMap::new();
        let signature =
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/sagemaker/aws4_request, Signature=0";
        headers.append(header::AUTHORIZATION, HeaderValue::from_static(signature));
        assert!(matches!(of(&headers, COOKIE), Err(AccessError::SignedWithAws)));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert!(matches!(of(&headers, COOKIE), Err(AccessError::Authorization)));
    }

    #[test]
    fn a_token_takes_precedence_over_the_session_in_a_cookie() {
        let cookie = (header::COOKIE, "a=b; appliance-session=v1.x.1.s; c=d");
        assert_eq!(found(std::slice::from_ref(&cookie)).as_deref(), Some("session v1.x.1.s"));
        assert_eq!(found(&[cookie, (header::AUTHORIZATION, "Bearer t")]).as_deref(), Some("token t"));
        assert_eq!(found(&[(header::COOKIE, "xappliance-session=s")]).as_deref(), Some("nothing"));
    }

    #[test]
    fn only_the_cookie_name_of_this_connection_counts() {
        let nothing = Some("nothing".to_owned());
        let secure = |value| found_in(SECURE_COOKIE, &[(header::COOKIE, value)]);
        assert_eq!(secure("appliance-session=tossed; __Host-appliance-session=s").as_deref(), Some("session s"));
        assert_eq!(secure("__Host-appliance-session=s; appliance-session=tossed").as_deref(), Some("session s"));
        assert_eq!(secure("appliance-session=tossed"), nothing);
        let plain = |value| found(&[(header::COOKIE, value)]);
        assert_eq!(plain("__Host-appliance-session=s"), nothing);
        assert_eq!(plain("appliance-session=a; appliance-session=a").as_deref(), Some("session a"));
        assert_eq!(plain("appliance-session=a; appliance-session=b"), nothing);
        let apart = [(header::COOKIE, "appliance-session=a"), (header::COOKIE, "x=y; appliance-session=b")];
        assert_eq!(found(&apart), nothing);
    }
}
