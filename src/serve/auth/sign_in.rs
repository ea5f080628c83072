//! The pages on which a person with a browser exchanges a token for a session, and ends that session.
//!
//! The token is sent in the body of a form, never in a URL, and is not stored. A link to a page of MLflow leads there after
//! signing in: path and query travel in the form, the fragment with the browser.

use std::net::IpAddr;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, web};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};

use crate::access::caller::{AuthMethod, Caller};
use crate::access::token;
use crate::clock;
use crate::http::body::{BodyLimits, BodyOwner};
use crate::http::client::Dialer;
use crate::serve::auth::browser::BrowserRequest;
use crate::serve::auth::callers::Callers;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::form::Form;
use crate::serve::auth::redirect::{self, LOGIN};
use crate::serve::auth::session_cookie;
use crate::serve::auth::sign_in_page::SignInPage;
use crate::serve::auth::sign_in_response::{SignInError, SignInResponse, SignInResult};
use crate::serve::auth::sign_on::{self, SignOnRequest};
use crate::serve::auth::visitor::Visitor;
use crate::serve::page::PageLink;

/// The path that ends a session.
pub(crate) const LOGOUT: &str = "/_appliance/logout";
/// The query of the sign-in page after signing out.
const AFTER_SIGN_OUT: &str = "signed-out";

/// A target that a person could open.
pub(crate) struct SignInTarget<'a> {
    pub name: &'a str,
    /// If this is true, the target is at `/`.
    pub is_default: bool,
}

/// A request for one of the pages, and what it takes to serve it.
pub(crate) struct SignInRequest<'a> {
    pub callers: &'a Callers,
    pub browser: BrowserRequest<'a>,
    pub targets: Vec<SignInTarget<'a>>,
    /// The address that failed attempts count against.
    pub client: Option<IpAddr>,
    /// Connects to identity providers.
    pub dialer: &'a Dialer,
    pub body_limits: &'a BodyLimits,
    /// The caller and the address that the memory of the form counts against.
    pub body_owner: BodyOwner,
}

/// Answers a request for the page at this path.
///
/// # Errors
/// [`SignInError`].
pub(crate) async fn answer(
    sign_in: SignInRequest<'_>,
    path: &str,
    payload: web::Payload,
) -> Result<SignInResponse, SignInError> {
    let (callers, browser, request) = (sign_in.callers, sign_in.browser, sign_in.browser.request);
    let response = match (path, request.method()) {
        (LOGIN, &(Method::GET | Method::HEAD)) => {
            // A person need not type a token before the appliance can begin a session.
            callers.sessions.get().map_err(AccessError::from)?;
            let query = request.uri().query().unwrap_or_default();
            let next = percent_decode_str(query.strip_prefix("next=").unwrap_or_default()).decode_utf8_lossy();
            let visitor = match Visitor::of(browser, callers, clock::now())? {
                Visitor::Unauthenticated if query == AFTER_SIGN_OUT => Visitor::SignedOut,
                visitor => visitor,
            };
            match sign_in.only_way(&visitor, &next) {
                Some(way) => sign_on::provider_page(&way),
                None => sign_in.page(StatusCode::OK, &visitor, &next, None),
            }
        }
        (LOGIN, &Method::POST) => return submit(sign_in, payload).await,
        (LOGOUT, &Method::POST) => {
            if !browser.is_from_own_page() {
                return Err(AccessError::Unproven.into());
            }
            let out = format!("{LOGIN}?{AFTER_SIGN_OUT}");
            let mut response = sign_on::sign_out(&sign_in.sign_on()).unwrap_or_else(|| browser.see_other(&out));
            session_cookie::end(&mut response, browser);
            response
        }
        // A page shown here would send its form here, which would sign out.
        (LOGOUT, &(Method::GET | Method::HEAD)) => browser.see_other(LOGIN),
        (sign_on::SIGNED_OUT, &(Method::GET | Method::HEAD)) => browser.see_other(&format!("{LOGIN}?{AFTER_SIGN_OUT}")),
        (sign_on::START | sign_on::CALLBACK, _) => return sign_on::answer(sign_in.sign_on(), path).await,
        _ => return Err(SignInError::Method),
    };
    Ok(SignInResponse { response, result: SignInResult::Shown })
}

