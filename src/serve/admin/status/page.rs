//! The page itself: one file that loads nothing from elsewhere. Its content security policy names its script and its style by
//! their hashes, so that injected code cannot run.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;

use crate::serve::page::{ICON, MARK, hash};

const STYLE: &str = include_str!("../page.css");
/// The parts of the script, in the order in which they use one another.
const SCRIPT: &str = concat!(
    include_str!("../page-values.js"),
    include_str!("../page-charts.js"),
    include_str!("../page-sections.js"),
    include_str!("../page.js")
);

struct StatusPage {
    text: String,
    policy: String,
}

static PAGE: LazyLock<StatusPage> = LazyLock::new(|| {
    let text = include_str!("../page.html")
        .replace("<!--icon-->", &ICON)
        .replace("<!--mark-->", MARK.trim_end())
        .replace("/*style*/", STYLE)
        .replace("/*script*/", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash(SCRIPT),
        hash(STYLE)
    );
    StatusPage { text, policy }
});

/// Returns the page.
pub(crate) fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE.policy.as_str()))
        .body(PAGE.text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_mark_of_all_pages_and_no_empty_place() {
        assert!(
            PAGE.text.contains(MARK.trim_end())
                && PAGE.text.contains(&format!("<link rel=\"icon\" href=\"{}\">", *ICON))
        );
        for place in ["<!--", "/*style*/", "/*script*/"] {
            assert!(!PAGE.text.contains(place), "{place}");
        }
    }
}
