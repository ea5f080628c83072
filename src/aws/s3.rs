//! The requests to S3 that the artifact gateway makes, signed and ready to be sent.
//!
//! `rusty-s3` signs them in the query, as presigned URLs; the same function makes the URLs that callers get. Every
//! key must come from an [`ArtifactPath`](crate::mlflow::store::ArtifactPath): a URL cannot represent others.

mod chunked_put;
mod chunks;
mod parts;
mod presign;
mod responses;
mod signed_request;

use std::time::Duration;

use aws_credential_types::Credentials;
use rusty_s3::actions::{
    AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, DeleteObject, DeleteObjects, GetObject,
    HeadObject, ListObjectsV2, ObjectIdentifier, PutObject, UploadPart,
};
use rusty_s3::{S3Action, UrlStyle};
use url::Url;

use super::skew::Skew;
use crate::clock;
pub use chunked_put::ChunkedPutError;
pub use chunks::{CHUNK_SIZE, ChunkSigner, encoded_length};
pub use parts::{PartUrls, parts_document};
pub use presign::lifetime;
use presign::{clamped, keys, sign, target_of};
pub use responses::{ObjectListing, error_code, is_completed, page, undeleted, upload_id};
pub use signed_request::SignedS3Request;

/// The longest time that a request of the appliance may take to reach S3, which checks it when the request arrives.
const OWN_LIFETIME: Duration = Duration::from_mins(5);
/// Objects that one request can delete.
pub const DELETE_LIMIT: usize = 1000;

/// A bucket as it is addressed.
#[derive(Clone, Debug)]
pub struct Bucket {
    inner: rusty_s3::Bucket,
    kms_key: Option<String>,
    skew: Skew,
}

/// The endpoint and the bucket's name do not form a URL.
#[derive(Debug, thiserror::Error)]
#[error("`{endpoint}` cannot be the endpoint of bucket `{bucket}`")]
pub struct EndpointError {
    endpoint: String,
    bucket: String,
}

