//! Signs one upstream request with AWS Signature Version 4.
//!
//! Only what this file is given is signed: an allow-list of headers, so that a hop that rewrites any other header
//! cannot break the signature. The path and query must already be in normal form (`http::uri`); the exact strings
//! that are passed here are the ones to send.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningError, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;

/// SHA-256 of nothing, in hex: the payload hash of a request without a body.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is signed of a request, in the form in which it will be sent.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// Scheme, authority, path and query; the authority is the `Host` that will be sent.
    pub url: &'a str,
    /// The value of `Host`.
    pub host: &'a str,
    /// `Content-Type`, if the request has one.
    pub content_type: Option<&'a str>,
    /// Further headers to sign; for MLflow, the one that routes by ARN.
    pub extra: Option<(&'a str, &'a str)>,
    /// SHA-256 of the body in lower-case hex.
    pub payload_sha256: &'a str,
}

/// The scope of a signature: which service in which region.
#[derive(Clone, Debug)]
pub struct Scope {
    /// For example `us-east-1`.
    pub region: String,
    /// The service's signing name, for example `sagemaker-mlflow`.
    pub service: &'static str,
}

/// A header that signing adds. Its value may be a secret: it has no `Debug`.
pub struct SignedHeader {
    /// Lower-case name.
    pub name: &'static str,
    /// Value, ASCII.
    pub value: String,
}

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the request")]
pub struct SignError(#[from] SigningError);

/// Computes the headers that make `request` acceptable to AWS at `time`: `x-amz-date`, `authorization`,
/// `x-amz-content-sha256` and, with temporary credentials, `x-amz-security-token`.
///
/// # Errors
/// When the URL or a header cannot be represented; nothing that passed `http::uri` and `http::headers` fails.
pub fn signature_headers(
    request: Signable<'_>,
    scope: &Scope,
    credentials: &Credentials,
    time: SystemTime,
) -> Result<Vec<SignedHeader>, SignError> {
    let identity = Identity::from(credentials.clone());
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.signature_location = SignatureLocation::Headers;
    // The service's other defaults hold: the path is normalised and encoded a second time, as for all but S3.
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&scope.region)
        .name(scope.service)
        .time(time)
        .settings(settings)
        .build()
        .expect("every field is set above")
        .into();
    let headers =
        [Some(("host", request.host)), request.content_type.map(|value| ("content-type", value)), request.extra];
    let signable = SignableRequest::new(
        request.method,
        request.url,
        headers.into_iter().flatten(),
        SignableBody::Precomputed(request.payload_sha256.to_owned()),
    )?;
    let (instructions, _signature) = sign(signable, &parameters)?.into_parts();
    let (headers, _query) = instructions.into_parts();
    Ok(headers
        .into_iter()
        .map(|header| SignedHeader { name: header.name(), value: header.value().to_owned() })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mlflow::{arn::Arn, target::Target};

    const TRACKING: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1";
    const APP: &str = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456";
    const JSON: Option<&str> = Some("application/json");
    /// Of `{"name":"x"}`.
    const NAME_X_SHA256: &str = "0229d37e33daae149bf40543a5ce1db4459d10f830d5139279aa2bfd5f6485a1";

    /// Mode, method, target, content type, SHA-256 of the body, signature.
    type Vector = (&'static str, &'static str, &'static str, Option<&'static str>, &'static str, &'static str);

    /// Computed by botocore 1.44.5 (`SigV4Auth`) for 2026-01-01T00:00:00Z.
    #[rustfmt::skip]
    const VECTORS: [Vector; 8] = [
        (TRACKING, "GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=exp%20%2B%20a%20b%2F%C3%BC", None, EMPTY_SHA256,
            "30d74463121a0caaf2e8aa8fd625a344a7fb00a3ded180e1d940d27143de5f5f"),
        (TRACKING, "POST", "/api/2.0/mlflow/experiments/create", JSON, NAME_X_SHA256,
            "a1538b635e026137af6203d794c32c735cb23480e48c995419db0e5ea0ea1d73"),
        (APP, "POST", "/api/2.0/mlflow/experiments/create", JSON, NAME_X_SHA256,
            "95580e0e95db451a3088d8d8bc0e8123f9e8035383836317053983623472c59a"),
        (TRACKING, "GET", "/api/2.0/mlflow-artifacts/artifacts/d%20ir%2Bx/a%20b%2Bc%20%C3%A9", None, EMPTY_SHA256,
            "30da97525c6b020276a3e0013af47bff66fe834d04e95952edc1b157aa165271"),
        (TRACKING, "PUT", "/api/2.0/mlflow-artifacts/artifacts/empty.txt", Some("text/plain"), EMPTY_SHA256,
            "56e8ec5f6772e599dc6e9d32612851697d6857e0a148abd690a7bc452ad19e99"),
        (APP, "GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id=b&run_id=a&metric_key=m&max_results=", None, EMPTY_SHA256,
            "b2da76fef19aeac2fb8028c87200ee1360a912840f3f32ff62006a8d8da3600c"),
        (APP, "GET", "/gateway/gemini/v1beta/models/x%3AgenerateContent", None, EMPTY_SHA256,
            "1b1e44e9cd465977bea5077f2d8cfce91e62897c9293846786cf49d1e56acab0"),
        (APP, "GET", "/", None, EMPTY_SHA256,
            "1a573c286a0b664ba76b6e74ba04558b6e091a69e91fd087f6d1c8f62e5c650c"),
    ];

    #[test]
    fn botocores_golden_signatures_are_reproduced() {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("TOKEN".to_owned()),
            None,
            "golden",
        );
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for (number, (arn, method, path, content_type, payload_sha256, expected)) in (1..).zip(VECTORS) {
            let target = Target::new(Arn::parse(arn).expect(arn));
            let host = target.host();
            let request = Signable {
                method,
                url: &format!("https://{host}{path}"),
                host: &host,
                content_type,
                extra: Some((target.arn_header(), arn)),
                payload_sha256,
            };
            let scope = Scope { region: target.arn().region().to_owned(), service: target.signing_name() };
            let headers = signature_headers(request, &scope, &credentials, time).expect("a well-formed request");
            let value = |name| headers.iter().find(|header| header.name == name).map(|header| header.value.as_str());
            let authorization = value("authorization").expect("an authorization header");
            assert!(authorization.ends_with(&format!("Signature={expected}")), "vector {number}: {authorization}");
            assert_eq!(value("x-amz-content-sha256"), Some(payload_sha256), "vector {number}");
            assert_eq!(value("x-amz-date"), Some("20260101T000000Z"), "vector {number}");
            assert_eq!(value("x-amz-security-token"), Some("TOKEN"), "vector {number}");
        }
    }
}
