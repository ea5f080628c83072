//! The header fields that cross the proxy in either direction.

use super::*;
use actix_web::http::header::HeaderValue;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    map
}

fn sent(inbound: &HeaderMap) -> HeaderMap {
    for_upstream(inbound).into_iter().collect()
}

fn kept_for_caller(mut fields: HeaderMap) -> HeaderMap {
    keep_for_caller(&mut fields);
    fields
}

fn names(map: &HeaderMap) -> Vec<String> {
    let mut names: Vec<_> = map.iter().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn headers_that_would_impersonate_the_appliance_are_removed() {
    let inbound = map(&[
        ("authorization", "Bearer secret"),
        ("cookie", "session=1"),
        ("host", "evil.example"),
        ("x-mlflow-sm-tracking-server-arn", "arn:evil"),
        ("x-sm-mlflow-app-arn", "arn:evil"),
        ("x-sm-mlflow-anything", "1"),
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-security-token", "stolen"),
        ("x-amzn-oidc-data", "jwt"),
        ("x_amz_date", "20200101T000000Z"),
        ("date", "now"),
        ("origin", "https://a.example"),
        ("referer", "https://a.example/"),
        ("sec-fetch-site", "same-origin"),
        ("x-forwarded-for", "10.0.0.9"),
        ("x-forwarded-host", "a.example"),
        ("forwarded", "for=10.0.0.9"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-http-method", "DELETE"),
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
        ("via", "1.1 a"),
        ("expect", "100-continue"),
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("proxy-authorization", "Basic x"),
    ]);
    assert_eq!(names(&sent(&inbound)), Vec::<String>::new());
}

#[test]
fn all_other_headers_pass_with_order_and_repetition() {
    let inbound = map(&[
        ("accept", "*/*"),
        ("accept", "text/html"),
        ("accept-encoding", "gzip"),
        ("content-type", "application/json"),
        ("range", "bytes=0-1"),
        ("traceparent", "00-1-2-01"),
        ("user-agent", "mlflow-python-client/3.17.2"),
        ("x-amzn-trace-id", "Root=1-2-3"),
        ("x-mlflow-client-version", "3.17.2"),
        ("x-mlflow-workspace", "team"),
    ]);
    let outbound = sent(&inbound);
    assert_eq!(names(&outbound), names(&inbound));
    assert_eq!(outbound.get_all("accept").collect::<Vec<_>>(), ["*/*", "text/html"]);
}

#[test]
fn connection_names_further_hop_by_hop_fields() {
    let inbound = map(&[
        ("connection", "keep-alive, X-Hop"),
        ("connection", "x-other, content-type"),
        ("x-hop", "1"),
        ("x-other", "1"),
        ("x-kept", "1"),
        ("content-type", "text/plain"),
    ]);
    assert_eq!(names(&sent(&inbound)), ["content-type", "x-kept"]);
    assert_eq!(names(&kept_for_caller(inbound)), ["content-type", "x-kept"]);
}

#[test]
fn the_number_and_the_size_of_fields_are_limited() {
    let repeated = |count: usize, value: &'static str| {
        let mut fields = HeaderMap::new();
        for _ in 0..count {
            fields.append(HeaderName::from_static("x-a"), HeaderValue::from_static(value));
        }
        fields
    };
    let is_too_large = |fields| HeaderSummary::of(&fields).is_too_large();
    assert!(!is_too_large(repeated(FIELD_LIMIT, "b")));
    assert!(is_too_large(repeated(FIELD_LIMIT + 1, "b")), "repeated ones count as well");
    let long: &'static str = "a".repeat(FIELDS_SIZE_LIMIT - 3).leak();
    assert!(!is_too_large(repeated(1, long)));
    assert!(is_too_large(repeated(2, &long[..FIELDS_SIZE_LIMIT / 2])));
}

#[test]
fn a_summary_shows_the_framing_of_the_body() {
    let found = |fields: &[(&'static str, &'static str)]| {
        let HeaderSummary { count, is_chunked, has_upgrade, has_length, length, .. } = HeaderSummary::of(&map(fields));
        (count, is_chunked, has_upgrade, has_length, length)
    };
    assert_eq!(found(&[]), (0, false, false, false, None));
    assert_eq!(found(&[("content-length", " 12 "), ("host", "h")]), (2, false, false, true, Some(12)));
    assert_eq!(found(&[("content-length", "x")]), (1, false, false, true, None));
    assert_eq!(found(&[("transfer-encoding", "chunked"), ("upgrade", "h2c")]), (2, true, true, false, None));
}

#[test]
fn an_upstream_cannot_set_cookies_or_policies_of_our_origin() {
    let inbound = map(&[
        ("set-cookie", "a=1"),
        ("alt-svc", "h3=\":443\""),
        ("strict-transport-security", "max-age=1"),
        ("x-amzn-requestid", "r"),
        ("etag", "\"1\""),
        ("content-length", "2"),
    ]);
    assert_eq!(names(&kept_for_caller(inbound)), ["etag", "x-amzn-requestid"]);
}
