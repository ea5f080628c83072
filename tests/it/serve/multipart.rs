//! Uploads in parts: the validity of their URLs, and the way of parts for which no credentials live long enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::artifacts::{SERVICE, error, gateway, path};
use super::credentials::ROLE;
use crate::support::appliance::{Appliance, Builder};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually};

/// An S3 that begins every upload and takes every part.
fn s3() -> Upstream {
    Upstream::plain(|request, wire| match request.method.as_str() {
        "POST" if request.target.contains("uploads=") => wire.answer(
            "200 OK",
            "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>bucket</Bucket>\
             <Key>k</Key><UploadId>up+1/2</UploadId></InitiateMultipartUploadResult>",
        ),
        "POST" => wire.answer(
            "200 OK",
            "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Location>l</Location>\
             <Bucket>bucket</Bucket><Key>k</Key><ETag>e</ETag></CompleteMultipartUploadResult>",
        ),
        "PUT" if request.target.contains("partNumber=3") => wire.answer("404 Not Found", error("NoSuchUpload")),
        _ => wire.send("HTTP/1.1 200 OK\r\nETag: \"tag of a part\"\r\nContent-Length: 0\r\n\r\n"),
    })
}

/// An STS whose credentials live for as many seconds as the number says at the time.
fn sts(lifetime: u64) -> (Upstream, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(lifetime));
    let current = Arc::clone(&seconds);
    let issued = AtomicU64::new(0);
    let server = Upstream::plain(move |_, wire| {
        let number = issued.fetch_add(1, Ordering::SeqCst);
        let expiry = SystemTime::now() + Duration::from_secs(current.load(Ordering::SeqCst));
        let expiry = humantime::format_rfc3339_seconds(expiry);
        wire.answer(
            "200 OK",
            format!(
                "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
                 <AccessKeyId>ASIAROLE{number}</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
                 <SessionToken>role-token</SessionToken><Expiration>{expiry}</Expiration></Credentials>\
                 </AssumeRoleResult></AssumeRoleResponse>"
            ),
        )
    });
    (server, seconds)
}

fn before(mlflow: &Upstream, s3: &Upstream, sts: &Upstream, arguments: &[&str]) -> Builder {
    Builder::new(mlflow)
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("SM_MLFLOW_ROLE_ARN", ROLE)
        .with(&["--artifact-store", "s3://bucket/team/mlflow", "--s3-endpoint", &s3.url()])
        .with(arguments)
}

#[track_caller]
pub(super) fn create(appliance: &Appliance, below: &str, file: &str, parts: u16, headers: &[(&str, &str)]) -> Value {
    let body = json!({"path": file, "num_parts": parts}).to_string();
    let target = format!("{SERVICE}/mpu/create/{below}");
    let created = appliance.connect().request("POST", &target, headers, Some(body.as_bytes()));
    assert_eq!(created.status, 200, "{}", created.text());
    created.json()
}

fn url(created: &Value, part: usize) -> String {
    created["credentials"][part - 1]["url"].as_str().unwrap().to_owned()
}

/// A parameter of a URL.
#[track_caller]
fn parameter<'a>(url: &'a str, name: &str) -> &'a str {
    let found = url.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no `{name}` in {url}"))
}

/// Sends a part as MLflow's client does, to exactly the URL that the appliance has returned.
fn put(appliance: &Appliance, url: &str, headers: &[(&str, &str)], body: &[u8]) -> crate::support::caller::Answer {
    // As the test's callers address it.
    let target = url.strip_prefix("http://localhost:5000").unwrap_or_else(|| panic!("{url} does not lead back"));
    appliance.connect().request("PUT", target, headers, Some(body))
}

