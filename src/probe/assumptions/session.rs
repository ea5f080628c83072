//! Sends the requests of a run: signed as the appliance signs, each within a limit, and none after an interruption.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use aws_credential_types::Credentials;
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use tokio::time::timeout;

use super::answer::ProofAnswer;
use super::proof::NoProof;
use super::scratch::Scratch;
use super::settings::{AssumptionSettings, RouteFamily};
use crate::api::{Transport, insert_signature};
use crate::aws::credentials::CurrentCredentials;
use crate::aws::s3::SignedS3Request;
use crate::aws::sigv4::{Signable, Signer};
use crate::aws::source::CredentialSource;
use crate::http::body::Body;
use crate::http::client::{Client, ClientSettings, Endpoint, Request};
use crate::http::fields::Fields;
use crate::{clock, error_chain};

/// The limit of a request with a small body.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// The largest answer that is read. Bytes.
const ANSWER_LIMIT: usize = 8 << 20;
/// Credentials that end within this time are renewed before the next test.
const SOON: Duration = Duration::from_mins(2);

/// A request, ready to be sent but for `Host`.
pub(super) struct ProofRequest<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) headers: Fields,
    pub(super) body: Option<Bytes>,
    pub(super) limit: Duration,
}

/// A request to MLflow that is to be signed.
pub(super) struct SignedProofRequest<'a> {
    pub(super) method: Method,
    /// Path and query in normal form.
    pub(super) target: &'a str,
    pub(super) body: Option<Bytes>,
    /// The payload hash to sign; without one, the SHA-256 of the body.
    pub(super) payload: Option<&'a str>,
    /// The time of the signature.
    pub(super) time: SystemTime,
    pub(super) limit: Duration,
}

/// The identity, the connections and the state of one run.
pub(super) struct ProofSession<'a> {
    pub(super) settings: &'a AssumptionSettings,
    source: CredentialSource,
    credentials: RefCell<Credentials>,
    mlflow: Client,
    signer: Signer,
    is_stopped: Cell<bool>,
    /// True once MLflow has accepted a plain request.
    is_readable: Cell<bool>,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) routes: RefCell<Vec<RouteFamily>>,
}

impl<'a> ProofSession<'a> {
    pub(super) fn new(settings: &'a AssumptionSettings, source: CredentialSource, credentials: Credentials) -> Self {
        let (target, dialer) = (&settings.target, settings.dialer.clone());
        Self {
            settings,
            source,
            credentials: RefCell::new(credentials),
            mlflow: Client::new(dialer, client_settings(false)),
            signer: Signer::new(target.arn().region(), target.signing_name()),
            is_stopped: Cell::new(false),
            is_readable: Cell::new(false),
            scratch: RefCell::default(),
            routes: RefCell::default(),
        }
    }

    pub(super) fn credentials(&self) -> Credentials {
        self.credentials.borrow().clone()
    }

    /// The credentials for calls of AWS's other services.
    pub(super) fn current(&self) -> CurrentCredentials {
        CurrentCredentials::holding(self.credentials())
    }

    /// Obtains new credentials if the present ones end soon. If that fails, the next request shows it.
    pub(super) async fn renew(&self) {
        let is_late = |expiry| expiry < clock::now() + SOON;
        let ends_soon = self.credentials.borrow().expiry().is_some_and(is_late);
        if ends_soon && let Ok(Ok(fresh)) = timeout(REQUEST_LIMIT, self.source.obtain(None)).await {
            self.credentials.replace(fresh);
        }
    }

    /// Sends no further request from now on, or does so again.
    pub(super) fn stop(&self, is_stopped: bool) {
        self.is_stopped.set(is_stopped);
    }

    /// An error after an interruption.
    pub(super) fn going_on(&self) -> Result<(), NoProof> {
        if self.is_stopped.get() { Err(NoProof::Stopped) } else { Ok(()) }
    }

    pub(super) fn mark_readable(&self) {
        self.is_readable.set(true);
    }

    /// An error if MLflow accepts nothing, so that its answers would show nothing.
    pub(super) fn readable(&self) -> Result<(), NoProof> {
        self.going_on()?;
        let why = "MLflow did not accept a plain signed request; `appliance check` finds the cause";
        if self.is_readable.get() { Ok(()) } else { Err(NoProof::because(why)) }
    }

    /// The connections to AWS's other services.
    pub(super) fn transport(&self) -> Transport {
        Transport { dialer: self.settings.dialer.clone(), exchange_timeout: REQUEST_LIMIT }
    }

