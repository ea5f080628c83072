//! Files, directories and programs of the system, with errors that name them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::settings::Say;

/// The reason why an installation or a removal failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// NixOS declares services in its configuration.
    #[error("this is NixOS, where services are not installed but declared")]
    NixOs,
    /// The root is not that of a system.
    #[error("`{}` is not the root of a system: it has no directory `etc`", .0.display())]
    NoSystem(PathBuf),
    /// The machine has no systemd.
    #[error("`{}` has no systemd", .0.display())]
    NoSystemd(PathBuf),
    /// A file cannot be written or removed.
    #[error("cannot {what} `{}`", path.display())]
    File {
        /// `write` or `remove`.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A program of systemd failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command line.
        command: String,
        /// The output of the program.
        said: String,
    },
}

impl InstallError {
    /// Returns an instruction that removes the cause.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NixOs => {
                "import the flake's `nixosModules.default` and set `services.mlflow-appliance.enable = true`"
            }
            Self::NoSystem(_) => "name the directory at which the image is mounted with `--root`",
            Self::NoSystemd(root) if root != Path::new("/") => {
                "install systemd in the image first, or start `appliance serve --config FILE` with its service manager"
            }
            Self::NoSystemd(_) => "start `appliance serve --config FILE` with the service manager of this machine",
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root, with sudo"
            }
            Self::File { .. } => "make room, or make the file system writable",
            Self::Command { .. } => {
                "run that command by hand to see more, then run `appliance bootstrap install` again"
            }
        }
    }
}

/// Returns a path below a root.
pub(super) fn at(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Returns a function that adds the path to an error.
pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { what, path, source }
}

/// Creates a directory with a mode.
pub(super) fn directory(path: &Path, mode: u32) -> Result<(), InstallError> {
    fs::create_dir_all(path).map_err(failed("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("write", path))
}

/// Writes a file with a mode.
pub(super) fn write(path: &Path, text: &str, mode: u32, say: Say<'_>) -> Result<(), InstallError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("write", parent))?;
    }
    fs::write(path, text).map_err(failed("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("write", path))?;
    say(&format!("wrote `{}`", path.display()));
    Ok(())
}

/// Writes a file, unless it exists.
pub(super) fn keep_or_write(path: &Path, text: &str, mode: u32, say: Say<'_>) -> Result<(), InstallError> {
    if path.exists() {
        say(&format!("kept `{}`", path.display()));
        return Ok(());
    }
    write(path, text, mode, say)
}

/// Copies the program. A running program cannot be overwritten, but its file can be replaced.
pub(super) fn copy_program(from: &Path, to: &Path, say: Say<'_>) -> Result<(), InstallError> {
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

/// Removes a file or a directory, if it exists.
pub(super) fn remove(path: &Path, say: Say<'_>) -> Result<(), InstallError> {
    let result = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    result.map_err(failed("remove", path))?;
    say(&format!("removed `{}`", path.display()));
    Ok(())
}

/// Removes a directory, if it exists and nothing is in it.
pub(super) fn remove_if_empty(path: &Path) -> Result<(), InstallError> {
    match fs::remove_dir(path) {
        Err(error) if ![io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
            Err(failed("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Returns the number of a group in the system below `root`.
pub(super) fn group(root: &Path, name: &str) -> Option<u32> {
    let groups = fs::read_to_string(at(root, "/etc/group")).ok()?;
    let mut found = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    found.find(|fields| fields.first() == Some(&name))?.get(2)?.parse().ok()
}

/// Returns a `systemctl` command for the system below `root`.
pub(super) fn systemctl(root: &Path) -> Command {
    let mut command = Command::new("systemctl");
    if root != Path::new("/") {
        command.arg("--root").arg(root);
    }
    command
}

/// Runs a program, and fails if it fails.
pub(super) fn run(command: &mut Command) -> Result<(), InstallError> {
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
