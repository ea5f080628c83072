//! The source files beside one another: imports go one way, names have one meaning, comments are sentences.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::graph::{Graph, product};
use super::{page, rows, sources};

/// Names of types that may be defined more than once, each with the reason.
const SHARED_NAMES: [&str; 0] = [];
/// Comment lines that may begin a sentence with such a word: not every one is a fragment.
const TELEGRAPHIC_LIMIT: usize = 100;
/// Lines of a file without its tests.
const LINE_LIMIT: usize = 300;
/// Files that may be longer, because they are one table or one algorithm.
const LONG_FILES: [&str; 0] = [];

/// All files of `src`, each with its path below it and its text.
fn files() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<_> = sources(&source)
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&file).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let graph = Graph::of(&files());
    assert!(graph.edges().count() > 500, "the imports were found");
    let circles = graph.circles();
    let edges = |circle: &BTreeSet<&str>| {
        let inside = graph.edges().filter(|(from, to, _)| circle.contains(from) && circle.contains(to));
        inside.map(|(from, to, path)| format!("  {from} -> {to}: {path}")).collect::<Vec<_>>().join("\n")
    };
    let shown: Vec<_> = circles.iter().map(edges).collect();
    assert!(circles.is_empty(), "{} circles of files:\n{}", circles.len(), shown.join("\n\n"));
}

#[test]
fn the_groups_of_serve_import_one_another_as_the_table_says() {
    let table = rows(&page(), "| group of `serve` |");
    let order: Vec<&String> = table.iter().map(|(group, _)| group).collect();
    let mut used = BTreeSet::new();
    let graph = Graph::of(&files());
    for (from, to, path) in graph.edges() {
        let (Some(from), Some(to)) = (group(from), group(to)) else { continue };
        if from == to || from == "mod" {
            continue;
        }
        let (_, allowed) =
            table.iter().find(|(group, _)| group == from).unwrap_or_else(|| panic!("`{from}` is not in the table"));
        assert!(allowed.contains(to), "`serve::{from}` may not import `serve::{to}`: {path}");
        used.insert((from.to_owned(), to.to_owned()));
    }
    for (at, (group, allowed)) in table.iter().enumerate() {
        for other in allowed {
            assert!(order[at + 1..].contains(&other), "`{other}` is not below `{group}` in the table");
            assert!(used.contains(&(group.clone(), other.clone())), "`{group}` does not import `{other}`");
        }
    }
    assert!(used.len() > 20, "the imports were found: {used:?}");
}

/// The group of a file of `serve`: its directory there, or its own name.
fn group(file: &str) -> Option<&str> {
    file.strip_prefix("serve/")?.split('/').next().map(|name| name.trim_end_matches(".rs"))
}

#[test]
fn no_type_name_has_two_meanings() {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in files() {
        for line in product(&text).lines().filter(|line| !line.starts_with("    type ")) {
            if let Some(name) = defined(line.trim()) {
                types.entry(name.to_owned()).or_default().push(file.clone());
            }
        }
    }
    assert!(types.len() > 300, "the types were found: {}", types.len());
    types.retain(|name, files| files.len() > 1 && !SHARED_NAMES.contains(&name.as_str()));
    assert!(types.is_empty(), "{} type names are defined more than once: {types:#?}", types.len());
}

/// The name of the type that a line defines.
fn defined(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let (kind, rest) = line.split_once(' ')?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (matches!(kind, "struct" | "enum" | "trait" | "type") && end > 0).then(|| &rest[..end])
}

#[test]
fn comments_are_sentences() {
    let mut found = Vec::new();
    for (file, text) in files() {
        let mut before = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let begins =
                !before.starts_with("//") || before.ends_with(['.', ':']) || before.trim_matches(['/', '!']).is_empty();
            if begins && is_telegraphic(line) {
                found.push(format!("{file}: {line}"));
            }
            before = line;
        }
    }
    assert!(found.len() < TELEGRAPHIC_LIMIT, "{} comments may be fragments:\n{}", found.len(), found.join("\n"));
}

/// True for a comment that begins as fragments do.
fn is_telegraphic(line: &str) -> bool {
    const WORDS: [&str; 9] = ["What", "Whatever", "Who", "Whom", "Whose", "Whoever", "How", "Whether", "Nobody"];
    let Some(comment) = line.strip_prefix("//") else { return false };
    let word = comment.trim_start_matches(['/', '!']).split_whitespace().next().unwrap_or_default();
    WORDS.contains(&word) || word == "Somebody"
}

#[test]
fn fragments_are_told_from_sentences() {
    for line in ["/// What it is.", "//! Who asks.", "// Nobody waits.", "/// How"] {
        assert!(is_telegraphic(line), "{line}");
    }
    for line in ["/// The address.", "let x = 1; // What", "// Whatsoever it is.", "//"] {
        assert!(!is_telegraphic(line), "{line}");
    }
    assert_eq!(defined("pub(crate) struct Name<'a> {"), Some("Name"));
    assert_eq!(defined("pub enum Name;"), Some("Name"));
    assert_eq!(defined("let type_of = struct_of;"), None);
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for (file, text) in files() {
        // The tests are at the end of a file.
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > LINE_LIMIT && !LONG_FILES.contains(&file.as_str()) {
            long.push(format!("{file}: {lines}"));
        }
    }
    assert!(long.is_empty(), "files that answer more than one question: {long:?}");
}
