//! One request on its way through: check it, let its caller in, find its MLflow, take the body in, sign, send, pass the
//! answer back.
//!
//! Every request is one of these futures, made anew. So what few of them need is boxed: a future is as large as the
//! largest of its branches, and would be moved and kept that large for all.

pub(crate) mod authorize;
pub(crate) mod context;
pub(crate) mod redirect;
pub(crate) mod respond;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::LocalBoxFuture;

use crate::access::routes::RoutePath;
use crate::aws::sigv4::{EMPTY_SHA256, UNSIGNED_PAYLOAD, hex};
use crate::causes;
use crate::http::body::{Body, Passing, receive};
use crate::http::client::Response;
use crate::http::headers::{self, Summary};
use crate::http::uri;
use crate::mlflow::locations;
use crate::serve::admin::health::{self, HealthPage};
use crate::serve::artifacts::translate::{self, Translation};
use crate::serve::artifacts::{self, Exchange};
use crate::serve::auth::browser;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::sign_in;
use crate::serve::error::ProxyError;
use crate::serve::pipeline::context::{Outcome, RequestContext, Severity};
use crate::serve::pipeline::respond::Origin;
use crate::serve::server::connection;
use crate::serve::upstream::backend::{self, Destination};
use crate::serve::upstream::mlflow::MlflowClient;
use crate::serve::worker::Worker;

/// Answers any request.
///
/// Boxed here, since each layer of actix above moves what it is given into a box of its own.
pub(crate) fn handle(request: HttpRequest, payload: web::Payload) -> LocalBoxFuture<'static, HttpResponse> {
    Box::pin(answer(request, payload))
}

async fn answer(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let worker = Rc::clone(request.app_data::<Rc<Worker>>().expect("every worker has one"));
    let fields = Summary::of(request.headers());
    let (running, refusal) = connection::run(&request, &fields)
        .map_or_else(|_| (None, Some(ProxyError::AfterTheLast)), |running| (running, None));
    let refusal = refusal.or_else(|| fields.is_too_large().then_some(ProxyError::HeadTooLarge));
    let mut record = RequestContext::begin(&worker.shared.ledger, &worker.counters, &request, running);
    let answer = match refusal {
        Some(refusal) => Err(refusal),
        None => exchange(&worker, &request, &fields, payload, &mut record).await,
    };
    match answer {
        Ok(Answer::Upstream { response, upstream, mut prefix, translation }) => {
            if response.headers.contains_key(header::LOCATION)
                && let Some(stripped) = redirect::prefix(&request, &worker.shared.callers)
            {
                prefix.insert_str(0, stripped);
            }
            let origin = Origin { prefix: &prefix, required_action: upstream.backend.target.required_action() };
            respond::pass(*response, &origin, translation, record)
        }
        Ok(Answer::Object { response, name }) => respond::object(*response, &name, record),
        Ok(Answer::Own(response)) => finish(record, response),
        Ok(Answer::Page(page, is_stranger)) => {
            record.severity = Severity::Probe;
            let render = if is_stranger { health::render_briefly } else { health::render };
            finish(record, render(&page, &worker.shared))
        }
        Err(refusal) => {
            let excess = authorize::count_rejection(&worker, &record, refusal.status()).err();
            let refusal = excess.unwrap_or(refusal);
            record.is_denied =
                matches!(refusal, ProxyError::Access(_) | ProxyError::ForeignHost | ProxyError::ForeignOrigin);
            record.refusal = Some(refusal.kind());
            record.cause = Some(causes::joined(&refusal));
            if refusal.is_ours() {
                record.severity = Severity::Alarming;
            }
            let is_stranger = refusal.status() == StatusCode::UNAUTHORIZED
                && worker.shared.callers.has_tokens()
                && !matches!(refusal, ProxyError::Access(AccessError::Certificate));
            let sign_in = if is_stranger { sign_in::instead(&request) } else { None };
            let response = sign_in.unwrap_or_else(|| refusal.response(&record.request_id));
            finish(record, response)
        }
    }
}

enum Answer<'a> {
    Upstream {
        response: Box<Response>,
        upstream: &'a MlflowClient,
        prefix: String,
        translation: Option<Translation>,
    },
    Object {
        response: Box<Response>,
        name: String,
    },
    Own(HttpResponse),
    /// The flag says that a stranger asks for it.
    Page(HealthPage, bool),
}

/// Completes an answer of our own.
fn finish(mut record: RequestContext, mut response: HttpResponse) -> HttpResponse {
    record.answer_with(response.status());
    record.outcome = Outcome::Complete;
    if let BodySize::Sized(length) = response.body().size() {
        record.sent = length;
    }
    if let Ok(value) = HeaderValue::try_from(record.request_id.as_str()) {
        response.headers_mut().insert(respond::REQUEST_ID_HEADER, value);
    }
    response
}