#[test]
fn the_url_of_a_part_is_valid_for_an_hour_if_the_credentials_allow_it() {
    let (mlflow, s3) = (Upstream::ok(), s3());
    for (arguments, expected) in
        [(&[][..], 3600), (&["--artifact-url-lifetime", "5m"], 3600), (&["--artifact-url-lifetime", "2h"], 7200)]
    {
        let appliance = gateway(&mlflow, &s3, arguments);
        let created = create(&appliance, "a", "f", 2, &[]);
        for part in [1, 2] {
            let url = url(&created, part);
            assert!(url.starts_with(&s3.url()), "{url}");
            assert_eq!(parameter(&url, "X-Amz-Expires"), expected.to_string(), "{arguments:?}");
        }
    }
    let (sts, lifetime) = sts(4 * 3600);
    let appliance = before(&mlflow, &s3, &sts, &[]).start();
    assert_eq!(parameter(&url(&create(&appliance, "a", "f", 1, &[]), 1), "X-Amz-Expires"), "3600");
    assert_eq!(sts.requests().len(), 1, "what lives long enough is not renewed");
    drop(lifetime);
}

#[test]
fn credentials_that_would_end_before_the_upload_are_renewed_first() {
    let (mlflow, s3) = (Upstream::ok(), s3());
    let (sts, lifetime) = sts(20 * 60);
    let appliance = before(&mlflow, &s3, &sts, &[]).start();
    lifetime.store(2 * 3600, Ordering::SeqCst);
    let url = url(&create(&appliance, "a", "f", 1, &[]), 1);
    assert!(url.starts_with(&s3.url()), "{url}");
    assert_eq!(parameter(&url, "X-Amz-Expires"), "3600");
    assert!(parameter(&url, "X-Amz-Credential").starts_with("ASIAROLE1"), "the new ones: {url}");
    assert_eq!(sts.requests().len(), 2);
}

#[test]
fn parts_go_through_the_appliance_if_no_credentials_live_long_enough() {
    let (mlflow, s3) = (Upstream::ok(), s3());
    let (sts, _) = sts(15 * 60);
    let appliance = before(&mlflow, &s3, &sts, &[]).start();
    let created = create(&appliance, "1/r", "C:\\Users\\ada\\a \u{fc}+%41.bin", 3, &[]);
    assert_eq!(created["upload_id"], "up+1/2");
    assert_eq!(created["credentials"][1]["headers"], json!({}), "anonymous callers present nothing");
    let answer = put(&appliance, &url(&created, 2), &[], b"hello");
    assert_eq!((answer.status, answer.header("etag")), (200, "\"tag of a part\""));
    let sent = s3.requests().pop().unwrap();
    assert_eq!((sent.method.as_str(), sent.body.as_slice()), ("PUT", &b"hello"[..]));
    assert_eq!(path(&sent), "/bucket/team/mlflow/1/r/a%20%C3%BC%2B%2541.bin");
    assert_eq!((parameter(&sent.target, "partNumber"), parameter(&sent.target, "uploadId")), ("2", "up%2B1%2F2"));
    let gone = put(&appliance, &url(&created, 3), &[], b"hello");
    assert_eq!((gone.status, gone.header("x-appliance-error")), (400, "artifact-store-refused"));
    for wrong in ["partNumber=0", "partNumber=10001", "partNumber=x", "other=1"] {
        let target = url(&created, 1).replace("partNumber=1", wrong);
        assert_eq!(put(&appliance, &target, &[], b"x").status, 400, "{wrong}");
    }
    let asked = sts.requests().len();
    assert_eq!(asked, 2, "others were asked for");
    for _ in 0..5 {
        create(&appliance, "1/r", "f", 1, &[]);
    }
    assert_eq!(sts.requests().len(), asked, "but not each time");
    assert!(!appliance.log().contains("uploadId"), "no query in the log");
}

