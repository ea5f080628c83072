//! The index of each target by its name. A request names its target, and looking at one name after the other would cost more
//! with each target.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::serve::upstream::served_target::ServedTarget;

/// The names of the targets. They come from the configuration, so nobody can choose names whose hashes collide.
pub(crate) struct TargetNames {
    indices: HashMap<Box<str>, usize, FixedState>,
    default: Option<usize>,
}

impl TargetNames {
    /// Returns the names of these targets.
    pub(crate) fn new(targets: &[Arc<ServedTarget>]) -> Self {
        let named = targets.iter().enumerate();
        Self {
            indices: named.filter_map(|(index, target)| Some((target.name.as_deref()?.into(), index))).collect(),
            default: targets.iter().position(|target| target.is_default),
        }
    }

    /// Returns the index of the target with this name.
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.indices.get(name).copied()
    }

    /// Returns the index of the target that is also at `/`.
    pub(crate) fn default(&self) -> Option<usize> {
        self.default
    }
}
