//! Tests whether the identity may list, write, read and delete in the artifact store, with one small object.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::finding::Finding;
use super::settings::{ProbeTarget, ProbedStore};
use crate::api::describe::{self, StoreSource};
use crate::aws::credentials::CurrentCredentials;
use crate::aws::s3::{self, Bucket, SignedS3Request};
use crate::http::client::Endpoint;
use crate::http::fields::Fields;
use crate::mlflow::store::{ArtifactPath, ArtifactStore};
use crate::{clock, error_chain};

const CHECK: &str = "artifacts";
/// The name of the object, which explains itself if it cannot be deleted.
const OBJECT: &str = ".appliance-check";
const CONTENT: &[u8] = b"written by `appliance check` to see whether it may; it can be deleted\n";

/// Probes the artifact store of a target.
pub(super) async fn probe(
    subject: &ProbeTarget,
    artifacts: &ProbedStore,
    credentials: &CurrentCredentials,
    may_write: bool,
) -> Finding {
    let name = subject.name.as_str();
    let known = match &artifacts.store_source {
        StoreSource::Known(store) => Ok(store.clone()),
        StoreSource::Described(endpoint) => {
            describe::artifact_store(&subject.target, endpoint, &subject.transport, credentials).await
        }
    };
    let store = match known {
        Ok(store) => store,
        Err(error) => {
            let fix = "allow the action, or set `artifact-store` to the store's `s3://` URI";
            return Finding::failure(CHECK, name, error_chain::joined(&error), fix);
        }
    };
    let region = subject.target.arn().region();
    let url = artifacts.s3_endpoint.as_ref().map(Endpoint::url);
    let bucket = match Bucket::new(store.bucket(), region, url.as_deref(), artifacts.kms_key.clone()) {
        Ok(bucket) => bucket,
        Err(error) => {
            return Finding::failure(CHECK, name, error.to_string(), "check `artifact-store` and `s3-endpoint`");
        }
    };
    let endpoint = artifacts.s3_endpoint.clone().unwrap_or_else(|| Endpoint::https(bucket.host()));
    let probe = StoreProbe { subject, store: &store, bucket, endpoint, credentials };
    match probe.walk(may_write).await {
        Ok(done) => Finding::ok(CHECK, name, format!("`s3://{}/{}`: {done}", store.bucket(), store.prefix())),
        Err((text, fix)) => Finding::failure(CHECK, name, text, fix),
    }
}

struct StoreProbe<'a> {
    subject: &'a ProbeTarget,
    store: &'a ArtifactStore,
    bucket: Bucket,
    endpoint: Endpoint,
    credentials: &'a CurrentCredentials,
}

impl StoreProbe<'_> {
    async fn walk(&self, may_write: bool) -> Result<&'static str, (String, String)> {
        let prefix = self.store.prefix();
        self.step("s3:ListBucket", |bucket, by| bucket.list(by, prefix, Some("/"), None), &[]).await?;
        if !may_write {
            return Ok("listed; writing was not requested");
        }
        let key = self.store.key(&ArtifactPath::parse(OBJECT).expect("a valid constant"));
        let sha256 = BASE64_STANDARD.encode(digest(&SHA256, CONTENT));
        let put = |bucket: &Bucket, by: &Credentials| bucket.put(by, &key, Some("text/plain"), Some(&sha256));
        self.step("s3:PutObject", put, CONTENT).await?;
        let read = self.step("s3:GetObject", |bucket, by| bucket.get(by, &key), &[]).await;
        // The object is deleted even if it cannot be read.
        self.step("s3:DeleteObject", |bucket, by| bucket.delete(by, &key), &[]).await?;
        if read? == CONTENT {
            Ok("listed, written, read and deleted")
        } else {
            Err(("S3 returned other content than was written".into(), "check `s3-endpoint`".into()))
        }
    }

    async fn step(
        &self,
        action: &str,
        call: impl FnOnce(&Bucket, &Credentials) -> SignedS3Request,
        body: &'static [u8],
    ) -> Result<Bytes, (String, String)> {
        let failed = |text: String, fix: &str| (format!("{action}: {text}"), fix.to_owned());
        let call = self.credentials.with(clock::now(), |credentials| call(&self.bucket, credentials));
        let call = call.map_err(|error| failed(error.to_string(), "see the credentials above"))?;
        let mut headers = Fields::new();
        for (name, value) in &call.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).expect("ASCII"));
        }
        let method = Method::from_bytes(call.method.as_bytes()).expect("a known method");
        let body = Bytes::from_static(body);
        let answer = self.subject.transport.exchange(&self.endpoint, method, &call.target, headers, body).await;
        let answer = answer.map_err(|error| {
            failed(
                error_chain::joined(&error),
                "see the connections above; in a VPC, S3 needs a gateway endpoint or a NAT",
            )
        })?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let text = String::from_utf8_lossy(&answer.body);
        let code = s3::error_code(&text).unwrap_or_else(|| answer.status.as_str().to_owned());
        let arn = format!("arn:{}:s3:::{}", self.subject.target.arn().partition().name(), self.store.bucket());
        let resource = if action == "s3:ListBucket" { arn } else { format!("{arn}/{}*", self.store.prefix()) };
        let whose = self.subject.role.as_ref().map_or("this machine's role", |role| role.arn.as_str());
        let fix = match (answer.status, code.as_str()) {
            (StatusCode::FORBIDDEN, _) => format!(
                "allow `{action}` on `{resource}` in the policy of {whose}, and look at the bucket's own policy and key"
            ),
            (_, "NoSuchBucket") => "check the bucket's name in `artifact-store`".to_owned(),
            (_, "PermanentRedirect" | "AuthorizationHeaderMalformed") => {
                "the bucket has to be in the region of the target".to_owned()
            }
            _ => "try again; if it persists, look at the bucket in the S3 console".to_owned(),
        };
        Err(failed(format!("S3 answered {code} for `{}`", self.store.bucket()), &fix))
    }
}
