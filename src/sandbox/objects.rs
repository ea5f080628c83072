//! The objects of the sandbox's S3, by any key that S3 takes.
//!
//! `s3s-fs` makes a path of a key. So it has no room for a long one, and none for `a` beside `a/b`; asked for a directory as
//! if it were an object, it fails instead of saying that there is none. Here it is given a digest of the key instead. Which
//! keys there are is kept in memory, and in a file for each of them, for the next start.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::ops::Bound::{Excluded, Included, Unbounded};
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

/// Objects of one page, as of S3.
const PAGE: usize = 1000;

/// A bucket's objects.
pub(super) struct Objects {
    files: FileSystem,
    bucket: &'static str,
    /// Where the objects are.
    contents: PathBuf,
    /// Where their keys are, each in a file of the same name.
    names: PathBuf,
    keys: Mutex<BTreeSet<String>>,
}

impl Objects {
    /// Those of a bucket below `root`, which are none at first.
    pub(super) fn open(root: &Path, bucket: &'static str) -> io::Result<Self> {
        let (contents, names) = (root.join(bucket), root.join("keys"));
        std::fs::create_dir_all(&contents)?;
        std::fs::create_dir_all(&names)?;
        let mut keys = BTreeSet::new();
        for entry in std::fs::read_dir(&names)? {
            let entry = entry?;
            // A name without an object is left of an upload that did not end.
            if contents.join(entry.file_name()).is_file() {
                keys.insert(std::fs::read_to_string(entry.path())?);
            }
        }
        let files = FileSystem::new(root).map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(Self { files, bucket, contents, names, keys: Mutex::new(keys) })
    }

    fn keys(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of an object's file, if there is such an object.
    fn existing(&self, bucket: &str, key: &str) -> S3Result<String> {
        self.check(bucket)?;
        if self.keys().contains(key) { Ok(name(key)) } else { Err(s3_error!(NoSuchKey)) }
    }

    /// The name of the file of an object that is about to be there.
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
        // Without the object it means nothing.
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

/// A name for a file that any file system takes.
fn name(key: &str) -> String {
    let mut name = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, key.as_bytes()).as_ref() {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// What a page of a listing has: keys, and prefixes that end with the delimiter; and after which of them the next begins.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    keys: Vec<String>,
    prefixes: Vec<String>,
    next: Option<String>,
}

fn page(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, after: &str, limit: usize) -> Page {
    let mut page = Page::default();
    let is_prefix = !delimiter.is_empty() && after.ends_with(delimiter) && after.len() > prefix.len();
    let mut from = match after {
        "" => Included(prefix.to_owned()),
        after if after < prefix => Included(prefix.to_owned()),
        after if is_prefix => Excluded(format!("{after}{}", char::MAX)),
        after => Excluded(after.to_owned()),
    };
    let mut last = None;
    while let Some(key) = keys.range((from, Unbounded)).next().filter(|key| key.starts_with(prefix)) {
        if page.keys.len() + page.prefixes.len() == limit {
            page.next = last;
            break;
        }
        let end = (!delimiter.is_empty()).then(|| key[prefix.len()..].find(delimiter)).flatten();
        if let Some(end) = end {
            let common = &key[..prefix.len() + end + delimiter.len()];
            page.prefixes.push(common.to_owned());
            last = Some(common.to_owned());
            from = Excluded(format!("{common}{}", char::MAX));
        } else {
            page.keys.push(key.clone());
            last = Some(key.clone());
            from = Excluded(key.clone());
        }
    }
    page
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
        request.input.key = self.existing(&request.input.bucket, &request.input.key)?;
        self.files.head_object(request).await
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let name = self.coming(&request.input.bucket, &request.input.key)?;
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
        keys.iter().for_each(|key| self.forget(key));
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
    fn listings_are_ordered_grouped_and_paged_as_by_s3() {
        let keys: BTreeSet<String> =
            ["a", "a/b", "a/c/d", "a/c/e", "ab", "b/", "b/x", "\u{fc}/\u{fc}"].map(String::from).into();
        for (prefix, delimiter, expected) in [
            ("", "", vec!["a", "a/b", "a/c/d", "a/c/e", "ab", "b/", "b/x", "\u{fc}/\u{fc}"]),
            ("", "/", vec!["a", "a/", "ab", "b/", "\u{fc}/"]),
            ("a/", "/", vec!["a/b", "a/c/"]),
            ("a", "/", vec!["a", "a/", "ab"]),
            ("b/", "/", vec!["b/", "b/x"]),
            ("nothing", "/", vec![]),
        ] {
            for limit in 1..=8 {
                let (mut found, mut after) = (Vec::new(), String::new());
                loop {
                    let page = page(&keys, prefix, delimiter, &after, limit);
                    assert!(page.keys.len() + page.prefixes.len() <= limit);
                    found.extend(page.keys);
                    found.extend(page.prefixes);
                    match page.next {
                        Some(next) => after = next,
                        None => break,
                    }
                }
                found.sort();
                assert_eq!(found, expected, "{prefix} {delimiter} by {limit}");
            }
        }
    }

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
