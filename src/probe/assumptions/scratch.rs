//! The scratch experiment: one experiment with one run, below which everything is that a run of the tests writes.

use std::rc::Rc;

use super::proof::NoProof;
use crate::aws::s3::Bucket;
use crate::http::client::Endpoint;

/// The tag by which the experiment is known.
pub(super) const TAG: &str = "appliance.assumptions";
/// A text that each layer could misread. The tag has it.
pub(super) const ODD_TEXT: &str = "a+b c/%2F=&\u{fc}";

/// The scratch experiment, and all that belongs to it. Each thing is noted before it is created, so that it can be removed if
/// the answer is lost.
#[derive(Default)]
pub(super) struct Scratch {
    /// True from the moment at which the experiment may exist.
    pub(super) has_begun: bool,
    pub(super) experiment: Option<String>,
    pub(super) run: Option<String>,
    pub(super) artifact_uri: Option<String>,
    /// The reason why there is no run.
    pub(super) why: String,
    pub(super) store: Option<Rc<ScratchStore>>,
    /// The keys of all objects that may exist.
    pub(super) keys: Vec<String>,
    /// The names of objects that were written for certain.
    pub(super) written: Vec<String>,
    /// Uploads in parts that are not complete: the key, and the id if it is known.
    pub(super) uploads: Vec<(String, Option<String>)>,
}

/// The place of the run's artifacts.
pub(super) struct ScratchStore {
    pub(super) bucket: Bucket,
    pub(super) bucket_name: String,
    pub(super) endpoint: Endpoint,
    /// The beginning of every key; it has the id of the run in it.
    pub(super) prefix: String,
    pub(super) kms_key: Option<String>,
}

impl Scratch {
    /// The id of the run, if there is one.
    pub(super) fn known_run(&self) -> Result<String, NoProof> {
        self.run.clone().ok_or_else(|| NoProof::because(format!("there is no scratch run: {}", self.why)))
    }

    /// The place of artifacts.
    pub(super) fn store(&self) -> Result<Rc<ScratchStore>, NoProof> {
        self.known_run()?;
        let why = "the artifact location of the scratch run is not usable; see `artifact-location`";
        self.store.clone().ok_or_else(|| NoProof::because(why))
    }

    /// The key of a new object, which is noted as one to be removed.
    pub(super) fn new_key(&mut self, name: &str) -> Result<String, NoProof> {
        let key = format!("{}{name}", self.store()?.prefix);
        self.keys.push(key.clone());
        Ok(key)
    }
}
