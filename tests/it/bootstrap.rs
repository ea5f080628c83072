//! An instance that configures itself, against a metadata service that can misbehave.

mod balancer;
mod install;
mod signal;
mod tags;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Message as _;
use crate::support::appliance::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, TRACKING_ARN, command};
use crate::support::authority::authority;
use crate::support::upstream::{Recorded, Upstream, Wire};

const DOCUMENT: &str = "{\n  \"accountId\" : \"123456789012\",\n  \"availabilityZone\" : \"us-east-1b\",\n  \
                        \"instanceId\" : \"i-0123456789abcdef0\",\n  \"region\" : \"us-east-1\"\n}";
/// In lines, as AWS writes it.
const SIGNATURE: &str = "c2lnbmF0dXJl\nb2YgQVdT\nZG9jdW1lbnQ=";

/// The documents of the metadata service, by their path below `/latest/`.
type Metadata = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A metadata service whose tokens end after so many uses.
fn imds(metadata: &Metadata, uses: usize) -> Upstream {
    let metadata = Arc::clone(metadata);
    let token = Mutex::new((0_usize, 0_usize));
    Upstream::plain(move |request: &Recorded, wire: &mut Wire| {
        let mut token = token.lock().unwrap();
        if (request.method.as_str(), request.target.as_str()) == ("PUT", "/latest/api/token") {
            *token = (token.0 + 1, uses);
            return wire.answer("200 OK", format!("token-{}", token.0));
        }
        if request.all("x-aws-ec2-metadata-token") != [format!("token-{}", token.0)] || token.1 == 0 {
            return wire.answer("401 Unauthorized", "");
        }
        token.1 -= 1;
        let path = request.target.trim_start_matches("/latest/");
        match metadata.lock().unwrap().get(path) {
            Some(body) => wire.answer("200 OK", body),
            None => wire.answer("404 Not Found", "<html>"),
        }
    })
}

struct Instance {
    metadata: Metadata,
    imds: Upstream,
    mlflow: Upstream,
    /// CloudFormation and Auto Scaling.
    signals: Upstream,
    state: TempDir,
    /// The directory of systemd's units.
    units: TempDir,
}

impl Instance {
    /// Allowed to read from MLflow, and in want of user data.
    fn new() -> Self {
        Self::with_tokens_of(usize::MAX)
    }

    fn with_tokens_of(uses: usize) -> Self {
        let metadata = Metadata::default();
        let instance = Self {
            imds: imds(&metadata, uses),
            metadata,
            mlflow: Upstream::start(|_, wire| wire.answer("200 OK", "{\"experiments\": []}")),
            signals: Upstream::start(|_, wire| wire.answer("200 OK", "{}")),
            state: tempfile::tempdir().unwrap(),
            units: tempfile::tempdir().unwrap(),
        };
        instance.has("dynamic/instance-identity/document", DOCUMENT);
        instance.has("dynamic/instance-identity/signature", SIGNATURE);
        instance
    }

    fn has(&self, path: &str, body: impl AsRef<[u8]>) {
        self.metadata.lock().unwrap().insert(path.to_owned(), body.as_ref().to_owned());
    }

    fn tags(&self, tags: &[(&str, &str)]) {
        let keys: Vec<&str> = tags.iter().map(|(key, _)| *key).collect();
        self.has("meta-data/tags/instance", keys.join("\n"));
        for (key, value) in tags {
            self.has(&format!("meta-data/tags/instance/{key}"), value);
        }
    }

    /// Options that every configuration here needs.
    fn configuration(&self, more: &str) -> String {
        let (url, ca) = (self.mlflow.url(), authority().file().display().to_string());
        format!("resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{url}\"\nca-file = \"{ca}\"\n{more}")
    }

    fn bootstrap(&self, arguments: &[&str]) -> (Output, String) {
        let told = self.signals.url();
        let output = command(&["bootstrap"])
            .args(arguments)
            .args(if arguments.contains(&"--timeout") { &[][..] } else { &["--timeout", "1s"] })
            .args(["--defaults", "/nonexistent", "--state-directory"])
            .arg(self.state.path())
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.imds.url())
            .env("AWS_ENDPOINT_URL_CLOUDFORMATION", &told)
            .env("AWS_ENDPOINT_URL_AUTO_SCALING", &told)
            .env("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", &told)
            .env("APPLIANCE_CA_FILE", authority().file())
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("SYSTEMD_UNIT_PATH", self.units.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output, said)
    }

    fn written(&self) -> Option<String> {
        std::fs::read_to_string(self.state.path().join("appliance.toml")).ok()
    }

    fn record(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.state.path().join("bootstrap.json")).unwrap()).unwrap()
    }
}

