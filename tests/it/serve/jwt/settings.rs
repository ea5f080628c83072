//! The configuration of issuers, and `appliance check`.

use serde_json::{Value, json};

use super::{ConfigFile, SEARCH, ask, caller_table, issuer_table};
use crate::support::appliance::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, command, run};
use crate::support::issuer::{SigningKey, TestIssuer};
use crate::support::upstream::Upstream;

#[test]
fn an_incomplete_or_unsafe_configuration_is_explained() {
    let upstream = Upstream::ok();
    let caller = "[[caller]]\nissuer = \"ci\"\nclaim = \"a=b\"\nrole = \"read\"\n";
    let issuer = "[[issuer]]\nname = \"ci\"\nurl = \"https://idp.example\"\naudience = \"x\"\n";
    let anyone = "[[caller]]\nissuer = \"ci\"\nclaim = \"*\"\nrole = \"read\"\n";
    for (tables, expected) in [
        (format!("[[issuer]]\n{caller}"), "an `[[issuer]]` needs `name`"),
        (format!("[[issuer]]\nname = \"ci\"\n{caller}"), "an `[[issuer]]` needs `url`"),
        (
            format!("[[issuer]]\nname = \"ci\"\nurl = \"https://idp.example\"\n{caller}"),
            "an `[[issuer]]` needs `audience`",
        ),
        (issuer.replace("ci", "C I") + caller, "a name has up to 63"),
        (
            issuer.replace("https://idp.example", "http://idp.example") + caller,
            "plain http is allowed to this machine only",
        ),
        (issuer.replace("https://idp.example", "idp") + caller, "not a URL"),
        (format!("{issuer}leeway = \"6m\"\n{caller}"), "the leeway is longer than 5 minutes"),
        (format!("{issuer}algorithms = [\"RS256\", \"HS256\"]\n{caller}"), "`HS256`: an algorithm is RS256"),
        (format!("{issuer}algorithms = \"none\"\n{caller}"), "`none`: an algorithm is RS256"),
        (format!("{issuer}audiance = \"x\"\n{caller}"), "did you mean `audience`?"),
        (
            format!("{issuer}keys-url = \"http://keys.example/\"\n{caller}"),
            "plain http is allowed to this machine only",
        ),
        (format!("{issuer}keys-file = \"/nonexistent\"\n{caller}"), "`/nonexistent`: No such file"),
        (
            format!("{issuer}keys-file = \"/dev/null\"\nkeys-url = \"https://keys.example\"\n{caller}"),
            "the keys have two sources",
        ),
        (format!("{issuer}keys-file = \"/dev/zero\"\n{caller}"), "larger than"),
        (issuer.to_owned(), "the tokens of this issuer grant nothing"),
        (format!("{issuer}{issuer}{caller}"), "another issuer has the same `name` or `url`"),
        (
            format!("{issuer}{caller}[[caller]]\nissuer = \"cii\"\nclaim = \"a=b\"\nrole = \"read\"\n"),
            "did you mean `ci`?",
        ),
        (format!("{issuer}[[caller]]\nissuer = \"ci\"\nrole = \"read\"\n"), "with an `issuer` needs a `claim`"),
        (format!("{issuer}[[caller]]\nissuer = \"ci\"\nclaim = \"a=b\"\n"), "needs a `role`"),
        (
            format!("{issuer}[[caller]]\nissuer = \"ci\"\nclaim = \"repository\"\nrole = \"read\"\n"),
            "written as `name=value`",
        ),
        (format!("{issuer}{caller}name = \"gha-{{repository\"\n"), "a `{` is not closed"),
        (format!("{issuer}{caller}name = \"no good\"\n"), "a name has 2 to 64 characters"),
        (format!("{issuer}{caller}targets = \"other\"\n"), "granted the target `other`, which does not exist"),
        (format!("{issuer}{caller}certificate = \"dns:ci\"\n"), "is for a certificate or for an issuer's tokens"),
        (
            format!("{issuer}{caller}principal = \"arn:aws:iam::123456789012:role/ci\"\n"),
            "is for an AWS principal or for an issuer's tokens",
        ),
        (
            format!("{issuer}[[caller]]\nclaim = [\"a=b\", \"c=d\"]\nrole = \"read\"\n{caller}"),
            "several claims need an `issuer`",
        ),
        (
            issuer.replace("https://idp.example", "https://token.actions.githubusercontent.com") + anyone,
            "anybody can obtain a token",
        ),
        (
            issuer.replace("https://idp.example", "https://gitlab.com") + &anyone.replace("\"*\"", "\"sub=*\""),
            "anybody can obtain a token",
        ),
        (caller.to_owned(), "there is no such issuer"),
    ] {
        let file = ConfigFile::new(&upstream, &tables);
        let output = run(&["check", "--offline", "--config", file.path().to_str().unwrap()], &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(78) && said.contains(expected) && said.contains("hint: "),
            "{expected}: {said}"
        );
        assert!(said.contains("appliance.toml:") || said.contains("defaults"), "{said}");
    }
    for more in [
        "",
        "audience-claim = \"client_id\"\nname-claim = \"username\"\nleeway = \"5m\"\n",
        "algorithms = [\"RS512\"]\n",
    ] {
        let file = ConfigFile::new(&upstream, &format!("{issuer}{more}{caller}{anyone}"));
        let output = run(&["check", "--offline", "--config", file.path().to_str().unwrap()], &[]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("holders of JWTs of `ci`"), "{said}");
    }
}

