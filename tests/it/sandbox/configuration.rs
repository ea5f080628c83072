//! `sandbox --write-config`: another appliance runs against the sandbox, and no file is overwritten.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::roles::send;
use crate::support::appliance::run;
use crate::support::caller::Caller;
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{OK, Upstream};
use crate::support::{eventually, python, quiet_port};

/// The appliance that the printed command starts, in a shell whose variables would mislead it.
struct Another {
    child: Child,
    url: String,
}

impl Another {
    #[track_caller]
    fn start(sandbox: &Sandbox, directory: &Path) -> Self {
        let text = |key: &str| sandbox.ready["configuration"][key].as_str().unwrap().to_owned();
        let child = Command::new("sh")
            .args(["-c", &format!("exec {}", text("command"))])
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("TERM", "dumb"),
                ("AWS_PROFILE", "mine"),
                ("SM_MLFLOW_AWS_REGION", "no"),
            ])
            .envs([("AWS_ACCESS_KEY_ID", "AKIDLEAKED"), ("AWS_SECRET_ACCESS_KEY", "leaked")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut another = Self { child, url: text("url") };
        eventually("the other appliance is ready", || {
            let log = || std::fs::read_to_string(directory.join("log")).unwrap();
            assert!(another.child.try_wait().unwrap().is_none(), "it ended: {}", log());
            another.status("/_appliance/readyz", None) == 200
        });
        another
    }

    /// The status of a `GET`; 0 if nothing listens.
    fn status(&self, path: &str, token: Option<&str>) -> u16 {
        let address = self.url.strip_prefix("http://").unwrap();
        if std::net::TcpStream::connect(address).is_err() {
            return 0;
        }
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        Caller::connect(address.parse().unwrap()).request("GET", path, &headers, None).status
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn mode(file: &Path) -> u32 {
    file.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn another_appliance_serves_with_the_written_configuration_and_needs_tokens() {
    let behind = Upstream::plain(|_, wire| wire.send(OK));
    let directory = tempfile::tempdir().unwrap();
    // A name that a shell and TOML have to quote.
    let file = directory.path().join("my \"own\" $HOME.toml");
    let arguments = ["--mlflow-url", &behind.url(), "--write-config", file.to_str().unwrap()];
    let sandbox = Sandbox::start(Path::new("/usr/bin"), &arguments);
    let tokens = directory.path().join("my \"own\" $HOME.tokens.toml");
    assert_eq!((mode(&file), mode(&tokens)), (0o600, 0o600));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    let written = std::fs::read_to_string(&file).unwrap() + &std::fs::read_to_string(&tokens).unwrap();
    let token = |role: &str| sandbox.ready["tokens"][role].as_str().unwrap();
    for role in ["read", "write", "admin"] {
        assert!(token(role).starts_with("mlfa_") && !written.contains(token(role)), "the files have only hashes");
    }
    let check = run(&["check", "--offline", "--config", file.to_str().unwrap()], &[]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));

    let another = Another::start(&sandbox, directory.path());
    for path in ["/api/2.0/mlflow/experiments/get?experiment_id=0", "/t/serverless/version"] {
        assert_eq!(another.status(path, None), 401, "{path}: a token is required");
        assert_eq!(another.status(path, Some(token("read"))), 200, "{path}");
    }
    assert_eq!(another.status("/api/2.0/mlflow/webhooks", Some(token("write"))), 403);
    drop(another);
    sandbox.interrupt();
    assert!(file.exists() && tokens.exists(), "the files are the user's");
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn a_client_logs_a_run_by_its_role_through_sandbox_and_written_configuration() {
    let (bin, directory) = (python::environment(), tempfile::tempdir().unwrap());
    let file = directory.path().join("appliance.toml");
    let sandbox = Sandbox::start(&bin, &["--write-config", file.to_str().unwrap()]);
    let another = Another::start(&sandbox, directory.path());
    // The line that the sandbox prints.
    let line = "import mlflow; mlflow.set_experiment('hello'); mlflow.log_metric('accuracy', 0.9)";
    let log = |url: &str, token: Option<&str>| -> Output {
        let mut command = Command::new(bin.join("python"));
        command.args(["-c", line]).env_clear().env("MLFLOW_DISABLE_TELEMETRY", "true").env("HOME", directory.path());
        command.env("MLFLOW_TRACKING_URI", url).envs(token.map(|token| ("MLFLOW_TRACKING_TOKEN", token)));
        command.output().unwrap()
    };
    let token = |role: &str| sandbox.ready["tokens"][role].as_str();
    let app = format!("{}/t/serverless", another.url);
    for (url, token, what) in [
        (sandbox.url("tracking"), None, ""),
        (sandbox.url("serverless"), token("write"), ""),
        (sandbox.url("tracking"), token("read"), "PERMISSION_DENIED"),
        (&another.url, token("admin"), ""),
        (&app, token("write"), ""),
        (&app, token("read"), "PERMISSION_DENIED"),
        (&another.url, None, "UNAUTHENTICATED"),
    ] {
        let output = log(url, token);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), what.is_empty(), "{url} with {token:?}: {said}");
        assert!(said.contains(what), "{url} with {token:?}: {said}");
    }
    let api = format!("{}/api/2.0/mlflow", sandbox.url("tracking"));
    let found = send(&format!("{api}/experiments/get-by-name?experiment_name=hello"), "GET", &[], None).json();
    let search = serde_json::json!({"experiment_ids": [found["experiment"]["experiment_id"]]}).to_string();
    let json = [("Content-Type", "application/json")];
    let runs = send(&format!("{api}/runs/search"), "POST", &json, Some(&search)).json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(4), "those that were allowed are all there: {runs}");
    drop(another);
    let said = sandbox.interrupt();
    assert_eq!((super::tally(&said, "tracking").1, super::tally(&said, "serverless").1), (0, 0), "{said}");
}

#[test]
fn existing_files_are_kept_and_a_failed_start_leaves_none() {
    let directory = tempfile::tempdir().unwrap();
    let (file, tokens) = (directory.path().join("a.toml"), directory.path().join("a.tokens.toml"));
    let start = |url: &str| {
        let port = quiet_port().to_string();
        let output =
            run(&["sandbox", "--port", &port, "--mlflow-url", url, "--write-config", file.to_str().unwrap()], &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(output.stdout.is_empty(), "it is not ready");
        said
    };
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let behind = Upstream::plain(|_, wire| wire.send(OK));
    for existing in [&file, &tokens] {
        std::fs::write(existing, "mine").unwrap();
        let said = start(&behind.url());
        assert!(said.contains(&format!("`{}` exists already", existing.display())), "{said}");
        assert!(said.contains("hint: remove it") && !said.contains("starting"), "nothing has started: {said}");
        assert_eq!(std::fs::read_to_string(existing).unwrap(), "mine");
        assert_eq!(names(), [existing.file_name().unwrap().to_str().unwrap()], "nothing is left behind");
        std::fs::remove_file(existing).unwrap();
    }
    std::os::unix::fs::symlink(directory.path().join("nothing"), &file).unwrap();
    assert!(start(&behind.url()).contains("hint: remove it"), "a link is not followed");
    std::fs::remove_file(&file).unwrap();
    assert!(start("http://127.0.0.1:9").contains("there is no MLflow server"));
    assert!(names().is_empty(), "{:?}", names());
    let missing = directory.path().join("not/there.toml");
    let port = quiet_port().to_string();
    let output = run(&["sandbox", "--port", &port, "--write-config", missing.to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("not/there.toml") && said.contains("writable directory"), "{said}");
}
