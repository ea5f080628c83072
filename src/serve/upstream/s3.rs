//! The S3 of one target's artifacts: sends the calls that `aws::s3` signs, by the same rules as requests to MLflow.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use aws_credential_types::Credentials;
use bytes::Bytes;

use crate::aws::credentials::CurrentCredentials;
use crate::aws::s3::{self, Bucket, ChunkedPutError, SignedS3Request};
use crate::http::body::Body;
use crate::http::client::{ClientError, Endpoint, Request, Response};
use crate::http::fields::Fields;
use crate::mlflow::store::{ArtifactPath, ArtifactStore};
use crate::serve::error::ProxyError;
use crate::serve::error::s3_error::{S3CallKind, S3Error};
use crate::serve::limits::circuit_breaker::CircuitOpen;
use crate::serve::limits::retry_budget::RetryBudget;
use crate::serve::limits::shares::ShareHolder;
use crate::serve::telemetry::spans::Trace;
use crate::serve::upstream::endpoints::{Endpoints, TargetConnections};
use crate::serve::upstream::retry_executor::{Attempt, RetryExecutor, RetryableRequest};
use crate::serve::upstream::retry_rules::{AttemptFailure, Repeatability};
use crate::serve::upstream::served_target::ServedTarget;
use crate::serve::upstream::settings::{ArtifactAccess, ArtifactSettings};
use crate::serve::upstream::signed_chunks;

/// The limit of an XML response: a page of 1,000 keys, each up to 1,024 bytes and all of them escaped. Bytes.
const TEXT_LIMIT: usize = 8 << 20;

/// A worker's own client for the artifacts of one target.
#[derive(Clone)]
pub(crate) struct S3Client {
    /// The bucket and prefix.
    pub store: ArtifactStore,
    /// The way that artifacts travel.
    pub access: ArtifactAccess,
    /// If this is true, uploads are buffered and not signed in chunks.
    pub signs_whole_uploads: bool,
    bucket: Rc<Bucket>,
    /// The connections to S3.
    pub connections: Rc<TargetConnections>,
    host: HeaderValue,
    /// The validity of a URL for a download.
    pub url_lifetime: Duration,
    credentials: CurrentCredentials,
    /// The source identity of the caller to whom the credentials belong, if each caller has their own.
    caller: Option<Rc<str>>,
    budget: Rc<RetryBudget>,
    target: Arc<ServedTarget>,
    endpoint: Rc<Endpoint>,
    /// The trace of the request that this client is used for.
    trace: Option<Rc<Trace>>,
    /// The time of all calls for the request that this client is used for.
    time: Option<Rc<Cell<Duration>>>,
}

impl S3Client {
    /// Prepares the client on the thread that will use it.
    ///
    /// # Errors
    /// [`ProxyError`] if bucket and endpoint do not go together.
    pub(crate) fn new(
        target: &Arc<ServedTarget>,
        settings: &ArtifactSettings,
        store: &ArtifactStore,
        endpoints: &Endpoints,
    ) -> Result<Self, ProxyError> {
        let url = settings.s3_endpoint.as_ref().map(Endpoint::url);
        let region = target.target.arn().region();
        let bucket = Bucket::new(store.bucket(), region, url.as_deref(), settings.kms_key.clone())
            .map_err(|error| S3Error::Bucket(error.to_string()))?
            .with_skew(target.credentials.skew().clone());
        let endpoint = settings.s3_endpoint.clone().unwrap_or_else(|| Endpoint::https(bucket.host()));
        let host = HeaderValue::try_from(endpoint.authority()).expect("hosts were checked when parsed");
        Ok(Self {
            store: store.clone(),
            access: settings.access,
            signs_whole_uploads: settings.signs_whole_uploads,
            connections: Rc::new(endpoints.connections(target, target.dialer.to(endpoint.clone()), target.client)),
            host,
            url_lifetime: settings.url_lifetime,
            credentials: target.credentials.clone(),
            caller: None,
            budget: Rc::default(),
            target: Arc::clone(target),
            bucket: Rc::new(bucket),
            endpoint: Rc::new(endpoint),
            trace: None,
            time: None,
        })
    }

