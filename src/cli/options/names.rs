//! The names of options: the key of a field, and the name that a typing error was probably meant to be.

/// The TOML key of a field, which is also its flag.
#[must_use]
pub(crate) fn key(field: &str) -> String {
    field.replace('_', "-")
}

/// The known name that is closest to this one, if one is close.
#[must_use]
pub(crate) fn similar(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    const CLOSE: f64 = 0.8;
    known
        .map(|known| (strsim::jaro_winkler(&known, name), known))
        .filter(|(closeness, _)| *closeness > CLOSE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known)
}
