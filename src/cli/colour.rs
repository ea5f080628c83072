//! Whether what is written may be in colour.

use std::io::IsTerminal;

/// True if it is wanted: by whoever says so, else on a terminal that knows how. What clap goes by as well.
#[must_use]
pub(super) fn is_wanted(stream: &impl IsTerminal) -> bool {
    decide(|name| std::env::var(name).ok(), || stream.is_terminal())
}

/// By <https://no-color.org> and <https://bixense.com/clicolors/>.
fn decide(variable: impl Fn(&str) -> Option<String>, is_terminal: impl FnOnce() -> bool) -> bool {
    let said = |name: &str| variable(name).filter(|text| !text.is_empty());
    if said("NO_COLOR").is_some() {
        return false;
    }
    if said("CLICOLOR_FORCE").is_some_and(|text| text != "0") {
        return true;
    }
    let is_unwanted = said("CLICOLOR").is_some_and(|text| text == "0");
    let is_dumb = said("TERM").is_some_and(|text| text == "dumb");
    !is_unwanted && !is_dumb && is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_something_is_obeyed() {
        for (variables, on_terminal, elsewhere) in [
            (&[][..], true, false),
            (&[("NO_COLOR", "1")], false, false),
            (&[("NO_COLOR", "")], true, false),
            (&[("CLICOLOR_FORCE", "1")], true, true),
            (&[("CLICOLOR_FORCE", "0")], true, false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false, false),
            (&[("CLICOLOR", "0")], false, false),
            (&[("CLICOLOR", "1")], true, false),
            (&[("TERM", "dumb")], false, false),
            (&[("TERM", "xterm")], true, false),
        ] {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, text): &(&str, &str)| (*text).to_owned())
            };
            assert_eq!(decide(variable, || true), on_terminal, "{variables:?}");
            assert_eq!(decide(variable, || false), elsewhere, "{variables:?}");
        }
    }
}
