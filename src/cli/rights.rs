//! The rights that a `[[caller]]` gives: a role and targets.

use super::options::CallerTable;
use super::problems::Problems;
use super::values;
use crate::access::caller::{NotARole, Role, Targets};

pub(super) const HINT_ROLE: &str = "write `read`, `write` or `admin`";

/// The role and the targets of a `[[caller]]`; none after adding a problem.
pub(super) fn rights(table: &CallerTable, problems: &mut Problems) -> Option<(Role, Targets)> {
    let value = |key: &str| table.values.get(key);
    let granted = problems.read(value("role"), HINT_ROLE, role);
    let targets = problems.read(value("targets"), "write names of targets, separated by commas", values::target_names);
    if value("role").is_none() {
        problems.add(&table.origin, "a `[[caller]]` needs a `role`", HINT_ROLE);
    }
    Some((granted?, targets.map_or(Targets::All, Targets::Named)))
}

/// The role of this name.
pub(super) fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: NotARole| error.to_string())
}
