//! Properties that hold for any input, however hostile. Fuzzing looks for a counter-example for as long as one lets it; the
//! tests in `tests/it/properties.rs` try the same on random and on collected input in every run.

#[path = "framing.rs"]
pub mod framing;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use appliance::access::address::{self, Networks};
use appliance::access::aws_token::{self, ExpectedRequest, UnconfirmedToken};
use appliance::access::balancer_jwt::{ExpectedBalancerJwt, PublicKey, UnverifiedBalancerJwt};
use appliance::access::jwt::{ClaimPath, JwtAlgorithm, JwtIssuer, KeySet, NameTemplate, UnverifiedJwt};
use appliance::access::routes::RoutePath;
use appliance::access::token;
use appliance::access::tokens::Tokens;
use appliance::access::{graphql, routes};
use appliance::bootstrap::user_data::{self, UserData};
use appliance::http::trace_context::TraceContext;
use appliance::http::{headers, uri};
use appliance::mlflow::arn::Arn;
use appliance::mlflow::graphql as document;
use appliance::mlflow::json_paths::{JsonPaths, StringKind};
use appliance::mlflow::rewrite::Rewriter;
use appliance::mlflow::store::{ArtifactPath, ArtifactStore};
use appliance::mlflow::target::Target;
use appliance::mlflow::trace_tags::{SpanFormat, TagSearch};
use appliance::mlflow::{filter, foreign, locations};
use base64::Engine as _;
use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// Panics if it does not hold for an input.
type Property = fn(&[u8]);

/// Each property by its name.
pub const ALL: [(&str, Property); 18] = [
    ("arn", arn),
    ("path", path),
    ("query", query),
    ("headers", header_filter),
    ("artifact_key", artifact_key),
    ("rewriting", rewriting),
    ("filter", filter_text),
    ("user_data", user_data),
    ("token_file", token_file),
    ("token", token_text),
    ("aws_token", aws_token),
    ("oidc", oidc),
    ("jwt", jwt),
    ("forwarded", forwarded),
    ("graphql", graphql_document),
    ("traceparent", traceparent),
    ("trace_tags", trace_tags),
    ("request_framing", framing::request_framing),
];

fn decoded(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

fn is_safe_in_a_header(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// An ARN that is accepted is written back as it was, and leads to a host of AWS.
pub fn arn(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(arn) = Arn::parse(text) else { return };
    assert_eq!(arn.as_str(), text);
    assert!(is_safe_in_a_header(text) && !text.contains(' '));
    assert_eq!(arn.account().len(), 12);
    let target = Target::new(arn.clone());
    for host in [target.host(), target.control_plane_host()] {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        assert!(host.bytes().all(is_plain), "{host}");
        assert!(host.split('.').any(|label| label == arn.region()), "{host}");
    }
}

/// A path in normal form is stable, has the meaning of the original, and has no dot segment for any reader.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(normal) = uri::normalize_path(text) else { return };
    assert!(normal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/%-._~".contains(&byte)), "{normal}");
    assert_eq!(uri::normalize_path(&normal).as_deref(), Ok(&*normal));
    let segments = |text: &str| text.split('/').map(decoded).collect::<Vec<_>>();
    assert_eq!(segments(text), segments(&normal));
    for segment in decoded(&normal).split(|byte| b"/\\".contains(byte)) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "{normal}");
    }
    // The decisions and the upstream see one path, in which no slash is hidden.
    let read = RoutePath::read(&normal);
    assert!(
        read.as_str().starts_with('/') && !read.as_str().starts_with("//") && !read.as_str().contains("%2F"),
        "{read:?}"
    );
    assert_eq!(RoutePath::read(read.as_str()).as_str(), read.as_str());
    let plain =
        |path: &str| path.replace("%2F", "/").split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    assert_eq!(plain(read.sent()), plain(&normal));
    assert_eq!(plain(read.as_str()), plain(&normal));
    assert!(read.sent() == read.as_str() || routes::of("POST", read.as_str()) == routes::UNCLASSIFIED, "{read:?}");
}

/// A query in normal form is stable and has the same pairs.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let normal = uri::normalize_query(text);
    assert!(normal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"&=%-._~".contains(&byte)), "{normal}");
    assert_eq!(uri::normalize_query(&normal), normal);
    let pairs = |text: &str| {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (decoded(key), decoded(value)))
            .collect::<Vec<_>>()
    };
    assert_eq!(pairs(&text.replace('+', " ")), pairs(&normal));
}

