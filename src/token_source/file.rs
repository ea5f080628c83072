//! The file with access tokens, and its changes.

use std::fs::{File, TryLockError};
use std::io;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{TokenSourceError, UpdateError};
use super::source::WhenMissing;
use crate::access::tokens::{self, Tokens};
use crate::regular_file;

/// A writer holds the lock for milliseconds. One that holds it for longer hangs.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two attempts to take the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Reads and checks a token file.
///
/// # Errors
/// A message that names the file and the problem.
pub fn read_file(path: &Path) -> Result<Tokens, TokenSourceError> {
    let named = |error: &dyn std::fmt::Display| {
        TokenSourceError::Unreadable(format!("cannot read the token file `{}`: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| named(&error))?;
    let mut text = String::new();
    let limit = tokens::SIZE_LIMIT as u64 + 1;
    file.take(limit).read_to_string(&mut text).map_err(|error| named(&error))?;
    Tokens::parse(&text).map_err(|error| named(&error))
}

/// Reads and checks a token file that may have been replaced by anything.
///
/// # Errors
/// A message that names the file and the problem.
pub(super) fn read_file_again(path: &Path) -> Result<Tokens, TokenSourceError> {
    regular_file::check(path)
        .map_err(|error| TokenSourceError::Unreadable(format!("`{}`: {error}", path.display())))?;
    read_file(path)
}

/// Changes a token file under a lock. A reader sees either the whole old file or the whole new one.
pub(super) fn update<T, E>(
    path: &Path,
    missing: WhenMissing,
    mut edit: impl FnMut(&mut Tokens) -> Result<T, E>,
) -> Result<T, UpdateError<E>> {
    let failed = |error: &dyn std::fmt::Display| {
        TokenSourceError::Unwritable(format!("cannot write `{}`: {error}", path.display()))
    };
    let path = &resolved(path).map_err(|error| failed(&error))?;
    let directory = directory_of(path);
    let lock = File::open(directory).map_err(|error| failed(&error))?;
    wait_for(&lock).map_err(|error| failed(&error))?;
    let is_new = missing == WhenMissing::Create && !path.exists();
    let mut tokens = if is_new { Tokens::default() } else { read_file_again(path)? };
    let result = edit(&mut tokens).map_err(UpdateError::Edit)?;
    let mut file = successor(path, directory).map_err(|error| failed(&error))?;
    file.write_all(tokens.to_string().as_bytes()).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(result)
}

/// Tests whether this process can change a token file, and changes nothing: it takes the same steps as a change, up to the new
/// file, which it deletes.
///
/// # Errors
/// [`TokenSourceError::Unwritable`].
pub fn check_writable(path: &Path) -> Result<(), TokenSourceError> {
    let check = || {
        let path = &resolved(path)?;
        let directory = directory_of(path);
        File::open(directory)?;
        // The file is replaced and never written, so it is the directory that has to be writable.
        successor(path, directory)?.close()
    };
    check()
        .map_err(|error: io::Error| TokenSourceError::Unwritable(format!("cannot write `{}`: {error}", path.display())))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates the file that is to replace the one at this path.
fn successor(path: &Path, directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    // The new file has mode 0600, and then owner and mode of the file that it replaces, so that its readers can still read it.
    let file = tempfile::NamedTempFile::new_in(directory)?;
    if let Ok(old) = path.metadata() {
        // The owner comes before the mode, which could open the file to the wrong group.
        fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
        file.as_file().set_permissions(old.permissions())?;
    }
    Ok(file)
}

/// Takes the lock, which ends with the process at the latest.
#[expect(clippy::disallowed_methods, reason = "the caller is on a thread for calls that block")]
fn wait_for(lock: &File) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() >= LOCK_LIMIT => {
                return Err(io::Error::other("another process has held the lock of the directory for 10 seconds"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
        }
    }
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
