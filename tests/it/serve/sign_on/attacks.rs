//! Forged, swapped, repeated and failed sign-ins: none begins a session, and each has its reason in the log.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PAGE, Scene, Visit, cookie, get, leads_to};
use crate::support::Message as _;
use crate::support::appliance::Appliance;
use crate::support::caller::Answer;
use crate::support::eventually;

const CALLBACK: &str = "/_appliance/oidc/callback";

/// Asserts that an answer begins no session, and that the log has the reason.
#[track_caller]
fn assert_rejected(appliance: &Appliance, answer: &Answer, (status, kind): (u16, &str), reason: &str) {
    assert_eq!((answer.status, answer.header("x-appliance-error")), (status, kind), "{reason}: {}", answer.text());
    assert!(!answer.has("set-cookie"), "{reason}: {:?}", answer.headers);
    let id = answer.header("x-appliance-request-id").to_owned();
    eventually(&format!("the log says: {reason}"), || {
        appliance.access_log().iter().any(|event| {
            event["request_id"] == id.as_str() && event["cause"].as_str().is_some_and(|cause| cause.contains(reason))
        })
    });
}

const REJECTED: (u16, &str) = (403, "sign-in-rejected");
const FAILED: (u16, &str) = (502, "identity-provider-failed");

#[test]
fn a_response_that_is_not_for_this_browser_is_rejected() {
    let scene = Scene::new();
    let appliance = scene.appliance();
    let url = scene.provider.url();
    let (mine, theirs) = (Visit::begin(&appliance, "/"), Visit::begin(&appliance, "/"));
    let code = scene.provider.grants(&mine.address);
    let ask = |query: &str, cookie: &str| {
        let headers = [PAGE, ("Cookie", cookie)];
        get(&appliance, &format!("{CALLBACK}?{query}"), if cookie.is_empty() { &headers[..1] } else { &headers })
    };
    let (good, other) = (&mine.cookie, &theirs.cookie);
    let state = &mine.state;
    let flipped = format!("{}{}", &state[..state.len() - 4], if state.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    let twice = format!("{good}; {}", good.replace("sign-in=", "sign-in=x"));
    for (query, cookie, reason) in [
        (format!("code={code}&state={state}&iss={url}"), "", "has no cookie"),
        (format!("code={code}&state={state}&iss={url}"), other.as_str(), "not of this browser"),
        (format!("code={code}&state={}&iss={url}", theirs.state), good, "not of this browser"),
        (format!("code={code}&state={flipped}&iss={url}"), good, "not of this browser"),
        (format!("code={code}&state=x&iss={url}"), good, "not of this browser"),
        (format!("code={code}&state=&iss={url}"), good, "not of this browser"),
        (format!("code={code}&state={state}&iss={url}"), twice.as_str(), "has no cookie"),
        (format!("code={code}&state={state}&iss={url}"), "appliance-session=v2.x", "has no cookie"),
        (format!("code={code}&iss={url}"), good, "has no `state`"),
        (format!("state={state}&iss={url}"), good, "has no `code`"),
        (format!("code={code}&state={state}&state={state}&iss={url}"), good, "twice"),
        (format!("code={code}&code=x&state={state}&iss={url}"), good, "twice"),
        (format!("code={}&state={state}&iss={url}", "x".repeat(9000)), good, "too long"),
        // Mix-up: the response is from another provider, or does not say from which (RFC 9207).
        (format!("code={code}&state={state}&iss=https%3A%2F%2Fevil.example"), good, "another identity provider"),
        (format!("code={code}&state={state}"), good, "another identity provider"),
    ] {
        assert_rejected(&appliance, &ask(&query, cookie), REJECTED, reason);
    }
    let asked = || scene.provider.server().requests().iter().filter(|request| request.target == "/token").count();
    assert_eq!(asked(), 0, "no code was sent to the provider");
    // And the right one works, once.
    let query = format!("code={code}&state={state}&iss={url}");
    assert_eq!(ask(&query, good).status, 303);
    assert_rejected(&appliance, &ask(&query, good), REJECTED, "does not accept the code: invalid_grant");
    assert_eq!(asked(), 2);

    let missing = get(&appliance, "/_appliance/oidc/start?issuer=other&next=/", &[]);
    assert_eq!((missing.status, missing.header("x-appliance-error")), (404, "no-such-page"));
    let posted = appliance.connect().request("POST", &format!("{CALLBACK}?{query}"), &[("Cookie", good)], Some(b""));
    assert_eq!((posted.status, posted.has("set-cookie")), (404, false));
}

#[test]
fn a_state_of_another_key_and_a_session_in_its_place_are_rejected() {
    let scene = Scene::new();
    let (appliance, stranger) = (scene.appliance(), scene.appliance());
    let visit = Visit::begin(&appliance, "/");
    let code = scene.provider.grants(&visit.address);
    drop(stranger);
    std::fs::write(scene.directory.path().join("session-key"), [8; 32]).unwrap();
    let configuration = scene.directory.path().join("appliance.toml");
    let other = crate::support::appliance::Builder::from_file(&configuration).start();
    eventually("the provider is known", || get(&other, "/_appliance/oidc/start?issuer=idp&next=/", &[]).status == 303);
    let answer = visit.comes_back(&other, &format!("code={code}&iss={}", scene.provider.url()));
    assert_rejected(&other, &answer, REJECTED, "not of this browser");
    // The value of a session is no state, and the other way round.
    let session = cookie(&scene.sign_in(&appliance, "/"));
    let value = session.strip_prefix("appliance-session=v2.").unwrap();
    let target = format!("{CALLBACK}?code={code}&state={value}&iss={}", scene.provider.url());
    assert_rejected(
        &appliance,
        &get(&appliance, &target, &[("Cookie", &visit.cookie)]),
        REJECTED,
        "not of this browser",
    );
    for forged in [format!("v2.{}", visit.state), format!("v2.{}", &value[1..]), "v2.".to_owned(), "v2".to_owned()] {
        let headers = [("Cookie", format!("appliance-session={forged}"))];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(get(&appliance, "/version", &headers).status, 401, "{forged}");
    }
    assert_eq!(get(&appliance, "/version", &[("Cookie", &session)]).status, 200);
    assert_eq!(get(&other, "/version", &[("Cookie", &session)]).status, 401, "another key");
}

#[test]
fn an_id_token_that_is_not_for_this_sign_in_is_rejected() {
    let scene = Scene::new();
    let appliance = scene.appliance();
    let other_nonce = {
        let visit = Visit::begin(&appliance, "/");
        let url = url::Url::parse(&visit.address).unwrap();
        url.query_pairs().find(|(name, _)| name == "nonce").unwrap().1.into_owned()
    };
    let rejected: [(Value, &str); 13] = [
        (json!({"nonce": other_nonce}), "the nonce of another sign-in"),
        (json!({"nonce": null}), "the nonce of another sign-in"),
        (json!({"aud": "other"}), "another audience"),
        (json!({"aud": null}), "another audience"),
        (json!({"aud": ["mlflow", "other"]}), "issued to another client"),
        (json!({"azp": "other"}), "issued to another client"),
        (json!({"iss": "https://evil.example"}), "not one of the configured issuers"),
        (json!({"exp": 1_000_000_000}), "expired"),
        (json!({"exp": null}), "no expiry"),
        (json!({"nbf": 4_000_000_000_u64}), "not valid yet"),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "another access token"),
        (json!({"sub": null}), "no subject"),
        (json!({"sub": ""}), "no subject"),
    ];
    for (claims, reason) in rejected {
        scene.provider.script(|script| script.claims = claims.clone());
        assert_rejected(&appliance, &scene.sign_in(&appliance, "/"), REJECTED, reason);
    }
    scene.provider.script(|script| script.claims = json!({}));
    for (body, kind, reason) in [
        (json!({"id_token": "a.b.c", "token_type": "Bearer"}).to_string(), REJECTED, "ID token is rejected"),
        // `{"alg":"none"}`
        (json!({"id_token": "eyJhbGciOiJub25lIn0.e30.", "token_type": "Bearer"}).to_string(), REJECTED, "algorithm"),
        (json!({"access_token": "at"}).to_string(), FAILED, "no ID token"),
        ("<html>".to_owned(), FAILED, "no ID token"),
    ] {
        scene.provider.script(|script| script.token_response = Some(("200 OK", body)));
        assert_rejected(&appliance, &scene.sign_in(&appliance, "/"), kind, reason);
    }
}

