//! `appliance assumptions`: tests in the operator's own account what could not be tested without one.

mod screen;

use clap::ArgMatches;

use self::screen::ProofScreen;
use super::chosen_options::ChosenOptions;
use super::command_error::{CommandError, ExitClass};
use super::one_target::{self, OneTarget, TargetChoice};
use super::options::ServeOptions;
use super::output::say;
use super::problems::Problem;
use super::random::random;
use super::trust::dialer;
use super::variables::UnknownVariable;
use super::{consent, core_dumps, examples, probe_settings, values};
use crate::aws::regional_host;
use crate::http::client::Endpoint;
use crate::probe::ProbedStore;
use crate::probe::assumptions::{self, AssumptionSettings};

/// The sizes that `--largest-body` may have. A body is held in memory. Bytes.
const BODY_RANGE: std::ops::RangeInclusive<u64> = 1024..=64 << 20;

/// Find out in your own AWS account whether the appliance's assumptions about AWS are true
///
/// The appliance was built without an AWS account. This command tests each assumption that only an account can prove, and prints
/// the evidence. It creates one scratch experiment with one run, writes objects only below that run, and removes all of them, also
/// after Ctrl-C; MLflow keeps a removed experiment as deleted. It asks before it writes. It accepts every option, variable and file
/// of `appliance serve`; those that have an effect are below.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::ASSUMPTIONS)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Assumptions {
    #[command(flatten)]
    choice: TargetChoice,
    /// List the assumptions and what depends on them, without any request
    #[arg(long, conflicts_with_all = ["yes", "read_only"])]
    list: bool,
    /// Agree to what the command will create, without a question
    #[arg(long, conflicts_with = "read_only")]
    yes: bool,
    /// Create nothing, and test only what needs no writing
    #[arg(long)]
    read_only: bool,
    /// Also test a presigned URL of AWS's page, which the test uses up
    #[arg(long)]
    open_page: bool,
    /// The largest body that is sent to MLflow, up to 64 MiB
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = body_size)]
    largest_body: u64,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: ChosenOptions<true>,
}

fn body_size(text: &str) -> Result<u64, String> {
    let size = values::size(text)?;
    if BODY_RANGE.contains(&size) { Ok(size) } else { Err("the size is between 1 KiB and 64 MiB".to_owned()) }
}

impl Assumptions {
    /// Tests, and prints the results.
    pub(super) fn run(self, matches: &ArgMatches, unknown: &[UnknownVariable]) -> Result<(), CommandError> {
        core_dumps::disable();
        if self.list {
            screen::list(self.json);
            return Ok(());
        }
        let Self { choice, yes, read_only, open_page, largest_body, json, options, .. } = self;
        let found = resolve(&choice, options.locate(matches), unknown)
            .map_err(|problems| CommandError::configuration(&problems))?;
        let suffix = random::<8>().map(hex::encode).ok_or_else(|| {
            let hint = "check that this machine has `/dev/urandom`";
            CommandError::of(ExitClass::Failed, "the operating system has no random numbers", Some(hint))
        })?;
        let settings =
            AssumptionSettings { may_write: !read_only, may_open_page: open_page, largest_body, suffix, ..found };
        if !read_only && !yes {
            agree(&settings)?;
        }
        let mut screen = ProofScreen::new(json);
        let system = actix_web::rt::System::new();
        let results = system.block_on(assumptions::run(&settings, &mut |event| screen.note(&event)));
        let results = results.map_err(|error| CommandError::new(ExitClass::Failed, &error, Some(error.hint())))?;
        screen.end(&settings, &results)
    }
}

/// Asks the person at the terminal.
fn agree(settings: &AssumptionSettings) -> Result<(), CommandError> {
    say("The tests create, and remove in the end:");
    for line in assumptions::plan(settings) {
        say(&format!("  - {line}"));
    }
    say("MLflow keeps a removed experiment as deleted, and a bucket with versions keeps those of removed objects.");
    let hint = "pass `--yes` to agree, or `--read-only` for the tests that create nothing";
    match consent::agrees("Create them?") {
        Some(true) => Ok(()),
        Some(false) => Err(CommandError::of(ExitClass::Failed, "nothing was tested", Some(hint))),
        None => Err(CommandError::of(
            ExitClass::Usage,
            "nothing was tested, because there is no terminal to ask at",
            Some(hint),
        )),
    }
}

/// The settings of a run that may not do anything yet.
fn resolve(
    choice: &TargetChoice,
    flags: ServeOptions,
    unknown: &[UnknownVariable],
) -> Result<AssumptionSettings, Vec<Problem>> {
    let OneTarget { target, tls, egress, sagemaker } = one_target::resolve(choice, flags, unknown)?;
    let endpoint = target.endpoint.unwrap_or_else(|| Endpoint::https(target.target.host()));
    let sts = || Endpoint::https(regional_host("sts", target.target.arn().region()));
    let iam = || Endpoint::https("iam.amazonaws.com");
    Ok(AssumptionSettings {
        dialer: dialer(&endpoint, &tls, &egress.proxies),
        sts: probe_settings::service("STS").unwrap_or_else(sts),
        iam: probe_settings::service("IAM").unwrap_or_else(iam),
        target: target.target,
        role: target.role,
        egress,
        artifacts: target.artifacts.map(|artifacts| ProbedStore {
            store_source: artifacts.store_source,
            s3_endpoint: artifacts.s3_endpoint,
            kms_key: artifacts.kms_key,
        }),
        sagemaker,
        may_write: false,
        may_open_page: false,
        largest_body: *BODY_RANGE.start(),
        suffix: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::body_size;

    #[test]
    fn the_largest_body_is_bounded() {
        assert_eq!((body_size("64MiB"), body_size("1KiB")), (Ok(64 << 20), Ok(1024)));
        assert!(body_size("65MiB").is_err() && body_size("1").is_err() && body_size("much").is_err());
    }
}
