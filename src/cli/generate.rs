//! `generate`: what those who package the appliance put beside it. The NixOS module's options are made of the list.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::builder::Str;
use clap::{Args as _, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::examples;
use super::failure::{Class, Failure};
use super::options::{CallerOptions, ServeOptions, key};
use super::output::try_write;

/// How docs/reference/options.md begins.
const INTRODUCTION: &str = "\
<!-- Made by `appliance generate reference >docs/reference/options.md`. -->
# The options of `appliance serve`

Each is a key of the TOML file that `--config` names, a flag (`--` and the key), and an environment variable. Flags win over
variables, and variables win over the file. A `[[target]]` table takes the options under Target, Identity and Artifacts, except
`ca-file`; see [Serve several MLflow servers](../use/several-targets.md). Write durations as in `30s`, and sizes as in `16 MiB`.
";

/// Write completions, man pages or the list of options, for those who package the appliance
#[derive(Debug, clap::Subcommand)]
#[command(hide = true, after_help = examples::GENERATE)]
pub(super) enum Generate {
    /// Completions, to standard output
    #[command(after_help = examples::GENERATE_COMPLETIONS)]
    Completions {
        /// Of which shell
        shell: Shell,
    },
    /// One page for each command
    #[command(after_help = examples::GENERATE_MAN_PAGES)]
    ManPages {
        /// Where to; it is made if it is missing
        directory: PathBuf,
    },
    /// The keys of the configuration file with what each is, as JSON, to standard output
    #[command(after_help = examples::GENERATE_OPTIONS)]
    Options,
    /// The options of `serve` as the page docs/reference/options.md, to standard output
    #[command(after_help = examples::GENERATE_REFERENCE)]
    Reference,
}

impl Generate {
    /// Does what was asked.
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut output = Vec::new();
        let written = match self {
            Self::Completions { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "appliance", &mut output);
                Ok(())
            }
            Self::ManPages { directory } => std::fs::create_dir_all(&directory)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), &directory).map(drop)),
            Self::Options => serde_json::to_writer_pretty(&mut output, &list())
                .map_err(io::Error::from)
                .and_then(|()| output.write_all(b"\n")),
            Self::Reference => output.write_all(reference().as_bytes()),
        };
        written
            .and_then(|()| try_write(&output))
            .map_err(|error| Failure::new(Class::Failed, &error, Some("make room, or make the place writable")))
    }
}

/// What may stand in the configuration file. `kind` is the placeholder of the flag, as in `--help`.
fn list() -> serde_json::Value {
    let command = ServeOptions::augment_args(clap::Command::new("serve"));
    let options = command.get_arguments().map(|argument| {
        let field = argument.get_id().as_str();
        let help = argument.get_long_help().or_else(|| argument.get_help());
        serde_json::json!({
            "key": key(field),
            "kind": argument.get_value_names().and_then(<[_]>::first).map(Str::as_str),
            "help": help.map(ToString::to_string),
            "of-a-target": ServeOptions::FIELDS_OF_A_TARGET.contains(&field),
        })
    });
    serde_json::json!({ "options": options.collect::<Vec<_>>(), "keys-of-a-caller": CallerOptions::KEYS })
}

/// A table for each heading of `appliance serve --help`.
fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    let command = ServeOptions::augment_args(clap::Command::new("serve"));
    let mut last = None;
    for argument in command.get_arguments() {
        let heading = argument.get_help_heading();
        if last != heading {
            let _ = write!(
                page,
                "\n## {}\n\n| key | variable | what it is |\n| --- | --- | --- |\n",
                heading.unwrap_or("Other")
            );
            last = heading;
        }
        let help =
            argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let (key, variable) = (key(argument.get_id().as_str()), argument.get_env().unwrap_or_default().display());
        let kind = argument.get_value_names().and_then(<[_]>::first).map_or("", Str::as_str);
        let _ = writeln!(page, "| `{key}` *{kind}* | `{variable}` | {} |", cell(&help));
    }
    page
}

/// A help text as a cell of a table: its summary is a sentence before the others, and code is left as it is.
fn cell(help: &str) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentences = help.split("\n\n").map(words).collect::<Vec<_>>().join(". ");
    let parts = sentences.replace('|', "\\|");
    let parts = parts.split('`').enumerate();
    // Within backticks, Markdown knows no entities.
    let parts = parts.map(|(index, part)| if index % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_sentences_and_code() {
        for (help, expected) in [
            ("A file, or `credential:<name>`", "A file, or `credential:<name>`"),
            ("Where <it> is\n\nOne line\nand another. Two.", "Where &lt;it> is. One line and another. Two."),
            ("`a|b` [default: a]\n\nMore.", "`a\\|b` [default: a]. More."),
        ] {
            assert_eq!(cell(help), expected);
        }
        for row in reference().lines().filter(|line| line.starts_with("| `")) {
            assert!(!row.contains("..") && row.matches('`').count() % 2 == 0, "{row}");
        }
    }
}
