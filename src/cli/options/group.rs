//! A group of options: one struct that is flags, environment variables and TOML keys at once.

use clap::Args;

use super::raw::RawValue;

/// Options whose values can be reached by the names of their fields.
pub(crate) trait OptionGroup {
    /// The value of a field; none if no field has that name.
    fn slot(&mut self, field: &str) -> Option<&mut Option<RawValue>>;

    /// Sets an option by its TOML key. Returns false if no option has that key.
    fn set(&mut self, key: &str, value: RawValue) -> bool {
        // `body_size_limit` is not a second spelling of `body-size-limit`.
        let slot = if key.contains('_') { None } else { self.slot(&key.replace('-', "_")) };
        slot.map(|slot| *slot = Some(value)).is_some()
    }
}

/// The names of a group's fields.
pub(crate) fn fields<T: Args>() -> Vec<String> {
    let command = T::augment_args(clap::Command::new("options"));
    command.get_arguments().map(|argument| argument.get_id().to_string()).collect()
}

/// True for the headings of options that `--help` leaves out and `--help-all` shows.
pub(crate) fn is_advanced(heading: &str) -> bool {
    heading.starts_with("Advanced")
}

/// A command whose help shows the advanced options as well.
pub(crate) fn show_advanced(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| {
        let is_advanced = argument.get_help_heading().is_some_and(is_advanced);
        if is_advanced { argument.hide(false) } else { argument }
    })
}

/// Defines a group: under each heading its fields, each with its help, its environment variable and its placeholder.
macro_rules! option_group {
    ($(#[doc = $about:literal])* $group:ident {$(
        $heading:literal {$(
            $(#[doc = $help:literal])* $field:ident: $variable:literal $placeholder:literal $([$($more:tt)*])?,
        )*}
    )*}) => {
        $(#[doc = $about])*
        #[derive(clap::Args, Clone, Debug, Default)]
        pub(crate) struct $group {$($(
            $(#[doc = $help])*
            #[arg(
                long, env = $variable, hide_env_values = true, value_name = $placeholder, help_heading = $heading,
                hide = crate::cli::options::group::is_advanced($heading), $($($more)*)?
            )]
            pub(crate) $field: Option<crate::cli::options::raw::RawValue>,
        )*)*}

        impl crate::cli::options::group::OptionGroup for $group {
            fn slot(&mut self, field: &str) -> Option<&mut Option<crate::cli::options::raw::RawValue>> {
                match field {
                    $($(stringify!($field) => Some(&mut self.$field),)*)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use option_group;
