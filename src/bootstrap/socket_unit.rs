//! Finds the addresses on which the socket unit of this machine listens, in its files. systemd opens that socket, and `serve` rejects another `listen`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

const UNIT: &str = "mlflow-appliance.socket";

/// Returns the addresses of the unit in the directories of units, the one with precedence first. None if there is no unit,
/// or if it has an address that is not one of TCP: then only `serve` can tell.
pub(super) fn addresses(directories: &[PathBuf]) -> Option<Vec<SocketAddr>> {
    let unit = directories.iter().find_map(|directory| fs::read_to_string(directory.join(UNIT)).ok())?;
    // A file hides those of its name in later directories, and files are read in the order of their names.
    let mut drop_ins = BTreeMap::new();
    for directory in directories {
        let entries = fs::read_dir(directory.join(format!("{UNIT}.d"))).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf")) {
            drop_ins.entry(path.file_name().map(ToOwned::to_owned)).or_insert(path);
        }
    }
    let texts = drop_ins.values().map(|path| fs::read_to_string(path).unwrap_or_default());
    let mut found = Vec::new();
    for text in std::iter::once(unit).chain(texts) {
        for value in text.lines().filter_map(|line| line.trim().strip_prefix("ListenStream")) {
            match value.trim_start().strip_prefix('=').map(str::trim) {
                // An empty one takes back what stands before it.
                Some("") => found.clear(),
                Some(value) => found.push(value.to_owned()),
                None => {}
            }
        }
    }
    found.iter().map(|text| address(text)).collect()
}

/// An address with a port, or a port alone, which is that of all addresses.
fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, text.parse().ok()?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_replace_and_add_addresses_by_the_rules_of_systemd() {
        let root = tempfile::tempdir().expect("a directory");
        let directories = [root.path().join("etc"), root.path().join("usr")];
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(path, text).expect("written");
        };
        let found = || addresses(&directories).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found(), None, "there is no unit");
        write("usr/mlflow-appliance.socket", "[Socket]\n# ListenStream=1\nListenStream=0.0.0.0:5000\nBacklog=4096\n");
        assert_eq!(found(), Some(vec!["0.0.0.0:5000".to_owned()]));
        write("usr/mlflow-appliance.socket.d/a.conf", "[Socket]\nListenStream = 8080\n");
        assert_eq!(found(), Some(vec!["0.0.0.0:5000".to_owned(), "[::]:8080".to_owned()]));
        write("etc/mlflow-appliance.socket.d/b.conf", "[Socket]\nListenStream=\nListenStream=127.0.0.1:80\n");
        assert_eq!(found(), Some(vec!["127.0.0.1:80".to_owned()]));
        write("etc/mlflow-appliance.socket.d/a.conf", "");
        write("etc/mlflow-appliance.socket.d/c.conf~", "ListenStream=9\n");
        assert_eq!(found(), Some(vec!["127.0.0.1:80".to_owned()]));
        write("etc/mlflow-appliance.socket", "ListenStream=[::1]:1\n");
        write("etc/mlflow-appliance.socket.d/b.conf", "");
        assert_eq!(found(), Some(vec!["[::1]:1".to_owned()]));
        write("etc/mlflow-appliance.socket.d/b.conf", "ListenStream=/run/mlflow.sock\n");
        assert_eq!(found(), None, "only systemd knows what such an address becomes");
    }
}
