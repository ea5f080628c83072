//! The sources of tokens: the token file, which a command changes, systemd and AWS.

use super::callers::{SEARCH, with};
use crate::support::appliance::{Builder, run};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{python, quiet_port};

#[test]
fn the_token_command_keeps_a_symlink_to_the_token_file() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("kept")).unwrap();
    std::fs::create_dir(path("links")).unwrap();
    // Relative and through another link, as configuration management lays them.
    symlink("../kept/tokens.toml", path("links/inner.toml")).unwrap();
    symlink(path("links/inner.toml"), path("tokens.toml")).unwrap();
    let link = path("tokens.toml").to_str().unwrap().to_owned();
    let token = |arguments: &[&str]| run(&[&["token"], arguments, &["--file", &link]].concat(), &[]);
    let text = || std::fs::read_to_string(path("kept/tokens.toml")).unwrap();
    for (name, mode) in [("first", 0o600), ("second", 0o640)] {
        let made = token(&["new", "--name", name, "--role", "read"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        assert!(text().contains(name), "where the link leads, also when there is nothing yet");
        assert_eq!(std::fs::metadata(path("kept/tokens.toml")).unwrap().permissions().mode() & 0o777, mode);
        std::fs::set_permissions(path("kept/tokens.toml"), PermissionsExt::from_mode(0o640)).unwrap();
    }
    assert!(token(&["revoke", "first"]).status.success() && !text().contains("first") && text().contains("second"));
    for name in ["tokens.toml", "links/inner.toml"] {
        assert!(std::fs::symlink_metadata(path(name)).unwrap().is_symlink(), "{name}");
    }
    for (name, expected) in [("kept", 1), ("links", 1), (".", 3)] {
        assert_eq!(std::fs::read_dir(path(name)).unwrap().count(), expected, "{name}: nothing is left behind");
    }
    symlink(path("loop.toml"), path("loop.toml")).unwrap();
    let endless = run(&["token", "list", "--file", path("loop.toml").to_str().unwrap()], &[]);
    assert!(!endless.status.success());
    let endless = path("loop.toml");
    let endless = run(&["token", "new", "--name", "ci", "--role", "read", "--file", endless.to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&endless.stderr).into_owned();
    assert!(!endless.status.success() && said.contains("loop.toml"), "{said}");
}

#[test]
fn the_token_command_stores_only_hashes_in_a_private_file() {
    use std::os::unix::fs::PermissionsExt;
    let tokens = TokenFile::new();
    let first = tokens.add("ci", "read", &["--targets", "team-a,team-b"]);
    let second = tokens.add("ada", "admin", &["--expires", "never"]);
    let text = tokens.text();
    for token in [&first, &second] {
        assert!(text.contains(&token.id) && !text.contains(&token.text[16..]), "{text}");
    }
    assert_eq!(std::fs::metadata(tokens.path()).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(tokens.path(), PermissionsExt::from_mode(0o640)).unwrap();
    let list = tokens.command(&["list"]);
    assert_eq!(list[0]["targets"], serde_json::json!(["team-a", "team-b"]));
    assert_eq!((list[1]["name"].as_str(), list[1]["expires"].as_str()), (Some("ada"), None));
    assert_eq!(tokens.command(&["revoke", "ci"]), serde_json::json!({"revoked": [first.id]}));
    assert_eq!(std::fs::metadata(tokens.path()).unwrap().permissions().mode() & 0o777, 0o640, "as it was given");
    let path = tokens.path();
    let file = path.to_str().unwrap();
    for (arguments, expected) in [
        (&["revoke", "nobody", "--file", file][..], "there is no token `nobody`"),
        (&["new", "--name", "a b", "--role", "read", "--file", file], "a name has 2 to 64 characters"),
        (&["new", "--name", "ci", "--role", "read", "--expires", "soon", "--file", file], "--expires soon"),
        (&["list", "--file", "/nonexistent/tokens.toml"], "/nonexistent/tokens.toml"),
    ] {
        let output = run(&[&["token"], arguments].concat(), &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(78) && said.contains(expected) && said.contains("hint:"), "{said}");
    }
    let table = run(&["token", "list", "--file", file], &[]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("ID ") && table.contains("ada") && table.contains("never"), "{table}");
}

#[test]
fn two_concurrent_changes_of_the_token_file_are_both_kept() {
    let tokens = TokenFile::new();
    std::thread::scope(|scope| {
        for number in 0..12 {
            let tokens = &tokens;
            scope.spawn(move || tokens.add(&format!("ci-{number}"), "read", &[]));
        }
    });
    assert_eq!(tokens.command(&["list"]).as_array().unwrap().len(), 12);
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn tokens_are_read_from_aws() {
    let bin = python::environment();
    for (service, source, variable) in [
        ("ssm", "ssm:/mlflow/tokens", "AWS_ENDPOINT_URL_SSM"),
        ("secretsmanager", "secretsmanager:mlflow-tokens", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
    ] {
        let upstream = Upstream::ok();
        let tokens = TokenFile::new();
        let (token, other) = (tokens.add("ci", "read", &[]), tokens.add("ada", "read", &[]));
        let port = quiet_port();
        let appliance = Builder::new(&upstream)
            .with(&["--tokens", source, "--reload-interval", "200ms"])
            .env(variable, &format!("http://127.0.0.1:{port}"))
            .without_waiting()
            .start();
        let arguments = [&port.to_string(), &appliance.url(), service, &token.text, &other.text];
        let result = python::run(&bin, "moto_secrets.py", &arguments, tokens.text().as_bytes());
        assert_eq!(result["checks"], 10, "{service}");
        let log = appliance.log();
        assert!(
            log.contains("cannot reload the tokens") && log.contains("the appliance reloads them by itself"),
            "{log}"
        );
        assert!(!log.contains(&token.text) && !log.contains("sha256"), "{log}");
    }
}

#[test]
fn systemd_passes_the_token_file_as_a_credential() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "read", &[]);
    let directory = tokens.path().parent().unwrap().to_str().unwrap().to_owned();
    let builder = Builder::new(&upstream).with(&["--tokens", "credential:tokens.toml"]);
    let appliance = builder.env("CREDENTIALS_DIRECTORY", &directory).start();
    assert_eq!(with(&appliance, &token.bearer()).status, 200);
    assert_eq!(appliance.get(SEARCH).status, 401);
}
