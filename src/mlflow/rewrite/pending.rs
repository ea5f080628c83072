//! A string of the text while it is read.

use std::borrow::Cow;

use crate::mlflow::json_paths::StringKind;

/// A string that is not complete yet.
pub(super) struct PendingString {
    pub(super) role: StringRole,
    pub(super) escaped: bool,
    /// The part that has been read, without quotes: the beginning of a key, or all of a string that may be replaced.
    pub(super) read: Vec<u8>,
}

/// The part that a string plays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StringRole {
    Key,
    KeyMember,
    Replaceable(StringKind),
    /// The rest of a string that is left out.
    LeftOut,
    Other,
}

impl PendingString {
    /// Returns true if this byte is the quote at the end of the string.
    pub(super) fn ends_at(&mut self, byte: u8) -> bool {
        let is_end = byte == b'"' && !self.escaped;
        self.escaped = byte == b'\\' && !self.escaped;
        is_end
    }

    /// Returns true if none of the string has been passed on, or none of its rest is going to be.
    pub(super) fn is_held_back(&self) -> bool {
        matches!(self.role, StringRole::Replaceable(_) | StringRole::LeftOut)
    }
}

/// Returns a string without its escapes: `"\u0061"` is the key `a` for every parser of JSON.
pub(super) fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let quoted = [b"\"", text, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).map_or(Cow::Borrowed(text), |text| Cow::Owned(text.into_bytes()))
}
