//! `appliance logout`: revokes the personal token of this terminal.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::address::ApplianceUrl;
use super::client::ApplianceClient;
use crate::cli::command_error::{CommandError, ExitClass};
use crate::cli::output::say;
use crate::cli::{core_dumps, examples};

/// The variable with the token, which MLflow's clients read as well.
const VARIABLE: &str = "MLFLOW_TRACKING_TOKEN";
/// A token has some sixty bytes.
const FILE_LIMIT: u64 = 4096;

/// Revoke the personal token in MLFLOW_TRACKING_TOKEN or in a file
#[derive(Debug, clap::Args)]
#[command(after_help = examples::LOGOUT)]
pub(crate) struct Logout {
    /// The address of the appliance, as in MLFLOW_TRACKING_URI
    #[arg(value_name = "URL", value_parser = ApplianceUrl::parse, env = "MLFLOW_TRACKING_URI", hide_env_values = true)]
    url: ApplianceUrl,
    /// The file with the token, as `appliance login --write` made it; it is deleted
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The PEM file of certificate authorities to trust in addition to the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Logout {
    /// Revokes the token.
    pub(crate) fn run(self) -> Result<(), CommandError> {
        core_dumps::disable();
        let token = self.token()?;
        let client = ApplianceClient::new(&self.url, self.ca_file.as_deref())?;
        let was_valid = actix_web::rt::System::new().block_on(client.revoke(token.expose_secret().trim()))?;
        say(if was_valid { "The token is revoked." } else { "The token was not valid any more." });
        if let Some(path) = &self.file {
            std::fs::remove_file(path).map_err(|error| {
                let text = format!("cannot delete `{}`: {error}", path.display());
                CommandError::of(ExitClass::Failed, &text, Some("delete it yourself; the token in it is revoked"))
            })?;
        }
        Ok(())
    }

    fn token(&self) -> Result<SecretString, CommandError> {
        use std::io::Read as _;
        let Some(path) = &self.file else {
            return std::env::var(VARIABLE).map(SecretString::from).map_err(|_| {
                let hint = format!("set {VARIABLE}, or name the file with the token with `--file`");
                CommandError::of(ExitClass::Usage, "there is no token to revoke", Some(&hint))
            });
        };
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(FILE_LIMIT).read_to_string(&mut text));
        read.map_err(|error| {
            let text = format!("cannot read `{}`: {error}", path.display());
            CommandError::of(ExitClass::Failed, &text, Some("name the file that `appliance login --write` made"))
        })?;
        Ok(text.into())
    }
}
