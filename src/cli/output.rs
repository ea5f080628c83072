//! The output of all commands: messages for people on standard error, and results on standard output.
//!
//! SECURITY: others wrote much of that text: reasons and outputs of CloudFormation, error messages of AWS and MLflow,
//! tags, the output of an installer. A terminal obeys some characters instead of showing them: they move the cursor over
//! earlier lines, set the title or the clipboard, or reverse the order of letters. All text passes this file on its way to
//! a terminal, so this file removes those characters.

use std::borrow::Cow;
use std::io::{self, Write as _};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};

const RED: &str = "1;31";
const GREEN: &str = "1;32";
const YELLOW: &str = "1;33";
const CYAN: &str = "1;36";
const GREY: &str = "2";

/// True if a stream is to have colours: by NO_COLOR, CLICOLOR and CLICOLOR_FORCE, otherwise on a terminal.
#[must_use]
pub(super) fn is_coloured(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

fn coloured(text: &str, colour: &str) -> String {
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// The text with the labels of its lines in colour, such as `error:`.
fn with_labels(text: &str) -> String {
    const LABELS: [(&str, &str); 3] = [("error:", RED), ("warning:", YELLOW), ("hint:", CYAN)];
    let line = |line: &str| {
        let start = line.trim_start();
        let found = LABELS.into_iter().find(|(label, _)| start.starts_with(label));
        found.map_or_else(|| line.to_owned(), |(label, colour)| line.replacen(label, &coloured(label, colour), 1))
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// True for the characters that a terminal obeys: the control characters of ASCII and of Latin-1 (C0, DEL, C1), line separators that are
/// not `\n`, and the characters that change the direction of text (Unicode Standard Annex #9).
fn is_obeyed(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// The text without the characters that a terminal obeys. Line breaks stay, because messages have several lines.
#[must_use]
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(is_obeyed) { Cow::Owned(text.replace(is_obeyed, "")) } else { Cow::Borrowed(text) }
}

/// Foreign text as one line, so that it cannot pretend to be several.
#[cfg(any(feature = "deploy", feature = "sandbox", test))]
#[must_use]
pub(super) fn one_line(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Prints a message to standard error.
#[expect(clippy::print_stderr, reason = "messages are for people")]
pub(super) fn say(message: &str) {
    let message = plain(message);
    if is_coloured(&io::stderr()) { eprintln!("{}", with_labels(&message)) } else { eprintln!("{message}") }
}

/// Prints a message to standard error, with the part after `lead` in a colour if standard error has colours.
#[cfg(feature = "deploy")]
#[expect(clippy::print_stderr, reason = "messages are for people")]
pub(super) fn say_coloured(lead: &str, text: &str, colour: &str) {
    let (lead, text) = (plain(lead), plain(text));
    if is_coloured(&io::stderr()) { eprintln!("{lead}{}", coloured(&text, colour)) } else { eprintln!("{lead}{text}") }
}

/// Asks a question. The answer is typed on the same line.
#[cfg(any(feature = "assumptions", feature = "deploy"))]
#[expect(clippy::print_stderr, reason = "questions are for people")]
pub(super) fn ask(question: &str) {
    eprint!("{} ", plain(question));
    drop(io::stderr().flush());
}

/// Prints an outcome and its description to standard output: the outcome in a column of its own, and in its colour.
pub(super) fn show_outcome(outcome: &str, description: &str) {
    let (word, description) = (format!("{outcome:8}"), plain(description));
    let line = if is_coloured(&io::stdout()) {
        let colour = match outcome.trim_end() {
            "ok" | "holds" => GREEN,
            "warning" => YELLOW,
            "failure" | "does not hold" => RED,
            _ => GREY,
        };
        format!("{} {}\n", coloured(&word, colour), with_labels(&description))
    } else {
        format!("{word} {description}\n")
    };
    drop(try_write(line.as_bytes()));
}

/// Prints a result to standard output. A reader that closes the pipe does not want more.
pub(super) fn show(line: &str) {
    drop(try_show(line));
}

/// Prints a result that must not get lost.
///
/// # Errors
/// The result cannot be written. A closed pipe is no error.
pub(super) fn try_show(line: &str) -> io::Result<()> {
    try_write(format!("{}\n", plain(line)).as_bytes())
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// The bytes cannot be written. A closed pipe is no error.
pub(super) fn try_write(file: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    match stdout.write_all(file).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A JSON document on one line. The characters that a terminal obeys are escaped as JSON allows, so nothing is lost.
#[must_use]
pub(super) fn document(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if !text.contains(is_obeyed) {
        return text;
    }
    // Outside of strings, JSON has no such characters.
    let escaped = |character| match character {
        obeyed if is_obeyed(obeyed) => format!("\\u{:04x}", u32::from(obeyed)),
        other => String::from(other),
    };
    text.chars().map(escaped).collect()
}

/// Prints a JSON document to standard output.
pub(super) fn show_document(value: &serde_json::Value) {
    show(&document(value));
}

/// A word for a POSIX shell that means exactly this text.
#[cfg(any(feature = "assumptions", feature = "deploy", feature = "sandbox", test))]
#[must_use]
pub(super) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_lines_are_coloured() {
        let text = with_labels("error: no hint: here\n  hint: do this\nthe hint: no");
        assert_eq!(
            text,
            "\u{1b}[1;31merror:\u{1b}[0m no hint: here\n  \u{1b}[1;36mhint:\u{1b}[0m do this\nthe hint: no"
        );
    }

    #[test]
    fn no_character_reaches_a_terminal_that_it_would_obey() {
        for (text, expected) in [
            ("plain\n  text\twith ümläuts, 日本語 and 🙂", "plain\n  text\twith ümläuts, 日本語 and 🙂"),
            ("\u{1b}[2J\u{1b}[1;1Hgone", "[2J[1;1Hgone"),
            ("\u{1b}]0;title\u{7}x", "]0;titlex"),
            ("a\u{9b}31mb\u{9d}52;c;eA==\u{9c}", "a31mb52;c;eA=="),
            ("over\rwritten\u{8}\u{7f}\0", "overwritten"),
            ("\u{202e}txt.exe\u{2066}\u{200f}\u{61c}\u{2028}", "txt.exe"),
        ] {
            assert_eq!(plain(text), expected);
            let value = serde_json::json!({ "text": text });
            let line = document(&value);
            assert!(!line.contains(is_obeyed) && !line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect(&line), value, "nothing is lost");
        }
        assert_eq!(one_line("a\n  export X=1\r\n\u{2028}b"), "a export X=1 b");
    }

    #[test]
    fn a_shell_reads_one_word() {
        for text in ["", "a b", "it's", "$(id)`id`;id\n", "'; id; '", "\\'"] {
            let line = format!("printf %s {}", shell_word(text));
            let output = std::process::Command::new("sh").args(["-c", &line]).output().expect("there is a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        }
    }
}
