//! A simulated AWS that behaves as the appliance assumes, except where a test breaks it. It verifies no signature, which the sandbox
//! does; it looks only at the kind of each signature.

use std::collections::BTreeSet;
use std::io;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::store::{BUCKET, Objects};
use crate::support::Message as _;
use crate::support::appliance::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, TRACKING_ARN, command};
use crate::support::authority::authority;
use crate::support::upstream::{Recorded, Upstream, Wire};

pub const EXPERIMENT: &str = "4711";
pub const RUN: &str = "0123456789abcdef0123456789abcdef";
/// The largest body where AWS is broken.
const BROKEN_LIMIT: usize = 2 << 20;
const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/k-1";

/// Looks at a request before it is answered, and may answer it itself.
type Hook = dyn Fn(&Recorded, &mut Wire) -> Option<io::Result<()>> + Send + Sync;

/// All services.
pub struct Cloud {
    pub mlflow: Upstream,
    pub s3: Upstream,
    /// SageMaker, STS, IAM and the page.
    pub control: Upstream,
}

/// The names of assumptions that are false.
type Broken = BTreeSet<&'static str>;

impl Cloud {
    /// One in which these assumptions are false.
    pub fn without(broken: &[&'static str]) -> Self {
        Self::with(broken, |_, _| None)
    }

    /// Starts the cloud, and calls a function for each request to MLflow and S3.
    pub fn with(
        broken: &[&'static str],
        hook: impl Fn(&Recorded, &mut Wire) -> Option<io::Result<()>> + Send + Sync + 'static,
    ) -> Self {
        let broken: Arc<Broken> = Arc::new(broken.iter().copied().collect());
        let hook: Arc<Hook> = Arc::new(hook);
        let (of_mlflow, of_s3, of_control) = (Arc::clone(&broken), Arc::clone(&broken), broken);
        let (before_mlflow, before_s3) = (Arc::clone(&hook), hook);
        let objects = Arc::<Mutex<Objects>>::default();
        let listed = Arc::clone(&objects);
        let mlflow = Upstream::start(move |request, wire| {
            before_mlflow(request, wire).unwrap_or_else(|| answer_as_mlflow(request, wire, &of_mlflow, &listed))
        });
        let s3 = Upstream::plain(move |request, wire| {
            before_s3(request, wire).unwrap_or_else(|| {
                let (status, headers, body) = objects.lock().unwrap().answer(request, |name| of_s3.contains(name));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
                let body = if request.method == "HEAD" { Vec::new() } else { body };
                wire.send([head.as_bytes(), &body].concat())
            })
        });
        let opened = Mutex::new(0);
        let control = Upstream::start(move |request, wire| answer_as_control(request, wire, &of_control, &opened));
        Self { mlflow, s3, control }
    }

    /// The command, ready to run against these services.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&["assumptions", "--resource-arn", TRACKING_ARN, "--largest-body", "6MiB"]);
        command
            .args(["--upstream-endpoint", &self.mlflow.url(), "--sagemaker-endpoint", &self.control.url()])
            .args(["--artifact-store", "auto", "--s3-endpoint", &self.s3.url(), "--artifact-kms-key", KEY])
            .args(arguments)
            .env("APPLIANCE_CA_FILE", authority().file())
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("AWS_SESSION_TOKEN", SESSION_TOKEN)
            .env("AWS_ENDPOINT_URL_STS", self.control.url())
            .env("AWS_ENDPOINT_URL_IAM", self.control.url());
        command
    }

    /// Runs the command with `--json`.
    pub fn run(&self, arguments: &[&str]) -> (Output, Value) {
        let output = self.command(&[&["--json"], arguments].concat()).output().unwrap();
        let document = document(&output);
        (output, document)
    }

    /// The requests to MLflow with this method whose target has this part.
    pub fn asked(&self, method: &str, part: &str) -> Vec<Recorded> {
        let is_meant = |request: &Recorded| request.method == method && request.target.contains(part);
        self.mlflow.requests().into_iter().filter(is_meant).collect()
    }
}

/// The JSON on standard output.
#[track_caller]
pub fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A rejection that repeats the request with its secrets, as AWS does for signatures.
fn reject(request: &Recorded, wire: &mut Wire, status: &str, code: &str) -> io::Result<()> {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let message = format!("no\u{1b}[2J signature: {:?}", request.headers);
    let body = json!({"message": message}).to_string();
    let length = body.len();
    wire.send(format!(
        "HTTP/1.1 {status}\r\nDate: {date}\r\nx-amzn-errortype: {code}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

fn answer_as_mlflow(request: &Recorded, wire: &mut Wire, broken: &Broken, objects: &Mutex<Objects>) -> io::Result<()> {
    let is = |name: &str| broken.contains(name);
    let forbidden = |wire: &mut Wire| reject(request, wire, "403 Forbidden", "InvalidSignatureException");
    if is("mlflow-signed-request") {
        return forbidden(wire);
    }
    let payload = request.header("x-amz-content-sha256").to_owned();
    let is_hash = payload.len() == 64 && payload != hex::encode(Sha256::digest(&request.body));
    let kind = match payload.as_str() {
        "UNSIGNED-PAYLOAD" => "mlflow-unsigned-payload",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => "mlflow-chunk-signed-payload",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => "mlflow-chunk-signed-trailer",
        _ => "",
    };
    if is(kind) || (is_hash && !is("mlflow-wrong-hash")) {
        return reject(request, wire, "400 Bad Request", "XAmzContentSHA256Mismatch");
    }
    let date = request.header("x-amz-date");
    let date =
        format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..8], &date[9..11], &date[11..13], &date[13..15]);
    let age = humantime::parse_rfc3339(&date).unwrap().elapsed().unwrap_or_default();
    if age.as_secs() > 300 && !is("mlflow-stale-signature") {
        return forbidden(wire);
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if (is("mlflow-path-characters") && path.contains("%C3"))
        || (is("mlflow-path-encoded-slash") && path.contains("%2F"))
        || (is("mlflow-path-double-slash") && path.contains("//"))
    {
        return forbidden(wire);
    }
    if is("mlflow-body-size") && request.body.len() > BROKEN_LIMIT {
        return wire.answer("413 Payload Too Large", "<html>too large</html>");
    }
    let missing = |wire: &mut Wire| wire.answer("404 Not Found", "<html>");
    let error = |wire: &mut Wire, status: &str, code: &str| {
        wire.answer(status, json!({"error_code": code, "message": "no"}).to_string())
    };
    let route = path.replace("//", "/");
    let route = route.trim_start_matches("/api/2.0/mlflow/");
    match (request.method.as_str(), route) {
        (_, "/") if is("routes-page") => missing(wire),
        (_, "/") => wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"),
        (_, "/graphql") if is("routes-graphql") => missing(wire),
        (_, "/graphql") => wire.answer("200 OK", json!({"data": {"__typename": "Query"}}).to_string()),
        (_, route) if route.starts_with("/ajax-api") && is("routes-ajax") => missing(wire),
        (_, route) if route.contains("webhooks") && is("routes-newer") => missing(wire),
        (_, route) if route.contains("metrics/") && is("routes-basic") => missing(wire),
        ("POST", "experiments/create") => wire.answer("200 OK", json!({"experiment_id": EXPERIMENT}).to_string()),
        ("POST", "runs/create") => {
            let bucket = if is("artifact-location") { "another-bucket" } else { BUCKET };
            let uri = format!("s3://{bucket}/mlflow/{EXPERIMENT}/{RUN}/artifacts");
            let info = json!({"run_id": RUN, "artifact_uri": uri});
            wire.answer("200 OK", json!({"run": {"info": info}}).to_string())
        }
        ("GET", "experiments/search") if query.contains("filter=") => {
            let experiment = json!([{"experiment_id": EXPERIMENT}]);
            let found = if is("mlflow-query-characters") { json!([]) } else { experiment };
            wire.answer("200 OK", json!({"experiments": found}).to_string())
        }
        ("POST", "runs/log-batch") => error(wire, "400 Bad Request", "INVALID_PARAMETER_VALUE"),
        ("GET", "artifacts/list") => {
            let names = if is("artifacts-read-by-mlflow") { Vec::new() } else { objects.lock().unwrap().names() };
            let files: Vec<_> = names.iter().map(|name| json!({"path": name, "is_dir": false})).collect();
            wire.answer("200 OK", json!({"files": files}).to_string())
        }
        ("GET", route) if route.starts_with("logged-models/") => {
            error(wire, "404 Not Found", "RESOURCE_DOES_NOT_EXIST")
        }
        _ => wire.answer("200 OK", "{}"),
    }
}

fn answer_as_control(request: &Recorded, wire: &mut Wire, broken: &Broken, opened: &Mutex<usize>) -> io::Result<()> {
    let is = |name: &str| broken.contains(name);
    if request.target.contains("Action=GetCallerIdentity") {
        // The signature covers the audience, so another one is not confirmed.
        if request.header("x-mlflow-appliance-audience") == "another-audience" && !is("sts-signed-audience") {
            let error = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>";
            return wire.answer("403 Forbidden", error);
        }
        return wire.answer(
            "200 OK",
            "<R><Arn>arn:aws:sts::123456789012:assumed-role/a/b</Arn><Account>123456789012</Account></R>",
        );
    }
    if request.target.contains("Action=GetRole") {
        let policy =
            json!({"Statement": [{"Effect": "Allow", "Condition": {"StringEquals": {"aws:SourceAccount": "1"}}}]});
        let policy = policy.to_string().replace('"', "%22").replace('{', "%7B");
        return wire.answer("200 OK", format!("<R><AssumeRolePolicyDocument>{policy}</AssumeRolePolicyDocument></R>"));
    }
    if request.target.starts_with("/auth?") {
        let mut opened = opened.lock().unwrap();
        *opened += 1;
        return if *opened == 1 || is("presigned-page") {
            let cookie = "Set-Cookie: session=cookie-that-nobody-may-see; Path=/; HttpOnly; Secure";
            wire.send(format!("HTTP/1.1 302 Found\r\nLocation: /\r\n{cookie}\r\nContent-Length: 0\r\n\r\n"))
        } else {
            wire.answer("403 Forbidden", "used")
        };
    }
    let operation = request.header("x-amz-target");
    let answer = if operation.contains("CreatePresigned") {
        json!({"AuthorizedUrl": format!("https://{}/auth?authToken=ticket-that-nobody-may-see", request.header("host"))})
    } else {
        let role = "arn:aws:iam::123456789012:role/service/mlflow";
        json!({"ArtifactStoreUri": format!("s3://{BUCKET}/mlflow"), "RoleArn": role})
    };
    wire.answer("200 OK", answer.to_string())
}
