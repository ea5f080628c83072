//! The look of the pages of personal tokens.

use std::time::{Duration, SystemTime};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::access::caller::{Role, Targets};
use crate::access::login_request::LoginRequest;
use crate::access::personal::{Person, spoken};
use crate::access::token::NewToken;
use crate::access::tokens::TokenEntry;
use crate::clock;
use crate::serve::auth::redirect;
use crate::serve::page::Page;
use crate::serve::page::template::{Markup, Place, fill};
use crate::serve::personal::personal_request::PersonalRequest;

const DAY: Duration = Duration::from_hours(24);
/// The lifetimes to choose from, in days, if the operator allows them.
const LIFETIMES: [u32; 5] = [1, 7, 30, 90, 365];
/// The lifetime that is chosen at first, in days.
const USUAL: u32 = 30;

/// The result of what a person has just done, above the list.
pub(super) struct Notice {
    status: StatusCode,
    content: Markup,
    script: Option<&'static str>,
}

impl Default for Notice {
    /// A page without a notice.
    fn default() -> Self {
        Self { status: StatusCode::OK, content: Markup::default(), script: None }
    }
}

impl Notice {
    /// Says that it worked.
    pub(super) fn good(text: &str) -> Self {
        let template = "<p class=\"notice\" role=\"status\">{{text}}</p>";
        Self { status: StatusCode::OK, content: fill(template, &[("text", Place::Text(text))]), script: None }
    }

    /// Says why it did not work.
    pub(super) fn bad(status: StatusCode, text: &str) -> Self {
        let template = "<p class=\"notice bad\" role=\"alert\">{{text}}</p>";
        Self { status, content: fill(template, &[("text", Place::Text(text))]), script: None }
    }

    /// Shows a new token, for the only time.
    pub(super) fn made(label: &str, token: &NewToken) -> Self {
        let text = token.to_string();
        let places = [("label", Place::Text(label)), ("token", Place::Text(&text))];
        let content = fill(include_str!("made.html"), &places);
        Self { status: StatusCode::OK, content, script: Some(include_str!("made.js")) }
    }
}

/// Shows the person's tokens, and the form for a new one.
pub(super) fn list(personal: &PersonalRequest<'_>, person: &Person, notice: Option<Notice>) -> HttpResponse {
    let now = clock::now();
    let tokens = personal.store.tokens();
    let (action, home) = (personal.browser.path_to(redirect::PERSONAL), personal.browser.path_to("/"));
    let mut entries: Vec<&TokenEntry> = tokens.iter().flat_map(|tokens| person.own(tokens)).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.created));
    let list: Markup = entries.iter().map(|entry| row(entry, &action, now)).collect();
    let list = match entries.len() {
        0 if tokens.is_none() => fill("<p>The tokens have not been read yet. Try again shortly.</p>", &[]),
        0 => fill("<p>You have no tokens.</p>", &[]),
        1 => list,
        _ => [list, fill(include_str!("revoke_all.html"), &[("action", Place::Text(&action))])].into_iter().collect(),
    };
    let Notice { status, content: notice, script } = notice.unwrap_or_default();
    let content = fill(
        include_str!("list.html"),
        &[
            ("person", Place::Text(&person.name)),
            ("role", Place::Text(person.role.as_str())),
            ("notice", Place::Markup(&notice)),
            ("list", Place::Markup(&list)),
            ("action", Place::Text(&action)),
            ("roles", Place::Markup(&roles(person))),
            ("targets", Place::Markup(&choices(personal, person))),
            ("lifetimes", Place::Markup(&lifetimes(personal.store.lifetime))),
            ("home", Place::Text(&home)),
        ],
    );
    Page { title: "Personal tokens", content, script }.response(status)
}

