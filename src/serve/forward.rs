//! One request on its way through: check, take the body in, sign, send, pass the answer back.

use std::rc::Rc;
use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use tracing::debug;

use super::browser;
use super::health::{self, Page};
use super::record::{Outcome, Record, Severity};
use super::refusal::Refusal;
use super::reply::{self, Origin};
use super::retry::may_retry;
use super::worker::Worker;
use crate::aws::sigv4::{EMPTY_SHA256, Signable, hex};
use crate::http::body::{Body, receive};
use crate::http::client::{Request, Response};
use crate::http::{headers, uri};
use crate::{causes, clock};

const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Answers any request.
pub(super) async fn handle(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let worker = Rc::clone(request.app_data::<Rc<Worker>>().expect("every worker has one"));
    let mut record = Record::begin(&worker.shared.ledger, &request);
    match exchange(&worker, &request, payload, &mut record).await {
        Ok(Answer::Upstream(response)) => {
            let origin = Origin { base: &worker.base, required_action: worker.shared.target.required_action() };
            reply::pass(*response, &origin, record)
        }
        Ok(Answer::Page(page)) => {
            record.severity = Severity::Probe;
            finish(record, health::render(page, &worker.shared))
        }
        Err(refusal) => {
            record.refusal = Some(refusal.kind());
            record.cause = Some(causes::joined(&refusal));
            if refusal.is_ours() {
                record.severity = Severity::Alarming;
            }
            let response = refusal.response(&record.request_id);
            finish(record, response)
        }
    }
}

enum Answer {
    Upstream(Box<Response>),
    Page(Page),
}

/// Completes an answer of our own.
fn finish(mut record: Record, mut response: HttpResponse) -> HttpResponse {
    record.status = Some(response.status());
    record.outcome = Outcome::Complete;
    if let BodySize::Sized(length) = response.body().size() {
        record.sent = length;
    }
    if let Ok(value) = HeaderValue::try_from(record.request_id.as_str()) {
        response.headers_mut().insert(reply::REQUEST_ID_HEADER, value);
    }
    response
}

async fn exchange(
    worker: &Worker,
    request: &HttpRequest,
    payload: web::Payload,
    record: &mut Record,
) -> Result<Answer, Refusal> {
    let method = request.method();
    // SECURITY: TRACE would echo the signed headers, session token included; CONNECT would open a tunnel.
    if matches!(*method, Method::TRACE | Method::CONNECT) {
        return Err(Refusal::Method);
    }
    // SECURITY: an absolute-form target names a host; whom we call is not for the caller to say.
    if request.uri().authority().is_some() || !request.uri().path().starts_with('/') {
        return Err(Refusal::TargetForm);
    }
    let path = uri::normalize_path(request.uri().path())?;
    if let Some(page) = health::page(&path) {
        return Ok(Answer::Page(page?));
    }
    browser::check(method, request.headers(), &worker.shared.allowed_hosts)?;
    let mut target = path.into_owned();
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
        target.push('?');
        target.push_str(&uri::normalize_query(query));
    }

    let fields = headers::for_upstream(request.headers());
    if fields.get_all(header::CONTENT_TYPE).count() > 1 {
        return Err(Refusal::RepeatedContentType);
    }
    let (body, sha256) = take_in(worker, request, payload, record).await?;

    let mut attempt = 1;
    loop {
        // Signed last and for each attempt anew: a signature is good for five minutes from its own clock.
        let signed = sign(worker, method, &target, &fields, &sha256)?;
        let started = Instant::now();
        let outgoing = Request { method: method.clone(), target: &target, headers: signed, body: &body };
        match worker.client.send(outgoing).await {
            Ok(response) => {
                record.upstream = Some(started.elapsed());
                return Ok(Answer::Upstream(Box::new(response)));
            }
            Err(error) if may_retry(method, &error, attempt) => {
                debug!(request_id = record.request_id, error = causes::joined(&error), attempt, "trying again");
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads the body, if the request announces one, and returns it with its SHA-256 in hex.
async fn take_in(
    worker: &Worker,
    request: &HttpRequest,
    payload: web::Payload,
    record: &mut Record,
) -> Result<(Body, String), Refusal> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    if declared.is_none() && !chunked {
        // Nothing to read; what an `Upgrade` request would send later is no body either.
        return Ok((Body::None, EMPTY_SHA256.to_owned()));
    }
    let received = receive(payload, declared, &worker.intake).await?;
    record.received = received.len;
    Ok((received.body, hex(&received.sha256)))
}

/// The headers to send: the caller's, `Host`, the one that routes, and the signature over what must not change.
fn sign(
    worker: &Worker,
    method: &Method,
    target: &str,
    fields: &HeaderMap,
    sha256: &str,
) -> Result<HeaderMap, Refusal> {
    let mlflow = &worker.shared.target;
    let now = clock::now();
    let mut headers = fields.clone();
    headers.insert(header::HOST, worker.host_value.clone());
    headers.insert(HeaderName::from_static(mlflow.arn_header()), worker.arn_value.clone());
    let mut add = |name: HeaderName, value: &str| {
        headers.insert(name, HeaderValue::try_from(value).expect("dates, hashes, tokens and signatures are ASCII"));
    };
    worker.shared.credentials.with(now, |credentials| {
        let request = Signable {
            method: method.as_str(),
            target,
            host: &worker.authority,
            content_type: fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()),
            routing: Some((mlflow.arn_header(), mlflow.arn().as_str())),
            payload_sha256: sha256,
        };
        let signature = worker.signer.sign(&request, credentials, now);
        add(X_AMZ_DATE, &signature.date);
        add(X_AMZ_CONTENT_SHA256, sha256);
        add(header::AUTHORIZATION, &signature.authorization);
        if let Some(token) = credentials.session_token() {
            add(X_AMZ_SECURITY_TOKEN, token);
        }
    })?;
    Ok(headers)
}
