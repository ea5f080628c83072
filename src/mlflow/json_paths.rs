//! The paths of a JSON text whose strings may have to be replaced.

/// A path in a JSON text to a string that may be replaced.
#[derive(Clone, Copy, Debug)]
pub struct JsonPath {
    /// The keys from the top; `*` is any key.
    pub path: &'static [&'static str],
    /// The values of the member `key` of the object, one of which is required, as in MLflow's lists of tags.
    pub if_key: &'static [&'static str],
    /// The kind of the string.
    pub kind: StringKind,
}

/// The kind of a string at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringKind {
    /// The URI of an artifact.
    Location,
    /// A condition of a search, in which URIs can be operands.
    Filter,
    /// A GraphQL document, in which conditions can stand.
    Document,
    /// A text for people, in which locations can stand. MLflow's errors repeat values of the request, which have become real
    /// locations by then.
    Message,
    /// Nothing that can be replaced: a location has passed because it came before the key that makes it one, because it is too
    /// long to be held, or because it is no text.
    Missed,
}

impl JsonPath {
    /// Returns the path of a location, without a condition.
    #[must_use]
    pub const fn at(path: &'static [&'static str]) -> Self {
        Self::of(StringKind::Location, path)
    }

    /// Returns a path without a condition.
    #[must_use]
    pub const fn of(kind: StringKind, path: &'static [&'static str]) -> Self {
        Self { path, if_key: &[], kind }
    }
}

/// All paths of one text.
#[derive(Clone, Debug)]
pub enum JsonPaths {
    /// These paths are the same for every text of a route.
    Known(&'static [JsonPath]),
    /// Strings at these paths of keys, which a caller has chosen.
    Requested(Vec<(Vec<String>, StringKind)>),
    /// Every string may be a location.
    Everywhere,
}

impl Default for JsonPaths {
    fn default() -> Self {
        Self::Known(&[])
    }
}

impl From<&'static [JsonPath]> for JsonPaths {
    fn from(paths: &'static [JsonPath]) -> Self {
        Self::Known(paths)
    }
}

impl JsonPaths {
    /// The most paths of one text; the rewriter has a bit for each.
    pub const LIMIT: usize = 64;

    /// Returns true if there is nothing to replace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !matches!(self, Self::Everywhere) && self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Known(paths) => paths.len(),
            Self::Requested(paths) => paths.len(),
            Self::Everywhere => 0,
        }
    }

    /// Returns the key of a path at a depth, and whether it is the last one.
    pub(super) fn key(&self, index: usize, depth: usize) -> Option<(&str, bool)> {
        let (key, length) = match self {
            Self::Known(paths) => (paths[index].path.get(depth).copied(), paths[index].path.len()),
            Self::Requested(paths) => (paths[index].0.get(depth).map(String::as_str), paths[index].0.len()),
            Self::Everywhere => (None, 0),
        };
        key.map(|key| (key, depth + 1 == length))
    }

    pub(super) fn if_key(&self, index: usize) -> &'static [&'static str] {
        match self {
            Self::Known(paths) => paths[index].if_key,
            Self::Requested(_) | Self::Everywhere => &[],
        }
    }

    pub(super) fn kind(&self, index: usize) -> StringKind {
        match self {
            Self::Known(paths) => paths[index].kind,
            Self::Requested(paths) => paths[index].1,
            Self::Everywhere => StringKind::Location,
        }
    }
}
