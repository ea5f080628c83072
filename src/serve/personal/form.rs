//! The form in which a person makes and revokes tokens.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use ring::rand::SystemRandom;
use tracing::info;

use crate::access::caller::Targets;
use crate::access::personal::{Person, Wanted};
use crate::access::token;
use crate::serve::auth::form::Form;
use crate::serve::auth::personal_store::{ChangeError, PersonalChange};
use crate::serve::error::ProxyError;
use crate::serve::personal::personal_request::{MAKE, PersonalRequest, REVOKE};
use crate::serve::personal::view::{self, Notice};

/// Makes or revokes what the form says, and shows the list.
///
/// # Errors
/// [`ProxyError`].
pub(super) async fn submit(
    personal: &PersonalRequest<'_>,
    person: &Person,
    form: &Form,
) -> Result<HttpResponse, ProxyError> {
    let notice = match form.field("action").as_str() {
        "make" => make(personal, person, form).await,
        "revoke" => revoke(personal, person, PersonalChange::Revoke(person.clone(), form.field("id"))).await,
        "revoke-all" => revoke(personal, person, PersonalChange::RevokeAll(person.clone())).await,
        _ => Notice::bad(StatusCode::BAD_REQUEST, "The form is incomplete. Nothing has changed."),
    };
    Ok(view::list(personal, person, Some(notice)))
}

async fn make(personal: &PersonalRequest<'_>, person: &Person, form: &Form) -> Notice {
    personal.log.classified(MAKE);
    let names: Vec<String> = form.fields("target").collect();
    let lifetime = humantime::parse_duration(&form.field("lifetime")).unwrap_or_default();
    // The list of targets is only there if the person may use several.
    let targets = if names.is_empty() { person.targets.clone() } else { Targets::Named(names) };
    let (Ok(role), Ok(new)) = (form.field("role").parse(), token::generate(&SystemRandom::new())) else {
        return Notice::bad(StatusCode::BAD_REQUEST, "The form is incomplete. No token was made.");
    };
    let label = form.field("name").trim().to_owned();
    let wanted = Wanted { id: new.id.clone(), hash: new.hash, label: label.clone(), role, targets, lifetime };
    match change(personal, person, PersonalChange::Make(person.clone(), wanted)).await {
        Ok(_) => {
            made(personal, person, &new.id, &label);
            Notice::made(&label, &new)
        }
        Err(notice) => notice,
    }
}

async fn revoke(personal: &PersonalRequest<'_>, person: &Person, revocation: PersonalChange) -> Notice {
    personal.log.classified(REVOKE);
    if let PersonalChange::Revoke(_, id) = &revocation {
        personal.log.concerns(id);
    }
    match change(personal, person, revocation).await {
        Ok(0) => Notice::bad(StatusCode::NOT_FOUND, "There is no such token any more."),
        Ok(count) => {
            info!(owner = person.name, means = person.owner.as_str(), count, "personal tokens were revoked");
            Notice::good(&format!("{count} token{} revoked.", if count == 1 { " was" } else { "s were" }))
        }
        Err(notice) => notice,
    }
}

/// Notes in the logs that a token was made.
pub(super) fn made(personal: &PersonalRequest<'_>, person: &Person, id: &str, label: &str) {
    personal.log.concerns(id);
    info!(owner = person.name, means = person.owner.as_str(), id, label, "a personal token was created");
}

/// Makes a change, or says why that is not possible.
pub(super) async fn change(
    personal: &PersonalRequest<'_>,
    person: &Person,
    change: PersonalChange,
) -> Result<usize, Notice> {
    debug_assert_eq!(person.name, personal.caller.name, "a person changes their own tokens");
    if let PersonalChange::Make(_, Wanted { targets: Targets::Named(names), .. }) = &change
        && let Some(name) = names.iter().find(|name| !personal.targets.contains(&name.as_str()))
    {
        return Err(Notice::bad(StatusCode::BAD_REQUEST, &format!("There is no target of the name {name}.")));
    }
    personal.store.change(change).await.map_err(|error| match error {
        ChangeError::NotMade(why) => Notice::bad(StatusCode::BAD_REQUEST, &why.to_string()),
        error => Notice::bad(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!(
                "The appliance cannot change the personal tokens: {error}. Look at the list again in a minute; if this does \
                 not help, tell the operator of the appliance."
            ),
        ),
    })
}