#[test]
fn a_provider_that_refuses_fails_or_is_down_has_a_page_with_the_reason() {
    let scene = Scene::new();
    let appliance = scene.appliance();
    let url = scene.provider.url();
    let cancelled = Visit::begin(&appliance, "/").comes_back_with(
        &appliance,
        &format!("error=access_denied&error_description=No%3Cb%3E&iss={url}"),
        &[PAGE],
    );
    assert_rejected(&appliance, &cancelled, REJECTED, "`access_denied`: No<b>");
    assert!(cancelled.text().contains("access_denied") && !cancelled.text().contains("<b>"), "{}", cancelled.text());
    assert!(cancelled.text().contains(cancelled.header("x-appliance-request-id")), "{}", cancelled.text());

    for (status, body, reason) in [
        (
            "401 Unauthorized",
            json!({"error": "invalid_client"}).to_string(),
            "the client or its secret: invalid_client",
        ),
        ("503 Service Unavailable", String::new(), "answered 503"),
        ("302 Found", String::new(), "answered 302"),
        ("200 OK", "x".repeat(300 * 1024), "token request"),
    ] {
        scene.provider.script(|script| script.token_response = Some((status, body)));
        assert_rejected(&appliance, &scene.sign_in(&appliance, "/"), FAILED, reason);
    }
    scene.provider.script(|script| script.token_response = None);
    std::fs::write(scene.directory.path().join("secret"), "").unwrap();
    assert_rejected(&appliance, &scene.sign_in(&appliance, "/"), FAILED, "the secret of the client cannot be read");
    std::fs::write(scene.directory.path().join("secret"), "new").unwrap();
    assert_rejected(&appliance, &scene.sign_in(&appliance, "/"), FAILED, "invalid_client");
    std::fs::write(scene.directory.path().join("secret"), super::SECRET).unwrap();
    let session = cookie(&scene.sign_in(&appliance, "/"));

    let visit = Visit::begin(&appliance, "/");
    scene.provider.server().stop();
    let down = visit.comes_back(&appliance, &format!("code=x&iss={url}"));
    assert_rejected(&appliance, &down, FAILED, "did not respond to the token request");
    assert!(!down.text().contains("localhost"), "no host is shown: {}", down.text());
    assert_eq!(get(&appliance, "/version", &[("Cookie", &session)]).status, 200, "sessions do not need the provider");
}

