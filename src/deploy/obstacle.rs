//! An obstacle: something that would keep CloudFormation from creating the stacks.

use std::fmt;

/// An obstacle with its fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The obstacle and its cause.
    pub what: String,
    /// An instruction that removes it.
    pub fix: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n    hint: {}", self.what, self.fix)
    }
}
