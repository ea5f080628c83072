//! `appliance check`: finds out whether the appliance would work, and what has to change if it would not.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use serde_json::{Value, json};

use super::command_error::{CommandError, ExitClass};
use super::options::ServeOptions;
use super::output::{show, show_document, show_outcome};
use super::problems::Problem;
use super::settings::Configuration;
use super::variables::UnknownVariable;
use super::{examples, personal_tokens, probe_settings, settings, sign_on, summary};
use crate::clock;
use crate::counted::counted;
use crate::probe::{self, Finding, ProbeOutcome, ProbeSettings, ProbedIssuer};
use crate::serve::ServeSettings;

/// Find out whether the appliance would work: configuration, network, clock, credentials, permissions, artifacts, callers
///
/// The command takes the steps of a request one at a time, and prints the result of each step, with a hint for each failure.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::CHECK)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Check {
    /// The TOML file with the options below as keys; flags and variables win over it
    #[arg(long, env = "APPLIANCE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check only what needs no network: the configuration and the files that it names
    #[arg(long)]
    offline: bool,
    /// Check the configuration of another machine, without opening the files that it names
    #[arg(long)]
    elsewhere: bool,
    /// Write nothing to the artifact store, where the check writes and deletes a small object, and nothing to the log group
    #[arg(long)]
    read_only: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Print help with the advanced options
    #[arg(long)]
    pub(super) help_all: bool,
    #[command(flatten)]
    options: ServeOptions,
}

impl Check {
    /// Checks, and prints the findings.
    pub(super) fn run(self, matches: &ArgMatches, unknown: &[UnknownVariable]) -> Result<(), CommandError> {
        let mut printer = Printer { json: self.json, findings: Vec::new() };
        let configuration = settings::read(self.config.as_deref(), self.options.locate(matches), unknown, 0);
        let configuration = match configuration {
            Ok(configuration) => Some(configuration),
            Err(mut problems) => {
                problems.retain(|problem| !(self.elsewhere && problem.is_local));
                if !problems.is_empty() {
                    return printer.report(&problems);
                }
                None
            }
        };
        let Some(Configuration { settings, warnings, .. }) = configuration.filter(|_| !self.elsewhere) else {
            printer.note(Finding::ok("configuration", "", "valid; what depends on the other machine was not checked"));
            return printer.end();
        };
        printer.note(Finding::ok("configuration", "", description(&settings)));
        for Problem { origin, text, hint, .. } in warnings {
            printer.note(Finding::warning("configuration", &origin, text, hint));
        }
        for finding in inbound(&settings, clock::now()) {
            printer.note(finding);
        }
        if let Some(personal) = &settings.callers.personal {
            printer.note(personal_tokens::finding(personal, !self.read_only));
        }
        if self.offline {
            printer.note(Finding::skipped("network", "", "skipped because of `--offline`"));
        } else {
            let subjects = probe_settings::of(&settings, !self.read_only);
            // An instance that starts waits neither for issuers nor for logs, so only this command probes them.
            let issuers = settings
                .callers
                .issuers
                .iter()
                .map(|issuer| ProbedIssuer { trusted: issuer.trusted.clone(), has_sign_on: issuer.sign_on.is_some() });
            let subjects = ProbeSettings {
                issuers: issuers.collect(),
                secrets: probe_settings::secrets(&settings),
                logs: probe_settings::logs(&settings),
                ..subjects
            };
            let mut note = |finding| printer.note(finding);
            actix_web::rt::System::new().block_on(probe::run(&subjects, &mut note));
        }
        printer.end()
    }
}

/// A short description of the configuration.
fn description(settings: &ServeSettings) -> String {
    format!("valid; {}, listening on {}", counted(settings.served_targets.len(), "target"), settings.listen)
}

/// The findings about callers, and about the ports that they connect to.
fn inbound(settings: &ServeSettings, now: SystemTime) -> Vec<Finding> {
    let mut findings = vec![port(settings.listen, "listen")];
    findings.extend(settings.admin.as_ref().map(|admin| port(admin.listen, "admin-listen")));
    findings.push(summary::callers(settings, now));
    findings.extend(sign_on::findings(settings));
    if let Some((begin, end)) = settings.tls.as_ref().and_then(crate::http::tls::server::ServerTls::validity) {
        let left = end.duration_since(now).unwrap_or_default();
        let shown = humantime::format_duration(Duration::from_secs(left.as_secs() / 60 * 60));
        let hint = "renew it; the appliance reloads it while running";
        findings.push(match left {
            Duration::ZERO => Finding::failure("certificate", "", "the listener's certificate has expired", hint),
            _ if clock::ends_soon(begin, end, now) => {
                Finding::warning("certificate", "", format!("the listener's certificate expires in {shown}"), hint)
            }
            _ => Finding::ok("certificate", "", format!("the listener's certificate is valid for {shown}")),
        });
    }
    findings
}

fn port(address: SocketAddr, option: &str) -> Finding {
    let listen = address.to_string();
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("port", &listen, "free"),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let hint = format!(
                "ignore this if it is the appliance; otherwise stop the other program, or choose another address with \
                 `{option}`"
            );
            Finding::warning("port", &listen, "another program listens on this address", hint)
        }
        Err(error) => {
            Finding::failure("port", &listen, error.to_string(), format!("choose another address with `{option}`"))
        }
    }
}

/// Prints findings one by one, or all of them as JSON at the end.
struct Printer {
    json: bool,
    findings: Vec<Finding>,
}

impl Printer {
    fn note(&mut self, finding: Finding) {
        if !self.json {
            show_outcome(word(finding.outcome), &text(&finding));
        }
        self.findings.push(finding);
    }

    fn report(&mut self, problems: &[Problem]) -> Result<(), CommandError> {
        if !self.json {
            return Err(CommandError::configuration(problems));
        }
        for problem in problems {
            let Problem { origin, text, hint, .. } = problem;
            self.note(Finding::failure("configuration", origin, text, hint));
        }
        show_document(&self.document());
        Err(CommandError::reported(ExitClass::Configuration))
    }

    fn end(self) -> Result<(), CommandError> {
        let count = |outcome| self.findings.iter().filter(|finding| finding.outcome == outcome).count();
        let (failures, warnings) = (count(ProbeOutcome::Failure), count(ProbeOutcome::Warning));
        if self.json {
            show_document(&self.document());
        } else {
            let all = self.findings.len();
            show(&format!("\n{all} checks: {failures} failed, {}", counted(warnings, "warning")));
        }
        if failures == 0 { Ok(()) } else { Err(CommandError::reported(ExitClass::Failed)) }
    }

    fn document(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(value).collect();
        let is_well = self.findings.iter().all(|finding| finding.outcome != ProbeOutcome::Failure);
        json!({"ok": is_well, "findings": findings})
    }
}

fn word(outcome: ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::Ok => "ok",
        ProbeOutcome::Warning => "warning",
        ProbeOutcome::Failure => "failure",
        ProbeOutcome::Skipped => "skipped",
    }
}

/// A finding as JSON.
fn value(finding: &Finding) -> Value {
    let Finding { check, subject, outcome, text, fix, took } = finding;
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    json!({"check": check, "subject": subject, "outcome": word(*outcome), "text": text, "hint": fix, "took_ms": took})
}

/// A finding as text, with its hint on a line of its own.
fn text(finding: &Finding) -> String {
    let Finding { check, subject, text, fix, .. } = finding;
    let subject = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
    let hint = fix.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{check:14} {}", format!("{subject}{text}{hint}").replace('\n', &format!("\n{:24}", "")))
}
