//! Checks that a file can be reloaded while the program runs.

use std::io;
use std::path::Path;

/// Checks that a path names a regular file, or a link to one.
///
/// SECURITY: opening a named pipe waits for a writer, perhaps for ever, and then no token could be revoked any more. A pipe or a
/// device may also be empty the second time, which would revoke all tokens.
///
/// # Errors
/// The problem of the file.
pub fn check(path: &Path) -> io::Result<()> {
    let metadata = path.metadata()?;
    if metadata.is_file() {
        return Ok(());
    }
    let error = if metadata.is_dir() {
        io::ErrorKind::IsADirectory.into()
    } else {
        io::Error::other("it is not a regular file")
    };
    Err(error)
}
