//! Tokens with the claims that providers document, and the configuration for each as the pages show it.

use serde_json::{Value, json};

use super::{ConfigFile, SEARCH, ask, event};
use crate::documents::blocks;
use crate::support::issuer::{SigningKey, TestIssuer, now};
use crate::support::upstream::Upstream;

const CREATE: &str = "/api/2.0/mlflow/runs/create";
const PAGES: [&str; 2] = ["docs/access/ci-and-workloads.md", "docs/access/ci-cognito-and-keycloak.md"];

/// The `toml` blocks of the pages with `[[issuer]]`, each with the keys of the test's issuer instead of the provider's.
fn tables_of_the_pages(keys: &str) -> String {
    let blocks = PAGES.iter().flat_map(|page| blocks(page, "toml"));
    let blocks: Vec<_> = blocks.filter(|block| block.contains("[[issuer]]")).collect();
    assert!(blocks.len() >= 8, "{}", blocks.len());
    let lines = blocks.iter().flat_map(|block| block.lines()).filter(|line| !line.starts_with("keys-file"));
    let with_keys = |line: &str| match line {
        "[[issuer]]" => format!("{line}\nkeys-url = \"{keys}\"\n"),
        line => format!("{line}\n"),
    };
    lines.map(with_keys).collect()
}

