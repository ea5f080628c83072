//! The client of one managed MLflow on one worker thread: its connections, its signer, prepared header values.
//!
//! Each worker prepares it once, so that no request locks or formats any of it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};

use crate::access::caller::Caller;
use crate::api::insert_signature;
use crate::aws::credentials::CurrentCredentials;
use crate::aws::sigv4::{Signable, Signer, SigningKeys};
use crate::http::body::Body;
use crate::http::client::{ClientError, Request, Response};
use crate::http::fields::Fields;
use crate::serve::context::RequestContext;
use crate::serve::error::ProxyError;
use crate::serve::limits::circuit_breaker::CircuitOpen;
use crate::serve::limits::in_flight::InFlightLimit;
use crate::serve::limits::retry_budget::RetryBudget;
use crate::serve::upstream::endpoints::{Endpoints, TargetConnections};
use crate::serve::upstream::retry_executor::{Attempt, RetryExecutor, RetryableRequest};
use crate::serve::upstream::retry_rules::{AttemptFailure, Repeatability};
use crate::serve::upstream::s3::S3Client;
use crate::serve::upstream::served_target::ServedTarget;

/// The parts of the targets' clients that all targets of a worker share.
#[derive(Default)]
pub(crate) struct UpstreamParts {
    mlflow: Endpoints,
    s3: Rc<Endpoints>,
    keys: SigningKeys,
}

/// A worker's client of one managed MLflow, and prepared values.
pub(crate) struct MlflowClient {
    /// The target, which all workers share.
    pub served: Arc<ServedTarget>,
    /// The connections to it.
    pub connections: TargetConnections,
    signer: Signer,
    authority: String,
    host_value: HeaderValue,
    arn_name: HeaderName,
    arn_value: HeaderValue,
    store: OnceCell<Rc<S3Client>>,
    s3: Rc<Endpoints>,
    budget: RetryBudget,
    /// The limit of this worker's requests to the target.
    pub in_flight: Rc<InFlightLimit>,
}

/// A request to managed MLflow, before it is signed.
pub(crate) struct MlflowRequest<'a> {
    pub method: &'a Method,
    /// The path and query in the normal form that is signed and sent.
    pub path_and_query: &'a str,
    pub fields: Fields,
    pub body: &'a Body,
    /// The SHA-256 of the body in hex, or the word that stands for it.
    pub sha256: &'a str,
}

impl MlflowClient {
    /// Prepares the client on the thread that will use it.
    pub(crate) fn new(served: Arc<ServedTarget>, parts: &UpstreamParts) -> Self {
        let endpoint = served.dialer.endpoint();
        let authority = endpoint.authority();
        let value = |text: &str| HeaderValue::try_from(text).expect("hosts and ARNs were checked when parsed");
        Self {
            host_value: value(&authority),
            arn_name: HeaderName::from_static(served.target.arn_header()),
            arn_value: value(served.target.arn().as_str()),
            signer: Signer::sharing(&parts.keys, served.target.arn().region(), served.target.signing_name()),
            connections: parts.mlflow.connections(&served, served.dialer.clone(), served.client),
            authority,
            store: OnceCell::new(),
            s3: Rc::clone(&parts.s3),
            budget: RetryBudget::default(),
            in_flight: InFlightLimit::new(served.client.connection_limit),
            served,
        }
    }

    /// Returns the client of the target's artifact store, or nothing if the artifact gateway is off.
    ///
    /// # Errors
    /// [`ProxyError::ArtifactStoreUnknown`] until AWS has described the store, or [`ProxyError::Credentials`] where the appliance
    /// cannot even ask AWS.
    pub(crate) fn store(&self) -> Result<Option<&Rc<S3Client>>, ProxyError> {
        let Some(settings) = &self.served.artifacts else { return Ok(None) };
        if let Some(store) = self.store.get() {
            return Ok(Some(store));
        }
        let known = self.served.store.load();
        let known = known.as_deref().ok_or_else(|| self.served.without_store())?;
        let store = S3Client::new(&self.served, settings, known, &self.s3)?;
        Ok(Some(self.store.get_or_init(|| Rc::new(store))))
    }

    /// Asks for renewal of the credentials that sign this request, because they have expired.
    fn expire(&self, context: &RequestContext) {
        let identity = context.log.caller().map(Caller::source_identity);
        self.served.expire(identity.as_deref());
    }

