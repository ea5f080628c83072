//! One MLflow's artifacts on S3: sends what `aws::s3` signs, by the same rules as requests to MLflow, and names what went
//! wrong.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use aws_credential_types::Credentials;
use bytes::Bytes;

use crate::aws::credentials::Current;
use crate::aws::s3::{self, Bucket, SignedS3Request};
use crate::clock;
use crate::http::body::Body;
use crate::http::client::{Client, ClientError, Endpoint, Request, Response};
use crate::http::fields::Fields;
use crate::mlflow::store::{ArtifactPath, ArtifactStore};
use crate::serve::artifacts::failure::StoreFailure;
use crate::serve::artifacts::request::text;
use crate::serve::error::ProxyError;
use crate::serve::limits::retry_budget::Allowance;
use crate::serve::telemetry::spans::Trace;
use crate::serve::upstream::backend::{Access, ArtifactSettings, ServedTarget};
use crate::serve::upstream::clock_skew;
use crate::serve::upstream::retry::{self, Attempt, Failure, Repetition};

/// The XML of an answer: a page of 1,000 keys, each up to 1,024 bytes and all of them escaped. Bytes.
const TEXT_LIMIT: usize = 8 << 20;

/// The kind of a call; it decides which IAM action the call needs, and if the call may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Write,
    /// Begins or completes a multipart upload.
    Assemble,
    Delete,
    List,
    Abort,
}

impl Action {
    fn repetition(self) -> Repetition {
        match self {
            Self::Read | Self::List | Self::Write => Repetition::Harmless,
            Self::Assemble | Self::Delete | Self::Abort => Repetition::Counts,
        }
    }
}

/// A worker's own way to the artifacts of one MLflow.
#[derive(Clone)]
pub(crate) struct S3Client {
    /// Which bucket and prefix.
    pub place: ArtifactStore,
    /// How artifacts travel.
    pub access: Access,
    bucket: Rc<Bucket>,
    client: Rc<Client>,
    host: HeaderValue,
    /// The validity of a URL for a download.
    pub url_lifetime: Duration,
    credentials: Current,
    /// The caller to whom the credentials belong, if each caller has their own.
    caller: Option<Rc<str>>,
    allowance: Rc<Allowance>,
    backend: Arc<ServedTarget>,
    partition: &'static str,
    endpoint: Rc<Endpoint>,
    /// Of the request that it is used for.
    trace: Option<Rc<Trace>>,
}

impl S3Client {
    /// Prepares the thread that will use it.
    ///
    /// # Errors
    /// [`ProxyError`] if bucket and endpoint do not go together.
    pub(crate) fn new(
        backend: &Arc<ServedTarget>,
        settings: &ArtifactSettings,
        place: &ArtifactStore,
    ) -> Result<Self, ProxyError> {
        let url = settings.s3_endpoint.as_ref().map(Endpoint::url);
        let region = backend.target.arn().region();
        let bucket = Bucket::new(place.bucket(), region, url.as_deref(), settings.kms_key.clone())
            .map_err(|error| StoreFailure::Bucket(error.to_string()))?
            .following(backend.skew.clone());
        let endpoint = settings.s3_endpoint.clone().unwrap_or_else(|| Endpoint::https(bucket.host()));
        let host = HeaderValue::try_from(endpoint.authority()).expect("hosts were checked when parsed");
        Ok(Self {
            place: place.clone(),
            access: settings.access,
            client: Rc::new(Client::new(backend.dialer.to(endpoint.clone()), backend.client)),
            host,
            url_lifetime: settings.url_lifetime,
            credentials: backend.credentials.clone(),
            caller: None,
            allowance: Rc::default(),
            backend: Arc::clone(backend),
            partition: backend.target.arn().partition().name(),
            bucket: Rc::new(bucket),
            endpoint: Rc::new(endpoint),
            trace: None,
        })
    }

