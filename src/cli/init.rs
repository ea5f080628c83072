//! `appliance init`: a configuration file with every common option, explained.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::{Arg, Args as _, Command};

use super::command_error::{CommandError, ExitClass};
use super::examples;
use super::options::{ServeOptions, key};
use super::output::{say, try_write};
use crate::mlflow::arn::Arn;

/// The longest line of a comment. Characters.
const WIDTH: usize = 100;
const EXAMPLE_ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456";
const ARN: &str = "resource_arn";

const INTRODUCTION: &str = "\
# The configuration of `appliance serve`, written by `appliance init`.
#
# Remove the `# ` before an option to set it; a default stands in brackets. Flags and environment
# variables win over this file. `appliance check --config FILE` finds problems, and
# `appliance serve --help-all` has the advanced options as well.
";

/// The tables that may be repeated. A test reads them.
const TABLES: &str = "
# ---- Tables; everything above stands before them ----

# Several MLflows: each has a table, and `resource-arn` above stays unset. Clients use the path `/t/<name>/`.
# [[target]]
# name = \"research\"
# resource-arn = \"arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456\"
# artifact-store = \"auto\"

# Grants to users of a load balancer, by a claim, or to holders of client certificates.
# [[caller]]
# claim = \"groups=data-science\"
# role = \"write\"
# targets = \"research\"
";

/// Write a commented configuration file for `appliance serve`
///
/// The file has every common option as a comment, so that it changes nothing until you edit it. An existing file stays as it
/// is.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::INIT)]
pub(super) struct InitCommand {
    /// The file to create, or `-` for standard output
    #[arg(default_value = "appliance.toml")]
    file: PathBuf,
    /// The ARN of the tracking server or the app; `appliance targets` lists those of your account
    #[arg(long, env = "SM_MLFLOW_RESOURCE_ARN", hide_env_values = true, value_name = "ARN", value_parser = arn)]
    resource_arn: Option<String>,
}

fn arn(text: &str) -> Result<String, String> {
    Arn::parse(text).map(|arn| arn.as_str().to_owned()).map_err(|error| error.to_string())
}

impl InitCommand {
    /// Writes the file.
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let (text, file) = (text(self.resource_arn.as_deref()), &self.file);
        if file == Path::new("-") {
            let written = try_write(text.as_bytes());
            return written
                .map_err(|error| CommandError::new(ExitClass::Failed, &error, Some("check standard output")));
        }
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(file)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        let shown = file.display();
        written.map_err(|error| {
            let (what, hint) = match error.kind() {
                ErrorKind::AlreadyExists => (
                    format!("`{shown}` exists already"),
                    "edit it, or name another file; `appliance init -` prints the text",
                ),
                _ => (format!("cannot write `{shown}`: {error}"), "name a file in a writable directory"),
            };
            CommandError::of(ExitClass::Failed, &what, Some(hint))
        })?;
        let first = if self.resource_arn.is_some() { "" } else { "set `resource-arn` in it; " };
        say(&format!("wrote {shown}\nhint: {first}`appliance check --config {shown}` finds problems"));
        Ok(())
    }
}

/// The text of the file, made from the options themselves.
fn text(arn: Option<&str>) -> String {
    let command = ServeOptions::augment_args(Command::new("serve"));
    let mut text = INTRODUCTION.to_owned();
    let mut shown: Vec<_> = command.get_arguments().filter(|argument| !argument.is_hide_set()).collect();
    // Two groups of options share a heading.
    let headings: Vec<_> = shown.iter().map(|argument| argument.get_help_heading()).collect();
    shown.sort_by_key(|argument| headings.iter().position(|heading| *heading == argument.get_help_heading()));
    let mut last = None;
    for argument in shown {
        let heading = argument.get_help_heading();
        if heading != last {
            let _ = writeln!(text, "\n# ---- {} ----", heading.unwrap_or_default());
            last = heading;
        }
        let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string);
        text.push('\n');
        comment(&mut text, &help.unwrap_or_default());
        let key = key(argument.get_id().as_str());
        match arn.filter(|_| argument.get_id() == ARN) {
            Some(arn) => {
                let _ = writeln!(text, "{key} = \"{arn}\"");
            }
            None => {
                let _ = writeln!(text, "# {key} = {}", example(argument));
            }
        }
    }
    text.push_str(TABLES);
    text
}

/// Writes a help text as a comment, with one paragraph per part.
fn comment(text: &mut String, help: &str) {
    for (at, paragraph) in help.split("\n\n").enumerate() {
        if at > 0 {
            text.push_str("#\n");
        }
        let mut line = "#".to_owned();
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                let _ = writeln!(text, "{line}");
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        let _ = writeln!(text, "{line}");
    }
}

/// A value in TOML: the default, if the help states one that is a value; otherwise the placeholder.
fn example(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let kind = argument.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    let default = help.split_once("[default: ").and_then(|(_, rest)| rest.split([']', ',']).next());
    let is_value = |text: &&str| match kind.as_str() {
        "NUMBER" | "SHARE" => text.parse::<f64>().is_ok(),
        "SIZE" => text.ends_with("iB"),
        "ADDRESS:PORT" | "FORMAT" | "METHOD" | "FILTER" | "DIRECTORY" | "DURATION" => !text.contains(' '),
        _ => false,
    };
    match (kind.as_str(), default.filter(is_value)) {
        ("BOOL", _) => "true".to_owned(),
        ("NUMBER" | "SHARE", default) => default.unwrap_or("100").to_owned(),
        (_, Some(default)) => format!("\"{default}\""),
        (_, None) if argument.get_id() == ARN => format!("\"{EXAMPLE_ARN}\""),
        (_, None) => format!("\"{kind}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::super::problems::Problems;
    use super::*;

    /// The text with its options and tables in force.
    fn uncommented(text: &str) -> String {
        let is_setting = |rest: &str| {
            rest.starts_with("[[") || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '`']))
        };
        let line = |line: &str| {
            let rest = line.strip_prefix("# ").filter(|rest| is_setting(rest));
            rest.unwrap_or(line).to_owned() + "\n"
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn every_line_that_an_operator_may_uncomment_is_an_option() {
        for arn in [None, Some(EXAMPLE_ARN)] {
            let mut problems = Problems::default();
            let options = file::parse(&uncommented(&text(arn)), Path::new("a.toml"), &mut problems);
            let problems = problems.none_or_all().err().unwrap_or_default();
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!(options.target.resource_arn.map(|given| given.text).as_deref(), Some(EXAMPLE_ARN));
            assert_eq!(options.listener.listen.map(|given| given.text).as_deref(), Some("127.0.0.1:5000"));
            assert_eq!(options.telemetry.admin_listen.map(|given| given.text).as_deref(), Some("127.0.0.1:5090"));
            assert_eq!((options.target_tables.len(), options.caller_tables.len()), (1, 1));
            let caller = &options.caller_tables[0];
            assert_eq!(caller.values.len() + caller.lists.len(), 3);
        }
    }

    #[test]
    fn each_common_option_is_explained_and_only_the_arn_is_set() {
        let text = text(Some(EXAMPLE_ARN));
        let set: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert_eq!(set, [format!("resource-arn = \"{EXAMPLE_ARN}\"")]);
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
        let command = ServeOptions::augment_args(Command::new("serve"));
        for argument in command.get_arguments() {
            let key = format!("{} = ", key(argument.get_id().as_str()));
            assert_eq!(
                text.contains(&format!("\n# {key}")) || key.starts_with("resource"),
                !argument.is_hide_set(),
                "{key}"
            );
        }
    }
}
