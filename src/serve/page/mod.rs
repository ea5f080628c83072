//! Pages for people: all pages that the appliance itself shows share one frame, one look and one strict policy.

pub(crate) mod template;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use template::{Markup, Place, fill, markup};

const STYLE: &str = include_str!("style.css");
/// The mark of the appliance, as an image within a page.
pub(crate) const MARK: &str = include_str!("mark.svg");

/// The mark of the appliance as the URL of an icon, so that a browser does not request `/favicon.ico`.
pub(crate) static ICON: LazyLock<String> =
    LazyLock::new(|| format!("data:image/svg+xml;base64,{}", STANDARD.encode(MARK.trim_end())));

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| hash(STYLE));

/// A page within the common frame.
pub(crate) struct Page<'a> {
    /// The title of the window.
    pub title: &'a str,
    /// The content, beginning with a heading.
    pub content: Markup,
    /// The one script of the page. The page has to work without it.
    pub script: Option<&'static str>,
}

/// A link on a page.
pub(crate) struct PageLink {
    pub label: String,
    /// The address, relative to the page.
    pub address: String,
}

/// Writes links as buttons, the first of them as the primary one.
pub(crate) fn buttons(links: &[PageLink]) -> Markup {
    let button = |(index, link): (usize, &PageLink)| {
        fill(
            "<a class=\"{{class}}\" href=\"{{address}}\">{{label}}</a>",
            &[
                ("class", Place::Text(class(index == 0))),
                ("address", Place::Text(&link.address)),
                ("label", Place::Text(&link.label)),
            ],
        )
    };
    links.iter().enumerate().map(button).collect()
}

/// Returns the class of a button. A page has at most one primary button.
pub(crate) fn class(is_primary: bool) -> &'static str {
    if is_primary { "button primary" } else { "button" }
}

impl Page<'_> {
    /// Makes the response.
    pub(crate) fn response(&self, status: StatusCode) -> HttpResponse {
        let script = self.script.map(markup);
        let script = script.map(|script| fill("<script>{{script}}</script>", &[("script", Place::Markup(&script))]));
        let frame = fill(
            include_str!("frame.html"),
            &[
                ("title", Place::Text(self.title)),
                ("icon", Place::Text(&ICON)),
                ("style", Place::Markup(&markup(STYLE))),
                ("mark", Place::Markup(&markup(MARK))),
                ("content", Place::Markup(&self.content)),
                ("script", Place::Markup(&script.unwrap_or_default())),
            ],
        );
        HttpResponse::build(status)
            .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
            .insert_header((header::CONTENT_SECURITY_POLICY, policy(self.script)))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            // With `no-referrer`, browsers would send `Origin: null` with a form, which proves nothing.
            .insert_header((header::REFERRER_POLICY, "same-origin"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(frame.as_str().to_owned())
    }
}

/// Returns the policy of a page.
///
/// SECURITY: only this style and this script are in force, by their hashes; nothing comes from elsewhere, no other site shows
/// the page in a frame, and forms go nowhere else. A browser applies `form-action` to redirects as well, so a form cannot
/// lead to another site's page; a link can.
fn policy(script: Option<&str>) -> String {
    let script = script.map(|script| format!("script-src 'sha256-{}'; ", hash(script))).unwrap_or_default();
    format!(
        "default-src 'none'; {script}style-src 'sha256-{}'; img-src data:; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'",
        *STYLE_HASH
    )
}

/// Returns the hash by which a content security policy names a script or a style.
pub(crate) fn hash(text: &str) -> String {
    STANDARD.encode(digest(&SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_script_of_the_page_and_no_other() {
        let with = |script| {
            let page = Page { title: "<title>", content: markup("<h1>x</h1>"), script };
            let response = page.response(StatusCode::OK);
            response
                .headers()
                .get(header::CONTENT_SECURITY_POLICY)
                .and_then(|value| value.to_str().ok())
                .expect("it is text")
                .to_owned()
        };
        assert!(!with(None).contains("script-src"));
        // The well-known hash of the empty text.
        assert!(with(Some("")).contains("script-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; "));
        assert_ne!(with(Some("a")), with(Some("b")));
    }
}
