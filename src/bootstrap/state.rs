//! The configuration that `bootstrap` writes, and a record of its origin. Each file is written as a whole or not at all.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::BootstrapError;
use super::plan::{Plan, PlanEntry, ReadinessSignals};

/// The configuration that `serve` reads.
const CONFIGURATION: &str = "appliance.toml";
/// The file of the record.
const RECORD: &str = "bootstrap.json";
/// The mode of both files, which only the appliance itself needs to read.
const MODE: u32 = 0o600;

/// The directory of both files.
#[derive(Clone, Debug)]
pub(super) struct StateDirectory {
    directory: PathBuf,
}

/// The origin of the configuration, and the signals that were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BootstrapRecord {
    /// The instance id: an image made of a running instance must not use the record of that instance.
    pub instance: String,
    /// The region of the instance.
    pub region: String,
    /// The key, text and origin of each value.
    pub values: Vec<(String, String, String)>,
    /// The recipients of the readiness signals.
    pub signals: ReadinessSignals,
    /// The reason why the last start failed, if it did.
    pub failure: Option<String>,
    /// The signals that were sent, each to be sent once. Earlier versions call them `told`.
    #[serde(default, rename = "told")]
    pub sent: Vec<String>,
}

impl BootstrapRecord {
    /// Returns the record of a plan.
    pub(super) fn of(plan: &Plan, instance: &str, region: &str) -> Self {
        let values = plan.entries.iter().map(|entry| {
            let PlanEntry { key, value, .. } = entry;
            (key.clone(), value.text.clone(), value.origin.clone())
        });
        Self {
            instance: instance.to_owned(),
            region: region.to_owned(),
            values: values.collect(),
            signals: plan.signals.clone(),
            ..Self::default()
        }
    }

    /// Returns the differences from an earlier start, in words.
    pub(super) fn changes(&self, earlier: &Self) -> Vec<String> {
        let find = |record: &Self, key: &str| {
            record.values.iter().find(|(other, _, _)| other == key).map(|(_, text, _)| text.clone())
        };
        let mut changes = Vec::new();
        for (key, text, origin) in &self.values {
            match find(earlier, key) {
                None => changes.push(format!("`{key}` is new: `{text}` ({origin})")),
                Some(old) if old != *text => {
                    changes.push(format!("`{key}` was `{old}` and is now `{text}` ({origin})"));
                }
                Some(_) => {}
            }
        }
        let gone = earlier.values.iter().filter(|(key, _, _)| find(self, key).is_none());
        changes.extend(gone.map(|(key, text, _)| format!("`{key}` was `{text}` and is not set any more")));
        changes
    }
}

impl StateDirectory {
    /// Uses this directory, which exists.
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Returns the path of the configuration.
    pub(super) fn configuration(&self) -> PathBuf {
        self.directory.join(CONFIGURATION)
    }

    /// Returns the record of the last start, unless it is of another instance.
    ///
    /// # Errors
    /// [`BootstrapError::Read`], if there may be a record, and this process may not read it.
    pub(super) fn record(&self, instance: Option<&str>) -> Result<Option<BootstrapRecord>, BootstrapError> {
        let Some(text) = read(self.directory.join(RECORD))? else { return Ok(None) };
        let record: Option<BootstrapRecord> = serde_json::from_str(&text).ok();
        Ok(record.filter(|record| instance.is_none_or(|instance| record.instance == instance)))
    }

    /// Returns the text of the configuration, if there is one.
    ///
    /// # Errors
    /// As above.
    pub(super) fn configuration_text(&self) -> Result<Option<String>, BootstrapError> {
        read(self.configuration())
    }

    /// Writes the configuration, and returns true if that changed the file.
    ///
    /// # Errors
    /// The error of the system. The old file is kept then.
    pub(super) fn write_configuration(&self, text: &str) -> io::Result<bool> {
        let path = self.configuration();
        let is_same = std::fs::read(&path).is_ok_and(|old| old == text.as_bytes());
        let is_private = std::fs::metadata(&path).is_ok_and(|old| old.permissions().mode() & 0o777 == MODE);
        if is_same && is_private {
            return Ok(false);
        }
        self.write(&path, text.as_bytes())?;
        Ok(!is_same)
    }

    /// Writes the record.
    ///
    /// # Errors
    /// The error of the system.
    pub(super) fn write_record(&self, record: &BootstrapRecord) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record).expect("made of texts");
        self.write(&self.directory.join(RECORD), &text)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // The new file is created with mode 0600 beside the file that it replaces.
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(MODE))?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(&self.directory)?.sync_all()
    }
}

fn read(path: PathBuf) -> Result<Option<String>, BootstrapError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BootstrapError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: &[(&str, &str)]) -> BootstrapRecord {
        let values = values.iter().map(|(key, text)| ((*key).into(), (*text).into(), "o".into()));
        BootstrapRecord { instance: "i-1".into(), values: values.collect(), ..BootstrapRecord::default() }
    }

    #[test]
    fn files_are_private_and_written_only_when_they_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDirectory::new(directory.path());
        assert!(state.write_configuration("a").expect("written"));
        assert!(!state.write_configuration("a").expect("unchanged"));
        std::fs::set_permissions(state.configuration(), std::fs::Permissions::from_mode(0o644)).expect("set");
        assert!(!state.write_configuration("a").expect("only the mode"));
        let mode = std::fs::metadata(state.configuration()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        state.write_record(&record(&[])).expect("written");
        let found = |instance| state.record(Some(instance)).expect("readable").is_some();
        assert!(found("i-1") && !found("i-2"));
        assert!(StateDirectory::new(Path::new("/nonexistent")).record(None).expect("nothing to read").is_none());
        // As for everybody but root and the appliance, if the directory is private.
        std::fs::remove_file(state.configuration()).expect("removed");
        std::fs::create_dir(state.configuration()).expect("made");
        assert!(matches!(state.configuration_text(), Err(BootstrapError::Read { .. })));
        assert!(StateDirectory::new(Path::new("/nonexistent")).write_configuration("a").is_err());
    }

    #[test]
    fn changes_are_listed() {
        let (earlier, now) =
            (record(&[("a", "1"), ("b", "2"), ("d", "4")]), record(&[("a", "1"), ("b", "3"), ("c", "0")]));
        assert_eq!(
            now.changes(&earlier),
            ["`b` was `2` and is now `3` (o)", "`c` is new: `0` (o)", "`d` was `4` and is not set any more"]
        );
        assert!(now.changes(&now).is_empty());
    }
}
