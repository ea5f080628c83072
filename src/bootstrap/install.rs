//! `bootstrap install`: puts the appliance on a machine with systemd, from files inside this binary, and `uninstall`.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rust_embed::RustEmbed;

use super::Say;

#[derive(RustEmbed)]
#[folder = "src/bootstrap/files/"]
struct Files;

const PROGRAM: &str = "/usr/local/bin/appliance";
const UNITS: &str = "/etc/systemd/system";
const SYSUSERS: &str = "/etc/sysusers.d/mlflow-appliance.conf";
const CONFIGURATION: &str = "/etc/mlflow-appliance";
const STATE: &str = "/var/lib/mlflow-appliance";
const USER: &str = "mlflow-appliance";

/// Units everywhere, and those of an instance.
const SERVE: &[&str] = &["mlflow-appliance.socket", "mlflow-appliance.service"];
const INSTANCE: &[&str] = &["mlflow-appliance-bootstrap.service", "mlflow-appliance-signal.service"];
const DROP_INS: &[(&str, &str)] = &[
    ("instance.conf", "mlflow-appliance.service.d/instance.conf"),
    ("instance-socket.conf", "mlflow-appliance.socket.d/instance.conf"),
];

/// How to install.
pub struct Installation {
    /// The root of the system: `/`, or that of an image.
    pub root: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Whether the configuration comes from the instance, or from a file alone.
    pub from_instance: bool,
    /// Whether to start it, too.
    pub start: bool,
}

/// Why it could not be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// NixOS describes a machine elsewhere.
    #[error("this is NixOS, where services are not installed but declared")]
    NixOs,
    /// There is no systemd.
    #[error("`{}` has no systemd", .0.display())]
    NoSystemd(PathBuf),
    /// A file cannot be written or removed.
    #[error("cannot {what} `{}`", path.display())]
    File {
        /// `write` or `remove`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program of systemd failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        said: String,
    },
}

impl InstallError {
    /// What to do about it, as an instruction.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NixOs => {
                "import the flake's `nixosModules.default` and set `services.mlflow-appliance.enable = true`"
            }
            Self::NoSystemd(_) => "start `appliance serve --config FILE` with the service manager of this machine",
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root, with sudo"
            }
            Self::File { .. } => "make room, or make the file system writable",
            Self::Command { .. } => {
                "run that command by hand to see more; then install again, it takes up where it was"
            }
        }
    }
}

/// Writes units, user, directories and a default configuration. What is there already and may have been edited stays.
///
/// # Errors
/// [`InstallError`]; it can be run again.
pub fn install(installation: &Installation, say: Say<'_>) -> Result<(), InstallError> {
    let Installation { root, program, from_instance, start } = installation;
    let is_here = root == Path::new("/");
    if is_nixos(root) {
        return Err(InstallError::NixOs);
    }
    let units = at(root, UNITS);
    if !units.parent().is_some_and(Path::exists) || (is_here && !Path::new("/run/systemd/system").exists()) {
        return Err(InstallError::NoSystemd(root.clone()));
    }
    copy_program(program, &at(root, PROGRAM), say)?;
    write(&at(root, SYSUSERS), &file("sysusers.conf"), 0o644, say)?;
    let (more, drop_ins) = if *from_instance { (INSTANCE, DROP_INS) } else { (&[][..], &[][..]) };
    let all: Vec<&str> = SERVE.iter().chain(more).copied().collect();
    for unit in &all {
        write(&units.join(unit), &unit_text(unit), 0o644, say)?;
    }
    for (name, place) in drop_ins {
        write(&units.join(place), &file(name), 0o644, say)?;
    }
    let mut sysusers = Command::new("systemd-sysusers");
    if !is_here {
        sysusers.arg("--root").arg(root);
    }
    run(sysusers.arg("mlflow-appliance.conf"))?;
    let configuration = at(root, CONFIGURATION);
    directory(&configuration, 0o755)?;
    directory(&configuration.join("secrets"), 0o700)?;
    keep_or_write(&configuration.join("appliance.toml"), &file("appliance.toml"), 0o644, say)?;
    let tokens = configuration.join("tokens.toml");
    keep_or_write(&tokens, "", 0o640, say)?;
    // Only hashes are in it; the appliance reads it again while it runs.
    if let Some(group) = group(root) {
        chown(&tokens, None, Some(group)).map_err(failed("write", &tokens))?;
    }
    if is_here {
        run(Command::new("systemctl").arg("daemon-reload"))?;
    }
    run(systemctl(root).arg("enable").args(&all))?;
    say(&format!("enabled {}", all.join(", ")));
    if *start && is_here {
        let first = if *from_instance { INSTANCE[0] } else { SERVE[1] };
        run(Command::new("systemctl").args(["start", "--no-block", first]))?;
        say(&format!("starting; see `systemctl status {first}`"));
    }
    Ok(())
}

