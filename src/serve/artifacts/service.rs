//! MLflow's artifact service (`mlflow_artifacts.proto` of MLflow 3.17), answered from S3.

use actix_web::http::header;
use actix_web::web;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use crate::aws::s3::{self, DELETE_LIMIT};
use crate::mlflow::download;
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::parameters::{document, named, path};
use crate::serve::artifacts::request::{ArtifactRequest, ArtifactResponse};
use crate::serve::artifacts::route::ServiceRoute;
use crate::serve::artifacts::{listing, multipart, object};
use crate::serve::error::ProxyError;
use crate::serve::error::s3_error::{S3CallKind, S3Error};
use crate::serve::offload::offload;
use crate::serve::upstream::s3::S3Client;
use crate::serve::upstream::settings::ArtifactAccess;

/// The approximate size of a completed part in XML. Bytes.
const PART_SIZE: usize = 100;
/// S3's own limit of an object that one request writes. Bytes.
const WRITE_LIMIT: u64 = 5 << 30;
/// The number of concurrent deletions of objects whose keys cannot be written in XML.
const CONCURRENT_DELETIONS: usize = 8;

#[derive(Deserialize)]
struct CreateUpload {
    path: String,
    #[serde(default)]
    num_parts: u16,
}

#[derive(Deserialize)]
struct CompleteUpload {
    path: String,
    upload_id: String,
    parts: Vec<CompletedPart>,
}

#[derive(Deserialize)]
struct CompletedPart {
    part_number: u16,
    etag: String,
}

#[derive(Deserialize)]
struct AbortUpload {
    path: String,
    upload_id: String,
}

/// Answers a request to the service.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(
    route: ServiceRoute<'_>,
    request: &ArtifactRequest<'_>,
    payload: web::Payload,
) -> Result<ArtifactResponse, ProxyError> {
    match route {
        ServiceRoute::List => {
            let files = listing::list(request.s3, &path(request.path_and_query, "path")?).await?;
            listing::respond(files, "", None).await
        }
        ServiceRoute::Read(encoded) => object::read(request, &ArtifactPath::decode(encoded)?).await,
        ServiceRoute::Write(encoded) => {
            let path = named(ArtifactPath::decode(encoded)?)?;
            match multipart::part_of(request.path_and_query)? {
                Some(part) => multipart::write(request, payload, &path, &part).await,
                None => object::write(request, payload, &path, WRITE_LIMIT).await,
            }
        }
        ServiceRoute::Delete(encoded) => delete(request.s3, &named(ArtifactPath::decode(encoded)?)?).await,
        ServiceRoute::CreateMultipart(encoded) => {
            let document: CreateUpload = document(request, payload).await?;
            multipart::create(request, &below(encoded, &document.path)?, document.num_parts).await
        }
        ServiceRoute::CompleteMultipart(encoded) => {
            let document: CompleteUpload = document(request, payload).await?;
            complete(request.s3, &below(encoded, &document.path)?, document).await
        }
        ServiceRoute::AbortMultipart(encoded) => {
            let document: AbortUpload = document(request, payload).await?;
            let key = request.s3.store.key(&below(encoded, &document.path)?);
            request
                .s3
                .text(S3CallKind::Abort, |bucket, keys| bucket.abort_multipart(keys, &key, &document.upload_id))
                .await?;
            Ok(ArtifactResponse::json(&json!({})))
        }
        ServiceRoute::Presigned(encoded) => presigned(request, &named(ArtifactPath::decode(encoded)?)?).await,
    }
}

/// Returns the object of a multipart upload. The document has the client's local path, with the separators of its system, and
/// the object is named by the last component. MLflow's client refuses to list a directory with a backslash in a name.
fn below(directory: &str, file: &str) -> Result<ArtifactPath, ProxyError> {
    let name = file.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    Ok(ArtifactPath::decode(directory)?.join(&named(ArtifactPath::parse(name)?)?)?)
}

/// Deletes an artifact and everything below it. It is not an error if there is none.
async fn delete(s3: &S3Client, path: &ArtifactPath) -> Result<ArtifactResponse, ProxyError> {
    let key = s3.store.key(path);
    // The listing comes first, because a store over a file system fails to delete a directory as if it were an object. Of all
    // keys that begin with this one, the key itself is listed first.
    if listing::page(s3, &key, Some("/"), None).await?.objects.iter().any(|(found, _)| *found == key) {
        s3.text(S3CallKind::Delete, |bucket, credentials| bucket.delete(credentials, &key)).await?;
    }
    // The slash keeps the deletion of `model` from deleting `model2`.
    let prefix = format!("{key}/");
    let mut next = None;
    loop {
        let page = listing::page(s3, &prefix, None, next.as_deref()).await?;
        let keys = page.objects.into_iter().map(|(key, _)| key);
        let (odd, plain): (Vec<_>, Vec<_>) = keys.partition(|key| key.chars().any(char::is_control));
        for batch in plain.chunks(DELETE_LIMIT) {
            let text = s3.text(S3CallKind::Delete, |bucket, credentials| bucket.delete_all(credentials, batch)).await?;
            let (undeleted, code) = s3::undeleted(&text).ok_or(S3Error::InvalidResponse)?;
            if undeleted > 0 {
                return Err(S3Error::Rejected(format!("{undeleted} artifacts: {code}")).into());
            }
        }
        stream::iter(&odd)
            .map(|key| async move {
                s3.text(S3CallKind::Delete, |bucket, credentials| bucket.delete(credentials, key)).await
            })
            .buffer_unordered(CONCURRENT_DELETIONS)
            .try_collect::<Vec<_>>()
            .await?;
        next = page.next;
        if next.is_none() {
            return Ok(ArtifactResponse::json(&json!({})));
        }
    }
}

async fn complete(
    s3: &S3Client,
    path: &ArtifactPath,
    document: CompleteUpload,
) -> Result<ArtifactResponse, ProxyError> {
    let numbers = document.parts.iter().map(|part| part.part_number);
    if document.parts.is_empty() || !numbers.eq(1..=u16::try_from(document.parts.len()).unwrap_or(0)) {
        return Err(ProxyError::Artifact("the document must name all parts, in order from 1".into()));
    }
    let (key, upload, parts) = (s3.store.key(path), document.upload_id, document.parts);
    let size = parts.len() * PART_SIZE;
    let document = move || s3::parts_document(parts.iter().map(|part| part.etag.as_str()));
    let parts = offload(size, document).await?;
    let text = s3
        .text(S3CallKind::Assemble, |bucket, credentials| {
            bucket.complete_multipart(credentials, &key, &upload, parts.clone())
        })
        .await?;
    if !s3::is_completed(&text) {
        let code = s3::error_code(&text);
        return Err(code.map_or(S3Error::InvalidResponse, S3Error::Busy).into());
    }
    Ok(ArtifactResponse::json(&json!({})))
}

async fn presigned(request: &ArtifactRequest<'_>, path: &ArtifactPath) -> Result<ArtifactResponse, ProxyError> {
    let s3 = request.s3;
    if s3.access == ArtifactAccess::Proxied {
        return Err(ProxyError::NoPresigned);
    }
    let object = s3.head(path).await?;
    let size = object.announced.ok_or(S3Error::Missing)?;
    let stored = object.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let url = object::download_url(s3, path, download::type_of_object(stored, path.name())).await?;
    request.context.log.presigned_download();
    Ok(ArtifactResponse::json(&json!({"url": url, "headers": {}, "file_size": size})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_named_by_the_last_component_of_a_path_of_any_system() {
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