    /// Returns a client that signs with the credentials of this caller.
    #[must_use]
    pub(crate) fn signing_for(&self, caller: &str, credentials: CurrentCredentials) -> Self {
        Self { credentials, caller: Some(caller.into()), ..self.clone() }
    }

    /// Returns a client whose calls are recorded in this trace.
    #[must_use]
    pub(crate) fn traced(&self, trace: Rc<Trace>) -> Self {
        Self { trace: Some(trace), ..self.clone() }
    }

    /// Returns a client that adds the time of its calls to `time`.
    #[must_use]
    pub(crate) fn timed(&self, time: Rc<Cell<Duration>>) -> Self {
        Self { time: Some(time), ..self.clone() }
    }

    /// Renews the credentials if they expire within `needed`.
    pub(crate) async fn renew_if_short(&self, needed: Duration) {
        match (&self.target.caller_sessions, &self.caller) {
            (Some(caller_sessions), Some(caller)) => caller_sessions.renew_if_short(caller, needed).await,
            _ => self.credentials.renew_if_short(needed).await,
        }
    }

    /// Asks for renewal of the credentials, because they have expired.
    fn expire(&self) {
        self.target.expire(self.caller.as_deref());
    }

    /// Makes URLs with the current credentials. `sign` gets the longest validity that these allow, at most `wanted`.
    ///
    /// # Errors
    /// [`ProxyError::Credentials`].
    pub(crate) fn presigned<T>(
        &self,
        wanted: Duration,
        sign: impl FnOnce(&Bucket, &Credentials, Duration) -> T,
    ) -> Result<T, ProxyError> {
        let now = self.target.credentials.now();
        Ok(self.credentials.with(now, |credentials| {
            let lifetime = s3::lifetime(wanted, credentials, now);
            sign(&self.bucket, credentials, lifetime)
        })?)
    }

    /// Sends a call and returns a successful response, or one that says that nothing has changed.
    ///
    /// # Errors
    /// [`S3Error`] as [`ProxyError::S3`].
    pub(crate) async fn send(
        &self,
        kind: S3CallKind,
        sign: impl Fn(&Bucket, &Credentials) -> Result<SignedS3Request, ChunkedPutError>,
        fields: Fields,
        body: &Body,
    ) -> Result<Box<Response>, ProxyError> {
        let executor = RetryExecutor {
            client: self.connections.client(),
            endpoint: &self.endpoint,
            target: &self.target,
            breaker: &self.target.s3_breaker,
            budget: &self.budget,
            trace: self.trace.as_ref(),
            // No caller chooses how long S3 takes.
            caller: ShareHolder::of::<()>(None),
        };
        let repeatability = match kind {
            S3CallKind::Read | S3CallKind::List | S3CallKind::Write => Repeatability::Safe,
            S3CallKind::Assemble | S3CallKind::Delete | S3CallKind::Abort => Repeatability::Unsafe,
        };
        let mut request = S3Request { s3: self, kind, sign, conditions: fields, body, signed: None };
        let began = Instant::now();
        let result = executor.send(&mut request, repeatability, body).await;
        if let Some(time) = &self.time {
            time.set(time.get() + began.elapsed());
        }
        result
    }

    /// Sends a call and returns the text of the response.
    ///
    /// # Errors
    /// [`S3Error`] as [`ProxyError::S3`].
    pub(crate) async fn text(
        &self,
        kind: S3CallKind,
        sign: impl Fn(&Bucket, &Credentials) -> SignedS3Request,
    ) -> Result<String, ProxyError> {
        let sign = |bucket: &Bucket, credentials: &Credentials| Ok(sign(bucket, credentials));
        text(self.send(kind, sign, Fields::new(), &Body::None).await?).await
    }

    /// Returns the metadata of an object.
    ///
    /// # Errors
    /// [`ProxyError`].
    pub(crate) async fn head(&self, path: &ArtifactPath) -> Result<Box<Response>, ProxyError> {
        let key = self.store.key(path);
        let sign = |bucket: &Bucket, credentials: &Credentials| Ok(bucket.head(credentials, &key));
        self.send(S3CallKind::Read, sign, Fields::new(), &Body::None).await
    }
}

