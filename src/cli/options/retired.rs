//! Options of earlier versions. They are still accepted, so that no start fails, but they have no effect.

use super::group::{OptionGroup as _, fields, option_group};
use super::names::key;
use super::raw::RawValue;

option_group! {
    /// Options without effect.
    RetiredOptions {
        "Advanced: without effect" {
            /// This option has no effect: each worker accepts up to 25,000 connections, and more wait
            connection_limit: "APPLIANCE_CONNECTION_LIMIT" "NUMBER",
        }
    }
}

impl RetiredOptions {
    /// The options that are set: the key and the value of each.
    pub(crate) fn given(&self) -> Vec<(String, RawValue)> {
        let mut options = self.clone();
        let given = |field: String| Some((key(&field), options.slot(&field)?.take()?));
        fields::<Self>().into_iter().filter_map(given).collect()
    }
}
