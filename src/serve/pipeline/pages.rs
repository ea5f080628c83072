//! The pages of the appliance itself, at which a request leaves the road: health, for load balancers, and sign-in, for people.

use actix_web::web;

use crate::http::uri;
use crate::serve::admin::health::{self, Page};
use crate::serve::error::ProxyError;
use crate::serve::pipeline::forwarded::Forwarded;
use crate::serve::pipeline::limit;
use crate::serve::pipeline::locate::Located;
use crate::serve::pipeline::parse::Incoming;
use crate::serve::pipeline::scope::RequestScope;
use crate::serve::pipeline::sign_in;

/// A page of the appliance itself.
pub(super) enum OwnPage {
    Health(Page),
    /// One of the pages for signing in and out.
    SignIn,
}

/// Finds the page that a request names, if it names one.
///
/// # Errors
/// [`ProxyError::NoSuchPage`].
pub(super) fn find(incoming: &Incoming<'_>) -> Result<Option<OwnPage>, ProxyError> {
    let rooted = uri::rooted(&incoming.path);
    if matches!(rooted, sign_in::LOGIN | sign_in::LOGOUT) && incoming.scope.worker.shared.callers.has_tokens() {
        return Ok(Some(OwnPage::SignIn));
    }
    Ok(health::page(rooted).transpose()?.map(OwnPage::Health))
}

/// Answers for a page.
///
/// # Errors
/// [`ProxyError`], but never for a page of health.
pub(super) async fn answer(
    page: OwnPage,
    scope: RequestScope<'_>,
    located: Result<Located<'_>, ProxyError>,
    payload: web::Payload,
) -> Result<Forwarded, ProxyError> {
    let shared = &scope.worker.shared;
    match page {
        OwnPage::Health(page) => {
            scope.context.log.probed();
            // SECURITY: a balancer's probe need not know the appliance's name, and strangers need not learn the targets'.
            let render = if located.is_ok() { health::render } else { health::render_briefly };
            Ok(Forwarded::Own(render(&page, shared)))
        }
        OwnPage::SignIn => {
            let located = located?;
            limit::count_stranger(shared, scope.context)?;
            Ok(Forwarded::Own(sign_in::answer(&located, payload).await?))
        }
    }
}
