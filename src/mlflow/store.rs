//! Where artifacts really are, and the name under which callers know the place.
//!
//! Managed MLflow keeps artifacts under `s3://bucket/prefix`. Callers without AWS credentials are told
//! `mlflow-artifacts:/…` instead, MLflow's own scheme for "ask the tracking server". Pure.

/// The scheme that MLflow clients resolve against their tracking URI.
const PUBLIC: &str = "mlflow-artifacts:/";
/// The longest object key that S3 takes, in bytes.
const KEY_LIMIT: usize = 1024;

/// A bucket and the prefix in it that belongs to one MLflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactStore {
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
}

/// Why a text does not name an artifact store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another scheme.
    #[error("an artifact store starts with `s3://`")]
    Scheme,
    /// The bucket's name breaks the rules of S3.
    #[error("a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens")]
    Bucket,
    /// The prefix could not be a path.
    #[error("the prefix is no plain path: {0}")]
    Prefix(#[from] PathError),
}

/// Why a text does not name an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing between two slashes, as in an absolute URI.
    #[error("a path segment is empty")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    /// A control character, or bytes that are no UTF-8.
    #[error("the path has a control character or is not UTF-8")]
    Unprintable,
    /// Longer than an object key may be.
    #[error("the path is too long")]
    TooLong,
}

/// A path below a store's prefix. It cannot lead out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactPath(String);

impl ArtifactPath {
    /// Checks a decoded path. Slashes around it do not count; the empty path is the store itself.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let path = path.trim_matches('/');
        if path.len() > KEY_LIMIT {
            return Err(PathError::TooLong);
        }
        if path.chars().any(char::is_control) {
            return Err(PathError::Unprintable);
        }
        // SECURITY: object keys are flat and `..` means nothing to S3, but it does to whoever joins it to a URL or to
        // a directory: the client that builds the request, and the one that downloads. A backslash separates there.
        for segment in path.split('/').filter(|_| !path.is_empty()) {
            if segment.is_empty() {
                return Err(PathError::EmptySegment);
            }
            if segment.split('\\').any(|part| matches!(part, "." | "..")) {
                return Err(PathError::DotSegment);
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// The path that a percent-encoded one stands for. An encoded slash separates like any other, as in MLflow.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn decode(encoded: &str) -> Result<Self, PathError> {
        let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8();
        Self::parse(&decoded.map_err(|_| PathError::Unprintable)?)
    }

    /// This path with another below it.
    ///
    /// # Errors
    /// [`PathError::TooLong`].
    pub fn join(&self, below: &Self) -> Result<Self, PathError> {
        match (self.0.as_str(), below.0.as_str()) {
            ("", path) | (path, "") => Ok(Self(path.to_owned())),
            (above, below) => Self::parse(&format!("{above}/{below}")),
        }
    }

    /// The path, without slashes around it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// True for the store itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl ArtifactStore {
    /// The store that `s3://bucket/prefix` names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn parse(uri: &str) -> Result<Self, StoreError> {
        let rest = uri.strip_prefix("s3://").ok_or(StoreError::Scheme)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_inner = |byte: u8| is_edge(byte) || matches!(byte, b'.' | b'-');
        let bytes = bucket.as_bytes();
        if !(3..=63).contains(&bytes.len())
            || !bytes.iter().all(|byte| is_inner(*byte))
            || !is_edge(bytes[0])
            || !is_edge(bytes[bytes.len() - 1])
        {
            return Err(StoreError::Bucket);
        }
        let prefix = ArtifactPath::parse(prefix)?.0;
        let slash = if prefix.is_empty() { "" } else { "/" };
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}{slash}") })
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What every key of the store starts with: nothing, or something that ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The object key of a path.
    #[must_use]
    pub fn key(&self, path: &ArtifactPath) -> String {
        format!("{}{}", self.prefix, path.0)
    }

    /// The path that an `s3://` URI names, if it is in this store.
    #[must_use]
    pub fn locate(&self, uri: &str) -> Option<ArtifactPath> {
        let rest = uri.strip_prefix("s3://")?.strip_prefix(self.bucket.as_str())?;
        let key = if rest.is_empty() { "" } else { rest.strip_prefix('/')? };
        let below = match key.strip_prefix(&self.prefix) {
            Some(below) => below,
            None if key == self.prefix.trim_end_matches('/') => "",
            None => return None,
        };
        // `prefix//a` is another object than `prefix/a`, and has no name among callers.
        ArtifactPath::parse(below).ok().filter(|path| path.0 == below.strip_suffix('/').unwrap_or(below))
    }

    /// The public form of an `s3://` URI of this store.
    #[must_use]
    pub fn publish(&self, uri: &str) -> Option<String> {
        self.locate(uri).map(|path| format!("{PUBLIC}{}", path.0))
    }

    /// The real form of a public URI. One with an authority names somebody else's server.
    #[must_use]
    pub fn resolve(&self, uri: &str) -> Option<String> {
        let rest = uri.strip_prefix(PUBLIC)?;
        let path = match rest.strip_prefix('/') {
            None => rest,
            Some(rest) => rest.strip_prefix('/')?,
        };
        let key = self.key(&ArtifactPath::parse(path).ok()?);
        Some(format!("s3://{}/{}", self.bucket, key.trim_end_matches('/')).trim_end_matches('/').to_owned())
    }

