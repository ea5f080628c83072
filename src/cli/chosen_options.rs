//! The options of `serve` for commands in which few of them have an effect.

use std::marker::PhantomData;

use clap::{ArgMatches, Args, FromArgMatches};

use super::options::{ServeOptions, fields};

/// The options that the help of a command shows.
pub(super) trait ShownOptions {
    /// The names of their fields.
    const SHOWN: &'static [&'static str];
}

/// The options of `serve`. All are accepted, so that the same variables and files work, but the help shows few.
#[derive(Debug)]
pub(super) struct ChosenOptions<C>(ServeOptions, PhantomData<C>);

impl<C: ShownOptions> ChosenOptions<C> {
    /// Sets the origin of each value, as [`ServeOptions::locate`] does.
    pub(super) fn locate(self, matches: &ArgMatches) -> ServeOptions {
        self.0.locate(matches)
    }
}

impl<C: ShownOptions> Args for ChosenOptions<C> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let options = fields::<ServeOptions>();
        debug_assert!(C::SHOWN.iter().all(|field| options.iter().any(|option| option == field)));
        ServeOptions::augment_args(command).mut_args(|argument| {
            let field = argument.get_id().as_str();
            if options.iter().any(|option| option == field) {
                let is_shown = C::SHOWN.contains(&field);
                argument.hide(!is_shown).help_heading("Options of `appliance serve`")
            } else {
                argument
            }
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<C: ShownOptions> FromArgMatches for ChosenOptions<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        ServeOptions::from_arg_matches(matches).map(|options| Self(options, PhantomData))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
