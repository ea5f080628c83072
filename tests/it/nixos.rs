//! The Nix files of the appliance, as far as they can be evaluated without nixpkgs: `tests/it/nix/lib.nix` stands in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::appliance::command;

mod module;

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

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn the_package_requires_the_rustc_of_the_manifest() {
    let manifest: Value = toml::from_str(&read("Cargo.toml")).unwrap();
    let toolchain: Value = toml::from_str(&read("rust-toolchain.toml")).unwrap();
    let required = manifest["package"]["rust-version"].as_str().unwrap();
    // The release that flake.lock pins has this one.
    assert_eq!(toolchain["toolchain"]["channel"], "1.95.0");
    assert!("1.95.0".starts_with(required));
    let package = |rustc: &str| evaluate("tests/it/nix/package.nix", ("rustc", &format!("\"{rustc}\"")));
    let made = package("1.95.0").unwrap()["package"].clone();
    assert_eq!(made["version"], manifest["package"]["version"]);
    let source: Vec<&str> = made["src"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let source: Vec<&str> = source.iter().filter_map(|path| path.strip_prefix(root().to_str().unwrap())).collect();
    assert_eq!(
        source,
        [
            "/Cargo.lock",
            "/Cargo.toml",
            "/build.rs",
            "/benches",
            "/infra",
            "/infra/deployer-policy.json",
            "/infra/deployer-policy-fargate.json",
            "/src"
        ]
    );
    assert_eq!(made["env"], serde_json::json!({}));
    assert_eq!((&made["buildType"], &made["checkType"]), (&"release".into(), &"release".into()));
    assert_eq!(made["stripAllList"], serde_json::json!(["bin"]));
    let error = package("1.94.1").unwrap_err();
    assert!(
        error.contains("needs rustc 1.95 or later (rust-version in Cargo.toml), and this nixpkgs has 1.94.1"),
        "{error}"
    );
}

#[test]
#[ignore = "needs tests/run: nix-instantiate"]
fn the_profile_is_used_for_the_version_that_it_was_recorded_of() {
    let made = evaluate("tests/it/nix/package.nix", ("rustc", "\"1.95.0\"")).unwrap();
    let (uses, counts) = (&made["instance"], &made["counting"]);
    // Cargo puts both into the names of functions, by which the compiler looks them up in the profile.
    for part in ["buildNoDefaultFeatures", "buildType", "src", "version"] {
        assert_eq!(uses[part], counts[part], "{part}");
    }
    assert_eq!((&uses["buildNoDefaultFeatures"], &uses["buildType"]), (&true.into(), &"dist".into()));
    let flags = |package: &Value| package["env"]["RUSTFLAGS"].as_str().unwrap().to_owned();
    assert_eq!(flags(counts), "-Ctarget-feature=+crt-static -Cprofile-generate");
    assert!(flags(uses).starts_with("-Ctarget-feature=+crt-static -Cprofile-use=/nix/store/"), "{}", flags(uses));
    assert_eq!(made["package"]["buildNoDefaultFeatures"], false, "people get all commands");
    assert_eq!(made["package"]["env"], serde_json::json!({}), "and pay for no profile");
}

#[test]
fn the_check_of_lints_has_the_files_that_the_tests_include() {
    let checks = read("nixos/checks.nix");
    let mut found = 0;
    for file in files(&root().join("tests/it"), "rs") {
        let text = fs::read_to_string(&file).unwrap();
        for path in text.split("#[path = \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let included = file.parent().unwrap().join(path).canonicalize().unwrap();
            let included = included.strip_prefix(root()).unwrap();
            let is_there = included.starts_with("src") || checks.contains(&format!("../{}\n", included.display()));
            assert!(is_there, "nixos/checks.nix leaves out {}", included.display());
            found += 1;
        }
    }
    assert!(found >= 2, "{found}");
}
