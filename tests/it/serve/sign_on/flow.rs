//! The flow from one end to the other, with everything that may differ between providers and deployments.

use serde_json::json;

use super::stand_in::SECRET;
use super::{GRANTS, OWN, PAGE, Scene, Visit, cookie, get, leads_to};
use crate::support::Message as _;
use crate::support::appliance::{Appliance, run};
use crate::support::eventually;
use crate::support::tokens::TokenFile;

const CREATE: &str = "/ajax-api/2.0/mlflow/runs/create";
const CALLBACK: &str = "/_appliance/oidc/callback";

#[track_caller]
fn status(appliance: &Appliance, method: &str, target: &str, cookie: &str) -> u16 {
    let body = (method == "POST").then_some(&b"{}"[..]);
    appliance.connect().request(method, target, &[("Cookie", cookie), OWN], body).status
}

#[test]
fn a_person_signs_in_works_and_signs_out_also_at_the_provider() {
    let scene = Scene::new();
    let audit = scene.directory.path().join("audit.log");
    let appliance = scene.appliance_with("", GRANTS, &["--audit-log", audit.to_str().unwrap()]);

    // It is the only way to sign in, so the page goes there by itself.
    let sent_away = get(&appliance, "/experiments/1?tab=a", &[PAGE]);
    assert_eq!(leads_to("/experiments/1?tab=a", &sent_away), "/_appliance/login?next=%2Fexperiments%2F1%3Ftab%3Da");
    let page = get(&appliance, "/_appliance/login?next=%2Fexperiments%2F1%3Ftab%3Da", &[PAGE]);
    assert_eq!(page.status, 200);
    let start = "/_appliance/oidc/start?issuer=idp&#38;next=%2Fexperiments%2F1%3Ftab%3Da";
    assert!(page.text().contains(start) && page.text().contains("location.replace"), "{}", page.text());
    assert!(!page.text().contains("name=\"token\""), "there are no tokens");

    let visit = Visit::begin(&appliance, "/experiments/1?tab=a#x/y");
    assert!(visit.cookie.len() < 64, "{}", visit.cookie);
    let code = scene.provider.grants(&visit.address);
    let welcome = visit.comes_back(&appliance, &format!("code={code}&iss={}", scene.provider.url()));
    assert_eq!((welcome.status, leads_to(CALLBACK, &welcome).as_str()), (303, "/experiments/1?tab=a#x/y"));
    let set = welcome.header("set-cookie");
    assert!(set.starts_with("appliance-session=v2.") && set.len() < 1024, "{set}");
    for part in ["; Path=/", "; Max-Age=43200", "; HttpOnly", "; SameSite=Lax"] {
        assert!(set.contains(part), "{part}: {set}");
    }

    let session = cookie(&welcome);
    assert_eq!(status(&appliance, "GET", "/version", &session), 200);
    assert_eq!(status(&appliance, "POST", CREATE, &session), 200);
    let forged = appliance.connect().request("POST", CREATE, &[("Cookie", &session)], Some(b"{}"));
    assert_eq!((forged.status, forged.header("x-appliance-error")), (403, "foreign-origin"), "not from a page of ours");
    appliance.saw("the person", |event| {
        event["caller"] == "ada" && event["means"] == "session" && event["issuer"] == "idp" && event["role"] == "admin"
    });
    let audited = || std::fs::read_to_string(&audit).unwrap();
    eventually("the audit log has the person who signed in", || {
        audited().lines().any(|line| line.contains("\"caller\":\"ada\"") && line.contains(CALLBACK))
    });
    let audited = audited();
    for secret in [SECRET, &session, &code, &visit.state] {
        assert!(!appliance.log().contains(secret) && !audited.contains(secret), "{secret}");
    }

    let shown = get(&appliance, "/_appliance/login", &[PAGE, ("Cookie", &session)]);
    assert!(shown.text().contains("Signed in as ada"), "{}", shown.text());
    let bye = appliance.connect().request("POST", "/_appliance/logout", &[("Cookie", &session), OWN], Some(b""));
    assert!(bye.all("set-cookie").iter().all(|cookie| cookie.contains("Max-Age=0")), "{:?}", bye.headers);
    let refresh = bye.header("refresh");
    let expected = format!(
        "0; url={}/logout?client_id=mlflow&post_logout_redirect_uri=http%3A%2F%2Flocalhost%3A5000%2F_appliance%2Fsigned-out",
        scene.provider.url()
    );
    assert_eq!(refresh, expected);
    // The provider sends the browser back, and nothing signs it in again at once.
    let back = get(&appliance, "/_appliance/signed-out", &[PAGE]);
    assert_eq!(leads_to("/_appliance/signed-out", &back), "/_appliance/login?signed-out");
    let waits = get(&appliance, "/_appliance/login?signed-out", &[PAGE]);
    assert!(waits.text().contains("signed out") && waits.text().contains("Sign in with idp"), "{}", waits.text());
    assert!(!waits.text().contains("location.replace"), "{}", waits.text());
}

