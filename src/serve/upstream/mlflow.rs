//! One managed MLflow as a worker thread sees it: connections, the day's signing key, prepared header values.
//!
//! Made once per thread, so that no request locks or formats any of it.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};

use crate::api::insert_signature;
use crate::aws::credentials::Current;
use crate::aws::sigv4::{Signable, Signer};
use crate::clock;
use crate::http::body::Body;
use crate::http::client::{Client, Request, Response};
use crate::http::fields::Fields;
use crate::serve::context::RequestContext;
use crate::serve::error::ProxyError;
use crate::serve::limits::in_flight::Load;
use crate::serve::limits::retry_budget::Allowance;
use crate::serve::limits::shares::Shares;
use crate::serve::upstream::backend::ServedTarget;
use crate::serve::upstream::clock_skew;
use crate::serve::upstream::retry::{self, Attempt, Failure, Repetition};
use crate::serve::upstream::s3::S3Client;

/// A worker's own connections to one managed MLflow, and prepared values.
pub(crate) struct MlflowClient {
    /// What all workers share of it.
    pub backend: Arc<ServedTarget>,
    client: Client,
    signer: Signer,
    authority: String,
    host_value: HeaderValue,
    arn_name: HeaderName,
    arn_value: HeaderValue,
    store: OnceCell<Rc<S3Client>>,
    allowance: Allowance,
    /// Its requests to the target.
    pub load: Rc<Load>,
    /// Each caller's share of the connections to the target.
    pub shares: Rc<Shares>,
    /// Each caller's share of the connections to S3.
    pub store_shares: Rc<Shares>,
}

impl MlflowClient {
    /// Prepares the thread that will use it.
    #[must_use]
    pub(crate) fn new(backend: Arc<ServedTarget>) -> Self {
        let endpoint = backend.dialer.endpoint();
        let authority = endpoint.authority();
        let value = |text: &str| HeaderValue::try_from(text).expect("hosts and ARNs were checked when parsed");
        Self {
            host_value: value(&authority),
            arn_name: HeaderName::from_static(backend.target.arn_header()),
            arn_value: value(backend.target.arn().as_str()),
            signer: Signer::new(backend.target.arn().region(), backend.target.signing_name()),
            client: Client::new(backend.dialer.clone(), backend.client),
            authority,
            store: OnceCell::new(),
            allowance: Allowance::default(),
            load: Load::new(backend.client.connection_limit),
            shares: Shares::among(backend.client.connection_limit),
            store_shares: Shares::among(backend.client.connection_limit),
            backend,
        }
    }

    /// Where its artifacts are; nothing if the gateway is off.
    ///
    /// # Errors
    /// [`ProxyError::StoreUnknown`] until AWS has said where, or [`ProxyError::Credentials`] where it cannot even be asked.
    pub(crate) fn store(&self) -> Result<Option<&Rc<S3Client>>, ProxyError> {
        let Some(settings) = &self.backend.artifacts else { return Ok(None) };
        if let Some(store) = self.store.get() {
            return Ok(Some(store));
        }
        let known = self.backend.store.load();
        let store =
            S3Client::new(&self.backend, settings, known.as_deref().ok_or_else(|| self.backend.without_store())?)?;
        Ok(Some(self.store.get_or_init(|| Rc::new(store))))
    }

    /// Signs and sends; tries again where that is harmless.
    ///
    /// # Errors
    /// [`ProxyError`]: no credentials, or no answer.
    pub(crate) async fn send(
        &self,
        method: &Method,
        target: &str,
        mut fields: Fields,
        (body, sha256): (&Body, &str),
        context: &RequestContext,
    ) -> Result<Response, ProxyError> {
        let credentials = self.backend.credentials_for(context.log.caller()).await?;
        context.permits.share_target(&self.shares).await?;
        let trace = context.log.trace.as_ref();
        if let Some(trace) = trace {
            trace.take_over(&mut fields);
        }
        let (earlier, endpoint) = (context.log.retries(), self.backend.dialer.endpoint());
        let once = async |number: u32| {
            context.permits.enter(&self.load);
            context.log.retried(earlier + number - 1);
            let call = trace.map(|trace| trace.call(method, endpoint, target, number - 1));
            if let Some(call) = &call {
                call.name_in(&mut fields);
            }
            // Signed last and for each attempt anew: a signature is good for five minutes from its own clock.
            let now = self.backend.skew.correct(clock::now());
            if let Err(refusal) = self.sign(method, target, &mut fields, sha256, &credentials, now) {
                return Attempt::unsent(refusal);
            }
            let started = Instant::now();
            match self.client.send(Request { method: method.clone(), target, headers: &fields, body }).await {
                Ok(response) => {
                    if let Some(call) = call {
                        call.answered(&response);
                    }
                    context.log.upstream_responded(started.elapsed());
                    if clock_skew::is_refused_for_its_time(&response, now, &self.backend) {
                        return Attempt::Failed(Failure::Skewed, Ok(response));
                    }
                    Attempt::Answered(response)
                }
                Err(error) => {
                    if let Some(call) = call {
                        call.failed(ProxyError::kind_of(&error));
                    }
                    Attempt::Failed(Failure::of(&error), Err(error.into()))
                }
            }
        };
        retry::attempt(Repetition::of(method), body, (&self.backend.circuit, &self.allowance), once).await?
    }

    /// Adds to the caller's headers `Host`, the one that routes, and the signature over what must not change.
    fn sign(
        &self,
        method: &Method,
        target: &str,
        headers: &mut Fields,
        sha256: &str,
        credentials: &Current,
        now: SystemTime,
    ) -> Result<(), ProxyError> {
        let mlflow = &self.backend.target;
        headers.insert(header::HOST, self.host_value.clone());
        headers.insert(self.arn_name.clone(), self.arn_value.clone());
        let content_type = headers.get(&header::CONTENT_TYPE).cloned();
        credentials.with(now, |credentials| {
            let request = Signable {
                method: method.as_str(),
                target,
                host: &self.authority,
                content_type: content_type.as_ref().and_then(|value| value.to_str().ok()),
                routing: Some((mlflow.arn_header(), mlflow.arn().as_str())),
                payload_sha256: sha256,
            };
            insert_signature(headers, &self.signer, &request, credentials, now);
        })?;
        Ok(())
    }
}
