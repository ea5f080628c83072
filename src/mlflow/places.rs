//! The places of a JSON text where something may have to be replaced.

/// A place is a position in a JSON text whose string is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Keys from the top; `*` is any.
    pub path: &'static [&'static str],
    /// Only in an object whose member `key` has one of these values, as in MLflow's lists of tags.
    pub if_key: &'static [&'static str],
    /// This is the kind of the string that stands there.
    pub kind: Kind,
}

/// A string at a place is of one of these kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The URI of an artifact.
    Location,
    /// A condition of a search, in which URIs can be operands.
    Filter,
    /// A GraphQL document, in which conditions can stand.
    Document,
    /// Nothing that can be replaced: a location has passed because it came before the key that makes it one, or because it
    /// is too long to be held.
    Missed,
}

impl Place {
    /// The place of a location, by its path alone.
    #[must_use]
    pub const fn at(path: &'static [&'static str]) -> Self {
        Self::of(Kind::Location, path)
    }

    /// A place by its path alone.
    #[must_use]
    pub const fn of(kind: Kind, path: &'static [&'static str]) -> Self {
        Self { path, if_key: &[], kind }
    }
}

/// All places of one text.
#[derive(Clone, Debug)]
pub enum Places {
    /// These places are the same for every text of a route.
    Known(&'static [Place]),
    /// Locations at these paths of keys, which a caller has chosen.
    Asked(Vec<Vec<String>>),
    /// Every string may be a location.
    Everywhere,
}

impl Default for Places {
    fn default() -> Self {
        Self::Known(&[])
    }
}

impl From<&'static [Place]> for Places {
    fn from(places: &'static [Place]) -> Self {
        Self::Known(places)
    }
}

impl Places {
    /// Places that one text can have; the rewriter has a bit for each.
    pub const LIMIT: usize = 64;

    /// Returns true if there is nothing to replace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !matches!(self, Self::Everywhere) && self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Known(places) => places.len(),
            Self::Asked(paths) => paths.len(),
            Self::Everywhere => 0,
        }
    }

    /// The key of a place at a depth, and whether it is the last one.
    pub(super) fn key(&self, place: usize, depth: usize) -> Option<(&str, bool)> {
        let (key, length) = match self {
            Self::Known(places) => (places[place].path.get(depth).copied(), places[place].path.len()),
            Self::Asked(paths) => (paths[place].get(depth).map(String::as_str), paths[place].len()),
            Self::Everywhere => (None, 0),
        };
        key.map(|key| (key, depth + 1 == length))
    }

    pub(super) fn if_key(&self, place: usize) -> &'static [&'static str] {
        match self {
            Self::Known(places) => places[place].if_key,
            Self::Asked(_) | Self::Everywhere => &[],
        }
    }

    pub(super) fn kind(&self, place: usize) -> Kind {
        match self {
            Self::Known(places) => places[place].kind,
            Self::Asked(_) | Self::Everywhere => Kind::Location,
        }
    }
}
