//! MLflow's artifact service (`mlflow_artifacts.proto` of MLflow 3.17), answered from S3.

use actix_web::http::header;
use actix_web::web;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws::s3::{self, DELETE_LIMIT};
use crate::mlflow::download;
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::failure::StoreFailure;
use crate::serve::artifacts::request::{document, named, path};
use crate::serve::artifacts::route::Service;
use crate::serve::artifacts::{Answer, Exchange, object, parts};
use crate::serve::aside::aside;
use crate::serve::error::ProxyError;
use crate::serve::upstream::backend::Access;
use crate::serve::upstream::s3::{Action, S3Client};

/// Entries of one listing; MLflow has no pages for them.
const LIST_LIMIT: usize = 100_000;
/// The approximate size of an entry in JSON. Bytes.
const ENTRY: usize = 100;
/// S3's own limit of what one request can write. Bytes.
const WRITE_LIMIT: u64 = 5 << 30;
/// Deletions at once of objects whose keys XML cannot hold.
const CONCURRENT_DELETIONS: usize = 8;

#[derive(Deserialize)]
struct Create {
    path: String,
    #[serde(default)]
    num_parts: u16,
}

#[derive(Deserialize)]
struct Complete {
    path: String,
    upload_id: String,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    part_number: u16,
    etag: String,
}

#[derive(Deserialize)]
struct Abort {
    path: String,
    upload_id: String,
}

/// Answers a request to the service.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(
    service: Service<'_>,
    exchange: &Exchange<'_>,
    payload: web::Payload,
) -> Result<Answer, ProxyError> {
    match service {
        Service::List => {
            let files = list(exchange.store, &path(exchange.target, "path")?).await?;
            listed(files, "", None).await
        }
        Service::Read(encoded) => object::read(exchange, &ArtifactPath::decode(encoded)?).await,
        Service::Write(encoded) => {
            let path = named(ArtifactPath::decode(encoded)?)?;
            match parts::named(exchange.target)? {
                Some(part) => parts::write(exchange, payload, &path, &part).await,
                None => object::write(exchange, payload, &path, WRITE_LIMIT).await,
            }
        }
        Service::Delete(encoded) => delete(exchange.store, &named(ArtifactPath::decode(encoded)?)?).await,
        Service::CreateMultipart(encoded) => {
            let request: Create = document(exchange, payload).await?;
            parts::create(exchange, &below(encoded, &request.path)?, request.num_parts).await
        }
        Service::CompleteMultipart(encoded) => {
            let request: Complete = document(exchange, payload).await?;
            complete(exchange.store, &below(encoded, &request.path)?, request).await
        }
        Service::AbortMultipart(encoded) => {
            let request: Abort = document(exchange, payload).await?;
            let key = exchange.store.place.key(&below(encoded, &request.path)?);
            exchange
                .store
                .text(Action::Abort, |bucket, keys| bucket.abort_multipart(keys, &key, &request.upload_id))
                .await?;
            Ok(Answer::json(&json!({})))
        }
        Service::Presigned(encoded) => presigned(exchange.store, &named(ArtifactPath::decode(encoded)?)?).await,
    }
}

/// Returns the object of a multipart upload. The document has the client's local path, with the separators of its system, and
/// the object is named by the last component. MLflow's client refuses to list a directory with a backslash in a name.
fn below(directory: &str, file: &str) -> Result<ArtifactPath, ProxyError> {
    let name = file.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    Ok(ArtifactPath::decode(directory)?.join(&named(ArtifactPath::parse(name)?)?)?)
}

/// One file or folder.
pub(crate) struct Entry {
    name: String,
    /// Bytes; nothing for a folder.
    size: Option<u64>,
}

impl Entry {
    /// As MLflow writes it, with its path below `parent`.
    pub(crate) fn json(&self, parent: &str) -> Value {
        let slash = if parent.is_empty() { "" } else { "/" };
        let path = format!("{parent}{slash}{}", self.name);
        match self.size {
            Some(size) => json!({"path": path, "is_dir": false, "file_size": size}),
            None => json!({"path": path, "is_dir": true}),
        }
    }
}

