//! The source is built as it says: imports point one way, and the oracle does not know the signer.

mod files;
mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The page with the tables that the source is held to.
fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/internals/architecture.md")).unwrap()
}

/// The rows of the table with this head: a name, and the names that its part may import.
fn rows(page: &str, head: &str) -> Vec<(String, BTreeSet<String>)> {
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect::<BTreeSet<_>>();
    let rows = page.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.split('|').collect();
        (names(cells[1]).pop_first().expect("a row has a name"), names(cells[2]))
    });
    rows.collect()
}

/// Each part of `src/`, and the parts that it may import, by the table in docs/internals/architecture.md.
fn layers() -> BTreeMap<String, BTreeSet<String>> {
    rows(&page(), "| part |").into_iter().collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The parts that a file imports with `crate::`, each with the line that does.
fn imports(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            // `crate::{a, b::c}` names several parts, `crate::a::{b, c}` one.
            let names = match rest.strip_prefix('{') {
                Some(group) => group.split(',').collect(),
                None => vec![rest],
            };
            for name in names {
                let part: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.push((part, line.trim().to_owned()));
            }
        }
    }
    found
}

#[test]
fn imports_point_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers = layers();
    let mut used = BTreeSet::new();
    let mut checked = 0;
    for file in sources(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        let part = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if part == "lib" {
            continue;
        }
        let allowed = layers
            .get(&part)
            .unwrap_or_else(|| panic!("`{part}` is not in the table of docs/internals/architecture.md"));
        for (imported, line) in imports(&fs::read_to_string(&file).unwrap()) {
            let is_fine = imported == part || allowed.contains(&imported);
            assert!(is_fine, "{}: `{part}` may not import `{imported}`: {line}", inside.display());
            checked += 1;
            used.insert((part.clone(), imported));
        }
    }
    // `main` is another crate, which sees the library by its name.
    for (part, allowed) in layers.iter().filter(|(part, _)| *part != "main") {
        let unused: Vec<_> = allowed.iter().filter(|other| !used.contains(&(part.clone(), (*other).clone()))).collect();
        assert!(unused.is_empty(), "docs/internals/architecture.md lets `{part}` import {unused:?}, which it does not");
    }
    assert!(checked > 50, "the imports were found: {checked}");
}

#[test]
fn the_verifier_shares_no_code_with_the_signer() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox");
    for file in sources(&source) {
        let text = fs::read_to_string(&file).unwrap();
        for forbidden in ["crate::aws::sigv4", "aws_sigv4", "crate::http::uri"] {
            assert!(!text.contains(forbidden), "{}: the oracle must not use `{forbidden}`", file.display());
        }
    }
}

#[test]
fn only_the_command_line_touches_the_environment_the_terminal_and_the_exit_code() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        if inside.starts_with("cli") || inside == Path::new("main.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for forbidden in ["env::var", "env::args", "println!", "eprintln!", "process::exit", "clap::"] {
            assert!(!text.contains(forbidden), "{}: `{forbidden}` belongs to `cli`", inside.display());
        }
    }
}

#[test]
fn the_library_needs_no_file_of_the_repository() {
    // A package's source has no pages and no tests, and the library's own tests run there as well.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in sources(&root.join("src")).into_iter().chain([root.join("build.rs")]) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("CARGO_MANIFEST_DIR"), "{}: a test of files belongs to tests/it", file.display());
    }
}

#[test]
fn texts_of_every_binary_name_no_command_that_the_server_binary_lacks() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    for file in sources(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        // The commands themselves, and the helps, which tests in `cli/examples` read with each set of features.
        let owners = ["deploy", "sandbox", "cli/deploy", "cli/sandbox", "cli/generate.rs", "cli/examples"];
        if owners.iter().any(|owner| inside.starts_with(owner)) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for command in ["appliance deploy", "appliance generate", "appliance sandbox"] {
                assert!(!line.contains(command), "{}: not every binary has `{command}`: {line}", inside.display());
            }
        }
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
}
