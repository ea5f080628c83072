//! The pages that are made of the program, or that name what it has, are true.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use appliance::cli::grammar;

use self::shell::{commands, named, parses};
use crate::support::appliance::command;

#[path = "../../src/cli/examples/shell.rs"]
mod shell;

/// The pages.
const PAGES: [&str; 13] = [
    "README.md",
    "CLIENTS.md",
    "ARCHITECTURE.md",
    "CONFIGURATION.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "ROUTES.md",
    "benches/README.md",
    "infra/README.md",
    "nixos/README.md",
    "packer/README.md",
    "tests/README.md",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_page_of_options_is_the_output_of_the_program() {
    let output = command(&["generate", "reference"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.matches("\n| `").count() > 50, "{printed}");
    assert_eq!(read("CONFIGURATION.md"), printed, "make it anew: `appliance generate reference >CONFIGURATION.md`");
}

#[test]
fn links_between_pages_lead_to_files_and_headings() {
    let mut checked = 0;
    for page in PAGES {
        let directory = Path::new(page).parent().unwrap();
        for link in read(page).split("](").skip(1).filter_map(|rest| rest.split(')').next().map(ToOwned::to_owned)) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.into() } else { directory.join(file) };
            if Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).is_dir() {
                continue;
            }
            let text = read(target.to_str().unwrap());
            let headings: BTreeSet<String> = text.lines().filter_map(anchor).collect();
            assert!(heading.is_empty() || headings.contains(heading), "{page} links to {link}: {headings:?}");
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn the_commands_in_pages_parse() {
    let (grammar, mut checked) = (grammar(), 0);
    for page in PAGES {
        let text = read(page);
        let mut here = named(&grammar, &text, page);
        for block in text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            for command in commands(block) {
                parses(&grammar, &command, page);
                here += 1;
            }
        }
        assert!(here >= 15 || page != "README.md", "{page}: {here}");
        checked += here;
    }
    assert!(checked > 30, "{checked}");
}

/// Returns the anchor of a heading as forges make it: lower case, words joined by hyphens, no other punctuation.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept =
        heading.to_lowercase().chars().filter(|one| one.is_alphanumeric() || " -_".contains(*one)).collect::<String>();
    Some(kept.replace(' ', "-"))
}