    /// The same with the credentials of this caller.
    #[must_use]
    pub(crate) fn signing_for(&self, caller: &str, credentials: Current) -> Self {
        Self { credentials, caller: Some(caller.into()), ..self.clone() }
    }

    /// The same for one request, whose trace has what is sent.
    #[must_use]
    pub(crate) fn traced(&self, trace: Rc<Trace>) -> Self {
        Self { trace: Some(trace), ..self.clone() }
    }

    /// Renews the credentials if they expire within `needed`.
    pub(crate) async fn prolong(&self, needed: Duration) {
        match (&self.backend.caller_sessions, &self.caller) {
            (Some(caller_sessions), Some(caller)) => caller_sessions.prolong(caller, needed).await,
            _ => self.credentials.prolong(needed).await,
        }
    }

    /// Makes URLs with the current credentials. `sign` gets the longest validity that they allow, at most `wanted`.
    ///
    /// # Errors
    /// [`ProxyError::Credentials`].
    pub(crate) fn presigned<T>(
        &self,
        wanted: Duration,
        sign: impl FnOnce(&Bucket, &Credentials, Duration) -> T,
    ) -> Result<T, ProxyError> {
        let now = clock::now();
        Ok(self.credentials.with(now, |credentials| {
            let lifetime = s3::lifetime(wanted, credentials, self.backend.skew.correct(now));
            sign(&self.bucket, credentials, lifetime)
        })?)
    }

    /// Sends a call and returns a successful answer, or one that says that nothing has changed. Each attempt is signed
    /// anew: the one before it may have taken longer than a signature lasts.
    ///
    /// # Errors
    /// [`StoreFailure`] as [`ProxyError::Store`].
    pub(crate) async fn send(
        &self,
        action: Action,
        sign: impl Fn(&Bucket, &Credentials) -> SignedS3Request,
        fields: Fields,
        body: &Body,
    ) -> Result<Response, ProxyError> {
        let once =
            async |number: u32| self.once(action, &sign, (&fields, body), number).await.unwrap_or_else(Attempt::unsent);
        let access = (&self.backend.store_circuit, &*self.allowance);
        let answer = retry::attempt(action.repetition(), body, access, once).await;
        Ok(answer.map_err(|open| StoreFailure::CircuitOpen(open.left))???)
    }

