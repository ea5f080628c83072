//! Keeps the web pages of other sites from using the appliance through a visitor's browser.
//!
//! MLflow protects itself against cross-site requests and DNS rebinding by `Origin` and `Host`. Behind the appliance, both are
//! the appliance's own, so the protection has to be here. Clients other than browsers send neither `Origin` nor
//! `Sec-Fetch-Site`, and are not affected.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::http::uri::Authority;

use crate::access::address::Networks;
use crate::serve::auth::credentials::{self, COOKIE, SECURE_COOKIE};
use crate::serve::auth::error::AccessError;

// Constant names save parsing, which takes hundreds of instructions for each request.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The host names by which callers may address the appliance, besides those of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHosts {
    /// Any name, because another mechanism decides which clients can connect.
    Any,
    /// These names, without port, in lower case.
    Listed(Vec<String>),
}

/// A request that a browser may have sent, with the facts about its way that cookies and redirects depend on.
#[derive(Clone, Copy)]
pub(crate) struct BrowserRequest<'a> {
    pub request: &'a HttpRequest,
    /// The proxies that are trusted to say how they were reached.
    pub proxies: &'a Networks,
    /// If this is true, the listener speaks TLS.
    pub has_tls: bool,
}

/// Rejects a request that a browser sends on behalf of another site. `host` is the host that the caller has addressed;
/// `public_host` is the host by which a trusted proxy in front was addressed.
///
/// # Errors
/// [`AccessError::ForeignHost`] or [`AccessError::ForeignOrigin`].
pub(crate) fn check(
    method: &Method,
    headers: &HeaderMap,
    (host, public_host): (Option<&str>, Option<&str>),
    allowed: &AllowedHosts,
) -> Result<(), AccessError> {
    if let (AllowedHosts::Listed(names), Some(host)) = (allowed, host) {
        let name = without_port(host).to_ascii_lowercase();
        // SECURITY: DNS rebinding makes an attacker's page same-origin with the appliance; its `Host` still names the attacker.
        if !is_this_machine(&name) && !names.contains(&name) {
            return Err(AccessError::ForeignHost);
        }
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        // Such a request changes nothing, and without CORS headers the page cannot read the response.
        return Ok(());
    }
    // SECURITY: MLflow's own actions are plain JSON POSTs, which any page could send from a visitor's browser.
    let site = field(headers, &SEC_FETCH_SITE);
    // A proxy may have put another host into `Host`. That does not change `Sec-Fetch-Site`, which no page can write.
    let is_same_origin = site == Some("same-origin")
        || field(headers, &header::ORIGIN).is_none_or(|origin| is_of(origin, host) || is_of(origin, public_host));
    let is_same_site = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
    if is_same_origin && is_same_site { Ok(()) } else { Err(AccessError::ForeignOrigin) }
}

/// Returns the host that a request addresses: `Host`, or `:authority` in HTTP/2.
pub(crate) fn host(request: &HttpRequest) -> Option<&str> {
    let authority = request.uri().authority().map(Authority::as_str);
    authority.or_else(|| field(request.headers(), &header::HOST))
}

impl<'a> BrowserRequest<'a> {
    /// Returns true if the peer is a proxy that is trusted to say how it was reached. Few requests ask.
    pub(crate) fn is_proxied(self) -> bool {
        self.request.peer_addr().is_some_and(|peer| self.proxies.contain(peer.ip()))
    }

    /// Returns true if a request with a cookie cannot come from another site's page: it changes nothing, or the browser says
    /// that one of our pages sent it. Unlike in [`check`], missing headers prove nothing here, because browsers attach cookies
    /// by themselves.
    pub(crate) fn is_from_own_page(self) -> bool {
        let headers = self.request.headers();
        let is_ours = |origin| is_of(origin, host(self.request)) || is_of(origin, self.public_host());
        matches!(*self.request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
            || field(headers, &header::ORIGIN).is_some_and(is_ours)
            || field(headers, &SEC_FETCH_SITE) == Some("same-origin")
    }

    /// Returns the host by which a trusted proxy in front was addressed, if it says so.
    ///
    /// SECURITY: it is trusted only for the comparison with `Origin`. The names in `allowed-hosts` are compared with `Host`,
    /// which a page that uses DNS rebinding cannot choose.
    pub(crate) fn public_host(self) -> Option<&'a str> {
        field(self.request.headers(), &FORWARDED_HOST).filter(|_| self.is_proxied())
    }

    /// Returns the host by which the browser addresses the appliance or the trusted proxy in front.
    pub(crate) fn addressed_host(self) -> Option<&'a str> {
        self.public_host().or_else(|| host(self.request))
    }

    /// Returns true if the browser speaks TLS, to the appliance or to a trusted proxy.
    pub(crate) fn is_secure(self) -> bool {
        let is_https = || self.request.headers().get("x-forwarded-proto").is_some_and(|value| value == "https");
        self.has_tls || (self.is_proxied() && is_https())
    }

    /// Returns the name of the session cookie on this connection: one for TLS, and one for plain HTTP.
    pub(crate) fn session_cookie(self) -> &'static str {
        if self.is_secure() { SECURE_COOKIE } else { COOKIE }
    }

    /// Returns the session that the browser has sent, if there is one.
    pub(crate) fn session(self) -> Option<&'a str> {
        credentials::session(self.request.headers(), self.session_cookie())
    }
}

/// Returns true if a `Host` is an address and not a name.
pub(crate) fn is_address(host: &str) -> bool {
    without_port(host).trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

/// Returns true if a browser asks for a page that a person is going to read. Programs and scripts of pages accept any type or
/// JSON, so they are not affected.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    // A frame does not show our pages, and an image or a script cannot.
    let is_window = field(headers, &SEC_FETCH_DEST).is_none_or(|destination| destination == "document");
    let mut accepted = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    is_window && accepted.any(|value| quality(value, "text/html") > quality(value, "application/json"))
}