/// A provider, documented claims, the role that the page grants for them, and the beginning of the caller's name.
type Documented = (&'static str, Value, &'static str, &'static str);

/// Systems for continuous integration, and clusters.
fn of_workloads() -> Vec<Documented> {
    vec![
        (
            "GitHub Actions",
            // https://docs.github.com/en/actions/reference/security/oidc
            json!({
                "iss": "https://token.actions.githubusercontent.com", "aud": "https://mlflow.corp.example",
                "jti": "example-id", "sub": "repo:corp/ml-churn:ref:refs/heads/main", "environment": "prod",
                "ref": "refs/heads/main", "sha": "example-sha", "repository": "corp/ml-churn",
                "repository_owner": "corp", "actor_id": "12", "repository_visibility": "private",
                "repository_id": "74", "repository_owner_id": "65", "run_id": "example-run-id", "run_number": "10",
                "run_attempt": "2", "runner_environment": "github-hosted", "actor": "octocat",
                "workflow": "example-workflow", "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch",
                "ref_type": "branch", "job_workflow_ref": "corp/ml-churn/.github/workflows/oidc.yml@refs/heads/main",
            }),
            "write",
            "gha-corp-ml-churn-",
        ),
        (
            "GitHub Actions of somebody else",
            json!({
                "iss": "https://token.actions.githubusercontent.com", "aud": "https://mlflow.corp.example",
                "sub": "repo:evil/ml-churn:ref:refs/heads/main", "repository": "evil/ml-churn", "repository_owner": "evil",
                "repository_owner_id": "66", "ref": "refs/heads/main",
            }),
            "none",
            "",
        ),
        (
            "GitLab",
            // https://docs.gitlab.com/ci/secrets/id_token_authentication/
            json!({
                "iss": "https://gitlab.com", "aud": "https://mlflow.corp.example", "namespace_id": "72",
                "namespace_path": "corp", "project_id": "20", "project_path": "corp/ml-churn", "user_id": "1",
                "user_login": "sample-user", "user_email": "sample-user@corp.example", "pipeline_id": "574",
                "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
                "ref_path": "refs/heads/main", "ref_protected": "true", "runner_id": 1,
                "runner_environment": "self-hosted", "project_visibility": "public", "jti": "2354",
                "sub": "project_path:corp/ml-churn:ref_type:branch:ref:main",
            }),
            "write",
            "gitlab-corp-ml-churn-",
        ),
        (
            "Kubernetes",
            // https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
            json!({
                "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["https://mlflow.corp.example"],
                "jti": "aed34954-b33a-4142-b1ec-389d6bbb4936", "kubernetes.io": {
                    "namespace": "ml", "node": {"name": "127.0.0.1", "uid": "58456cb0"},
                    "pod": {"name": "train-x", "uid": "b1d1"}, "serviceaccount": {"name": "trainer", "uid": "61e5"},
                    "warnafter": 1_700_000_000,
                },
                "sub": "system:serviceaccount:ml:trainer",
            }),
            "write",
            "k8s-ml-trainer",
        ),
    ]
}

/// Identity providers.
fn of_identity_providers() -> Vec<Documented> {
    vec![
        (
            "Entra",
            // https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference
            json!({
                "iss": "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
                "aud": "99999999-8888-7777-6666-555555555555", "azp": "aaaa", "azpacr": "1", "ver": "2.0",
                "oid": "0000-1111", "rh": "0.AX", "roles": ["MLflow.Write"], "sub": "0000-1111",
                "tid": "11111111-2222-3333-4444-555555555555", "uti": "x",
            }),
            "write",
            "entra-0000-1111",
        ),
        (
            "Okta",
            // https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/
            json!({
                "ver": 1, "jti": "AT.0mP4", "iss": "https://corp.okta.com/oauth2/default",
                "aud": "api://mlflow", "cid": "nmdP1", "uid": "00u1", "scp": ["openid", "mlflow"],
                "sub": "ada@corp.example", "groups": ["Everyone", "ml-engineers"],
            }),
            "write",
            "ada@corp.example",
        ),
        (
            "Google",
            // https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload
            json!({
                "iss": "https://accounts.google.com", "azp": "1234987819200.apps.googleusercontent.com",
                "aud": "https://mlflow.corp.example", "sub": "10769150350006150715113082367",
                "email": "trainer@corp-ml.iam.gserviceaccount.com", "email_verified": true,
            }),
            "write",
            "trainer@corp-ml.iam.gserviceaccount.com",
        ),
        (
            "Cognito's access token",
            // https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
            json!({
                "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "device_key": "aaaa", "cognito:groups": ["ml"],
                "iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Example1", "version": 2,
                "client_id": "1example23456789", "origin_jti": "aaaa", "event_id": "bbbb", "token_use": "access",
                "scope": "openid profile", "auth_time": 1_676_312_777, "jti": "cccc", "username": "ada",
            }),
            "write",
            "ada",
        ),
        (
            "Cognito's ID token",
            json!({
                "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["ml"], "cognito:username": "ada",
                "iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Example1", "aud": "1example23456789",
                "token_use": "id",
            }),
            "rejected",
            "",
        ),
        (
            "Keycloak",
            // https://www.keycloak.org/docs/latest/server_admin/#_audience
            json!({
                "jti": "7e3b", "iss": "https://sso.corp.example/realms/corp", "aud": ["mlflow", "account"],
                "sub": "f:1:ada", "typ": "Bearer", "azp": "trainer", "acr": "1",
                "realm_access": {"roles": ["offline_access", "mlflow-write"]},
                "resource_access": {"account": {"roles": ["view-profile"]}}, "scope": "profile email",
                "preferred_username": "ada",
            }),
            "write",
            "ada",
        ),
    ]
}

#[test]
fn documented_tokens_get_what_the_page_grants() {
    let (upstream, key) = (Upstream::ok(), SigningKey::rsa());
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let file = ConfigFile::new(&upstream, &tables_of_the_pages(&format!("{}/keys", issuer.url())));
    let appliance = file.start();
    for (provider, mut claims, role, name) in of_workloads().into_iter().chain(of_identity_providers()) {
        for (claim, value) in [("iat", now()), ("nbf", now()), ("exp", now() + 300)] {
            claims[claim] = json!(value);
        }
        // Kubernetes and Okta name no type.
        let header = match provider {
            "Kubernetes" | "Okta" => json!({"alg": "RS256", "kid": "k"}),
            _ => json!({"alg": "RS256", "kid": "k", "typ": "JWT", "x5t": "example"}),
        };
        let token = key.token(&header, &claims);
        let answer = ask(&appliance, "POST", SEARCH, &token);
        let event = event(&appliance, &answer);
        let statuses = [answer.status, ask(&appliance, "POST", CREATE, &token).status];
        let expected = match role {
            "write" => [200, 200],
            "none" => [403, 403],
            _ => [401, 401],
        };
        assert_eq!(statuses, expected, "{provider}: {event}");
        let caller = event["caller"].as_str().unwrap_or_default();
        assert!(caller.starts_with(name) && caller.is_empty() == name.is_empty(), "{provider}: {caller}");
    }
}
