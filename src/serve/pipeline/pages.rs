//! The pages of the appliance itself, for which a request skips the remaining stages: health, for load balancers, and sign-in
//! and personal tokens, for people.

use actix_web::web;

use crate::http::uri;
use crate::serve::admin::health::{self, HealthPage};
use crate::serve::auth::redirect;
use crate::serve::auth::sign_in::{self, SignInRequest, SignInTarget};
use crate::serve::auth::sign_in_response::SignInResult;
use crate::serve::auth::sign_on;
use crate::serve::error::ProxyError;
use crate::serve::personal::{self, PersonalPage, PersonalRequest};
use crate::serve::pipeline::authenticate;
use crate::serve::pipeline::forwarded::Forwarded;
use crate::serve::pipeline::locate::Located;
use crate::serve::pipeline::parse::Incoming;
use crate::serve::pipeline::scope::RequestScope;

/// A page of the appliance itself.
pub(super) enum OwnPage {
    Health(HealthPage),
    /// One of the pages for signing in and out.
    SignIn,
    /// One of the pages of personal tokens.
    Personal(PersonalPage),
}

/// Finds the page that a request names, if it names one.
///
/// # Errors
/// [`ProxyError::NoSuchPage`].
pub(super) fn find(incoming: &Incoming<'_>) -> Result<Option<OwnPage>, ProxyError> {
    let rooted = uri::rooted(&incoming.path);
    let callers = &incoming.scope.worker.shared.callers;
    let is_sign_in = match rooted {
        redirect::LOGIN | sign_in::LOGOUT => callers.can_sign_in(),
        sign_on::START | sign_on::CALLBACK | sign_on::SIGNED_OUT => callers.issuers.sign_people_in(),
        _ => false,
    };
    if is_sign_in {
        return Ok(Some(OwnPage::SignIn));
    }
    if let Some(page) = PersonalPage::at(rooted)
        && incoming.scope.worker.shared.callers.personal.is_some()
    {
        return Ok(Some(OwnPage::Personal(page)));
    }
    Ok(health::page(rooted).transpose()?.map(OwnPage::Health))
}

/// Answers for a page.
///
/// # Errors
/// [`ProxyError`], but never for a page of health.
pub(super) async fn answer(
    page: OwnPage,
    scope: &RequestScope<'_>,
    located: Result<Located<'_>, ProxyError>,
    payload: web::Payload,
) -> Result<Forwarded, ProxyError> {
    let shared = &scope.worker.shared;
    match page {
        OwnPage::Health(page) => {
            scope.context.log.probed();
            // SECURITY: the probe of a load balancer need not use a host name of the appliance, but an unauthenticated
            // client must not learn the names of the targets.
            let render = if located.is_ok() { health::render } else { health::render_briefly };
            Ok(Forwarded::Own(render(&page, shared)))
        }
        OwnPage::SignIn => sign_in(&located?, payload).await,
        OwnPage::Personal(page) => personal(page, &located?, payload).await,
    }
}

async fn personal(page: PersonalPage, located: &Located<'_>, payload: web::Payload) -> Result<Forwarded, ProxyError> {
    let &RequestScope { worker, browser, context, .. } = located.scope;
    let (callers, served) = (&worker.shared.callers, worker.shared.served_targets.iter());
    let caller = authenticate::authenticate(located).await?.caller;
    let personal = PersonalRequest {
        store: callers.personal.as_ref().ok_or(ProxyError::NoSuchPage)?,
        browser,
        log: &context.log,
        caller,
        targets: served.map(|served| served.label()).collect(),
        body_limits: &worker.body_limits,
        body_owner: context.permits.body_owner(),
    };
    personal::answer(page, personal, payload).await.map(Forwarded::Own)
}

async fn sign_in(located: &Located<'_>, payload: web::Payload) -> Result<Forwarded, ProxyError> {
    let &RequestScope { worker, browser, context, .. } = located.scope;
    let (callers, client) = (&worker.shared.callers, context.log.client());
    context.permits.hold(callers.count_unauthenticated(client)?);
    let body_owner = context.permits.body_owner();
    let dialer = &worker.shared.served_targets[0].dialer;
    let served = worker.shared.served_targets.iter();
    let targets = served.map(|served| SignInTarget { name: served.label(), is_default: served.is_default }).collect();
    let sign_in =
        SignInRequest { callers, browser, targets, client, dialer, body_limits: &worker.body_limits, body_owner };
    let answer = sign_in::answer(sign_in, uri::rooted(&located.path), payload).await?;
    match answer.result {
        SignInResult::Shown => {}
        SignInResult::SignedIn(caller) => {
            authenticate::count(located.scope, caller)?;
        }
        SignInResult::Rejected(error) => context.log.rejected(error.error_code(), error.to_string()),
    }
    Ok(Forwarded::Own(answer.response))
}