/// Returns the quality, in thousandths, that a value of `Accept` gives to a media type by its name.
fn quality(accept: &str, media_type: &str) -> u32 {
    let range = accept.split(',').map(|range| range.trim().split(';').map(str::trim));
    let mut meant = range.filter_map(|mut parts| {
        let is_meant = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        is_meant.then(|| parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))))
    });
    let Some(quality) = meant.next() else { return 0 };
    // RFC 9110 allows three decimals.
    quality.map_or(1000, |text| {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}{decimals:0<3}").parse().unwrap_or(0).min(1000)
    })
}

fn is_of(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| host.is_some_and(|host| authority.eq_ignore_ascii_case(host)))
}

fn field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    // A value that is not text matches nothing that is allowed.
    headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_this_machine(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.ends_with(".localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn verdict(method: &Method, fields: &[(&'static str, &'static str)], allowed: &AllowedHosts) -> &'static str {
        let headers = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        match check(method, &headers, (field(&headers, &header::HOST), field(&headers, &FORWARDED_HOST)), allowed) {
            Ok(()) => "passes",
            Err(AccessError::ForeignHost) => "foreign host",
            Err(AccessError::ForeignOrigin) => "foreign origin",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn only_this_machine_and_listed_hosts_are_accepted() {
        let listed = AllowedHosts::Listed(vec!["mlflow.corp".into()]);
        for (host, expected) in [
            ("localhost", "passes"),
            ("localhost:5000", "passes"),
            ("LocalHost:5000", "passes"),
            ("app.localhost", "passes"),
            ("127.0.0.1:5000", "passes"),
            ("127.8.9.1", "passes"),
            ("[::1]:5000", "passes"),
            ("mlflow.corp:443", "passes"),
            ("MLFLOW.CORP", "passes"),
            ("evil.example", "foreign host"),
            ("evil.example:5000", "foreign host"),
            ("localhost.evil.example", "foreign host"),
            ("127.0.0.1.evil.example", "foreign host"),
            ("mlflow.corp.evil.example", "foreign host"),
            ("10.0.0.1", "foreign host"),
            ("", "foreign host"),
        ] {
            assert_eq!(verdict(&Method::GET, &[("host", host)], &listed), expected, "{host}");
            assert_eq!(verdict(&Method::GET, &[("host", host)], &AllowedHosts::Any), "passes", "{host}");
        }
    }

    #[test]
    fn an_address_is_distinguished_from_a_name() {
        for host in ["127.0.0.1", "10.0.0.1:5090", "[::1]:5090", "[fd00::1]"] {
            assert!(is_address(host), "{host}");
        }
        for host in ["", "localhost", "10.0.0.1.evil.example", "evil.example:5090", "10.0.0"] {
            assert!(!is_address(host), "{host}");
        }
    }

    #[test]
    fn a_page_is_for_a_browser_that_prefers_html() {
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (accept, destination, expected) in [
            (chromium, None, true),
            (chromium, Some("document"), true),
            (chromium, Some("iframe"), false),
            (chromium, Some("empty"), false),
            ("TEXT/HTML;level=1;q=0.5, application/json;q=0.25", None, true),
            ("text/html;q=0.5, application/json", None, false),
            ("text/html, application/json", None, false),
            ("text/html;q=0", None, false),
            ("text/html;q=0.001", None, true),
            ("text/html;q=nonsense", None, false),
            ("text/html;q=99999999999999999999", None, false),
            ("*/*", None, false),
            ("application/json, text/plain, */*", Some("empty"), false),
            ("text/htmlx", None, false),
            ("", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            if let Some(destination) = destination {
                headers.insert(SEC_FETCH_DEST, HeaderValue::from_static(destination));
            }
            assert_eq!(wants_page(&headers), expected, "{accept} {destination:?}");
        }
        assert!(!wants_page(&HeaderMap::new()));
    }

    #[test]
    fn a_change_is_accepted_only_from_our_own_pages_or_from_no_page() {
        let host = ("host", "mlflow.corp:5000");
        for (fields, expected) in [
            (&[host][..], "passes"),
            (&[host, ("origin", "http://mlflow.corp:5000")], "passes"),
            (&[host, ("origin", "https://MLflow.corp:5000"), ("sec-fetch-site", "same-origin")], "passes"),
            (&[host, ("sec-fetch-site", "none")], "passes"),
            // A proxy has replaced `Host`, or reports it in `X-Forwarded-Host`.
            (&[host, ("origin", "https://public.example"), ("sec-fetch-site", "same-origin")], "passes"),
            (&[host, ("origin", "https://public.example"), ("x-forwarded-host", "public.example")], "passes"),
            (&[host, ("origin", "https://evil.example"), ("x-forwarded-host", "public.example")], "foreign origin"),
            (&[host, ("origin", "https://public.example"), ("sec-fetch-site", "same-site")], "foreign origin"),
            (&[host, ("origin", "http://mlflow.corp")], "foreign origin"),
            (&[host, ("origin", "https://evil.example")], "foreign origin"),
            (&[host, ("origin", "null")], "foreign origin"),
            (&[host, ("origin", "")], "foreign origin"),
            (&[host, ("sec-fetch-site", "cross-site")], "foreign origin"),
            (&[host, ("sec-fetch-site", "same-site")], "foreign origin"),
            (&[("origin", "https://evil.example")], "foreign origin"),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(verdict(&method, fields, &AllowedHosts::Any), expected, "{method} {fields:?}");
            }
            assert_eq!(verdict(&Method::GET, fields, &AllowedHosts::Any), "passes", "{fields:?}");
        }
    }
}
