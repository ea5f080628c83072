//! Redirects of a browser, also behind a reverse proxy that strips a prefix.
//!
//! Such a proxy shows the appliance below `/mlflow/`, for example, and forwards paths without that prefix. The appliance does
//! not know the prefix, so its redirects are relative to the requested path, and the browser adds the prefix.

use actix_web::HttpResponse;
use actix_web::http::header;

use crate::http::uri;
use crate::serve::auth::browser::BrowserRequest;

/// The path of the page on which people sign in.
pub(crate) const LOGIN: &str = "/_appliance/login";
/// The path of the page of personal tokens.
pub(crate) const PERSONAL: &str = "/_appliance/tokens";

/// Proxies that strip a prefix send it in this header; Traefik does so by default.
const FORWARDED_PREFIX: &str = "x-forwarded-prefix";
/// No deployment needs a longer prefix. Bytes.
const LONGEST_PREFIX: usize = 256;

/// Returns the path `to` (perhaps with a query) relative to the requested path `from`. Both begin with a slash.
pub(crate) fn relative(from: &str, to: &str) -> String {
    let levels = from.matches('/').count().saturating_sub(1);
    let up = if levels == 0 { "./".to_owned() } else { "../".repeat(levels) };
    up + to.strip_prefix('/').unwrap_or(to)
}

/// Returns a path, with its query, if it is one of the appliance's own, and otherwise `/`.
///
/// SECURITY: `//elsewhere` and `/\elsewhere` are other hosts to a browser, and `..`, however it is written, leads out of the
/// prefix of a proxy.
pub(crate) fn own_path(asked: &str) -> &str {
    let is_path = asked.starts_with('/') && !asked[1..].starts_with(['/', '\\']);
    let is_plain = asked.bytes().all(|byte| byte.is_ascii_graphic());
    let path = asked.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    let leads_out = path.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."));
    let is_page = !asked.starts_with("/_appliance/") || path == PERSONAL || path == format!("{PERSONAL}/confirm");
    if is_path && is_plain && !leads_out && is_page { asked } else { "/" }
}

/// Returns a redirect to an address that the browser neither stores nor names to the next page.
pub(crate) fn see_other_privately(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, address))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish()
}

impl<'a> BrowserRequest<'a> {
    /// Returns a path relative to the requested one.
    pub(crate) fn path_to(self, path: &str) -> String {
        relative(self.request.uri().path(), path)
    }

    /// Returns a redirect to a path.
    pub(crate) fn see_other(self, path: &str) -> HttpResponse {
        HttpResponse::SeeOther().insert_header((header::LOCATION, self.path_to(path))).finish()
    }

    /// Returns the path of the sign-in page that leads back to the requested page.
    pub(crate) fn login_then(self) -> String {
        let asked = self.request.uri().path_and_query().map_or("/", |target| target.as_str());
        format!("{LOGIN}?next={}", uri::encoded(asked))
    }

    /// Returns the prefix below which a trusted proxy shows the appliance, without a slash at its end, if there is one.
    ///
    /// SECURITY: it becomes the path of a cookie. It is read only from a trusted proxy, and a value that could be more than a
    /// path, or another path to a browser, is ignored.
    pub(crate) fn prefix(self) -> Option<&'a str> {
        let mut values = self.request.headers().get_all(FORWARDED_PREFIX);
        let (Some(value), None, true) = (values.next(), values.next(), self.is_proxied()) else { return None };
        value.to_str().ok().and_then(valid_prefix)
    }
}

fn valid_prefix(text: &str) -> Option<&str> {
    let prefix = text.strip_suffix('/').unwrap_or(text);
    let is_segment = |segment: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain)
    };
    let is_prefix = prefix.len() <= LONGEST_PREFIX && prefix.strip_prefix('/')?.split('/').all(is_segment);
    is_prefix.then_some(prefix)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn a_relative_redirect_leads_to_the_same_path_below_any_prefix() {
        for (from, to) in [
            ("/", "/_appliance/login?next=%2F"),
            ("/x", "/"),
            ("/experiments/1", "/_appliance/login?next=%2Fexperiments%2F1"),
            ("/_appliance/login", "/t/a/?x=1"),
            ("/_appliance/login", "/"),
            ("/_appliance/logout", "/_appliance/login"),
            ("/t/a", "/t/a/?b"),
            ("/t/a/b/c/", "/x"),
            ("//x", "/y"),
            ("/", "/a:b/c"),
        ] {
            for prefix in ["", "/mlflow", "/a/b"] {
                let asked = Url::parse(&format!("https://host{prefix}{from}")).expect(from);
                let found = asked.join(&relative(from, to)).expect(to);
                assert_eq!(found.as_str(), format!("https://host{prefix}{to}"), "{from} {to}");
            }
        }
    }

    #[test]
    fn a_browser_stays_on_the_appliance_after_signing_in() {
        for next in ["/", "/t/team-a/#x", "/experiments/1?a=b"] {
            assert_eq!(own_path(next), next);
        }
        for next in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil",
            "/_appliance/logout",
            "/_appliance/tokensx",
            "/_appliance/tokens/self",
            "/ü",
            "/../x",
            "/a/%2E%2e/x",
            "/.",
            "/a/..\\x",
            "/%2e./x?y",
        ] {
            assert_eq!(own_path(next), "/", "{next}");
        }
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        for (text, expected) in [
            ("/mlflow", "/mlflow"),
            ("/mlflow/", "/mlflow"),
            ("/team-a/ml_flow.v1~x", "/team-a/ml_flow.v1~x"),
            ("/a/b/c", "/a/b/c"),
        ] {
            assert_eq!(valid_prefix(text), Some(expected));
        }
        let long = format!("/{}", "x".repeat(LONGEST_PREFIX));
        for text in [
            "",
            "/",
            "//",
            "mlflow",
            "//evil.example",
            "/a//b",
            "/a/../b",
            "/./a",
            "/a;Domain=evil",
            "/a b",
            "/a,/b",
            "/a?b",
            "/a#b",
            "/%2e%2e",
            "/a\\b",
            "https://evil.example/",
            "/ü",
            &long,
        ] {
            assert_eq!(valid_prefix(text), None, "{text}");
        }
    }
}
