//! Sessions of a person with a browser, who signs in with a token once, uses the UI with a cookie, and signs out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::eventually;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

pub(super) const OWN: (&str, &str) = ("Origin", "http://localhost:5000");
pub(super) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
pub(super) const PAGE: (&str, &str) = ("Accept", "text/html,application/xhtml+xml");
const CREATE: &str = "/ajax-api/2.0/mlflow/runs/create";

#[track_caller]
pub(super) fn ask(
    appliance: &Appliance,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Answer {
    appliance.connect().request(method, target, headers, body.map(str::as_bytes))
}

#[track_caller]
pub(super) fn sign_in(appliance: &Appliance, token: &str, next: &str) -> Answer {
    ask(appliance, "POST", "/_appliance/login", &[OWN, FORM], Some(&format!("token={token}&next={next}")))
}

/// The path to which a browser goes after a redirect from a path (RFC 3986), below `/mlflow` if a proxy shows it there.
#[track_caller]
fn next(from: &str, answer: &Answer) -> String {
    let location = answer.header("location");
    assert!(location.starts_with('.'), "relative, or it would leave the prefix of a proxy: {location}");
    let follow = |prefix: &str| {
        let found = url::Url::parse(&format!("http://localhost{prefix}{from}")).unwrap().join(location).unwrap();
        found[url::Position::BeforePath..].to_owned()
    };
    assert_eq!(follow("/mlflow"), format!("/mlflow{}", follow("")));
    follow("")
}

/// The cookie as a browser sends it back.
pub(super) fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[test]
fn a_person_signs_in_once_works_and_signs_out() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let token = tokens.add("ada", "write", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();

    let sent_away = ask(&appliance, "GET", "/experiments/1?tab=a%20b", &[PAGE], None);
    assert_eq!(sent_away.status, 303);
    let login = next("/experiments/1?tab=a%20b", &sent_away);
    assert_eq!(login, "/_appliance/login?next=%2Fexperiments%2F1%3Ftab%3Da%2520b");
    let page = ask(&appliance, "GET", &login, &[PAGE], None);
    assert_eq!((page.status, page.header("cache-control")), (200, "no-store"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.text().contains("name=\"next\" value=\"/experiments/1?tab=a%20b\""), "{}", page.text());
    // The page has one script, and the policy lets no other run.
    let text = page.text();
    let script = text.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>")).unwrap().0;
    let hash = BASE64_STANDARD.encode(Sha256::digest(script));
    assert!(page.header("content-security-policy").contains(&format!("script-src 'sha256-{hash}';")));
    assert_eq!(page.text().matches("<script").count(), 1);

    let wrong = sign_in(&appliance, "mlfa_wrong", "%2F");
    assert_eq!((wrong.status, wrong.has("set-cookie")), (401, false));
    assert!(wrong.text().contains("The token is not valid"), "{}", wrong.text());

    let welcome = sign_in(&appliance, &token.text, "%2Fexperiments%2F1%3Ftab%3Da%2520b");
    assert_eq!((welcome.status, next(&login, &welcome).as_str()), (303, "/experiments/1?tab=a%20b"));
    let set = welcome.header("set-cookie");
    for part in ["appliance-session=v1.", "; Path=/", "; Max-Age=43200", "; HttpOnly", "; SameSite=Lax"] {
        assert!(set.contains(part), "{part}: {set}");
    }
    assert!(!set.contains(&token.text[16..]), "the token is not in the cookie");

    let cookie = cookie(&welcome);
    let session = ("Cookie", cookie.as_str());
    assert_eq!(ask(&appliance, "GET", "/", &[PAGE, session], None).status, 200);
    assert!(!upstream.only_request().has("cookie"), "the cookie ends here");
    assert_eq!(ask(&appliance, "POST", CREATE, &[session, OWN], Some("{}")).status, 200);
    let same_origin = [session, ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(ask(&appliance, "POST", CREATE, &same_origin, Some("{}")).status, 200);
    appliance.saw("the caller", |event| event["caller"] == "ada" && event["status"] == 200);
    assert!(!appliance.log().contains(&cookie) && !appliance.log().contains(&token.text));

    let bye = ask(&appliance, "POST", "/_appliance/logout", &[session, OWN], Some(""));
    assert_eq!((bye.status, next("/_appliance/logout", &bye).as_str()), (303, "/_appliance/login?signed-out"));
    assert_eq!(bye.all("set-cookie").len(), 2);
    assert!(bye.all("set-cookie").iter().all(|cookie| cookie.contains("Max-Age=0")));
}

#[test]
fn other_sites_cannot_use_a_session() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let token = tokens.add("ada", "admin", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();
    let cookie = cookie(&sign_in(&appliance, &token.text, "%2F"));
    let session = ("Cookie", cookie.as_str());
    for (why, proof) in [
        ("no proof at all", ("X-Nothing", "1")),
        ("another origin", ("Origin", "https://evil.example")),
        ("another port", ("Origin", "http://localhost:5001")),
        ("an opaque origin", ("Origin", "null")),
        ("another site", ("Sec-Fetch-Site", "cross-site")),
        ("a sibling", ("Sec-Fetch-Site", "same-site")),
    ] {
        for path in [CREATE, "/graphql", "/_appliance/logout"] {
            let answer = ask(&appliance, "POST", path, &[session, proof], Some("{}"));
            assert_eq!((answer.status, answer.header("x-appliance-error")), (403, "foreign-origin"), "{why}: {path}");
        }
        let form = format!("token={}", token.text);
        let forged = ask(&appliance, "POST", "/_appliance/login", &[proof, FORM], Some(&form));
        assert_eq!(
            (forged.status, forged.has("set-cookie")),
            (403, false),
            "another site cannot sign a visitor in: {why}"
        );
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_session_ends_with_its_token_its_lifetime_or_its_key() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let (ada, bob) = (tokens.add("ada", "read", &[]), tokens.add("bob", "read", &[]));
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();
    let status =
        |appliance: &Appliance, cookie: &str| ask(appliance, "GET", "/version", &[("Cookie", cookie)], None).status;
    let cookies = [&ada, &bob].map(|token| cookie(&sign_in(&appliance, &token.text, "%2F")));
    assert_eq!(status(&appliance, &cookies[0]), 200);
    tokens.command(&["revoke", "ada"]);
    appliance.signal(Signal::HUP);
    eventually("revoking the token ends the session", || status(&appliance, &cookies[0]) == 401);
    assert_eq!(status(&appliance, &cookies[1]), 200);
    let forged = cookies[1].replace(&bob.id, &ada.id);
    assert_eq!(status(&appliance, &forged), 401);
    let create = [("Cookie", cookies[1].as_str()), OWN];
    assert_eq!(ask(&appliance, "POST", CREATE, &create, Some("{}")).status, 403, "the token's role holds");
    let again = ask(&appliance, "GET", "/", &[PAGE, ("Cookie", "appliance-session=over")], None);
    assert_eq!(again.status, 303, "a browser is sent to sign in again");

    let short = Builder::new(&upstream).with_tokens(&tokens).with(&["--session-lifetime", "1s"]).start();
    assert_eq!(status(&short, &cookies[1]), 401, "another run has another key");
    let cookie = cookie(&sign_in(&short, &bob.text, "%2F"));
    eventually("the session ends", || status(&short, &cookie) == 401);
}

#[test]
fn several_appliances_can_share_sessions() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let token = tokens.add("ada", "read", &[]);
    let credentials = tempfile::tempdir().unwrap();
    let key = credentials.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let start = |key: &str| {
        let builder = Builder::new(&upstream).with_tokens(&tokens).with(&["--session-key", key]);
        builder.env("CREDENTIALS_DIRECTORY", &credentials.path().display().to_string()).start()
    };
    let (one, two) = (start(key.to_str().unwrap()), start("credential:key"));
    let cookie = cookie(&sign_in(&one, &token.text, "%2F"));
    assert_eq!(ask(&two, "GET", "/version", &[("Cookie", &cookie)], None).status, 200);
}

#[test]
fn signing_in_redirects_only_to_the_appliance_and_the_cookie_stays_on_tls() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let token = tokens.add("ada", "read", &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--trusted-proxies", "127.0.0.1"]).start();
    for target in [
        "%2F..%2Fother",
        "%2Fa%2F%252e.%2Fx",
        "%2F%2Fevil.example",
        "https:%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "",
        "%2F_appliance%2Flogout",
    ] {
        let answer = sign_in(&appliance, &token.text, target);
        assert_eq!(next("/_appliance/login", &answer), "/", "{target}");
    }
    let shown = ask(&appliance, "GET", "/_appliance/login?next=%22%3E%3Cscript%3E", &[PAGE], None);
    assert_eq!(shown.text().matches("<script").count(), 1, "only the page's own: {}", shown.text());
    assert!(shown.text().contains("name=\"next\" value=\"/\""), "{}", shown.text());
    let form = format!("token={}", token.text);
    let headers = [OWN, FORM, ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "198.51.100.7")];
    let answer = ask(&appliance, "POST", "/_appliance/login", &headers, Some(&form));
    let set = answer.header("set-cookie");
    assert!(set.starts_with("__Host-appliance-session=") && set.ends_with("; Secure"), "{set}");
    let huge = ask(&appliance, "POST", "/_appliance/login", &[OWN, FORM], Some(&"token=x&".repeat(10_000)));
    assert_eq!(huge.status, 413);
}

#[test]
fn only_the_cookie_name_of_the_connection_counts() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let (ada, eve) = (tokens.add("ada", "read", &[]), tokens.add("eve", "read", &[]));
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--trusted-proxies", "127.0.0.1"]).start();
    let [ada, eve] = [&ada, &eve].map(|token| {
        let cookie = cookie(&sign_in(&appliance, &token.text, "%2F"));
        cookie.split_once('=').unwrap().1.to_owned()
    });
    let secure = ("X-Forwarded-Proto", "https");
    let entries = || {
        let all = appliance.access_log().into_iter();
        all.filter(|event| event["path"] == "/version").collect::<Vec<_>>()
    };
    let caller = |cookies: &str, more: &[(&str, &str)]| {
        let seen = entries().len();
        let headers = [&[("Cookie", cookies)], more].concat();
        let answer = ask(&appliance, "GET", "/version", &headers, None);
        eventually("it is in the log", || entries().len() > seen);
        (answer.status, entries().pop().unwrap()["caller"].as_str().map(ToOwned::to_owned))
    };
    let is = |name: &str| (200, Some(name.to_owned()));
    let tossed = format!("appliance-session={eve}; __Host-appliance-session={ada}");
    assert_eq!(caller(&tossed, &[secure]), is("ada"), "over TLS only the cookie that no other host can set counts");
    assert_eq!(caller(&tossed, &[]), is("eve"), "and here the one that is set here");
    assert_eq!(caller(&format!("appliance-session={eve}"), &[secure]), (401, None));
    assert_eq!(caller(&format!("__Host-appliance-session={ada}"), &[]), (401, None));
    assert_eq!(caller(&format!("appliance-session={ada}; appliance-session={eve}"), &[]), (401, None), "two of a kind");
}
