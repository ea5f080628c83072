//! `appliance check`: would it work, and if not, what has to change in whose policy?

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use serde_json::{Value, json};

use super::examples;
use super::failure::{Class, Failure};
use super::options::ServeOptions;
use super::output::{show, show_document};
use super::problems::Problem;
use super::{settings, subjects, variables};
use crate::clock;
use crate::probe::{self, Finding, ProbeOutcome};
use crate::serve::{CallerSettings, ServeSettings};

/// Certificates that end sooner should have been renewed.
const SOON: Duration = Duration::from_hours(24 * 14);

/// Find out whether it would work: configuration, network, clock, credentials, permissions, artifacts, callers
///
/// Does what a request would do, one step at a time, and says of each step how it went and what to do about it.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::CHECK)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Check {
    /// TOML file with the options below as keys; flags and variables win over it
    #[arg(long, env = "APPLIANCE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only what needs no network: the configuration and the files that it names
    #[arg(long)]
    offline: bool,
    /// Only what would hold on any machine, so not even files: for a configuration of another machine
    #[arg(long)]
    elsewhere: bool,
    /// Write nothing to the artifact store; by default a small object is made and removed
    #[arg(long)]
    read_only: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: ServeOptions,
}

impl Check {
    /// Checks, and shows what was found.
    pub(super) fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        let mut printer = Printer { json: self.json, findings: Vec::new() };
        let settings = match settings::read(self.config.as_deref(), self.options.locate(matches), 0) {
            Ok((settings, _)) => Some(settings),
            Err(mut problems) => {
                problems.retain(|problem| !(self.elsewhere && problem.is_local));
                if !problems.is_empty() {
                    return printer.refused(&problems);
                }
                None
            }
        };
        let Some(settings) = settings.filter(|_| !self.elsewhere) else {
            printer.note(Finding::ok("configuration", "", "valid, as far as another machine can tell"));
            return printer.end();
        };
        printer.note(Finding::ok("configuration", "", configuration(&settings)));
        for unknown in variables::unknown() {
            let fix = "remove it, or see `appliance serve --help` for all variables";
            let what = "this variable means nothing to the appliance";
            printer.note(Finding::warning("configuration", &unknown.name, what, fix));
        }
        for finding in inbound(&settings, clock::now()) {
            printer.note(finding);
        }
        if self.offline {
            printer.note(Finding::skipped("network", "", "left out with `--offline`"));
        } else {
            let subjects = subjects::of(&settings, !self.read_only);
            let mut note = |finding| printer.note(finding);
            actix_web::rt::System::new().block_on(probe::run(&subjects, &mut note));
        }
        printer.end()
    }
}

/// What has been configured, in few words.
fn configuration(settings: &ServeSettings) -> String {
    let targets = settings.backends.len();
    format!("valid; {targets} target{}, listening on {}", if targets == 1 { "" } else { "s" }, settings.listen)
}

/// Who would be let in, and whether they could connect.
fn inbound(settings: &ServeSettings, now: SystemTime) -> Vec<Finding> {
    let mut findings = vec![port(settings.listen, "listen")];
    findings.extend(settings.admin.as_ref().map(|admin| port(admin.listen, "admin-listen")));
    findings.push(callers(&settings.callers, settings, now));
    if let Some(end) = settings.tls.as_ref().and_then(crate::http::tls::server::ServerTls::end) {
        let left = end.duration_since(now).unwrap_or_default();
        let shown = humantime::format_duration(Duration::from_secs(left.as_secs() / 3600 * 3600));
        let fix = "renew it; the new one is read while running";
        findings.push(match left {
            Duration::ZERO => Finding::failure("certificate", "", "the listener's certificate has ended", fix),
            left if left < SOON => {
                Finding::warning("certificate", "", format!("the listener's certificate ends in {shown}"), fix)
            }
            _ => Finding::ok("certificate", "", format!("the listener's certificate holds for {shown}")),
        });
    }
    findings
}

