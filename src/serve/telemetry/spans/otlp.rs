//! The encoding of spans as OTLP's JSON: ids in hexadecimal, 64-bit numbers as text, enumerations as numbers.
//!
//! It follows "JSON Protobuf Encoding" in the specification of OTLP, and `opentelemetry/proto/trace/v1/trace.proto`. It uses
//! serde, because OpenTelemetry's own crates bring Protobuf, gRPC and a second HTTP client, which together are larger than
//! everything else that a request needs.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::serve::telemetry::spans::span::{AttributeValue, FinishedSpans, Span, SpanKind};

/// The `status.code` of a failed span. Instrumentation leaves it unset on other spans.
const STATUS_ERROR: u8 = 2;
/// Bits of a span's `flags` beside those of the trace: the sender knows whether the parent is remote, and the parent is remote.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportRequest<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: ResourceDocument<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct ResourceDocument<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<SpanDocument<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanDocument<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_state: Option<&'a str>,
    flags: u32,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Serialize)]
struct Status {
    code: u8,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue<'a> {
    StringValue(&'a str),
    IntValue(String),
}

/// Returns the body of a request to a collector.
pub(crate) fn document(resource: &[(String, String)], requests: &[FinishedSpans]) -> Vec<u8> {
    let attributes = resource.iter().map(|(key, text)| Attribute { key, value: AnyValue::StringValue(text) }).collect();
    let spans = requests.iter().flat_map(|request| request.spans.iter().map(move |span| described(request, span)));
    let scope = Scope { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
    let scope_spans = [ScopeSpans { scope, spans: spans.collect() }];
    let resource = ResourceDocument { attributes };
    let request = ExportRequest { resource_spans: [ResourceSpans { resource, scope_spans }] };
    serde_json::to_vec(&request).expect("text and numbers")
}

fn described<'a>(request: &'a FinishedSpans, span: &'a Span) -> SpanDocument<'a> {
    let parent = match (span.kind, span.parent) {
        (SpanKind::Server, Some(_)) => PARENT_IS_KNOWN | PARENT_IS_REMOTE,
        (SpanKind::Server, None) | (SpanKind::Client, _) => PARENT_IS_KNOWN,
    };
    SpanDocument {
        trace_id: format!("{:032x}", request.trace),
        span_id: format!("{:016x}", span.id),
        parent_span_id: span.parent.map(|parent| format!("{parent:016x}")),
        trace_state: request.state.as_deref(),
        flags: u32::from(request.flags) | parent,
        name: &span.name,
        kind: span.kind as u8,
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.end),
        attributes: span.attributes.0.iter().map(|(key, value)| Attribute { key, value: any(value) }).collect(),
        status: span.has_failed.then_some(Status { code: STATUS_ERROR }),
    }
}

fn any(value: &AttributeValue) -> AnyValue<'_> {
    match value {
        AttributeValue::Text(text) => AnyValue::StringValue(text),
        AttributeValue::Number(number) => AnyValue::IntValue(number.to_string()),
    }
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::serve::telemetry::spans::span::SpanAttributes;

    #[test]
    fn the_document_follows_the_specification() {
        let start = UNIX_EPOCH + Duration::new(1_544_712_660, 300_000_001);
        let mut attributes = SpanAttributes::default();
        attributes.word("http.request.method", Some("GET"));
        attributes.number("http.response.status_code", Some(503));
        let server = Span {
            id: 0xeee1_9b7e_c3c1_b174,
            parent: Some(0x0ee1_9b7e_c3c1_b173),
            kind: SpanKind::Server,
            name: "GET runs:search".into(),
            start,
            end: start + Duration::from_millis(700),
            attributes,
            has_failed: true,
        };
        let client = Span {
            id: 1,
            parent: Some(server.id),
            kind: SpanKind::Client,
            name: "GET".into(),
            attributes: SpanAttributes::default(),
            has_failed: false,
            ..server
        };
        let resource = [("service.name".to_owned(), "mlflow-\"appliance\"".to_owned())];
        let finished = FinishedSpans {
            trace: 0x5b8e_fff7_9803_8103_d269_b633_813f_c60c,
            flags: 1,
            state: Some("a=b".to_owned()),
            spans: vec![server, client],
        };
        let written: serde_json::Value = serde_json::from_slice(&document(&resource, &[finished])).unwrap();
        let expected = serde_json::json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "mlflow-\"appliance\""}}
            ]},
            "scopeSpans": [{
                "scope": {"name": "appliance", "version": env!("CARGO_PKG_VERSION")},
                "spans": [{
                    "traceId": "5b8efff798038103d269b633813fc60c",
                    "spanId": "eee19b7ec3c1b174",
                    "parentSpanId": "0ee19b7ec3c1b173",
                    "traceState": "a=b",
                    "flags": 0x301,
                    "name": "GET runs:search",
                    "kind": 2,
                    "startTimeUnixNano": "1544712660300000001",
                    "endTimeUnixNano": "1544712661000000001",
                    "attributes": [
                        {"key": "http.request.method", "value": {"stringValue": "GET"}},
                        {"key": "http.response.status_code", "value": {"intValue": "503"}}
                    ],
                    "status": {"code": 2}
                }, {
                    "traceId": "5b8efff798038103d269b633813fc60c",
                    "spanId": "0000000000000001",
                    "parentSpanId": "eee19b7ec3c1b174",
                    "traceState": "a=b",
                    "flags": 0x101,
                    "name": "GET",
                    "kind": 3,
                    "startTimeUnixNano": "1544712660300000001",
                    "endTimeUnixNano": "1544712661000000001",
                    "attributes": []
                }]
            }]
        }]});
        assert_eq!(written, expected);
    }
}
