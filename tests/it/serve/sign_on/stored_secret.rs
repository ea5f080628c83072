//! The secret of the appliance's client at an identity provider, in AWS Secrets Manager.

use rustix::process::Signal;

use super::stand_in::SECRET;
use super::{GRANTS, PAGE, Scene, get};
use crate::support::Message as _;
use crate::support::appliance::Builder;
use crate::support::eventually;
use crate::support::secrets::Secrets;
use crate::support::tokens::TokenFile;

const START: &str = "/_appliance/oidc/start?issuer=idp&next=%2F";

#[test]
fn a_client_secret_is_read_from_aws_and_again_after_its_rotation() {
    let (scene, secrets, tokens) = (Scene::new(), Secrets::start(), TokenFile::new());
    let token = tokens.add("ci", "read", &[]);
    let configuration = scene.configuration("secretsmanager:mlflow/client-secret", "", GRANTS);
    let builder = Builder::from_file(&configuration).with_tokens(&tokens).with(&["--reload-interval", "1h"]);
    let appliance = builder.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets.url()).start();
    eventually("the provider is known", || appliance.log().contains("the keys of an issuer were fetched"));

    eventually("the log has the reason", || appliance.log().contains("answered ResourceNotFoundException"));
    let early = get(&appliance, START, &[]);
    assert_eq!((early.status, early.header("x-appliance-error")), (503, "client-secret-unknown"), "{}", early.text());
    early.header("retry-after").parse::<u32>().expect("seconds");
    let page = get(&appliance, START, &[PAGE]);
    assert_eq!(page.status, 503);
    assert!(page.text().contains("has not yet read the secret"), "{}", page.text());
    assert!(!page.text().contains("mlflow/client-secret"), "only the log names it: {}", page.text());
    assert_eq!(get(&appliance, "/version", &[("Authorization", &token.bearer())]).status, 200, "others work");

    // The operator stores another secret than the provider has, and corrects that.
    secrets.put("an old secret");
    eventually("the secret is read", || get(&appliance, START, &[]).status == 303);
    let failed = scene.sign_in(&appliance, "/");
    assert_eq!((failed.status, failed.header("x-appliance-error")), (502, "identity-provider-failed"));
    secrets.put(&format!("{SECRET}\n"));
    appliance.signal(Signal::HUP);
    eventually("the new secret is in use", || scene.sign_in(&appliance, "/").status == 303);

    secrets.deny(true);
    appliance.signal(Signal::HUP);
    eventually("the reload fails", || appliance.log().contains("cannot reload the client secret"));
    assert_eq!(scene.sign_in(&appliance, "/").status, 303, "the previous secret stays in use");
    let log = appliance.log();
    assert!(log.contains("secretsmanager:GetSecretValue") && log.contains("allow the action"), "{log}");
    assert!(!log.contains(SECRET) && !log.contains("an old secret"), "{log}");
}

#[test]
fn a_client_secret_in_aws_is_reloaded_at_each_interval() {
    let (scene, secrets) = (Scene::new(), Secrets::start());
    secrets.put("an old secret");
    let configuration = scene.configuration("secretsmanager:mlflow/client-secret", "", GRANTS);
    let builder = Builder::from_file(&configuration).with(&["--reload-interval", "200ms"]);
    let appliance = builder.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets.url()).start();
    eventually("the provider is known", || appliance.log().contains("the keys of an issuer were fetched"));
    eventually("the secret is read", || get(&appliance, START, &[]).status == 303);
    assert_eq!(scene.sign_in(&appliance, "/").status, 502);
    secrets.put(SECRET);
    eventually("the new secret is in use", || scene.sign_in(&appliance, "/").status == 303);
}
