//! The interface to the person who deploys: the command line implements it.

use std::time::Duration;

use super::diff::DiffLine;
use crate::api::cloudformation::StackEvent;

/// Shows progress to a person, and asks for decisions.
pub trait Prompter {
    /// Shows a line.
    fn say(&mut self, line: &str);
    /// Shows a line of a change set.
    fn show(&mut self, line: &DiffLine);
    /// Shows an event of a resource, its duration, and how many resources of how many are done.
    fn event(&mut self, event: &StackEvent, took: Option<Duration>, done: usize, of: usize);
    /// Asks for the value of a parameter; returns nothing if there is no terminal.
    fn ask(&mut self, name: &str, description: &str) -> Option<String>;
    /// Asks whether to continue.
    fn agrees(&mut self, question: &str) -> bool;
}