    /// Makes one attempt. A refusal by S3 is an answer, too.
    async fn once(
        &self,
        action: Action,
        sign: &impl Fn(&Bucket, &Credentials) -> SignedS3Request,
        (fields, body): (&Fields, &Body),
        number: u32,
    ) -> Result<Attempt<Result<Response, StoreFailure>, ProxyError>, ProxyError> {
        let signed = self.backend.skew.correct(clock::now());
        let call = self.credentials.with(clock::now(), |credentials| sign(&self.bucket, credentials))?;
        let method = Method::from_bytes(call.method.as_bytes()).expect("a known method");
        let headers = self.headers(&call, fields.clone())?;
        let own = call.body.map(|text| Body::Memory(Bytes::from(text), None));
        let body = own.as_ref().unwrap_or(body);
        let request = Request { method: method.clone(), target: &call.target, headers: &headers, body };
        let recorded = self.trace.as_ref().map(|trace| trace.call(&method, &self.endpoint, &call.target, number - 1));
        let answer = self.client.send(request).await;
        match (recorded, &answer) {
            (Some(recorded), Ok(response)) => recorded.answered(response),
            (Some(recorded), Err(error)) => recorded.failed(ProxyError::kind_of(error)),
            (None, _) => {}
        }
        let response = match answer {
            Ok(response) if is_welcome(response.status) => return Ok(Attempt::Answered(Ok(response))),
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Failed(Failure::of(&error), Err(unanswered(error)))),
        };
        let is_skewed = clock_skew::is_refused_for_its_time(&response, signed, &self.backend);
        Ok(match self.failure(action, &method, response).await? {
            failure if is_skewed => Attempt::Failed(Failure::Skewed, Err(failure.into())),
            failure @ StoreFailure::Busy(_) => Attempt::Failed(Failure::Busy, Err(failure.into())),
            failure => Attempt::Answered(Err(failure)),
        })
    }

    /// Sends a call and returns the text of the answer.
    ///
    /// # Errors
    /// [`StoreFailure`] as [`ProxyError::Store`].
    pub(crate) async fn text(
        &self,
        action: Action,
        sign: impl Fn(&Bucket, &Credentials) -> SignedS3Request,
    ) -> Result<String, ProxyError> {
        text(self.send(action, sign, Fields::new(), &Body::None).await?, TEXT_LIMIT).await
    }

    /// Returns the metadata of an object.
    ///
    /// # Errors
    /// [`ProxyError`].
    pub(crate) async fn head(&self, path: &ArtifactPath) -> Result<Response, ProxyError> {
        let key = self.place.key(path);
        let sign = |bucket: &Bucket, credentials: &Credentials| bucket.head(credentials, &key);
        self.send(Action::Read, sign, Fields::new(), &Body::None).await
    }

    fn headers(&self, call: &SignedS3Request, mut headers: Fields) -> Result<Fields, ProxyError> {
        headers.insert(header::HOST, self.host.clone());
        for (name, value) in &call.headers {
            let value =
                HeaderValue::try_from(value).map_err(|_| ProxyError::Artifact("a header is not ASCII".into()))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    async fn failure(&self, action: Action, method: &Method, response: Response) -> Result<StoreFailure, ProxyError> {
        let status = response.status;
        // The answer to a HEAD has no body to explain it.
        let explained = if *method == Method::HEAD { String::new() } else { text(response, TEXT_LIMIT).await? };
        let code = s3::error_code(&explained).unwrap_or(status.as_str()).to_owned();
        if code == "ExpiredToken" {
            self.credentials.renew();
        }
        Ok(match (status, code.as_str()) {
            (_, "NoSuchBucket" | "PermanentRedirect" | "AuthorizationHeaderMalformed") => StoreFailure::Bucket(code),
            (StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT, _) => StoreFailure::Bucket(code),
            (_, "NoSuchUpload" | "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall") => StoreFailure::Refused(code),
            (StatusCode::NOT_FOUND, _) => StoreFailure::Missing,
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => StoreFailure::Range,
            (StatusCode::FORBIDDEN, _) => self.denied(action),
            (StatusCode::TOO_MANY_REQUESTS, _) => StoreFailure::Busy(code),
            (_, "RequestTimeout" | "ExpiredToken" | "OperationAborted") => StoreFailure::Busy(code),
            _ if status.is_server_error() => StoreFailure::Busy(code),
            _ => StoreFailure::Refused(code),
        })
    }

    fn denied(&self, action: Action) -> StoreFailure {
        let bucket = format!("arn:{}:s3:::{}", self.partition, self.place.bucket());
        let objects = format!("{bucket}/{}*", self.place.prefix());
        let (action, resource) = match action {
            Action::Read => ("s3:GetObject", objects),
            Action::Write | Action::Assemble => ("s3:PutObject", objects),
            Action::Delete => ("s3:DeleteObject", objects),
            Action::Abort => ("s3:AbortMultipartUpload", objects),
            Action::List => ("s3:ListBucket", bucket),
        };
        StoreFailure::Denied { action, resource }
    }
}

/// What no answer at all amounts to.
fn unanswered(error: ClientError) -> ProxyError {
    match error {
        ClientError::Crowded(_) => StoreFailure::Busy("no free connection".to_owned()).into(),
        error @ (ClientError::Body(_) | ClientError::HeadTooLarge { .. }) => error.into(),
        error => StoreFailure::Unreachable(error).into(),
    }
}

fn is_welcome(status: StatusCode) -> bool {
    status.is_success() || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED)
}
