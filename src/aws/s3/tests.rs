//! The signed requests to S3, and the responses that are read.

use std::time::SystemTime;

use super::*;

fn credentials(expiry: Option<SystemTime>) -> Credentials {
    Credentials::new("AKID", "secret", Some("token".into()), expiry, "test")
}

#[test]
fn buckets_are_addressed_by_name_where_a_certificate_can_cover_it() {
    let bucket = |name, endpoint| Bucket::new(name, "eu-west-1", endpoint, None).expect(name);
    let url = |bucket: &Bucket| {
        let attachment = "attachment; filename=\"a b\"";
        bucket.presigned_get(&credentials(None), "a b/ü#%41", Duration::from_mins(1), attachment, None)
    };
    for (name, endpoint, start) in [
        ("plain", None, "https://plain.s3.eu-west-1.amazonaws.com/a%20b/%C3%BC%23%2541?"),
        ("with.dots", None, "https://s3.eu-west-1.amazonaws.com/with.dots/a%20b/%C3%BC%23%2541?"),
        ("plain", Some("https://127.0.0.1:9000"), "https://127.0.0.1:9000/plain/a%20b/%C3%BC%23%2541?"),
    ] {
        let url = url(&bucket(name, endpoint));
        assert!(url.starts_with(start), "{url}");
        for part in [
            "X-Amz-Expires=60",
            "X-Amz-Security-Token=token",
            "X-Amz-SignedHeaders=host",
            "&response-content-disposition=attachment%3B%20filename%3D%22a%20b%22&",
        ] {
            assert!(url.contains(part), "{part}: {url}");
        }
        assert!(!url.contains("secret"), "{url}");
    }
    assert!(Bucket::new("bucket", "eu-west-1", Some("no url"), None).is_err());
}

#[test]
fn headers_that_s3_must_believe_are_signed() {
    let bucket = Bucket::new("bucket", "eu-west-1", None, Some("arn:aws:kms:key".into())).expect("valid");
    let put = bucket.put(&credentials(None), "key", Some("text/plain"), Some("c2hh"));
    let names = "content-type%3Bhost%3Bx-amz-checksum-sha256%3Bx-amz-server-side-encryption\
                 %3Bx-amz-server-side-encryption-aws-kms-key-id";
    assert!(put.target.contains(&format!("X-Amz-SignedHeaders={names}&")), "{}", put.target);
    assert_eq!((put.method, put.headers.len()), ("PUT", 4));
    assert!(put.target.starts_with("/key?"));
}

#[test]
fn a_url_does_not_outlive_its_credentials() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let (hour, minute) = (Duration::from_hours(1), Duration::from_mins(1));
    assert_eq!(lifetime(hour, &credentials(Some(now + minute)), now), minute);
    assert_eq!(lifetime(minute, &credentials(Some(now + hour)), now), minute);
    assert_eq!(lifetime(hour, &credentials(None), now), hour);
}

#[test]
fn errors_are_named_and_nothing_else_is() {
    let text = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>x</Message></Error>";
    assert_eq!(error_code(text).as_deref(), Some("SlowDown"));
    assert_eq!((error_code("<html>"), is_completed(text), upload_id(text)), (None, false, None));
    assert!(page(text).is_none() && undeleted(text).is_none());
}
