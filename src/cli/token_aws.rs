//! `appliance token aws`: a token that proves the AWS identity of this machine or job to an appliance.

use std::path::PathBuf;
use std::time::Duration;

use aws_credential_types::Credentials;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::aws_identities::{region, sts_endpoint};
use super::command_error::{CommandError, ExitClass};
use super::output::{document, say, try_show};
use super::trust::Trust;
use super::{core_dumps, examples, values};
use crate::access::aws_token::{self, AUDIENCE_HEADER, LONGEST_LIFETIME, OPERATION};
use crate::aws::presigned::{Presignable, presigned_query};
use crate::aws::s3::lifetime;
use crate::aws::sdk::{self, Egress};
use crate::aws::source::{CredentialSource, SourceError};
use crate::clock;

/// Print a token that proves the AWS identity of this job
///
/// The token is a presigned request for the identity (`GetCallerIdentity`), signed with the credentials of the AWS SDK's
/// default chain for one audience. It contains no secret key, and nothing is sent to AWS. An appliance that accepts this
/// audience has AWS confirm it.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::TOKEN_AWS)]
pub(super) struct AwsToken {
    /// The audience: `aws-audience` of the appliance, usually its URL
    #[arg(long, value_parser = audience)]
    audience: String,
    /// The region of the STS endpoint, which the appliance has to accept [default: the region of the environment or the profile]
    #[arg(long, value_parser = region)]
    region: Option<String>,
    /// The lifetime of the token, up to 15m; it also ends with the credentials
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = expires)]
    expires: Duration,
    /// The PEM file of certificate authorities to trust in addition to the system's, for SSO behind a proxy
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn audience(text: &str) -> Result<String, &'static str> {
    aws_token::check_audience(text).map(|()| text.to_owned())
}

fn expires(text: &str) -> Result<Duration, String> {
    let duration = values::duration(text)?;
    let is_allowed = (Duration::from_secs(1)..=LONGEST_LIFETIME).contains(&duration) && duration.subsec_nanos() == 0;
    if is_allowed { Ok(duration) } else { Err("AWS accepts whole seconds up to 15m".to_owned()) }
}

impl AwsToken {
    /// Makes the token and prints it.
    pub(super) async fn run(self) -> Result<(), CommandError> {
        core_dumps::disable();
        let egress = Trust::for_sdk(self.ca_file.as_deref())?;
        let (region, credentials) = async {
            let region = match &self.region {
                Some(region) => region.clone(),
                None => default_region(&egress).await?,
            };
            let config = sdk::load(&region, &egress).await;
            let credentials = CredentialSource::new(&config, None).obtain(None).await.map_err(|error| {
                let hint = SourceError::hint(&error);
                CommandError::new(ExitClass::Failed, &error, Some(hint))
            })?;
            Ok::<_, CommandError>((region, credentials))
        }
        .await?;
        // Presigned requests have whole seconds.
        let lifetime = Duration::from_secs(lifetime(self.expires, &credentials, clock::now()).as_secs());
        let token = self.token(&region, &credentials, lifetime);
        let text = if self.json {
            document(&json!({
                "token": token.expose_secret(),
                "audience": self.audience,
                "region": region,
                "expires_in_s": lifetime.as_secs(),
            }))
        } else {
            token.expose_secret().to_owned()
        };
        try_show(&text).map_err(|error| {
            let hint = "check the file or the program that standard output is redirected to";
            CommandError::of(ExitClass::Failed, &format!("cannot write to standard output: {error}"), Some(hint))
        })?;
        if !self.json {
            let (lifetime, audience) = (humantime::format_duration(lifetime), &self.audience);
            say(&format!(
                "The token proves this AWS identity to `{audience}` for {lifetime}, also if somebody else has it."
            ));
        }
        Ok(())
    }

    fn token(&self, region: &str, credentials: &Credentials, lifetime: Duration) -> SecretString {
        let endpoint = sts_endpoint(region);
        let host = endpoint.authority();
        let header = (AUDIENCE_HEADER, self.audience.as_str());
        let request = Presignable { host: &host, region, service: "sts", parameters: &OPERATION, header, lifetime };
        let query = presigned_query(&request, credentials, clock::now());
        aws_token::token(&self.audience, &format!("{}/?{query}", endpoint.url()))
    }
}

async fn default_region(egress: &Egress) -> Result<String, CommandError> {
    let found = sdk::default_region(egress).await.ok_or("no region was found".to_owned());
    found.and_then(|text| region(&text)).map_err(|text| {
        CommandError::of(ExitClass::Usage, &text, Some("set `--region` or AWS_REGION to a region of the appliance"))
    })
}
