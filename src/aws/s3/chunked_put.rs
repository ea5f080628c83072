//! The signed head of a request that sends an object in signed chunks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use url::Url;

use super::chunks::{ChunkSigner, TRAILER};
use super::signed_request::SignedS3Request;

/// The reason why a head cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the head of an upload to S3: {0}")]
pub struct ChunkedPutError(String);

/// Signs a `PUT` of an object of `length` bytes to this address in a region, with these headers.
///
/// # Errors
/// [`ChunkedPutError`] if the address or a header is none that HTTP can express.
pub(super) fn signed(
    url: &Url,
    region: &str,
    credentials: &Credentials,
    time: SystemTime,
    (length, mut headers): (u64, Vec<(&'static str, String)>),
) -> Result<SignedS3Request, ChunkedPutError> {
    let failed = |error: &dyn std::fmt::Display| ChunkedPutError(error.to_string());
    headers.push(("content-encoding", "aws-chunked".to_owned()));
    headers.push(("x-amz-decoded-content-length", length.to_string()));
    headers.push(("x-amz-trailer", TRAILER.to_owned()));
    let host = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
    let signed = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let signed = signed.chain([("host", host.as_str())]);
    let body = SignableBody::StreamingSignedPayloadTrailer;
    let request = SignableRequest::new("PUT", url.as_str(), signed, body).map_err(|error| failed(&error))?;

    let mut settings = SigningSettings::default();
    // S3 signs the path as it is sent.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = credentials.clone().into();
    // The signatures of the chunks repeat this second.
    let time = UNIX_EPOCH + Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let parameters = v4::SigningParams::builder().identity(&identity).region(region).name("s3");
    let parameters = parameters.time(time).settings(settings).build().map_err(|error| failed(&error))?;
    let (instructions, seed) = sign(request, &parameters.into()).map_err(|error| failed(&error))?.into_parts();

    let mut date = String::new();
    for (name, value) in instructions.headers() {
        let name = match name {
            "authorization" => "authorization",
            "x-amz-content-sha256" => "x-amz-content-sha256",
            "x-amz-security-token" => "x-amz-security-token",
            "x-amz-date" => {
                value.clone_into(&mut date);
                "x-amz-date"
            }
            other => return Err(ChunkedPutError(format!("`{other}` is a header that nobody knows"))),
        };
        headers.push((name, value.to_owned()));
    }
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{region}/s3/aws4_request");
    let key = v4::generate_signing_key(credentials.secret_access_key(), time, region, "s3");
    let target = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let chunks = Some(ChunkSigner::new(key.as_ref(), &date, &scope, seed));
    Ok(SignedS3Request { method: "PUT", target, headers, body: None, chunks })
}
