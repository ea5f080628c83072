//! The progress of stacks on standard error, and the questions to the person at the terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::api::cloudformation::StackEvent;
use crate::api::service::Delay;
use crate::cli::consent::{self, answer};
use crate::cli::output::{ask, one_line, say, say_coloured};
use crate::deploy::{DiffLine, Prompter, Weight};
use crate::error_chain::joined;

/// The terminal of the person who runs the command.
pub(super) struct Terminal {
    /// True if no question is asked, because `--yes` was given.
    pub yes: bool,
}

impl Prompter for Terminal {
    fn say(&mut self, line: &str) {
        say(line);
    }

    fn show(&mut self, line: &DiffLine) {
        let colour = match line.weight {
            Weight::Addition => "32",
            Weight::Change => "33",
            Weight::Permissions => "35",
            Weight::Danger => "31",
        };
        say_coloured("  ", &line.text, colour);
    }

    fn event(&mut self, event: &StackEvent, took: Option<Duration>, done: usize, of: usize) {
        let took = took.map(|took| format!("  {}", rounded(took))).unwrap_or_default();
        let reason = event.resource_status_reason.as_deref();
        let reason = reason.map(|reason| format!("\n    {}", one_line(reason))).unwrap_or_default();
        let is_bad = event.resource_status.contains("FAILED") || event.resource_status.contains("ROLLBACK");
        let time = event.timestamp.get(11..19).unwrap_or_default();
        let text = format!("{:28} {}{took}{reason}", event.resource_status, event.logical_resource_id);
        let lead = format!("  {time} {done:3}/{of:<3} ");
        if is_bad { say_coloured(&lead, &text, "31") } else { say(&format!("{lead}{text}")) }
    }

    fn ask(&mut self, name: &str, description: &str) -> Option<String> {
        if self.yes || !io::stdin().is_terminal() {
            return None;
        }
        ask(&format!("{description}\n{name}:"));
        Some(answer()).filter(|text| !text.is_empty())
    }

    fn agrees(&mut self, question: &str) -> bool {
        if self.yes {
            return true;
        }
        consent::agrees(question).unwrap_or_else(|| {
            say(&format!("{question} This is not a terminal; pass `--yes` to confirm."));
            false
        })
    }
}

/// A duration for people, with tenths of seconds only if it is short.
fn rounded(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// Explains a delay of a response.
pub(super) fn delayed(delay: &Delay<'_>) {
    say(&match delay {
        Delay::NoAnswer { service, operation, waited } => {
            format!("  … {service} has not answered {operation} for {} s", waited.as_secs())
        }
        Delay::Retry { service, error, wait, attempt, of } => {
            let wait = humantime::format_duration(*wait);
            format!("  … {}; retrying {service} in {wait}, attempt {attempt} of {of}", joined(*error))
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_durations_have_no_fractions_of_seconds() {
        let cases = [(0, "0.0s"), (56, "0.1s"), (6_390, "6.4s"), (59_700, "59s"), (754_321, "12m 34s")];
        for (milliseconds, expected) in cases {
            assert_eq!(rounded(Duration::from_millis(milliseconds)), expected);
        }
    }
}
