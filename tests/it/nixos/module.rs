//! The NixOS module: its units, its assertions, and the settings that the binary checks while a system is built.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{evaluate, files};
use crate::support::appliance::{TRACKING_ARN, command};

fn module(given: &str) -> Result<Value, String> {
    evaluate("tests/it/nix/module.nix", ("given", given))
}

/// The units' files below a directory, by their paths.
fn units(directory: &Path) -> BTreeMap<String, String> {
    let mut units = BTreeMap::new();
    for extension in ["service", "socket", "conf"] {
        for path in files(directory, extension) {
            if path.symlink_metadata().unwrap().is_file() {
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                units.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    units
}

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn the_module_has_the_units_that_are_installed_elsewhere() {
    for (from, instance) in [("file", "false"), ("instance", "true")] {
        let made = module(&format!("{{ enable = true; instance = {instance}; }}"));
        let machine = tempfile::tempdir().unwrap();
        fs::create_dir_all(machine.path().join("etc/systemd")).unwrap();
        let mut install = command(&["bootstrap", "install", "--from", from, "--root"]);
        // Units come first. That users can be made there is another test's.
        install.arg(machine.path()).env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap();
        let installed = units(&machine.path().join("etc/systemd/system"));
        assert_eq!(installed.len(), if instance == "true" { 6 } else { 2 });
        let program = "/nix/store/00000000000000000000000000000000-appliance/bin/appliance";
        let expected = installed.into_iter().map(|(path, text)| {
            (format!("lib/systemd/system/{path}"), Value::from(text.replace("/usr/local/bin/appliance", program)))
        });
        let made = made.unwrap();
        assert_eq!(made["units"], Value::Object(expected.collect()));
        let mut services = made["services"].as_object().unwrap().clone();
        let address = services.remove("mlflow-appliance-address").unwrap();
        assert_eq!(services.len(), if instance == "true" { 3 } else { 1 });
        assert!(services.values().all(|service| service["wantedBy"] == serde_json::json!(["multi-user.target"])));
        // A switch to another system restarts the services, and the socket stays open unless its address has changed.
        assert!(services.values().all(|service| service["stopIfChanged"] == false), "{services:?}");
        assert_eq!(
            address["restartTriggers"],
            serde_json::json!([made["configuration"]["environment"]["source"]["listen"]])
        );
        assert_eq!(
            (&address["stopIfChanged"], &address["serviceConfig"]["RemainAfterExit"]),
            (&false.into(), &true.into())
        );
        for relation in ["wantedBy", "before"] {
            assert_eq!(address[relation], serde_json::json!(["mlflow-appliance.socket"]));
        }
        assert_eq!(
            made["sockets"]["mlflow-appliance"]["partOf"],
            serde_json::json!(["mlflow-appliance-address.service"])
        );
        assert_eq!(made["failed"], serde_json::json!([]));
        assert_eq!(made["user"]["isSystemUser"], true);
    }
}

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn the_module_passes_its_settings_on() {
    let given = r#"{
        enable = true; openFirewall = true;
        secrets.tls-key = "/run/secrets/key";
        settings = { listen = "0.0.0.0:8443"; tls-certificate = "/run/certificate.pem"; tls-key = "credential:secret_tls-key"; };
    }"#;
    let made = module(given);
    let made = made.unwrap();
    assert_eq!(made["failed"], serde_json::json!([]));
    assert_eq!(made["firewall"], serde_json::json!({"condition": true, "content": [8443]}));
    assert_eq!(made["sockets"]["mlflow-appliance"]["listenStreams"], serde_json::json!(["", "0.0.0.0:8443"]));
    let credentials = &made["services"]["mlflow-appliance"]["serviceConfig"]["LoadCredential"];
    assert_eq!(*credentials, serde_json::json!(["secret_tls-key:/run/secrets/key"]));
}

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn a_certificate_of_acme_exists_at_the_start_and_is_readable_after_a_renewal() {
    let made = module("{ enable = true; useACMEHost = \"mlflow.example.com\"; }").unwrap();
    assert_eq!(made["failed"], serde_json::json!([]));
    // The files themselves: systemd would copy a credential once, and the copy would not be renewed.
    let (settings, directory) = (&made["configuration"]["environment"]["source"], "/var/lib/acme/mlflow.example.com");
    for (key, file) in [("tls-certificate", "fullchain.pem"), ("tls-key", "key.pem")] {
        assert_eq!(settings[key], format!("{directory}/{file}"));
    }
    let service = &made["services"]["mlflow-appliance"];
    assert_eq!(service["serviceConfig"]["SupplementaryGroups"], serde_json::json!(["acme"]));
    for relation in ["wants", "after"] {
        assert_eq!(service[relation], serde_json::json!(["acme-mlflow.example.com.service"]));
    }
    let plain = module("{ enable = true; settings.tls-key = \"/etc/mlflow-key.pem\"; }").unwrap();
    assert_eq!(plain["failed"], serde_json::json!([]), "a file of one's own is read again as well");
    assert_eq!(plain["services"]["mlflow-appliance"]["serviceConfig"]["SupplementaryGroups"], serde_json::json!([]));
}

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn the_module_rejects_invalid_settings() {
    let refused = [
        ("settings.resorce-arn = \"x\";", "settings.resorce-arn does not exist"),
        ("settings.workers = \"many\";", "settings.workers is \"many\", which is not null or a whole number"),
        ("settings.keep-alive = 30;", "settings.keep-alive is 30"),
        ("settings.target = [ { name = \"a\"; workers = 2; } ];", "settings.target[].workers does not exist"),
        ("settings.caller = [ { nmae = \"a\"; } ];", "settings.caller[].nmae does not exist"),
        ("settings.issuer = [ { ulr = \"a\"; } ];", "settings.issuer[].ulr does not exist"),
        ("settings.issuer = [ { audience = 1; } ];", "settings.issuer[].audience is 1"),
        ("settings.otlp-sampling-ratio = 1.5;", "settings.otlp-sampling-ratio is 1.5"),
    ];
    for (line, reason) in refused {
        let made = module(&format!("{{ enable = true; {line} }}"));
        let error = made.unwrap_err();
        assert!(error.contains(reason), "{line}: {error}");
    }
    let failing = [
        ("secrets.a = builtins.storeDir + \"/x\";", "everybody can read the Nix store"),
        ("settings.tls-key = builtins.storeDir + \"/key.pem\";", "services.mlflow-appliance.secrets.tls-key"),
        ("settings.session-key = builtins.storeDir + \"/key\";", "\"credential:secret_session-key\""),
        (
            "settings.issuer = [ { name = \"okta\"; client-secret = builtins.storeDir + \"/s\"; } ];",
            "client-secret of the issuer `okta`",
        ),
        ("openFirewall = true; settings.listen = null;", "settings.listen is null, but systemd opens the socket"),
        ("openFirewall = true; settings.listen = \"0.0.0.0\";", "settings.listen is \"0.0.0.0\""),
        ("openFirewall = true; settings.listen = \"0.0.0.0:65536\";", "settings.listen is \"0.0.0.0:65536\""),
        ("openFirewall = true; settings.listen = \"0.0.0.0:99999999999999999999\";", "name an address and a port"),
        ("useACMEHost = \"other.example.com\";", "no such certificate in security.acme.certs"),
    ];
    for (line, reason) in failing {
        let made = module(&format!("{{ enable = true; {line} }}")).unwrap();
        let failed = made["failed"].as_array().unwrap();
        assert!(failed.len() == 1 && failed[0].as_str().unwrap().contains(reason), "{line}: {failed:?}");
    }
}

/// Runs what the build of the configuration runs.
fn build(made: &Value) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let environment = &made["configuration"]["environment"];
    let source = toml::to_string(&environment["source"]).unwrap();
    fs::write(place("source"), source).unwrap();
    let checker = environment["checker"].as_str().unwrap();
    assert!(checker.ends_with("/bin/appliance"), "{checker}");
    Command::new("bash")
        .args(["-euc", made["configuration"]["script"].as_str().unwrap()])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("source", place("source"))
        .env("out", place("out"))
        .env("checker", command(&[]).get_program())
        .output()
        .unwrap()
}

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn settings_are_checked_by_the_binary_in_the_build() {
    let targets = format!(
        "settings.target = [ {{ name = \"a\"; default = true; resource-arn = \"{TRACKING_ARN}\"; }} {{ name = \"b\"; resource-arn = \"{}\"; }} ]; \
         settings.caller = [ {{ claim = \"groups=mlflow\"; role = \"write\"; targets = \"a\"; }} ]; \
         settings.oidc-signer = \"arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/mlflow/1\"; settings.oidc-issuer = \"https://login.corp\"; settings.oidc-client-id = \"mlflow\";",
        TRACKING_ARN.replace("mlflow-tracking-server/", "mlflow-tracking-server/b-")
    );
    let cases = [
        (
            format!("settings.resource-arn = \"{TRACKING_ARN}\"; settings.keep-alive = \"30s\"; settings.workers = 2;"),
            None,
        ),
        (targets, None),
        (
            format!(
                "settings.resource-arn = \"{TRACKING_ARN}\"; \
                 settings.issuer = [ {{ name = \"ci\"; url = \"https://gitlab.com\"; audience = [ \"a\" \"b\" ]; }} ]; \
                 settings.caller = [ {{ issuer = \"ci\"; claim = [ \"namespace_id=72\" \"ref=main\" ]; role = \"read\"; }} ];"
            ),
            None,
        ),
        // The settings whose values are not all of one kind.
        (
            format!(
                "settings.resource-arn = \"{TRACKING_ARN}\"; settings.otlp-endpoint = \"off\"; settings.otlp-sampling-ratio = 0.1;"
            ),
            None,
        ),
        // An instance hears of its MLflow from elsewhere; another machine does not.
        ("instance = true;".to_owned(), None),
        (String::new(), Some("no managed MLflow is configured")),
        ("settings.resource-arn = \"arn:aws:s3:::x\";".to_owned(), Some("the service is `s3`")),
        (format!("settings.resource-arn = \"{TRACKING_ARN}\"; settings.log-format = \"xml\";"), Some("xml")),
    ];
    for (lines, reason) in cases {
        let made = module(&format!("{{ enable = true; {lines} }}"));
        let output = build(&made.unwrap());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match reason {
            None => assert!(output.status.success(), "{lines}: {said}"),
            Some(reason) => assert!(output.status.code() == Some(78) && said.contains(reason), "{lines}: {said}"),
        }
    }
}
