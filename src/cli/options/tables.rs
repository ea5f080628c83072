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
    /// Its values that may be several, by their keys; only [`CallerTable::LISTS`].
    pub(crate) lists: BTreeMap<String, Vec<RawValue>>,
}

impl CallerTable {
    /// The keys of such a table.
    pub(crate) const KEYS: &[&str] = &["account", "certificate", "issuer", "name", "principal", "role", "targets"];
    /// The keys with one value or a list of them.
    pub(crate) const LISTS: &[&str] = &["claim", "claims"];

    /// The claims, under either key.
    pub(crate) fn claims(&self) -> Vec<&RawValue> {
        self.lists.values().flatten().collect()
    }
}

/// One `[[issuer]]`.
#[derive(Clone, Debug)]
pub(crate) struct IssuerTable {
    /// The line at which the table begins.
    pub(crate) origin: ValueOrigin,
    /// Its values, by their keys; only [`IssuerTable::KEYS`].
    pub(crate) values: BTreeMap<String, RawValue>,
    /// Its values that may be several, by their keys; only [`IssuerTable::LISTS`].
    pub(crate) lists: BTreeMap<String, Vec<RawValue>>,
}

impl IssuerTable {
    /// The keys of such a table.
    pub(crate) const KEYS: &[&str] = &[
        "audience-claim",
        "client-id",
        "client-secret",
        "keys-file",
        "keys-url",
        "label",
        "leeway",
        "name",
        "name-claim",
        "redirect-url",
        "scopes",
        "url",
    ];
    /// The keys with one value or a list of them.
    pub(crate) const LISTS: &[&str] = &["algorithms", "audience"];

    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<&RawValue> {
        self.values.get(key)
    }

    /// The values of a key.
    pub(crate) fn list(&self, key: &str) -> &[RawValue] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }
}
