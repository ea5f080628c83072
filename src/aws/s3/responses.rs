//! The facts that the artifact gateway reads from the responses of S3.

use rusty_s3::actions::{CompleteMultipartUploadResponse, CreateMultipartUpload, DeleteObjectsResponse, ListObjectsV2};

use crate::xml::Element;

/// One page of a listing.
#[derive(Debug, Default)]
pub struct ObjectListing {
    /// Keys and sizes in bytes.
    pub objects: Vec<(String, u64)>,
    /// Prefixes that end with the delimiter.
    pub folders: Vec<String>,
    /// The token that asks for the next page.
    pub next: Option<String>,
}

/// Reads a page of a listing; nothing if the text is none.
#[must_use]
pub fn page(text: &str) -> Option<ObjectListing> {
    let page = ListObjectsV2::parse_response(text).ok()?;
    Some(ObjectListing {
        objects: page.contents.into_iter().map(|object| (object.key, object.size.unwrap_or(0))).collect(),
        folders: page.common_prefixes.into_iter().map(|folder| folder.prefix).collect(),
        next: page.next_continuation_token,
    })
}

/// Reads the id of an upload in parts; nothing if the text has none.
#[must_use]
pub fn upload_id(text: &str) -> Option<String> {
    CreateMultipartUpload::parse_response(text).ok().map(|upload| upload.upload_id().to_owned())
}

/// True if the text says that an upload was completed; S3 answers 200 before it knows.
#[must_use]
pub fn is_completed(text: &str) -> bool {
    CompleteMultipartUploadResponse::parse(text).is_ok()
}

/// The number of objects that could not be deleted and S3's code for the first; nothing if the text is no such response.
#[must_use]
pub fn undeleted(text: &str) -> Option<(usize, String)> {
    let errors = DeleteObjectsResponse::parse(text).ok()?.errors;
    let first = errors.first().map(|error| error.code.clone()).unwrap_or_default();
    Some((errors.len(), first))
}

/// Returns S3's name for an error, from the body of a response; nothing if the body is not an error.
#[must_use]
pub fn error_code(text: &str) -> Option<String> {
    Element::parse(text).ok()?.find("Error")?.text_of("Code")
}