#[test]
fn a_part_that_goes_through_the_appliance_needs_the_callers_authentication() {
    let (mlflow, s3) = (Upstream::ok(), s3());
    let (sts, _) = sts(15 * 60);
    let tokens = TokenFile::new();
    let (ada, eve) = (tokens.add("ada", "write", &[]), tokens.add("eve", "read", &[]));
    let appliance = before(&mlflow, &s3, &sts, &[]).with_tokens(&tokens).start();
    let authorization = ada.bearer();
    let created = create(&appliance, "1/r", "f", 1, &[("Authorization", &authorization)]);
    assert_eq!(created["credentials"][0]["headers"], json!({"Authorization": authorization}));
    let url = url(&created, 1);
    assert!(!url.contains(&ada.text), "no secret in the URL: {url}");
    assert_eq!(put(&appliance, &url, &[], b"x").status, 401);
    assert_eq!(put(&appliance, &url, &[("Authorization", &eve.bearer())], b"x").status, 403);
    assert_eq!(s3.requests().len(), 1, "S3 has seen neither");
    assert_eq!(put(&appliance, &url, &[("Authorization", &authorization)], b"x").status, 200);
    tokens.command(&["revoke", &ada.id]);
    appliance.signal(Signal::HUP);
    eventually("the token is revoked", || {
        put(&appliance, &url, &[("Authorization", &authorization)], b"x").status == 401
    });
}

#[test]
fn the_url_of_a_part_leads_back_the_way_that_the_caller_came() {
    let (mlflow, s3) = (Upstream::ok(), s3());
    let (sts, _) = sts(15 * 60);
    let appliance = before(&mlflow, &s3, &sts, &["--allowed-hosts", "mlflow.example"]).start();
    let fields = [
        ("Host", "mlflow.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/team"),
        ("Content-Length", "27"),
    ];
    let head: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut caller = appliance.connect();
    caller
        .send(format!("POST {SERVICE}/mpu/create/1 HTTP/1.1\r\n{head}\r\n{{\"path\":\"f\",\"num_parts\":1}} "))
        .unwrap();
    let created = caller.answer(false).unwrap();
    let url = url(&created.json(), 1);
    assert!(
        url.starts_with("https://mlflow.example/team/api/2.0/mlflow-artifacts/artifacts/1/f?partNumber=1"),
        "{url}"
    );
    assert_eq!(created.header("cache-control"), "no-store");
}

#[test]
fn parts_never_go_through_the_appliance_with_presigned_only() {
    let (mlflow, s3) = (Upstream::ok(), s3());
    let (sts, _) = sts(15 * 60);
    let appliance = before(&mlflow, &s3, &sts, &["--artifact-access", "presigned-only"]).start();
    let url = url(&create(&appliance, "a", "f", 1, &[]), 1);
    assert!(url.starts_with(&s3.url()), "{url}");
    let left: u64 = parameter(&url, "X-Amz-Expires").parse().unwrap();
    assert!((800..=900).contains(&left), "as long as the credentials: {left}");
    let refused =
        appliance.connect().request("PUT", &format!("{SERVICE}/artifacts/a?partNumber=1&uploadId=u"), &[], Some(b"x"));
    assert_eq!((refused.status, refused.header("x-appliance-error")), (403, "presigned-only"));
}

#[test]
fn a_windows_path_becomes_its_last_component() {
    let (mlflow, s3) = (Upstream::ok(), s3());
    let appliance = gateway(&mlflow, &s3, &[]);
    for (file, name) in [
        ("C:\\a\\b.bin", "b.bin"),
        ("\\\\host\\share\\x", "x"),
        ("C:\\a/b\\c.bin", "c.bin"),
        ("a\\b\\", "b"),
        ("/home/ada/d.bin", "d.bin"),
    ] {
        let url = url(&create(&appliance, "1/r", file, 1, &[]), 1);
        assert!(url.starts_with(&format!("{}/bucket/team/mlflow/1/r/{name}?", s3.url())), "{file}: {url}");
    }
    let begun = s3.requests().into_iter().find(|request| path(request).ends_with("/d.bin")).unwrap();
    assert_eq!(begun.header("content-type"), "application/octet-stream");
    let body = json!({"path": "C:\\a\\b.bin", "upload_id": "u", "parts": [{"part_number": 1, "etag": "\"<&>\""}]});
    let target = format!("{SERVICE}/mpu/complete/1/r");
    let answer = appliance.connect().request("POST", &target, &[], Some(body.to_string().as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = s3.requests().pop().unwrap();
    assert_eq!(path(&sent), "/bucket/team/mlflow/1/r/b.bin");
    assert!(String::from_utf8_lossy(&sent.body).contains("<ETag>\"&lt;&amp;&gt;\"</ETag>"), "{sent:?}");
}