    /// Signs and sends a request, and retries it where the rules allow that.
    ///
    /// # Errors
    /// [`ProxyError`]: there are no credentials, or there is no response.
    pub(crate) async fn send(
        &self,
        request: MlflowRequest<'_>,
        context: &RequestContext,
    ) -> Result<Box<Response>, ProxyError> {
        let credentials = self.served.credentials_for(context.log.caller()).await?;
        let (connections, permits) = (&self.connections, &context.permits);
        permits.target.take(&connections.callers, permits.caller_key(), connections.share()).await?;
        let trace = context.log.trace.as_ref();
        let executor = RetryExecutor {
            client: self.connections.client(),
            endpoint: self.served.dialer.endpoint(),
            target: &self.served,
            breaker: &self.served.breaker,
            budget: &self.budget,
            trace,
            caller: permits.caller_key(),
        };
        let (repeatability, body) = (Repeatability::of(request.method), request.body);
        let mut request = SignedMlflowRequest { mlflow: self, request, credentials, started: None, context };
        if let Some(trace) = trace {
            trace.take_over(&mut request.request.fields);
        }
        executor.send(&mut request, repeatability, body).await
    }
}

/// True if AWS has rejected a request because its token had expired. The header names the error; the body is for the caller.
fn names_expired_token(response: &Response) -> bool {
    const EXPIRED: &str = "ExpiredToken";
    response.status == StatusCode::FORBIDDEN
        && response.headers.get("x-amzn-errortype").is_some_and(|kind| kind.as_bytes().starts_with(EXPIRED.as_bytes()))
}

/// A request to managed MLflow with the signature of its last attempt.
struct SignedMlflowRequest<'a> {
    mlflow: &'a MlflowClient,
    request: MlflowRequest<'a>,
    credentials: Cow<'a, CurrentCredentials>,
    /// The time when the last attempt began; nothing before the first.
    started: Option<Instant>,
    context: &'a RequestContext,
}

impl RetryableRequest for SignedMlflowRequest<'_> {
    /// Adds `Host`, the header that routes, and the signature over what must not change.
    fn sign(&mut self, now: SystemTime) -> Result<(), ProxyError> {
        let Self { mlflow, request, .. } = self;
        self.context.permits.enter(&mlflow.in_flight);
        if self.started.is_some() {
            self.context.log.retried();
        }
        let target = &mlflow.served.target;
        request.fields.insert(header::HOST, mlflow.host_value.clone());
        request.fields.insert(mlflow.arn_name.clone(), mlflow.arn_value.clone());
        let content_type = request.fields.get(&header::CONTENT_TYPE).cloned();
        let signed = self.credentials.with(now, |credentials| {
            let signable = Signable {
                method: request.method.as_str(),
                target: request.path_and_query,
                host: &mlflow.authority,
                content_type: content_type.as_ref().and_then(|value| value.to_str().ok()),
                routing: Some((target.arn_header(), target.arn().as_str())),
                payload_sha256: request.sha256,
            };
            insert_signature(&mut request.fields, &mlflow.signer, &signable, credentials, now);
        });
        signed.inspect_err(|_| mlflow.expire(self.context))?;
        self.started = Some(Instant::now());
        Ok(())
    }

    fn trace_fields(&mut self) -> Option<&mut Fields> {
        Some(&mut self.request.fields)
    }

    fn signed(&self) -> Request<'_> {
        let MlflowRequest { method, path_and_query, fields, body, .. } = &self.request;
        Request { method: (*method).clone(), target: path_and_query, headers: fields, body }
    }

    async fn judge(&mut self, response: Box<Response>, is_skewed: bool) -> Attempt<Result<Box<Response>, ProxyError>> {
        if let Some(started) = self.started {
            self.context.log.mlflow_responded(started.elapsed());
        }
        if names_expired_token(&response) {
            self.mlflow.expire(self.context);
        }
        if is_skewed { Attempt::Failed(AttemptFailure::Skewed, Ok(response)) } else { Attempt::Done(Ok(response)) }
    }

    fn no_response(error: ClientError) -> ProxyError {
        error.into()
    }

    fn circuit_open(open: CircuitOpen) -> ProxyError {
        open.into()
    }
}
