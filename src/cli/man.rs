//! Man pages: those of clap_mangen, with sections of their own for variables, examples and exit codes.
//!
//! clap_mangen prints the text after the help as one paragraph, which breaks the examples; so it gets pages without it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

/// Writes a page for each command that help lists.
pub(super) fn generate(grammar: Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut grammar = grammar.disable_help_subcommand(true);
    grammar.build();
    below(&grammar, directory)
}

fn below(command: &Command, directory: &Path) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        below(inner, directory)?;
    }
    let man = Man::new(command.clone());
    fs::write(directory.join(man.get_filename()), page(&man, command)?)
}

fn page(man: &Man, command: &Command) -> io::Result<String> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let version = command.get_version().unwrap_or_default();
    // Hyphens at the end of a line would be copied with an option. There is no date, so that a build can be reproduced.
    let title =
        format!(".TH {} 1 \"\" \"appliance {version}\" \"User Commands\"\n.nh\n", escaped(&name.to_uppercase()));
    let mut page = title.into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|inner| !inner.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut text = String::from_utf8_lossy(&page).into_owned();
    environment(&mut text, command);
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    rest(&mut text, &after);
    let mut version = Vec::new();
    man.render_version_section(&mut version)?;
    text.push_str(&String::from_utf8_lossy(&version));
    Ok(portable(&text))
}

/// The text in ASCII, because roff reads bytes, without blanks at the ends of lines and without breaks beside blank lines.
fn portable(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    let is_needed = |at: usize| {
        let beside = [at.checked_sub(1), Some(at + 1)];
        let is_blank =
            |at: Option<usize>| at.and_then(|at| lines.get(at)).is_some_and(|line| line.is_empty() || *line == ".sp");
        lines[at] != ".br" || !beside.into_iter().any(is_blank)
    };
    let kept = (0..lines.len()).filter(|at| is_needed(*at)).map(|at| lines[at].to_owned() + "\n");
    let ascii = |one: char| if one.is_ascii() { one.to_string() } else { format!("\\[u{:04X}]", u32::from(one)) };
    kept.collect::<String>().chars().map(ascii).collect()
}

/// The variables that set options.
fn environment(text: &mut String, command: &Command) {
    let mut is_first = true;
    for argument in command.get_arguments() {
        let (Some(variable), Some(option)) = (argument.get_env(), argument.get_long()) else { continue };
        if std::mem::take(&mut is_first) {
            text.push_str(".SH ENVIRONMENT\nFlags win over variables.\n");
        }
        let _ = writeln!(
            text,
            ".TP\n\\fB{}\\fR\nThe value of \\fB{}\\fR.",
            escaped(&variable.to_string_lossy()),
            escaped(&format!("--{option}"))
        );
    }
}

/// The parts of the text after the help: examples, notes, exit codes.
fn rest(text: &mut String, after: &str) {
    let mut has_notes = false;
    for part in after.split("\n\n") {
        if let Some(examples) = part.strip_prefix("Examples:\n") {
            text.push_str(".SH EXAMPLES\n");
            verbatim(text, examples);
        } else if let Some(codes) = part.strip_prefix("Exit codes: ") {
            let _ = writeln!(text, ".SH \"EXIT STATUS\"\n{}", escaped(codes));
        } else {
            text.push_str(if std::mem::replace(&mut has_notes, true) { ".PP\n" } else { ".SH NOTES\n" });
            // Lines that are indented are to be copied.
            match part.split_once(":\n  ") {
                Some((sentence, lines)) => {
                    let _ = writeln!(text, "{}:", escaped(sentence));
                    verbatim(text, &format!("  {lines}"));
                }
                None => {
                    let _ = writeln!(text, "{}", escaped(&part.replace('\n', " ")));
                }
            }
        }
    }
}

/// Lines as they are, so that they can be copied.
fn verbatim(text: &mut String, lines: &str) {
    text.push_str(".RS 2\n.nf\n");
    for line in lines.lines() {
        let _ = writeln!(text, "{}", escaped(line.strip_prefix("  ").unwrap_or(line)));
    }
    text.push_str(".fi\n.RE\n");
}

/// Text in which roff sees no request and no typographic character.
fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 8);
    if text.starts_with(['.', '\'']) {
        result.push_str("\\&");
    }
    for character in text.chars() {
        match character {
            '\\' => result.push_str("\\e"),
            '-' => result.push_str("\\-"),
            '\'' => result.push_str("\\(aq"),
            '`' => result.push_str("\\(ga"),
            '~' => result.push_str("\\(ti"),
            '^' => result.push_str("\\(ha"),
            other => result.push(other),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_variables_and_examples_that_can_be_copied() {
        let command = Command::new("a")
            .version("1")
            .about("Do it")
            .arg(clap::Arg::new("file").long("the-file").env("A_FILE").help("The file"));
        let command = command
            .after_help("Examples:\n  a --the-file 'x y' | jq '.[]'\n  .hidden\n\nA note.\n\nExit codes: 0 well");
        let page = page(&Man::new(command.clone()), &command).expect("memory");
        for part in [
            ".SH ENVIRONMENT\nFlags win over variables.\n.TP\n\\fBA_FILE\\fR\nThe value of \\fB\\-\\-the\\-file\\fR.\n",
            ".SH EXAMPLES\n.RS 2\n.nf\na \\-\\-the\\-file \\(aqx y\\(aq | jq \\(aq.[]\\(aq\n\\&.hidden\n.fi\n.RE\n",
            ".SH NOTES\nA note.\n",
            ".SH \"EXIT STATUS\"\n0 well\n",
            ".SH VERSION\nv1\n",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }
}
