//! README.md's commands do what it says: those that need no AWS are run, by a shell, as they stand there.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::appliance::{TRACKING_ARN, full_binary};
use crate::support::upstream::Upstream;
use crate::support::{eventually, quiet_port};

/// A shell in a directory of its own, on whose path the program is.
struct Shell {
    directory: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(full_binary(), directory.path().join("bin/appliance")).unwrap();
        // These need a machine with systemd; `tests/system/rehearsal` installs on one.
        for name in ["systemctl", "systemd-sysusers"] {
            std::os::unix::fs::symlink("/bin/true", directory.path().join("bin").join(name)).unwrap();
        }
        Self { directory }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", line]).env_clear().current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.directory.path().join("bin").display()));
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    #[track_caller]
    fn run(&self, line: &str) -> String {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert!(status.success(), "{line}: {status}\n{stdout}\n{stderr}");
        stdout
    }
}

/// The blocks of README.md that are in a language.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let begin = format!("\n```{language}\n");
    let found = text.split(&begin).skip(1).filter_map(|rest| rest.split("\n```").next());
    found.map(|block| block.replace("\\\n", " ")).collect()
}

#[test]
fn examples_that_need_no_aws_run_and_print_the_documented_output() {
    let shell = Shell::new();
    let mut done = Vec::new();
    for line in blocks("sh").iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()) {
        let (command, said) = line.split_once("  #").unwrap_or((&line, ""));
        let command = command.trim();
        if let Some(options) = command.strip_prefix("appliance serve ") {
            // The check of `serve`, without serving.
            let options = match options.replace("--resource-arn …", &format!("--resource-arn {TRACKING_ARN}")) {
                named if named.contains("--resource-arn") || named.contains("--config") => named,
                others => format!("--resource-arn {TRACKING_ARN} {}", others.trim_start_matches('…')),
            };
            let shown = shell.run(&format!("appliance check --elsewhere {options}"));
            assert!(shown.contains("configuration  valid"), "{line}: {shown}");
            done.push("serve");
        } else if command.starts_with("appliance token new ") {
            let shown = shell.run(command);
            let token = shown.lines().next().unwrap();
            assert!(token.starts_with("mlfa_") && token.len() == "mlfa__".len() + 10 + 38, "{line}: {shown}");
            done.push("token");
        } else if command == "appliance deploy cost" {
            let shown = shell.run(command);
            let sum = shown.lines().last().unwrap().split_whitespace().next().unwrap().parse::<f64>().unwrap();
            let about: f64 = said.split_whitespace().find_map(|word| word.parse().ok()).expect("how much");
            assert!((sum - about).abs() < 5.0 && shown.contains("ESTIMATE"), "{line}: {shown}");
            done.push("cost");
        } else if let Some(install) = command.strip_prefix("sudo appliance bootstrap ") {
            let from = if install == "install" { " --from file" } else { "" };
            shell.run(&format!("mkdir -p root/etc/systemd && appliance bootstrap {install}{from} --root root"));
            let is_there = shell.directory.path().join("root/etc/systemd/system/mlflow-appliance.service").exists();
            assert_eq!(is_there, install == "install", "{line}");
            done.push("bootstrap");
        } else if command.contains("appliance deploy ") {
            // With AWS. `documents` gives it to the parser, and `tests/it/deploy` does it.
            done.push("deploy");
        } else if command.starts_with("appliance ui ") {
            // With AWS as well, and `tests/it/ui` does it.
            done.push("ui");
        } else {
            let is_ours = command.starts_with("appliance ") || command.contains(" appliance ");
            assert!(!is_ours, "decide here what is to become of it: {line}");
        }
    }
    for (kind, least) in [("serve", 6), ("token", 1), ("cost", 1), ("bootstrap", 2), ("deploy", 3), ("ui", 1)] {
        let count = done.iter().filter(|one| **one == kind).count();
        assert!(count >= least, "{kind}: {count} of {done:?}");
    }
}

#[test]
fn configurations_are_valid() {
    let shell = Shell::new();
    let mut checked = 0;
    for block in blocks("toml") {
        let has_target = block.contains("resource-arn");
        let is_of_bootstrap = block.contains("[bootstrap]") || block.contains("parameters =");
        if is_of_bootstrap {
            continue;
        }
        let missing = if has_target { String::new() } else { format!("resource-arn = \"{TRACKING_ARN}\"\n") };
        fs::write(shell.directory.path().join("appliance.toml"), format!("{missing}{block}")).unwrap();
        let shown = shell.run("appliance check --elsewhere --config appliance.toml");
        assert!(shown.contains("configuration  valid"), "{block}: {shown}");
        checked += 1;
    }
    assert!(checked >= 3, "{checked}");
}

#[cfg(feature = "sandbox")]
#[test]
fn the_sandbox_prints_the_documented_lines() {
    let blocks = blocks("sh");
    let at = blocks.iter().position(|block| block.ends_with("-- sandbox")).expect("how to start it");
    // An MLflow of another's, so that none has to be installed.
    let mlflow = Upstream::plain(|_, wire| wire.answer("200 OK", "OK"));
    let (port, url) = (quiet_port(), format!("http://127.0.0.1:{}", mlflow.address().port()));
    let shell = Shell::new();
    let line = format!("exec appliance sandbox --port {port} --mlflow-url {url}");
    let mut child =
        shell.command(&line).env("HOME", "/tmp").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let shown = Arc::<Mutex<String>>::default();
    let (sink, mut stdout) = (Arc::clone(&shown), child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(size @ 1..) = stdout.read(&mut piece) {
            sink.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..size]));
        }
    });
    eventually("the sandbox is ready", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {}", shown.lock().unwrap());
        shown.lock().unwrap().contains("Ctrl-C stops everything")
    });
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
    let shown = shown.lock().unwrap().replace(&format!(":{port}"), ":5000");
    for promised in blocks[at + 1].lines() {
        assert!(shown.lines().any(|line| line.trim() == promised), "README.md promises `{promised}`: {shown}");
    }
}
