//! No log line at any level and no response of the appliance contains a secret, a token or a signature.

use std::fmt::Write as _;
use std::time::Duration;

use crate::support::Message as _;
use crate::support::appliance::{Builder, SECRET_ACCESS_KEY, SESSION_TOKEN, TRACKING_ARN, command};
use crate::support::caller::Caller;
use crate::support::http2::Http2;
use crate::support::upstream::{OK, Upstream};
use crate::support::{eventually, quiet_port};

const CALLERS: [&str; 4] = ["caller-token-1f", "caller-cookie-2e", "query-secret-3d", "body-secret-4c"];

#[test]
fn a_crash_writes_no_memory_to_disk() {
    use std::os::unix::process::ExitStatusExt as _;
    let upstream = Upstream::ok();
    let mut appliance = Builder::new(&upstream).under(&["sh", "-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).start();
    assert_eq!(appliance.get("/x").status, 200);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", appliance.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().filter(|word| *word == "0").count() == 2, "{core}");
    appliance.signal(rustix::process::Signal::ABORT);
    let status = appliance.ended();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
}

#[test]
fn secrets_are_not_logged_at_any_level_nor_in_any_failure() {
    let upstream = Upstream::start(|request, wire| match request.target.split('?').next().unwrap_or_default() {
        "/forbidden" => wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}"),
        "/closed" => Err(wire.close()),
        "/nonsense" => wire.send("nonsense\r\n\r\n"),
        "/cut" => {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")?;
            Err(wire.reset())
        }
        "/stalled" => {
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        _ => wire.send(OK),
    });
    let over_http2 = Http2::start();
    let unreachable = "https://127.0.0.1:1";
    let mut signatures = Vec::new();
    let mut said = String::new();
    for (url, level) in [
        (upstream.url(), "trace"),
        (over_http2.url(), "trace"),
        (unreachable.into(), "debug"),
        (upstream.url(), "info"),
    ] {
        let appliance = Builder::to(&url)
            .with(&["--log-filter", level, "--upstream-response-timeout", "1s", "--body-size-limit", "1 KiB"])
            .start();
        for path in
            ["/ok", "/forbidden", "/closed", "/nonsense", "/cut", "/stalled", "/a/../b", "/_appliance/x", "/truncated"]
        {
            let headers = [
                ("Authorization", "Bearer caller-token-1f"),
                ("Cookie", "session=caller-cookie-2e"),
                ("X-Amz-Security-Token", "caller-token-1f"),
            ];
            let mut caller = appliance.connect();
            let mut request =
                format!("POST {path}?token=query-secret-3d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n");
            for (name, value) in headers {
                let _ = write!(request, "{name}: {value}\r\n");
            }
            caller.send(format!("{request}\r\nbody-secret-4c")).unwrap();
            if let Ok(answer) = caller.answer(false) {
                let _ = writeln!(said, "{:?}\n{}", answer.headers, answer.text());
            }
        }
        let large = appliance.connect().request("PUT", "/x?token=query-secret-3d", &[], Some(&[b'a'; 2048]));
        said.push_str(&large.text());
        let log = appliance.log();
        assert!(log.contains("\"request\""), "the log was on");
        said.push_str(&log);
    }
    for request in upstream.requests() {
        let authorization = request.header("authorization").to_owned();
        signatures.push(authorization.rsplit('=').next().unwrap().to_owned());
    }
    assert!(signatures.len() > 10 && signatures.iter().all(|signature| signature.len() == 64));
    let secrets = [SECRET_ACCESS_KEY, SESSION_TOKEN, "AWS4-HMAC-SHA256", "Signature="].into_iter().chain(CALLERS);
    for secret in secrets.chain(signatures.iter().map(String::as_str)) {
        let line = said.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "`{secret}` is in: {}", line.unwrap_or_default());
    }
}

/// Filters as people write them. Each has to leave out what libraries print of credentials.
const FILTERS: [&str; 11] = [
    "trace",
    "warn,access=off",
    "error,appliance=info",
    "info,appliance=debug,aws_config=trace",
    "warn,aws_config::web_identity_token=trace,appliance=info",
    "warn,aws_config::meta::credentials::chain=warn,aws_config=debug",
    "appliance=info,aws_smithy_runtime=trace,aws_smithy_runtime_api=trace,aws_smithy_http_client=trace",
    "appliance=info,aws_runtime=trace,aws_sigv4=trace,aws_sdk_sts=trace,aws_credential_types=trace",
    "appliance=info,hyper=trace,hyper_util=trace,h2=trace,rustls=trace,actix_http=trace,tokio_util=trace,mio=trace",
    "appliance=trace,[invoke]=trace,[{request}]=trace",
    "trace,aws_config=trace,tokio=trace",
];

/// Returns a response that is truncated and holds credentials, so that its reader reports an error.
fn cut(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn unreadable_credentials_are_never_logged_with_any_filter() {
    let token = "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 5\r\n\r\ntoken";
    let broken =
        cut("{\"Code\":\"Success\",\"AccessKeyId\":\"ASIAX\",\"SecretAccessKey\":\"imds-secret-5d\",\"Expiration\":");
    let imds = Upstream::plain(move |request, wire| match request.target.as_str() {
        "/latest/api/token" => wire.send(token),
        "/latest/meta-data/iam/security-credentials/" => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrole"),
        "/latest/meta-data/iam/security-credentials/role" => wire.send(&broken),
        _ => wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    });
    let sts = Upstream::plain(|request, wire| {
        let form = String::from_utf8_lossy(&request.body);
        let action = if form.contains("WebIdentity") { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
        wire.send(cut(&format!(
            "<{action}Response><{action}Result><Credentials><SecretAccessKey>sts-secret-6e</SecretAccessKey>"
        )))
    });
    let identity = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(identity.path(), "web-identity-7f").unwrap();
    let (role, imds, sts) = ("arn:aws:iam::123456789012:role/mlflow", imds.url(), sts.url());
    let from_imds = [("AWS_EC2_METADATA_DISABLED", "false"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.as_str())];
    let from_sts = [
        ("SM_MLFLOW_ROLE_ARN", role),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_SESSION_TOKEN", SESSION_TOKEN),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ];
    let by_web_identity = [
        ("AWS_ROLE_ARN", role),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", identity.path().to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ];
    for filter in FILTERS {
        for variables in [&from_imds[..], &from_sts, &by_web_identity] {
            let said = said_without_credentials(filter, variables);
            let secrets = ["imds-secret-5d", "sts-secret-6e", "web-identity-7f", "AWS4-HMAC-SHA256"];
            for secret in secrets.into_iter().chain([SECRET_ACCESS_KEY, SESSION_TOKEN]) {
                // Libraries print bodies as text and as lists of bytes.
                let bytes = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
                assert!(!said.contains(secret) && !said.contains(&bytes), "{filter}: `{secret}` is in: {said}");
            }
        }
    }
}

/// Returns the log of an appliance and its response to a caller, after it has failed to obtain credentials.
#[track_caller]
fn said_without_credentials(filter: &str, variables: &[(&str, &str)]) -> String {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], quiet_port()));
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut child = command(&["serve", "--listen", &address.to_string(), "--log-filter", filter])
        .envs([("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN), ("RUST_LOG", "trace"), ("LOG_SENSITIVE_BODIES", "true")])
        .envs(variables.iter().copied())
        .stderr(log.reopen().unwrap())
        .spawn()
        .unwrap();
    let mut reason = String::new();
    eventually("it listens and has failed", || {
        if std::net::TcpStream::connect(address).is_err() {
            return false;
        }
        reason = Caller::connect(address).get("/_appliance/readyz").text();
        !reason.contains("have not been obtained yet")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    format!("{}{reason}", std::fs::read_to_string(log.path()).unwrap())
}
