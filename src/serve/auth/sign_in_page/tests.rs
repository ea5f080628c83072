use std::time::{Duration, UNIX_EPOCH};

use actix_web::body::MessageBody as _;

use super::*;
use crate::access::caller::{AuthMethod, Caller, Targets};

fn shown(page: &SignInPage<'_>) -> String {
    let body = page.response(StatusCode::OK).into_body().try_into_bytes().expect("it is complete");
    String::from_utf8(body.to_vec()).expect("it is text")
}

fn page(visitor: &Visitor) -> SignInPage<'_> {
    let (pages, ways): (&[PageLink], &[PageLink]) = (&[], &[]);
    SignInPage { host: None, next: "/", visitor, problem: None, accepts_tokens: true, ways, pages, help: None }
}

fn link(label: &str, address: &str) -> PageLink {
    PageLink { label: label.to_owned(), address: address.to_owned() }
}

#[test]
fn each_visitor_is_told_about_their_session() {
    let (name, targets) = ("ada".into(), Targets::All);
    let caller =
        Caller { name, role: Role::Read, targets, auth_method: AuthMethod::Session, issuer: None, expires: None };
    let session = Visitor::SignedIn { caller, end: UNIX_EPOCH + Duration::from_secs(1_800_000_000) };
    for (visitor, texts, others) in [
        (&Visitor::Unauthenticated, &["Sign in to MLflow"][..], &["Sign out", "signed out", "has ended"][..]),
        (&Visitor::SignedOut, &["You are signed out of this browser."], &["Sign out", "has ended"]),
        (&Visitor::Expired, &["Your session has ended."], &["Sign out", "signed out"]),
        (
            &session,
            &[
                "Signed in as ada",
                "<code>read</code>",
                "2027-01-15 08:00 UTC",
                "Sign out",
                "Sign in with another token",
            ],
            &["signed out", "autofocus"],
        ),
    ] {
        let shown = shown(&page(visitor));
        for text in texts {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        for text in others {
            assert!(!shown.contains(text), "{text}: {shown}");
        }
    }
}

#[test]
fn a_page_has_one_primary_button() {
    let ways = [link("Sign in with Example", "oidc"), link("Another way", "other")];
    let mut page = page(&Visitor::Unauthenticated);
    assert_eq!(shown(&page).matches("class=\"button primary\"").count(), 1);
    page.ways = &ways;
    let text = shown(&page);
    assert_eq!(text.matches("class=\"button primary\"").count(), 1);
    assert!(text.contains("<a class=\"button primary\" href=\"oidc\">Sign in with Example</a>"), "{text}");
    page.accepts_tokens = false;
    assert!(!shown(&page).contains("name=\"token\""));
}

#[test]
fn the_page_says_which_mlflow_it_is_for() {
    for (host, next, expected) in [
        (Some("mlflow.corp"), "/", "The MLflow at mlflow.corp"),
        (Some("mlflow.corp"), "/t/ads/?x", "The target ads at mlflow.corp"),
        (Some("mlflow.corp"), "/t/ads?x", "The target ads at mlflow.corp"),
        (Some("<b>"), "/t/<b>/", "The MLflow at &#60;b&#62;"),
        (None, "/t/Your account is locked/", "Managed MLflow of Amazon SageMaker"),
    ] {
        let shown = shown(&SignInPage { host, next, ..page(&Visitor::Unauthenticated) });
        assert!(shown.contains(&format!("<p class=\"quiet\">{expected}</p>")), "{expected}: {shown}");
    }
}

#[test]
fn the_help_text_is_text_with_links() {
    for (text, expected) in [
        ("Ask <ada>.", "Ask &#60;ada&#62;."),
        (
            "See https://wiki.corp/a?b=c&d. Or\nask.",
            "See <a href=\"https://wiki.corp/a?b=c&#38;d\">https://wiki.corp/a?b=c&#38;d</a>. Or\nask.",
        ),
        ("(http://x)", "(http://x)"),
        ("javascript:alert(1) https://", "javascript:alert(1) https://"),
        ("https://x/\"onclick=\"y", "<a href=\"https://x/&#34;onclick=&#34;y\">https://x/&#34;onclick=&#34;y</a>"),
    ] {
        assert_eq!(help(text).as_str(), format!("<p class=\"quiet lines\">{expected}</p>"));
    }
}
