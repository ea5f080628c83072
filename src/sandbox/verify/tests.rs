//! Tests of the verifier with botocore's golden signature, and with everything that can be wrong.

use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use ring::digest;

use super::super::identity::IssuedCredentials;
use super::*;

const KEY: &str = "AKIDEXAMPLE";
const ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1";
const ARN_HEADER: &str = "x-mlflow-sm-tracking-server-arn";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SERVICE: SigningScope<'_> =
    SigningScope { name: "sagemaker-mlflow", region: "us-east-1", must_sign: &[ARN_HEADER] };

fn new_year() -> SystemTime {
    humantime::parse_rfc3339("2026-01-01T00:00:00Z").unwrap()
}

fn issuer() -> Issuer {
    let issuer = Issuer::default();
    issuer.insert(IssuedCredentials {
        access_key_id: KEY.into(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session_token: "TOKEN".into(),
        expiry: new_year() + Duration::from_secs(3600),
        principal: Principal::Role,
    });
    issuer
}

/// Vector 1 of botocore 1.44.5, with some headers replaced; an empty value removes a header.
fn request(changes: &[(&str, &str)]) -> HeaderMap {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/sagemaker-mlflow/aws4_request, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date;{ARN_HEADER_SORTED}, \
         Signature=30d74463121a0caaf2e8aa8fd625a344a7fb00a3ded180e1d940d27143de5f5f",
        ARN_HEADER_SORTED = format_args!("x-amz-security-token;{ARN_HEADER}"),
    );
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("authorization", authorization.as_str()),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-security-token", "TOKEN"),
        (ARN_HEADER, ARN),
        ("accept", "*/*"),
    ] {
        headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    for (name, value) in changes {
        let name = HeaderName::try_from(*name).unwrap();
        headers.remove(&name);
        if !value.is_empty() {
            headers.insert(name, HeaderValue::try_from(*value).unwrap());
        }
    }
    headers
}

fn verdict(headers: &HeaderMap, now: SystemTime, body: &[u8]) -> Result<Principal, AwsRejection> {
    let sha256 = digest::digest(&digest::SHA256, body);
    let request = ReceivedRequest {
        method: "GET",
        path: "/api/2.0/mlflow/experiments/get-by-name",
        query: "experiment_name=exp%20%2B%20a%20b%2F%C3%BC",
        host: "us-east-1.experiments.sagemaker.aws",
        headers,
        body_sha256: sha256.as_ref(),
    };
    verify(&request, &SERVICE, &issuer(), now)
}

#[test]
fn botocores_signature_is_accepted() {
    assert_eq!(verdict(&request(&[]), new_year(), b""), Ok(Principal::Role));
}

