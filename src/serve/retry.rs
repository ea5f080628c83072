//! Decides whether a failed attempt may be made again. Pure: what happened in, a verdict out.
//!
//! A request is repeated only if the upstream cannot have acted on it, or if acting on it twice is the same as once
//! and the failure looks like a pooled connection that had just been closed.

use actix_web::http::Method;

use crate::http::client::ClientError;

/// Attempts for one request. More would multiply the load on an upstream that is already failing.
const ATTEMPT_LIMIT: u32 = 2;

/// True if attempt number `attempt` (from 1), having failed with `error`, may be followed by another.
#[must_use]
pub(super) fn may_retry(method: &Method, error: &ClientError, attempt: u32) -> bool {
    if attempt >= ATTEMPT_LIMIT {
        return false;
    }
    match error {
        ClientError::Refused(_) => true,
        ClientError::Closed | ClientError::Broken(_) => is_repeatable(method),
        // A new connection was just tried, or time has run out, or the answer would be as broken again.
        ClientError::Dial(_) | ClientError::NoAnswer(_) | ClientError::Invalid(_) | ClientError::Body(_) => false,
    }
}

/// Methods whose repetition changes nothing and answers the same. `DELETE` is left out: the second one answers 404.
fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_cannot_act_twice_is_repeated_and_only_once() {
        let broken = || ClientError::Broken(io::Error::other("reset"));
        let silent = || ClientError::NoAnswer(Duration::from_secs(1));
        for (method, error, expected) in [
            (Method::GET, ClientError::Closed, true),
            (Method::HEAD, broken(), true),
            (Method::PUT, ClientError::Closed, true),
            (Method::POST, ClientError::Closed, false),
            (Method::POST, broken(), false),
            (Method::PATCH, ClientError::Closed, false),
            (Method::DELETE, ClientError::Closed, false),
            (Method::POST, ClientError::Refused(h2::Reason::REFUSED_STREAM.into()), true),
            (Method::GET, silent(), false),
            (Method::GET, ClientError::Invalid("garbage".into()), false),
            (Method::PUT, ClientError::Body("disk".into()), false),
        ] {
            assert_eq!(may_retry(&method, &error, 1), expected, "{method} {error:?}");
            assert!(!may_retry(&method, &error, 2), "{method} {error:?}");
        }
    }
}
