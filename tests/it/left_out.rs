//! `tests/run` leaves out a test only where the machine lacks what the test needs, and names it as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs and rights that a machine may lack. `tests/run` installs or builds everything else that a test needs.
const OPTIONAL: [&str; 5] = ["R 4.1", "a JDK", "mount namespaces", "root", "an address beside the loopback one"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tests of this program, as `--skip` compares them: module and name.
fn tests() -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(ToOwned::to_owned).collect()
}

/// The beginnings of names that `tests/run` passes to `--skip`.
fn left_out() -> Vec<String> {
    let runner = fs::read_to_string(root().join("tests/run")).unwrap();
    let names = runner.split("leave_out ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    names.map(ToOwned::to_owned).collect()
}

fn sources(directory: PathBuf, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// The functions whose reason to be ignored names something that a machine may lack.
fn optional() -> Vec<String> {
    let (mut texts, mut found) = (Vec::new(), Vec::new());
    sources(root().join("tests/it"), &mut texts);
    for text in &texts {
        for rest in text.split("#[ignore = \"needs tests/run: ").skip(1) {
            let (reason, rest) = rest.split_once('"').unwrap();
            if OPTIONAL
                .iter()
                .any(|need| reason.split(", ").any(|part| part.trim_start_matches("and ").starts_with(need)))
            {
                let (_, function) = rest.split_once("fn ").unwrap();
                found.push(function.split('(').next().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn each_test_that_is_left_out_exists_and_each_that_needs_more_is_left_out() {
    let (tests, left_out, optional) = (tests(), left_out(), optional());
    assert!(tests.len() > 300 && left_out.len() > 4 && optional.len() >= 9, "{left_out:?} {optional:?}");
    for name in &left_out {
        assert!(tests.iter().any(|test| test.contains(name.as_str())), "tests/run leaves out `{name}`: no such test");
    }
    for function in &optional {
        let ending = format!("::{function}");
        let test = tests.iter().find(|test| test.ends_with(&ending)).unwrap();
        let is_named = left_out.iter().any(|name| test.contains(name.as_str()));
        assert!(is_named, "`{test}` needs what a machine may lack, and tests/run never leaves it out");
    }
}
