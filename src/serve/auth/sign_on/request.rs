//! A request of a browser on its way to the identity provider or back.

use std::sync::Arc;

use url::form_urlencoded;

use crate::http::client::Dialer;
use crate::http::uri;
use crate::serve::auth::browser::BrowserRequest;
use crate::serve::auth::callers::Callers;
use crate::serve::auth::issuers::IssuerState;
use crate::serve::auth::issuers::sign_on::IssuerSignOn;
use crate::serve::auth::sign_on::paths::{CALLBACK, START};
use crate::serve::auth::sign_on::public_address;

/// A request of a browser on its way to the provider or back.
pub(crate) struct SignOnRequest<'a> {
    pub callers: &'a Callers,
    pub browser: BrowserRequest<'a>,
    /// Connects to providers, with the trust, the proxies and the deadlines of connections.
    pub dialer: &'a Dialer,
}

impl SignOnRequest<'_> {
    /// Returns the issuer of this name at which people can sign in.
    pub(super) fn issuer(&self, name: &str) -> Option<(&Arc<IssuerState>, &IssuerSignOn)> {
        let issuers = self.callers.issuers.all().iter();
        let mut offered = issuers.filter_map(|issuer| Some((issuer, issuer.sign_on()?)));
        offered.find(|(issuer, _)| &*issuer.issuer().name == name)
    }

    /// Returns the address of the appliance for browsers; see [`public_address::of`].
    pub(super) fn public_address(&self) -> Option<String> {
        public_address::of(self.browser)
    }

    /// Returns the address to which the provider returns the browser.
    pub(super) fn redirect_uri(&self, client: &IssuerSignOn) -> Option<String> {
        client.client.redirect_url.clone().or_else(|| Some(self.public_address()? + CALLBACK))
    }

    /// Returns a parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.browser.request.uri().query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// Returns the path at which a sign-in at this issuer begins.
pub(super) fn start_path(issuer: &str, next: &str) -> String {
    format!("{START}?issuer={}&next={}", uri::encoded(issuer), uri::encoded(next))
}
