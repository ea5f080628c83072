//! `appliance login` and `appliance logout`: a personal token for the programs of this terminal, and its end.
//!
//! The command makes the token itself, and never sends it before a person has confirmed its hash in a browser. So no address
//! and no page has the token.

mod address;
mod client;
mod logout;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ring::rand::SystemRandom;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::address::ApplianceUrl;
use self::client::{Answer, ApplianceClient};
pub(super) use self::logout::Logout;
use super::command_error::{CommandError, ExitClass};
use super::output::{say, try_show};
use super::{core_dumps, examples, host_name, opener, values};
use crate::access::caller::{Role, Targets};
use crate::access::caller_name::check_name;
use crate::access::login_request::{CONFIRMABLE, LoginRequest};
use crate::access::token::{self, NewToken};
use crate::clock;

/// The time between two questions whether the token is accepted. An appliance reloads its tokens once a second at most.
const PAUSE: Duration = Duration::from_secs(2);

/// Get a personal token for this terminal: confirm it in a browser, where you are signed in
#[derive(Debug, clap::Args)]
#[command(after_help = examples::LOGIN)]
pub(super) struct Login {
    /// The address of the appliance, as in MLFLOW_TRACKING_URI
    #[arg(value_name = "URL", value_parser = ApplianceUrl::parse, env = "MLFLOW_TRACKING_URI", hide_env_values = true)]
    url: ApplianceUrl,
    /// The name of the token in your list: 2 to 64 letters, digits and `+=,.@_-` [default: the name of this machine and a number]
    #[arg(long)]
    name: Option<String>,
    /// The lifetime of the token, as in `30d`
    #[arg(long, default_value = "30d", value_name = "DURATION")]
    expires: String,
    /// The role of the token: `read`, `write` or `admin` [default: yours]
    #[arg(long)]
    role: Option<Role>,
    /// The names of targets that the token may use, comma-separated [default: all of yours]
    #[arg(long)]
    targets: Option<String>,
    /// Write the token to this file, which only you can read, instead of printing it
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print the address only, and open no browser
    #[arg(long)]
    no_browser: bool,
    /// The PEM file of certificate authorities to trust in addition to the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Login {
    /// Waits for the confirmation, and prints or writes the token.
    pub(super) fn run(self) -> Result<(), CommandError> {
        core_dumps::disable();
        let new = token::generate(&SystemRandom::new())
            .map_err(|error| CommandError::new(ExitClass::Failed, &error, Some("run the command again in a minute")))?;
        let login = self.request(&new)?;
        // The file is made first, so that no token exists that cannot be written.
        let file = self.write.as_deref().map(prepared).transpose()?;
        let client = ApplianceClient::new(&self.url, self.ca_file.as_deref())?;
        let accepted = actix_web::rt::System::new().block_on(self.confirmed(&client, &new, &login))?;
        self.deliver(&new, file, &accepted)
    }

    fn request(&self, new: &NewToken) -> Result<LoginRequest, CommandError> {
        let usage = |text: String| CommandError::of(ExitClass::Usage, &text, Some("see `appliance login --help`"));
        let label = self.name.clone().unwrap_or_else(|| usual_name(&new.id));
        check_name(&label).map_err(|form| usage(format!("`--name {}`: {form}", label.escape_debug())))?;
        let lifetime = values::duration(&self.expires)
            .map_err(|error| usage(format!("`--expires {}`: {error}", self.expires.escape_debug())))?;
        let targets = self.targets.as_deref().map(values::target_names).transpose();
        let targets = targets.map_err(|error| usage(format!("`--targets`: {error}")))?;
        Ok(LoginRequest {
            id: new.id.clone(),
            hash: new.hash,
            label,
            role: self.role,
            targets: targets.map_or(Targets::All, Targets::Named),
            lifetime: lifetime.as_secs(),
            asked: clock::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        })
    }

    /// Shows the address and the code, and asks the appliance until it accepts the token.
    async fn confirmed(
        &self,
        client: &ApplianceClient,
        new: &NewToken,
        login: &LoginRequest,
    ) -> Result<Value, CommandError> {
        let token = new.text.expose_secret();
        if let Answer::Accepted(accepted) = client.ask(token).await? {
            return Ok(accepted);
        }
        let page = self.url.page(&format!("/_appliance/tokens/confirm?{}", login.query()));
        say(&format!(
            "Open this address in a browser where you can sign in, and type the code there:\n\n  {page}\n\n  Code: {}\n",
            login.code()
        ));
        if !self.no_browser && opener::has_screen() {
            // The address is on the screen as well, so a failure needs no message. It holds no secret.
            let _ = opener::open(&page).await;
        }
        say("Waiting for the confirmation, for up to 10 minutes.");
        let deadline = Instant::now() + CONFIRMABLE;
        while Instant::now() < deadline {
            sleep(PAUSE).await;
            match client.ask(token).await {
                Ok(Answer::Accepted(accepted)) => return Ok(accepted),
                Err(error) if error.class == ExitClass::Configuration => return Err(error),
                // An appliance that is restarted answers later.
                Ok(Answer::Unknown) | Err(_) => {}
            }
        }
        let hint = "run the command again, and confirm the new address with the new code";
        Err(CommandError::of(ExitClass::Failed, "nobody has confirmed the login within 10 minutes", Some(hint)))
    }

    fn deliver(
        &self,
        new: &NewToken,
        file: Option<tempfile::NamedTempFile>,
        accepted: &Value,
    ) -> Result<(), CommandError> {
        let text = |key: &str| accepted[key].as_str().unwrap_or("?").to_owned();
        let until = text("expires");
        say(&format!(
            "The token `{}` acts as {} with the role {}, until {}.",
            text("name"),
            text("owner"),
            text("role"),
            until.get(..10).unwrap_or("it is revoked")
        ));
        let uri = self.url.page("");
        let (Some(path), Some(mut file)) = (&self.write, file) else {
            try_show(&new.to_string()).map_err(|error| {
                let text = format!("cannot write to standard output: {error}");
                CommandError::of(
                    ExitClass::Failed,
                    &text,
                    Some("revoke the token on the page, and run the command again"),
                )
            })?;
            say(&format!("hint: export MLFLOW_TRACKING_URI={uri} MLFLOW_TRACKING_TOKEN=…"));
            return Ok(());
        };
        let written = writeln!(file, "{new}").and_then(|()| file.as_file().sync_all());
        let written = written.and_then(|()| file.persist(path).map_err(|error| error.error));
        written.map_err(|error| unwritable(path, &error))?;
        let path = path.display();
        say(&format!("hint: export MLFLOW_TRACKING_URI={uri} MLFLOW_TRACKING_TOKEN=\"$(cat '{path}')\""));
        Ok(())
    }
}

/// A new file beside the final one, with mode 0600.
fn prepared(path: &Path) -> Result<tempfile::NamedTempFile, CommandError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::NamedTempFile::new_in(directory).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> CommandError {
    let text = format!("cannot write `{}`: {error}", path.display());
    CommandError::of(ExitClass::Failed, &text, Some("name a file in a writable directory with `--write`"))
}

/// The name of this machine, and a part of the token's id, so that no two logins have one name.
fn usual_name(id: &str) -> String {
    let host = host_name::read();
    let host: String = host.unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let host = if host.is_empty() { "login" } else { host.get(..40).unwrap_or(&host) };
    format!("{host}-{}", &id[..4])
}
