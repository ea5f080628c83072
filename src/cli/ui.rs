//! `appliance ui`: a URL of AWS's own MLflow page, for one browser.

use std::time::Duration;

use clap::ArgMatches;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::chosen_options::ChosenOptions;
use super::command_error::{CommandError, ExitClass};
use super::one_target::{self, OneTarget, TargetChoice};
use super::options::ServeOptions;
use super::output::{say, show, show_document};
use super::problems::Problem;
use super::trust::dialer;
use super::variables::UnknownVariable;
use super::{core_dumps, examples, opener, values};
use crate::api::Transport;
use crate::api::presign::{Lifetimes, SESSION_LIFETIME, URL_LIFETIME};
use crate::ui::{self, UiSettings};

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Print, or open in the browser, a URL of AWS's own MLflow page that needs no sign-in to the console
///
/// The URL is a secret: it works once, and signs its first user in as the identity that requested it. The command accepts
/// every option, variable and file of `appliance serve`; those that have an effect are below.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::UI)]
pub(super) struct Ui {
    #[command(flatten)]
    choice: TargetChoice,
    /// Open the URL in this machine's browser instead of printing it; other users can see it in the list of processes for a moment
    #[arg(long, conflicts_with = "json")]
    open: bool,
    /// The time in which the URL has to be opened, 5s to 5m [default: AWS's]
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| lifetime(text, &URL_LIFETIME))]
    expires_in: Option<Duration>,
    /// The lifetime of the session in the browser, 30m to 12h [default: AWS's]
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| lifetime(text, &SESSION_LIFETIME))]
    session: Option<Duration>,
    /// Print one JSON object instead of the URL
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: ChosenOptions<false>,
}

/// A duration, or a number of seconds as in AWS's own tools, within the limits of the service.
fn lifetime(text: &str, allowed: &std::ops::RangeInclusive<u64>) -> Result<Duration, String> {
    let duration = text.parse().map(Duration::from_secs).or_else(|_| values::duration(text))?;
    if duration.subsec_nanos() == 0 && allowed.contains(&duration.as_secs()) {
        return Ok(duration);
    }
    let shown = |seconds: &u64| humantime::format_duration(Duration::from_secs(*seconds)).to_string();
    Err(format!("AWS allows whole seconds from {} to {}", shown(allowed.start()), shown(allowed.end())))
}

impl Ui {
    /// Obtains the URL, and prints or opens it.
    pub(super) fn run(self, matches: &ArgMatches, unknown: &[UnknownVariable]) -> Result<(), CommandError> {
        core_dumps::disable();
        let Self { choice, open, expires_in, session, json, options } = self;
        let lifetimes = Lifetimes { url: expires_in, session };
        let settings = resolve(&choice, options.locate(matches), unknown, lifetimes)
            .map_err(|problems| CommandError::configuration(&problems))?;
        let system = actix_web::rt::System::new();
        let url = system
            .block_on(ui::url(&settings))
            .map_err(|error| CommandError::new(ExitClass::Failed, &error, Some(&error.hint())))?;
        if open {
            return system.block_on(open_in_browser(&url));
        }
        if json {
            let arn = settings.target.arn();
            let seconds = |lifetime: Option<Duration>| lifetime.map(|lifetime| lifetime.as_secs());
            let document = json!({
                "url": url.expose_secret(),
                "resource_arn": arn.as_str(),
                "expires_in_s": seconds(expires_in),
                "session_s": seconds(session),
            });
            show_document(&document);
        } else {
            show(url.expose_secret());
        }
        Ok(())
    }
}

/// The settings for one target.
fn resolve(
    choice: &TargetChoice,
    flags: ServeOptions,
    unknown: &[UnknownVariable],
    lifetimes: Lifetimes,
) -> Result<UiSettings, Vec<Problem>> {
    let OneTarget { target, tls, egress, sagemaker: endpoint } = one_target::resolve(choice, flags, unknown)?;
    Ok(UiSettings {
        transport: Transport { dialer: dialer(&endpoint, &tls, &egress.proxies), exchange_timeout: ANSWER_LIMIT },
        target: target.target,
        endpoint,
        role: target.role,
        egress,
        lifetimes,
    })
}

/// Opens the URL with this machine's program for opening pages.
async fn open_in_browser(url: &SecretString) -> Result<(), CommandError> {
    opener::open(url.expose_secret()).await.map_err(|what| {
        CommandError::of(ExitClass::Failed, &what, Some("omit `--open`, and open the printed URL yourself"))
    })?;
    say("opened the URL in the browser; it works once");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_within_the_limits_of_the_service() {
        for (text, seconds) in [("5", 5), ("300", 300), ("5m", 300), ("1m 30s", 90)] {
            assert_eq!(lifetime(text, &URL_LIFETIME), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "4", "301", "1h", "5500ms", "-5", "soon"] {
            assert!(lifetime(text, &URL_LIFETIME).is_err(), "{text}");
        }
        assert_eq!(lifetime("12h", &SESSION_LIFETIME), Ok(Duration::from_secs(43_200)));
        assert!(lifetime("1799", &SESSION_LIFETIME).is_err() && lifetime("43201", &SESSION_LIFETIME).is_err());
        let said = lifetime("1h", &URL_LIFETIME).unwrap_err();
        assert_eq!(said, "AWS allows whole seconds from 5s to 5m");
    }
}