    /// A pattern of SQL's LIKE for real URIs instead of public ones, whose first wildcard may stand anywhere.
    #[must_use]
    pub fn resolve_pattern(&self, pattern: &str, ignores_case: bool) -> Option<String> {
        let root = format!("s3://{}/{}", self.bucket, self.prefix);
        let is_at_start = |begin: &str| {
            pattern
                .get(..begin.len())
                .is_some_and(|start| start == begin || ignores_case && start.eq_ignore_ascii_case(begin))
        };
        if is_at_start(PUBLIC) {
            return Some(root + pattern[PUBLIC.len()..].trim_start_matches('/'));
        }
        let wildcard = pattern.find('%').filter(|at| (1..PUBLIC.len()).contains(at))?;
        is_at_start(&PUBLIC[..wildcard]).then(|| format!("{}{}", root.trim_end_matches('/'), &pattern[wildcard..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(uri: &str) -> ArtifactStore {
        ArtifactStore::parse(uri).expect(uri)
    }

    #[test]
    fn stores_are_parsed_strictly() {
        for (uri, bucket, prefix) in [
            ("s3://my-bucket", "my-bucket", ""),
            ("s3://my-bucket/", "my-bucket", ""),
            ("s3://my.bucket.1/a/b", "my.bucket.1", "a/b/"),
            ("s3://abc/a b/ü/", "abc", "a b/ü/"),
        ] {
            let store = store(uri);
            assert_eq!((store.bucket(), store.prefix()), (bucket, prefix), "{uri}");
        }
        for (uri, expected) in [
            ("https://bucket/x", StoreError::Scheme),
            ("s3://", StoreError::Bucket),
            ("s3://ab", StoreError::Bucket),
            ("s3://Bucket", StoreError::Bucket),
            ("s3://-bucket", StoreError::Bucket),
            ("s3://bucket@evil", StoreError::Bucket),
            ("s3://bucket/a/../b", StoreError::Prefix(PathError::DotSegment)),
            ("s3://bucket/a//b", StoreError::Prefix(PathError::EmptySegment)),
        ] {
            assert_eq!(ArtifactStore::parse(uri), Err(expected), "{uri}");
        }
    }

    #[test]
    fn uris_are_translated_both_ways_and_others_left_alone() {
        let prefixed = store("s3://bucket/team/mlflow");
        let whole = store("s3://bucket");
        for (store, real, public) in [
            (&prefixed, "s3://bucket/team/mlflow/1/run/artifacts", "mlflow-artifacts:/1/run/artifacts"),
            (&prefixed, "s3://bucket/team/mlflow", "mlflow-artifacts:/"),
            (&prefixed, "s3://bucket/team/mlflow/a b/ü", "mlflow-artifacts:/a b/ü"),
            (&whole, "s3://bucket/1/run", "mlflow-artifacts:/1/run"),
            (&whole, "s3://bucket", "mlflow-artifacts:/"),
        ] {
            assert_eq!(store.publish(real).as_deref(), Some(public));
            assert_eq!(store.resolve(public).as_deref(), Some(real));
        }
        assert_eq!(prefixed.resolve("mlflow-artifacts:///1/r").as_deref(), Some("s3://bucket/team/mlflow/1/r"));
        for foreign in [
            "s3://bucket/team/mlflow2/1",
            "s3://bucket/team",
            "s3://bucket2/team/mlflow/1",
            "s3://bucket.evil/team/mlflow/1",
            "s3://bucket/team/mlflow/../x",
            "https://bucket/team/mlflow/1",
            "models:/m-1",
            "",
        ] {
            assert_eq!(prefixed.publish(foreign), None, "{foreign}");
        }
        for foreign in ["mlflow-artifacts://host/1", "mlflow-artifacts:/../x", "mlflow-artifacts:", "s3://bucket/x"] {
            assert_eq!(prefixed.resolve(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_prefix() {
        let store = store("s3://bucket/p");
        for (encoded, expected) in [
            ("..", PathError::DotSegment),
            ("a/../b", PathError::DotSegment),
            ("a%2F..%2Fb", PathError::DotSegment),
            ("%2e%2e/b", PathError::DotSegment),
            ("a/%2E/b", PathError::DotSegment),
            ("a%5C..%5Cb", PathError::DotSegment),
            ("..\\b", PathError::DotSegment),
            ("s3://other/key", PathError::EmptySegment),
            ("https:%2F%2Fevil/x", PathError::EmptySegment),
            ("a//b", PathError::EmptySegment),
            ("a%00b", PathError::Unprintable),
            ("a%0Ab", PathError::Unprintable),
            ("%FF", PathError::Unprintable),
        ] {
            assert_eq!(ArtifactPath::decode(encoded), Err(expected), "{encoded}");
        }
        assert_eq!(ArtifactPath::parse(&"x".repeat(1025)), Err(PathError::TooLong));
        for (encoded, key) in [
            ("a/b", "p/a/b"),
            ("/a/b/", "p/a/b"),
            ("a%2Fb", "p/a/b"),
            ("a%252e%252e/b", "p/a%2e%2e/b"),
            ("hash%23.txt", "p/hash#.txt"),
            ("pct%2541.txt", "p/pct%41.txt"),
            ("a+b%20c", "p/a+b c"),
            // Look-alikes of dots and slashes are letters like others.
            (
                "%E2%80%A4%E2%80%A4/%EF%BC%8E%EF%BC%8E%EF%BC%8F%E2%88%95",
                "p/\u{2024}\u{2024}/\u{ff0e}\u{ff0e}\u{ff0f}\u{2215}",
            ),
            ("...", "p/..."),
        ] {
            assert_eq!(ArtifactPath::decode(encoded).map(|path| store.key(&path)).as_deref(), Ok(key), "{encoded}");
        }
    }
}
