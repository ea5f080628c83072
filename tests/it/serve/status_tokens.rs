//! `status.json`: a row for each issuer, and the end of the token that a caller used last.

use serde_json::{Value, json};

use super::callers::with;
use super::metrics::after;
use crate::support::appliance::{Appliance, Builder, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::issuer::{AUDIENCE, SigningKey, TestIssuer, now};
use crate::support::personal::{PersonAt, PersonalFile};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

fn rows(appliance: &Appliance, name: &str) -> Vec<Value> {
    let document: Value = appliance.admin("/status.json").json();
    let rows = document["callers"]["rows"].as_array().unwrap();
    rows.iter().filter(|row| row["name"] == name).cloned().collect()
}

#[test]
fn two_issuers_with_one_name_have_two_rows_with_the_end_of_the_last_token() {
    let (upstream, key) = (Upstream::ok(), SigningKey::p256());
    let issuers = [TestIssuer::new(&[key.jwk("k")]), TestIssuer::new(&[key.jwk("k")])];
    let tables = ["okta", "entra"].iter().zip(&issuers).map(|(name, issuer)| {
        let url = issuer.url();
        format!(
            "[[issuer]]\nname = \"{name}\"\nurl = \"{url}\"\naudience = \"{AUDIENCE}\"\nleeway = \"1s\"\n\
             [[caller]]\nissuer = \"{name}\"\nclaim = \"*\"\nrole = \"read\"\n"
        )
    });
    let tables: String = tables.collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("appliance.toml");
    let (url, authorities) = (upstream.url(), authority().file());
    let common = format!(
        "resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{url}\"\nca-file = \"{}\"\n",
        authorities.display()
    );
    std::fs::write(&path, common + &tables).unwrap();
    let appliance = Builder::from_file(&path).with_admin().start();
    let use_token = |issuer: &TestIssuer, end: u64| {
        let claims = issuer.claims(&json!({"sub": "ada", "exp": end}));
        let token = key.token(&json!({"alg": "ES256", "kid": "k"}), &claims);
        assert_eq!(with(&appliance, &format!("Bearer {token}")).status, 200);
    };
    let [soon, late] = [now() + 300, now() + 1200];
    // The second token of the first issuer ends before the first one.
    use_token(&issuers[0], late);
    use_token(&issuers[0], soon);
    use_token(&issuers[0], soon);
    use_token(&issuers[1], late);
    after(&appliance, 4);
    // A row shows until when the appliance accepts the token, and so with the leeway.
    let mut seen: Vec<_> = rows(&appliance, "ada")
        .iter()
        .map(|row| (row["issuer"].clone(), row["means"].clone(), row["requests"].clone(), row["token_expires"].clone()))
        .collect();
    seen.sort_by_key(|(issuer, ..)| issuer.to_string());
    let expected = [("entra", 1, late), ("okta", 3, soon)]
        .map(|(issuer, requests, end)| (json!(issuer), json!("jwt"), json!(requests), json!(end + 1)));
    assert_eq!(seen, expected);
}

#[test]
fn a_personal_token_shows_its_end_and_a_token_of_the_file_shows_that_of_all() {
    let (upstream, tokens, personal) = (Upstream::ok(), TokenFile::new(), PersonalFile::new());
    let ada = tokens.add("ada", "write", &["--expires", "30d"]);
    let appliance = personal.builder(&upstream, &tokens).with_admin().start();
    let token = PersonAt::sign_in(&appliance, &ada.text).make("laptop", "read");
    assert_eq!(with(&appliance, &format!("Bearer {token}")).status, 200);
    assert_eq!(with(&appliance, &ada.bearer()).status, 200);
    // The sign-in and the new token count, too.
    after(&appliance, 4);
    let rows = rows(&appliance, "ada");
    let row = |means: &str| rows.iter().find(|row| row["means"] == means).unwrap_or_else(|| panic!("{rows:#?}"));
    let text = personal.text();
    let end = text.split("expires = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let end = humantime::parse_rfc3339(end).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!((&row("personal")["token_expires"], &row("personal")["tokens"]), (&json!(end), &Value::Null));
    assert_eq!((&row("token")["token_expires"], &row("token")["tokens"]["count"]), (&Value::Null, &json!(1)));
    assert_eq!(row("token")["issuer"], Value::Null);
}