impl Bucket {
    /// Creates a bucket in a region. `endpoint`, a URL, replaces the region's own endpoint. Objects are encrypted with
    /// `kms_key` if there is one, else as the bucket says.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(
        name: &str,
        region: &str,
        endpoint: Option<&str>,
        kms_key: Option<String>,
    ) -> Result<Self, EndpointError> {
        let regional = format!("https://s3.{region}.amazonaws.com");
        // A wildcard certificate covers one label; another endpoint may have no names for buckets at all.
        let style = if endpoint.is_some() || name.contains('.') { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let endpoint = endpoint.unwrap_or(&regional);
        let error = || EndpointError { endpoint: endpoint.to_owned(), bucket: name.to_owned() };
        let url = Url::parse(endpoint).map_err(|_| error())?;
        let inner = rusty_s3::Bucket::new(url, style, name.to_owned(), region.to_owned()).map_err(|_| error())?;
        Ok(Self { inner, kms_key, skew: Skew::default() })
    }

    /// Signs for the time of a clock that differs from ours.
    #[must_use]
    pub fn with_skew(self, skew: Skew) -> Self {
        Self { skew, ..self }
    }

    /// The host to connect to.
    #[must_use]
    pub fn host(&self) -> &str {
        self.inner.base_url().host_str().unwrap_or_default()
    }

    /// Reads an object.
    #[must_use]
    pub fn get(&self, credentials: &Credentials, key: &str) -> SignedS3Request {
        self.call("GET", &GetObject::new(&self.inner, Some(&keys(credentials)), key))
    }

    /// Asks about an object.
    #[must_use]
    pub fn head(&self, credentials: &Credentials, key: &str) -> SignedS3Request {
        self.call("HEAD", &HeadObject::new(&self.inner, Some(&keys(credentials)), key))
    }

    /// Writes an object whose SHA-256, in base64, S3 checks before the object becomes visible.
    #[must_use]
    pub fn put(
        &self,
        credentials: &Credentials,
        key: &str,
        content_type: Option<&str>,
        sha256: Option<&str>,
    ) -> SignedS3Request {
        let keys = keys(credentials);
        let mut action = PutObject::new(&self.inner, Some(&keys), key);
        let mut headers: Vec<_> = sha256.map(|value| ("x-amz-checksum-sha256", value.to_owned())).into_iter().collect();
        headers.extend(content_type.map(|value| ("content-type", value.to_owned())));
        headers.extend(self.encryption());
        self.signed_with("PUT", &mut action, headers)
    }

    /// Writes an object of `length` bytes in signed chunks. It becomes visible when S3 has checked the last of them.
    ///
    /// # Errors
    /// [`ChunkedPutError`].
    pub fn put_in_chunks(
        &self,
        credentials: &Credentials,
        key: &str,
        content_type: &str,
        length: u64,
    ) -> Result<SignedS3Request, ChunkedPutError> {
        let mut headers = vec![("content-type", content_type.to_owned())];
        headers.extend(self.encryption());
        self.in_chunks(credentials, &self.inner.object_url(key), (length, headers))
    }

    /// Uploads a part of `length` bytes in signed chunks.
    ///
    /// # Errors
    /// [`ChunkedPutError`].
    pub fn put_part_in_chunks(
        &self,
        credentials: &Credentials,
        key: &str,
        (upload, part): (&str, u16),
        length: u64,
    ) -> Result<SignedS3Request, ChunkedPutError> {
        let mut url = self.inner.object_url(key);
        url.query_pairs_mut().append_pair("partNumber", &part.to_string()).append_pair("uploadId", upload);
        self.in_chunks(credentials, &url, (length, Vec::new()))
    }

    fn in_chunks(
        &self,
        credentials: &Credentials,
        url: &Url,
        content: (u64, Vec<(&'static str, String)>),
    ) -> Result<SignedS3Request, ChunkedPutError> {
        chunked_put::signed(url, self.inner.region(), credentials, self.skew.correct(clock::now()), content)
    }

    /// Deletes an object. Succeeds if there is none.
    #[must_use]
    pub fn delete(&self, credentials: &Credentials, key: &str) -> SignedS3Request {
        self.call("DELETE", &DeleteObject::new(&self.inner, Some(&keys(credentials)), key))
    }

    /// Deletes up to [`DELETE_LIMIT`] objects.
    #[must_use]
    pub fn delete_all(&self, credentials: &Credentials, objects: &[String]) -> SignedS3Request {
        let objects: Vec<_> = objects.iter().cloned().map(ObjectIdentifier::new).collect();
        let keys = keys(credentials);
        let mut action = DeleteObjects::new(&self.inner, Some(&keys), objects.iter());
        action.set_quiet(true);
        let target = target_of(&self.sign(&action, OWN_LIFETIME));
        let (body, md5) = action.body_with_md5();
        SignedS3Request { method: "POST", target, headers: vec![("content-md5", md5)], body: Some(body), chunks: None }
    }

    /// Lists the objects whose keys start with `prefix`; with a delimiter, only those without another one.
    #[must_use]
    pub fn list(
        &self,
        credentials: &Credentials,
        prefix: &str,
        delimiter: Option<&str>,
        next: Option<&str>,
    ) -> SignedS3Request {
        let keys = keys(credentials);
        let mut action = ListObjectsV2::new(&self.inner, Some(&keys));
        action.with_prefix(prefix);
        if let Some(delimiter) = delimiter {
            action.with_delimiter(delimiter);
        }
        if let Some(next) = next {
            action.with_continuation_token(next);
        }
        self.call("GET", &action)
    }

    /// Creates a multipart upload.
    #[must_use]
    pub fn create_multipart(&self, credentials: &Credentials, key: &str, content_type: &str) -> SignedS3Request {
        let keys = keys(credentials);
        let mut action = CreateMultipartUpload::new(&self.inner, Some(&keys), key);
        let mut headers = vec![("content-type", content_type.to_owned())];
        headers.extend(self.encryption());
        self.signed_with("POST", &mut action, headers)
    }

    /// Uploads a part.
    #[must_use]
    pub fn put_part(&self, credentials: &Credentials, key: &str, upload: &str, part: u16) -> SignedS3Request {
        self.call("PUT", &UploadPart::new(&self.inner, Some(&keys(credentials)), key, part, upload))
    }

    /// Makes the object of its parts, which [`parts_document`] lists.
    #[must_use]
    pub fn complete_multipart(
        &self,
        credentials: &Credentials,
        key: &str,
        upload: &str,
        parts: String,
    ) -> SignedS3Request {
        let keys = keys(credentials);
        let action = CompleteMultipartUpload::new(&self.inner, Some(&keys), key, upload, std::iter::empty::<&str>());
        let target = target_of(&self.sign(&action, OWN_LIFETIME));
        SignedS3Request { method: "POST", target, headers: Vec::new(), body: Some(parts), chunks: None }
    }

    /// Aborts a multipart upload.
    #[must_use]
    pub fn abort_multipart(&self, credentials: &Credentials, key: &str, upload: &str) -> SignedS3Request {
        self.call("DELETE", &AbortMultipartUpload::new(&self.inner, Some(&keys(credentials)), key, upload))
    }

    /// A URL with which anyone can read an object for a while. S3 answers with `disposition` as `Content-Disposition`
    /// and, if there is one, with `content_type` in place of its own.
    #[must_use]
    pub fn presigned_get(
        &self,
        credentials: &Credentials,
        key: &str,
        lifetime: Duration,
        disposition: &str,
        content_type: Option<&str>,
    ) -> String {
        let keys = keys(credentials);
        let mut action = GetObject::new(&self.inner, Some(&keys), key);
        action.query_mut().insert("response-content-disposition", disposition);
        if let Some(content_type) = content_type {
            action.query_mut().insert("response-content-type", content_type);
        }
        self.sign(&action, clamped(lifetime)).into()
    }

    /// URLs with which anyone can upload the parts of an object for a while.
    #[must_use]
    pub fn presigned_parts(&self, credentials: &Credentials, key: &str, upload: &str, lifetime: Duration) -> PartUrls {
        let time = self.skew.correct(clock::now());
        let keys = keys(credentials);
        let first = UploadPart::new(&self.inner, Some(&keys), key, parts::FIRST, upload);
        let first = sign(&first, clamped(lifetime), time);
        PartUrls::new(&first, credentials.secret_access_key(), self.inner.region(), time)
    }

    /// Signs for AWS's time.
    fn sign<'a>(&self, action: &impl S3Action<'a>, lifetime: Duration) -> Url {
        sign(action, lifetime, self.skew.correct(clock::now()))
    }

    fn call<'a>(&self, method: &'static str, action: &impl S3Action<'a>) -> SignedS3Request {
        let target = target_of(&self.sign(action, OWN_LIFETIME));
        SignedS3Request { method, target, headers: Vec::new(), body: None, chunks: None }
    }

    fn signed_with<'a>(
        &self,
        method: &'static str,
        action: &mut impl S3Action<'a>,
        headers: Vec<(&'static str, String)>,
    ) -> SignedS3Request {
        for (name, value) in &headers {
            action.headers_mut().insert(*name, value.clone());
        }
        SignedS3Request { headers, ..self.call(method, action) }
    }

    fn encryption(&self) -> Vec<(&'static str, String)> {
        let Some(key) = &self.kms_key else { return Vec::new() };
        vec![
            ("x-amz-server-side-encryption", "aws:kms".to_owned()),
            ("x-amz-server-side-encryption-aws-kms-key-id", key.clone()),
        ]
    }
}

#[cfg(test)]
mod tests;
