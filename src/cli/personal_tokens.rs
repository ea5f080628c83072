//! The settings of personal tokens: their source, which the appliance changes, and their longest lifetime.

use super::options::{CallerOptions, ServeOptions};
use super::problems::{Problems, Reported};
use super::secrets;
use crate::access::tokens::Tokens;
use crate::aws::secret::Keeper;
use crate::probe::Finding;
use crate::serve::{PersonalSettings, TokenSettings};
use crate::token_source::{self, TokenSource};

/// 90 days.
const LIFETIME_S: u64 = 90 * 86_400;

/// The settings; nothing without a source.
///
/// # Errors
/// [`Reported`].
pub(super) fn resolve(
    all: &ServeOptions,
    region: &str,
    problems: &mut Problems,
) -> Result<Option<PersonalSettings>, Reported> {
    let options = &all.callers;
    let lifetime = problems.duration(options.personal_token_lifetime.as_ref(), LIFETIME_S);
    let Some(given) = &options.personal_tokens else {
        if let Some(given) = &options.personal_token_lifetime {
            let hint = "set `personal-tokens`, or remove this option";
            problems.add(&given.origin, "this has no effect without `personal-tokens`", hint);
        }
        return Ok(None);
    };
    let text = given.text.as_str();
    let rejected = |what: &str, hint: &str, problems: &mut Problems| {
        problems.add(&given.origin, format!("`{}`: {what}", text.escape_debug()), hint);
        Reported
    };
    if options.tokens.as_ref().is_some_and(|tokens| tokens.text == text) {
        let hint = "name another source; the appliance writes this one, and only operators write the other";
        return Err(rejected("this is the source of `tokens` as well", hint, problems));
    }
    if !has_people(all, options) {
        let hint = "set `tokens`, `oidc-signer`, `tls-client-ca` or an `[[issuer]]` with which people sign in";
        return Err(rejected("nobody can sign in to make a personal token", hint, problems));
    }
    if let Some(secret) = secrets::stored(given, region, problems)? {
        return Ok(Some(settings(TokenSource::Secret(secret), None, lifetime)));
    }
    if text.starts_with("credential:") {
        let hint = "name a file in a directory that the appliance may write, such as its state directory";
        return Err(rejected("the appliance cannot change a credential of systemd", hint, problems));
    }
    let path = std::path::PathBuf::from(text);
    // The first person who makes a token creates the file.
    let initial = if path.exists() { token_source::read_file(&path) } else { Ok(Tokens::default()) };
    match initial {
        Ok(tokens) => Ok(Some(settings(TokenSource::File(path), Some(tokens), lifetime))),
        Err(what) => {
            let hint = "correct the file, or restore an earlier version of it";
            problems.add_local(&given.origin, what.to_string(), hint);
            Err(Reported)
        }
    }
}

/// The finding about the source: whether the appliance can write it. `may_write` allows a temporary file beside it.
pub(super) fn finding(settings: &PersonalSettings, may_write: bool) -> Finding {
    const CHECK: &str = "personal";
    match &settings.tokens.source {
        TokenSource::File(path) if !may_write => {
            Finding::skipped(CHECK, &path.display().to_string(), "skipped because of `--read-only`")
        }
        TokenSource::File(path) => {
            let shown = path.display().to_string();
            match token_source::check_writable(path) {
                Ok(()) => Finding::ok(CHECK, &shown, "this user can write the file of the personal tokens"),
                Err(error) => {
                    let hint = "create the directory, and let the user of the appliance write to it: each change replaces the file";
                    Finding::failure(CHECK, &shown, error.to_string(), hint)
                }
            }
        }
        // AWS has no call that tests this and changes nothing.
        TokenSource::Secret(secret) => {
            let actions = match secret.secret.keeper() {
                Keeper::SecretsManager => {
                    "`secretsmanager:GetSecretValue`, `secretsmanager:PutSecretValue` and \
                     `secretsmanager:UpdateSecretVersionStage`, and `secretsmanager:CreateSecret` unless the secret exists"
                }
                Keeper::ParameterStore => "`ssm:GetParameter`, `ssm:GetParameterHistory` and `ssm:PutParameter`",
            };
            let text = "not tested, because a test would change the personal tokens";
            let hint = format!(
                "the machine's own identity needs {actions}, and `kms:Decrypt`, `kms:Encrypt` and `kms:GenerateDataKey` if a KMS key of yours encrypts it"
            );
            Finding { fix: Some(hint), ..Finding::skipped(CHECK, secret.secret.name(), text) }
        }
    }
}

/// True if a person can sign in, and not only present a token.
fn has_people(all: &ServeOptions, options: &CallerOptions) -> bool {
    options.tokens.is_some()
        || options.oidc_signer.is_some()
        || all.listener.tls_client_ca.is_some()
        || !all.issuer_tables.is_empty()
}

fn settings(source: TokenSource, initial: Option<Tokens>, lifetime: std::time::Duration) -> PersonalSettings {
    PersonalSettings { tokens: TokenSettings { source, initial }, lifetime }
}
