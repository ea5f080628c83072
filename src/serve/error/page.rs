//! The page with which a browser shows a proxy error to a person: the message, the steps to take, and the request id.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};

use crate::serve::auth::error::AccessError;
use crate::serve::error::proxy_error::ProxyError;
use crate::serve::page::template::{Place, fill, with_code};
use crate::serve::page::{Page, PageLink, buttons};

/// The addresses that an error page can link to, relative to the requested one.
pub(crate) struct ErrorLinks {
    /// The start page.
    pub start: String,
    /// The sign-in page, if there is one.
    pub sign_in: Option<String>,
}

impl ProxyError {
    /// Makes the response for a person with a browser. Apart from the body, it has everything that [`Self::response`] has.
    pub(crate) fn page(&self, request_id: &str, links: ErrorLinks) -> HttpResponse {
        let response = self.response(request_id);
        let advice = match response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()) {
            // The page does not reload by itself: without a script, Chromium only scrolls if the address has a fragment, and
            // every page of MLflow has one.
            Some(seconds) if self.status().is_server_error() => format!("Reload the page in {seconds} s."),
            _ => self.advice().to_owned(),
        };
        let heading = self.heading();
        let content = fill(
            include_str!("page.html"),
            &[
                ("heading", Place::Text(heading)),
                ("message", Place::Markup(&with_code(&self.message()))),
                ("advice", Place::Text(&advice)),
                ("links", Place::Markup(&buttons(&self.links(links)))),
                ("status", Place::Text(self.status().as_str())),
                ("error_code", Place::Text(self.error_code())),
                ("request_id", Place::Text(request_id)),
            ],
        );
        let (page, body) = Page { title: heading, content, script: None }.response(self.status()).into_parts();
        let mut response = response.set_body(body);
        for (name, value) in page.headers() {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }

    fn heading(&self) -> &'static str {
        match self {
            Self::Access(AccessError::SignOn(error)) if error.status().is_server_error() => "You cannot sign in now",
            // The provider has signed the person in, so the heading must not contradict the message.
            Self::Access(AccessError::SignOn(error)) if error.other_person().is_some() => heading_of(self.status()),
            Self::Access(AccessError::SignOn(_)) => "You are not signed in",
            _ => heading_of(self.status()),
        }
    }

    /// Says what a person can do.
    fn advice(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "Sign in, and open the page again.",
            StatusCode::FORBIDDEN => "If you need access, send the request id below to the operator of this appliance.",
            StatusCode::NOT_FOUND => "Check the address.",
            StatusCode::TOO_MANY_REQUESTS => "Wait a moment, and reload the page.",
            status if status.is_server_error() => {
                "Reload the page after a moment. If the error persists, send the request id below to the operator of this \
                 appliance."
            }
            _ => "Go back to the page that you came from.",
        }
    }

    /// Chooses the links that help with this error.
    fn links(&self, links: ErrorLinks) -> Vec<PageLink> {
        let link = |label: &str, address: String| PageLink { label: label.to_owned(), address };
        let sign_in = |label: &str, address: Option<String>| address.map(|address| link(label, address));
        let chosen = match self {
            Self::Access(AccessError::SignOn(error)) => match error.other_person() {
                Some(path) => Some(link("Sign in as somebody else", format!("{}{path}", links.start))),
                None => sign_in("Sign in again", links.sign_in),
            },
            Self::Access(
                AccessError::Denied(_)
                | AccessError::NoRoute { .. }
                | AccessError::TargetNotAllowed
                | AccessError::NoGrant,
            ) => sign_in("Sign in with another token", links.sign_in),
            Self::UnknownTarget => {
                sign_in("Show your targets", links.sign_in).or_else(|| Some(link("Open the start page", links.start)))
            }
            Self::NoSuchPage => Some(link("Open the start page", links.start)),
            _ if self.status() == StatusCode::UNAUTHORIZED => sign_in("Sign in", links.sign_in),
            _ => None,
        };
        chosen.into_iter().collect()
    }
}

