//! The address by which a browser knows the appliance, to which an identity provider returns it.

use url::Url;

use crate::serve::auth::browser::BrowserRequest;

/// Returns the address of the appliance's root without a slash at its end: scheme, host, and the prefix of a trusted proxy.
///
/// SECURITY: a client can write any host into its own request, which misleads that client only, because the provider compares
/// the address with those that are registered there.
pub(super) fn of(browser: BrowserRequest<'_>) -> Option<String> {
    let scheme = if browser.is_secure() { "https" } else { "http" };
    origin(scheme, browser.addressed_host()?).map(|origin| origin + browser.prefix().unwrap_or_default())
}

fn origin(scheme: &str, host: &str) -> Option<String> {
    let url = Url::parse(&format!("{scheme}://{host}/")).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
    (is_plain && url.fragment().is_none()).then(|| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for (scheme, host, expected) in [
            ("https", "mlflow.corp", Some("https://mlflow.corp")),
            ("https", "mlflow.corp:443", Some("https://mlflow.corp")),
            ("https", "mlflow.corp:8443", Some("https://mlflow.corp:8443")),
            ("http", "127.0.0.1:5000", Some("http://127.0.0.1:5000")),
            ("http", "[::1]:5000", Some("http://[::1]:5000")),
            ("https", "", None),
            ("https", "a/b", None),
            ("https", "a?b", None),
            ("https", "a#b", None),
            ("https", "user@mlflow.corp", None),
            ("https", "a b", None),
            ("https", "\u{fffd}", None),
        ] {
            assert_eq!(origin(scheme, host).as_deref(), expected, "{host}");
        }
    }
}
