//! The output of `appliance sandbox`: steps while it starts, then addresses, tokens and commands to copy.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::access::caller::Role;
use crate::cli::output::{one_line, say, shell_word, show, show_document};
use crate::mlflow::arn::Mode;
use crate::sandbox::{MLFLOW_VERSION, ROLE_ARN, Ready, Reporter, SandboxTarget, WrittenConfiguration, target_name};

const SIGN_IN: &str = "/_appliance/login";

/// Prints steps to standard error and the result to standard output.
pub(super) struct Screen {
    json: bool,
    spinner: RefCell<Option<ProgressBar>>,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self { json, spinner: RefCell::default() }
    }
}

impl Reporter for Screen {
    fn step(&self, text: &str) {
        say(text);
    }

    fn progress(&self, line: &str) {
        let mut spinner = self.spinner.borrow_mut();
        if line.is_empty() {
            if let Some(spinner) = spinner.take() {
                spinner.finish_and_clear();
            }
            return;
        }
        let spinner = spinner.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("  {spinner} {elapsed} {wide_msg}").expect("a valid template");
            let spinner = ProgressBar::new_spinner().with_style(style);
            // pip is silent for minutes while it unpacks.
            spinner.enable_steady_tick(Duration::from_millis(250));
            spinner
        });
        // The spinner is hidden if standard error is no terminal. Each line is then printed.
        if spinner.is_hidden() {
            say(&format!("  {line}"));
        } else {
            spinner.set_message(one_line(line));
        }
    }

    fn ready(&self, ready: &Ready) {
        if self.json {
            show_document(&as_json(ready));
        } else {
            show(&banner(ready));
        }
    }

    fn stopped(&self, doors: &[(Mode, u64, u64)], (verified, refused): (u64, u64)) {
        for (mode, verified, refused) in doors {
            say(&format!("{}: {verified} signatures verified, {refused} requests rejected", target_name(*mode)));
        }
        say(&format!("artifacts: {verified} signatures verified, {refused} requests rejected"));
    }
}

/// The addresses as JSON, for scripts, and for tests of other signers at the endpoints.
fn as_json(ready: &Ready) -> serde_json::Value {
    let by_mode = |value: fn(&SandboxTarget) -> &str| -> serde_json::Map<_, _> {
        ready.targets.iter().map(|one| (target_name(one.target.arn().mode()).to_owned(), json!(value(one)))).collect()
    };
    let tokens = ready.tokens.iter().map(|token| (token.role.as_str().to_owned(), json!(token.text.expose_secret())));
    let environment = ready.environment.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
    let configuration = ready.configuration.as_ref().map(|written| {
        let WrittenConfiguration { file, tokens, url, status } = written;
        json!({
            "file": file,
            "tokens": tokens,
            "command": command(ready, written),
            "url": url,
            "status": format!("{status}/status"),
        })
    });
    json!({
        "appliances": by_mode(|one| &one.url),
        "front_doors": by_mode(|one| &one.endpoint),
        "arns": by_mode(|one| one.target.arn().as_str()),
        "tokens": tokens.collect::<serde_json::Map<_, _>>(),
        "sign_in": format!("{}{SIGN_IN}", ready.url),
        "status": format!("{}/status", ready.status),
        "metrics": format!("{}/metrics", ready.status),
        "environment": environment.collect::<serde_json::Map<_, _>>(),
        "configuration": configuration,
        "role_arn": ROLE_ARN,
        "sts": ready.sts,
        "imds": ready.imds,
        "sagemaker": ready.sagemaker,
        "s3": ready.s3,
        "authority": ready.authority,
        "mlflow": ready.mlflow,
        "logs": ready.logs,
    })
}

/// The next steps for a person, ready to be copied.
///
/// Comments are lines of their own, because an interactive zsh knows no comments.
fn banner(ready: &Ready) -> String {
    let url = &ready.targets[0].url;
    // A shell reads these lines, and the path of a cache directory may contain spaces.
    let python = ready.python.as_ref().map_or("python".to_owned(), |python| shell_word(&python.display().to_string()));
    format!(
        "
The sandbox is ready after {took} s. The appliance signs each request, an endpoint checks the signature
as AWS does, and a real MLflow answers. Requests need no token; with a token, its role applies.

{addresses}
Python  (client: pip install mlflow=={MLFLOW_VERSION})
  export MLFLOW_TRACKING_URI={uri}
  {python} -c \"import mlflow; mlflow.set_experiment('hello'); mlflow.log_metric('accuracy', 0.9)\"

curl
  curl '{url}/api/2.0/mlflow/experiments/search?max_results=10'

Roles  (the sign-in page accepts these tokens as well)
{roles}{configuration}
The AWS credentials are simulated, expire after {lifetime} and are renewed automatically. Logs: {logs}
Ctrl-C stops everything.",
        took = ready.took.as_secs(),
        addresses = addresses(ready),
        uri = shell_word(url),
        roles = roles(ready),
        configuration = ready.configuration.as_ref().map_or_else(String::new, |written| configuration(ready, written)),
        lifetime = humantime::format_duration(ready.credential_lifetime),
        logs = ready.logs.display(),
    )
}

fn addresses(ready: &Ready) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, address: &str| {
        let _ = writeln!(lines, "{name:<16} {address}");
    };
    for one in &ready.targets {
        let name = match one.target.arn().mode() {
            Mode::TrackingServer => "Tracking server",
            Mode::App => "Serverless app",
        };
        line(name, &one.url);
    }
    line("MLflow's page", &format!("{}/", ready.url));
    line("Sign-in page", &format!("{}{SIGN_IN}", ready.url));
    line("Status page", &format!("{}/status", ready.status));
    line("Metrics", &format!("{}/metrics", ready.status));
    if ready.targets.len() > 1 {
        lines += "The tracking server and the app are in front of one MLflow, so both show the same runs.\n";
    }
    lines
}

fn roles(ready: &Ready) -> String {
    let mut lines = String::new();
    for token in &ready.tokens {
        let may = match token.role {
            Role::Read => "a reader sees runs and models; the Python line above fails with PERMISSION_DENIED:",
            Role::Write => "a writer logs, changes and deletes:",
            Role::Admin => "an administrator also uses webhooks, secrets and the AI gateway:",
        };
        let word = shell_word(token.text.expose_secret());
        let _ = writeln!(lines, "  {may}\n    export MLFLOW_TRACKING_TOKEN={word}");
    }
    lines
}

fn configuration(ready: &Ready, written: &WrittenConfiguration) -> String {
    let WrittenConfiguration { url, status, file, .. } = written;
    format!(
        "
Another appliance, which requires these tokens  (configuration: {file})
  {command}
  It listens on {url}, and its status page is {status}/status
",
        file = file.display(),
        command = command(ready, written),
    )
}

/// The command that starts an appliance with the written configuration: no variable of the shell reaches it, so no other
/// credentials do.
fn command(ready: &Ready, written: &WrittenConfiguration) -> String {
    let mut command = "env -i TERM=\"$TERM\" \\\n".to_owned();
    for (name, value) in &ready.environment {
        let _ = writeln!(command, "    {name}={} \\", shell_word(value));
    }
    let word = |path: &std::path::Path| shell_word(&path.display().to_string());
    let _ = write!(command, "    {} serve --config {}", word(&ready.program), word(&written.file));
    command
}
