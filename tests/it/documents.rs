//! The pages are true: links lead somewhere, commands and paths exist, and what is made from the program is up to date.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use appliance::cli::grammar;

use self::shell::{commands, named, parses};
use crate::support::appliance::command;

#[path = "../../src/cli/examples/shell.rs"]
mod shell;

/// Pages that a command or a test makes, so they have no limit of length.
const GENERATED: [&str; 2] = ["docs/reference/options.md", "docs/reference/routes.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pages_below(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = directory.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            pages_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path.to_str().unwrap().to_owned());
        }
    }
}

/// All pages of the repository, by their paths from its root.
pub fn pages() -> Vec<String> {
    let mut found = Vec::from(["README.md".to_owned(), "CHANGELOG.md".to_owned()]);
    for directory in ["benches", "docs", "infra", "nixos", "packer", "tests"] {
        pages_below(Path::new(directory), &mut found);
    }
    found.sort();
    assert!(found.len() > 40, "{found:?}");
    found
}

/// The fenced blocks of a page in one language, without their indentation.
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    let (text, begin) = (read(page), format!("```{language}"));
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() == begin {
            let indentation = line.len() - line.trim_start().len();
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            found.push(block.map(|line| line.get(indentation..).unwrap_or_default().to_owned() + "\n").collect());
        }
    }
    found
}

/// Tells whether a line of a shell runs a command of ours.
pub fn is_ours(line: &str) -> bool {
    !commands(line).is_empty()
}

/// A page without its fenced blocks.
fn prose(page: &str) -> String {
    let text = read(page);
    let (mut is_code, mut prose) = (false, String::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The relative links of a page: the file, and the heading within it.
fn links(page: &str) -> Vec<(String, String)> {
    let text = prose(page);
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = links.filter(|link| !link.contains("://"));
    let parts = relative.map(|link| link.split_once('#').unwrap_or((link, "")));
    parts.map(|(file, heading)| (file.to_owned(), heading.to_owned())).collect()
}

/// The path that a link of a page leads to, from the root of the repository.
fn resolved(page: &str, file: &str) -> PathBuf {
    if file.is_empty() {
        return page.into();
    }
    let mut path = Path::new(page).parent().unwrap().to_owned();
    for part in Path::new(file) {
        if part == ".." {
            assert!(path.pop(), "{page} links to {file}, which is outside of the repository");
        } else {
            path.push(part);
        }
    }
    path
}

#[test]
fn the_page_of_options_is_the_output_of_the_program() {
    let output = command(&["generate", "reference"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.matches("\n| `").count() > 50, "{printed}");
    let page = "docs/reference/options.md";
    assert_eq!(read(page), printed, "run `appliance generate reference >{page}`");
}

#[test]
fn links_between_pages_lead_to_files_and_headings() {
    let mut checked = 0;
    for page in pages() {
        for (file, heading) in links(&page) {
            let target = resolved(&page, &file);
            assert!(root().join(&target).exists(), "{page} links to {file}, which does not exist");
            if !heading.is_empty() {
                let text = prose(target.to_str().unwrap());
                let headings: BTreeSet<String> = text.lines().filter_map(anchor).collect();
                assert!(headings.contains(&heading), "{page} links to {file}#{heading}: {headings:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn the_map_links_to_every_page_of_the_documents() {
    let linked: BTreeSet<PathBuf> =
        links("docs/README.md").iter().map(|(file, _)| resolved("docs/README.md", file)).collect();
    for page in pages().iter().filter(|page| page.starts_with("docs/") && *page != "docs/README.md") {
        assert!(linked.contains(Path::new(page)), "docs/README.md does not link to {page}");
    }
}

#[test]
fn pages_begin_with_a_title_and_are_short() {
    for page in pages().iter().filter(|page| !GENERATED.contains(&page.as_str())) {
        let text = read(page);
        assert!(text.starts_with("# "), "{page} begins with its title");
        // Tables that a script writes stand between two comments.
        let (mut is_generated, mut lines) = (false, 0);
        for line in text.lines() {
            is_generated = (is_generated || line.starts_with("<!-- ")) && line != "<!-- end -->";
            lines += usize::from(!is_generated);
        }
        let most = if page == "README.md" { 150 } else { 200 };
        assert!(lines <= most, "{page} has {lines} lines, and at most {most} are allowed");
    }
}

#[test]
fn the_readme_states_its_status_first() {
    let text = read("README.md");
    let head = text.lines().take(10).collect::<Vec<_>>().join(" ");
    assert!(head.contains("not yet run against a real AWS account") && head.contains("(tests/README.md)"), "{head}");
}

#[test]
fn the_commands_in_pages_parse() {
    let (grammar, mut checked) = (grammar(), 0);
    for page in pages() {
        checked += named(&grammar, &prose(&page), &page);
        for block in blocks(&page, "sh") {
            for command in commands(&block) {
                parses(&grammar, &command, &page);
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn shell_blocks_are_valid_shell() {
    let mut checked = 0;
    for page in pages() {
        for block in blocks(&page, "sh") {
            let output = Command::new("bash").args(["-n", "-c", &block]).output().unwrap();
            assert!(output.status.success(), "{page}: {}\n{block}", String::from_utf8_lossy(&output.stderr));
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn json_blocks_are_valid_json() {
    let mut checked = 0;
    for page in pages() {
        for block in blocks(&page, "json") {
            serde_json::from_str::<serde_json::Value>(&block)
                .unwrap_or_else(|error| panic!("{page}: {error}\n{block}"));
            checked += 1;
        }
    }
    assert!(checked >= 4, "{checked}");
}

#[test]
fn paths_and_stages_that_pages_name_exist() {
    let runner = read("tests/run");
    let stages: BTreeSet<&str> = runner
        .lines()
        .filter_map(|line| line.strip_prefix("    \"")?.split_once('|'))
        .map(|(stage, _)| stage)
        .collect();
    assert!(stages.contains("cargo") && stages.len() > 8, "{stages:?}");
    let places = ["src/", "tests/", "benches/", "docs/", "infra/", "nixos/", "packer/", ".ci/"];
    let mut checked = 0;
    for page in pages().iter().filter(|page| *page != "CHANGELOG.md") {
        let (prose, shell) = (prose(page), blocks(page, "sh").concat());
        let quoted = prose.split('`').skip(1).step_by(2).chain(shell.lines());
        for text in quoted {
            let mut words = text.split_whitespace().peekable();
            while let Some(word) = words.next() {
                let is_pattern = |text: &str| text.contains(['*', '<', '…', '$', '{', '|']);
                let is_path = places.iter().any(|place| word.starts_with(place)) && !is_pattern(word);
                if is_path {
                    let path = word.trim_end_matches([',', '.', ':', ';', ')']);
                    assert!(root().join(path).exists(), "{page} names {path}, which does not exist");
                    checked += 1;
                }
                let stage = words.peek().filter(|_| word == "tests/run").copied().unwrap_or("quick");
                let is_name =
                    stage.chars().all(|one| one.is_ascii_lowercase() || one == '-') && !stage.starts_with('-');
                assert!(!is_name || stage == "quick" || stages.contains(stage), "{page}: `tests/run` has no {stage}");
            }
        }
    }
    assert!(checked > 30, "{checked}");
}

/// As forges make it of a heading: lower case, words joined by hyphens, no other punctuation.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept =
        heading.to_lowercase().chars().filter(|one| one.is_alphanumeric() || " -_".contains(*one)).collect::<String>();
    Some(kept.replace(' ', "-"))
}
