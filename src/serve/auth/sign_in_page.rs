//! The sign-in page: it says which MLflow it is for and who is signed in, and offers every way to sign in.

use std::time::SystemTime;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::access::caller::{Role, is_target_name};
use crate::serve::auth::redirect;
use crate::serve::auth::visitor::Visitor;
use crate::serve::page::template::{Markup, Place, fill, markup};
use crate::serve::page::{Page, PageLink, buttons, class};

/// The operator's help text may be this long. Characters.
pub const LONGEST_HELP: usize = 2000;
const SCRIPT: &str = include_str!("sign_in.js");
const NOTICE: &str = "<p class=\"notice\" role=\"status\">{{text}}</p>";
const ALERT: &str = "<p class=\"notice bad\" role=\"alert\">{{text}}</p>";

/// The sign-in page, by everything in which one visit differs from another.
pub(crate) struct SignInPage<'a> {
    /// The host by which the browser addresses the appliance.
    pub host: Option<&'a str>,
    /// The path and query to open after signing in.
    pub next: &'a str,
    pub visitor: &'a Visitor,
    /// The reason why signing in has just failed.
    pub problem: Option<&'a str>,
    /// If this is true, a token is a way to sign in.
    pub accepts_tokens: bool,
    /// The other ways to sign in. The first is the page's primary button.
    pub ways: &'a [PageLink],
    /// The pages that a person who is signed in can open. The first is the page's primary button.
    pub pages: &'a [PageLink],
    /// The operator's help text.
    pub help: Option<&'a str>,
}

impl SignInPage<'_> {
    /// Makes the response.
    pub(crate) fn response(&self, status: StatusCode) -> HttpResponse {
        let heading = match self.visitor {
            Visitor::SignedIn { caller, .. } => format!("Signed in as {}", caller.name),
            _ => "Sign in to MLflow".to_owned(),
        };
        let content = fill(
            include_str!("sign_in.html"),
            &[
                ("heading", Place::Text(&heading)),
                ("place", Place::Text(&self.place())),
                ("notice", Place::Markup(&self.notice())),
                ("session", Place::Markup(&self.session())),
                ("ways", Place::Markup(&self.other_ways())),
                ("form", Place::Markup(&self.form())),
                ("help", Place::Markup(&self.help.map(help).unwrap_or_default())),
            ],
        );
        Page { title: &heading, content, script: Some(SCRIPT) }.response(status)
    }

    /// Says which MLflow the page is for.
    ///
    /// SECURITY: an unauthenticated client reads only names that its own browser has sent, because it must not learn
    /// the names of the targets.
    fn place(&self) -> String {
        let target = self.next.strip_prefix("/t/").and_then(|rest| rest.split(['/', '?']).next());
        let target = target.filter(|name| is_target_name(name));
        match (self.host, target) {
            (Some(host), Some(target)) => format!("The target {target} at {host}"),
            (Some(host), None) => format!("The MLflow at {host}"),
            (None, Some(target)) => format!("The target {target}"),
            (None, None) => "Managed MLflow of Amazon SageMaker".to_owned(),
        }
    }

    fn notice(&self) -> Markup {
        let (template, text) = match (self.problem, self.visitor) {
            (Some(problem), _) => (ALERT, problem),
            (None, Visitor::SignedOut) => (NOTICE, "You are signed out of this browser."),
            (None, Visitor::Expired) => (ALERT, "Your session has ended. Sign in again."),
            (None, Visitor::Unauthenticated | Visitor::SignedIn { .. }) => return Markup::default(),
        };
        fill(template, &[("text", Place::Text(text))])
    }

    fn session(&self) -> Markup {
        let Visitor::SignedIn { caller, end } = self.visitor else { return Markup::default() };
        fill(
            include_str!("sign_in_session.html"),
            &[
                ("role", Place::Text(caller.role.as_str())),
                ("meaning", Place::Text(meaning(caller.role))),
                ("end", Place::Markup(&time(*end))),
                ("pages", Place::Markup(&buttons(self.pages))),
            ],
        )
    }

    fn other_ways(&self) -> Markup {
        match self.visitor {
            Visitor::SignedIn { .. } => Markup::default(),
            _ => buttons(self.ways),
        }
    }

    fn form(&self) -> Markup {
        if !self.accepts_tokens {
            return Markup::default();
        }
        let is_signed_in = matches!(self.visitor, Visitor::SignedIn { .. });
        let is_first = !is_signed_in && self.ways.is_empty();
        let focus = if is_first { markup(" autofocus") } else { Markup::default() };
        let form = fill(
            include_str!("sign_in_form.html"),
            &[
                ("focus", Place::Markup(&focus)),
                ("next", Place::Text(redirect::own_path(self.next))),
                ("class", Place::Text(class(is_first))),
                ("label", Place::Text(if self.ways.is_empty() { "Sign in" } else { "Sign in with the token" })),
            ],
        );
        if is_signed_in {
            let hidden = "<details><summary>Sign in with another token</summary>{{form}}</details>";
            return fill(hidden, &[("form", Place::Markup(&form))]);
        }
        form
    }
}

fn meaning(role: Role) -> &'static str {
    match role {
        Role::Read => "you can see experiments, runs and models, and change nothing",
        Role::Write => "you can see, create, change and delete experiments, runs and models",
        Role::Admin => "you can do everything",
    }
}

/// Writes a time in UTC. The script writes it in the time zone of the visitor.
fn time(time: SystemTime) -> Markup {
    let exact = humantime::format_rfc3339_seconds(time).to_string();
    let shown = exact.get(..16).map(|minute| format!("{} UTC", minute.replace('T', " "))).unwrap_or_default();
    let template = "<time datetime=\"{{exact}}\">{{shown}}</time>";
    fill(template, &[("exact", Place::Text(&exact)), ("shown", Place::Text(&shown))])
}

/// Writes the operator's help text, with the addresses of web pages in it as links.
fn help(text: &str) -> Markup {
    let written = text.split_inclusive(char::is_whitespace).map(|word| {
        let is_end = |c: char| c.is_whitespace() || ".,;:!?)".contains(c);
        let (address, end) = word.split_at(word.trim_end_matches(is_end).len());
        let host = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
        let is_link = host.is_some_and(|host| !host.is_empty());
        let template = if is_link { "<a href=\"{{word}}\">{{word}}</a>{{end}}" } else { "{{word}}{{end}}" };
        fill(template, &[("word", Place::Text(address)), ("end", Place::Text(end))])
    });
    let written = written.collect();
    fill("<p class=\"quiet lines\">{{text}}</p>", &[("text", Place::Markup(&written))])
}

#[cfg(test)]
mod tests;
