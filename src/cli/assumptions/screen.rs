//! The output of `appliance assumptions`: a line for each assumption at once, and tables or one JSON object in the end.

use serde_json::{Value, json};

use crate::cli::columns;
use crate::cli::command_error::{CommandError, ExitClass};
use crate::cli::output::{say, shell_word, show, show_document, show_outcome};
use crate::probe::assumptions::{
    ASSUMPTIONS, Assumption, AssumptionEvent, AssumptionRun, AssumptionSettings, Leftover, ProofVerdict,
    ProvenAssumption, RouteFamily,
};

/// The version of the JSON object. It changes if a field changes its meaning or disappears.
const SCHEMA: u32 = 1;
/// The width of the longest name.
const NAME_WIDTH: usize = 28;

/// Prints the results as they come.
pub(super) struct ProofScreen {
    json: bool,
}

impl ProofScreen {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Shows that something happens.
    pub(super) fn note(&mut self, event: &AssumptionEvent<'_>) {
        match event {
            AssumptionEvent::Begins(assumption) if self.json => say(&format!("testing {}", assumption.name)),
            AssumptionEvent::Proven(proven) if !self.json => show_proven(proven),
            AssumptionEvent::Interrupted => {
                say("interrupted: removing what was created; press Ctrl-C again to stop that as well");
            }
            AssumptionEvent::Removing => say("removing what the tests have created"),
            AssumptionEvent::Begins(_) | AssumptionEvent::Proven(_) => {}
        }
    }

    /// Shows the results, and returns the error that decides the exit code.
    pub(super) fn end(self, settings: &AssumptionSettings, results: &AssumptionRun) -> Result<(), CommandError> {
        if self.json {
            show_document(&document(settings, results));
        } else {
            show_end(results);
        }
        for left in &results.left {
            say(&format!("warning: {} is still there: {}\n  hint: {}", left.what, left.why, command(left)));
        }
        let count = |verdict| count(results, verdict);
        if !results.left.is_empty() || results.is_interrupted || count(ProofVerdict::NotTested) == results.proven.len()
        {
            Err(CommandError::reported(ExitClass::Failed))
        } else if count(ProofVerdict::DoesNotHold) > 0 {
            Err(CommandError::reported(ExitClass::Disproved))
        } else {
            Ok(())
        }
    }
}

/// Prints the list of assumptions.
pub(super) fn list(is_json: bool) {
    if is_json {
        show_document(&ASSUMPTIONS.iter().map(listed).collect::<Value>());
        return;
    }
    for assumption in ASSUMPTIONS {
        show(&format!("{}\n  {}\n  depends on it: {}", assumption.name, assumption.sentence, depending(assumption)));
    }
}

fn listed(assumption: &Assumption) -> Value {
    let Assumption { name, sentence, depends_on } = assumption;
    json!({"name": name, "assumption": sentence, "depends_on": depends_on})
}

fn depending(assumption: &Assumption) -> String {
    assumption.depends_on.join(", ")
}

fn word(verdict: ProofVerdict) -> &'static str {
    match verdict {
        ProofVerdict::Holds => "holds",
        ProofVerdict::DoesNotHold => "does not hold",
        ProofVerdict::NotTested => "not tested",
    }
}

fn show_proven(proven: &ProvenAssumption) {
    let ProvenAssumption { assumption, proof, .. } = proven;
    let mut text = format!("{:NAME_WIDTH$} {}", assumption.name, proof.evidence);
    if proof.verdict == ProofVerdict::DoesNotHold {
        text = format!("{text}\n{:14}{}\n{:14}depends on it: {}", "", assumption.sentence, "", depending(assumption));
    }
    show_outcome(&format!("{:13}", word(proof.verdict)), &text);
}

fn show_end(results: &AssumptionRun) {
    if !results.routes.is_empty() {
        let heading = ["ROUTES", "ANSWER", "REQUEST"].map(ToOwned::to_owned);
        let row = |one: &RouteFamily| {
            let status = one.status.map(|status| format!(" ({status})")).unwrap_or_default();
            [one.family.to_owned(), one.answer.to_owned(), format!("{}{status}", one.request)]
        };
        let rows: Vec<_> = [heading].into_iter().chain(results.routes.iter().map(row)).collect();
        show(&format!("\n{}", columns::table(&rows)));
    }
    let count = |verdict| count(results, verdict);
    show(&format!(
        "\n{} assumptions: {} hold, {} do not hold, {} not tested",
        results.proven.len(),
        count(ProofVerdict::Holds),
        count(ProofVerdict::DoesNotHold),
        count(ProofVerdict::NotTested)
    ));
    if !results.removed.is_empty() {
        show(&format!("removed: {}", results.removed.join(", ")));
    }
}

fn count(results: &AssumptionRun, verdict: ProofVerdict) -> usize {
    results.proven.iter().filter(|one| one.proof.verdict == verdict).count()
}

fn document(settings: &AssumptionSettings, results: &AssumptionRun) -> Value {
    let proven = |one: &ProvenAssumption| {
        let mut value = listed(one.assumption);
        value["result"] = word(one.proof.verdict).replace(' ', "-").into();
        value["evidence"] = one.proof.evidence.as_str().into();
        value["took_ms"] = u64::try_from(one.took.as_millis()).unwrap_or(u64::MAX).into();
        value
    };
    let route = |one: &RouteFamily| {
        let request = Some(one.request.as_str()).filter(|request| !request.is_empty());
        json!({"family": one.family, "answer": one.answer.replace(' ', "-"), "request": request, "status": one.status})
    };
    let left = |one: &Leftover| json!({"what": one.what, "why": one.why, "command": command(one)});
    let is_well = results.proven.iter().all(|one| one.proof.verdict != ProofVerdict::DoesNotHold);
    json!({
        "schema": SCHEMA,
        "ok": is_well && results.left.is_empty() && !results.is_interrupted,
        "resource_arn": settings.target.arn().as_str(),
        "experiment": settings.may_write.then(|| settings.experiment()),
        "interrupted": results.is_interrupted,
        "assumptions": results.proven.iter().map(proven).collect::<Vec<_>>(),
        "routes": results.routes.iter().map(route).collect::<Vec<_>>(),
        "removed": results.removed,
        "left": results.left.iter().map(left).collect::<Vec<_>>(),
    })
}

/// A command for a shell. Words that need no quotes get none.
fn command(left: &Leftover) -> String {
    let is_plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=".contains(&byte));
    let quoted = |word: &String| if is_plain(word) { word.clone() } else { shell_word(word) };
    left.command.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_their_column() {
        assert!(ASSUMPTIONS.iter().all(|one| one.name.len() <= NAME_WIDTH));
    }

    #[test]
    fn a_shell_reads_the_words_of_a_command() {
        let words = ["aws", "--key", "odd name'+%41#\u{fc}.txt"].map(ToOwned::to_owned).to_vec();
        let left = Leftover { what: String::new(), why: String::new(), command: words };
        assert_eq!(command(&left), "aws --key 'odd name'\\''+%41#\u{fc}.txt'");
    }
}
