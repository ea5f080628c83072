//! The appliance forwards requests unchanged, except for the documented list.

use crate::support::Message as _;
use crate::support::appliance::{ACCESS_KEY_ID, APP_ARN, Appliance, Builder, SESSION_TOKEN, TRACKING_ARN};
use crate::support::upstream::Upstream;

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn a_request_arrives_signed_routed_and_otherwise_as_it_was() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let answer = appliance.connect().request(
        "POST",
        "/api/2.0/mlflow/runs/log-metric",
        &[("Content-Type", "application/json"), ("Accept", "*/*"), ("X-Custom", "a"), ("X-Custom", "b")],
        Some(b"{\"a\":1}"),
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    let seen = upstream.only_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/api/2.0/mlflow/runs/log-metric"));
    assert_eq!(seen.body, b"{\"a\":1}");
    assert_eq!(seen.header("host"), upstream.authority());
    assert_eq!(seen.header("x-mlflow-sm-tracking-server-arn"), TRACKING_ARN);
    assert_eq!(seen.header("x-amz-security-token"), SESSION_TOKEN);
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("content-length"), "7");
    assert_eq!(seen.all("x-custom"), ["a", "b"]);
    let authorization = seen.header("authorization");
    assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/")), "{authorization}");
    assert!(authorization.contains("/us-east-1/sagemaker-mlflow/aws4_request"), "{authorization}");
    assert!(
        authorization.contains(
            "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;\
             x-mlflow-sm-tracking-server-arn"
        ),
        "{authorization}"
    );
    let names: Vec<_> = seen.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    for name in &names {
        assert!(
            [
                "accept",
                "authorization",
                "content-length",
                "content-type",
                "host",
                "x-amz-content-sha256",
                "x-amz-date",
                "x-amz-security-token",
                "x-custom",
                "x-mlflow-sm-tracking-server-arn"
            ]
            .contains(&name.as_str()),
            "nothing but what was sent and what signing adds: {names:?}"
        );
    }
}

#[test]
fn an_app_gets_its_own_signing_name_and_header() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).env("SM_MLFLOW_RESOURCE_ARN", APP_ARN).start();
    appliance.get("/");
    let seen = upstream.only_request();
    assert_eq!(seen.header("x-sm-mlflow-app-arn"), APP_ARN);
    assert!(seen.all("x-mlflow-sm-tracking-server-arn").is_empty());
    assert!(seen.header("authorization").contains("/eu-west-1/sagemaker/aws4_request"));
}

#[test]
fn a_caller_cannot_set_the_headers_that_the_appliance_sets() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let evil = [
        ("Authorization", "Bearer caller-token"),
        ("Cookie", "session=caller"),
        ("X-MLflow-SM-Tracking-Server-Arn", "arn:aws:sagemaker:us-east-1:666666666666:mlflow-tracking-server/evil"),
        ("x-sm-mlflow-app-arn", "arn:evil"),
        ("x_mlflow_sm_tracking_server_arn", "arn:evil"),
        ("X-Amz-Date", "20200101T000000Z"),
        ("X-Amz-Security-Token", "caller-token"),
        ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
        ("X-Amzn-Oidc-Data", "caller-identity"),
        ("Date", "Wed, 01 Jan 2020 00:00:00 GMT"),
        ("Origin", "http://localhost:5000"),
        ("Referer", "https://elsewhere.example/"),
        ("Sec-Fetch-Site", "cross-site"),
        ("X-Forwarded-For", "10.0.0.9"),
        ("X-Forwarded-Host", "elsewhere.example"),
        ("Forwarded", "host=elsewhere.example"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "one"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic Y2FsbGVy"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    assert_eq!(appliance.connect().request("GET", "/x", &evil, None).status, 200);
    let seen = upstream.only_request();
    assert_eq!(seen.header("x-mlflow-sm-tracking-server-arn"), TRACKING_ARN);
    assert_eq!(seen.header("x-amz-security-token"), SESSION_TOKEN);
    assert_eq!(seen.header("x-amz-content-sha256"), EMPTY_SHA256);
    assert_eq!(seen.header("host"), upstream.authority());
    let sent = format!("{:?}", seen.headers);
    for trace in ["evil", "caller", "elsewhere", "2020", "10.0.0.9", "x-hop", "trailers", "timeout=5", "h2c", "AAMAAA"]
    {
        assert!(!sent.to_ascii_lowercase().contains(&trace.to_ascii_lowercase()), "{trace} in {sent}");
    }
}

#[test]
fn paths_and_queries_are_sent_in_normal_form() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    let cases = [
        ("/", "/"),
        ("/health", "/health"),
        ("/api/2.0mlflow/experiments/search-datasets", "/api/2.0mlflow/experiments/search-datasets"),
        ("/api/2.0/mlflow-artifacts/artifacts/d%20ir+x/a%20b", "/api/2.0/mlflow-artifacts/artifacts/d%20ir%2Bx/a%20b"),
        ("/a%2Fb/@org/x:y/k=v,w", "/a%2Fb/%40org/x%3Ay/k%3Dv%2Cw"),
        ("/%E2%82%AC/100%25/a%2520b", "/%E2%82%AC/100%25/a%2520b"),
        ("//double//slash/", "//double//slash/"),
        ("/x?filter=a+b", "/x?filter=a%20b"),
        ("/x?filter=a%2Bb", "/x?filter=a%2Bb"),
        ("/x?b=2&a=1&a=0&c=&d", "/x?b=2&a=1&a=0&c=&d"),
        ("/x?p=a%2fb%3ac", "/x?p=a%2Fb%3Ac"),
        ("/x?filter=name='a'(b)*!", "/x?filter=name%3D%27a%27%28b%29%2A%21"),
        ("/x?", "/x"),
        ("/x?a=1&&b=2", "/x?a=1&b=2"),
        ("/%0d%0aX-Evil:1", "/%0D%0AX-Evil%3A1"),
    ];
    for (target, _) in cases {
        assert_eq!(caller.get(target).status, 200, "{target}");
    }
    let seen: Vec<_> = upstream.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(seen, cases.map(|(_, expected)| expected));
}

