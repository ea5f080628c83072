//! The help of every command is kept in a file, so that each change of a help shows in a diff.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::appliance::{TRACKING_ARN, command, full_binary, instance_binary, run};

/// The directory with one file for each help.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/help")
}

/// The help of a command, without a terminal.
#[track_caller]
fn help(path: &[String]) -> String {
    let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let output = run(&words, &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{path:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help lists.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A line that is indented further continues the line before.
    let named = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(Into::into).collect()
}

/// All commands, with their helps.
fn all() -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    // `generate` is for packagers, and hidden from the list of commands.
    let mut waiting = vec![vec![], vec!["generate".to_owned()]];
    while let Some(path) = waiting.pop() {
        let text = help(&path);
        waiting.extend(listed(&text).into_iter().map(|name| path.iter().cloned().chain([name]).collect()));
        if text.contains("      --help-all\n") {
            let output = run(&[&path[0], "--help-all"], &[]);
            let full = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && full.lines().count() > text.lines().count(), "{path:?}: {full}");
            found.push((vec![path[0].clone(), "all".to_owned()], full));
        }
        found.push((path, text));
    }
    found
}

/// All commands, with the helps that `--help` prints.
fn commands() -> Vec<(Vec<String>, String)> {
    all().into_iter().filter(|(path, _)| path.last().is_none_or(|last| last != "all")).collect()
}

#[test]
fn every_help_is_the_one_that_was_reviewed() {
    let update = std::env::var_os("APPLIANCE_TEST_UPDATE").is_some();
    let directory = kept();
    let mut names = BTreeSet::new();
    for (path, text) in all() {
        let name = format!("{}.txt", [&["appliance".to_owned()], path.as_slice()].concat().join("-"));
        let file = directory.join(&name);
        if update {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let known = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            known == text,
            "{} is not what is printed; read it, then `APPLIANCE_TEST_UPDATE=1 cargo test --test it help::`:\n{text}",
            file.display()
        );
        names.insert(name);
    }
    assert!(names.len() > 20, "{names:?}");
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "there is no command for {name}; remove it");
    }
}

#[test]
fn the_help_for_instances_shows_only_commands_that_it_lists() {
    let output = Command::new(instance_binary()).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let commands = listed(&text);
    let examples: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  appliance ")).collect();
    assert!(commands.len() >= 5 && examples.len() >= 5, "{text}");
    for example in examples {
        assert!(commands.iter().any(|command| example.starts_with(&format!("{command} "))), "{example}: {commands:?}");
    }
    // The list leaves it out where it is there as well.
    let generate = Command::new(instance_binary()).args(["generate", "--help"]).output().unwrap();
    assert_eq!(text.contains("appliance generate"), generate.status.success(), "{text}");
}

