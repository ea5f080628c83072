//! The objects of the sandbox's S3, under any key that S3 accepts.
//!
//! `s3s-fs` uses a key as a path. So it cannot store a long key, nor `a` beside `a/b`, and it answers 500 to a request for a
//! directory. This file gives it a digest of the key instead. The index of keys is in memory, and in one file per key for the
//! next start.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
    HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    PutObjectInput, PutObjectOutput, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::encryption::EncryptionKeys;
use super::listing::page;

/// Objects of one page, as of S3.
const PAGE: usize = 1000;

/// A bucket's objects.
pub(super) struct Objects {
    files: FileSystem,
    bucket: &'static str,
    /// The directory with the contents of the objects.
    contents: PathBuf,
    /// The directory with their keys, each in a file of the same name.
    names: PathBuf,
    keys: Mutex<BTreeSet<String>>,
    encryption: EncryptionKeys,
}

impl Objects {
    /// Opens the objects of a bucket below `root`.
    pub(super) fn open(root: &Path, bucket: &'static str) -> io::Result<Self> {
        let (contents, names) = (root.join(bucket), root.join("keys"));
        std::fs::create_dir_all(&contents)?;
        std::fs::create_dir_all(&names)?;
        let mut keys = BTreeSet::new();
        for entry in std::fs::read_dir(&names)? {
            let entry = entry?;
            // A key without an object is left over from an upload that did not end.
            if contents.join(entry.file_name()).is_file() {
                keys.insert(std::fs::read_to_string(entry.path())?);
            }
        }
        let files = FileSystem::new(root).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let encryption = EncryptionKeys::default();
        Ok(Self { files, bucket, contents, names, keys: Mutex::new(keys), encryption })
    }

    fn keys(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the name of an object's file, if there is such an object.
    fn existing(&self, bucket: &str, key: &str) -> S3Result<String> {
        self.check(bucket)?;
        if self.keys().contains(key) { Ok(name(key)) } else { Err(s3_error!(NoSuchKey)) }
    }

    /// Returns the name of the file of an object that is about to be there.
    fn coming(&self, bucket: &str, key: &str) -> S3Result<String> {
        self.check(bucket)?;
        let name = name(key);
        std::fs::write(self.names.join(&name), key).map_err(S3Error::internal_error)?;
        Ok(name)
    }

    fn check(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.bucket { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn forget(&self, key: &str) {
        self.keys().remove(key);
        // If this fails, the next start ignores the file, because there is no object.
        let _ = std::fs::remove_file(self.names.join(name(key)));
    }

    fn object(&self, key: &str) -> Object {
        let metadata = self.contents.join(name(key)).metadata().ok();
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        Object {
            key: Some(key.to_owned()),
            size: metadata.map(|metadata| i64::try_from(metadata.len()).unwrap_or(i64::MAX)),
            last_modified: modified.map(Timestamp::from),
            ..Object::default()
        }
    }
}

/// Returns a file name for a key.
fn name(key: &str) -> String {
    let mut name = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, key.as_bytes()).as_ref() {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn get_object(&self, mut request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        request.input.key = self.existing(&request.input.bucket, &request.input.key)?;
        self.files.get_object(request).await
    }

    async fn head_object(&self, mut request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let name = self.existing(&request.input.bucket, &request.input.key)?;
        request.input.key.clone_from(&name);
        let mut answer = self.files.head_object(request).await?;
        self.encryption.describe(&name, &mut answer.output);
        Ok(answer)
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let name = self.coming(&request.input.bucket, &request.input.key)?;
        self.encryption.note(&name, request.input.ssekms_key_id.clone());
        let key = std::mem::replace(&mut request.input.key, name);
        let answer = self.files.put_object(request).await?;
        self.keys().insert(key);
        Ok(answer)
    }

    async fn delete_object(
        &self,
        mut request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.check(&request.input.bucket)?;
        let name = name(&request.input.key);
        let key = std::mem::replace(&mut request.input.key, name);
        let answer = self.files.delete_object(request).await?;
        self.forget(&key);
        Ok(answer)
    }

    async fn delete_objects(
        &self,
        mut request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.check(&request.input.bucket)?;
        let mut keys = Vec::new();
        for object in &mut request.input.delete.objects {
            let name = name(&object.key);
            keys.push(std::mem::replace(&mut object.key, name));
        }
        let mut answer = self.files.delete_objects(request).await?;
        for key in &keys {
            self.forget(key);
        }
        for (object, key) in answer.output.deleted.iter_mut().flatten().zip(keys) {
            object.key = Some(key);
        }
        Ok(answer)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (prefix, after) =
            (text(&input.prefix), text(&input.continuation_token.clone().or(input.start_after.clone())));
        let limit = input.max_keys.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE).min(PAGE);
        let page = page(&self.keys(), &prefix, &text(&input.delimiter), &after, limit);
        let objects: Vec<_> = page.keys.iter().map(|key| self.object(key)).collect();
        let prefixes: Vec<_> = page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            continuation_token: input.continuation_token,
            max_keys: Some(i32::try_from(limit).unwrap_or(i32::MAX)),
            key_count: i32::try_from(objects.len() + prefixes.len()).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(objects),
            common_prefixes: Some(prefixes),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.check(&request.input.bucket)?;
        let name = name(&request.input.key);
        self.encryption.note(&name, request.input.ssekms_key_id.clone());
        let key = std::mem::replace(&mut request.input.key, name);
        let mut answer = self.files.create_multipart_upload(request).await?;
        answer.output.key = Some(key);
        Ok(answer)
    }

    async fn upload_part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.check(&request.input.bucket)?;
        request.input.key = name(&request.input.key);
        self.files.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let name = self.coming(&request.input.bucket, &request.input.key)?;
        let key = std::mem::replace(&mut request.input.key, name);
        let mut answer = self.files.complete_multipart_upload(request).await?;
        self.keys().insert(key.clone());
        let ending = answer.output.future.take();
        answer.output.future = ending.map(|ending| -> futures_util::future::BoxFuture<'static, _> {
            Box::pin(async move {
                let output = ending.await?;
                Ok(CompleteMultipartUploadOutput { key: Some(key), ..output })
            })
        });
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        mut request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.check(&request.input.bucket)?;
        request.input.key = name(&request.input.key);
        self.files.abort_multipart_upload(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_again_after_a_restart_if_they_have_an_object() {
        let root = tempfile::tempdir().expect("a directory");
        let long = "k".repeat(1024);
        for key in ["a", "a/b", &long] {
            let objects = Objects::open(root.path(), "bucket").expect("opened");
            let name = objects.coming("bucket", key).expect("named");
            std::fs::write(objects.contents.join(name), "x").expect("written");
        }
        let objects = Objects::open(root.path(), "bucket").expect("opened");
        objects.coming("bucket", "never").expect("named");
        assert!(objects.coming("other", "a").is_err());
        let objects = Objects::open(root.path(), "bucket").expect("opened");
        let found: Vec<_> = objects.keys().iter().cloned().collect();
        assert_eq!(found, ["a", "a/b", &long]);
        assert!(objects.existing("bucket", "a").is_ok() && objects.existing("bucket", "never").is_err());
    }
}