/// Nothing with which a caller could speak for the appliance goes upstream; the rest keeps order and repetitions.
pub fn header_filter(data: &[u8]) {
    let mut inbound = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            inbound.append(name, value);
        }
    }
    let outbound: HeaderMap = headers::for_upstream(&inbound).into_iter().collect();
    for (name, _) in &outbound {
        let name = name.as_str();
        assert!(!name.contains('_') && !name.starts_with("x-amz-") && !name.starts_with("x-forwarded-"), "{name}");
        assert!(
            !name.contains("-sm-") || !(name.starts_with("x-mlflow-sm-") || name.starts_with("x-sm-mlflow-")),
            "{name}"
        );
        let forbidden = [
            "authorization",
            "cookie",
            "host",
            "date",
            "connection",
            "transfer-encoding",
            "content-length",
            "upgrade",
            "te",
            "trailer",
            "expect",
            "origin",
            "referer",
            "x-http-method-override",
            "x-original-url",
            "proxy-authorization",
        ];
        assert!(!forbidden.contains(&name), "{name}");
        let kept: Vec<_> = outbound.get_all(name).collect();
        assert_eq!(kept, inbound.get_all(name).collect::<Vec<_>>(), "{name}");
    }
    assert_eq!(headers::for_upstream(&outbound).iter().count(), outbound.len(), "filtering twice changes nothing");
    let mut kept = inbound.clone();
    headers::keep_for_caller(&mut kept);
    for (name, _) in &kept {
        assert!(!["set-cookie", "connection", "content-length", "alt-svc"].contains(&name.as_str()), "{name}");
    }
}

/// An artifact's key lies below the prefix, and no two artifacts share one.
pub fn artifact_key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let store = ArtifactStore::parse("s3://bucket/team/mlflow").expect("a store");
    for parsed in [ArtifactPath::parse(text), ArtifactPath::decode(text)] {
        let Ok(path) = parsed else { continue };
        let key = store.key(&path);
        let below = key.strip_prefix("team/mlflow/").expect("below the prefix");
        assert_eq!(below, path.as_str());
        assert!(below.split('/').all(|part| part != ".." && part != "."), "{key}");
        assert!(path.is_root() || !below.split('/').any(str::is_empty), "{key}");
        assert!(!key.contains(char::is_control), "{key}");
        assert_eq!(store.locate(&format!("s3://bucket/{key}")).as_ref().map(ArtifactPath::as_str), Some(path.as_str()));
    }
    if let Some(public) = store.publish(text) {
        assert!(public.starts_with("mlflow-artifacts:/"));
        let back = store.resolve(&public).expect("what is published can be resolved");
        assert_eq!(back.trim_end_matches('/'), text.trim_end_matches('/'));
    }
}

/// Rewriting does not depend on the pieces in which a text arrives, and changes only the locations.
pub fn rewriting(data: &[u8]) {
    let store = ArtifactStore::parse("s3://bucket/team").expect("a store");
    let path = |keys: &[&str], kind| (keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), kind);
    let chosen =
        vec![path(&["runs", "info", "artifact_uri"], StringKind::Location), path(&["a"], StringKind::Location)];
    for places in [
        locations::of("/api/2.0/mlflow/runs/search").response.into(),
        locations::of("/api/3.0/mlflow/traces").request.into(),
        JsonPaths::Requested(chosen),
        JsonPaths::Everywhere,
    ] {
        rewriting_of(data, &places, &store);
    }
}

fn rewriting_of(data: &[u8], places: &JsonPaths, store: &ArtifactStore) {
    let run = |size: usize| {
        let mut rewriter = Rewriter::new(places.clone(), |_, uri: &str| store.publish(uri));
        let mut out: Vec<u8> = Vec::new();
        for piece in data.chunks(size.max(1)) {
            out.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&rewriter.finish());
        out
    };
    let whole = run(data.len());
    for size in [1, 2, 3, 7] {
        assert_eq!(run(size), whole, "in pieces of {size}");
    }
    if !data.windows(4).any(|window| window == b"s3:/" || window[0] == b'\\') {
        assert_eq!(whole, data, "nothing to replace");
    }
    if let Ok(before) = serde_json::from_slice::<serde_json::Value>(data) {
        let after: serde_json::Value = serde_json::from_slice(&whole).expect("JSON stays JSON");
        assert_eq!(shape(&before), shape(&after));
    }
}

/// Translating the conditions of a search changes operands that are locations, and makes none public or foreign.
pub fn filter_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let store = ArtifactStore::parse("s3://bucket/team").expect("a store");
    let _ = foreign::is_foreign(text, &store);
    let Some(real) = filter::resolved(text, &store) else { return };
    assert!(filter::may_have_locations(text) && real != text, "{text}");
    assert!(real.matches("s3://bucket/team").count() > text.matches("s3://bucket/team").count(), "{text} {real}");
    // Quotes are where they were.
    let quotes = |text: &str| text.matches(['\'', '"', '`']).collect::<String>();
    assert_eq!(quotes(text), quotes(&real), "{text}");
}

