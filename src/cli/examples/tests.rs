//! Every example parses: those of the helps, and those of the pages.

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;

/// The words of a shell's command, up to where another begins; nothing if the line is not one of ours.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for one in command.chars() {
        match (quote, one) {
            (Some(open), _) if one == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(one),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(one);
            }
            (None, '|' | ';' | '&' | ')' | '<' | '>' | '\n') => break,
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(one),
        }
    }
    words.extend(word);
    words
}

/// The commands of ours in a text of shell, from the program's name on.
fn commands(shell: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in shell.replace("\\\n", " ").lines() {
        for (at, _) in line.match_indices("appliance ") {
            let before = line[..at].split(['|', ';', '&', '(']).next_back().unwrap_or_default().trim_start();
            // After nothing, `sudo` or variables: a command. Elsewhere it is an argument, or prose.
            let is_prefix = |word: &str| word == "sudo" || word.split_once('=').is_some_and(|(name, _)| is_name(name));
            if !line[..at].contains('#') && before.split_whitespace().all(is_prefix) {
                found.push(words(&line[at..]));
            }
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
}

/// `…` stands for options that are left out, or for the rest of a value.
#[track_caller]
fn parses(command: &[String], place: &str) {
    let without: Vec<_> = command.iter().filter(|word| *word != "…").collect();
    let is_fine = |words: &mut dyn Iterator<Item = &String>| match Cli::command().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = is_fine(&mut command.iter()).or_else(|_| is_fine(&mut without.into_iter())) {
        panic!("{place}: `{}`: {error}", command.join(" "));
    }
}

fn all(command: &Command, path: &str, seen: &mut Vec<(String, String)>) {
    let path = format!("{path} {}", command.get_name()).trim().to_owned();
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        all(inner, &path, seen);
    }
    seen.push((path, text));
}

#[test]
fn every_help_ends_with_examples_that_parse_and_with_exit_codes() {
    let mut seen = Vec::new();
    all(&Cli::command(), "", &mut seen);
    assert!(seen.len() > 8, "{seen:?}");
    for (path, text) in seen {
        let (examples, rest) = text.split_once("\n\n").unwrap_or_else(|| panic!("{path}: {text}"));
        assert!(examples.starts_with("Examples:\n  "), "{path}: {examples}");
        let codes = rest.rsplit("\n\n").next().unwrap_or_default();
        assert!(codes.starts_with("Exit codes: 0 "), "{path}: {codes}");
        for code in [" 1 ", " 2 "] {
            assert!(codes.contains(code), "{path}: {codes}");
        }
        // Where there is no terminal, clap breaks lines after 100 characters; an example must not be.
        for line in text.lines().filter(|line| line.starts_with(' ')) {
            assert!(line.chars().count() <= 96, "{path}: {line}");
        }
        let found = commands(&examples.replacen("Examples:", "", 1));
        assert!(found.iter().any(|command| command.join(" ").starts_with(&path)), "{path}: none of its own");
        for command in &found {
            parses(command, &path);
        }
    }
}

#[test]
fn the_commands_in_pages_parse() {
    let mut checked = 0;
    for (page, least) in [("README.md", 15), ("CONTRIBUTING.md", 0), ("infra/README.md", 1), ("packer/README.md", 0)] {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = std::fs::read_to_string(&file).unwrap();
        let mut here = 0;
        for block in text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            for command in commands(block) {
                parses(&command, page);
                here += 1;
            }
        }
        // Within sentences, where options may be left out, what is named has to exist.
        for command in text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("appliance ")) {
            if command.contains('\n') || command.contains('…') {
                continue;
            }
            let words = words(command);
            let mut known = Cli::command();
            for word in words.iter().skip(1).take_while(|word| !word.starts_with('-')) {
                if !known.has_subcommands() {
                    break;
                }
                let inner = known.find_subcommand(word).unwrap_or_else(|| panic!("{page}: `{command}`")).clone();
                known = inner;
            }
            for flag in words.iter().filter(|word| word.starts_with("--") && *word != "--help") {
                let name = flag.trim_start_matches("--").split('=').next().unwrap_or_default();
                let is_known = known.get_arguments().any(|one| {
                    one.get_long() == Some(name) || one.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
                });
                assert!(is_known, "{page}: `{command}` has no `{flag}`");
            }
            here += 1;
        }
        assert!(here >= least, "{page}: {here}");
        checked += here;
    }
    assert!(checked > 25, "{checked}");
}

#[test]
fn shells_are_read_as_shells_do() {
    let shell = "sudo A=b appliance serve --a 'b c' \\\n  --d \"e\" | jq appliance # appliance x\n\
                 eval \"$(appliance deploy outputs --env)\"\n# appliance no\ncd appliance && appliance check >x";
    let found: Vec<_> = commands(shell).iter().map(|words| words.join("·")).collect();
    let expected = ["appliance·serve·--a·b c·--d·e", "appliance·deploy·outputs·--env", "appliance·check"];
    assert_eq!(found, expected);
}