#[test]
fn groups_become_roles_and_the_table_in_force_decides() {
    let scene = Scene::new();
    let appliance = scene.appliance();
    scene.provider.script(|script| script.claims = json!({"groups": ["staff", "mlflow-readers"]}));
    let reader = cookie(&scene.sign_in(&appliance, "/"));
    assert_eq!(
        (status(&appliance, "GET", "/version", &reader), status(&appliance, "POST", CREATE, &reader)),
        (200, 403)
    );
    scene.provider.script(|script| script.claims = json!({"groups": ["guests"], "sub": "eve"}));
    let denied = scene.sign_in(&appliance, "/");
    assert_eq!((denied.status, denied.header("x-appliance-error")), (403, "no-grant"));
    assert!(!denied.has("set-cookie") && denied.text().contains("eve"), "{}", denied.text());
    appliance.saw("the denied person", |event| {
        event["error_code"] == "no-grant" && event["cause"].as_str().is_some_and(|cause| cause.contains("`eve`"))
    });

    // After a restart with another table and the same key, the session has the rights of that table.
    drop(appliance);
    let raised = scene.appliance_with("", &GRANTS.replace("\"read\"", "\"write\""), &[]);
    assert_eq!(status(&raised, "POST", CREATE, &reader), 200);
    drop(raised);
    let removed = scene.appliance_with("", GRANTS.rsplit_once("[[caller]]").unwrap().0, &[]);
    assert_eq!(status(&removed, "GET", "/version", &reader), 401);
}

#[test]
fn claims_that_the_id_token_lacks_come_from_the_user_info() {
    let scene = Scene::new();
    let appliance = scene.appliance_with("name-claim = \"email\"", GRANTS, &[]);
    scene.provider.script(|script| {
        script.claims = json!({"groups": null});
        script.user_info = json!({"sub": "ada", "email": "ada@corp.example", "groups": ["mlflow-readers"]});
    });
    let session = cookie(&scene.sign_in(&appliance, "/"));
    assert_eq!(status(&appliance, "GET", "/version", &session), 200);
    appliance.saw("the name", |event| event["caller"] == "ada@corp.example" && event["role"] == "read");
    let asked = scene.provider.server().requests().iter().filter(|request| request.target == "/me").count();
    assert_eq!(asked, 1);

    scene.provider.script(|script| script.user_info = json!({"sub": "eve", "groups": ["mlflow-admins"]}));
    let swapped = scene.sign_in(&appliance, "/");
    assert_eq!((swapped.status, swapped.header("x-appliance-error")), (403, "sign-in-rejected"));
}

#[test]
fn several_appliances_with_one_key_share_sign_ins_and_sessions() {
    let scene = Scene::new();
    let (one, two) = (scene.appliance(), scene.appliance());
    let visit = Visit::begin(&one, "/#/experiments/7");
    let code = scene.provider.grants(&visit.address);
    let welcome = visit.comes_back(&two, &format!("code={code}&iss={}", scene.provider.url()));
    assert_eq!((welcome.status, leads_to(CALLBACK, &welcome).as_str()), (303, "/#/experiments/7"));
    assert_eq!(status(&one, "GET", "/version", &cookie(&welcome)), 200);
}

#[test]
fn several_tabs_sign_in_at_once() {
    let scene = Scene::new();
    let appliance = scene.appliance();
    let first = Visit::begin(&appliance, "/one");
    let second = Visit::begin_with(&appliance, "/two", &[("Cookie", &first.cookie)]);
    assert_eq!(first.cookie, second.cookie, "a browser has one cookie for all of them");
    for (visit, next) in [(first, "/one"), (second, "/two")] {
        let code = scene.provider.grants(&visit.address);
        let welcome = visit.comes_back(&appliance, &format!("code={code}&iss={}", scene.provider.url()));
        assert_eq!(leads_to(CALLBACK, &welcome), next);
    }
}

