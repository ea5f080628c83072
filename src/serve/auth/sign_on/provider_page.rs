//! The page that sends a browser on to the only identity provider. A person sees it only for a moment.
//!
//! Only a script knows the fragment of an address, in which MLflow's pages name what they show, so a redirect would lose it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::serve::page::template::{Place, fill};
use crate::serve::page::{Page, PageLink};

const SCRIPT: &str = include_str!("provider_page.js");
const CONTENT: &str = "<h1>Sign in to MLflow</h1><a class=\"button primary\" href=\"{{address}}\">{{label}}</a>";

/// Returns the page that leads to the only way to sign in.
pub(crate) fn provider_page(way: &PageLink) -> HttpResponse {
    let content = fill(CONTENT, &[("address", Place::Text(&way.address)), ("label", Place::Text(&way.label))]);
    Page { title: "Sign in to MLflow", content, script: Some(SCRIPT) }.response(StatusCode::OK)
}
