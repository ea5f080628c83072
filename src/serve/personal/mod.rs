//! The pages of personal tokens: a person makes, sees and revokes their own tokens, and confirms those that a terminal asks
//! for. A token itself can ask who it is, and revoke itself.

mod confirm;
mod form;
mod own;
mod personal_request;
mod view;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};

use crate::access::personal::Person;
use crate::serve::auth::error::AccessError;
use crate::serve::auth::form::Form;
use crate::serve::auth::redirect;
use crate::serve::error::ProxyError;
use personal_request::LIST;
pub(crate) use personal_request::PersonalRequest;

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PersonalPage {
    /// The list of a person's tokens.
    List,
    /// The confirmation of a terminal's request.
    Confirm,
    /// The token that the request presents.
    Itself,
}

impl PersonalPage {
    /// Finds the page at this path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path.strip_prefix(redirect::PERSONAL)? {
            "" => Some(Self::List),
            "/confirm" => Some(Self::Confirm),
            "/self" => Some(Self::Itself),
            _ => None,
        }
    }
}

/// Answers a request for one of the pages.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(
    page: PersonalPage,
    personal: PersonalRequest<'_>,
    payload: web::Payload,
) -> Result<HttpResponse, ProxyError> {
    if page == PersonalPage::Itself {
        return own::answer(&personal).await;
    }
    let person = Person::of(personal.caller).ok_or(AccessError::NotAPerson)?;
    match *personal.browser.request.method() {
        Method::GET | Method::HEAD => {
            personal.log.classified(LIST);
            match page {
                PersonalPage::Confirm => Ok(confirm::show(&personal, &person)),
                _ => Ok(view::list(&personal, &person, None)),
            }
        }
        Method::POST => {
            // SECURITY: browsers attach certificates and the cookies of load balancers to the requests of other sites, too.
            if !personal.browser.is_from_own_page() {
                return Err(AccessError::Unproven.into());
            }
            let form = Form::receive(payload, personal.body_limits, &personal.body_owner)
                .await?
                .ok_or(ProxyError::MemoryOverBudget)?;
            match page {
                PersonalPage::Confirm => confirm::submit(&personal, &person, &form).await,
                _ => form::submit(&personal, &person, &form).await,
            }
        }
        _ => Err(ProxyError::Method),
    }
}
