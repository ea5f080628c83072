//! Lines for people, and lines that were asked for. All that a command prints goes through here.
//!
//! SECURITY: much of it was written by others: reasons and outputs of CloudFormation, error messages of AWS and MLflow,
//! tags, what an installer prints. A terminal obeys some characters instead of showing them: they move the cursor over
//! earlier lines, set the title or the clipboard, or turn the order of letters around. Here is the one place that all
//! text passes on its way to a terminal, so here those characters are taken out.

use std::borrow::Cow;
use std::io::{self, Write as _};

#[cfg(feature = "deploy")]
use super::colour;

/// True for what a terminal obeys: the control characters of ASCII and of Latin-1 (C0, DEL, C1), line separators that are
/// not `\n`, and the characters that change the direction of text (Unicode Standard Annex #9).
fn is_obeyed(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// The text without what a terminal obeys. Line breaks stay, because messages have several lines.
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

/// What is happening; to standard error.
#[expect(clippy::print_stderr, reason = "what is happening is for people")]
pub(super) fn say(line: &str) {
    eprintln!("{}", plain(line));
}

/// The same, the part after `lead` in a colour where there are colours.
#[cfg(feature = "deploy")]
#[expect(clippy::print_stderr, reason = "what is happening is for people")]
pub(super) fn say_coloured(lead: &str, text: &str, colour: &str) {
    let (lead, text) = (plain(lead), plain(text));
    if colour::is_wanted(&io::stderr()) {
        eprintln!("{lead}\u{1b}[{colour}m{text}\u{1b}[0m");
    } else {
        eprintln!("{lead}{text}");
    }
}

/// Asks, on the line on which the answer is typed.
#[cfg(feature = "deploy")]
#[expect(clippy::print_stderr, reason = "a question is for people")]
pub(super) fn ask(question: &str) {
    eprint!("{} ", plain(question));
    drop(io::stderr().flush());
}

/// What was asked for; to standard output. A closed pipe is the reader's decision.
pub(super) fn show(line: &str) {
    drop(try_show(line));
}

/// The same for what must not get lost.
///
/// # Errors
/// When it cannot be written; a closed pipe is no error.
pub(super) fn try_show(line: &str) -> io::Result<()> {
    try_write(format!("{}\n", plain(line)).as_bytes())
}

/// Writes a file of our own to standard output.
///
/// # Errors
/// When it cannot be written; a closed pipe is no error.
pub(super) fn try_write(file: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    match stdout.write_all(file).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A document that was asked for, on one line. What a terminal obeys is escaped as JSON allows, so nothing of it is lost.
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

/// Shows a document that was asked for.
pub(super) fn show_document(value: &serde_json::Value) {
    show(&document(value));
}

/// A word for a POSIX shell that means exactly this text.
#[cfg(any(feature = "deploy", feature = "sandbox", test))]
#[must_use]
pub(super) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_nothing_to_obey() {
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
