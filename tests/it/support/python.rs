//! The Python peers: MLflow, botocore and moto, in an environment that `tests/run` prepares.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::prepared;

/// The `bin` directory of the environment that `APPLIANCE_TEST_VENV` names.
#[track_caller]
pub fn environment() -> PathBuf {
    let bin = PathBuf::from(prepared("APPLIANCE_TEST_VENV")).join("bin");
    assert!(bin.join("python").exists(), "APPLIANCE_TEST_VENV has no bin/python");
    bin
}

/// Runs a script of `tests/system/python` and returns the JSON line that it ends with.
#[track_caller]
pub fn run(bin: &Path, script: &str, arguments: &[&str], input: &[u8]) -> serde_json::Value {
    let mut child = Command::new(bin.join("python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/python").join(script))
        .args(arguments)
        .env_clear()
        .env("HOME", std::env::temp_dir())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let _ = feeder.join();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{script}: {status}\n{stdout}\n{stderr}");
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{script}: {error}\n{stdout}\n{stderr}"))
}
