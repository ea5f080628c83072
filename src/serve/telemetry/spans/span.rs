//! Spans and their attributes, before they are encoded.

use std::borrow::Cow;
use std::time::SystemTime;

/// The maximum length of an attribute in bytes, so that the queue of spans is bounded in bytes. OpenTelemetry's SDKs have no limit.
const TEXT_LIMIT: usize = 1024;

/// The side of a request that a span describes. The numbers are OTLP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// The appliance received the request.
    Server = 2,
    /// The appliance sent the request.
    Client = 3,
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) struct Span {
    pub id: u64,
    pub parent: Option<u64>,
    pub kind: SpanKind,
    pub name: Cow<'static, str>,
    pub start: SystemTime,
    pub end: SystemTime,
    pub attributes: SpanAttributes,
    /// True if the operation failed.
    pub has_failed: bool,
}

/// The spans of one request.
#[derive(Debug)]
pub(crate) struct FinishedSpans {
    pub trace: u128,
    pub flags: u8,
    /// The client's `tracestate`.
    pub state: Option<String>,
    pub spans: Vec<Span>,
}

/// The value of an attribute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AttributeValue {
    Text(Cow<'static, str>),
    Number(u64),
}

/// Attributes by OpenTelemetry's semantic conventions. The appliance's own begin with `appliance.`.
#[derive(Debug, Default)]
pub(crate) struct SpanAttributes(pub Vec<(&'static str, AttributeValue)>);

impl SpanAttributes {
    /// Adds a text that is part of the program.
    pub(crate) fn word(&mut self, name: &'static str, text: Option<&'static str>) {
        self.0.extend(text.map(|text| (name, AttributeValue::Text(Cow::Borrowed(text)))));
    }

    /// Adds a text from elsewhere, shortened to the maximum length.
    pub(crate) fn text(&mut self, name: &'static str, text: Option<&str>) {
        let short = |text: &str| text[..text.floor_char_boundary(TEXT_LIMIT)].to_owned();
        self.0.extend(text.map(|text| (name, AttributeValue::Text(Cow::Owned(short(text))))));
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, name: &'static str, number: Option<u64>) {
        self.0.extend(number.map(|number| (name, AttributeValue::Number(number))));
    }

    /// Adds a method, and returns the name that the conventions give a span of it. An unknown method becomes `_OTHER`,
    /// because a client may send any text.
    pub(crate) fn method(&mut self, method: &str) -> &'static str {
        const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        let known = KNOWN.into_iter().find(|known| *known == method);
        self.word("http.request.method", Some(known.unwrap_or("_OTHER")));
        self.text("http.request.method_original", known.is_none().then_some(method));
        known.unwrap_or("HTTP")
    }

    /// Adds a host and its port, as in `Host`.
    pub(crate) fn server(&mut self, authority: &str) {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, None),
        };
        self.text("server.address", Some(host.trim_start_matches('[').trim_end_matches(']')));
        self.number("server.port", port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(fill: impl FnOnce(&mut SpanAttributes)) -> Vec<(&'static str, String)> {
        let mut attributes = SpanAttributes::default();
        fill(&mut attributes);
        let shown = attributes.0.into_iter().map(|(name, value)| match value {
            AttributeValue::Text(text) => (name, text.into_owned()),
            AttributeValue::Number(number) => (name, number.to_string()),
        });
        shown.collect()
    }

    #[test]
    fn a_host_header_becomes_address_and_port() {
        for (authority, address, port) in [
            ("mlflow.corp", "mlflow.corp", None),
            ("mlflow.corp:8443", "mlflow.corp", Some("8443")),
            ("[::1]:5000", "::1", Some("5000")),
            ("[::1]", "::1", None),
            ("mlflow:nonsense", "mlflow", None),
        ] {
            let found = attributes(|attributes| attributes.server(authority));
            assert_eq!(found[0], ("server.address", address.to_owned()));
            assert_eq!(found.get(1).map(|(_, port)| port.as_str()), port, "{authority}");
        }
    }

    #[test]
    fn text_from_clients_is_bounded_in_length_and_variety() {
        let long = "é".repeat(TEXT_LIMIT);
        let found = attributes(|attributes| attributes.text("url.path", Some(&long)));
        assert_eq!(found[0].1, "é".repeat(TEXT_LIMIT / 2));
        let found = attributes(|attributes| assert_eq!(attributes.method("PURGE"), "HTTP"));
        assert_eq!(found[0], ("http.request.method", "_OTHER".to_owned()));
        assert_eq!(found[1], ("http.request.method_original", "PURGE".to_owned()));
        let found = attributes(|attributes| assert_eq!(attributes.method("GET"), "GET"));
        assert_eq!(found, [("http.request.method", "GET".to_owned())]);
    }
}
