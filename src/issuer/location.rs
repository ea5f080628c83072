//! A URL of an issuer: where to connect, and what to ask for.

use std::net::IpAddr;

use url::{Host, Url};

use crate::http::client::Endpoint;

/// A URL of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The server.
    pub endpoint: Endpoint,
    /// The path and the query.
    pub target: String,
}

impl Location {
    /// Parses `https://…`, or `http://…` to this machine.
    ///
    /// # Errors
    /// The problem with the URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "not a URL")?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("the URL has a user, a password or a fragment");
        }
        let is_this_machine = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            None => return Err("the URL has no host"),
        };
        // SECURITY: an attacker on the way could replace the keys of plain http, and sign tokens with their own.
        let tls = match url.scheme() {
            "https" => true,
            "http" if is_this_machine => false,
            "http" => return Err("plain http is allowed to this machine only"),
            _ => return Err("the URL must start with `https://`, or with `http://` for this machine"),
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or("the URL has no port")?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self { endpoint: Endpoint { tls, host, port }, target: format!("{}{query}", url.path()) })
    }

    /// Returns the address of the discovery document of an issuer at this location (OpenID Connect Discovery 1.0, section 4).
    #[must_use]
    pub fn discovery(&self) -> Self {
        let target = format!("{}/.well-known/openid-configuration", self.target.trim_end_matches('/'));
        Self { target, ..self.clone() }
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", self.endpoint.url(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_reached_over_tls_or_on_this_machine() {
        for (text, discovery) in [
            ("https://accounts.google.com", "https://accounts.google.com/.well-known/openid-configuration"),
            ("https://idp/realms/x/", "https://idp/realms/x/.well-known/openid-configuration"),
            ("https://idp:8443/a", "https://idp:8443/a/.well-known/openid-configuration"),
            ("http://127.0.0.1:9/a", "http://127.0.0.1:9/a/.well-known/openid-configuration"),
            ("http://[::1]:9", "http://[::1]:9/.well-known/openid-configuration"),
        ] {
            assert_eq!(Location::parse(text).map(|at| at.discovery().url()), Ok(discovery.to_owned()), "{text}");
        }
        for text in ["", "idp", "http://idp", "ftp://idp", "https://u@idp", "https://u:p@idp", "https://idp/#x"] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }
}
