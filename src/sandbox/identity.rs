//! The sandbox's own small IAM: the credentials that were issued, with their principals and expiry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};

/// Expired credentials are remembered for this time, so that they are rejected as expired and not as unknown.
const MEMORY: Duration = Duration::from_hours(1);

/// The principal for which credentials were issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// The emulated EC2 instance, which may only assume the role.
    Instance,
    /// The role, which may only call MLflow and S3.
    Role,
}

/// Temporary credentials. There is no `Debug`: the secrets are not real, but are handled like real ones.
#[derive(Clone)]
pub(super) struct IssuedCredentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: String,
    pub(super) expiry: SystemTime,
    pub(super) principal: Principal,
}

/// Issues credentials and knows those it has issued. Cloning shares.
#[derive(Clone, Default)]
pub(super) struct Issuer {
    issued: Arc<Mutex<HashMap<String, IssuedCredentials>>>,
}

impl Issuer {
    /// Issues credentials for `principal` that are valid from `now` for `lifetime`.
    pub(super) fn issue(&self, principal: Principal, now: SystemTime, lifetime: Duration) -> IssuedCredentials {
        let issued = IssuedCredentials {
            access_key_id: format!("ASIA{}", random_text(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
            secret_access_key: random_text(40, ALPHANUMERIC),
            session_token: random_text(240, ALPHANUMERIC),
            expiry: now + lifetime,
            principal,
        };
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, old| old.expiry + MEMORY > now);
        self.insert(issued.clone());
        issued
    }

    /// Adds credentials, or replaces those with the same id.
    pub(super) fn insert(&self, issued: IssuedCredentials) {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).insert(issued.access_key_id.clone(), issued);
    }

    /// Returns the credentials with this access key id.
    pub(super) fn find(&self, access_key_id: &str) -> Option<IssuedCredentials> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).get(access_key_id).cloned()
    }
}

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns `length` random characters of `alphabet`, whose size is a power of two, so that all are equally likely.
pub(super) fn random_text(length: usize, alphabet: &[u8]) -> String {
    debug_assert!(alphabet.len().is_power_of_two());
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}