async fn exchange<'a>(
    worker: &'a Worker,
    request: &HttpRequest,
    fields: &Summary,
    payload: web::Payload,
    record: &mut RequestContext,
) -> Result<Answer<'a>, ProxyError> {
    let method = request.method();
    // Known even of what is refused next, which counts against this address.
    let origin = worker.shared.callers.origin(request);
    if let Ok(client) = origin {
        record.client = client;
    }
    // SECURITY: TRACE would echo the signed headers, session token included; CONNECT would open a tunnel.
    if matches!(*method, Method::TRACE | Method::CONNECT) {
        return Err(ProxyError::Method);
    }
    // SECURITY: an absolute-form target names a host; whom we call is not for the caller to say.
    let is_absolute = request.version() < Version::HTTP_2 && request.uri().authority().is_some();
    if is_absolute || !request.uri().path().starts_with('/') {
        return Err(ProxyError::TargetForm);
    }
    if is_read_to_the_end(request, fields) && (*method != Method::GET || fields.has_length) {
        return Err(ProxyError::HandshakeWithBody);
    }
    let path = uri::normalize_path(request.uri().path())?;
    let rooted = uri::rooted(&path);
    let is_sign_in = matches!(rooted, sign_in::LOGIN | sign_in::LOGOUT) && worker.shared.callers.has_tokens();
    let hosts = (browser::host(request), browser::public_host(request, &worker.shared.callers));
    if !is_sign_in && let Some(page) = health::page(rooted) {
        let page = page?;
        // SECURITY: a balancer's probe need not go by our name, and strangers need not learn the names of the targets.
        let is_stranger =
            origin.is_err() || browser::check(method, request.headers(), hosts, &worker.shared.allowed_hosts).is_err();
        return Ok(Answer::Page(page, is_stranger));
    }
    origin?;
    browser::check(method, request.headers(), hosts, &worker.shared.allowed_hosts)?;
    if is_sign_in {
        authorize::count_stranger(worker, record)?;
        return Ok(Answer::Own(Box::pin(sign_in::answer(worker, request, rooted, payload, record)).await?));
    }
    authorize::identify(worker, request, record).await?;
    let query = uri::normalize_query(request.uri().query().unwrap_or_default());
    let allowed = record.caller.as_ref().map(|caller| &caller.targets).ok_or(AccessError::Nothing)?;
    match backend::route(&path, &worker.shared.backends, allowed)? {
        Destination::ServedTarget(index, prefix, inner) => {
            let upstream = &worker.upstreams[index];
            record.target.clone_from(&upstream.backend.name);
            record.backend = Some(index);
            let path = RoutePath::read(inner);
            authorize::admit(worker, method, &path, upstream.backend.label(), record)?;
            let way = Way { worker, upstream, prefix, path: &path, query: &query, fields };
            way.forward(request, payload, record).await
        }
        Destination::WithSlash(path) => {
            let target = redirect::relative(request.uri().path(), &uri::joined(&path, &query));
            let redirect = HttpResponse::PermanentRedirect().insert_header((header::LOCATION, target)).finish();
            Ok(Answer::Own(redirect))
        }
    }
}

/// Where a request goes whose caller has been let in.
struct Way<'a, 'b> {
    worker: &'a Worker,
    upstream: &'a MlflowClient,
    /// What of the path named the target.
    prefix: &'b str,
    /// The rest of it.
    path: &'b RoutePath<'b>,
    query: &'b str,
    /// The facts about its fields, which tell how the body is framed.
    fields: &'b Summary,
}