    /// A request to MLflow, signed as the appliance signs.
    pub(super) async fn mlflow(
        &self,
        method: Method,
        target: &str,
        body: Option<Bytes>,
    ) -> Result<ProofAnswer, NoProof> {
        let (payload, time, limit) = (None, clock::now(), REQUEST_LIMIT);
        self.signed(SignedProofRequest { method, target, body, payload, time, limit }).await
    }

    /// A request to MLflow whose signature may differ from the usual one.
    pub(super) async fn signed(&self, request: SignedProofRequest<'_>) -> Result<ProofAnswer, NoProof> {
        let SignedProofRequest { method, target, body, payload, time, limit } = request;
        let (endpoint, arn) = (self.settings.dialer.endpoint(), &self.settings.target);
        let (host, routing) = (endpoint.authority(), (arn.arn_header(), arn.arn().as_str()));
        let content_type = body.is_some().then_some("application/json");
        let actual = hex::encode(digest(&SHA256, body.as_deref().unwrap_or_default()));
        let signable = Signable {
            method: method.as_str(),
            target,
            host: &host,
            content_type,
            routing: Some(routing),
            payload_sha256: payload.unwrap_or(&actual),
        };
        let mut headers = Fields::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        headers.insert(HeaderName::from_static(routing.0), text(routing.1)?);
        insert_signature(&mut headers, &self.signer, &signable, &self.credentials(), time);
        self.send(ProofRequest { endpoint, method, target, headers, body, limit }).await
    }

    /// A signed request to S3.
    pub(super) async fn s3(
        &self,
        endpoint: &Endpoint,
        call: SignedS3Request,
        body: Option<Bytes>,
    ) -> Result<ProofAnswer, NoProof> {
        let SignedS3Request { method, target, headers: signed, body: own, chunks: _ } = call;
        let mut headers = Fields::new();
        for (name, value) in &signed {
            headers.insert(HeaderName::from_static(name), text(value)?);
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| NoProof::because(error.to_string()))?;
        let needs_length = matches!(method, Method::PUT | Method::POST);
        let body = own.map(Bytes::from).or(body).or_else(|| needs_length.then(Bytes::new));
        self.send(ProofRequest { endpoint, method, target: &target, headers, body, limit: 3 * REQUEST_LIMIT }).await
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: ProofRequest<'_>) -> Result<ProofAnswer, NoProof> {
        self.going_on()?;
        let ProofRequest { endpoint, method, target, mut headers, body, limit } = request;
        headers.insert(header::HOST, text(&endpoint.authority())?);
        let own;
        let client = if endpoint == self.settings.dialer.endpoint() {
            &self.mlflow
        } else {
            own = Client::new(self.settings.dialer.to(endpoint.clone()), client_settings(false));
            &own
        };
        // Boxed, since it would make the future of every test large.
        Box::pin(exchange(client, Request { method, target, headers: &headers, body: &sendable(body) }, limit)).await
    }
}

/// Sends a request, and reads the answer to its end.
pub(super) async fn exchange(client: &Client, request: Request<'_>, limit: Duration) -> Result<ProofAnswer, NoProof> {
    let is_head = request.method == Method::HEAD;
    let exchange = async {
        let response = client.send(request).await.map_err(|error| error_chain::joined(&error))?;
        let (status, headers) = (response.status, response.headers);
        let body = if is_head { Ok(Bytes::new()) } else { response.body.collect(ANSWER_LIMIT).await };
        Ok(ProofAnswer { status, headers, body: body.map_err(|error| error_chain::joined(&error))? })
    };
    let late = || NoProof::NoAnswer(format!("none came within {limit:?}"));
    timeout(limit, exchange).await.map_err(|_| late())?.map_err(NoProof::NoAnswer)
}

pub(super) fn sendable(body: Option<Bytes>) -> Body {
    body.map_or(Body::None, Body::from_bytes)
}

pub(super) fn client_settings(http2: bool) -> ClientSettings {
    ClientSettings {
        connection_limit: 4,
        // Servers of the tests close idle connections after five seconds.
        keep_alive: Duration::from_secs(3),
        lifetime: Duration::from_mins(5),
        response_timeout: REQUEST_LIMIT,
        idle_timeout: REQUEST_LIMIT,
        http2,
    }
}

/// A header value.
pub(super) fn text(value: &str) -> Result<HeaderValue, NoProof> {
    HeaderValue::try_from(value).map_err(|error| NoProof::because(error.to_string()))
}