fn port(address: SocketAddr, option: &str) -> Finding {
    let listen = address.to_string();
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("port", &listen, "free"),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let fix =
                format!("fine if it is the appliance; else stop what listens there, or choose another with `{option}`");
            Finding::warning("port", &listen, "something listens there already", fix)
        }
        Err(error) => Finding::failure("port", &listen, error.to_string(), format!("choose another with `{option}`")),
    }
}

fn callers(callers: &CallerSettings, settings: &ServeSettings, now: SystemTime) -> Finding {
    const CHECK: &str = "callers";
    let tokens = callers.tokens.as_ref().map(|tokens| tokens.initial.as_ref());
    let has_others = callers.oidc.is_some() || !callers.grants.is_empty();
    match (tokens, callers.anonymous) {
        (_, Some(role)) if settings.listen.ip().is_loopback() => {
            Finding::ok(CHECK, "", format!("anybody on this machine, as {role}"))
        }
        (_, Some(role)) => Finding::warning(
            CHECK,
            "",
            format!("anybody who can connect, as {role}, by `allow-anonymous`"),
            "give callers tokens (`appliance token new`) and remove it, unless the network keeps others away",
        ),
        (Some(Some(tokens)), None) => {
            let valid = tokens.entries().iter().filter(|entry| entry.expires.is_none_or(|end| end > now)).count();
            let expired = tokens.entries().len() - valid;
            match (valid, expired) {
                (0, _) if !has_others => Finding::warning(
                    CHECK,
                    "",
                    format!("nobody: there is no valid token ({expired} expired)"),
                    "make one with `appliance token new`",
                ),
                _ => Finding::ok(CHECK, "", format!("{valid} valid tokens, {expired} expired")),
            }
        }
        (Some(None), None) => Finding::ok(CHECK, "", "tokens that AWS keeps; they are read when it starts"),
        (None, None) => Finding::ok(CHECK, "", "users of the load balancer or holders of certificates"),
    }
}

/// Shows findings as they come, or all of them as JSON in the end.
struct Printer {
    json: bool,
    findings: Vec<Finding>,
}

impl Printer {
    fn note(&mut self, finding: Finding) {
        if !self.json {
            show(&text(&finding));
        }
        self.findings.push(finding);
    }

    fn refused(&mut self, problems: &[Problem]) -> Result<(), Failure> {
        if !self.json {
            return Err(Failure::configuration(problems));
        }
        for problem in problems {
            let Problem { place, what, fix, .. } = problem;
            self.note(Finding::failure("configuration", place, what, fix));
        }
        show_document(&self.document());
        Err(Failure::silent(Class::Configuration))
    }

    fn end(self) -> Result<(), Failure> {
        let count = |outcome| self.findings.iter().filter(|finding| finding.outcome == outcome).count();
        let (failures, warnings) = (count(ProbeOutcome::Failure), count(ProbeOutcome::Warning));
        if self.json {
            show_document(&self.document());
        } else {
            let all = self.findings.len();
            show(&format!("\n{all} checks: {failures} failed, {warnings} to look at"));
        }
        if failures == 0 { Ok(()) } else { Err(Failure::silent(Class::Failed)) }
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
pub(super) fn value(finding: &Finding) -> Value {
    let Finding { check, subject, outcome, text, fix, took } = finding;
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    json!({"check": check, "subject": subject, "outcome": word(*outcome), "text": text, "fix": fix, "took_ms": took})
}

/// A finding as a line, and its fix as another.
pub(super) fn text(finding: &Finding) -> String {
    let Finding { check, subject, outcome, text, fix, .. } = finding;
    let subject = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
    let fix = fix.as_ref().map(|fix| format!("\nfix: {fix}")).unwrap_or_default();
    let lines = format!("{subject}{text}{fix}");
    format!("{:8} {check:14} {}", word(*outcome), lines.replace('\n', &format!("\n{:24}", "")))
}
