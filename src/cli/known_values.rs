//! The values of options that are a choice, for completions, and the kinds of the others: files, directories, URLs.
//!
//! `serve` reads its options as text, so that it reports all problems of a configuration together. So the parser does not
//! know these values.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::access::caller::Role;

/// The parser of a role, which completions know as well.
pub(super) fn roles() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::LABELS).map(|text| text.parse().expect("each of them is a role"))
}

/// The options of `serve` with a choice of values.
#[cfg(feature = "generate")]
const CHOICES: [(&str, &[&str]); 6] = [
    ("anonymous_role", &Role::LABELS),
    ("artifact_access", &["proxied", "multipart", "presigned-only"]),
    ("artifact_elsewhere", &["refuse", "allow"]),
    ("log_format", &["text", "json"]),
    ("role_caller", &["source-identity", "session-tag"]),
    ("tls_client_certificate", &["required", "optional"]),
];

/// The grammar with what completions need beside it.
#[cfg(feature = "generate")]
pub(super) fn completable(command: clap::Command) -> clap::Command {
    command.mut_args(with_values).mut_subcommands(completable)
}

#[cfg(feature = "generate")]
fn with_values(argument: clap::Arg) -> clap::Arg {
    use clap::ValueHint;
    if !argument.get_action().takes_values() {
        return argument;
    }
    let choice = CHOICES.iter().find(|(name, _)| argument.get_id() == name).map(|(_, values)| *values);
    let kind = argument.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    match (choice, kind.as_str()) {
        (Some(values), _) => argument.value_parser(PossibleValuesParser::new(values)),
        (None, "BOOL") => argument.value_parser(PossibleValuesParser::new(["true", "false"])),
        (None, "FILE" | "FILE|SECRET" | "SOURCE") => argument.value_hint(ValueHint::FilePath),
        (None, "DIRECTORY") => argument.value_hint(ValueHint::DirPath),
        (None, "URL") => argument.value_hint(ValueHint::Url),
        // Without a hint, a shell offers files.
        (None, _) if argument.get_value_hint() == ValueHint::Unknown => argument.value_hint(ValueHint::Other),
        (None, _) => argument,
    }
}

#[cfg(test)]
#[cfg(feature = "generate")]
mod tests {
    use clap::Args as _;

    use super::*;
    use crate::cli::options::ServeOptions;

    #[test]
    fn each_choice_stands_in_the_help_of_its_option() {
        let command = ServeOptions::augment_args(clap::Command::new("serve"));
        for (name, values) in CHOICES {
            let argument = command.get_arguments().find(|argument| argument.get_id() == name).expect(name);
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let named: Vec<_> = help.split('`').skip(1).step_by(2).collect();
            assert_eq!(named, values, "{name}: {help}");
        }
    }
}
