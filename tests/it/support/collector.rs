//! A collector of OpenTelemetry's: takes spans as JSON, and remembers them.

use std::io;

use serde_json::Value;

use super::upstream::{Recorded, Upstream, Wire};
use super::{Message as _, eventually};

/// The running collector.
pub struct Collector {
    server: Upstream,
}

/// A span, with its attributes as text.
#[derive(Clone, Debug)]
pub struct Span {
    pub document: Value,
    pub resource: Value,
}

impl Collector {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::answering(|_, wire| wire.answer("200 OK", "{}"))
    }

    /// One that answers in another way.
    pub fn answering(handler: impl Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { server: Upstream::plain(handler) }
    }

    /// The URL of the collector.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The bodies that it has received.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// All spans so far.
    #[track_caller]
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for request in self.requests() {
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
            assert_eq!(request.header("content-type"), "application/json");
            let document: Value = serde_json::from_slice(&request.body).expect("JSON");
            for resource in document["resourceSpans"].as_array().expect("a list") {
                for scope in resource["scopeSpans"].as_array().expect("a list") {
                    spans.extend(scope["spans"].as_array().expect("a list").iter().map(|span| Span {
                        document: span.clone(),
                        resource: resource["resource"]["attributes"].clone(),
                    }));
                }
            }
        }
        spans
    }

    /// Waits until it has so many spans.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Span> {
        eventually("the collector has the spans", || self.spans().len() >= count);
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

impl Span {
    /// A member that is text.
    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        self.document[name].as_str().unwrap_or_else(|| panic!("{name} in {:#}", self.document))
    }

    /// 2 is a server's, 3 a client's.
    pub fn kind(&self) -> u64 {
        self.document["kind"].as_u64().unwrap()
    }

    /// An attribute as text, if there is one of that name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.document["attributes"], name)
    }

    /// Returns an attribute of the sender.
    pub fn of_resource(&self, name: &str) -> Option<&str> {
        attribute(&self.resource, name)
    }

    /// Nanoseconds from its start to its end.
    pub fn times(&self) -> (u128, u128) {
        let time = |name| self.text(name).parse().unwrap();
        (time("startTimeUnixNano"), time("endTimeUnixNano"))
    }
}

fn attribute<'a>(all: &'a Value, name: &str) -> Option<&'a str> {
    let found: Vec<_> = all.as_array()?.iter().filter(|one| one["key"] == name).collect();
    assert!(found.len() <= 1, "{name} in {all:#}");
    found.first().and_then(|one| one["value"]["stringValue"].as_str().or_else(|| one["value"]["intValue"].as_str()))
}
