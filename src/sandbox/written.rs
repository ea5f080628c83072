//! The files of `--write-config`: they are reserved before anything starts, and written when everything is ready.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::configuration::{path_text, token_file};
use super::error::SandboxError;

/// A configuration file and its token file. Dropping them unwritten leaves nothing behind.
pub(super) struct WrittenFiles {
    configuration: ReservedFile,
    tokens: ReservedFile,
}

/// A file that has no name yet.
struct ReservedFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl WrittenFiles {
    /// Checks that both files can be written and that neither exists.
    pub(super) fn reserve(configuration: &Path) -> Result<Self, SandboxError> {
        path_text(configuration)?;
        let tokens = token_file(configuration);
        Ok(Self { configuration: ReservedFile::new(configuration)?, tokens: ReservedFile::new(&tokens)? })
    }

    /// Returns the path of the configuration file.
    pub(super) fn configuration(&self) -> &Path {
        &self.configuration.path
    }

    /// Returns the path of the token file.
    pub(super) fn tokens(&self) -> &Path {
        &self.tokens.path
    }

    /// Writes both files.
    pub(super) fn write(self, configuration: &str, tokens: &str) -> Result<(), SandboxError> {
        let path = self.tokens.path.clone();
        self.tokens.write(tokens)?;
        // A configuration without its tokens would be useless, and so would the tokens alone.
        self.configuration.write(configuration).inspect_err(|_| drop(std::fs::remove_file(path)))
    }
}

impl ReservedFile {
    fn new(path: &Path) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Write { path: path.to_owned(), source };
        // A symbolic link counts as well, wherever it leads.
        if path.symlink_metadata().is_ok() {
            return Err(SandboxError::Exists { path: path.to_owned() });
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        // The file has mode 0600, so no other user can read it, or change the callers' rights.
        let file = NamedTempFile::new_in(directory).map_err(|error| failed(error.kind().into()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn write(self, text: &str) -> Result<(), SandboxError> {
        let Self { path, mut file } = self;
        let written = file.write_all(text.as_bytes());
        // Another program may have made a file of this name meanwhile, which is kept.
        match written.and_then(|()| file.persist_noclobber(&path).map_err(|error| error.error)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(SandboxError::Exists { path }),
            Err(source) => Err(SandboxError::Write { path, source }),
        }
    }
}
