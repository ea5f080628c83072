//! Claims become a role, targets and a name.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{ConfigFile, SEARCH, ask, caller_table, event, issuer_table};
use crate::support::appliance::Appliance;
use crate::support::issuer::{SigningKey, TestIssuer};
use crate::support::upstream::Upstream;

const CREATE: &str = "/api/2.0/mlflow/runs/create";
const WEBHOOKS: &str = "/api/2.0/mlflow/webhooks";

/// The statuses of a read, a write and an action of administrators, and the name of the caller.
fn granted(appliance: &Appliance, token: &str) -> (Vec<u16>, Value) {
    let answers: Vec<_> = [SEARCH, CREATE, WEBHOOKS].map(|path| ask(appliance, "POST", path, token)).into();
    let name = event(appliance, &answers[0])["caller"].clone();
    (answers.iter().map(|answer| answer.status).collect(), name)
}

#[test]
fn the_first_grant_that_matches_all_its_claims_decides() {
    let (upstream, key) = (Upstream::ok(), SigningKey::p256());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let grants = [
        "claim = [\"repository=corp/ml-*\", \"ref=refs/heads/main\"]\nrole = \"admin\"\nname = \"gha-{repository}\"",
        "claims = [\"repository=corp/*\"]\nrole = \"write\"\nname = \"gha:{repository}@{ref}\"",
        "claim = \"realm_access.roles=mlflow-*\"\nrole = \"write\"\nname = \"{preferred_username}\"",
        "claim = \"/kubernetes.io/serviceaccount/name=trainer\"\nrole = \"write\"\nname = \"k8s-trainer\"",
        "claim = \"kubernetes.io.namespace=ml\"\nrole = \"read\"\nname = \"k8s-{kubernetes.io.namespace}\"",
        "claim = \"groups=readers\"\nrole = \"read\"",
        "claim = \"email_verified=true\"\nrole = \"read\"\nname = \"{email}\"",
        "claim = \"level=7\"\nrole = \"read\"",
    ];
    let tables: String = grants.iter().map(|grant| caller_table("ci", grant)).collect();
    let file = ConfigFile::new(&upstream, &(issuer_table("ci", &issuer, "") + &tables));
    let appliance = file.start();
    let header = json!({"alg": "ES256", "kid": "k"});
    let long = format!("corp/ml-{}", "x".repeat(80));
    for (claims, statuses, name) in [
        (json!({"repository": "corp/ml-x", "ref": "refs/heads/main"}), [200, 200, 200], "gha-corp-ml-x-"),
        (json!({"repository": "corp/ml-x", "ref": "refs/heads/dev"}), [200, 200, 403], "gha-corp-ml-x@refs-heads-dev-"),
        (json!({"repository": "corp/web", "ref": "refs/heads/main"}), [200, 200, 403], "gha-corp-web@refs-heads-main-"),
        (json!({"repository": long, "ref": "refs/heads/main"}), [200, 200, 200], "gha-corp-ml-xxxxx"),
        (json!({"realm_access": {"roles": ["a", "mlflow-team"]}, "preferred_username": "ada"}), [200, 200, 403], "ada"),
        (
            json!({"kubernetes.io": {"namespace": "ml", "serviceaccount": {"name": "trainer"}}}),
            [200, 200, 403],
            "k8s-trainer",
        ),
        (json!({"kubernetes.io": {"namespace": "ml", "serviceaccount": {"name": "x"}}}), [200, 403, 403], "k8s-ml"),
        (json!({"groups": ["x", "readers"], "sub": "bob"}), [200, 403, 403], "bob"),
        (json!({"email_verified": true, "email": "eve@corp.example"}), [200, 403, 403], "eve@corp.example"),
        (json!({"level": 7, "sub": "bob"}), [200, 403, 403], "bob"),
        (json!({"email_verified": false, "email": "eve@corp.example"}), [403, 403, 403], ""),
        (json!({"repository": "evilcorp/ml-x", "ref": "refs/heads/main"}), [403, 403, 403], ""),
        (json!({"groups": {"readers": true}}), [403, 403, 403], ""),
        (json!({"realm_access": {"roles": [["mlflow-team"]]}}), [403, 403, 403], ""),
    ] {
        let (found, caller) = granted(&appliance, &key.token(&header, &issuer.claims(&claims)));
        assert_eq!(found, statuses, "{claims}");
        let caller = caller.as_str().unwrap_or_default().to_owned();
        assert!(caller.starts_with(name) && caller.len() <= 64, "{claims}: {caller}");
        assert_eq!(caller.is_empty(), name.is_empty(), "{claims}: {caller}");
    }
}

