//! The sign-in page: it says which MLflow it is for and who is signed in until when, and it shows the operator's help.

use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use super::sessions::{OWN, PAGE, ask, cookie, sign_in};
use crate::support::Message as _;
use crate::support::appliance::{APP_ARN, Appliance, Builder, TRACKING_ARN, run};
use crate::support::authority::authority;
use crate::support::eventually;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

const LOGIN: &str = "/_appliance/login";

/// The sign-in page as the browser with these cookies sees it.
#[track_caller]
fn page(appliance: &Appliance, target: &str, cookie: &str) -> String {
    let answer = ask(appliance, "GET", target, &[PAGE, ("Cookie", cookie)], None);
    assert_eq!(answer.status, 200);
    answer.text()
}

/// The time in the first `<time>` of a page.
#[track_caller]
fn time(page: &str) -> SystemTime {
    let text = page.split_once("datetime=\"").unwrap().1.split('"').next().unwrap();
    humantime::parse_rfc3339(text).unwrap()
}

#[test]
fn the_page_shows_the_person_and_the_end_of_the_session_and_confirms_a_sign_out() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let (long, short) = (tokens.add("ada", "read", &[]), tokens.add("bob", "write", &["--expires", "1h"]));
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();

    let stranger = page(&appliance, LOGIN, "");
    assert!(stranger.contains("Sign in to MLflow") && stranger.contains("The MLflow at localhost:5000"), "{stranger}");
    assert!(!stranger.contains("Sign out") && !stranger.contains("ts1"), "{stranger}");

    let hour = Duration::from_secs(3600);
    for (token, name, role, lifetime) in [(&long, "ada", "read", 12 * hour), (&short, "bob", "write", hour)] {
        let session = cookie(&sign_in(&appliance, &token.text, "%2F"));
        let shown = page(&appliance, LOGIN, &session);
        for text in
            [&format!("Signed in as {name}"), &format!("<code>{role}</code>"), "href=\"../\">Open MLflow", "Sign out"]
        {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        let left = time(&shown).duration_since(SystemTime::now()).unwrap();
        assert!(left <= lifetime && left + Duration::from_secs(60) > lifetime, "{left:?}");
        let deep = page(&appliance, &format!("{LOGIN}?next=%2Fexperiments%2F1"), &session);
        assert!(deep.contains("class=\"button primary\" href=\"../experiments/1\">Open the requested page"), "{deep}");
    }

    let session = cookie(&sign_in(&appliance, &long.text, "%2F"));
    let left = ask(&appliance, "POST", "/_appliance/logout", &[OWN, ("Cookie", &session)], None);
    let address = left.header("location").replace("../", "/");
    assert_eq!(address, format!("{LOGIN}?signed-out"));
    let out = page(&appliance, &address, "");
    assert!(out.contains("You are signed out") && !out.contains("Sign out"), "{out}");
    // The address proves nothing: to a browser with a session, the page says that it is signed in.
    assert!(page(&appliance, &address, &session).contains("Signed in as ada"));

    tokens.command(&["revoke", "ada"]);
    appliance.signal(Signal::HUP);
    eventually("the session has ended", || page(&appliance, LOGIN, &session).contains("Your session has ended"));
}

#[test]
fn the_page_names_only_targets_that_the_visitor_may_use_or_has_named() {
    let upstream = Upstream::ok();
    let directory = tempfile::tempdir().unwrap();
    let (file, tokens) = (directory.path().join("appliance.toml"), TokenFile::new());
    let table = |name: &str, arn: &str| {
        format!("[[target]]\nname = \"{name}\"\nresource-arn = \"{arn}\"\nupstream-endpoint = \"{}\"\n", upstream.url())
    };
    let (authority, path) = (authority().file(), tokens.path());
    let common = format!("ca-file = \"{}\"\ntokens = \"{}\"\n", authority.display(), path.display());
    std::fs::write(&file, common + &table("research", TRACKING_ARN) + &table("ads", APP_ARN)).unwrap();
    let (all, one) = (tokens.add("ada", "read", &[]), tokens.add("bob", "read", &["--targets", "ads"]));
    let appliance = Builder::from_file(&file).start();

    let stranger = page(&appliance, &format!("{LOGIN}?next=%2Ft%2Fads%2F"), "");
    assert!(stranger.contains("The target ads at localhost:5000"), "{stranger}");
    assert!(!stranger.contains("research") && !page(&appliance, LOGIN, "").contains("ads"), "{stranger}");
    let [all, one] =
        [&all, &one].map(|token| page(&appliance, LOGIN, &cookie(&sign_in(&appliance, &token.text, "%2F"))));
    assert!(all.contains("href=\"../\">Open research</a>") && all.contains("href=\"../t/ads/\">Open ads</a>"), "{all}");
    assert!(!one.contains("research") && one.contains("href=\"../t/ads/\">Open ads</a>"), "{one}");
}

#[test]
fn the_operators_help_is_text_with_links() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    tokens.add("ada", "read", &[]);
    let help = "Ask <ada> in #ml-platform.\nSee https://wiki.corp/mlflow?a&b.";
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--sign-in-help", help]).start();
    let shown = page(&appliance, LOGIN, "");
    assert!(shown.contains("Ask &#60;ada&#62; in #ml-platform.\nSee "), "{shown}");
    assert!(shown.contains("<a href=\"https://wiki.corp/mlflow?a&#38;b\">"), "{shown}");

    let wrong = |arguments: &[&str]| {
        let arguments = [&["check", "--offline"][..], arguments].concat();
        let output = run(&arguments, &[("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)]);
        assert!(!output.status.success());
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(wrong(&["--sign-in-help", "x"]).contains("--sign-in-help: this has no effect without `tokens`"));
    let file = tokens.path();
    let long = wrong(&["--tokens", file.to_str().unwrap(), "--sign-in-help", &"x".repeat(2001)]);
    assert!(long.contains("the text has 2001 characters, and at most 2000 are shown"), "{long}");
}