/// Asks the person to confirm the request of a terminal.
pub(super) fn confirm(
    personal: &PersonalRequest<'_>,
    person: &Person,
    login: &LoginRequest,
    notice: Option<&Notice>,
) -> HttpResponse {
    let host = personal.browser.addressed_host();
    let lifetime = spoken(Duration::from_secs(login.lifetime));
    let role = login.role.unwrap_or(person.role);
    let content = fill(
        include_str!("confirm.html"),
        &[
            ("person", Place::Text(&person.name)),
            ("host", Place::Text(host.unwrap_or("this address"))),
            ("notice", Place::Markup(&notice.map(|notice| notice.content.clone()).unwrap_or_default())),
            ("label", Place::Text(&login.label)),
            ("role", Place::Text(role.as_str())),
            ("targets", Place::Text(&names(&login.targets.and(&person.targets)))),
            ("lifetime", Place::Text(&lifetime)),
            ("request", Place::Text(&login.query())),
            ("list", Place::Text(&personal.browser.path_to(redirect::PERSONAL))),
        ],
    );
    let status = notice.map_or(StatusCode::OK, |notice| notice.status);
    Page { title: "Confirm a login", content, script: None }.response(status)
}

fn row(entry: &TokenEntry, action: &str, now: SystemTime) -> Markup {
    let date = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned();
    let expires = match entry.expires {
        None => "never".to_owned(),
        Some(end) if end <= now => format!("{} (expired)", date(end)),
        Some(end) => date(end),
    };
    let label = entry.personal.as_ref().map_or("", |personal| personal.label.as_str());
    let used = entry.personal.as_ref().and_then(|personal| personal.used.day());
    fill(
        include_str!("row.html"),
        &[
            ("label", Place::Text(label)),
            ("role", Place::Text(entry.role.as_str())),
            ("targets", Place::Text(&names(&entry.targets))),
            ("created", Place::Text(&date(entry.created))),
            ("expires", Place::Text(&expires)),
            ("used", Place::Text(&used.map_or("never".to_owned(), |day| day.to_string()))),
            ("id", Place::Text(&entry.id)),
            ("action", Place::Text(action)),
        ],
    )
}

fn names(targets: &Targets) -> String {
    match targets {
        Targets::All => "all".to_owned(),
        Targets::Named(names) => names.join(", "),
    }
}

/// The roles that the person may give; the lowest comes first.
fn roles(person: &Person) -> Markup {
    let allowed = [Role::Read, Role::Write, Role::Admin].into_iter().filter(|role| *role <= person.role);
    allowed.map(|role| fill("<option>{{role}}</option>", &[("role", Place::Text(role.as_str()))])).collect()
}

/// The targets that the person may choose from; nothing if there is no choice.
fn choices(personal: &PersonalRequest<'_>, person: &Person) -> Markup {
    let allowed: Vec<&str> = personal.targets.iter().copied().filter(|name| person.targets.contains(name)).collect();
    if allowed.len() < 2 {
        return Markup::default();
    }
    let template =
        "<label class=\"check\"><input type=\"checkbox\" name=\"target\" value=\"{{name}}\"> {{name}}</label>";
    let boxes = allowed.into_iter().map(|name| fill(template, &[("name", Place::Text(name))])).collect();
    let template = "<fieldset><legend>Targets (none means all)</legend>{{boxes}}</fieldset>";
    fill(template, &[("boxes", Place::Markup(&boxes))])
}

/// The lifetimes to choose from; the longest comes first.
fn lifetimes(limit: Duration) -> Markup {
    let mut all: Vec<Duration> = LIFETIMES.into_iter().map(|days| DAY * days).filter(|time| *time < limit).collect();
    all.push(limit);
    let option = |time| {
        let template = if time == DAY * USUAL {
            "<option value=\"{{value}}\" selected>{{shown}}</option>"
        } else {
            "<option value=\"{{value}}\">{{shown}}</option>"
        };
        let value = humantime::format_duration(time).to_string();
        let places = [("value", Place::Text(&value)), ("shown", Place::Text(&spoken(time)))];
        fill(template, &places)
    };
    all.into_iter().rev().map(option).collect()
}
