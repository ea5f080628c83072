//! The keys with which objects of the sandbox's S3 would be encrypted. Nothing is encrypted; S3 only tells the key.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use s3s::dto::HeadObjectOutput;

const KMS: &str = "aws:kms";

/// The keys by the names of the objects. They are forgotten when the sandbox ends.
#[derive(Debug, Default)]
pub(super) struct EncryptionKeys(Mutex<BTreeMap<String, String>>);

impl EncryptionKeys {
    /// Notes the key of an object that is about to be there, or that it has none.
    pub(super) fn note(&self, name: &str, key: Option<String>) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match key {
            Some(key) => drop(keys.insert(name.to_owned(), key)),
            None => drop(keys.remove(name)),
        }
    }

    /// Adds the headers of an encrypted object.
    pub(super) fn describe(&self, name: &str, output: &mut HeadObjectOutput) {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(name) {
            output.server_side_encryption = Some(KMS.to_owned().into());
            output.ssekms_key_id = Some(key.clone());
        }
    }
}
