//! The file with access tokens, and its changes.

use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use super::command_error::{Class, CommandError};
use crate::access::tokens::Tokens;
use crate::serve;

/// Reads a token file.
pub(super) fn read(path: &Path, may_be_missing: bool) -> Result<Tokens, CommandError> {
    if may_be_missing && !path.exists() {
        return Ok(Tokens::default());
    }
    serve::read_tokens(path)
        .map_err(|error| CommandError::of(Class::Configuration, &error, Some("name the token file with `--file`")))
}

/// Changes a token file under a lock. A reader sees either the whole old file or the whole new one.
pub(super) fn change<T>(
    path: &Path,
    may_be_missing: bool,
    edit: impl FnOnce(&mut Tokens) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let failed = |error: &dyn std::fmt::Display| {
        let text = format!("cannot write `{}`: {error}", path.display());
        CommandError::of(Class::Failed, &text, Some("choose a file in a writable directory"))
    };
    let path = &resolved(path).map_err(|error| failed(&error))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(directory).map_err(|error| failed(&error))?;
    lock.lock().map_err(|error| failed(&error))?;
    let mut tokens = read(path, may_be_missing)?;
    let result = edit(&mut tokens)?;
    // The new file has mode 0600, and then owner and mode of the file that it replaces, so that its readers can still read it.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|error| failed(&error))?;
    if let Ok(old) = path.metadata() {
        // The owner comes before the mode, which could open the file to the wrong group.
        fchown(file.as_file(), Some(old.uid()), Some(old.gid())).map_err(|error| failed(&error))?;
        file.as_file().set_permissions(old.permissions()).map_err(|error| failed(&error))?;
    }
    file.write_all(tokens.to_string().as_bytes()).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(result)
}

/// The file at the end of a path's symbolic links. It may not exist yet.
///
/// Renaming a new file to a link would replace the link, and would not change the file that the appliance reads.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    /// Linux follows as many links.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match path.read_link() {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            // The path is not a link, or does not exist.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}
