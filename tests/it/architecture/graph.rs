//! The graph of source files: which file imports which.

use std::collections::{BTreeMap, BTreeSet};

/// For each file the files that it imports, each with the path that does.
pub(super) struct Graph(BTreeMap<String, BTreeMap<String, String>>);

impl Graph {
    /// Reads files, each with its path below `src` and its text.
    pub(super) fn of(files: &[(String, String)]) -> Self {
        let modules: BTreeMap<Vec<String>, &str> =
            files.iter().map(|(file, _)| (module(file), file.as_str())).collect();
        let edges = files.iter().map(|(file, text)| (file.clone(), imports(&modules, file, &product(text))));
        Self(edges.collect())
    }

    /// All imports, as (importing file, imported file, path).
    pub(super) fn edges(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0
            .iter()
            .flat_map(|(from, all)| all.iter().map(move |(to, path)| (from.as_str(), to.as_str(), path.as_str())))
    }

    /// The files that import one another, in groups.
    pub(super) fn circles(&self) -> Vec<BTreeSet<&str>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            self.0.keys().map(|file| (file.as_str(), self.reach(file))).collect();
        let mut circles: Vec<BTreeSet<&str>> = Vec::new();
        for (file, reached) in &reach {
            let is_new = !circles.iter().any(|circle| circle.contains(file));
            if is_new && reached.contains(file) {
                circles.push(reached.iter().copied().filter(|other| reach[other].contains(file)).collect());
            }
        }
        circles
    }

    fn reach<'a>(&'a self, file: &str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = self.0[file].keys().map(String::as_str).collect();
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(self.0[file].keys().map(String::as_str));
            }
        }
        reached
    }
}

/// The module of a file, as names from the crate's root.
fn module(file: &str) -> Vec<String> {
    let names = file.trim_end_matches(".rs").trim_end_matches("/mod");
    names.split('/').filter(|name| *name != "lib").map(ToOwned::to_owned).collect()
}

/// The text without comments and without what is compiled for tests only.
pub(super) fn product(text: &str) -> String {
    let lines = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    let mut rest = lines.collect::<Vec<_>>().join("\n");
    let mut kept = String::new();
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = match (item.find('{'), item.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => block(item, open),
            (_, Some(semicolon)) => semicolon + 1,
            _ => item.len(),
        };
        rest = item[end..].to_owned();
    }
    kept + &rest
}

/// The end of the block that opens here. It ends at a brace that is as far to the right as the line on which it opens.
fn block(text: &str, open: usize) -> usize {
    let line = text[..open].rfind('\n').map_or(0, |end| end + 1);
    let indent = text[line..].len() - text[line..].trim_start_matches(' ').len();
    let close = format!("\n{}}}", " ".repeat(indent));
    text[open..].find(&close).map_or(text.len(), |at| open + at + close.len())
}

fn imports(modules: &BTreeMap<Vec<String>, &str>, file: &str, text: &str) -> BTreeMap<String, String> {
    let me = module(file);
    let mut found = BTreeMap::new();
    for path in paths(text) {
        let names: Vec<&str> = path.split("::").collect();
        let Some(mut target) = absolute(modules, &me, &names) else { continue };
        let imported = loop {
            match modules.get(&target) {
                Some(file) => break Some(*file),
                None if target.pop().is_none() => break None,
                None => {}
            }
        };
        if let Some(imported) = imported.filter(|imported| *imported != file && *imported != "lib.rs") {
            found.insert(imported.to_owned(), path);
        }
    }
    found
}

/// The names of a path from the crate's root; nothing if it leads out of the crate.
fn absolute(modules: &BTreeMap<Vec<String>, &str>, me: &[String], names: &[&str]) -> Option<Vec<String>> {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let ups = names.iter().take_while(|name| **name == "super").count();
    match names {
        ["crate", rest @ ..] => Some(own(rest)),
        ["self", rest @ ..] => Some([me, &own(rest)].concat()),
        _ if ups > 0 => Some([&me[..me.len().saturating_sub(ups)], &own(&names[ups..])].concat()),
        [first, ..] => {
            let child = [me, &own(&[first])].concat();
            modules.contains_key(&child).then(|| [me, &own(names)].concat())
        }
        [] => None,
    }
}

/// All paths of at least two names in a text, those of `use` trees written out.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        match statement.rfind("use ").filter(|at| is_use(statement, *at)) {
            Some(at) => {
                rest.push_str(&statement[..at]);
                expand("", statement[at + "use ".len()..].trim_end_matches(';').trim(), &mut found);
            }
            None => rest.push_str(statement),
        }
    }
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    found.extend(rest.split(|c| !is_path(c)).filter(|word| word.contains("::")).map(ToOwned::to_owned));
    found
}

/// True if the word `use` at this place begins a statement.
fn is_use(statement: &str, at: usize) -> bool {
    let line = statement[..at].rsplit('\n').next().unwrap_or_default().trim();
    line.is_empty() || line == "pub" || line.starts_with("pub(")
}

fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or_default().trim();
        let path = format!("{before}{name}");
        found.push(path.trim_end_matches("::self").to_owned());
        return;
    };
    let before = format!("{before}{}", &tree[..open]);
    let inner = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut from) = (0, 0);
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand_some(&before, &inner[from..at], found);
                from = at + 1;
            }
            _ => {}
        }
    }
    // The braces of the last one are cut off with the outer ones.
    let last = format!("{}{}", &inner[from..], "}".repeat(usize::try_from(depth).unwrap_or(0)));
    expand_some(&before, &last, found);
}

fn expand_some(before: &str, tree: &str, found: &mut Vec<String>) {
    if !tree.trim().is_empty() {
        expand(before, tree, found);
    }
}

/// The files of an invented source, for tests of the graph itself.
fn synthetic(files: &[(&str, &str)]) -> Graph {
    Graph::of(&files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    for (a, b) in [
        ("use crate::b::B;", "use crate::a::A;"),
        ("use super::b;", "pub(crate) use super::{\n    a::{self, A as X},\n};"),
        ("use crate::{c::C, b::{one::{Two}, three}};", "fn f() { crate::a::f() }"),
        ("#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nuse crate::b::B;", "type A = super::a::A;"),
    ] {
        let graph = synthetic(&[("a.rs", a), ("b.rs", b), ("c.rs", "use crate::a::A;"), ("lib.rs", "mod a; mod b;")]);
        let circles = graph.circles();
        assert!(circles.iter().any(|circle| circle.contains("a.rs") && circle.contains("b.rs")), "{a} {b} {circles:?}");
    }
    let graph = synthetic(&[("x/mod.rs", "mod child;\nfn f() { child::g() }"), ("x/child.rs", "use super::Settings;")]);
    assert_eq!(graph.circles(), [BTreeSet::from(["x/child.rs", "x/mod.rs"])]);
}

#[test]
fn imports_that_make_no_circle_are_not_taken_for_one() {
    let graph = synthetic(&[
        ("x/mod.rs", "mod child;\nmod other;\npub use child::C;\nuse other::*;"),
        (
            "x/child.rs",
            "use super::other::O;\n// use super::S;\n#[cfg(test)]\nmod tests {\n    use super::super::S;\n}",
        ),
        ("x/other.rs", "use std::fmt;\n#[cfg(test)]\nuse crate::x::child::C;\n"),
    ]);
    assert!(graph.circles().is_empty(), "{:?}", graph.circles());
    assert_eq!(graph.edges().count(), 3);
}