/// A document without its texts.
fn shape(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key:?}:{}", shape(value))).collect::<Vec<_>>().join(",")
        }
        serde_json::Value::Array(list) => format!("[{}]", list.iter().map(shape).collect::<Vec<_>>().join(",")),
        serde_json::Value::String(_) => "text".to_owned(),
        other => other.to_string(),
    }
}

/// User data that is accepted is a document within limits, and nothing that anybody would execute.
pub fn user_data(data: &[u8]) {
    let Ok(document) = user_data::decode(data) else { return };
    let (UserData::Toml(text) | UserData::Json(text)) = &document;
    assert!(text.len() <= user_data::TEXT_LIMIT && !text.contains('\0'));
    let start = text.trim_start().to_ascii_lowercase();
    assert!(!start.starts_with("#!") && !start.starts_with("#cloud-config") && !start.starts_with("<script"));
    assert_eq!(user_data::decode(text.as_bytes()).is_ok(), text.len() <= user_data::RAW_LIMIT);
}

/// A token file that is accepted is written and read again without a change.
pub fn token_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(tokens) = Tokens::parse(text) else { return };
    let written = tokens.to_string();
    let read = Tokens::parse(&written).expect("what is written can be read");
    assert_eq!(read.to_string(), written);
    assert_eq!(read.entries().len(), tokens.entries().len());
}

/// A text that is no token is not accepted as one, and does not cause a panic.
pub fn token_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(id) = token::id(text) {
        assert!(text.starts_with(&format!("{}{id}_", token::PREFIX)) && text.len() == 54);
    }
    assert!(Tokens::default().find(text, UNIX_EPOCH).is_err());
}

/// Of a URL in an AWS identity token nothing is sent but one request, and a token does not live longer than 15 minutes.
pub fn aws_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let hosts = vec![("eu-west-1".to_owned(), "sts.eu-west-1.amazonaws.com".to_owned())];
    let expected = ExpectedRequest { audience: "a".into(), hosts };
    // 2026-01-01.
    let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    assert!(UnconfirmedToken::parse(text, &expected, now).is_err(), "the token of a URL is longer");
    let content = serde_json::json!({"audience": "a", "url": text}).to_string();
    let wrapped = format!("{}{}", aws_token::PREFIX, BASE64_URL_SAFE.encode(content));
    let Ok(token) = UnconfirmedToken::parse(&wrapped, &expected, now) else { return };
    let target = token.target();
    assert!(target.starts_with("/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&"));
    assert!(is_safe_in_a_header(target) && target.matches('?').count() == 1 && !target.contains('#'));
    assert!(token.expires > now && token.expires <= now + aws_token::LONGEST_LIFETIME);
}

/// The public key of RFC 6979 §A.2.5; no fuzzer has a use for its private half.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYP7UuiVanTHJYet0xjVtaMBJuJI7\nYfps5mliLmDyn7Z5A/4QCLi8maQa6eWKLxk8vGyDC1+n1F3o8KU1EYimaQ==\n-----END PUBLIC KEY-----\n";

/// A JWT without the issuer's signature is never believed, and nothing panics over it, over keys or over names.
pub fn jwt(data: &[u8]) {
    const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let keys = KeySet::parse(KEYS.as_bytes()).expect("a set");
    let issuer = JwtIssuer {
        name: "i".into(),
        url: "i".to_owned(),
        audiences: vec!["a".to_owned()],
        audience_claim: "aud".to_owned(),
        algorithms: JwtAlgorithm::DEFAULT.to_vec(),
        leeway: Duration::from_secs(300),
        name_claim: ClaimPath::parse("sub").expect("a path"),
    };
    let text = String::from_utf8_lossy(data).into_owned();
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(data);
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
    for token in [text.clone(), format!("{encoded}.{encoded}.{encoded}"), format!("{header}.{encoded}.{encoded}")] {
        let Ok(unverified) = UnverifiedJwt::parse(&token) else { continue };
        for now in [0, 1, 1 << 32, i64::MAX as u64 / 2] {
            let now = UNIX_EPOCH + Duration::from_secs(now);
            assert!(unverified.verify(&issuer, &issuer.audiences, &keys, now).is_err());
        }
    }
    let _ = KeySet::parse(data);
    if let (Ok(template), Ok(serde_json::Value::Object(claims))) =
        (NameTemplate::parse("{sub}"), serde_json::from_slice(data))
        && let Some(name) = template.fill(&claims.into())
    {
        assert_eq!(appliance::access::caller_name::check_name(&name), Ok(()));
    }
}