#[test]
fn requests_with_any_method_and_any_body_are_forwarded() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    let json = [("Content-Type", "application/json")];
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        assert_eq!(caller.request(method, "/x", &json, Some(b"{\"id\":1}")).status, 200, "{method} with a body");
        assert_eq!(caller.request(method, "/x", &[], None).status, 200, "{method} without");
    }
    for (with, without) in upstream.requests().chunks(2).map(|pair| (&pair[0], &pair[1])) {
        assert_eq!((with.method.as_str(), with.body.as_slice()), (without.method.as_str(), b"{\"id\":1}".as_slice()));
        assert!(without.body.is_empty());
        assert_eq!(without.header("x-amz-content-sha256"), EMPTY_SHA256);
    }
}

#[test]
fn an_empty_chunked_put_becomes_an_empty_put() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    // This is how Python's requests sends an empty file.
    caller
        .send("PUT /api/2.0/mlflow-artifacts/artifacts/e HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    let seen = upstream.only_request();
    assert_eq!((seen.header("content-length"), seen.body.len()), ("0", 0));
    assert_eq!(seen.header("x-amz-content-sha256"), EMPTY_SHA256);
}

#[test]
fn a_chunked_body_arrives_whole_with_its_length() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    caller.send("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").unwrap();
    caller.send("4;extension=1\r\ndefg\r\n0\r\nTrailer: dropped\r\n\r\n").unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    let seen = upstream.only_request();
    assert_eq!((seen.header("content-length"), seen.body.as_slice()), ("7", b"abcdefg".as_slice()));
}

#[test]
fn the_appliance_itself_answers_expect_100_continue() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    caller.send("PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").unwrap();
    caller.send("abc").unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    assert!(upstream.only_request().all("expect").is_empty());
}

#[test]
fn a_caller_that_sends_no_more_gets_the_answers_to_all_that_it_has_sent() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let get = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
    for requests in [vec![get], vec![post], vec![get, get], vec![post, get, post]] {
        let mut caller = appliance.connect();
        caller.send(requests.concat()).unwrap();
        caller.finish();
        for request in &requests {
            assert_eq!(caller.answer(false).unwrap().status, 200, "{request}");
        }
        assert_eq!(caller.rest().unwrap(), b"", "the connection ends");
    }
}

#[test]
fn http_1_0_callers_are_served() {
    let upstream = Upstream::ok();
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    caller.send("GET /x HTTP/1.0\r\n\r\n").unwrap();
    let answer = caller.answer(false).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    assert_eq!(caller.rest().unwrap(), b"", "and the connection is closed");
}

#[test]
fn connections_are_kept_on_both_sides_and_requests_may_be_pipelined() {
    let upstream = Upstream::start(|request, wire| {
        let body = request.target.clone();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    for _ in 0..5 {
        assert_eq!(caller.get("/again").text(), "/again");
    }
    caller
        .send("GET /first HTTP/1.1\r\nHost: localhost\r\n\r\nPOST /second HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
        .unwrap();
    assert_eq!(caller.answer(false).unwrap().text(), "/first");
    assert_eq!(caller.answer(false).unwrap().text(), "/second");
    assert_eq!(upstream.connections(), 1);
}
