//! A value of an option as text, with the place it came from.

use std::fmt;
use std::path::PathBuf;

/// A value as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Given {
    /// The text; numbers and booleans of TOML as they print.
    pub text: String,
    /// Where it was typed.
    pub place: Place,
}

/// Where a value was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    /// On the command line, after this flag.
    Flag(String),
    /// In this environment variable.
    Variable(String),
    /// In the configuration file; the line counts from 1.
    File(PathBuf, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => formatter.write_str(name),
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
        }
    }
}

impl From<&str> for Given {
    fn from(text: &str) -> Self {
        // The real place is known once clap has finished: see `ServeOptions::locate`.
        Self { text: text.to_owned(), place: Place::Flag(String::new()) }
    }
}
