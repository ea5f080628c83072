//! The page on which a person confirms the token that `appliance login` asks for in a terminal.
//!
//! SECURITY: somebody else can send a person the address of their own request. So the page does not show the code: the person
//! has to type the one that their terminal shows. A person who has not started a login has none.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::access::login_request::{LoginRequest, is_code};
use crate::access::personal::{Person, Wanted};
use crate::clock;
use crate::serve::auth::form::Form;
use crate::serve::auth::personal_store::PersonalChange;
use crate::serve::error::ProxyError;
use crate::serve::personal::form;
use crate::serve::personal::personal_request::{MAKE, PersonalRequest};
use crate::serve::personal::view::{self, Notice};

const UNREADABLE: &str =
    "The address is incomplete or was changed. Run `appliance login` again, and open the new address.";
const OLD: &str = "This request is older than ten minutes. Run `appliance login` again. If it is new, compare the clocks of the \
                   two machines.";
const WRONG_CODE: &str = "This is not the code of this request. Type the code that your terminal shows. If you have not started \
                          `appliance login` yourself, close this page.";

/// Shows the page.
pub(super) fn show(personal: &PersonalRequest<'_>, person: &Person) -> HttpResponse {
    match read(personal.browser.request.uri().query().unwrap_or_default()) {
        Ok(login) => view::confirm(personal, person, &login, None),
        Err(notice) => view::list(personal, person, Some(notice)),
    }
}

/// Makes the token of the request, if the code is right.
///
/// # Errors
/// [`ProxyError`].
pub(super) async fn submit(
    personal: &PersonalRequest<'_>,
    person: &Person,
    form: &Form,
) -> Result<HttpResponse, ProxyError> {
    personal.log.classified(MAKE);
    let login = match read(&form.field("request")) {
        Ok(login) => login,
        Err(notice) => return Ok(view::list(personal, person, Some(notice))),
    };
    if !is_code(&form.field("code"), &login.code()) {
        let notice = Notice::bad(StatusCode::BAD_REQUEST, WRONG_CODE);
        return Ok(view::confirm(personal, person, &login, Some(&notice)));
    }
    let wanted = Wanted {
        id: login.id.clone(),
        hash: login.hash,
        label: login.label.clone(),
        role: login.role.unwrap_or(person.role),
        targets: login.targets.and(&person.targets),
        lifetime: Duration::from_secs(login.lifetime),
    };
    let notice = match form::change(personal, person, PersonalChange::Make(person.clone(), wanted)).await {
        Ok(_) => {
            form::made(personal, person, &login.id, &login.label);
            Notice::good(&format!("The token {} is ready. Return to your terminal: it uses it now.", login.label))
        }
        Err(notice) => notice,
    };
    Ok(view::list(personal, person, Some(notice)))
}

fn read(query: &str) -> Result<LoginRequest, Notice> {
    let login = LoginRequest::parse(query).ok_or_else(|| Notice::bad(StatusCode::BAD_REQUEST, UNREADABLE))?;
    if login.is_recent(clock::now()) { Ok(login) } else { Err(Notice::bad(StatusCode::BAD_REQUEST, OLD)) }
}