/// Returns the query parameters of a call.
fn call(request: &Recorded) -> BTreeMap<String, String> {
    let query = request.target.split_once('?').unwrap().1;
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[test]
fn a_dry_run_names_every_value_and_its_origin_and_changes_nothing() {
    let instance = Instance::new();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(instance.configuration("workers = 2\n").as_bytes()).unwrap();
    instance.has("user-data", gzip.finish().unwrap());
    instance.tags(&[("Name", "x"), ("appliance:workers", "9"), ("appliance:log-format", "json")]);
    let (output, said) = instance.bootstrap(&["--dry-run"]);
    assert!(output.status.success(), "{said}");
    for line in [
        "instance = i-0123456789abcdef0 in us-east-1b, account 123456789012 ← identity document",
        "workers = 2 ← user data, line 4",
        "log-format = json ← tag `appliance:log-format`",
    ] {
        assert!(said.lines().any(|one| one == line), "{line}: {said}");
    }
    let (output, said) = instance.bootstrap(&["--dry-run", "--json"]);
    assert!(output.status.success(), "{said}");
    let explained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&explained["instance"], &explained["is_valid"]), (&"i-0123456789abcdef0".into(), &true.into()));
    let workers = explained["values"].as_array().unwrap().iter().find(|one| one["key"] == "workers").unwrap();
    assert_eq!((&workers["value"], &workers["origin"]), (&"2".into(), &"user data, line 4".into()));
    assert_eq!((instance.written(), instance.signals.requests().len()), (None, 0));
}

#[test]
fn a_machine_that_is_no_instance_gets_an_error_at_once() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let began = Instant::now();
    let output =
        command(&["bootstrap"]).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{closed}")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the instance metadata service cannot be reached"), "{said}");
    assert!(said.contains("hint: run this on an EC2 instance; elsewhere write a configuration file"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn faults_of_the_metadata_service_are_distinguished() {
    for (what, handler, expected) in [
        // With a hop limit that is too low, TCP connects, and no answer arrives.
        (
            "silent",
            (|_: &Recorded, wire: &mut Wire| {
                std::thread::sleep(Duration::from_secs(4));
                Err(wire.close())
            }) as fn(&Recorded, &mut Wire) -> io::Result<()>,
            "HttpPutResponseHopLimit",
        ),
        ("switched off", |_, wire| wire.answer("403 Forbidden", ""), "HttpEndpoint: enabled"),
        ("another program", |_, wire| wire.answer("200 OK", "\u{1}"), "does not behave like EC2's"),
        ("throttling", |_, wire| wire.answer("503 Service Unavailable", ""), "503 Service Unavailable"),
    ] {
        let imds = Upstream::plain(handler);
        let output = command(&["bootstrap"]).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {said}");
        assert!(said.contains(expected), "{what}: {said}");
    }
}

#[test]
fn the_configuration_is_private_and_written_once_and_changes_are_listed() {
    // A token that expires is replaced meanwhile.
    let instance = Instance::with_tokens_of(2);
    instance.has("user-data", instance.configuration("workers = 1\n"));
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success() && said.contains("the configuration was written: 4 values"), "{said}");
    let path = instance.state.path().join("appliance.toml");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let seen = instance.mlflow.requests();
    assert!(seen.iter().any(|one| one.target.starts_with("/api/2.0/mlflow/experiments/search")), "AWS was asked");
    assert!(instance.signals.requests().is_empty(), "`signal` reports readiness later");

    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success() && said.contains("the configuration is unchanged"), "{said}");
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), modified);

    instance.has("user-data", instance.configuration("workers = 3\n"));
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("changed since the last start: `workers` was `1` and is now `3` (user data, line 4)"),
        "{said}"
    );
    assert!(instance.written().unwrap().contains("# user data, line 4\nworkers = \"3\"\n"));
}

#[test]
fn a_failure_is_signalled_with_the_identity_of_the_instance() {
    let instance = Instance::new();
    instance.has("user-data", "#!/bin/sh\ntouch /executed\n");
    instance.tags(&[
        ("appliance:stack-name", "a stack/1"),
        ("appliance:logical-id", "Group"),
        ("appliance:auto-scaling-group", "asg"),
        ("appliance:lifecycle-hook", "boot"),
    ]);
    let (output, said) = instance.bootstrap(&[]);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("it is a script, and user data is never executed here"), "{said}");
    assert_eq!(instance.written(), None);
    let told = instance.signals.requests();
    let [signal, hook] = &told[..] else { panic!("{told:?}") };
    let signalled = call(signal);
    for (key, value) in [
        ("Action", "SignalResource"),
        ("StackName", "a stack/1"),
        ("LogicalResourceId", "Group"),
        ("UniqueId", "i-0123456789abcdef0"),
        ("Status", "FAILURE"),
        ("Version", "2010-05-15"),
    ] {
        assert_eq!(signalled.get(key).map(String::as_str), Some(value), "{key}");
    }
    let expected = format!("CFN_V1 {}:{}", BASE64_STANDARD.encode(DOCUMENT), SIGNATURE.replace('\n', ""));
    assert_eq!(signal.all("authorization"), [expected]);
    let hooked = call(hook);
    assert_eq!(hooked["LifecycleActionResult"], "ABANDON");
    assert!(hook.all("authorization")[0].starts_with("AWS4-HMAC-SHA256 Credential="), "signed by the instance's role");
    assert!(instance.record()["failure"].as_str().unwrap().contains("never executed"));

    // The next start does not send the signals again.
    let (_, said) = instance.bootstrap(&[]);
    assert_eq!(instance.signals.requests().len(), 2, "{said}");
}