/// A call to S3 with the signature of its last attempt.
struct S3Request<'a, F> {
    s3: &'a S3Client,
    kind: S3CallKind,
    sign: F,
    /// The fields of the caller that S3 may judge. They are not signed.
    conditions: Fields,
    body: &'a Body,
    signed: Option<SignedCall>,
}

struct SignedCall {
    method: Method,
    target: String,
    headers: Fields,
    /// The body, where the operation and not the caller decides it.
    body: Option<Body>,
}

impl<F: Fn(&Bucket, &Credentials) -> Result<SignedS3Request, ChunkedPutError>> S3Request<'_, F> {
    /// Returns the error that a response explains. A response that the appliance cannot read is an error, too.
    async fn error(&self, response: Box<Response>) -> Result<S3Error, ProxyError> {
        let status = response.status;
        // The response to a HEAD has no body to explain it.
        let is_head = self.signed.as_ref().is_some_and(|signed| signed.method == Method::HEAD);
        let explanation = if is_head { String::new() } else { text(response).await? };
        let code = s3::error_code(&explanation).unwrap_or_else(|| status.as_str().to_owned());
        if code == "ExpiredToken" {
            self.s3.expire();
        }
        let partition = self.s3.target.target.arn().partition().name();
        Ok(S3Error::of((status, code), self.kind, &self.s3.store, partition))
    }
}

impl<F: Fn(&Bucket, &Credentials) -> Result<SignedS3Request, ChunkedPutError>> RetryableRequest for S3Request<'_, F> {
    fn sign(&mut self, now: SystemTime) -> Result<(), ProxyError> {
        let call = self.s3.credentials.with(now, |credentials| (self.sign)(&self.s3.bucket, credentials));
        let call = call.inspect_err(|_| self.s3.expire())?;
        let call = call.map_err(|error| ProxyError::Artifact(error.to_string()))?;
        let mut headers = self.conditions.clone();
        headers.insert(header::HOST, self.s3.host.clone());
        for (name, value) in &call.headers {
            let value =
                HeaderValue::try_from(value).map_err(|_| ProxyError::Artifact("a header is not ASCII".into()))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        self.signed = Some(SignedCall {
            method: Method::from_bytes(call.method.as_bytes()).expect("a known method"),
            target: call.target,
            headers,
            body: call
                .body
                .map(|text| Body::Memory(Bytes::from(text), None))
                .or_else(|| signed_chunks::of(self.body, call.chunks)),
        });
        Ok(())
    }

    fn signed(&self) -> Request<'_> {
        let SignedCall { method, target, headers, body } = self.signed.as_ref().expect("`sign` comes first");
        Request { method: method.clone(), target, headers, body: body.as_ref().unwrap_or(self.body) }
    }

    async fn judge(&mut self, response: Box<Response>, is_skewed: bool) -> Attempt<Result<Box<Response>, ProxyError>> {
        let status = response.status;
        if status.is_success() || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED) {
            return Attempt::Done(Ok(response));
        }
        match self.error(response).await {
            Err(error) => Attempt::Failed(AttemptFailure::Own, Err(error)),
            Ok(error) if is_skewed => Attempt::Failed(AttemptFailure::Skewed, Err(error.into())),
            Ok(error @ S3Error::Busy(_)) => Attempt::Failed(AttemptFailure::Busy, Err(error.into())),
            Ok(error) => Attempt::Done(Err(error.into())),
        }
    }

    fn no_response(error: ClientError) -> ProxyError {
        match error {
            ClientError::Crowded(_) => S3Error::Busy("no free connection".to_owned()).into(),
            error @ (ClientError::Body(_) | ClientError::HeadTooLarge { .. }) => error.into(),
            error => S3Error::Unreachable(error).into(),
        }
    }

    fn circuit_open(open: CircuitOpen) -> ProxyError {
        S3Error::CircuitOpen(open.remaining).into()
    }
}

/// Returns the body of a response as text.
async fn text(response: Box<Response>) -> Result<String, ProxyError> {
    let bytes = response.body.collect(TEXT_LIMIT).await.map_err(ProxyError::Document)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
