//! What Nix says of the appliance, as far as a machine without nixpkgs can look at it: `tests/it/nix/lib.nix` stands in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::appliance::{TRACKING_ARN, command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Runs `nix-instantiate`, which needs no store for these evaluations.
fn nix(arguments: &[&str]) -> Output {
    let mut command = Command::new("nix-instantiate");
    command.args(["--store", "dummy://"]).args(arguments).current_dir(root());
    command.output().expect("nix-instantiate runs (Debian: nix-bin)")
}

/// The value of a Nix file's function; or what Nix says is wrong with it.
fn evaluate(file: &str, argument: (&str, &str)) -> Result<Value, String> {
    let output = nix(&["--eval", "--strict", "--json", file, "--arg", argument.0, argument.1]);
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn module(given: &str) -> Result<Value, String> {
    evaluate("tests/it/nix/module.nix", ("given", given))
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn every_nix_file_parses() {
    let all = files(root(), "nix");
    assert!(all.len() >= 12, "{all:?}");
    for file in all {
        let output = nix(&["--parse", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_flake_only_wires_and_its_lock_is_of_its_input() {
    let flake = read("flake.nix");
    assert!(flake.lines().count() < 120, "logic belongs into nixos/");
    let lock: Value = serde_json::from_str(&read("flake.lock")).unwrap();
    assert_eq!((lock["version"].as_u64(), lock["root"].as_str()), (Some(7), Some("root")));
    let nodes = lock["nodes"].as_object().unwrap();
    assert_eq!(nodes.keys().collect::<Vec<_>>(), ["nixpkgs", "root"]);
    assert_eq!(nodes["root"]["inputs"], serde_json::json!({"nixpkgs": "nixpkgs"}));
    let (locked, original) = (&nodes["nixpkgs"]["locked"], &nodes["nixpkgs"]["original"]);
    let url = ["owner", "repo", "ref"].map(|key| original[key].as_str().unwrap()).join("/");
    assert!(flake.contains(&format!("inputs.nixpkgs.url = \"github:{url}\";")), "{url}");
    for key in ["owner", "repo", "type"] {
        assert_eq!(locked[key], original[key]);
    }
    let revision = locked["rev"].as_str().unwrap();
    assert!(revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()), "{revision}");
    let hash = locked["narHash"].as_str().unwrap().strip_prefix("sha256-").unwrap();
    let hash = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, hash).unwrap();
    assert_eq!(hash.len(), 32);
    assert!(locked["lastModified"].as_u64().unwrap() > 1_700_000_000);
}

#[test]
fn the_options_are_those_that_the_binary_prints() {
    let output = command(&["generate", "options"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("\"listen\""));
    assert_eq!(read("nixos/options.json"), printed, "write it anew: `appliance generate options > nixos/options.json`");
}

#[test]
fn completions_and_pages_are_written_for_all_commands() {
    let pages = tempfile::tempdir().unwrap();
    let output = command(&["generate", "man-pages"]).arg(pages.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = |name: &str| fs::read_to_string(pages.path().join(name)).unwrap();
    assert!(
        page("appliance-serve.1").contains("resource\\-arn") && page("appliance-bootstrap-status.1").contains("watch")
    );
    for shell in ["bash", "fish", "zsh"] {
        let output = command(&["generate", "completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("resource-arn") && script.contains("bootstrap"), "{shell}");
    }
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
        let services = made["services"].as_object().unwrap();
        assert_eq!(services.len(), if instance == "true" { 3 } else { 1 });
        assert!(services.values().all(|service| service["wantedBy"] == serde_json::json!(["multi-user.target"])));
        assert_eq!(made["failed"], serde_json::json!([]));
        assert_eq!(made["user"]["isSystemUser"], true);
    }
}

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn the_module_passes_on_what_it_is_told() {
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
fn the_module_refuses_what_cannot_be() {
    let refused = [
        ("settings.resorce-arn = \"x\";", "settings.resorce-arn does not exist"),
        ("settings.workers = \"many\";", "settings.workers is \"many\", which is not null or a whole number"),
        ("settings.keep-alive = 30;", "settings.keep-alive is 30"),
        ("settings.target = [ { name = \"a\"; workers = 2; } ];", "settings.target[].workers does not exist"),
        ("settings.caller = [ { nmae = \"a\"; } ];", "settings.caller[].nmae does not exist"),
    ];
    for (line, reason) in refused {
        let made = module(&format!("{{ enable = true; {line} }}"));
        let error = made.unwrap_err();
        assert!(error.contains(reason), "{line}: {error}");
    }
    let failing = [
        ("secrets.a = builtins.storeDir + \"/x\";", "everybody can read the Nix store"),
        ("settings.tls-key = \"/etc/key.pem\";", "services.mlflow-appliance.secrets.tls-key"),
        ("settings.session-key = \"/etc/key\";", "\"credential:secret_session-key\""),
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
        // An instance hears of its MLflow from elsewhere; another machine does not.
        ("instance = true;".to_owned(), None),
        (String::new(), Some("no managed MLflow is named")),
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

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn the_package_wants_the_rustc_that_the_manifest_names() {
    let manifest: Value = toml::from_str(&read("Cargo.toml")).unwrap();
    let toolchain: Value = toml::from_str(&read("rust-toolchain.toml")).unwrap();
    let required = manifest["package"]["rust-version"].as_str().unwrap();
    // The release that flake.lock pins has this one.
    assert_eq!(toolchain["toolchain"]["channel"], "1.95.0");
    assert!("1.95.0".starts_with(required));
    let package = |rustc: &str| evaluate("tests/it/nix/package.nix", ("rustc", &format!("\"{rustc}\"")));
    let made = package("1.95.0");
    let made = made.unwrap();
    assert_eq!(made["version"], manifest["package"]["version"]);
    let source: Vec<&str> = made["src"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let source: Vec<&str> = source.iter().filter_map(|path| path.strip_prefix(root().to_str().unwrap())).collect();
    assert_eq!(source, ["/Cargo.lock", "/Cargo.toml", "/build.rs", "/benches", "/infra", "/src"]);
    assert_eq!(made["env"], serde_json::json!({}));
    assert_eq!((&made["buildType"], &made["checkType"]), (&"dist".into(), &"release".into()));
    let flagged = evaluate("tests/it/nix/package.nix", ("rustflags", "[ \"-Cprofile-use=x\" ]")).unwrap();
    assert_eq!(flagged["env"]["RUSTFLAGS"], "-Ctarget-feature=+crt-static -Cprofile-use=x");
    let error = package("1.94.1").unwrap_err();
    assert!(
        error.contains("needs rustc 1.95 or later (rust-version in Cargo.toml), and this nixpkgs has 1.94.1"),
        "{error}"
    );
}
