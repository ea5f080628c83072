//! Signatures that the appliance does not make: over other headers, other payload hashes, and paths in another form.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::HeaderName;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;

use super::proof::NoProof;
use super::session::text;
use crate::aws::s3::{CHUNK_SIZE, ChunkSigner};
use crate::http::client::Endpoint;
use crate::http::fields::Fields;

/// A request that is to be signed.
pub(super) struct FreeSignature<'a> {
    pub(super) method: &'a str,
    pub(super) endpoint: &'a Endpoint,
    /// Path and query as they are sent.
    pub(super) target: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'static str,
    /// All headers but `Host` and those of the signature. All are signed.
    pub(super) headers: Vec<(&'static str, String)>,
    /// The payload hash, or a word in its place.
    pub(super) payload: &'a str,
}

/// The headers of the signed request, and the signer that continues the signature with the chunks of its body.
pub(super) struct FreelySigned {
    pub(super) headers: Fields,
    pub(super) chunks: ChunkSigner,
}

impl FreeSignature<'_> {
    /// Signs the request with its path as it is sent.
    pub(super) fn sign(self, credentials: &Credentials, time: SystemTime) -> Result<FreelySigned, NoProof> {
        let failed = |error: &dyn std::fmt::Display| NoProof::because(format!("cannot sign the request: {error}"));
        let Self { method, endpoint, target, region, service, headers, payload } = self;
        let (url, host) = (format!("{}{target}", endpoint.url()), endpoint.authority());
        let signed = headers.iter().map(|(name, value)| (*name, value.as_str())).chain([("host", host.as_str())]);
        let body = SignableBody::Precomputed(payload.to_owned());
        let request = SignableRequest::new(method, &url, signed, body).map_err(|error| failed(&error))?;
        let mut settings = SigningSettings::default();
        // S3 signs the path as it is sent, and the others sign it encoded once more.
        settings.percent_encoding_mode =
            if service == "s3" { PercentEncodingMode::Single } else { PercentEncodingMode::Double };
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = credentials.clone().into();
        // The signatures of the chunks repeat this second.
        let time = UNIX_EPOCH + Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
        let parameters = v4::SigningParams::builder().identity(&identity).region(region).name(service);
        let parameters = parameters.time(time).settings(settings).build().map_err(|error| failed(&error))?;
        let (instructions, seed) = sign(request, &parameters.into()).map_err(|error| failed(&error))?.into_parts();
        let mut fields = Fields::new();
        for (name, value) in &headers {
            fields.insert(HeaderName::from_static(name), text(value)?);
        }
        let mut date = String::new();
        for (name, value) in instructions.headers() {
            if name == "x-amz-date" {
                value.clone_into(&mut date);
            }
            fields.insert(HeaderName::try_from(name).map_err(|error| failed(&error))?, text(value)?);
        }
        let scope = format!("{}/{region}/{service}/aws4_request", date.get(..8).unwrap_or_default());
        let key = v4::generate_signing_key(credentials.secret_access_key(), time, region, service);
        Ok(FreelySigned { headers: fields, chunks: ChunkSigner::new(key.as_ref(), &date, &scope, seed) })
    }
}

/// A body in signed chunks. With a trailer, the checksum of the whole follows the last chunk.
pub(super) fn in_chunks(signer: &mut ChunkSigner, body: &[u8], has_trailer: bool) -> Bytes {
    let mut encoded = Vec::with_capacity(body.len() + 1024);
    for piece in body.chunks(CHUNK_SIZE) {
        signer.update(piece);
        encoded.extend_from_slice(signer.chunk(piece.len()).as_bytes());
        encoded.extend_from_slice(piece);
        encoded.extend_from_slice(b"\r\n");
    }
    let end = if has_trailer { signer.end() } else { format!("{}\r\n", signer.chunk(0)) };
    encoded.extend_from_slice(end.as_bytes());
    encoded.into()
}