fn heading_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "You are not signed in",
        StatusCode::FORBIDDEN => "Access denied",
        StatusCode::NOT_FOUND => "Page not found",
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The request is too large",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        StatusCode::BAD_GATEWAY => "MLflow cannot be reached",
        StatusCode::SERVICE_UNAVAILABLE => "Temporarily unavailable",
        StatusCode::GATEWAY_TIMEOUT => "MLflow did not respond in time",
        status if status.is_server_error() => "The appliance has failed",
        _ => "The request was rejected",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::body::MessageBody as _;

    use super::*;
    use crate::access::tokens::TokenRejection;
    use crate::http::body::RequestBodyError;
    use crate::http::client::ClientError;

    fn links() -> ErrorLinks {
        ErrorLinks { start: "./".to_owned(), sign_in: Some("_appliance/login".to_owned()) }
    }

    fn shown(error: &ProxyError, links: ErrorLinks) -> String {
        let body = error.page("0123", links).into_body().try_into_bytes().expect("it is complete");
        String::from_utf8(body.to_vec()).expect("it is text")
    }

    #[test]
    fn a_page_has_the_message_the_advice_and_the_request_id() {
        for (error, texts) in [
            (
                ProxyError::Access(AccessError::TargetNotAllowed),
                ["Access denied", "send the request id", "another token"],
            ),
            (
                ProxyError::Access(TokenRejection::Expired.into()),
                ["not signed in", "open the page again", ">Sign in</a>"],
            ),
            (ProxyError::UnknownTarget, ["Page not found", "Check the address", "Show your targets"]),
            (ProxyError::NoSuchPage, ["Page not found", "Check the address", "Open the start page"]),
            (ProxyError::Overloaded, ["Too many requests", "Wait a moment", "reload"]),
            (ProxyError::MemoryOverBudget, ["Temporarily unavailable", "Reload the page in 5 s", "no memory"]),
            (
                ProxyError::UnreadableDocument,
                ["cannot be reached", "Reload the page in 5 s", "lacks what the appliance needs"],
            ),
            (RequestBodyError::TooLarge { limit: 7 }.into(), ["too large", "limit of 7 bytes", "Go back"]),
            (RequestBodyError::Late(Duration::from_secs(7)).into(), ["was rejected", "after 7 seconds", "Go back"]),
            (ClientError::NoAnswer(Duration::from_secs(7)).into(), ["did not respond in time", "Reload the page", "7"]),
            (ProxyError::Method, ["was rejected", "TRACE and CONNECT", "Go back"]),
        ] {
            let page = shown(&error, links());
            for text in texts.into_iter().chain(["<code>0123</code>", error.error_code()]) {
                assert!(page.contains(text), "{text}: {page}");
            }
            assert!(!page.contains("<script"), "{page}");
        }
        let escaped = shown(&ProxyError::ForeignLocation("<b>\"".to_owned()), links());
        assert!(escaped.contains("<code>&#60;b&#62;&#34;</code>"), "{escaped}");
    }

    #[test]
    fn a_page_has_the_headers_of_the_error() {
        let busy = ProxyError::MemoryOverBudget;
        let (json, page) = (busy.response("0123"), busy.page("0123", links()));
        assert_eq!(page.status(), json.status());
        for name in ["x-appliance-error", "retry-after"] {
            assert_eq!(page.headers().get(name), json.headers().get(name), "{name}");
        }
        let value = |name: &str| page.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(value("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!((value("cache-control"), value("vary")), (Some("no-store"), Some("accept")));
    }

    #[test]
    fn there_is_no_link_to_a_page_that_does_not_exist() {
        let without = || ErrorLinks { sign_in: None, ..links() };
        assert!(!shown(&ProxyError::Access(AccessError::TargetNotAllowed), without()).contains("<a "));
        assert!(shown(&ProxyError::UnknownTarget, without()).contains("Open the start page"));
    }
}