#[test]
fn invalid_signatures_are_rejected_in_the_words_of_aws() {
    let good = request(&[]);
    let authorization = good.get("authorization").unwrap().to_str().unwrap();
    let swapped = |from: &str, to: &str| authorization.replace(from, to);
    let minute = Duration::from_secs(60);
    for (name, value, now, body, code) in [
        ("authorization", String::new(), new_year(), "", "MissingAuthenticationTokenException"),
        ("authorization", "Bearer x".into(), new_year(), "", "IncompleteSignatureException"),
        ("authorization", swapped("aws4_request", "aws5"), new_year(), "", "IncompleteSignatureException"),
        ("authorization", swapped("Signature=3", "Signature=4"), new_year(), "", "InvalidSignatureException"),
        ("authorization", swapped("us-east-1", "eu-west-1"), new_year(), "", "InvalidSignatureException"),
        ("authorization", swapped("/sagemaker-mlflow/", "/sagemaker/"), new_year(), "", "InvalidSignatureException"),
        ("authorization", swapped("/20260101/", "/20260102/"), new_year(), "", "InvalidSignatureException"),
        ("authorization", swapped("AKIDEXAMPLE", "AKIDOTHER"), new_year(), "", "UnrecognizedClientException"),
        ("authorization", swapped("host;", ""), new_year(), "", "InvalidSignatureException"),
        ("authorization", swapped(";x-mlflow-sm-tracking-server-arn", ""), new_year(), "", "InvalidSignatureException"),
        ("x-mlflow-sm-tracking-server-arn", "arn:other".into(), new_year(), "", "InvalidSignatureException"),
        ("x-amz-security-token", "OTHER".into(), new_year(), "", "UnrecognizedClientException"),
        ("x-amz-security-token", String::new(), new_year(), "", "UnrecognizedClientException"),
        ("x-amz-extra", "unsigned".into(), new_year(), "", "InvalidSignatureException"),
        ("x-amz-date", "yesterday".into(), new_year(), "", "IncompleteSignatureException"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD".into(), new_year(), "", "InvalidSignatureException"),
        ("accept", "*/*".into(), new_year(), "smuggled", "XAmzContentSHA256Mismatch"),
        ("accept", "*/*".into(), new_year() + minute * 6, "", "InvalidSignatureException"),
        ("accept", "*/*".into(), new_year() - minute * 6, "", "InvalidSignatureException"),
        ("accept", "*/*".into(), new_year() + minute * 61, "", "InvalidSignatureException"),
    ] {
        let refused = verdict(&request(&[(name, &value)]), now, body.as_bytes());
        assert_eq!(refused.map_err(|rejection| rejection.code), Err(code), "{name}: {value}");
    }
}

#[test]
fn expired_credentials_differ_from_unknown_ones() {
    let issuer = issuer();
    issuer.insert(IssuedCredentials { expiry: new_year(), ..issuer.find(KEY).unwrap() });
    let headers = request(&[]);
    let request =
        ReceivedRequest { method: "GET", path: "/", query: "", host: "h", headers: &headers, body_sha256: &[0; 32] };
    let refused = verify(&request, &SERVICE, &issuer, new_year());
    assert_eq!(refused.map_err(|rejection| rejection.code), Err("ExpiredTokenException"));
}

#[test]
fn canonical_forms_are_those_of_the_specification() {
    for (path, expected) in [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("/a%20b", "/a%2520b"),
        ("/a//b/", "/a/b/"),
        ("/a/./b/../c", "/a/c"),
        ("/~user/é", "/~user/%C3%A9"),
    ] {
        assert_eq!(canonical::path(path), expected, "{path}");
    }
    for (query, expected) in [
        ("", ""),
        ("b=2&a=1&a=0&c", "a=0&a=1&b=2&c="),
        ("a=%7e&b=a%2fb", "a=~&b=a%2Fb"),
        ("a=b=c", "a=b%3Dc"),
        ("a=+", "a=%2B"),
    ] {
        assert_eq!(canonical::query(query), expected, "{query}");
    }
}

/// A presigned request of botocore 1.44.5 to STS, with a header that names the audience; with one change.
fn presigned(from: &str, to: &str, audience: &str, now: SystemTime) -> Result<Principal, &'static str> {
    const QUERY: &str = "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIDEXAMPLE%2F20260101%2Feu-west-1%2Fsts%2Faws4_request&X-Amz-Date=20260101T000000Z\
        &X-Amz-Expires=900&X-Amz-SignedHeaders=host%3Bx-mlflow-appliance-audience&X-Amz-Security-Token=TOKEN\
        &X-Amz-Signature=05e2566d071f34563f98ef7a3b053e5f27500c07ccffb663e1b273f3f4851cb6";
    assert!(QUERY.contains(from), "{from}");
    let mut headers = HeaderMap::new();
    let name = HeaderName::from_static("x-mlflow-appliance-audience");
    headers.insert(name, HeaderValue::try_from(audience).unwrap());
    let query = QUERY.replacen(from, to, 1);
    let host = "sts.eu-west-1.amazonaws.com";
    let sha256 = digest::digest(&digest::SHA256, b"");
    let body_sha256 = sha256.as_ref();
    let request = ReceivedRequest { method: "GET", path: "/", query: &query, host, headers: &headers, body_sha256 };
    let service = SigningScope { name: "sts", region: "eu-west-1", must_sign: &[] };
    verify_presigned(&request, &service, &issuer(), now).map_err(|rejection| rejection.code)
}

#[test]
fn a_request_that_botocore_presigned_is_accepted_for_a_quarter_of_an_hour_and_for_its_audience() {
    let audience = "https://mlflow.corp.example";
    let second = Duration::from_secs(1);
    for (now, expected) in [
        (new_year(), Ok(Principal::Role)),
        (new_year() + second * 900, Ok(Principal::Role)),
        (new_year() + second * 901, Err("InvalidSignatureException")),
        (new_year() - second * 300, Ok(Principal::Role)),
        (new_year() - second * 301, Err("InvalidSignatureException")),
    ] {
        assert_eq!(presigned("Get", "Get", audience, now), expected, "{now:?}");
    }
    for (from, to, audience, expected) in [
        ("Get", "Get", "https://other.example", "InvalidSignatureException"),
        ("GetCallerIdentity", "AssumeRole", audience, "InvalidSignatureException"),
        ("Expires=900", "Expires=901", audience, "InvalidSignatureException"),
        ("host%3Bx-mlflow-appliance-audience", "host", audience, "InvalidSignatureException"),
        ("=05e2", "=05e3", audience, "InvalidSignatureException"),
        ("eu-west-1", "us-east-1", audience, "InvalidSignatureException"),
        ("AKIDEXAMPLE", "AKIDOTHER", audience, "UnrecognizedClientException"),
        ("=TOKEN", "=OTHER", audience, "UnrecognizedClientException"),
        ("&X-Amz-Expires=900", "", audience, "IncompleteSignatureException"),
        ("X-Amz-Date=", "X-Amz-Date=x&X-Amz-Date=", audience, "IncompleteSignatureException"),
    ] {
        assert_eq!(presigned(from, to, audience, new_year()), Err(expected), "{from} {to}");
    }
}