/// The finding about the issuer.
fn checked(file: &ConfigFile) -> Value {
    let output = command(&["check", "--json", "--read-only", "--config", file.path().to_str().unwrap()])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let document: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let findings = document["findings"].as_array().unwrap().clone();
    findings.into_iter().find(|finding| finding["check"] == "issuer").unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn check_tests_the_way_to_an_issuer_and_its_clock() {
    let (upstream, key) = (Upstream::ok(), SigningKey::p256());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let caller = caller_table("ci", "claim = \"*\"\nrole = \"read\"");
    let file = ConfigFile::new(&upstream, &(issuer_table("ci", &issuer, "") + &caller));
    let finding = checked(&file);
    assert_eq!((&finding["outcome"], &finding["subject"]), (&json!("ok"), &json!("ci")), "{finding}");
    assert!(finding["text"].as_str().unwrap().starts_with("1 usable key by way of http://localhost:"), "{finding}");

    issuer.intercept(|request, wire| {
        let keys = json!({"keys": [SigningKey::p256().jwk("k")]}).to_string();
        let date = httpdate::fmt_http_date(std::time::SystemTime::now() - std::time::Duration::from_secs(600));
        let head = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n{keys}", keys.len());
        (request.target == "/keys").then(|| wire.send(head))
    });
    let finding = checked(&file);
    assert!(
        finding["outcome"] == "failure" && finding["text"].as_str().unwrap().contains("the clocks differ by"),
        "{finding}"
    );

    issuer.intercept(|_, wire| Some(wire.answer("404 Not Found", "")));
    let finding = checked(&file);
    assert!(
        finding["outcome"] == "failure" && finding["text"].as_str().unwrap().contains("the status 404"),
        "{finding}"
    );
    assert!(finding["hint"].as_str().unwrap().contains("keys-url"), "{finding}");

    issuer.server.stop();
    let finding = checked(&file);
    assert!(
        finding["outcome"] == "failure" && finding["text"].as_str().unwrap().contains("cannot connect"),
        "{finding}"
    );

    let strict = issuer_table("ci", &TestIssuer::new(&[key.jwk("k")]), "algorithms = \"RS256\"");
    let finding = checked(&ConfigFile::new(&upstream, &(strict + &caller)));
    assert!(finding["text"].as_str().unwrap().contains("no key for the `algorithms`"), "{finding}");
}

#[test]
fn keys_may_come_from_a_file_which_is_read_again() {
    let (upstream, key, new) = (Upstream::ok(), SigningKey::p256(), SigningKey::p256());
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys.json");
    let publish = |key: &SigningKey, id: &str| {
        std::fs::write(&keys, json!({"keys": [key.jwk(id)]}).to_string()).unwrap();
    };
    publish(&key, "k");
    let tables = format!(
        "[[issuer]]\nname = \"k8s\"\nurl = \"kubernetes/serviceaccount\"\naudience = [\"a\", \"b\"]\nkeys-file = \"{}\"\n{}",
        keys.display(),
        caller_table("k8s", "claim = \"*\"\nrole = \"read\"")
    );
    let file = ConfigFile::new(&upstream, &tables);
    let finding = checked(&file);
    assert_eq!(finding["outcome"], "ok", "{finding}");
    let appliance = file.start();
    let token = |key: &SigningKey, id: &str, audience: &str| {
        let end = crate::support::issuer::now() + 60;
        let claims = json!({"iss": "kubernetes/serviceaccount", "aud": audience, "sub": "ada", "exp": end});
        key.token(&json!({"alg": "ES256", "kid": id}), &claims)
    };
    assert_eq!(ask(&appliance, "POST", SEARCH, &token(&key, "k", "a")).status, 200);
    assert_eq!(ask(&appliance, "POST", SEARCH, &token(&key, "k", "b")).status, 200);
    assert_eq!(ask(&appliance, "POST", SEARCH, &token(&key, "k", "c")).status, 401);
    publish(&new, "new");
    assert_eq!(ask(&appliance, "POST", SEARCH, &token(&new, "new", "a")).status, 200, "the file is read again");
}