/// A statement without the load balancer's signature is never believed, and nothing panics over it.
pub fn oidc(data: &[u8]) {
    let key = PublicKey::from_pem(KEY).expect("a key");
    let expected = ExpectedBalancerJwt { signer: "s".into(), issuer: "i".into(), client: None };
    let encoded = BASE64_URL_SAFE.encode(data);
    // As it is, and as the header of a statement that is otherwise well-formed.
    let statements = [String::from_utf8_lossy(data).into_owned(), format!("{encoded}.{encoded}.{encoded}")];
    for statement in statements {
        for now in [0, 1, 1 << 32, i64::MAX as u64 / 2] {
            let Ok(unverified) = UnverifiedBalancerJwt::parse(&statement) else { break };
            assert!(unverified.key_id().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            let now = UNIX_EPOCH + Duration::from_secs(now);
            let _ = unverified.check(&expected, now);
            assert!(unverified.verify(&key, &expected, now).is_err());
        }
    }
}

/// A client cannot choose its address: what stands before the entries that trusted proxies wrote changes nothing.
pub fn forwarded(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let trusted = Networks::parse("10.0.0.0/8,2001:db8::/32").expect("networks");
    let (proxy, stranger) = (IpAddr::from([10, 0, 0, 5]), IpAddr::from([203, 0, 113, 9]));
    let values: Vec<&str> = text.split('\n').collect();
    let read = |peer, values: &[&str], hops| address::client(peer, values.iter().copied(), &trusted, hops);
    assert_eq!(read(stranger, &values, 9), Ok(stranger), "nobody has vouched for anything");
    assert_eq!(read(proxy, &[], 9), Ok(proxy));
    for hops in 0..4 {
        let written = ["10.1.1.1", "10.2.2.2", "198.51.100.7"];
        for count in hops..=3 {
            let alone = read(proxy, &written[3 - count..], hops);
            let behind: Vec<&str> = values.iter().copied().chain(written[3 - count..].iter().copied()).collect();
            assert_eq!(read(proxy, &behind, hops), alone, "{hops} of {count}");
            let joined = format!("{text},{}", written[3 - count..].join(", "));
            if count > 0 {
                assert_eq!(read(proxy, &[&joined], hops), alone, "{hops} of {count}, in one value");
            }
        }
        if let Ok(found) = read(proxy, &values, hops) {
            assert_eq!(found, found.to_canonical());
            assert!(hops > 0 || found == proxy);
        }
    }
}

/// A document always needs at least one action: the list of its actions is never empty.
pub fn graphql_document(data: &[u8]) {
    assert!(!graphql::routes(data).is_empty());
    let _ = locations::of_graphql(Some(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let body = serde_json::json!({"query": text}).to_string();
    let needed = graphql::routes(body.as_bytes());
    assert!(!needed.is_empty());
    if !text.contains("mlflow") && !text.contains("test") {
        assert!(needed.contains(&routes::UNCLASSIFIED), "{text}");
    }
    // A document that is understood needs the same when its strings are others.
    if let Some(other) = document::with_strings(text, |string| Some(format!("{string}\"\\"))) {
        let body = serde_json::json!({"query": other}).to_string();
        assert_eq!(graphql::routes(body.as_bytes()), needed, "{text} {other}");
    }
}

/// A continued trace was named by the caller, digit by digit, and is written so that everybody reads the same.
pub fn traceparent(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(context) = TraceContext::parse(text) else { return };
    assert!(context.trace != 0 && context.span != 0 && !text.starts_with("ff"), "{text}");
    let written = context.value();
    let written = written.to_str().expect("ASCII");
    assert_eq!(written[2..53], text[2..53], "the ids are the caller's");
    assert_eq!(TraceContext::parse(written), Some(context));
}

/// A reserved tag is found wherever a parser of JSON sees it, however the text is cut into pieces.
pub fn trace_tags(data: &[u8]) {
    fn has_one(value: &serde_json::Value) -> bool {
        let is_one = |text: &str| text.starts_with("mlflow.traceTag.mlflow.");
        match value {
            serde_json::Value::String(text) => is_one(text),
            serde_json::Value::Array(values) => values.iter().any(has_one),
            serde_json::Value::Object(members) => members.iter().any(|(key, value)| is_one(key) || has_one(value)),
            _ => false,
        }
    }
    for format in [SpanFormat::Protobuf, SpanFormat::Json] {
        let search = |size| {
            let mut search = TagSearch::new(format);
            data.chunks(size).try_for_each(|piece| search.push(piece))
        };
        let found = search(data.len().max(1));
        for size in [1, 5, 22, 23, 64] {
            assert_eq!(search(size).is_err(), found.is_err(), "{format:?} in pieces of {size}");
        }
        let document = serde_json::from_slice(data).unwrap_or_default();
        if format == SpanFormat::Json && has_one(&document) {
            assert!(found.is_err());
        }
    }
}
