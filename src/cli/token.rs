//! `appliance token`: creates, lists and revokes access tokens in a token file.

use std::time::SystemTime;

use serde_json::json;

use super::aws_connection::AwsArguments;
use super::columns;
use super::command_error::{CommandError, ExitClass};
use super::known_values::roles;
use super::output::{document, say, try_show};
use super::token_aws::AwsToken;
use super::token_place::TokenPlace;
use super::{examples, values};
use crate::access::caller::{Role, Targets};
use crate::access::caller_name;
use crate::access::token;
use crate::access::tokens::{TokenEntry, Tokens};
use crate::clock;
use crate::counted::counted;
use crate::token_source::WhenMissing;

/// Create and revoke access tokens
#[derive(Debug, clap::Subcommand)]
#[command(after_help = examples::TOKEN)]
pub(super) enum Token {
    /// Create a token and print it; it is not shown again
    #[command(visible_alias = "create", after_help = examples::TOKEN_NEW)]
    New {
        /// The name of the caller: 2 to 64 letters, digits and `+=,.@_-`
        #[arg(long)]
        name: String,
        /// The role of the caller
        #[arg(long, value_parser = roles())]
        role: Role,
        /// The names of targets that the caller may use, comma-separated; a single target is called `default` [default: all]
        #[arg(long)]
        targets: Option<String>,
        /// The lifetime of the token, as in `90d`, or `never`
        #[arg(long, default_value = "90d", value_name = "DURATION")]
        expires: String,
        #[command(flatten)]
        arguments: TokenArguments,
    },
    /// List the tokens, without their secrets
    #[command(visible_alias = "ls", after_help = examples::TOKEN_LIST)]
    List {
        #[command(flatten)]
        arguments: TokenArguments,
    },
    Aws(AwsToken),
    /// Revoke tokens
    #[command(visible_alias = "rm", after_help = examples::TOKEN_REVOKE)]
    Revoke {
        /// The id of one token, or the name of a caller
        #[arg(value_name = "ID|NAME")]
        which: String,
        #[command(flatten)]
        arguments: TokenArguments,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct TokenArguments {
    /// The token file, or `ssm:` or `secretsmanager:` with a name or an ARN, as in `serve --tokens`
    #[arg(long, value_name = "FILE|SECRET")]
    file: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    aws: AwsArguments,
}

impl Token {
    /// Runs the subcommand.
    pub(super) fn run(self) -> Result<(), CommandError> {
        actix_web::rt::System::new().block_on(self.act())
    }

    async fn act(self) -> Result<(), CommandError> {
        match self {
            Self::New { name, role, targets, expires, arguments } => {
                let now = clock::now();
                let entry = entry(name, role, targets.as_deref(), &expires, now);
                let (new, entry) = entry.map_err(|text| wrong(ExitClass::Usage, &text))?;
                let place = arguments.place().await?;
                let add = move |tokens: &mut Tokens| {
                    tokens.add(entry.clone()).map_err(|text| wrong(ExitClass::Failed, &text))?;
                    Ok(tokens.entries().len())
                };
                let count = place.update(WhenMissing::Create, add).await?;
                // Standard output has the token alone, so that a script can read it.
                shown(&arguments, &json!({"id": new.id, "token": new.to_string()}), || new.to_string())?;
                if !arguments.json {
                    let (file, tokens) = (&arguments.file, counted(count, "token"));
                    say(&format!("Store the token now: it is not shown again. {file} has {tokens}, as hashes."));
                }
                Ok(())
            }
            Self::List { arguments } => {
                let tokens = arguments.place().await?.read().await?;
                let now = clock::now();
                let entries: Vec<_> = tokens.entries().iter().map(|entry| described(entry, now)).collect();
                shown(&arguments, &json!(entries), || table(&tokens, now))
            }
            Self::Aws(command) => command.run().await,
            Self::Revoke { which, arguments } => {
                let place = arguments.place().await?;
                let hint = format!("`appliance token list --file {}` lists all tokens", arguments.file);
                let revoke = move |tokens: &mut Tokens| {
                    let revoked = tokens.revoke(&which);
                    if revoked.is_empty() {
                        let text = format!("no token has the id or the name `{}`", which.escape_debug());
                        return Err(CommandError::of(ExitClass::Failed, &text, Some(&hint)));
                    }
                    Ok(revoked)
                };
                let revoked = place.update(WhenMissing::Fail, revoke).await?;
                let ids: Vec<_> = revoked.iter().map(|entry| entry.id.as_str()).collect();
                shown(&arguments, &json!({"revoked": ids}), || format!("revoked: {}", ids.join(", ")))
            }
        }
    }
}

impl TokenArguments {
    async fn place(&self) -> Result<TokenPlace, CommandError> {
        TokenPlace::open(&self.file, &self.aws).await
    }
}

fn entry(
    name: String,
    role: Role,
    targets: Option<&str>,
    expires: &str,
    now: SystemTime,
) -> Result<(token::NewToken, TokenEntry), String> {
    caller_name::check_name(&name).map_err(|error| format!("`--name {}`: {error}", name.escape_debug()))?;
    let named = |text: &str| {
        values::target_names(text).map_err(|error| format!("`--targets {}`: {error}", text.escape_debug()))
    };
    let targets = targets.map(named).transpose()?.map_or(Targets::All, Targets::Named);
    let expires = match expires {
        "never" => None,
        text => {
            let lifetime = values::duration(text)
                .map_err(|error| format!("`--expires {text}`: {error}; write a number with a unit, as in `90d`"))?;
            Some(now.checked_add(lifetime).ok_or("`--expires` is too far in the future")?)
        }
    };
    let new = token::generate(&ring::rand::SystemRandom::new()).map_err(|error| error.to_string())?;
    let entry =
        TokenEntry { id: new.id.clone(), name, role, targets, created: now, expires, hash: new.hash, personal: None };
    Ok((new, entry))
}

fn wrong(class: ExitClass, text: &str) -> CommandError {
    CommandError::of(class, text, Some("correct the option; `appliance token new --help` describes each of them"))
}

fn described(entry: &TokenEntry, now: SystemTime) -> serde_json::Value {
    let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    json!({
        "id": entry.id,
        "name": entry.name,
        "role": entry.role.as_str(),
        "targets": match &entry.targets { Targets::All => None, Targets::Named(names) => Some(names) },
        "created": time(entry.created),
        "expires": entry.expires.map(time),
        "expired": entry.expires.is_some_and(|expires| expires <= now),
        "personal": entry.personal.as_ref().map(|personal| json!({
            "name": personal.label,
            "owner": personal.owner.as_str(),
            "issuer": personal.issuer.as_deref(),
            "used": personal.used.day().map(|day| day.to_string()),
        })),
    })
}

fn table(tokens: &Tokens, now: SystemTime) -> String {
    if tokens.entries().is_empty() {
        return "there are no tokens".to_owned();
    }
    let date = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned();
    let rows = tokens.entries().iter().map(|entry| {
        let targets = match &entry.targets {
            Targets::All => "all".to_owned(),
            Targets::Named(names) => names.join(","),
        };
        let expires = match entry.expires {
            None => "never".to_owned(),
            Some(expires) if expires <= now => format!("{} (expired)", date(expires)),
            Some(expires) => date(expires),
        };
        let name = match &entry.personal {
            None => entry.name.clone(),
            Some(personal) => format!("{} ({})", entry.name, personal.label),
        };
        [entry.id.clone(), name, entry.role.to_string(), targets, date(entry.created), expires]
    });
    let heading = ["ID", "NAME", "ROLE", "TARGETS", "CREATED", "EXPIRES"].map(ToOwned::to_owned);
    columns::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

fn shown(
    arguments: &TokenArguments,
    machine: &serde_json::Value,
    people: impl FnOnce() -> String,
) -> Result<(), CommandError> {
    let text = if arguments.json { document(machine) } else { people() };
    try_show(&text).map_err(|error| {
        CommandError::of(
            ExitClass::Failed,
            &format!("cannot write to standard output: {error}"),
            Some("check the file or the program that standard output is redirected to"),
        )
    })
}
