//! The stages of one request: parse, locate, authenticate, route, authorize, buffer or stream, forward, respond.
//!
//! Each stage has a file of its name, and takes what the stage before it returns, so that no stage can be left out and no
//! two can change places. `gateway` chooses between managed MLflow and S3. A request skips the remaining stages in three
//! cases: it is for a page of the appliance itself, its path lacks the slash after the target's name, or it asks about the
//! caller's account. `reject` turns the error of any stage into a response.
//!
//! Each request is one new future. A future is as large as the largest of its branches, and every request would move and
//! keep that much, so the parts that few requests need are boxed.

mod account;
mod authenticate;
mod authorize;
mod body;
mod forward;
mod forwarded;
mod gateway;
mod locate;
mod pages;
mod parse;
mod reject;
mod relocate;
mod respond;
mod response_body;
mod route;
mod scope;

use std::ops::ControlFlow;
use std::rc::Rc;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::{FromRequest as _, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use crate::http::headers::HeaderSummary;
use crate::serve::auth::browser::{self, BrowserRequest};
use crate::serve::context::RequestContext;
use crate::serve::error::ProxyError;
use crate::serve::server::connection;
use crate::serve::state::WorkerState;
use crate::serve::telemetry::access_log::AccessLog;
use crate::serve::telemetry::spans::Trace;
use forwarded::Forwarded;
use route::RouteResult;
use scope::RequestScope;

/// Answers any request.
///
/// Boxed here, since each layer of actix above moves what it is given into a box of its own.
pub(crate) fn handle(request: ServiceRequest) -> LocalBoxFuture<'static, Result<ServiceResponse, actix_web::Error>> {
    let (request, mut payload) = request.into_parts();
    let payload = web::Payload::from_request(&request, &mut payload).into_inner();
    Box::pin(answer(request, payload.expect("a payload is only taken")))
}

async fn answer(request: HttpRequest, payload: web::Payload) -> Result<ServiceResponse, actix_web::Error> {
    let worker = Rc::clone(request.app_data::<Rc<WorkerState>>().expect("every worker has a state"));
    let header_summary = HeaderSummary::of(request.headers());
    let (running, is_beyond_end) = match connection::begin_request(&request) {
        Ok(running) => (running, false),
        Err(connection::AfterTheLast) => (None, true),
    };
    let context = RequestContext::new(begin_log(&worker, &request), running);
    let shared = &worker.shared;
    let (proxies, has_tls) = (&shared.callers.trusted_proxies, shared.tls.is_some());
    let browser = BrowserRequest { request: &request, proxies, has_tls };
    let scope = RequestScope {
        worker: &worker,
        request: &request,
        browser,
        header_summary: &header_summary,
        context: &context,
    };
    let result = if is_beyond_end { Err(ProxyError::AfterTheLast) } else { travel(&scope, payload).await };
    let response = match result {
        Ok(forwarded) => respond::respond(browser, forwarded, context),
        Err(error) => reject::reject(&shared.callers, browser, error, context),
    };
    Ok(ServiceResponse::new(request, response))
}

fn begin_log(worker: &WorkerState, request: &HttpRequest) -> AccessLog {
    let reports = &worker.shared.reports;
    let begin = |spans| Trace::begin(spans, request, browser::host(request), connection::is_secure(request));
    AccessLog::begin(reports, &worker.counters, request, reports.spans.as_ref().and_then(begin))
}

/// Takes a request through all stages.
async fn travel(scope: &RequestScope<'_>, mut payload: web::Payload) -> Result<Forwarded, ProxyError> {
    // In a block: a future keeps room for what was borrowed, until its scope ends.
    let (page, located) = {
        let incoming = parse::parse(scope)?;
        (pages::find(&incoming)?, locate::locate(incoming))
    };
    if let Some(page) = page {
        // A request for a page of the appliance itself skips the remaining stages.
        return Box::pin(pages::answer(page, scope, located, payload)).await;
    }
    let located = located?;
    let authenticated = authenticate::authenticate(&located).await?;
    let routed = match route::route(&authenticated)? {
        RouteResult::Target(routed) => routed,
        RouteResult::Redirect(response) => return Ok(Forwarded::Own(response)),
    };
    let authorized = authorize::authorize(routed)?;
    if let Some(response) = account::answer(&authorized) {
        return Ok(Forwarded::Own(response));
    }
    let store = gateway::store(&authorized).await?;
    let prepared = gateway::prepare(authorized, store);
    if let Some(artifact) = gateway::artifact_route(&prepared)? {
        match Box::pin(gateway::answer_from_s3(&prepared, artifact, payload)).await? {
            ControlFlow::Break(forwarded) => return Ok(forwarded),
            ControlFlow::Continue(rest) => payload = rest,
        }
    }
    let ready = body::buffer_or_stream(&prepared, payload).await?;
    forward::forward(ready).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function of two arguments returns. Bytes.
    fn size_of_result<A, B, T>(_: impl Fn(A, B) -> T) -> usize {
        size_of::<T>()
    }

    #[test]
    fn the_future_of_a_request_fits_into_a_block_of_the_allocator() {
        // mimalloc has blocks of 3,584 bytes, and those behind it have 4,096 and 5,120. To align a block, it asks for 7 more.
        let size = size_of_result(answer);
        assert!(size <= 3584 - 7, "each request that runs holds {size} bytes, and each is copied once");
    }
}
