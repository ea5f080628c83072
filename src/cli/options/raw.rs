//! The text of an option's value, with its origin.

use std::fmt;
use std::path::PathBuf;

/// The value of an option as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawValue {
    /// The text; numbers and booleans of TOML as they print.
    pub text: String,
    /// The origin of the text.
    pub origin: ValueOrigin,
}

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueOrigin {
    /// This flag of the command line.
    Flag(String),
    /// This environment variable.
    Variable(String),
    /// A line of the configuration file; the first line has the number 1.
    File(PathBuf, usize),
    /// A key on such a line.
    Key(PathBuf, usize, String),
    /// The option is not set, so its default holds.
    Default,
}

impl ValueOrigin {
    /// The origin of an option's value.
    pub(crate) fn of(value: Option<&RawValue>) -> &Self {
        value.map_or(&Self::Default, |value| &value.origin)
    }

    /// The origin of the value of this key.
    pub(crate) fn with_key(self, key: &str) -> Self {
        match self {
            Self::File(path, line) => Self::Key(path, line, key.to_owned()),
            other => other,
        }
    }

    /// The origin without the key, for a text that names the key itself.
    pub(crate) fn without_key(self) -> Self {
        match self {
            Self::Key(path, line, _) => Self::File(path, line),
            other => other,
        }
    }
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => formatter.write_str(name),
            Self::File(path, line) | Self::Key(path, line, _) => write!(formatter, "{}:{line}", path.display()),
            Self::Default => formatter.write_str("defaults"),
        }
    }
}

impl From<&str> for RawValue {
    fn from(text: &str) -> Self {
        // `ServeOptions::locate` sets the origin once clap has finished.
        Self { text: text.to_owned(), origin: ValueOrigin::Flag(String::new()) }
    }
}