#[test]
fn names_that_had_to_be_changed_are_still_two_names() {
    let (upstream, key) = (Upstream::ok(), SigningKey::ed25519());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let file = ConfigFile::new(
        &upstream,
        &(issuer_table("ci", &issuer, "") + &caller_table("ci", "claim = \"*\"\nrole = \"read\"")),
    );
    let appliance = file.start();
    let mut seen = std::collections::BTreeSet::new();
    let mut name = |sub: &str| {
        let token = key.token(&json!({"alg": "EdDSA", "kid": "k"}), &issuer.claims(&json!({"sub": sub})));
        let answer = ask(&appliance, "POST", SEARCH, &token);
        assert_eq!(answer.status, 200, "{sub}");
        let caller = event(&appliance, &answer)["caller"].as_str().unwrap().to_owned();
        assert!(seen.insert(caller.clone()), "{sub}: {caller}");
        caller
    };
    let changed = name("repo:corp/x:ref:refs/heads/main");
    assert!(changed.starts_with("repo-corp-x-ref-refs-heads-main-"), "{changed}");
    name("repo-corp-x-ref-refs-heads-main");
    name("repo/corp/x/ref/refs/heads/main");
    // The name of another caller cannot be chosen.
    assert_ne!(name(&changed), changed);
    assert_eq!(name("ada@corp.example"), "ada@corp.example");
}

#[test]
fn a_grant_may_be_for_some_targets_and_tokens_of_the_file_stay_valid() {
    let (upstream, key) = (Upstream::ok(), SigningKey::p256());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let tokens = crate::support::tokens::TokenFile::new();
    let token = tokens.add("robot", "read", &[]);
    let (arn, url) = (crate::support::appliance::TRACKING_ARN, upstream.url());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("appliance.toml");
    let text = format!(
        "tokens = \"{}\"\nca-file = \"{}\"\n{}{}[[target]]\nname = \"a\"\nresource-arn = \"{arn}\"\nupstream-endpoint = \
         \"{url}\"\n[[target]]\nname = \"b\"\nresource-arn = \"{arn}2\"\nupstream-endpoint = \"{url}\"\n",
        tokens.path().display(),
        crate::support::authority::authority().file().display(),
        issuer_table("ci", &issuer, ""),
        caller_table("ci", "claim = \"sub=ada\"\nrole = \"read\"\ntargets = \"b\""),
    );
    std::fs::write(&path, text).unwrap();
    let appliance = crate::support::appliance::Builder::from_file(&path).start();
    let jwt = key.token(&json!({"alg": "ES256", "kid": "k"}), &issuer.claims(&json!({})));
    let status = |target: &str, token: &str| ask(&appliance, "POST", &format!("/t/{target}{SEARCH}"), token).status;
    assert_eq!((status("a", &jwt), status("b", &jwt)), (403, 200));
    assert_eq!((status("a", &token.text), status("b", &token.text)), (200, 200));
    assert_eq!(status("b", "nonsense"), 401);
    // Basic, as programs without bearer tokens send it.
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("user:{jwt}")));
    let answer = appliance.connect().request("GET", "/t/b/version", &[("Authorization", &basic)], None);
    assert_eq!(answer.status, 200, "{}", answer.text());
}
