//! The obstacles that the sandbox reports before it starts anything, and its notice before an installation begins.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::appliance::{full_binary, run};
use crate::support::quiet_port;
use crate::support::upstream::Upstream;

/// A directory with a `python3` that knows its version and cannot do anything else.
fn python_that_cannot_install() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let python = directory.path().join("python3");
    std::fs::write(&python, "#!/bin/sh\n[ \"$1\" = -c ] && echo 3.12 && exit\necho 'no venv' >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn an_installation_without_its_python_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    let bin = home.path().join(".cache/appliance/mlflow-3.17.2/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("../complete"), "3.17.2").unwrap();
    std::os::unix::fs::symlink("/nonexistent/python3", bin.join("python")).unwrap();
    let path = home.path().to_str().unwrap();
    let output = run(&["sandbox", "--port", &quiet_port().to_string()], &[("PATH", path), ("HOME", path)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no `python3` to install it with"), "it would install anew: {said}");
}

#[test]
fn a_taken_port_is_reported_before_anything_starts() {
    let port = quiet_port();
    // The second is the port of the status page.
    for taken in [port, port + 1] {
        let _listener = TcpListener::bind(("127.0.0.1", taken)).unwrap();
        let output = run(&["sandbox", "--port", &port.to_string()], &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(&format!("cannot listen on port {taken}")) && said.contains("--port"), "{said}");
    }
}

#[test]
fn without_python_the_manual_way_is_explained() {
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    let output = run(&["sandbox", "--port", &quiet_port().to_string()], &[("PATH", path), ("HOME", path)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["no `mlflow` on the PATH", "pip install mlflow==", "--mlflow-url"] {
        assert!(said.contains(part), "`{part}` is missing in {said}");
    }
}

#[test]
fn an_unreachable_mlflow_url_is_reported_before_anything_is_ready() {
    let other = Upstream::plain(|_, wire| wire.answer("404 Not Found", "what?"));
    for (url, said_of_it) in
        [("http://127.0.0.1:9".to_owned(), "connect"), (other.url(), "it answers `404 Not Found` to `GET /version`")]
    {
        let began = std::time::Instant::now();
        let output = run(&["sandbox", "--port", &quiet_port().to_string(), "--mlflow-url", &url], &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(&format!("there is no MLflow server at {url}")) && said.contains(said_of_it), "{said}");
        assert!(said.contains("correct `--mlflow-url`"), "{said}");
        assert!(output.stdout.is_empty() && began.elapsed() < Duration::from_secs(15), "{said}");
    }
}

#[test]
fn a_failed_program_shows_the_end_of_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let mlflow = directory.path().join("mlflow");
    std::fs::write(&mlflow, "#!/bin/sh\necho 'no such table: experiments' >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&mlflow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let began = std::time::Instant::now();
    let output = run(&["sandbox", "--port", &quiet_port().to_string()], &[("PATH", &path)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("mlflow server ended (exit status: 3)") && said.contains("no such table"), "{said}");
    let hint = said.lines().find(|line| line.contains("hint")).unwrap_or_else(|| panic!("{said}"));
    assert!(hint.contains("MLflow") && hint.contains("--mlflow-url") && !hint.contains("make room"), "{hint}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_installation_states_its_size_and_time_before_it_begins() {
    let (python, home) = (python_that_cannot_install(), tempfile::tempdir().unwrap());
    let variables = [("PATH", python.path().to_str().unwrap()), ("HOME", home.path().to_str().unwrap())];
    let output = run(&["sandbox", "--port", &quiet_port().to_string()], &variables);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let announced = said.find("downloads about 210 MB once, needs 900 MB on the disk, and takes 3 to 5 minutes");
    let failed = said.find("error: creating the Python environment failed");
    assert!(announced.is_some() && announced < failed, "{said}");
    assert!(said.contains("no venv") && said.contains("python3-venv"), "{said}");
}

#[test]
fn a_python_that_does_not_run_is_named_with_what_it_prints() {
    let directory = tempfile::tempdir().unwrap();
    let python = directory.path().join("python3");
    std::fs::write(&python, "#!/bin/sh\necho 'no such version' >&2\nexit 127\n").unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().to_str().unwrap();
    let output = run(&["sandbox", "--port", &quiet_port().to_string()], &[("PATH", path), ("HOME", path)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("asking Python for its version failed with exit status: 127"), "{said}");
    assert!(said.contains("no such version") && said.contains("python3-venv") && !said.contains("downloads"), "{said}");
}

#[test]
#[ignore = "needs tests/run: mount namespaces"]
fn a_full_disk_is_reported_before_anything_is_downloaded() {
    let (python, home) = (python_that_cannot_install(), tempfile::tempdir().unwrap());
    let small = home.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let begin = |variable: &str| -> Output {
        let script = "mount -t tmpfs -o size=9m tmpfs \"$1\" && shift && exec \"$@\"";
        Command::new("/usr/bin/unshare")
            .args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", script, "sh"])
            .arg(&small)
            .args(["/usr/bin/env", &format!("PATH={}", python.path().display())])
            .arg(full_binary())
            .args(["sandbox", "--port", &quiet_port().to_string()])
            .env_clear()
            .envs([("PATH", Path::new("/usr/bin:/bin:/usr/sbin:/sbin")), ("HOME", home.path()), (variable, &small)])
            .output()
            .unwrap()
    };
    for (variable, purpose) in [
        ("XDG_CACHE_HOME", "the installation of MLflow needs 1.1 GiB"),
        ("TMPDIR", "a run of the sandbox needs 64.0 MiB"),
    ] {
        let output = begin(variable);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(purpose) && said.contains("9.0 MiB of free space"), "{said}");
        assert!(said.contains("hint: make room on the disk") && said.contains(variable), "{said}");
        assert!(!said.contains("installing"), "{said}");
    }
}