#[test]
fn the_redirect_uri_follows_the_request_or_the_configuration() {
    let scene = Scene::new();
    let redirect_uri = |visit: &Visit| {
        let url = url::Url::parse(&visit.address).unwrap();
        url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned()
    };
    let appliance = scene.appliance_with("", GRANTS, &["--trusted-proxies", "127.0.0.1"]);
    assert_eq!(redirect_uri(&Visit::begin(&appliance, "/")), format!("http://localhost:5000{CALLBACK}"));
    let proxied = [
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "mlflow.corp"),
        ("X-Forwarded-Prefix", "/mlflow"),
    ];
    let visit = Visit::begin_with(&appliance, "/", &proxied);
    assert_eq!(redirect_uri(&visit), format!("https://mlflow.corp/mlflow{CALLBACK}"));
    assert!(visit.cookie.starts_with("__Host-appliance-sign-in="), "{}", visit.cookie);
    let code = scene.provider.grants(&visit.address);
    let query = format!("code={code}&iss={}", scene.provider.url());
    let welcome = visit.comes_back_with(&appliance, &query, &proxied);
    assert!(welcome.header("set-cookie").starts_with("__Host-appliance-session=v2."), "{:?}", welcome.headers);
    drop(appliance);

    // Without trust in the proxy its headers do not count, and the operator sets the address.
    let url = format!("http://127.0.0.1:5000{CALLBACK}");
    let appliance = scene.appliance_with(&format!("redirect-url = \"{url}\""), GRANTS, &[]);
    let moved = get(&appliance, "/_appliance/oidc/start?issuer=idp&next=%2Fx", &[]);
    let there = "http://127.0.0.1:5000/_appliance/oidc/start?issuer=idp&next=%2Fx&moved=1";
    assert_eq!(moved.header("location"), there, "the sign-in begins on the host on which it ends");
    let sent = get(&appliance, "/_appliance/oidc/start?issuer=idp&next=%2Fx&moved=1", &[]);
    let visit = Visit { address: sent.header("location").to_owned(), state: String::new(), cookie: String::new() };
    assert_eq!(redirect_uri(&visit), url);
}

#[test]
fn tokens_and_the_provider_stand_side_by_side() {
    let scene = Scene::new();
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "read", &[]);
    let path = tokens.path();
    let appliance = scene.appliance_with("label = \"Corp & Co\"", GRANTS, &["--tokens", path.to_str().unwrap()]);
    let page = get(&appliance, "/_appliance/login?next=%2Fx", &[PAGE]).text();
    assert!(page.contains("Sign in with Corp &#38; Co") && page.contains("name=\"token\""), "{page}");
    assert!(!page.contains("location.replace"), "there is a choice: {page}");
    let bearer = token.bearer();
    assert_eq!(get(&appliance, "/version", &[("Authorization", &bearer)]).status, 200);
    let session = cookie(&scene.sign_in(&appliance, "/"));
    assert_eq!(status(&appliance, "POST", CREATE, &session), 200);
    let form = [OWN, ("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("token={}&next=%2F", token.text);
    let signed_in = appliance.connect().request("POST", "/_appliance/login", &form, Some(body.as_bytes()));
    assert_eq!(status(&appliance, "GET", "/version", &cookie(&signed_in)), 200);
}

#[test]
fn a_check_shows_the_addresses_to_register_and_what_is_wrong() {
    let scene = Scene::new();
    drop(scene.appliance_with("", GRANTS, &["--allowed-hosts", "mlflow.corp"]));
    let path = scene.directory.path().join("appliance.toml");
    let check = |arguments: &[&str]| {
        let all = [&["check", "--offline", "--config", path.to_str().unwrap()], arguments].concat();
        let output = run(&all, &[]);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let shown = check(&["--allowed-hosts", "mlflow.corp"]);
    assert!(shown.contains("https://mlflow.corp/_appliance/oidc/callback"), "{shown}");
    assert!(shown.contains("https://mlflow.corp/_appliance/signed-out"), "{shown}");

    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, problem) in [
        ("client-id = \"mlflow\"\n", "", "this has no effect without `client-id`"),
        ("client-secret = \"/", "client-secret = \"s3cret/", "the secret itself does not belong into this file"),
        (
            "client-id = \"mlflow\"\n",
            "client-id = \"mlflow\"\nredirect-url = \"https://mlflow.corp/\"\n",
            "the URL must end with",
        ),
        (
            "client-id = \"mlflow\"\n",
            "client-id = \"mlflow\"\nkeys-url = \"https://x.example/\"\n",
            "without the issuer's discovery document",
        ),
    ] {
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let shown = check(&[]);
        assert!(shown.contains(problem), "{problem}: {shown}");
        assert!(!shown.contains("s3cret/"), "a secret at the wrong place is not shown: {shown}");
    }
}
