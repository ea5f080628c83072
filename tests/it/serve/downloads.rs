//! Downloads: the file name and the content type, through the appliance and by presigned URL.

use serde_json::json;

use super::artifacts::{SERVICE, gateway};
use crate::support::Message as _;
use crate::support::upstream::Upstream;

/// An S3 that says this of every object.
fn s3(fields: &'static str) -> Upstream {
    Upstream::plain(move |request, wire| {
        let body = if request.method == "HEAD" { "" } else { "bytes" };
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{fields}\r\n{body}"))
    })
}

#[test]
fn a_file_name_is_sent_in_ascii_and_also_in_utf_8_where_ascii_loses_something() {
    let (mlflow, s3) = (Upstream::ok(), s3(""));
    let appliance = gateway(&mlflow, &s3, &[]);
    for (encoded, expected) in [
        ("page.txt", "attachment; filename=page.txt"),
        ("b%20b.txt", "attachment; filename=\"b b.txt\""),
        ("%C3%BC%2B%25.bin", "attachment; filename=u+%.bin; filename*=UTF-8''%C3%BC+%25.bin"),
        ("%E6%97%A5%E6%9C%AC", "attachment; filename=download; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
        ("a%22b%5Cc%3Bd.txt", "attachment; filename=\"a\\\"b\\\\c;d.txt\""),
    ] {
        for method in ["GET", "HEAD"] {
            let got = appliance.connect().request(method, &format!("{SERVICE}/artifacts/1/{encoded}"), &[], None);
            assert_eq!((got.status, got.header("content-disposition")), (200, expected), "{method} {encoded}");
        }
    }
}

#[test]
fn the_content_type_follows_the_name_where_the_store_has_none() {
    let mlflow = Upstream::ok();
    for (fields, name, expected) in [
        ("", "a.svg", "image/svg+xml"),
        ("Content-Type: binary/octet-stream\r\n", "a.svg", "image/svg+xml"),
        ("Content-Type: image/webp\r\n", "a.svg", "image/webp"),
        ("", "MLmodel", "text/plain"),
        ("", "metrics.csv", "text/plain"),
        ("", "page.html", "text/html"),
        ("", "archive.tar.gz", "application/x-tar"),
        ("Content-Type: binary/octet-stream\r\n", "model", "application/octet-stream"),
    ] {
        let s3 = s3(fields);
        let appliance = gateway(&mlflow, &s3, &[]);
        let got = appliance.get(&format!("{SERVICE}/artifacts/1/{name}"));
        assert_eq!(got.header("content-type"), expected, "{fields:?} {name}");
        assert_eq!(
            (got.header("x-content-type-options"), got.header("content-security-policy")),
            ("nosniff", "sandbox")
        );
        // The URL says it to S3 where S3 would say something else.
        let url = appliance.get(&format!("{SERVICE}/presigned/1/{name}")).json()["url"].as_str().unwrap().to_owned();
        let says = url.contains(&format!("response-content-type={}", expected.replace('/', "%2F").replace('+', "%2B")));
        assert_eq!(says, !fields.contains("image/webp"), "{url}");
        // An object without a type gets one, for clients that read it from S3 directly.
        let put = appliance.connect().request("PUT", &format!("{SERVICE}/artifacts/1/{name}"), &[], Some(b"x"));
        assert_eq!(put.status, 200);
        let sent = s3.requests().pop().unwrap();
        assert_eq!(sent.header("content-type"), if fields.contains("webp") { "image/svg+xml" } else { expected });
    }
}

#[test]
fn a_browser_saves_a_presigned_download_and_never_renders_it() {
    let (mlflow, s3) = (Upstream::ok(), s3("Content-Type: text/html\r\n"));
    for access in ["multipart", "presigned-only"] {
        let appliance = gateway(&mlflow, &s3, &["--artifact-access", access]);
        for (encoded, expected) in [
            ("page.html", "attachment%3B%20filename%3Dpage.html"),
            ("b%20b.html", "attachment%3B%20filename%3D%22b%20b.html%22"),
            ("%C3%BC.html", "attachment%3B%20filename%3Du.html%3B%20filename%2A%3DUTF-8%27%27%25C3%25BC.html"),
        ] {
            for service in ["/api/2.0", "/ajax-api/2.0"] {
                let answer = appliance.get(&format!("{service}/mlflow-artifacts/presigned/1/{encoded}")).json();
                let url = answer["url"].as_str().unwrap();
                assert!(url.contains(&format!("&response-content-disposition={expected}&X-Amz-Signature=")), "{url}");
                assert_eq!(answer["headers"], json!({}));
            }
            let got = appliance.get(&format!("{SERVICE}/artifacts/1/{encoded}"));
            // A presigned URL is for GET alone.
            let head = appliance.connect().request("HEAD", &format!("{SERVICE}/artifacts/1/{encoded}"), &[], None);
            assert_eq!((head.status, s3.requests().pop().unwrap().method.as_str()), (200, "HEAD"));
            if access == "presigned-only" {
                assert_eq!(got.status, 307);
                assert!(
                    got.header("location").contains(&format!("response-content-disposition={expected}&")),
                    "{got:?}"
                );
            } else {
                assert!(got.header("content-disposition").starts_with("attachment; "), "{got:?}");
            }
        }
    }
}
