//! `bootstrap install` and `uninstall`, into the root of an image.

use std::path::Path;

use crate::support::appliance::command;

#[test]
#[ignore = "needs tests/run: systemd's tools"]
fn installing_into_an_image_keeps_edited_files() {
    let root = tempfile::tempdir().unwrap();
    let place = |path: &str| root.path().join(path);
    std::fs::create_dir_all(place("etc/systemd")).unwrap();
    let install = |arguments: &[&str]| {
        let path = std::env::var_os("PATH").unwrap();
        let output =
            command(&["bootstrap"]).args(arguments).arg("--root").arg(root.path()).env("PATH", path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    install(&["install", "--from", "instance"]);
    let units = place("etc/systemd/system");
    for unit in ["mlflow-appliance.service", "mlflow-appliance-bootstrap.service", "mlflow-appliance-signal.service"] {
        let text = std::fs::read_to_string(units.join(unit)).unwrap();
        assert!(text.contains("ExecStart=/usr/local/bin/appliance") && text.contains("NoNewPrivileges=yes"), "{unit}");
        assert!(units.join("multi-user.target.wants").join(unit).symlink_metadata().is_ok(), "{unit} is enabled");
    }
    let group = std::fs::read_to_string(place("etc/group")).unwrap();
    assert!(group.contains("mlflow-appliance:"), "{group}");
    std::fs::write(place("etc/mlflow-appliance/appliance.toml"), "edited").unwrap();
    let said = install(&["install", "--from", "instance"]);
    assert!(said.contains("kept"), "{said}");
    let drop_ins = units.join("mlflow-appliance.service.d");
    std::fs::write(drop_ins.join("mine.conf"), "[Service]\nNice=1\n").unwrap();
    let left = || {
        let mut names: Vec<_> = ["mlflow-appliance.service.d", "multi-user.target.wants", "."]
            .iter()
            .flat_map(|place| std::fs::read_dir(units.join(place)).into_iter().flatten())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("mlflow") || Path::new(name).extension().is_some_and(|kind| kind == "conf"))
            .collect();
        names.sort();
        names
    };
    // A machine that is no instance any more: only the operator's drop-in is left of what it had besides.
    install(&["install", "--from", "file"]);
    let (service, socket) = ("mlflow-appliance.service", "mlflow-appliance.socket");
    assert_eq!(left(), ["mine.conf", service, service, "mlflow-appliance.service.d", socket, socket]);
    install(&["install", "--from", "instance"]);
    assert_eq!(left().len(), 12, "{:?}", left());
    install(&["uninstall"]);
    assert_eq!(left(), ["mine.conf", "mlflow-appliance.service.d"]);
    assert!(!units.join("mlflow-appliance.service").exists() && !place("usr/local/bin/appliance").exists());
    assert_eq!(std::fs::read_to_string(place("etc/mlflow-appliance/appliance.toml")).unwrap(), "edited");
    install(&["uninstall", "--purge"]);
    assert!(!place("etc/mlflow-appliance").exists());
    assert!(Path::new("/etc").exists());
}

#[test]
fn a_root_that_is_no_system_is_an_error_and_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("empty")).unwrap();
    for name in ["mistyped", "empty"] {
        for verb in ["install", "uninstall"] {
            let place = root.path().join(name);
            let output = command(&["bootstrap", verb, "--root"]).arg(&place).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{verb} {name}: {said}");
            for text in [name, "is not the root of a system", "name the directory at which the image is mounted"] {
                assert!(said.contains(text), "{verb} {name}: {text}: {said}");
            }
            assert!(std::fs::read_dir(&place).map_or(true, |mut entries| entries.next().is_none()), "{verb} {name}");
        }
    }
    std::fs::create_dir_all(root.path().join("without/etc")).unwrap();
    let output = command(&["bootstrap", "install", "--root"]).arg(root.path().join("without")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("has no systemd") && said.contains("install systemd in the image first"), "{said}");
}