/// Removes what `install` wrote; configuration, tokens and state only with `purge`.
///
/// # Errors
/// [`InstallError`]; it can be run again.
pub fn uninstall(root: &Path, purge: bool, say: Say<'_>) -> Result<(), InstallError> {
    if is_nixos(root) {
        return Err(InstallError::NixOs);
    }
    let units = at(root, UNITS);
    let installed: Vec<_> = INSTANCE.iter().chain(SERVE).filter(|unit| units.join(unit).exists()).collect();
    if !installed.is_empty() {
        if root == Path::new("/") {
            run(Command::new("systemctl").arg("stop").args(&installed))?;
        }
        run(systemctl(root).arg("disable").args(&installed))?;
    }
    for unit in INSTANCE.iter().chain(SERVE) {
        remove(&units.join(unit), say)?;
        remove(&units.join(format!("{unit}.d")), say)?;
    }
    remove(&at(root, SYSUSERS), say)?;
    remove(&at(root, PROGRAM), say)?;
    if purge {
        remove(&at(root, CONFIGURATION), say)?;
        remove(&at(root, STATE), say)?;
    } else {
        say(&format!("kept `{CONFIGURATION}` and `{STATE}`; `--purge` removes them, too"));
    }
    if root == Path::new("/") {
        run(Command::new("systemctl").arg("daemon-reload"))?;
    }
    Ok(())
}

/// The text of a unit as it is installed.
fn unit_text(name: &str) -> String {
    file(name).replace("@HARDENING@", file("hardening.conf").trim_end()).replace("@PROGRAM@", PROGRAM)
}

fn file(name: &str) -> String {
    let file = Files::get(name).expect("a file of this directory");
    String::from_utf8_lossy(&file.data).into_owned()
}

fn is_nixos(root: &Path) -> bool {
    at(root, "/etc/NIXOS").exists()
}

fn at(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { what, path, source }
}

fn directory(path: &Path, mode: u32) -> Result<(), InstallError> {
    fs::create_dir_all(path).map_err(failed("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("write", path))
}

fn write(path: &Path, text: &str, mode: u32, say: Say<'_>) -> Result<(), InstallError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("write", parent))?;
    }
    fs::write(path, text).map_err(failed("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("write", path))?;
    say(&format!("wrote `{}`", path.display()));
    Ok(())
}

fn keep_or_write(path: &Path, text: &str, mode: u32, say: Say<'_>) -> Result<(), InstallError> {
    if path.exists() {
        say(&format!("kept `{}`", path.display()));
        return Ok(());
    }
    write(path, text, mode, say)
}

/// A running program cannot be overwritten, but replaced.
fn copy_program(from: &Path, to: &Path, say: Say<'_>) -> Result<(), InstallError> {
    if from == to {
        return Ok(());
    }
    let parent = to.parent().expect("it has one");
    fs::create_dir_all(parent).map_err(failed("write", parent))?;
    let beside = to.with_extension("new");
    fs::copy(from, &beside).map_err(failed("write", &beside))?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).map_err(failed("write", &beside))?;
    fs::rename(&beside, to).map_err(failed("write", to))?;
    say(&format!("wrote `{}`", to.display()));
    Ok(())
}

fn remove(path: &Path, say: Say<'_>) -> Result<(), InstallError> {
    let result = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    result.map_err(failed("remove", path))?;
    say(&format!("removed `{}`", path.display()));
    Ok(())
}

/// The service's group, by its number in that system.
fn group(root: &Path) -> Option<u32> {
    let groups = fs::read_to_string(at(root, "/etc/group")).ok()?;
    let mut found = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    found.find(|fields| fields.first() == Some(&USER))?.get(2)?.parse().ok()
}

fn systemctl(root: &Path) -> Command {
    let mut command = Command::new("systemctl");
    if root != Path::new("/") {
        command.arg("--root").arg(root);
    }
    command
}

fn run(command: &mut Command) -> Result<(), InstallError> {
    let shown = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    let shown = shown();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(InstallError::Command { command: shown, said })
        }
        Err(error) => Err(InstallError::Command { command: shown, said: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_complete() {
        for unit in SERVE.iter().chain(INSTANCE) {
            let text = unit_text(unit);
            assert!(!text.contains("@HARDENING@") && !text.contains("@PROGRAM@"), "{unit}: {text}");
            assert!(text.contains("[Install]"), "{unit}");
            assert_eq!(text.contains("ExecStart=/usr/local/bin/appliance"), unit.ends_with(".service"), "{unit}");
        }
    }

    #[test]
    fn nixos_is_left_alone() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("etc/systemd")).expect("made");
        fs::write(root.path().join("etc/NIXOS"), "").expect("written");
        let path = root.path().to_owned();
        let installation =
            Installation { root: path.clone(), program: "/bin/true".into(), from_instance: true, start: false };
        assert!(matches!(install(&installation, &mut |_| {}), Err(InstallError::NixOs)));
        assert!(matches!(uninstall(&path, true, &mut |_| {}), Err(InstallError::NixOs)));
        assert!(!path.join("usr").exists(), "nothing was written");
    }
}
