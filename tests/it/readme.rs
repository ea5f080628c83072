//! The commands of the pages do what the pages say: a shell runs those that need no AWS, as they stand there.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::documents::{blocks, is_ours, pages};
use crate::support::appliance::{TRACKING_ARN, full_binary};

/// A shell in a directory of its own, on whose path the program is.
struct Shell {
    directory: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(full_binary(), directory.path().join("bin/appliance")).unwrap();
        // Only a machine with systemd has these; `tests/system/rehearsal` installs on one.
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

/// A file with a personal token.
const PERSONAL: &str = "
[[token]]
id = \"0123456789\"
name = \"ada\"
role = \"read\"
created = \"2026-01-01T00:00:00Z\"
sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"
owner = \"token\"
label = \"laptop\"
";

/// Options of `serve`, with a target if they name none.
fn with_target(options: &str) -> String {
    match options.replace("--resource-arn …", &format!("--resource-arn {TRACKING_ARN}")) {
        named if named.contains("--resource-arn") || named.contains("--config") => named,
        others => format!("--resource-arn {TRACKING_ARN} {}", others.trim_start_matches('…')),
    }
}

#[test]
fn commands_that_need_no_aws_do_what_the_pages_say() {
    let mut done = Vec::new();
    for page in pages() {
        let shell = Shell::new();
        for block in blocks(&page, "sh") {
            for line in block.replace("\\\n", " ").lines() {
                done.extend(run(&shell, &page, line));
            }
        }
    }
    let least = [
        ("serve", 12),
        ("check", 2),
        ("assumptions", 4),
        ("token", 5),
        ("token aws", 3),
        ("cost", 1),
        ("bootstrap", 3),
        ("deploy", 6),
        ("ui", 1),
        ("sandbox", 1),
        ("init", 1),
        ("policy", 3),
        ("commands", 3),
    ];
    for (kind, least) in least {
        let count = done.iter().filter(|one| **one == kind).count();
        assert!(count >= least, "{kind}: {count} of {done:?}");
    }
}

/// Runs a line of a page, if it has a command of ours, and returns the kind of that command.
#[track_caller]
fn run(shell: &Shell, page: &str, line: &str) -> Option<&'static str> {
    let (command, comment) = line.split_once("  #").unwrap_or((line, ""));
    let command = command.trim();
    if let Some(options) = command.strip_prefix("appliance serve ").or(command.strip_prefix("appliance check ")) {
        // `check` says what `serve` would say of them, without serving.
        let shown = shell.run(&format!("appliance check --elsewhere {}", with_target(options)));
        assert!(shown.contains("configuration  valid"), "{page}: {line}: {shown}");
        Some(if command.contains(" serve ") { "serve" } else { "check" })
    } else if let Some(file) = command.strip_prefix("sudo appliance check --config /etc/mlflow-appliance/") {
        let file = file.split_whitespace().next().unwrap();
        std::fs::write(shell.directory.path().join(file), format!("resource-arn = \"{TRACKING_ARN}\"\n")).unwrap();
        let shown = shell.run(&format!("appliance check --elsewhere --config {file}"));
        assert!(shown.contains("configuration  valid"), "{page}: {line}: {shown}");
        Some("check")
    } else if command.starts_with("appliance assumptions ") {
        if command.contains("--list") {
            shell.run(command);
        }
        // The others need a target, and `tests/it/assumptions.rs` runs them.
        Some("assumptions")
    } else if command.starts_with("sudo appliance token new ") {
        shell.run(&command.replace("sudo ", "").replace("/etc/mlflow-appliance/", ""));
        Some("token")
    } else if command.starts_with("appliance token ")
        && ["secretsmanager:", "ssm:"].iter().any(|at| command.contains(at))
    {
        // It needs AWS, and `tests/it/token.rs` runs it.
        Some("token")
    } else if command.starts_with("appliance token new ") {
        let shown = shell.run(command);
        let token = shown.lines().next().unwrap();
        assert!(token.starts_with("mlfa_") && token.len() == "mlfa__".len() + 10 + 38, "{page}: {line}: {shown}");
        Some("token")
    } else if let Some((_, rest)) = command.split_once("$(appliance token aws ") {
        // It uses AWS credentials, and contacts AWS only if these come from there.
        let variables = "AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=x";
        let shown = shell.run(&format!("{variables} appliance token aws {}", rest.trim_end_matches(')')));
        assert!(shown.starts_with("mlfaws."), "{page}: {line}: {shown}");
        Some("token aws")
    } else if command.starts_with("appliance token ") {
        if command.contains(" personal.toml") {
            // People make these tokens on a page, which the tests of the page do.
            fs::write(shell.directory.path().join("personal.toml"), PERSONAL).unwrap();
        }
        shell.run(command);
        Some("token")
    } else if command.starts_with("appliance deploy cost") {
        let shown = shell.run(command);
        let sum = shown.lines().last().unwrap().split_whitespace().next().unwrap().parse::<f64>().unwrap();
        let about: f64 = comment.split_whitespace().find_map(|word| word.parse().ok()).expect("how much");
        assert!((sum - about).abs() < 5.0 && shown.contains("This is an estimate"), "{page}: {line}: {shown}");
        Some("cost")
    } else if let Some(install) = command.strip_prefix("sudo appliance bootstrap ") {
        let from = if install == "install" { " --from file" } else { "" };
        shell.run(&format!("mkdir -p root/etc/systemd && appliance bootstrap {install}{from} --root root"));
        let is_there = shell.directory.path().join("root/etc/systemd/system/mlflow-appliance.service").exists();
        assert_eq!(is_there, install == "install", "{page}: {line}");
        Some("bootstrap")
    } else if ["appliance login ", "appliance logout "].iter().any(|begin| command.starts_with(begin)) {
        // They need an appliance and a person; `tests/it/login.rs` has both.
        Some("login")
    } else if command == "appliance bootstrap status" {
        // It tells how an instance is, and `tests/it/bootstrap` asks one.
        Some("bootstrap")
    } else if command.contains("appliance deploy ") {
        // It needs AWS. `documents` gives it to the parser, and `tests/it/deploy` runs it.
        Some("deploy")
    } else if command.starts_with("appliance init ") {
        shell.run(command);
        Some("init")
    } else if command.starts_with("appliance policy ") {
        let rules = shell.directory.path().join("appliance.toml");
        std::fs::write(rules, "deny = \"experiments:delete@read\"\n").unwrap();
        let shown = shell.run(command);
        assert!(shown.starts_with("allowed  ") || shown.starts_with("METHOD  "), "{page}: {line}: {shown}");
        Some("policy")
    } else if command.starts_with("appliance targets") || command.starts_with("appliance healthcheck") {
        // They need AWS or a running appliance, and `tests/it/commands.rs` runs them.
        Some("commands")
    } else if command.starts_with("appliance ui ") {
        // It needs AWS as well, and `tests/it/ui` runs it.
        Some("ui")
    } else if command.starts_with("appliance sandbox ") {
        // It needs an MLflow, and `tests/it/sandbox` runs it.
        Some("sandbox")
    } else {
        assert!(!is_ours(line), "{page}: decide here how to test this line: {line}");
        None
    }
}

#[test]
fn configurations_are_valid() {
    let shell = Shell::new();
    let mut checked = 0;
    for block in pages().iter().flat_map(|page| blocks(page, "toml")) {
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
mod sandbox {
    use std::io::Read as _;
    use std::process::Stdio;
    use std::sync::{Arc, Mutex};

    use rustix::process::{Pid, Signal, kill_process};

    use super::Shell;
    use crate::documents::blocks;
    use crate::support::upstream::Upstream;
    use crate::support::{eventually, quiet_port};

    #[test]
    fn the_sandbox_prints_the_documented_lines() {
        // The sandbox uses this server instead of installing an MLflow.
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
        for page in ["README.md", "docs/use/sandbox.md"] {
            let blocks = blocks(page, "sh");
            let at = blocks.iter().position(|block| block.ends_with("-- sandbox\n")).expect("a block that starts it");
            for promised in blocks[at + 1].lines() {
                assert!(shown.lines().any(|line| line.trim() == promised), "{page} promises `{promised}`: {shown}");
            }
        }
    }
}