/// What lies directly below a path, in the order of names.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn list(store: &S3Client, path: &ArtifactPath) -> Result<Vec<Entry>, ProxyError> {
    let mut prefix = store.place.key(path);
    if !path.is_root() {
        prefix.push('/');
    }
    let mut entries = Vec::new();
    let mut next = None;
    loop {
        let page = page(store, &prefix, Some("/"), next.as_deref()).await?;
        let folders = page.folders.iter().map(|key| (key, None));
        let objects = page.objects.iter().map(|(key, size)| (key, Some(*size)));
        for (key, size) in folders.chain(objects) {
            let name = key.strip_prefix(&prefix).unwrap_or_default().trim_end_matches('/');
            // An object that only marks its folder has no name in it.
            if !name.is_empty() {
                entries.push(Entry { name: name.to_owned(), size });
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
    aside(entries.len() * ENTRY, move || {
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        entries
    })
    .await
}

/// Returns a listing as MLflow writes it, with the location of the root if there is one.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn listed(files: Vec<Entry>, parent: &str, root: Option<Value>) -> Result<Answer, ProxyError> {
    let (parent, size) = (parent.to_owned(), files.len() * ENTRY);
    let document = move || {
        let files: Vec<Value> = files.iter().map(|entry| entry.json(&parent)).collect();
        let mut document = json!({"files": files});
        if let Some(root) = root {
            document["root_uri"] = root;
        }
        document.to_string()
    };
    Ok(Answer::text(aside(size, document).await?))
}

async fn page(
    store: &S3Client,
    prefix: &str,
    delimiter: Option<&str>,
    next: Option<&str>,
) -> Result<s3::Page, ProxyError> {
    let text =
        store.text(Action::List, |bucket, credentials| bucket.list(credentials, prefix, delimiter, next)).await?;
    Ok(aside(text.len(), move || s3::page(&text)).await?.ok_or(StoreFailure::Unreadable)?)
}

/// Deletes an artifact, or all that lie below it. That there was none is no failure.
async fn delete(store: &S3Client, path: &ArtifactPath) -> Result<Answer, ProxyError> {
    let key = store.place.key(path);
    // Asked first, because a store over a file system fails to delete a directory as if it were an object. Of all keys
    // that start with this one, it comes first.
    if page(store, &key, Some("/"), None).await?.objects.iter().any(|(found, _)| *found == key) {
        store.text(Action::Delete, |bucket, credentials| bucket.delete(credentials, &key)).await?;
    }
    // With the slash: `model` must not take `model2` with it.
    let prefix = format!("{key}/");
    let mut next = None;
    loop {
        let page = page(store, &prefix, None, next.as_deref()).await?;
        let keys = page.objects.into_iter().map(|(key, _)| key);
        let (odd, plain): (Vec<_>, Vec<_>) = keys.partition(|key| key.chars().any(char::is_control));
        for batch in plain.chunks(DELETE_LIMIT) {
            let text = store.text(Action::Delete, |bucket, credentials| bucket.delete_all(credentials, batch)).await?;
            let (undeleted, code) = s3::undeleted(&text).ok_or(StoreFailure::Unreadable)?;
            if undeleted > 0 {
                return Err(StoreFailure::Refused(format!("{undeleted} artifacts: {code}")).into());
            }
        }
        stream::iter(&odd)
            .map(|key| async move {
                store.text(Action::Delete, |bucket, credentials| bucket.delete(credentials, key)).await
            })
            .buffer_unordered(CONCURRENT_DELETIONS)
            .try_collect::<Vec<_>>()
            .await?;
        next = page.next;
        if next.is_none() {
            return Ok(Answer::json(&json!({})));
        }
    }
}

async fn complete(store: &S3Client, path: &ArtifactPath, request: Complete) -> Result<Answer, ProxyError> {
    let numbers = request.parts.iter().map(|part| part.part_number);
    if request.parts.is_empty() || !numbers.eq(1..=u16::try_from(request.parts.len()).unwrap_or(0)) {
        return Err(ProxyError::Artifact("the parts must be all of them, in order from 1".into()));
    }
    let (key, upload, parts) = (store.place.key(path), request.upload_id, request.parts);
    let size = parts.len() * ENTRY;
    let document = move || s3::parts_document(parts.iter().map(|part| part.etag.as_str()));
    let parts = aside(size, document).await?;
    let text = store
        .text(Action::Assemble, |bucket, credentials| {
            bucket.complete_multipart(credentials, &key, &upload, parts.clone())
        })
        .await?;
    if !s3::is_completed(&text) {
        let code = s3::error_code(&text).map(ToOwned::to_owned);
        return Err(code.map_or(StoreFailure::Unreadable, StoreFailure::Busy).into());
    }
    Ok(Answer::json(&json!({})))
}

async fn presigned(store: &S3Client, path: &ArtifactPath) -> Result<Answer, ProxyError> {
    if store.access == Access::Proxied {
        return Err(ProxyError::NoPresigned);
    }
    let object = store.head(path).await?;
    let size = object.announced.ok_or(StoreFailure::Missing)?;
    let stored = object.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let url = object::download_url(store, path, download::type_of_object(stored, path.name())).await?;
    Ok(Answer::json(&json!({"url": url, "headers": {}, "file_size": size})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_upload_is_the_last_component_on_any_system() {
        for (file, expected) in [
            ("/home/ada/model.bin", "model.bin"),
            ("model.bin", "model.bin"),
            ("C:\\a\\b.bin", "b.bin"),
            ("\\\\host\\share\\x", "x"),
            ("C:\\a/b\\c d.bin", "c d.bin"),
            ("C:/a/b.bin", "b.bin"),
            ("a\\b\\", "b"),
            ("a/b/\\/", "b"),
            ("..\\x", "x"),
        ] {
            assert_eq!(below("1/r", file).expect(file).as_str(), format!("1/r/{expected}"), "{file}");
        }
        for file in ["", "\\", "/", "..", "a\\..", "C:\\..\\", "."] {
            assert!(below("1/r", file).is_err(), "{file}");
        }
    }
}