#[test]
fn every_help_has_usage_examples_and_exit_codes() {
    for (path, text) in commands() {
        for part in ["\nUsage: appliance", "\nExamples:\n  ", "\nExit codes: 0 "] {
            assert!(text.contains(part), "{path:?} has no {part:?}:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{path:?}: colours are for terminals");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{path:?}:\n{text}");
        let short: Vec<&str> = path.iter().map(String::as_str).chain(["-h"]).collect();
        let short = String::from_utf8(run(&short, &[]).stdout).unwrap();
        assert!(short.lines().count() <= text.lines().count(), "{path:?}: the short help is the shorter one");
    }
}

#[test]
fn no_color_and_clicolor_force_decide_about_colours() {
    let escapes = |variables: &[(&str, &str)]| {
        let help = run(&["--help"], variables).stdout;
        let usage = run(&["nonsense"], variables);
        assert_eq!(usage.status.code(), Some(2));
        let error = run(&["serve", "--listen", "x"], variables);
        let check = run(&["check", "--offline", "--resource-arn", TRACKING_ARN, "--listen", "127.0.0.1:0"], variables);
        [help, usage.stderr, error.stderr, check.stdout].map(|text| text.contains(&0x1b))
    };
    assert_eq!(escapes(&[]), [false; 4], "this is no terminal");
    assert_eq!(escapes(&[("CLICOLOR_FORCE", "1")]), [true; 4]);
    assert_eq!(escapes(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), [false; 4]);
}

#[test]
fn wrong_usage_gets_a_hint() {
    for (words, hint) in [
        (&["serv"][..], "'serve'"),
        (&["serve", "--listn", "x"], "'--listen'"),
        (&["token", "lst"], "'list'"),
        (&["token", "new", "--file", "x"], "--name <NAME>"),
        (&[], "Usage: appliance <COMMAND>"),
    ] {
        let output = run(words, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(hint), "{words:?}: {said}");
    }
}

#[test]
fn every_error_has_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none/tokens.toml");
    let missing = missing.to_str().unwrap();
    for (words, code) in [
        (&["token", "list", "--file", missing][..], 78),
        (&["token", "revoke", "--file", missing, "ci"], 1),
        (&["token", "new", "--file", missing, "--name", "ci", "--role", "read"], 1),
        (&["token", "new", "--file", missing, "--name", "?", "--role", "read"], 2),
        (&["serve"], 78),
        (&["serve", "--config", missing], 78),
        (&["check", "--config", missing], 78),
        (&["assumptions", "--read-only"], 78),
        (&["bootstrap", "status", "--state-directory", missing], 1),
        (&["generate", "man-pages", "/dev/null/man"], 1),
        (&["init", missing], 1),
        (&["targets"], 2),
        (&["targets", "--region", "us-east-1"], 1),
        (&["policy", "--role", "read", "GET", "x"], 2),
        (&["policy", "--deny", "x"], 78),
        (&["healthcheck", "ftp://x"], 2),
        (&["healthcheck", "http://127.0.0.1:1"], 1),
        #[cfg(feature = "deploy")]
        (&["deploy", "plan"], 2),
        #[cfg(feature = "deploy")]
        (&["deploy", "export", "/dev/null/templates"], 1),
        #[cfg(feature = "sandbox")]
        (&["sandbox", "--port", "1"], 78),
    ] {
        if words[0] == "sandbox" && rustix::process::getuid().is_root() {
            continue;
        }
        let output = run(words, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.starts_with("error: "), "{words:?}: {said}");
        assert!(said.contains("\n  hint: ") || said.contains("\n    hint: "), "{words:?}: {said}");
    }
}

#[test]
fn output_for_scripts_is_json() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let file = file.to_str().unwrap();
    let json = |words: &[&str], code: i32| -> serde_json::Value {
        let output = run(words, &[]);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    };
    let new = json(&["token", "new", "--file", file, "--name", "ci", "--role", "write", "--json"], 0);
    let id = new["id"].as_str().unwrap();
    assert_eq!(json(&["token", "list", "--file", file, "--json"], 0)[0]["id"], id);
    assert_eq!(json(&["token", "revoke", "--file", file, id, "--json"], 0)["revoked"][0], id);
    assert_eq!(json(&["check", "--json", "--offline"], 78)["ok"], false);
    assert!(json(&["generate", "options"], 0)["options"].as_array().unwrap().len() > 50);
    let state = directory.path().to_str().unwrap();
    let standing = json(&["bootstrap", "status", "--json", "--state-directory", state], 1);
    assert_eq!((&standing["is_ready"], &standing["instance"]), (&false.into(), &serde_json::Value::Null));
    assert!(standing["state"].as_str().unwrap().contains("not configured itself"), "{standing}");
    #[cfg(feature = "deploy")]
    assert!(json(&["deploy", "cost", "--json"], 0)["sum"].as_f64().unwrap() > 10.0);
}

