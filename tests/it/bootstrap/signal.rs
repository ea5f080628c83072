//! Readiness signals: bootstrap sends each once, when the appliance is ready.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use rcgen::SanType;

use super::{Instance, call};
use crate::support::appliance::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, command};
use crate::support::authority::authority;
use crate::support::quiet_port;
use crate::support::upstream::{Recorded, Upstream, Wire};

/// `serve` on the address of its configuration.
pub(super) struct Serving(Child);

impl Serving {
    pub(super) fn start(configuration: &Path) -> Self {
        let mut command = command(&["serve", "--config"]);
        command
            .arg(configuration)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an appliance with the configuration that `bootstrap` has written, and checks the output of `signal` before and after.
fn signalled(instance: &Instance, options: &str) {
    let port = quiet_port();
    instance.has("user-data", instance.configuration(&format!("listen = \"127.0.0.1:{port}\"\n{options}")));
    instance.tags(&[("appliance:stack-name", "s"), ("appliance:logical-id", "Group")]);
    let (output, said) = instance.bootstrap(&["signal"]);
    assert!(!output.status.success() && said.contains("`appliance bootstrap` has not run on this instance"), "{said}");
    let status = || {
        let (output, _) = instance.bootstrap(&["status"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, shown) = status();
    assert!(code == Some(1) && shown.contains("state: this instance has not configured itself yet"), "{shown}");
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success(), "{said}");
    // A socket listens there, as systemd's does, and does not answer.
    let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (output, said) = instance.bootstrap(&["signal"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the appliance is not ready"), "{said}");
    drop(socket);
    let (code, shown) = status();
    assert!(code == Some(1) && shown.contains(" on i-0123456789abcdef0 in us-east-1\n"), "{shown}");
    assert!(shown.contains("state: the appliance is not ready: "), "{shown}");
    let _appliance = Serving::start(&instance.state.path().join("appliance.toml"));
    let (output, said) = instance.bootstrap(&["signal"]);
    assert!(output.status.success() && said.contains("the appliance is ready"), "{said}");
    let (code, shown) = status();
    let scheme = if options.is_empty() { "http" } else { "https" };
    let address = format!("\naddress: {scheme}://127.0.0.1:{port}\nstate: ready\n");
    assert!(code == Some(0) && shown.contains(&address) && shown.contains("MLflow: arn:"), "{shown}");
    let told: Vec<_> = instance.signals.requests().iter().map(|one| call(one)["Status"].clone()).collect();
    assert_eq!(told, ["FAILURE", "SUCCESS"]);
    // A reboot sends no signal again.
    let (output, said) = instance.bootstrap(&["signal"]);
    assert!(output.status.success() && instance.signals.requests().len() == 2, "{said}");
}

#[test]
fn a_state_that_cannot_be_read_is_not_taken_for_none() {
    let instance = Instance::new();
    // For everybody but root and the appliance, the directory is closed; root, who may run this, is told so by a directory.
    std::fs::create_dir(instance.state.path().join("bootstrap.json")).unwrap();
    for command in ["status", "signal"] {
        let (output, said) = instance.bootstrap(&[command]);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("bootstrap.json`\n") && said.contains("hint: run it as root"), "{command}: {said}");
    }
}

#[test]
fn success_is_signalled_once_when_the_appliance_is_ready() {
    signalled(&Instance::new(), "");
}

#[test]
fn an_appliance_with_tls_is_recognised_by_its_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = authority().pair(vec![SanType::DnsName("mlflow.corp".try_into().unwrap())]);
    let place = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(place("certificate.pem"), certificate).unwrap();
    std::fs::write(place("key.pem"), key).unwrap();
    let (certificate, key) = (place("certificate.pem"), place("key.pem"));
    let options = format!("tls-certificate = \"{certificate}\"\ntls-key = \"{key}\"\n");
    signalled(&Instance::new(), &options);
    let ca = authority().file().display().to_string();
    let closed = "tls-client-certificate = \"required\"\n\n[[caller]]\ncertificate = \"dns:a.corp\"\nrole = \"read\"\n";
    signalled(&Instance::new(), &format!("{options}tls-client-ca = \"{ca}\"\n{closed}"));
}

/// An instance with an appliance that is ready, whose signals CloudFormation answers with this error.
fn rejected(message: &'static str) -> (Instance, Serving) {
    let mut instance = Instance::new();
    instance.signals = Upstream::start(move |_: &Recorded, wire: &mut Wire| {
        let body = serde_json::json!({"Error": {"Code": "ValidationError", "Message": message, "Type": "Sender"}});
        wire.answer("400 Bad Request", body.to_string())
    });
    let port = quiet_port();
    instance.has("user-data", instance.configuration(&format!("listen = \"127.0.0.1:{port}\"\n")));
    instance.tags(&[("appliance:stack-name", "s"), ("appliance:logical-id", "Group")]);
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success(), "{said}");
    let appliance = Serving::start(&instance.state.path().join("appliance.toml"));
    (instance, appliance)
}

#[test]
fn an_instance_that_starts_between_two_operations_of_the_stack_needs_no_signal() {
    // Auto Scaling has started it for more load, or in place of another one.
    let stack = "Stack arn:aws:cloudformation:us-east-1:123456789012:stack/s/1 is in UPDATE_COMPLETE state and cannot be signaled";
    let (instance, _appliance) = rejected(stack);
    let (output, said) = instance.bootstrap(&["signal", "--timeout", "30s"]);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("no readiness signal is needed: CloudFormation stack `s`, resource `Group` waits"), "{said}");
    // The unit is not started again and again, and a reboot asks no more.
    let (output, said) = instance.bootstrap(&["signal"]);
    assert!(output.status.success() && instance.signals.requests().len() == 1, "{said}");
}

#[test]
fn a_signal_that_is_rejected_for_another_reason_is_a_failure() {
    let (instance, _appliance) = rejected("Resource Group does not exist for stack s");
    let (output, said) = instance.bootstrap(&["signal", "--timeout", "30s"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot send readiness signal") && said.contains("does not exist for stack s"), "{said}");
}
