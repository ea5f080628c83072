//! Respond: makes the client's response out of the upstream's. The status, the bytes and their timing stay the same, and so do
//! all headers except those that `http::headers` lists.

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::client::Response;
use crate::http::{headers, into_response};
use crate::mlflow::download;
use crate::serve::artifacts::translate::Translation;
use crate::serve::auth::browser::BrowserRequest;
use crate::serve::context::RequestContext;
use crate::serve::pipeline::forwarded::Forwarded;
use crate::serve::pipeline::relocate;
use crate::serve::pipeline::response_body::ObservedBody;
use crate::serve::telemetry::finished::RequestOutcome;

/// Carries the id of the request on every response.
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-appliance-request-id");
/// Names the action to check after a 403 from AWS, whose own text does not name it.
const HINT_HEADER: HeaderName = HeaderName::from_static("x-appliance-hint");
/// AWS's request ids.
static UPSTREAM_REQUEST_ID: [HeaderName; 2] =
    [HeaderName::from_static("x-amzn-requestid"), HeaderName::from_static("x-amz-request-id")];

/// Responds with the result of forwarding a request.
pub(super) fn respond(browser: BrowserRequest<'_>, forwarded: Forwarded, context: RequestContext) -> HttpResponse {
    match forwarded {
        Forwarded::Mlflow { response, mut prefix, required_action, translation } => {
            if response.headers.contains_key(header::LOCATION)
                && let Some(stripped) = browser.prefix()
            {
                prefix.insert_str(0, stripped);
            }
            mlflow(response, &prefix, required_action, translation, context)
        }
        Forwarded::Object { response, name } => object(response, &name, context),
        Forwarded::Own(response) => own(response, context),
    }
}

/// Completes a response of the appliance itself.
pub(super) fn own(mut response: HttpResponse, context: RequestContext) -> HttpResponse {
    context.log.responded(response.status());
    context.log.ended(RequestOutcome::Complete);
    if let BodySize::Sized(length) = response.body().size() {
        context.log.sent(length);
    }
    if let Ok(value) = HeaderValue::try_from(context.log.request_id.as_str()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    // The response is complete, so the log is written now, and the permits are released.
    drop(context);
    response
}

/// Makes the client's response out of managed MLflow's.
fn mlflow(
    mut response: Box<Response>,
    prefix: &str,
    required_action: &str,
    translation: Option<Translation>,
    context: RequestContext,
) -> HttpResponse {
    let status = response.status;
    let mut fields = std::mem::take(&mut response.headers);
    headers::keep_for_caller(&mut fields);
    relocate::relocate(&mut fields, prefix);
    context.log.responded(status);
    let id = UPSTREAM_REQUEST_ID.iter().find_map(|name| fields.get(name));
    context.log.identified_by_aws(id.and_then(|value| value.to_str().ok()));
    if status == StatusCode::FORBIDDEN {
        let hint = format!("the appliance's identity needs `{required_action}` on the target");
        if let Ok(value) = HeaderValue::try_from(hint.as_str()) {
            fields.insert(HINT_HEADER, value);
        }
        context.log.alarming(Some(hint));
    }
    streamed(response, fields, translation, context)
}

/// Makes a response out of an object from S3, which the client saves under `name`.
fn object(mut response: Box<Response>, name: &str, context: RequestContext) -> HttpResponse {
    let mut fields = std::mem::take(&mut response.headers);
    headers::keep_of_object(&mut fields);
    context.log.responded(response.status);
    // SECURITY: an uploaded file must not run as a page of this origin.
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if let Ok(value) = HeaderValue::try_from(download::attachment(name)) {
        fields.insert(header::CONTENT_DISPOSITION, value);
    }
    let stored = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if response.status.is_success()
        && let Some(kind) = download::type_of_object(stored, name)
    {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    streamed(response, fields, None, context)
}

/// Streams the body of an upstream's response. The context of the request lives as long as the body.
fn streamed(
    response: Box<Response>,
    mut fields: HeaderMap,
    translation: Option<Translation>,
    context: RequestContext,
) -> HttpResponse {
    if let Ok(value) = HeaderValue::try_from(context.log.request_id.as_str()) {
        fields.insert(REQUEST_ID_HEADER, value);
    }
    let body = ObservedBody::new(response.body, translation, context);
    into_response(response.status, fields, response.announced, body)
}