/// Writes the completions of a shell into a file, and makes the shell parse it.
fn parsed_by(shell: &str, judge: &[&str]) {
    let output = run(&["generate", "completions", shell], &[]);
    assert!(output.status.success() && !output.stdout.is_empty(), "{shell}");
    for name in ["serve", "bootstrap", "otlp-endpoint", "body-timeout", "man-pages"] {
        assert!(String::from_utf8_lossy(&output.stdout).contains(name), "{shell} completes {name}");
    }
    let Some((program, arguments)) = judge.split_first() else { return };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&output.stdout).unwrap();
    let judged = Command::new(program).args(arguments).arg(file.path()).output();
    let judged = judged.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(judged.status.success() && judged.stderr.is_empty(), "{shell}: {judged:?}");
}

#[test]
fn bash_parses_its_completions() {
    parsed_by("bash", &["bash", "-n"]);
    // Elvish parses completions only at a terminal, and Debian has no PowerShell.
    parsed_by("elvish", &[]);
    parsed_by("powershell", &[]);
}

#[test]
#[ignore = "needs tests/run: zsh and fish"]
fn the_other_shells_parse_their_completions() {
    parsed_by("zsh", &["zsh", "-n"]);
    parsed_by("fish", &["fish", "--no-execute"]);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    for words in [&["generate", "completions", "bash"][..], &["generate", "reference"], &["generate", "options"]] {
        let mut child = command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let script = format!(
        "source <('{}' generate completions bash)\n\
         COMP_WORDS=(appliance de); COMP_CWORD=1; _appliance appliance de appliance; echo \"${{COMPREPLY[*]}}\"\n\
         COMP_WORDS=(appliance serve --otlp-e); COMP_CWORD=2; _appliance appliance --otlp-e serve; echo \"${{COMPREPLY[*]}}\"",
        full_binary().display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let expected = if cfg!(feature = "deploy") { "deploy\n--otlp-endpoint\n" } else { "\n--otlp-endpoint\n" };
    assert_eq!(shown, expected, "{}", String::from_utf8_lossy(&output.stderr));
}

/// The options whose values the shells know, each with its command and its values.
const CHOICES: [(&[&str], &str, &str); 9] = [
    (&["token", "new"], "--role", "admin read write"),
    (&["policy"], "--role", "admin read write"),
    (&["serve"], "--anonymous-role", "admin read write"),
    (&["serve"], "--log-format", "json text"),
    (&["serve"], "--artifact-access", "multipart presigned-only proxied"),
    (&["serve"], "--artifact-elsewhere", "allow refuse"),
    (&["serve"], "--role-caller", "session-tag source-identity"),
    (&["serve"], "--tls-client-certificate", "optional required"),
    (&["check"], "--upstream-http2", "false true"),
];

/// The words of an output in order.
fn sorted(output: &str) -> String {
    let mut words: Vec<_> = output.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

#[test]
fn bash_completes_values_and_offers_files_only_for_files() {
    // There is a file, which must not be offered for a role or a duration.
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a-file"), "").unwrap();
    let complete = |path: &[&str], option: &str| {
        let words = [&["appliance"], path, &[option, "''"]].concat();
        let script = format!(
            "source <('{}' generate completions bash)\n\
             COMP_WORDS=({}); COMP_CWORD={}; _appliance appliance '' {option}; echo \"${{COMPREPLY[*]}}\"",
            full_binary().display(),
            words.join(" "),
            words.len() - 1
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(directory.path()).output().unwrap();
        sorted(&String::from_utf8(output.stdout).unwrap())
    };
    for (path, option, values) in CHOICES {
        assert_eq!(complete(path, option), values, "{path:?} {option}");
    }
    assert_eq!(complete(&["serve"], "--tokens"), "a-file");
    assert_eq!(complete(&["token", "new"], "--file"), "a-file");
    assert_eq!(complete(&["serve"], "--drain-timeout"), "");
}

#[test]
#[ignore = "needs tests/run: zsh and fish"]
fn zsh_and_fish_complete_values() {
    let completions = |shell: &str| String::from_utf8(run(&["generate", "completions", shell], &[]).stdout).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.fish");
    fs::write(&file, completions("fish")).unwrap();
    let zsh = completions("zsh");
    for (path, option, values) in CHOICES {
        let line = [&["appliance"], path, &[option, ""]].concat().join(" ");
        let script = format!("source {}; complete --do-complete '{line}'", file.display());
        let output = Command::new("fish").args(["--no-config", "-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let offered: Vec<_> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(sorted(&offered.join(" ")), values, "{path:?} {option}");
        // zsh completes only at a terminal, so this looks at what its function offers.
        let offers = |line: &&str| {
            let offered = line.rsplit_once(":(").and_then(|(_, rest)| rest.split(')').next());
            line.contains(&format!("'{option}=")) && offered.is_some_and(|offered| sorted(offered) == values)
        };
        assert!(zsh.lines().any(|line| offers(&line)), "{path:?} {option}: {zsh}");
    }
}

/// Writes the man pages into a directory, and returns their names.
fn man_pages(directory: &Path) -> BTreeSet<String> {
    assert!(command(&["generate", "man-pages"]).arg(directory).status().unwrap().success());
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_command_has_a_man_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man");
    let names = man_pages(&pages);
    // Hidden commands have no page.
    let expected = commands().into_iter().filter(|(path, _)| path.first().is_none_or(|first| first != "generate"));
    for (path, _) in expected {
        let name = format!("{}.1", [&["appliance".to_owned()], path.as_slice()].concat().join("-"));
        let text = fs::read_to_string(pages.join(&name)).unwrap_or_else(|error| panic!("{name} of {names:?}: {error}"));
        let options = ["serve", "check"].contains(&path.last().map_or("", String::as_str));
        assert!(!options || text.contains("body\\-timeout"), "{name} has the advanced options: {text}");
        let variables = text.contains(".SH ENVIRONMENT\n") && text.contains("\\fBAPPLIANCE_LISTEN\\fR");
        assert!(!options || variables, "{name} has the variables: {text}");
        assert!(text.is_ascii() && !text.contains("EXTRA"), "{name}");
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLES\n.RS 2\n.nf\n", ".SH \"EXIT STATUS\"\n0 "] {
            assert!(text.contains(part), "{name} has no {part}: {text}");
        }
    }
}

#[test]
#[ignore = "needs tests/run: mandoc and groff"]
fn mandoc_and_groff_accept_the_man_pages() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man");
    for name in man_pages(&pages) {
        for judge in [&["mandoc", "-T", "lint", "-W", "error"][..], &["groff", "-man", "-T", "utf8", "-ww", "-z"]] {
            let judged = Command::new(judge[0]).args(&judge[1..]).arg(pages.join(&name)).output();
            let judged = judged.unwrap_or_else(|error| panic!("{}: {error}", judge[0]));
            assert!(judged.status.success() && judged.stderr.is_empty(), "{name}: {judged:?}");
        }
        // The one warning that is meant: a date would make each build another one.
        let judged =
            Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(pages.join(&name)).output().unwrap();
        let said = String::from_utf8(judged.stdout).unwrap();
        let others: Vec<_> = said.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
}

#[test]
#[ignore = "needs tests/run: mandoc and groff"]
fn the_examples_of_a_man_page_can_be_copied() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man");
    man_pages(&pages);
    for (program, arguments) in
        [("mandoc", &["-T", "utf8", "-O", "width=60"][..]), ("groff", &["-man", "-T", "utf8", "-P-c"])]
    {
        let output = Command::new(program).args(arguments).arg(pages.join("appliance-policy.1")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line =
            r#"appliance policy --role read POST /graphql \ --data '{"query": "{ mlflowGetRun { __typename } }"}'"#;
        let shown = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        assert!(shown.contains(line), "{program}: {text}");
    }
}
