//! S3: a real server of its API over a directory, which accepts the role's signatures and no others.
//!
//! Signatures are verified by `s3s`, which shares no code with `rusty-s3` or with our own signer.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use actix_web::rt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    AbortMultipartUploadInput, CompleteMultipartUploadInput, CreateMultipartUploadInput, ListObjectsV2Input,
    UploadPartInput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Request, S3Result, s3_error};
use tokio::task::JoinHandle;

use super::gateway::Tally;
use super::identity::{Issuer, Principal};
use super::objects::Objects;
use crate::clock;

/// The bucket that always exists.
pub(super) const BUCKET: &str = "sandbox-artifacts";
/// The prefix of MLflow's artifacts.
pub(super) const PREFIX: &str = "mlflow";

/// A running S3 server.
pub(super) struct S3Server {
    /// The URL of the server. It uses plain HTTP, so that a client with a presigned URL needs no certificate authority.
    pub(super) url: String,
    pub(super) tally: Arc<Tally>,
    pub(super) task: JoinHandle<()>,
}

/// Starts S3 on `listener`, with everything under `directory`.
pub(super) fn open(listener: TcpListener, directory: &Path, issuer: &Issuer) -> io::Result<S3Server> {
    let mut builder = S3ServiceBuilder::new(Objects::open(directory, BUCKET)?);
    builder.set_auth(Identities(issuer.clone()));
    builder.set_access(Identities(issuer.clone()));
    let service = builder.build();
    let (url, tally) = (format!("http://{}", listener.local_addr()?), Arc::<Tally>::default());
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let counted = Arc::clone(&tally);
    let task = rt::spawn(async move {
        loop {
            // A failed accept concerns one connection, or is transient: too many open files.
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            rt::spawn(serve(stream, service.clone(), Arc::clone(&counted)));
        }
    });
    Ok(S3Server { url, tally, task })
}

async fn serve(stream: tokio::net::TcpStream, service: S3Service, tally: Arc<Tally>) {
    let handler = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (service, tally) = (service.clone(), Arc::clone(&tally));
        async move {
            let answer = service.call(request.map(Into::into)).await;
            if let Ok(answer) = &answer {
                tally.count(answer.status() != hyper::StatusCode::FORBIDDEN);
            }
            answer
        }
    });
    // The client of a connection sees its errors.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), handler).await;
}

/// The sandbox's identities, as S3 asks for them.
struct Identities(Issuer);

#[async_trait::async_trait]
impl S3Auth for Identities {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let known = self.0.find(access_key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(SecretKey::from(known.secret_access_key))
    }
}

#[async_trait::async_trait]
impl S3Access for Identities {
    /// Checks what the signature does not cover: the principal, the expiry and the session token.
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let credentials = context.credentials().ok_or_else(|| s3_error!(AccessDenied, "the request is not signed"))?;
        let known = self.0.find(&credentials.access_key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        let header = context.headers().get("x-amz-security-token").and_then(|value| value.to_str().ok());
        let mut in_query = context.uri().query().unwrap_or_default().split('&');
        let in_query = in_query.find_map(|pair| pair.strip_prefix("X-Amz-Security-Token="));
        let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        if header.map(ToOwned::to_owned).or_else(|| in_query.map(decoded)) != Some(known.session_token) {
            return Err(s3_error!(AccessDenied, "the session token is missing or wrong"));
        }
        if known.expiry <= clock::now() {
            return Err(s3_error!(ExpiredToken));
        }
        if known.principal != Principal::Role {
            return Err(s3_error!(AccessDenied, "only the role may use the bucket"));
        }
        Ok(())
    }

    /// `s3s-fs` binds an upload in parts to the access key that began it. AWS binds it to the account, and so do these
    /// four: a role's keys change in the middle of a long upload.
    async fn create_multipart_upload(&self, request: &mut S3Request<CreateMultipartUploadInput>) -> S3Result<()> {
        as_the_account(request);
        Ok(())
    }

    async fn upload_part(&self, request: &mut S3Request<UploadPartInput>) -> S3Result<()> {
        as_the_account(request);
        Ok(())
    }

    async fn complete_multipart_upload(&self, request: &mut S3Request<CompleteMultipartUploadInput>) -> S3Result<()> {
        as_the_account(request);
        Ok(())
    }

    async fn abort_multipart_upload(&self, request: &mut S3Request<AbortMultipartUploadInput>) -> S3Result<()> {
        as_the_account(request);
        Ok(())
    }

    /// The listing does not encode keys, so the request must not ask for that.
    async fn list_objects_v2(&self, request: &mut S3Request<ListObjectsV2Input>) -> S3Result<()> {
        request.input.encoding_type = None;
        Ok(())
    }
}

fn as_the_account<T>(request: &mut S3Request<T>) {
    if let Some(credentials) = &mut request.credentials {
        "123456789012".clone_into(&mut credentials.access_key);
    }
}
