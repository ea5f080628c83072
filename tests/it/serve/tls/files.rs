//! The files of a listener with TLS: unusable ones, and their permissions.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use rustix::process::Signal;

use super::{Listener, dns, present};
use crate::support::appliance::{TRACKING_ARN, instance_binary, run};
use crate::support::authority::{Authority, authority};
use crate::support::eventually;
use crate::support::upstream::Upstream;

#[test]
fn unusable_files_are_reported_before_the_appliance_listens() {
    let authority = authority();
    let directory = tempfile::tempdir().unwrap();
    present(&directory, authority);
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let other = path("other.pem");
    fs::write(&other, authority.pair(dns("localhost")).1).unwrap();
    for (arguments, expected) in [
        (vec!["--tls-certificate", &certificate], "without `tls-key`"),
        (vec!["--tls-certificate", &certificate, "--tls-key", &other], "does not belong to the certificate"),
        (vec!["--tls-certificate", &certificate, "--tls-key", "/nonexistent.pem"], "/nonexistent.pem"),
        (vec!["--tls-certificate", &key, "--tls-key", &key], "holds no certificate"),
        (vec!["--tls-client-ca", &certificate], "without `tls-certificate`"),
        (vec!["--tls-certificate", "credential:tls", "--tls-key", &key], "LoadCredential="),
    ] {
        let output = run(
            &[vec!["serve", "--listen", "127.0.0.1:0"], arguments].concat(),
            &[("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)],
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(78) && said.contains(expected), "{expected}: {said}");
    }
}

#[test]
#[ignore = "needs tests/run: root"]
fn a_key_that_is_readable_by_a_group_can_be_read_by_its_members() {
    // As NixOS keeps those of ACME: the directory has mode 0750, its files have mode 0640, and they are of another user.
    let (owner, group) = (54_320, 54_321);
    let directory = tempfile::tempdir().unwrap();
    present(&directory, authority());
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    for (path, mode) in [(&certificate, 0o640), (&key, 0o640), (&path("."), 0o750)] {
        chown(path, Some(owner), Some(group)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    // Without capabilities, root is a user like others.
    let check = |groups: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", groups]).arg(instance_binary()).args(["check", "--offline"]);
        command.args(["--resource-arn", TRACKING_ARN, "--listen", "127.0.0.1:0"]);
        command.args(["--tls-certificate", &certificate, "--tls-key", &key]);
        let output = command.output().unwrap();
        (output.status.code(), format!("{output:?}"))
    };
    let (status, said) = check(&format!("--groups={group}"));
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = check("--clear-groups");
    assert!(status == Some(78) && said.contains("Permission denied"), "{said}");
}

/// SECURITY: whoever reads a named pipe waits for its writer, and the thread of all background tasks must not.
#[test]
fn a_file_that_becomes_a_named_pipe_stops_nothing() {
    for name in ["certificate.pem", "key.pem"] {
        let upstream = Upstream::ok();
        let listener = Listener::start(&upstream, "");
        let path = listener.directory.path().join(name);
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        listener.appliance.signal(Signal::HUP);
        let log = || listener.appliance.log();
        eventually("the pipe is reported", || log().contains("it is not a regular file"));
        let (old, new) = (authority().client(None, &[]), Authority::new());
        assert_eq!(listener.status(&old, "GET", "/version"), Some(200), "the old one stays in use");
        fs::remove_file(&path).unwrap();
        present(&listener.directory, &new);
        listener.appliance.signal(Signal::HUP);
        let client = new.client(None, &[]);
        eventually("the new one is used", || listener.status(&client, "GET", "/version") == Some(200));
    }
}