#[test]
fn tags_set_few_options_and_others_are_ignored_with_a_warning() {
    let instance = Instance::new();
    instance.has("user-data", instance.configuration(""));
    let ignored = [
        ("appliance:parameters", "/attacker/cfg"),
        ("appliance:wait-handle", "https://evil.example/x"),
        ("appliance:allow-anonymous", "true"),
        ("appliance:upstream-endpoint", "https://evil.example"),
        ("appliance:set", "mlflow"),
        ("appliance:owner", "ops"),
    ];
    instance.tags(&[&ignored[..], &[("appliance:stack-name", "s"), ("appliance:logical-id", "Group")]].concat());
    let (output, said) = instance.bootstrap(&["--dry-run", "--json"]);
    assert!(output.status.success(), "CloudFormation copies the stack's own tags to its instances: {said}");
    for (key, value) in ignored {
        let warning = format!("warning: tag `{key}` is ignored");
        assert!(said.contains(&warning), "{value}: {said}");
    }
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["stack"], serde_json::json!(["s", "Group"]));
    assert_eq!(shown["is_awaited"], false);
    assert!(!shown.to_string().contains("evil.example") && !shown.to_string().contains("attacker"), "{shown}");
}

#[test]
fn problems_are_reported_with_their_origin() {
    let instance = Instance::new();
    instance.has("user-data", instance.configuration("wrokers = 1\n"));
    instance.tags(&[("appliance:workers", "nowhere")]);
    let (output, said) = instance.bootstrap(&[]);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for part in [
        "user data, line 4: `wrokers` is not an option (hint: did you mean `workers`?)",
        "tag `appliance:workers`: `nowhere`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(instance.written(), None);
}

#[test]
fn an_address_that_the_socket_unit_does_not_have_is_rejected_before_the_appliance_starts() {
    let instance = Instance::new();
    let unit = include_str!("../../src/bootstrap/files/mlflow-appliance.socket");
    std::fs::write(instance.units.path().join("mlflow-appliance.socket"), unit).unwrap();
    instance.has("user-data", instance.configuration("listen = \"127.0.0.1:8443\"\n"));
    instance.tags(&[("appliance:stack-name", "s"), ("appliance:logical-id", "Group")]);
    for arguments in [&["--dry-run"][..], &[]] {
        let (output, said) = instance.bootstrap(arguments);
        assert_eq!(output.status.code(), Some(78), "{said}");
        let problem = "user data, line 4: listen: `127.0.0.1:8443`: systemd opens the socket, and \
                       mlflow-appliance.socket listens on 0.0.0.0:5000";
        assert!(said.contains(problem), "{said}");
    }
    assert_eq!((instance.written(), call(&instance.signals.requests()[0])["Status"].as_str()), (None, "FAILURE"));
    let drop_ins = instance.units.path().join("mlflow-appliance.socket.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("port.conf"), "[Socket]\nListenStream=\nListenStream=127.0.0.1:8443\n").unwrap();
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_denied_probe_names_the_missing_permission() {
    let mut instance = Instance::new();
    instance.mlflow = Upstream::start(|_, wire| wire.answer("403 Forbidden", "{\"message\": \"not authorized\"}"));
    instance.has("user-data", instance.configuration(""));
    let (output, said) = instance.bootstrap(&[]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("allow `sagemaker-mlflow:SearchExperiments`"), "{said}");
    assert!(instance.record()["failure"].as_str().unwrap().contains("403 not authorized"));
}

#[test]
fn the_log_streams_of_an_instance_have_its_id() {
    let instance = Instance::new();
    instance.has("user-data", instance.configuration("cloudwatch-log-group = \"g\"\n"));
    instance.tags(&[("appliance:cloudwatch-log-group", "elsewhere"), ("appliance:cloudwatch-log-content", "metrics")]);
    let (output, said) = instance.bootstrap(&["--dry-run"]);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("cloudwatch-log-machine = i-0123456789abcdef0 ← identity document"), "{said}");
    // A person who may tag instances must not be able to send the audit log elsewhere, or to end it.
    assert!(said.contains("cloudwatch-log-group = g ← user data, line 4") && !said.contains("elsewhere"), "{said}");
    assert!(said.contains("`cloudwatch-log-content` cannot be set by a tag"), "{said}");
    instance.has("user-data", instance.configuration(""));
    let (_, said) = instance.bootstrap(&["--dry-run"]);
    assert!(!said.contains("cloudwatch-log-machine"), "{said}");
}

#[test]
fn an_unwritable_directory_is_reported() {
    let instance = Instance::new();
    instance.has("user-data", instance.configuration(""));
    std::fs::remove_dir(instance.state.path()).unwrap();
    let (output, said) = instance.bootstrap(&[]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write to") && said.contains("hint: make room"), "{said}");
}
