//! Presigning: the credentials, the lifetime and the time of a signature in a URL.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use jiff::Timestamp;
use rusty_s3::S3Action;
use url::Url;

/// The lifetimes that S3 accepts for a presigned URL.
const LIFETIME_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(24 * 7));

/// The longest lifetime of a URL that is signed now: it ends with its credentials.
#[must_use]
pub fn lifetime(wanted: Duration, credentials: &Credentials, now: SystemTime) -> Duration {
    let left = credentials.expiry().and_then(|expiry| expiry.duration_since(now).ok());
    left.map_or(wanted, |left| wanted.min(left))
}

pub(super) fn sign<'a>(action: &impl S3Action<'a>, lifetime: Duration, time: SystemTime) -> Url {
    match Timestamp::try_from(time) {
        Ok(time) => action.sign_with_time(lifetime, &time),
        // This time has no date, so S3 will reject any signature for it.
        Err(_) => action.sign(lifetime),
    }
}

pub(super) fn keys(credentials: &Credentials) -> rusty_s3::Credentials {
    let (id, secret) = (credentials.access_key_id(), credentials.secret_access_key());
    match credentials.session_token() {
        Some(token) => rusty_s3::Credentials::new_with_token(id, secret, token),
        None => rusty_s3::Credentials::new(id, secret),
    }
}

pub(super) fn target_of(url: &Url) -> String {
    url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
}

pub(super) fn clamped(lifetime: Duration) -> Duration {
    lifetime.clamp(LIFETIME_RANGE.0, LIFETIME_RANGE.1)
}
