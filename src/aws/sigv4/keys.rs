//! The signing keys of one thread. A key depends on secret, day, region and service only, so all targets that are signed for with
//! the same credentials share it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use aws_sigv4::sign::v4::generate_signing_key;
use ring::{digest, hmac};

/// The number of keys that are kept. Only where each caller has credentials of its own can there be more.
const KEY_LIMIT: usize = 64;
const DAY: u64 = 24 * 60 * 60;

/// The keys. Clones share them.
#[derive(Clone, Default)]
pub struct SigningKeys(Rc<RefCell<Vec<DerivedKey>>>);

struct DerivedKey {
    day: u64,
    region: String,
    service: &'static str,
    /// SECURITY: the hash of the secret, since a secret must not be kept here after its credentials have been replaced.
    secret: [u8; digest::SHA256_OUTPUT_LEN],
    key: hmac::Key,
}

impl SigningKeys {
    /// The key for this second. Deriving one costs four HMACs, as much as the rest of a signature.
    pub(super) fn of(&self, secret: &str, second: u64, region: &str, service: &'static str) -> hmac::Key {
        let day = second / DAY;
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        let mut keys = self.0.borrow_mut();
        let is_same = |known: &&DerivedKey| {
            known.day == day && known.secret == hash && known.service == service && known.region == region
        };
        if let Some(known) = keys.iter().find(is_same) {
            return known.key.clone();
        }
        // The clocks of two targets may stand on two sides of midnight.
        keys.retain(|known| known.day.abs_diff(day) <= 1);
        if keys.len() >= KEY_LIMIT {
            keys.remove(0);
        }
        let derived = generate_signing_key(secret, UNIX_EPOCH + Duration::from_secs(second), region, service);
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        keys.push(DerivedKey { day, region: region.to_owned(), service, secret: hash, key: key.clone() });
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_derived_once_for_each_secret_day_region_and_service() {
        let keys = SigningKeys::default();
        let sign = |key: hmac::Key| hmac::sign(&key, b"text").as_ref().to_vec();
        let of = |(secret, second, region, service)| sign(keys.of(secret, second, region, service));
        let first = ("secret", 10 * DAY, "us-east-1", "sagemaker");
        for (parts, kept) in [
            (first, 1),
            (("secret", 11 * DAY - 1, "us-east-1", "sagemaker"), 1),
            (("other", 10 * DAY, "us-east-1", "sagemaker"), 2),
            (("secret", 10 * DAY, "eu-west-1", "sagemaker"), 3),
            (("secret", 10 * DAY, "us-east-1", "sagemaker-mlflow"), 4),
            (("secret", 11 * DAY, "us-east-1", "sagemaker"), 5),
            (first, 5),
            // The keys of the days before are dropped.
            (("secret", 13 * DAY, "us-east-1", "sagemaker"), 1),
        ] {
            let (secret, second, region, service) = parts;
            let time = UNIX_EPOCH + Duration::from_secs(second);
            let fresh = generate_signing_key(secret, time, region, service);
            assert_eq!(of(parts), sign(hmac::Key::new(hmac::HMAC_SHA256, fresh.as_ref())), "{parts:?}");
            assert_eq!(keys.0.borrow().len(), kept, "{parts:?}");
        }
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let keys = SigningKeys::default();
        for number in 0..2 * KEY_LIMIT {
            let _ = keys.of(&number.to_string(), 0, "us-east-1", "sagemaker");
        }
        assert_eq!(keys.0.borrow().len(), KEY_LIMIT);
    }
}
