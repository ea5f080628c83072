//! The program under test, as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::authority::authority;
use super::caller::{Answer, Caller};
use super::eventually;
use super::log::Log;
use super::scrape::Scrape;
use super::tokens::TokenFile;
use super::upstream::Upstream;

pub const TRACKING_ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1";
pub const APP_ARN: &str = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456";
pub const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub const SESSION_TOKEN: &str = "SESSIONTOKENTHATNOBODYMAYSEE";

/// The binary with all features: `APPLIANCE_BIN` if it is set, otherwise the debug build.
pub fn full_binary() -> PathBuf {
    std::env::var_os("APPLIANCE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_appliance").into(), PathBuf::from)
}

/// The binary for instances, `APPLIANCE_LEAN_BIN`, so that the tests judge the product; otherwise the one with all features.
pub fn instance_binary() -> PathBuf {
    std::env::var_os("APPLIANCE_LEAN_BIN").map_or_else(full_binary, PathBuf::from)
}

/// The commands that the binary for instances has.
const INSTANCE_COMMANDS: [&str; 9] =
    ["bootstrap", "check", "healthcheck", "init", "policy", "serve", "targets", "token", "ui"];

/// A command in an environment that holds nothing but what a test puts there.
pub fn command(arguments: &[&str]) -> Command {
    let is_for_instances = arguments.first().is_some_and(|first| INSTANCE_COMMANDS.contains(first));
    let mut command = Command::new(if is_for_instances { instance_binary() } else { full_binary() });
    command
        .args(arguments)
        .env_clear()
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        // Tests run side by side, and the usual port is one.
        .env("APPLIANCE_ADMIN_LISTEN", "off")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// The settings with which the appliance is started.
pub struct Builder {
    command: Command,
    wait_until_ready: bool,
}

/// A running `appliance serve`.
pub struct Appliance {
    child: Child,
    address: SocketAddr,
    log: Log,
}

impl Builder {
    /// `serve` before `upstream`, with credentials in the environment.
    pub fn new(upstream: &Upstream) -> Self {
        Self::to(&upstream.url())
    }

    /// `serve` before any URL.
    pub fn to(url: &str) -> Self {
        let mut builder = Self::anywhere();
        builder
            .command
            .args(["--upstream-endpoint", url, "--ca-file"])
            .arg(authority().file())
            .env("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN);
        builder
    }

    /// Runs `serve` with the targets of a configuration file, which also names the trusted authorities.
    pub fn from_file(path: &Path) -> Self {
        let mut builder = Self::anywhere();
        builder.command.arg("--config").arg(path);
        builder
    }

    /// `serve` before nothing yet.
    pub fn anywhere() -> Self {
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command
            .env("APPLIANCE_WORKERS", "1")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("AWS_SESSION_TOKEN", SESSION_TOKEN);
        Self { command, wait_until_ready: true }
    }

    /// Further arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Adds an admin listener.
    pub fn with_admin(self) -> Self {
        self.with(&["--admin-listen", "127.0.0.1:0"])
    }

    /// Callers have to bring a token of this file.
    pub fn with_tokens(self, file: &TokenFile) -> Self {
        let path = file.path();
        self.with(&["--tokens", path.to_str().unwrap()])
    }

    /// A further variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable that tests usually set.
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Started by another program, which is given the appliance's command line after its own.
    pub fn under(mut self, program: &[&str]) -> Self {
        let mut outer = Command::new(program[0]);
        outer.args(&program[1..]).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        outer
            .envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("PATH", "/usr/bin:/bin");
        self.command = outer;
        self
    }

    /// No waiting until it is ready.
    pub fn without_waiting(mut self) -> Self {
        self.wait_until_ready = false;
        self
    }

    /// Waiting until it is ready, also without credentials in the environment.
    pub fn with_waiting(mut self) -> Self {
        self.wait_until_ready = true;
        self
    }

    /// No credentials in the environment, and no waiting for them.
    pub fn without_credentials(mut self) -> Self {
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            self.command.env_remove(name);
        }
        self.wait_until_ready = false;
        self
    }

    /// Starts the appliance, and waits until it listens and, by default, is ready.
    #[track_caller]
    pub fn start(mut self) -> Appliance {
        let log = Log::new();
        let mut child = self.command.stdout(Stdio::null()).stderr(log.stdio()).spawn().unwrap();
        let mut address = None;
        eventually("the appliance listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the appliance ended ({status}): {}", log.text());
            }
            address = log.events().iter().find_map(|event| event["listen"].as_str()?.parse().ok());
            address.is_some()
        });
        let address = address.unwrap();
        let appliance = Appliance { child, address, log };
        if self.wait_until_ready {
            eventually("the appliance is ready", || appliance.get("/_appliance/readyz").status == 200);
        }
        appliance
    }
}

impl Appliance {
    /// The usual one.
    #[track_caller]
    pub fn before(upstream: &Upstream) -> Self {
        Builder::new(upstream).start()
    }

    /// The URL of the appliance's listener.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A new connection to it.
    pub fn connect(&self) -> Caller {
        Caller::connect(self.address)
    }

    /// The address of the appliance's listener, for connections of another kind.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request on a new connection.
    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.connect().get(target)
    }

    /// The URL of the admin listener.
    #[track_caller]
    pub fn admin_address(&self) -> SocketAddr {
        let events = self.log.events();
        events.iter().find_map(|event| event["admin"].as_str()?.parse().ok()).expect("there is an admin listener")
    }

    /// A request to the admin listener, on a new connection.
    #[track_caller]
    pub fn admin(&self, target: &str) -> Answer {
        Caller::connect(self.admin_address()).get(target)
    }

    /// Returns the metrics of a scrape.
    #[track_caller]
    pub fn metrics(&self) -> Scrape {
        let answer = self.admin("/metrics");
        assert_eq!(answer.status, 200);
        Scrape::parse(&answer.text())
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// True if a part of it has panicked. What that ends is one connection, so an answer does not show it.
    pub fn has_panicked(&self) -> bool {
        self.log().contains("a part of the program failed unexpectedly")
    }

    /// The access log's events.
    pub fn access_log(&self) -> Vec<Value> {
        let log = self.log.text();
        let events = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
        events.filter(|event| event["target"] == "access").collect()
    }

    /// Waits for an event of the access log.
    #[track_caller]
    pub fn saw(&self, what: &str, is_it: impl Fn(&Value) -> bool) {
        eventually(what, || self.access_log().iter().any(&is_it));
    }

    /// Bytes of memory it holds now.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Processor time that its main thread and all others have taken.
    pub fn processor_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        // The first field is in nanoseconds.
        let of = |path: PathBuf| std::fs::read_to_string(path.join("schedstat")).unwrap();
        let times = threads.map(|thread| of(thread.unwrap().path()).split(' ').next().unwrap().parse::<u64>().unwrap());
        Duration::from_nanos(times.sum())
    }

    /// Files and sockets that it has open now.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The id of the appliance's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the appliance ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the appliance ---\n{}\n---", self.log());
        } else {
            assert!(!self.has_panicked(), "{}", self.log());
        }
    }
}
