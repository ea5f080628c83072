//! Finds the appliance's commands in text, and checks that they exist. The tests of documents (`tests/it/documents.rs`)
//! include this file as well, because a package's source has no documents.

use clap::Command;

/// The words of a shell command, up to the beginning of the next command.
pub(super) fn words(command: &str) -> Vec<String> {
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

/// The appliance's commands in shell text, each beginning with the program's name.
pub(super) fn commands(shell: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in shell.replace("\\\n", " ").lines() {
        for (at, _) in line.match_indices("appliance ") {
            let before = line[..at].split(['|', ';', '&', '(']).next_back().unwrap_or_default().trim_start();
            // It is a command at the start, or after `sudo` or variables. Elsewhere it is an argument or prose.
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

/// Checks that a command parses. `…` stands for omitted options, or for the rest of a value.
#[track_caller]
pub(super) fn parses(grammar: &Command, command: &[String], place: &str) {
    let without: Vec<_> = command.iter().filter(|word| *word != "…").collect();
    let is_fine = |words: &mut dyn Iterator<Item = &String>| match grammar.clone().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = is_fine(&mut command.iter()).or_else(|_| is_fine(&mut without.into_iter())) {
        panic!("{place}: `{}`: {error}", command.join(" "));
    }
}

/// Checks that the commands and flags exist that a text names between backticks, possibly without some options. Returns
/// their number.
#[track_caller]
pub(super) fn named(grammar: &Command, text: &str, place: &str) -> usize {
    let mut checked = 0;
    for code in text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("appliance ")) {
        // A line may break within it.
        let command = code.split_whitespace().collect::<Vec<_>>().join(" ");
        if command.contains('…') {
            continue;
        }
        let words = words(&command);
        let mut known = grammar;
        for word in words.iter().skip(1).take_while(|word| !word.starts_with('-')) {
            if !known.has_subcommands() {
                break;
            }
            known = known.find_subcommand(word).unwrap_or_else(|| panic!("{place}: `{command}` does not exist"));
        }
        for flag in words.iter().filter(|word| word.starts_with("--") && *word != "--help") {
            let name = flag.trim_start_matches("--").split('=').next().unwrap_or_default();
            let is_known = known.get_arguments().any(|one| {
                one.get_long() == Some(name) || one.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
            });
            assert!(is_known, "{place}: `{command}` has no `{flag}`");
        }
        checked += 1;
    }
    checked
}
