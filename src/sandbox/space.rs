//! The free space of a disk, checked before a long step that would fill it.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;

/// The system's message for a full disk, as programs print it.
pub(super) const FULL: &str = "No space left on device";

/// A disk has too little free space.
#[derive(Debug, thiserror::Error)]
#[error("`{}` has {free} of free space, and {purpose} needs {needed}", directory.display())]
pub struct NoSpaceError {
    directory: PathBuf,
    purpose: &'static str,
    free: ByteSize,
    needed: ByteSize,
}

/// Checks that a directory, which need not exist yet, has room for `needed` bytes.
pub(super) fn check(directory: &Path, purpose: &'static str, needed: u64) -> Result<(), NoSpaceError> {
    let existing = directory.ancestors().find(|directory| directory.exists());
    // A file system that does not tell is tried.
    let Some(found) = existing.and_then(|directory| rustix::fs::statvfs(directory).ok()) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let (free, needed) = (ByteSize(free), ByteSize(needed));
    Err(NoSpaceError { directory: directory.to_owned(), purpose, free, needed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_reported_with_its_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(check(directory.path(), "a test", 1).is_ok());
        let missing = directory.path().join("not/there/yet");
        assert!(check(&missing, "a test", 1).is_ok(), "its parents have the space");
        let error = check(&missing, "a test", u64::MAX).expect_err("no disk is that large").to_string();
        assert!(error.contains("not/there/yet` has ") && error.contains("a test needs 16.0 EiB"), "{error}");
    }
}
