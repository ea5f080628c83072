//! `appliance ui`: AWS's own page of a managed MLflow, for one browser.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::{ArgMatches, Args, FromArgMatches};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use super::failure::{Class, Failure};
use super::options::ServeOptions;
use super::output::{say, show, show_document};
use super::problems::{Problem, Problems};
use super::targets::ParsedTarget;
use super::{examples, file, harden, proxies, settings, subjects, targets, values, variables};
use crate::api::Transport;
use crate::api::presign::{Lifetimes, SESSION_LIFETIME, URL_LIFETIME};
use crate::aws::sdk::Egress;
use crate::http::client::{Dialer, Endpoint};
use crate::ui::{self, UiSettings};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// A program that opens pages hands the address over and ends; one that is itself the browser stays.
const OPENING_LIMIT: Duration = Duration::from_secs(5);
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// The options of `serve` that matter here.
const SHOWN: &[&str] = &[
    "resource_arn",
    "region",
    "ca_file",
    "role_arn",
    "role_external_id",
    "role_session_name",
    "role_session_duration",
    "sagemaker_endpoint",
];

/// Print, or open in the browser, a URL that lets you into AWS's own MLflow page without signing in to the console
///
/// The URL is a secret: whoever opens it first is let in, once, as the identity that asked for it. It takes every option,
/// variable and file of `appliance serve`; those that matter are below.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::UI)]
pub(super) struct Ui {
    /// TOML file with the options of `appliance serve`; flags and variables win over it
    #[arg(long, env = "APPLIANCE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which of the file's targets [default: the one that is served at `/`]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Open it in this machine's browser and print nothing; who sees this machine's processes sees it for a moment
    #[arg(long, conflicts_with = "json")]
    open: bool,
    /// How long the URL may wait to be opened, 5s to 5m [default: as AWS decides]
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| lifetime(text, &URL_LIFETIME))]
    expires_in: Option<Duration>,
    /// How long you then may stay, 30m to 12h [default: as AWS decides]
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| lifetime(text, &SESSION_LIFETIME))]
    session: Option<Duration>,
    /// Print one JSON object instead of the URL
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: Chosen,
}

/// The options of `serve`. All are taken, so that the same variables and lines work; few are shown.
#[derive(Debug)]
struct Chosen(ServeOptions);

impl Args for Chosen {
    fn augment_args(command: clap::Command) -> clap::Command {
        ServeOptions::augment_args(command).mut_args(|argument| {
            let field = argument.get_id().as_str();
            let is_idle = ServeOptions::FIELDS.contains(&field) && !SHOWN.contains(&field);
            argument.hide(is_idle)
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Chosen {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        ServeOptions::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// A duration, or a number of seconds as AWS's own tools take it, within what the service allows.
fn lifetime(text: &str, allowed: &std::ops::RangeInclusive<u64>) -> Result<Duration, String> {
    let duration = text.parse().map(Duration::from_secs).or_else(|_| values::duration(text))?;
    if duration.subsec_nanos() == 0 && allowed.contains(&duration.as_secs()) {
        return Ok(duration);
    }
    let shown = |seconds: &u64| humantime::format_duration(Duration::from_secs(*seconds)).to_string();
    Err(format!("AWS allows whole seconds from {} to {}", shown(allowed.start()), shown(allowed.end())))
}

impl Ui {
    /// Obtains the URL, and hands it over.
    pub(super) fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        harden::against_dumps();
        let Self { config, target, open, expires_in, session, json, options } = self;
        let lifetimes = Lifetimes { url: expires_in, session };
        let settings = resolve(config.as_deref(), options.0.locate(matches), target.as_deref(), lifetimes)
            .map_err(|problems| Failure::configuration(&problems))?;
        let system = actix_web::rt::System::new();
        let url = system
            .block_on(ui::url(&settings))
            .map_err(|error| Failure::new(Class::Failed, &error, Some(&error.hint())))?;
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

/// What the options say about one target.
fn resolve(
    config: Option<&Path>,
    flags: ServeOptions,
    name: Option<&str>,
    lifetimes: Lifetimes,
) -> Result<UiSettings, Vec<Problem>> {
    let mut problems = Problems::default();
    let file = file::read(config, &mut problems)?;
    variables::check(&mut problems);
    let options = flags.or(file);
    let trust = settings::trust(&options, &mut problems);
    let proxies = proxies::read(&mut problems);
    let targets = targets::resolve(&options, &mut problems);
    let names: Vec<String> = targets.iter().filter_map(|target| target.name.clone()).collect();
    let is_meant = |target: &ParsedTarget| match name {
        Some(name) => target.name.as_deref() == Some(name),
        None => target.is_default,
    };
    let target = targets.into_iter().find(is_meant);
    if let (None, Some(name)) = (&target, name) {
        let fix = match names.as_slice() {
            [] => "leave it out, or name a file with `[[target]]` tables with `--config`".to_owned(),
            names => format!("choose one of {}", names.join(", ")),
        };
        problems.add(&"--target", format!("`{}`: there is no such target", name.escape_debug()), fix);
    }
    // Without a default target there is a problem, which has been noted.
    let (Some(target), Some((tls, authorities))) = (target, trust) else {
        return Err(problems.none_or_all().err().unwrap_or_default());
    };
    problems.none_or_all()?;
    let endpoint = target
        .sagemaker
        .or_else(|| subjects::service("SAGEMAKER"))
        .unwrap_or_else(|| Endpoint::https(target.target.control_plane_host()));
    Ok(UiSettings {
        transport: Transport {
            dialer: Dialer::new(endpoint.clone(), &tls, CONNECT_LIMIT, CONNECT_LIMIT).through(&proxies),
            exchange_timeout: ANSWER_LIMIT,
        },
        target: target.target,
        endpoint,
        role: target.role,
        egress: Egress { authorities, proxies },
        lifetimes,
    })
}

/// Opens it with whatever this machine opens pages with.
async fn open_in_browser(url: &SecretString) -> Result<(), Failure> {
    let failed = |what: String| {
        Failure::said(Class::Failed, &what, Some("leave out `--open`, and open the URL that is printed then"))
    };
    // SECURITY: one argument of a program, so no shell reads it. What that program prints may hold the URL.
    let started = Command::new(OPENER)
        .arg(url.expose_secret())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = started.map_err(|error| failed(format!("cannot start `{OPENER}`: {error}")))?;
    match timeout(OPENING_LIMIT, child.wait()).await {
        Ok(Ok(status)) if !status.success() => Err(failed(format!("`{OPENER}` opened nothing ({status})"))),
        Ok(Err(error)) => Err(failed(format!("cannot wait for `{OPENER}`: {error}"))),
        Ok(Ok(_)) | Err(_) => {
            say("opened in the browser; the URL works once");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_those_of_the_service() {
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

    #[test]
    fn options_that_are_shown_are_options() {
        for field in SHOWN {
            assert!(ServeOptions::FIELDS.contains(field), "{field}");
        }
    }
}
