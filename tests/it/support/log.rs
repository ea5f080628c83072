//! The log of the program under test.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

use serde_json::Value;

/// This collects what a process writes to its standard error.
///
/// It is a file, not a pipe: what the process wrote before it answered is here as soon as its answer is. A thread that
/// reads a pipe would be late on a busy machine.
pub struct Log(File);

impl Log {
    pub fn new() -> Self {
        Self(tempfile::tempfile().unwrap())
    }

    /// The other end, for the process.
    pub fn stdio(&self) -> Stdio {
        self.0.try_clone().unwrap().into()
    }

    /// All lines that are complete.
    pub fn text(&self) -> String {
        let mut bytes = vec![0; usize::try_from(self.0.metadata().unwrap().len()).unwrap()];
        self.0.read_exact_at(&mut bytes, 0).unwrap();
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        bytes.truncate(complete);
        String::from_utf8(bytes).unwrap()
    }

    /// The lines that are JSON.
    pub fn events(&self) -> Vec<Value> {
        self.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
