//! What is known of a span, until it is written down.

use std::borrow::Cow;
use std::time::SystemTime;

/// Longest text of an attribute: a queue of spans has to be bounded in bytes as well. OpenTelemetry's SDKs have no limit.
const TEXT_LIMIT: usize = 1024;

/// Which end of a request a span is about; the numbers are OTLP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was answered here.
    Server = 2,
    /// It was sent from here.
    Client = 3,
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) struct Span {
    pub id: u64,
    pub parent: Option<u64>,
    pub kind: Kind,
    pub name: Cow<'static, str>,
    pub start: SystemTime,
    pub end: SystemTime,
    pub attributes: Attributes,
    /// Whether somebody should look at it.
    pub has_failed: bool,
}

/// The spans of one request.
#[derive(Debug)]
pub(crate) struct Finished {
    pub trace: u128,
    pub flags: u8,
    /// The caller's `tracestate`.
    pub state: Option<String>,
    pub spans: Vec<Span>,
}

/// The value of an attribute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Cow<'static, str>),
    Number(u64),
}

/// Attributes by OpenTelemetry's semantic conventions, and some of our own, which begin with `appliance.`.
#[derive(Debug, Default)]
pub(crate) struct Attributes(pub Vec<(&'static str, Value)>);

impl Attributes {
    /// Text that is part of the program.
    pub(crate) fn word(&mut self, name: &'static str, text: Option<&'static str>) {
        self.0.extend(text.map(|text| (name, Value::Text(Cow::Borrowed(text)))));
    }

    /// Text from elsewhere, no longer than is bearable.
    pub(crate) fn text(&mut self, name: &'static str, text: Option<&str>) {
        let short = |text: &str| text[..text.floor_char_boundary(TEXT_LIMIT)].to_owned();
        self.0.extend(text.map(|text| (name, Value::Text(Cow::Owned(short(text))))));
    }

    /// A number.
    pub(crate) fn number(&mut self, name: &'static str, number: Option<u64>) {
        self.0.extend(number.map(|number| (name, Value::Number(number))));
    }

    /// A method; one that HTTP does not know is `_OTHER`, because any text may be sent for one.
    pub(crate) fn method(&mut self, method: &str) -> &'static str {
        const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        let known = KNOWN.into_iter().find(|known| *known == method);
        self.word("http.request.method", Some(known.unwrap_or("_OTHER")));
        self.text("http.request.method_original", known.is_none().then_some(method));
        // A span of another method is called so by the conventions.
        known.unwrap_or("HTTP")
    }

    /// A host and its port, as in `Host`.
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

    fn attributes(fill: impl FnOnce(&mut Attributes)) -> Vec<(&'static str, String)> {
        let mut attributes = Attributes::default();
        fill(&mut attributes);
        let shown = attributes.0.into_iter().map(|(name, value)| match value {
            Value::Text(text) => (name, text.into_owned()),
            Value::Number(number) => (name, number.to_string()),
        });
        shown.collect()
    }

    #[test]
    fn authorities_are_taken_apart() {
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
    fn what_callers_can_make_long_or_various_is_bounded() {
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
