//! The headers that cross the proxy. All pass unchanged in both directions except those that are listed here.
//!
//! Hop-by-hop fields (RFC 9110 §7.6.1) belong to one connection. The others are dropped because the upstream would take a
//! caller's value for the appliance's own, or because they describe the connection to the appliance and not that to the upstream.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::fields::Fields;
use crate::mlflow::target::{APP_ARN_HEADER, TRACKING_SERVER_ARN_HEADER};

/// Fields that a request may have: as many as the parser of HTTP/1.1 takes.
const FIELD_LIMIT: usize = 96;
/// The maximum size of their names and values together. Servers of HTTP/2 accept 64 KiB or less; for a larger head they end the
/// connection, and with it the requests of other callers. The appliance's own fields and the path add to this size. Bytes.
const FIELDS_SIZE_LIMIT: usize = 32 * 1024;

/// True for a field that describes one connection, not the message.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// True for a request field that must not reach the upstream.
fn is_for_the_appliance_only(name: &str) -> bool {
    match name {
        // Identity and routing: the appliance's own take their place. SECURITY: one endpoint serves every account and
        // the ARN header alone selects the target, so a caller's copy would be a confused-deputy attack.
        "authorization" | "cookie" | "host" | TRACKING_SERVER_ARN_HEADER | APP_ARN_HEADER => true,
        // Signed in place of `x-amz-date` by some signers, so a caller's value must not survive.
        "date" => true,
        // Framing: set again from the body that was received. `expect` was answered by the listener.
        "content-length" | "expect" => true,
        // MLflow's middleware rejects foreign origins, but only the appliance can decide which requests are cross-site.
        "origin" | "referer" | "forwarded" | "via" => true,
        // Kept for correlation: AWS excludes it from signatures because hops rewrite it.
        "x-amzn-trace-id" => false,
        // SECURITY: some frameworks take path or method from these fields, and not those that were authorized and signed.
        "x-original-url" | "x-rewrite-url" | "x-http-method" | "x-http-method-override" | "x-method-override" => true,
        _ => {
            name.starts_with("x-amz-")
                || name.starts_with("x-amzn-")
                || name.starts_with("x-mlflow-sm-")
                || name.starts_with("x-sm-mlflow-")
                || name.starts_with("x-forwarded-")
                || name.starts_with("sec-fetch-")
                // SECURITY: WSGI folds `_` and `-` into one variable, so `x_amz_date` could pose as `x-amz-date`.
                || name.contains('_')
        }
    }
}

/// True for a response field that is about the upstream's origin, and that a browser would apply to the appliance's origin.
fn is_about_the_upstream_origin(name: &str) -> bool {
    match name {
        "set-cookie" | "alt-svc" | "strict-transport-security" | "content-length" => true,
        // SECURITY: they would end the visitor's sessions here, or send reports about our pages elsewhere.
        "clear-site-data" | "nel" | "report-to" | "reporting-endpoints" => true,
        // SECURITY: a page of another site could read what the appliance signs for a visitor whose network it trusts. The upstream
        // sees no `Origin` of a caller, so what it allows was not meant for one.
        "timing-allow-origin" => true,
        _ => name.starts_with("access-control-"),
    }
}

/// The facts about the fields of a request that several steps need, gathered in one pass over them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderSummary {
    /// The number of fields.
    pub count: usize,
    /// Bytes of their names and values together.
    pub size: usize,
    /// True if `transfer-encoding` is among them.
    pub is_chunked: bool,
    /// True if `upgrade` is among them.
    pub has_upgrade: bool,
    /// True if `content-length` is among them.
    pub has_length: bool,
    /// The length that it announces, if that can be read. Bytes.
    pub length: Option<u64>,
}

impl HeaderSummary {
    /// Goes through the fields of a request.
    #[must_use]
    pub fn of(inbound: &HeaderMap) -> Self {
        let mut summary = Self::default();
        for (name, value) in inbound {
            summary.count += 1;
            summary.size += name.as_str().len() + value.len();
            match *name {
                header::TRANSFER_ENCODING => summary.is_chunked = true,
                header::UPGRADE => summary.has_upgrade = true,
                header::CONTENT_LENGTH if !summary.has_length => {
                    summary.has_length = true;
                    summary.length = length(value);
                }
                _ => {}
            }
        }
        summary
    }

    /// True if there are more or longer fields than are served.
    ///
    /// SECURITY: each would be held, compared, copied and passed on, for as long as its request takes.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.count > FIELD_LIMIT || self.size > FIELDS_SIZE_LIMIT
    }
}

/// The fields of a caller's request that go upstream, in their order and with their repetitions.
#[must_use]
pub fn for_upstream(inbound: &HeaderMap) -> Fields {
    let named = fields_named_by_connection(inbound);
    // The capacity has room for the headers that signing adds.
    let mut outbound = Fields::with_capacity(inbound.len() + 8);
    for (name, value) in inbound {
        let text = name.as_str();
        if !is_hop_by_hop(text) && !is_for_the_appliance_only(text) && !named.contains(name) {
            outbound.append(name.clone(), value.clone());
        }
    }
    outbound
}

/// Keeps the fields of an upstream's response that go to the caller. `content-length` is set again from the body's size.
pub fn keep_for_caller(fields: &mut HeaderMap) {
    keep(fields, |name| !is_about_the_upstream_origin(name));
}

/// The announced length of a body in bytes, if there is one that can be read.
#[must_use]
pub fn content_length(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::CONTENT_LENGTH).and_then(length)
}

fn length(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse().ok()
}

/// Asks for a body that is not compressed, because it is to be read on its way.
pub fn ask_for_identity(fields: &mut Fields) {
    fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Keeps the fields of a response from S3 that describe an object to its reader.
pub fn keep_of_object(fields: &mut HeaderMap) {
    fields.retain(|name, _| {
        matches!(
            name.as_str(),
            "accept-ranges"
                | "cache-control"
                | "content-encoding"
                | "content-language"
                | "content-range"
                | "content-type"
                | "etag"
                | "expires"
                | "last-modified"
        )
    });
}

/// Keeps every field but the hop-by-hop ones.
pub fn keep_end_to_end(fields: &mut HeaderMap) {
    keep(fields, |_| true);
}

/// Keeps what is not hop-by-hop and is wanted, in one pass.
fn keep(fields: &mut HeaderMap, is_wanted: impl Fn(&str) -> bool) {
    let named = fields_named_by_connection(fields);
    fields.retain(|name, _| !is_hop_by_hop(name.as_str()) && is_wanted(name.as_str()) && !named.contains(name));
}

/// `Connection` may name further fields as hop-by-hop. Usually it says `keep-alive` or `close` and this is empty.
fn fields_named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|option| !option.eq_ignore_ascii_case("close") && !option.eq_ignore_ascii_case("keep-alive"))
        .filter_map(|option| HeaderName::try_from(option).ok())
        // SECURITY: a caller must not be able to remove what describes its own body by naming it hop-by-hop.
        .filter(|name| !matches!(*name, header::CONTENT_TYPE | header::CONTENT_ENCODING))
        .collect()
}

#[cfg(test)]
mod tests;