/// Begins a session for the token in the form.
async fn submit(sign_in: SignInRequest<'_>, payload: web::Payload) -> Result<SignInResponse, SignInError> {
    let (callers, browser) = (sign_in.callers, sign_in.browser);
    if !callers.tokens.is_configured() {
        return Err(SignInError::NoSuchPage);
    }
    // SECURITY: otherwise another site could sign a visitor in under another name, and read what the visitor then logs.
    if !browser.is_from_own_page() {
        return Err(AccessError::Unproven.into());
    }
    let sessions = callers.sessions.get().map_err(AccessError::from)?;
    let form = Form::receive(payload, sign_in.body_limits, &sign_in.body_owner).await?.ok_or(SignInError::Memory)?;
    let (given, next) = (SecretString::from(form.field("token")), form.field("next"));
    let now = clock::now();
    let token = given.expose_secret().trim();
    let caller = match callers.tokens.holder(token, now) {
        Ok(caller) => Caller { auth_method: AuthMethod::Session, ..caller },
        Err(error) => {
            callers.count_rejection(None, sign_in.client, error.status())?;
            let response = sign_in.page(error.status(), &Visitor::Unauthenticated, &next, Some(&error.message()));
            return Ok(SignInResponse { response, result: SignInResult::Rejected(error) });
        }
    };
    let session = sessions.begin(token::id(token).unwrap_or_default(), now);
    let mut response = browser.see_other(redirect::own_path(&next));
    session_cookie::begin(&mut response, browser, (&session, sessions.lifetime));
    Ok(SignInResponse { response, result: SignInResult::SignedIn(caller) })
}

impl SignInRequest<'_> {
    fn sign_on(&self) -> SignOnRequest<'_> {
        let Self { callers, browser, dialer, .. } = *self;
        SignOnRequest { callers, browser, dialer }
    }

    /// Returns the only way to sign in, if a visitor who has just asked for a page has no choice.
    fn only_way(&self, visitor: &Visitor, next: &str) -> Option<PageLink> {
        let is_waiting = matches!(visitor, Visitor::Unauthenticated | Visitor::Expired);
        let mut ways = sign_on::ways(self.callers, self.browser, next);
        (is_waiting && !self.callers.tokens.is_configured() && ways.len() == 1).then(|| ways.remove(0))
    }

    /// Makes the sign-in page for a visitor.
    fn page(&self, status: StatusCode, visitor: &Visitor, next: &str, problem: Option<&str>) -> HttpResponse {
        let callers = self.callers;
        let pages = match visitor {
            Visitor::SignedIn { caller, .. } => self.pages(caller, next),
            _ => Vec::new(),
        };
        let ways = sign_on::ways(callers, self.browser, next);
        let page = SignInPage {
            host: self.browser.addressed_host(),
            next,
            visitor,
            problem,
            accepts_tokens: callers.tokens.is_configured(),
            ways: &ways,
            pages: &pages,
            help: callers.sign_in_help.as_deref(),
        };
        page.response(status)
    }

    /// Returns the pages that a caller can open, and first the one that was requested before signing in.
    fn pages(&self, caller: &Caller, next: &str) -> Vec<PageLink> {
        let link = |label: String, path: &str| PageLink { label, address: self.browser.path_to(path) };
        let next = Some(redirect::own_path(next)).filter(|next| *next != "/");
        let open = |target: &SignInTarget<'_>| {
            let label = if self.targets.len() > 1 { format!("Open {}", target.name) } else { "Open MLflow".to_owned() };
            let path = if target.is_default { "/".to_owned() } else { format!("/t/{}/", target.name) };
            link(label, &path)
        };
        let allowed = self.targets.iter().filter(|target| caller.targets.contains(target.name));
        let personal = self.callers.personal.is_some().then(|| link("Personal tokens".to_owned(), redirect::PERSONAL));
        let next = next.map(|next| link("Open the requested page".to_owned(), next));
        next.into_iter().chain(allowed.map(open)).chain(personal).collect()
    }
}
