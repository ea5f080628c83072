//! Listings of the artifact store, in pages of S3 and in MLflow's form.

use serde_json::{Value, json};

use crate::aws::s3;
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::request::ArtifactResponse;
use crate::serve::error::ProxyError;
use crate::serve::error::s3_error::{S3CallKind, S3Error};
use crate::serve::offload::offload;
use crate::serve::upstream::s3::S3Client;

/// The limit of one listing; MLflow has no pages for it.
const LIST_LIMIT: usize = 100_000;
/// The approximate size of an entry in JSON. Bytes.
const ENTRY_SIZE: usize = 100;

/// One file or folder.
pub(crate) struct ListingEntry {
    name: String,
    /// The size in bytes; a folder has none.
    size: Option<u64>,
}

impl ListingEntry {
    /// Returns the entry in MLflow's form, with its path below `parent`.
    fn json(&self, parent: &str) -> Value {
        let slash = if parent.is_empty() { "" } else { "/" };
        let path = format!("{parent}{slash}{}", self.name);
        match self.size {
            Some(size) => json!({"path": path, "is_dir": false, "file_size": size}),
            None => json!({"path": path, "is_dir": true}),
        }
    }
}

/// Lists the files and folders directly below a path, in the order of names.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn list(s3: &S3Client, path: &ArtifactPath) -> Result<Vec<ListingEntry>, ProxyError> {
    let mut prefix = s3.store.key(path);
    if !path.is_root() {
        prefix.push('/');
    }
    let mut entries = Vec::new();
    let mut next = None;
    loop {
        let page = page(s3, &prefix, Some("/"), next.as_deref()).await?;
        let folders = page.folders.iter().map(|key| (key, None));
        let objects = page.objects.iter().map(|(key, size)| (key, Some(*size)));
        for (key, size) in folders.chain(objects) {
            let name = key.strip_prefix(&prefix).unwrap_or_default().trim_end_matches('/');
            // An object that only marks its folder has no name of its own.
            // SECURITY: a key such as `../x`, which only others can write to the bucket, would lead a client that saves all files out
            // of its directory. No path of a caller names it.
            if !name.is_empty() && !name.contains('/') && ArtifactPath::parse(name).is_ok() {
                entries.push(ListingEntry { name: name.to_owned(), size });
            }
        }
        if entries.len() > LIST_LIMIT {
            return Err(ProxyError::Artifact(format!("there are more than {LIST_LIMIT} artifacts at this path")));
        }
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    offload(entries.len() * ENTRY_SIZE, move || {
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        entries
    })
    .await
}

/// Returns a listing in MLflow's form, with the location of the root if there is one.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn respond(
    files: Vec<ListingEntry>,
    parent: &str,
    root: Option<Value>,
) -> Result<ArtifactResponse, ProxyError> {
    let (parent, size) = (parent.to_owned(), files.len() * ENTRY_SIZE);
    let document = move || {
        let files: Vec<Value> = files.iter().map(|entry| entry.json(&parent)).collect();
        let mut document = json!({"files": files});
        if let Some(root) = root {
            document["root_uri"] = root;
        }
        document.to_string()
    };
    Ok(ArtifactResponse::text(offload(size, document).await?))
}

/// Returns one page of the keys that begin with `prefix`, from the token `next` on.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn page(
    s3: &S3Client,
    prefix: &str,
    delimiter: Option<&str>,
    next: Option<&str>,
) -> Result<s3::ObjectListing, ProxyError> {
    let text =
        s3.text(S3CallKind::List, |bucket, credentials| bucket.list(credentials, prefix, delimiter, next)).await?;
    let page = offload(text.len(), move || s3::page(&text)).await?.ok_or(S3Error::InvalidResponse)?;
    // The same page would come for ever.
    if page.next.is_some() && page.next.as_deref() == next {
        return Err(S3Error::InvalidResponse.into());
    }
    Ok(page)
}
