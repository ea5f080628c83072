//! Replaces the strings at known paths of a JSON text as it streams by, and touches nothing else.
//!
//! A path consists of object keys; arrays between them do not count. The text is scanned once, byte by byte, and copied only
//! where a string is replaced: numbers, white space, the order of keys and users' data that looks like an artifact's URI stay
//! unchanged. One string and the longest path bound the memory, whatever the text is. This module is pure.

mod pending;
mod piece;

use bytes::{BufMut, Bytes};

use pending::{PendingString, StringRole, unescaped};
use piece::RewrittenPiece;

use super::json_paths::{JsonPaths, StringKind};

/// The most bytes of a string that may be replaced. A longer string is no artifact URI, and passes unchanged.
const STRING_LIMIT: usize = 16 * 1024;
/// This stands for a message in which locations cannot be found.
const LEFT_OUT: &[u8] =
    b"\"The appliance has left out this message, because it is longer than 16 KiB or is not Unicode text.";
/// The most bytes of a key. A longer key is on no path, even if each of its characters is written as an escape.
const KEY_LIMIT: usize = 256;

/// Scans one JSON text.
pub struct Rewriter<F> {
    paths: JsonPaths,
    /// All paths, one bit for each.
    all: u64,
    replace: F,
    levels: Vec<Level>,
    /// The number of open containers below the last level, in which there is no path.
    unmatched: usize,
    string: Option<PendingString>,
}

/// An object or an array on a path.
struct Level {
    is_object: bool,
    /// In an array, this counts the arrays that are open directly in it, one within the other. They need no level of their own, or a
    /// text of nothing but `[` would fill the memory.
    nested: usize,
    /// The paths that lead through this level, one bit for each.
    open: u64,
    /// The number of keys of those paths above this level.
    depth: usize,
    /// In an object: whether the next string is a key.
    at_key: bool,
    /// In an object: the paths that the current key continues.
    at_value: u64,
    /// In an object: the value of its member `key`.
    key_member: Vec<u8>,
    is_key_member: bool,
    /// In an object, these are the paths whose string came before the key that they depend on.
    early: u64,
}

impl<F: FnMut(StringKind, &str) -> Option<String>> Rewriter<F> {
    /// Returns a scanner that replaces a string if `replace` returns another one.
    ///
    /// # Panics
    /// With more than [`JsonPaths::LIMIT`] paths, which is a defect of the program.
    #[must_use]
    pub fn new(paths: impl Into<JsonPaths>, replace: F) -> Self {
        let paths = paths.into();
        assert!(paths.len() <= JsonPaths::LIMIT, "each path needs a bit");
        let all = (0..paths.len()).fold(0, |all, path_index| all | 1 << path_index);
        Self { paths, all, replace, levels: Vec::new(), unmatched: 0, string: None }
    }

