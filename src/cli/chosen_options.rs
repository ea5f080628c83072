//! The options of `serve` for commands in which few of them have an effect.

use clap::{ArgMatches, Args, FromArgMatches};

use super::options::{ServeOptions, fields};

/// The fields with the options that find a target, and the identity that sends requests to it.
const OF_TARGET: [&str; 8] = [
    "resource_arn",
    "region",
    "ca_file",
    "role_arn",
    "role_external_id",
    "role_session_name",
    "role_session_duration",
    "sagemaker_endpoint",
];
/// The fields with the options of the servers behind a target: its own endpoint, and its artifact store.
const OF_SERVERS: [&str; 4] = ["upstream_endpoint", "artifact_store", "artifact_kms_key", "s3_endpoint"];

/// The options of `serve`. All are accepted, so that the same variables and files work, but the help shows few: those of the
/// target and, if wanted, those of the servers behind it.
#[derive(Debug)]
pub(super) struct ChosenOptions<const WITH_SERVERS: bool>(ServeOptions);

impl<const WITH_SERVERS: bool> ChosenOptions<WITH_SERVERS> {
    /// Sets the origin of each value, as [`ServeOptions::locate`] does.
    pub(super) fn locate(self, matches: &ArgMatches) -> ServeOptions {
        self.0.locate(matches)
    }
}

impl<const WITH_SERVERS: bool> Args for ChosenOptions<WITH_SERVERS> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let options = fields::<ServeOptions>();
        debug_assert!(OF_TARGET.iter().chain(&OF_SERVERS).all(|field| options.iter().any(|option| option == field)));
        ServeOptions::augment_args(command).mut_args(|argument| {
            let field = argument.get_id().as_str();
            if options.iter().any(|option| option == field) {
                let is_shown = OF_TARGET.contains(&field) || WITH_SERVERS && OF_SERVERS.contains(&field);
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

impl<const WITH_SERVERS: bool> FromArgMatches for ChosenOptions<WITH_SERVERS> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        ServeOptions::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
