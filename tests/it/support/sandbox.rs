//! `appliance sandbox` as a process: a simulated AWS, with an MLflow behind it that the test chooses.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::appliance::{Builder, full_binary};
use super::quiet_port;

/// A running `appliance sandbox`.
pub struct Sandbox {
    child: Child,
    /// The output of `--json`.
    pub ready: Value,
}

impl Sandbox {
    /// Starts one on ports of its own, with the MLflow of a Python environment on the PATH.
    pub fn start(bin: &Path, arguments: &[&str]) -> Self {
        Self::start_with(bin, arguments, &[])
    }

    /// Starts the sandbox with further variables.
    pub fn start_with(bin: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Self {
        let port = quiet_port().to_string();
        let mut child = Command::new(full_binary())
            .args(["sandbox", "--json", "--port", &port])
            .args(arguments)
            .env_clear()
            .env("PATH", bin)
            .env("HOME", std::env::temp_dir())
            // These variables would misconfigure the appliance or MLflow.
            .env("AWS_ACCESS_KEY_ID", "AKIDLEAKED")
            .env("AWS_SECRET_ACCESS_KEY", "leaked")
            .env("MLFLOW_TRACKING_URI", "http://192.0.2.1")
            .env("SM_MLFLOW_AWS_REGION", "xx-leaked-1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str(&line) else {
            let mut said = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut said);
            panic!("the sandbox did not come up: {line}\n{said}");
        };
        Self { child, ready }
    }

    /// One of the texts that `--json` prints.
    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    /// The variables with which an AWS SDK finds the simulated services that issue credentials.
    pub fn aws(&self) -> [(&'static str, &str); 3] {
        [
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.text("imds")),
            ("AWS_ENDPOINT_URL_STS", self.text("sts")),
        ]
    }

    /// A configuration with both modes as targets, `tracking` and `serverless`.
    pub fn configuration(&self) -> tempfile::NamedTempFile {
        let table = |mode: &str| {
            let (arn, door) = (&self.ready["arns"][mode], &self.ready["front_doors"][mode]);
            format!(
                "[[target]]\nname = \"{mode}\"\nresource-arn = {arn}\nupstream-endpoint = {door}\n\
                 role-arn = \"{}\"\nartifact-store = \"s3://sandbox-artifacts/mlflow\"\ns3-endpoint = \"{}\"\n\
                 sagemaker-endpoint = \"{}\"\n",
                self.text("role_arn"),
                self.text("s3"),
                self.text("sagemaker"),
            )
        };
        let trust = format!("ca-file = \"{}\"\n", self.text("authority"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), trust + &table("tracking") + &table("serverless")).unwrap();
        file
    }

    /// Another appliance before both, by such a file.
    pub fn serve(&self, file: &Path) -> Builder {
        let variables = self.aws().into_iter();
        let builder = Builder::from_file(file).without_credentials();
        variables.fold(builder, |builder, (name, value)| builder.env(name, value)).with_waiting()
    }

    /// The URL of the appliance for a mode.
    pub fn url(&self, mode: &str) -> &str {
        self.ready["appliances"][mode].as_str().unwrap()
    }

    /// Sends SIGINT, as Ctrl-C does, and returns the last output.
    pub fn interrupt(mut self) -> String {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, Signal::INT).unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // In order, so that its programs go with it even if the test has failed.
        if let (Ok(None), Ok(id)) = (self.child.try_wait(), i32::try_from(self.child.id())) {
            let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}
