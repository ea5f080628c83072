//! The artifact store, and the public names of its artifacts.
//!
//! Managed MLflow keeps artifacts under `s3://bucket/prefix`. Callers without AWS credentials see
//! `mlflow-artifacts:/…` instead, MLflow's own scheme for "ask the tracking server". This module is pure.

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

/// The reason why a text does not name an artifact store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another scheme.
    #[error("an artifact store starts with `s3://`")]
    Scheme,
    /// The bucket's name breaks the rules of S3.
    #[error("a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens")]
    Bucket,
    /// The prefix could not be a path.
    #[error("the prefix is not a plain path: {0}")]
    Prefix(#[from] ArtifactPathError),
}

/// The reason why a text does not name an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactPathError {
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
    /// [`ArtifactPathError`].
    pub fn parse(path: &str) -> Result<Self, ArtifactPathError> {
        let path = path.trim_matches('/');
        if path.len() > KEY_LIMIT {
            return Err(ArtifactPathError::TooLong);
        }
        if path.chars().any(char::is_control) {
            return Err(ArtifactPathError::Unprintable);
        }
        // SECURITY: object keys are flat and `..` means nothing to S3, but it does to a client that joins it to a URL or to a
        // directory, when it builds a request or downloads a file. A backslash is a separator there.
        for segment in path.split('/').filter(|_| !path.is_empty()) {
            if segment.is_empty() {
                return Err(ArtifactPathError::EmptySegment);
            }
            if segment.split('\\').any(|part| matches!(part, "." | "..")) {
                return Err(ArtifactPathError::DotSegment);
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// Returns the path that a percent-encoded one stands for. An encoded slash separates like any other, as in MLflow.
    ///
    /// # Errors
    /// [`ArtifactPathError`].
    pub fn decode(encoded: &str) -> Result<Self, ArtifactPathError> {
        let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8();
        Self::parse(&decoded.map_err(|_| ArtifactPathError::Unprintable)?)
    }

    /// This path with another below it.
    ///
    /// # Errors
    /// [`ArtifactPathError::TooLong`].
    pub fn join(&self, below: &Self) -> Result<Self, ArtifactPathError> {
        match (self.0.as_str(), below.0.as_str()) {
            ("", path) | (path, "") => Ok(Self(path.to_owned())),
            (above, below) => Self::parse(&format!("{above}/{below}")),
        }
    }

    /// Returns the path, without slashes around it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part after the last slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Returns true for the store itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl ArtifactStore {
    /// Returns the store that `s3://bucket/prefix` names.
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

    /// Returns the bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the prefix of every key of the store: an empty text, or one that ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the object key of a path.
    #[must_use]
    pub fn key(&self, path: &ArtifactPath) -> String {
        format!("{}{}", self.prefix, path.0)
    }

    /// Returns the path that an `s3://` URI names, if it is in this store.
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

    /// Returns the public form of an `s3://` URI of this store.
    #[must_use]
    pub fn publish(&self, uri: &str) -> Option<String> {
        self.locate(uri).map(|path| format!("{PUBLIC}{}", path.0))
    }

    /// Returns a text in which the public forms of this store's URIs stand instead of the real ones; nothing if there are none in it.
    #[must_use]
    pub fn publish_within(&self, text: &str) -> Option<String> {
        let root = format!("s3://{}/{}", self.bucket, self.prefix);
        let root = root.trim_end_matches('/');
        let is_longer_name = |next: char| next.is_alphanumeric() || matches!(next, '-' | '_');
        let (mut published, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(root) {
            let (before, behind) = (&rest[..at], &rest[at + root.len()..]);
            published.push_str(before);
            if behind.starts_with(is_longer_name) {
                published.push_str(root);
                rest = behind;
            } else {
                published.push_str(PUBLIC);
                rest = behind.strip_prefix('/').unwrap_or(behind);
            }
        }
        (rest.len() < text.len()).then(|| published + rest)
    }

    /// Returns the real form of a public URI. A URI with an authority names another server.
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

    /// Returns a pattern of SQL's LIKE for real URIs instead of public ones, whose first wildcard may stand anywhere.
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
mod tests;
