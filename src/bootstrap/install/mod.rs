//! `bootstrap install` and `uninstall`: install the appliance on a machine with systemd, from files inside this binary.

mod system;

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use rust_embed::RustEmbed;

use super::settings::Say;
pub use system::InstallError;
use system::{
    at, copy_program, directory, failed, group, keep_or_write, remove, remove_if_empty, run, systemctl, write,
};

#[derive(RustEmbed)]
#[folder = "src/bootstrap/files/"]
struct Files;

const PROGRAM: &str = "/usr/local/bin/appliance";
const UNITS: &str = "/etc/systemd/system";
const SYSUSERS: &str = "/etc/sysusers.d/mlflow-appliance.conf";
const CONFIGURATION: &str = "/etc/mlflow-appliance";
const STATE: &str = "/var/lib/mlflow-appliance";
const USER: &str = "mlflow-appliance";

/// The units of every machine, and those of an instance.
const SERVE: &[&str] = &["mlflow-appliance.socket", "mlflow-appliance.service"];
const INSTANCE: &[&str] = &["mlflow-appliance-bootstrap.service", "mlflow-appliance-signal.service"];
const DROP_INS: &[(&str, &str)] = &[
    ("instance.conf", "mlflow-appliance.service.d/instance.conf"),
    ("instance-socket.conf", "mlflow-appliance.socket.d/instance.conf"),
];

/// The settings of an installation.
pub struct Installation {
    /// The root of the system: `/`, or that of an image.
    pub root: PathBuf,
    /// The file of this program.
    pub program: PathBuf,
    /// True if the configuration comes from the instance, false if it comes from a file alone.
    pub from_instance: bool,
    /// True if the service is to be started.
    pub start: bool,
}

/// Writes units, user, directories and a default configuration. An existing configuration, which may have been edited, is kept.
/// A service that runs is restarted, because this is also how an appliance is upgraded.
///
/// # Errors
/// [`InstallError`]; the command can be run again.
pub fn install(installation: &Installation, say: Say<'_>) -> Result<(), InstallError> {
    let Installation { root, program, from_instance, start } = installation;
    let is_here = root == Path::new("/");
    check_system(root)?;
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
    if !from_instance {
        // systemd must forget that the service requires the configuration by the instance, before that unit stops.
        remove_drop_ins(&units, say)?;
        reload_units(root)?;
        remove_units(root, INSTANCE, say)?;
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
    // The file holds hashes only. The running appliance reloads it.
    if let Some(group) = group(root, USER) {
        chown(&tokens, None, Some(group)).map_err(failed("write", &tokens))?;
    }
    reload_units(root)?;
    run(systemctl(root).arg("enable").args(&all))?;
    say(&format!("enabled {}", all.join(", ")));
    if is_here {
        run(Command::new("systemctl").args(["try-restart", SERVE[1]]))?;
    }
    let is_upgrade = is_here && run(Command::new("systemctl").args(["is-active", "--quiet", SERVE[1]])).is_ok();
    if is_upgrade {
        say(&format!("{} runs the new program", SERVE[1]));
    }
    if *start && is_here {
        let first = if *from_instance { INSTANCE[0] } else { SERVE[1] };
        run(Command::new("systemctl").args(["start", "--no-block", first]))?;
        say(&format!("{first} is starting; `systemctl status {first}` shows its state"));
    } else if !is_upgrade {
        say(if *from_instance {
            "next: reboot, or `systemctl start mlflow-appliance-bootstrap`"
        } else {
            "next: set `resource-arn` in /etc/mlflow-appliance/appliance.toml, then `systemctl start mlflow-appliance`"
        });
    }
    Ok(())
}

/// Removes the files that `install` wrote; configuration, tokens and state only with `purge`.
///
/// # Errors
/// [`InstallError`]; the command can be run again.
pub fn uninstall(root: &Path, purge: bool, say: Say<'_>) -> Result<(), InstallError> {
    check_system(root)?;
    let units = at(root, UNITS);
    let all = [INSTANCE, SERVE].concat();
    remove_units(root, &all, say)?;
    remove_drop_ins(&units, say)?;
    if purge {
        for unit in all {
            remove(&units.join(format!("{unit}.d")), say)?;
        }
    }
    remove(&at(root, SYSUSERS), say)?;
    remove(&at(root, PROGRAM), say)?;
    if purge {
        remove(&at(root, CONFIGURATION), say)?;
        remove(&at(root, STATE), say)?;
    } else {
        say(&format!("kept `{CONFIGURATION}` and `{STATE}`; `--purge` removes them, too"));
    }
    reload_units(root)
}

/// Stops and disables those of the units that are installed, and removes their files.
fn remove_units(root: &Path, names: &[&str], say: Say<'_>) -> Result<(), InstallError> {
    let units = at(root, UNITS);
    let installed: Vec<_> = names.iter().filter(|unit| units.join(unit).exists()).collect();
    if installed.is_empty() {
        return Ok(());
    }
    if root == Path::new("/") {
        run(Command::new("systemctl").arg("stop").args(&installed))?;
    }
    run(systemctl(root).arg("disable").args(&installed))?;
    for unit in installed {
        remove(&units.join(unit), say)?;
    }
    Ok(())
}

/// Removes the drop-ins that `install` wrote. Others are the operator's, and their directory stays with them.
fn remove_drop_ins(units: &Path, say: Say<'_>) -> Result<(), InstallError> {
    for (_, place) in DROP_INS {
        let path = units.join(place);
        remove(&path, say)?;
        remove_if_empty(path.parent().expect("it has one"))?;
    }
    Ok(())
}

/// Makes systemd reload its units on this machine. In an image, it reads them when it starts.
fn reload_units(root: &Path) -> Result<(), InstallError> {
    if root == Path::new("/") {
        run(Command::new("systemctl").arg("daemon-reload"))?;
    }
    Ok(())
}

/// Returns the text of a unit as it is installed.
fn unit_text(name: &str) -> String {
    file(name).replace("@HARDENING@", file("hardening.conf").trim_end()).replace("@PROGRAM@", PROGRAM)
}

fn file(name: &str) -> String {
    let file = Files::get(name).expect("a file of this directory");
    String::from_utf8_lossy(&file.data).into_owned()
}

/// Checks that the root is that of a system in which services are installed, so that a mistyped root is an error.
fn check_system(root: &Path) -> Result<(), InstallError> {
    if !at(root, "/etc").is_dir() {
        return Err(InstallError::NoSystem(root.to_owned()));
    }
    if at(root, "/etc/NIXOS").exists() {
        return Err(InstallError::NixOs);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn nixos_is_not_changed() {
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