    /// Returns the next piece of the text, rewritten. A string that may be replaced is held back until its end.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        let mut out = RewrittenPiece { piece: &piece, copied: None, from: 0 };
        for (at, byte) in piece.iter().copied().enumerate() {
            // A string stays where it is while it is read: to move it for each byte takes half as many instructions again.
            match self.string.as_mut().map(|text| text.ends_at(byte)) {
                None => self.between(byte, at, &mut out),
                Some(false) => self.in_string(byte, at, &mut out),
                Some(true) => self.complete(at, &mut out),
            }
        }
        if self.string.as_ref().is_some_and(PendingString::is_held_back) {
            // The held string already contains these bytes.
            out.skip_to(piece.len());
        }
        match out.copied {
            None if out.from == 0 => piece,
            None => piece.slice(out.from..),
            Some(mut copied) => {
                copied.put_slice(&piece[out.from..]);
                copied.freeze()
            }
        }
    }

    /// Returns the bytes that were still held back when the text ended: none, if it was JSON.
    pub fn finish(&mut self) -> Bytes {
        match self.string.take() {
            Some(PendingString { role: StringRole::Replaceable(_), read, .. }) => {
                [b"\"", read.as_slice()].concat().into()
            }
            _ => Bytes::new(),
        }
    }

    /// Returns the bytes of memory that it holds between two pieces.
    #[cfg(test)]
    fn held(&self) -> usize {
        let keys: usize = self.levels.iter().map(|level| level.key_member.capacity()).sum();
        let string = self.string.as_ref().map_or(0, |text| text.read.capacity());
        self.levels.capacity() * size_of::<Level>() + keys + string
    }

    fn between(&mut self, byte: u8, at: usize, out: &mut RewrittenPiece<'_>) {
        match byte {
            b'"' => {
                let role = self.role();
                if matches!(role, StringRole::Replaceable(_)) {
                    out.copy_to(at);
                }
                self.string = Some(PendingString { role, escaped: false, read: Vec::new() });
            }
            b'{' | b'[' => self.enter(byte == b'{'),
            b'}' | b']' => self.leave(),
            b',' | b':' if self.unmatched == 0 => {
                if let Some(level) = self.levels.last_mut() {
                    level.at_key = level.is_object && byte == b',';
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, is_object: bool) {
        if self.unmatched > 0 {
            self.unmatched += 1;
            return;
        }
        let (open, depth) = match self.levels.last_mut() {
            None => (self.all, 0),
            Some(above) if above.is_object => (above.at_value, above.depth + 1),
            Some(above) if !is_object => {
                above.nested += 1;
                return;
            }
            Some(above) => (above.open, above.depth),
        };
        if open == 0 {
            self.unmatched = 1;
            return;
        }
        self.levels.push(Level {
            is_object,
            nested: 0,
            open,
            depth,
            at_key: is_object,
            at_value: 0,
            key_member: Vec::new(),
            is_key_member: false,
            early: 0,
        });
    }

    fn leave(&mut self) {
        if self.unmatched > 0 {
            self.unmatched -= 1;
            return;
        }
        match self.levels.last_mut() {
            Some(level) if level.nested > 0 => level.nested -= 1,
            _ => drop(self.levels.pop()),
        }
    }

    /// Returns the role of the string that begins here.
    fn role(&mut self) -> StringRole {
        if matches!(self.paths, JsonPaths::Everywhere) {
            return StringRole::Replaceable(StringKind::Location);
        }
        let Some(level) = self.levels.last_mut().filter(|level| self.unmatched == 0 && level.is_object) else {
            return StringRole::Other;
        };
        if level.at_key {
            return StringRole::Key;
        }
        let mut candidates = level.at_value;
        while candidates != 0 {
            let path_index = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            if !self.paths.key(path_index, level.depth).is_some_and(|(_, is_last)| is_last) {
                continue;
            }
            let keys = self.paths.if_key(path_index);
            if keys.is_empty() || keys.iter().any(|key| key.as_bytes() == level.key_member) {
                return StringRole::Replaceable(self.paths.kind(path_index));
            }
            level.early |= 1 << path_index;
        }
        if level.is_key_member { StringRole::KeyMember } else { StringRole::Other }
    }

    fn in_string(&mut self, byte: u8, at: usize, out: &mut RewrittenPiece<'_>) {
        let Some(text) = &mut self.string else { return };
        match text.role {
            StringRole::Other | StringRole::LeftOut => {}
            StringRole::Key | StringRole::KeyMember if text.read.len() > KEY_LIMIT => {}
            StringRole::Key | StringRole::KeyMember => text.read.push(byte),
            StringRole::Replaceable(kind) => {
                text.read.push(byte);
                if text.read.len() <= STRING_LIMIT {
                    return;
                }
                let read = std::mem::take(&mut text.read);
                out.skip_to(at + 1);
                if kind == StringKind::Message {
                    out.insert(LEFT_OUT);
                    text.role = StringRole::LeftOut;
                    return;
                }
                if kind == StringKind::Location {
                    let _ = (self.replace)(StringKind::Missed, &String::from_utf8_lossy(&read));
                }
                out.insert(b"\"");
                out.insert(&read);
                text.role = StringRole::Other;
            }
        }
    }

    fn complete(&mut self, at: usize, out: &mut RewrittenPiece<'_>) {
        let Some(text) = self.string.take() else { return };
        match text.role {
            StringRole::Other => {}
            StringRole::LeftOut => {
                out.skip_to(at);
            }
            StringRole::Key => {
                let Some(level) = self.levels.last_mut() else { return };
                let key = unescaped(&text.read);
                level.is_key_member = *key == *b"key";
                level.at_value = 0;
                let mut open = level.open;
                while open != 0 {
                    let path_index = open.trailing_zeros() as usize;
                    open &= open - 1;
                    let continues = |(name, _): (&str, bool)| name == "*" || name.as_bytes() == &*key;
                    if self.paths.key(path_index, level.depth).is_some_and(continues) {
                        level.at_value |= 1 << path_index;
                    }
                }
            }
            StringRole::KeyMember => {
                let Some(level) = self.levels.last_mut() else { return };
                level.key_member = unescaped(&text.read).into_owned();
                let mut early = level.early;
                while early != 0 {
                    let keys = self.paths.if_key(early.trailing_zeros() as usize);
                    early &= early - 1;
                    if let Some(key) = keys.iter().find(|key| key.as_bytes() == level.key_member) {
                        let _ = (self.replace)(StringKind::Missed, key);
                    }
                }
            }
            StringRole::Replaceable(kind) => {
                let quoted = [b"\"", text.read.as_slice(), b"\""].concat();
                let value = serde_json::from_slice::<String>(&quoted);
                let is_unreadable = value.is_err();
                let replaced = match value {
                    Ok(value) => (self.replace)(kind, &value),
                    // SECURITY: Python reads strings that are no Unicode text, such as half of a surrogate pair.
                    Err(_) if kind == StringKind::Location => (self.replace)(StringKind::Missed, ""),
                    Err(_) => None,
                };
                out.skip_to(at + 1);
                match replaced {
                    None if is_unreadable && kind == StringKind::Message => out.insert(&[LEFT_OUT, b"\""].concat()),
                    Some(value) => out.insert(serde_json::Value::String(value).to_string().as_bytes()),
                    None => out.insert(&quoted),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
