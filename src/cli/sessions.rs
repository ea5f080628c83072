//! The settings of browsers' sessions: their lifetime, and the key that signs them.

use super::options::{CallerOptions, ValueOrigin};
use super::problems::{Problems, Reported};
use super::random::random;
use super::secrets;
use crate::access::session::Sessions;
use crate::serve::{SESSION_KEY_LENGTH, SessionSettings};

/// The settings. `region` is the region of a secret that is named without one.
///
/// # Errors
/// [`Reported`].
pub(super) fn resolve(
    options: &CallerOptions,
    region: &str,
    problems: &mut Problems,
) -> Result<SessionSettings, Reported> {
    let lifetime = problems.duration(options.session_lifetime.as_ref(), 12 * 3600);
    let Some(given) = &options.session_key else {
        let Some(key) = random::<SESSION_KEY_LENGTH>() else {
            let what = "the operating system has no random numbers";
            problems.add(&ValueOrigin::Default, what, "start the appliance later");
            return Err(Reported);
        };
        return Ok(SessionSettings::Known(Box::new(Sessions::new(&key, lifetime))));
    };
    if let Some(key) = secrets::stored(given, region, problems)? {
        return Ok(SessionSettings::Stored { key, lifetime });
    }
    let path = problems.file(given, "name a file, or add the credential to the systemd unit").ok_or(Reported)?;
    let key = std::fs::read(path).map_err(|error| error.to_string());
    let key = key.and_then(|key| {
        if key.len() < SESSION_KEY_LENGTH { Err(format!("it has only {} bytes", key.len())) } else { Ok(key) }
    });
    match key {
        Ok(key) => Ok(SessionSettings::Known(Box::new(Sessions::new(&key, lifetime)))),
        Err(error) => {
            let what = format!("`{}`: {error}", given.text.escape_debug());
            problems.add_local(&given.origin, what, "create it with `head -c 32 /dev/urandom > FILE`");
            Err(Reported)
        }
    }
}