impl<'a> Way<'a, '_> {
    async fn forward(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        record: &mut RequestContext,
    ) -> Result<Answer<'a>, ProxyError> {
        let Self { worker, upstream, .. } = *self;
        let path = self.path.as_str();
        let method = request.method();
        let shared = upstream.store()?;
        let locations = shared.map(|_| locations::of(path)).unwrap_or_default();
        let query =
            shared.map_or(Cow::Borrowed(self.query), |store| translate::of_query(self.query, locations.request, store));
        let target = uri::joined(self.path.sent(), &query);
        let may_be_elsewhere = upstream.backend.artifacts.as_ref().is_some_and(|artifacts| artifacts.may_be_elsewhere);
        let own = match (shared, &upstream.backend.on_behalf, &record.caller) {
            (Some(store), Some(_), Some(caller)) => {
                let credentials = upstream.backend.credentials_for(Some(caller)).await?;
                Some(Rc::new(store.signing_for(&caller.name, credentials)))
            }
            _ => None,
        };
        let own = match (own.as_ref().or(shared), &record.trace) {
            (Some(store), Some(trace)) => Some(Rc::new(store.traced(Rc::clone(trace)))),
            _ => own,
        };
        let store = own.as_ref().or(shared);
        let payload = match (store, store.map_or(Ok(None), |_| artifacts::route(method, path))?) {
            (Some(store), Some(route)) => {
                let intake = &worker.intake;
                let (prefix, target, record) = (self.prefix, &*target, &mut *record);
                let mut exchange =
                    Exchange { upstream, store, intake, request, prefix, target, record, may_be_elsewhere };
                exchange.share().await?;
                match Box::pin(artifacts::answer(route, exchange, payload)).await? {
                    artifacts::Answer::Own(response) => return Ok(Answer::Own(response)),
                    artifacts::Answer::Object { response, name } => {
                        // The target has answered, so its connection is free.
                        record.share = None;
                        return Ok(Answer::Object { response: Box::new(response), name });
                    }
                    artifacts::Answer::Upstream(response) => return Ok(self.answer(response, None)),
                    artifacts::Answer::Elsewhere(payload) => {
                        record.store_share = None;
                        payload
                    }
                }
            }
            _ => payload,
        };

        let is_graphql = store.is_some() && locations::is_graphql(path);
        let mut fields = headers::for_upstream(request.headers());
        if fields.iter().filter(|(name, _)| *name == header::CONTENT_TYPE).count() > 1 {
            return Err(ProxyError::RepeatedContentType);
        }
        if is_graphql || !locations.response.is_empty() {
            headers::ask_for_identity(&mut fields);
        }
        upstream.load.check()?;
        upstream.shares.check(record.party())?;
        let depends_on_body = authorize::depends_on_body(worker, path, record.caller.as_ref());
        let passes = worker.api_intake.passes(self.fields.length);
        let (body, sha256) = match store {
            Some(store) if !locations.request.is_empty() => {
                let (headers, places) = (request.headers(), locations.request);
                let (payload, objection) = translate::of_request(payload, headers, places, store, may_be_elsewhere);
                let taken = Box::pin(take_in(worker, request, self.fields, payload, record)).await?;
                if let Some(refusal) = Rc::into_inner(objection).and_then(OnceCell::into_inner) {
                    return Err(refusal);
                }
                taken
            }
            _ if !depends_on_body && let Some(length) = passes => {
                let body = Passing::begin(payload, length, &worker.api_intake, &record.account())?;
                (Body::Passing(body), UNSIGNED_PAYLOAD.to_owned())
            }
            _ => take_in(worker, request, self.fields, payload, record).await?,
        };
        if depends_on_body {
            authorize::admit_body(worker, &body, self.query, record).await?;
        }
        let places = if is_graphql {
            locations::of_graphql(body.bytes().filter(|_| query.is_empty()).map(|bytes| &**bytes))
        } else {
            locations.response.into()
        };
        let response = upstream.send(method, &target, fields, (&body, &sha256), record).await;
        if let Body::Passing(passing) = &body {
            record.received = passing.passed();
        }
        let response = response?;
        let translation = store.and_then(|store| translate::of_response(&response.headers, places, store));
        Ok(self.answer(response, translation))
    }

    fn answer(&self, response: Response, translation: Option<Translation>) -> Answer<'a> {
        let (response, prefix) = (Box::new(response), self.prefix.to_owned());
        Answer::Upstream { response, upstream: self.upstream, prefix, translation }
    }
}

/// True for a WebSocket handshake.
///
/// SECURITY: the listener takes everything that follows such a head for its body, whatever `Content-Length` says. A
/// balancer in front believes `Content-Length`, and what it sends next on the connection is somebody else's request.
fn is_read_to_the_end(request: &HttpRequest, fields: &Summary) -> bool {
    let is_websocket =
        |value: &HeaderValue| value.to_str().is_ok_and(|value| value.trim().eq_ignore_ascii_case("websocket"));
    !fields.is_chunked && fields.has_upgrade && request.headers().get_all(header::UPGRADE).any(is_websocket)
}

/// Reads the body, if the request announces one, and returns it with its SHA-256 in hex.
async fn take_in<S>(
    worker: &Worker,
    request: &HttpRequest,
    fields: &Summary,
    payload: S,
    record: &mut RequestContext,
) -> Result<(Body, String), ProxyError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let (declared, is_chunked) = (fields.length, fields.is_chunked);
    // HTTP/2 needs neither to have a body.
    let may_have_body = declared.is_some() || is_chunked || request.version() == Version::HTTP_2;
    if !may_have_body {
        // Nothing to read; what an `Upgrade` request would send later is no body either.
        return Ok((Body::None, EMPTY_SHA256.to_owned()));
    }
    let began = Instant::now();
    let received = receive(payload, declared, &worker.api_intake, &record.account()).await?;
    record.intake = began.elapsed();
    if received.len == 0 && declared.is_none() && !is_chunked {
        return Ok((Body::None, EMPTY_SHA256.to_owned()));
    }
    record.received = received.len;
    Ok((received.body, hex(&received.sha256)))
}
