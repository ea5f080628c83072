//! The tables of the configuration file that may be repeated.

use std::collections::BTreeMap;

use super::raw::{RawValue, ValueOrigin};
use super::target::TargetOptions;

/// One `[[target]]`.
#[derive(Clone, Debug)]
pub(crate) struct TargetTable {
    /// The line at which the table begins.
    pub(crate) origin: ValueOrigin,
    /// The name of the target.
    pub(crate) name: Option<RawValue>,
    /// True if the target is served at `/`.
    pub(crate) default: Option<RawValue>,
    /// All other keys.
    pub(crate) options: TargetOptions,
}

/// One `[[caller]]`.
#[derive(Clone, Debug)]
pub(crate) struct CallerTable {
    /// The line at which the table begins.
    pub(crate) origin: ValueOrigin,
    /// Its values, by their keys; only [`CallerTable::KEYS`].
    pub(crate) values: BTreeMap<String, RawValue>,
}

impl CallerTable {
    /// The keys of such a table.
    pub(crate) const KEYS: &[&str] = &["account", "certificate", "claim", "name", "principal", "role", "targets"];
}
