//! The Kubernetes manifests: the configuration in them is one that the appliance accepts.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::appliance::command;

/// Judges a configuration as the pod would, whose admin listener nothing turns off.
fn check(file: &Path) -> Output {
    let mut command = command(&["check", "--offline", "--config", file.to_str().unwrap()]);
    command.env_remove("APPLIANCE_ADMIN_LISTEN").output().unwrap()
}

/// Returns the file `appliance.toml` of the ConfigMap.
fn configuration(manifest: &str) -> String {
    let mut text = String::new();
    for line in manifest.lines().skip_while(|line| *line != "  appliance.toml: |").skip(1) {
        let Some(line) = line.strip_prefix("    ") else { break };
        text += line;
        text += "\n";
    }
    text
}

#[test]
fn the_manifests_are_those_of_a_whole_service() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/kubernetes/appliance.yaml");
    let manifest = fs::read_to_string(path).unwrap();
    let kinds: Vec<&str> = manifest.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    let whole =
        ["Namespace", "ServiceAccount", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"];
    assert_eq!(kinds, whole);
    for part in ["eks.amazonaws.com/role-arn: ", "readinessProbe:", "livenessProbe:", "secretName: appliance-tokens"] {
        assert!(manifest.contains(part), "{part}");
    }
}

#[test]
fn the_appliance_accepts_the_configuration_of_the_config_map() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/kubernetes/appliance.yaml");
    let manifest = fs::read_to_string(path).unwrap();
    let text = configuration(&manifest);
    let scene = tempfile::tempdir().unwrap();
    let tokens = scene.path().join("tokens.toml");
    fs::write(&tokens, "").unwrap();
    // The pod mounts volumes at these places.
    let text = text.replace("/etc/appliance/tokens/tokens.toml", tokens.to_str().unwrap());
    let text = text.replace("/var/spool/appliance", scene.path().to_str().unwrap());
    assert!(text.contains(scene.path().to_str().unwrap()) && text.contains("0.0.0.0:5000"), "{text}");
    let file = scene.path().join("appliance.toml");
    fs::write(&file, &text).unwrap();

    let output = check(&file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    fs::write(&file, text + "no-such-setting = 1\n").unwrap();
    let output = check(&file);
    assert_eq!(output.status.code(), Some(78), "a wrong setting is noticed");
}