#[test]
fn a_slow_provider_holds_up_no_more_than_its_share() {
    let scene = Scene::new();
    let appliance = scene.appliance();
    scene.provider.script(|script| script.delay = Duration::from_secs(12));
    let began = std::time::Instant::now();
    let answer = scene.sign_in(&appliance, "/");
    assert_rejected(&appliance, &answer, FAILED, "did not respond to the token request within 10 s");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[test]
fn a_sign_in_leads_only_to_the_appliance() {
    let scene = Scene::new();
    let appliance = scene.appliance();
    for next in [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/_appliance/logout",
        "/../x",
        "",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: a=b",
    ] {
        let welcome = scene.sign_in(&appliance, next);
        assert_eq!((welcome.status, leads_to(CALLBACK, &welcome).as_str()), (303, "/"), "{next:?}");
        assert_eq!(welcome.all("set-cookie").len(), 1, "{next:?}");
    }
    let long = scene.sign_in(&appliance, &format!("/{}", "x".repeat(5000)));
    assert_eq!(leads_to(CALLBACK, &long), "/", "the address at the provider stays short");
    let hostile = [("Host", "evil.example/x?"), PAGE];
    let mut caller = appliance.connect();
    let request =
        format!("GET /_appliance/oidc/start?issuer=idp&next=/ HTTP/1.1\r\n{}: {}\r\n\r\n", hostile[0].0, hostile[0].1);
    caller.send(request).unwrap();
    let answer = caller.answer(false).unwrap();
    assert!(answer.status >= 400 && !answer.has("location"), "{} {:?}", answer.status, answer.headers);
}

#[test]
fn a_document_that_would_send_secrets_in_clear_text_is_not_used() {
    let scene = Scene::new();
    drop(scene.appliance());
    for (change, reason) in [
        (json!({"token_endpoint": "http://localhost:1/token"}), "`token_endpoint`"),
        (json!({"authorization_endpoint": null}), "no `authorization_endpoint`"),
        (json!({"code_challenge_methods_supported": ["plain"]}), "PKCE"),
    ] {
        scene.provider.script(|script| script.discovery = change);
        let configuration = scene.directory.path().join("appliance.toml");
        let appliance = crate::support::appliance::Builder::from_file(&configuration).start();
        let start = || get(&appliance, "/_appliance/oidc/start?issuer=idp&next=/", &[]);
        eventually("the document is known", || {
            start();
            appliance
                .access_log()
                .iter()
                .any(|event| event["cause"].as_str().is_some_and(|cause| cause.contains(reason)))
        });
        assert_rejected(&appliance, &start(), FAILED, reason);
    }
}
