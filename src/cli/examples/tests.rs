//! Every example in a help parses, and no help names a command that this binary lacks. These tests run with each set of features.

use clap::Command;

use super::shell::{commands, named, parses};
use crate::cli::grammar;

/// Collects each command with its path.
fn all(command: &Command, path: &str, seen: &mut Vec<(String, Command)>) {
    let path = format!("{path} {}", command.get_name()).trim().to_owned();
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        all(inner, &path, seen);
    }
    seen.push((path, command.clone()));
}

#[test]
fn every_help_ends_with_examples_that_parse_and_with_exit_codes() {
    let (grammar, mut seen) = (grammar(), Vec::new());
    all(&grammar, "", &mut seen);
    assert!(seen.len() > 8, "{seen:?}");
    for (path, command) in seen {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (examples, rest) = text.split_once("\n\n").unwrap_or_else(|| panic!("{path}: {text}"));
        assert!(examples.starts_with("Examples:\n  "), "{path}: {examples}");
        let codes = rest.rsplit("\n\n").next().unwrap_or_default();
        assert!(codes.starts_with("Exit codes: 0 "), "{path}: {codes}");
        for code in [" 1 ", " 2 "] {
            assert!(codes.contains(code), "{path}: {codes}");
        }
        // Without a terminal, clap breaks lines after 100 characters, which must not happen to an example.
        for line in text.lines().filter(|line| line.starts_with(' ')) {
            assert!(line.chars().count() <= 96, "{path}: {line}");
        }
        let found = commands(&examples.replacen("Examples:", "", 1));
        assert!(found.iter().any(|command| command.join(" ").starts_with(&path)), "{path}: no example of its own");
        for command in &found {
            parses(&grammar, command, &path);
        }
    }
}

#[test]
fn helps_name_only_commands_that_exist() {
    let (grammar, mut seen) = (grammar(), Vec::new());
    all(&grammar, "", &mut seen);
    let checked: usize =
        seen.iter().map(|(path, command)| named(&grammar, &command.clone().render_long_help().to_string(), path)).sum();
    assert!(checked >= 3, "{checked}");
}

#[test]
#[should_panic(expected = "`appliance deplo plan` does not exist")]
fn a_command_that_does_not_exist_fails_the_test() {
    named(&grammar(), "Make a plan with `appliance deplo\nplan`.", "a page");
}

#[test]
fn commands_are_found_in_shell_text() {
    let shell = "sudo A=b appliance serve --a 'b c' \\\n  --d \"e\" | jq appliance # appliance x\n\
                 eval \"$(appliance deploy outputs --env)\"\n# appliance no\ncd appliance && appliance check >x";
    let found: Vec<_> = commands(shell).iter().map(|words| words.join("·")).collect();
    let expected = ["appliance·serve·--a·b c·--d·e", "appliance·deploy·outputs·--env", "appliance·check"];
    assert_eq!(found, expected);
}
