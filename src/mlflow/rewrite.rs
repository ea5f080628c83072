//! Replaces the strings at known places of a JSON text as it streams by, and touches nothing else.
//!
//! A place is a path of object keys; arrays on the way do not count. The text is scanned once, byte by byte, and
//! copied only where something is replaced: numbers, white space, the order of keys and everything that looks like an
//! artifact's URI but is somebody's data stay as they are. Memory is bounded by one string. Pure.

use bytes::{BufMut, Bytes, BytesMut};

/// Where a string is to be replaced.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Keys from the top; `*` is any.
    pub path: &'static [&'static str],
    /// Only in an object whose member `key` has one of these values, as in MLflow's lists of tags.
    pub if_key: &'static [&'static str],
}

impl Place {
    /// A place by its path alone.
    #[must_use]
    pub const fn at(path: &'static [&'static str]) -> Self {
        Self { path, if_key: &[] }
    }
}

/// A longer string is nobody's artifact URI; it is passed on as it is. Bytes.
const STRING_LIMIT: usize = 16 * 1024;
/// A longer key is none of ours. Bytes.
const KEY_LIMIT: usize = 64;
/// Places that one text can have; each has a bit in [`Level::open`].
const PLACES_LIMIT: usize = 32;

/// Scans one JSON text.
pub struct Rewriter<F> {
    places: &'static [Place],
    replace: F,
    levels: Vec<Level>,
    /// Containers below the last level, in which there is no place.
    barren: usize,
    string: Option<Text>,
}

/// An object or an array that leads to a place.
struct Level {
    is_object: bool,
    /// Places whose path leads through here, one bit for each.
    open: u32,
    /// How many keys of those paths lie above.
    depth: usize,
    /// In an object: whether the next string is a key.
    at_key: bool,
    /// In an object: the places that the current key continues.
    at_value: u32,
    /// In an object: the value of its member `key`.
    key_member: Vec<u8>,
    is_key_member: bool,
}

/// A string that is being read.
struct Text {
    role: Role,
    escaped: bool,
    /// What has been read of it, without quotes: of keys its beginning, of what may be replaced everything.
    read: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Key,
    KeyMember,
    Target,
    Other,
}

impl<F: FnMut(&str) -> Option<String>> Rewriter<F> {
    /// A scanner that replaces what `replace` has an answer for.
    ///
    /// # Panics
    /// With more than 32 places, which is a mistake of the program.
    #[must_use]
    pub fn new(places: &'static [Place], replace: F) -> Self {
        assert!(places.len() <= PLACES_LIMIT, "each place needs a bit");
        Self { places, replace, levels: Vec::new(), barren: 0, string: None }
    }

    /// The next piece of the text, rewritten. What may have to be replaced is held back until its end is seen.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        let mut out = Output { piece: &piece, copied: None, from: 0 };
        for (at, byte) in piece.iter().copied().enumerate() {
            match self.string.take() {
                Some(text) => self.in_string(text, byte, at, &mut out),
                None => self.between(byte, at, &mut out),
            }
        }
        if let Some(Text { role: Role::Target, .. }) = &self.string {
            // Already taken up by the string that is being held.
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

    /// What was still held back when the text ended: nothing, if it was JSON.
    pub fn finish(&mut self) -> Bytes {
        match self.string.take() {
            Some(Text { role: Role::Target, read, .. }) => [b"\"", read.as_slice()].concat().into(),
            _ => Bytes::new(),
        }
    }

    fn between(&mut self, byte: u8, at: usize, out: &mut Output<'_>) {
        match byte {
            b'"' => {
                let role = self.role();
                if role == Role::Target {
                    out.copy_to(at);
                }
                self.string = Some(Text { role, escaped: false, read: Vec::new() });
            }
            b'{' | b'[' => self.enter(byte == b'{'),
            b'}' | b']' if self.barren > 0 => self.barren -= 1,
            b'}' | b']' => drop(self.levels.pop()),
            b',' | b':' if self.barren == 0 => {
                if let Some(level) = self.levels.last_mut() {
                    level.at_key = level.is_object && byte == b',';
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, is_object: bool) {
        let (open, depth) = match self.levels.last() {
            _ if self.barren > 0 => (0, 0),
            None => (u32::MAX >> (PLACES_LIMIT - self.places.len().max(1)), 0),
            Some(above) if above.is_object => (above.at_value, above.depth + 1),
            Some(above) => (above.open, above.depth),
        };
        if open == 0 {
            self.barren += 1;
            return;
        }
        self.levels.push(Level {
            is_object,
            open,
            depth,
            at_key: is_object,
            at_value: 0,
            key_member: Vec::new(),
            is_key_member: false,
        });
    }

    /// What the string that begins here is.
    fn role(&self) -> Role {
        let Some(level) = self.levels.last().filter(|level| self.barren == 0 && level.is_object) else {
            return Role::Other;
        };
        let is_target = |(index, place): (usize, &Place)| {
            level.at_value & (1 << index) != 0
                && place.path.len() == level.depth + 1
                && (place.if_key.is_empty() || place.if_key.iter().any(|key| key.as_bytes() == level.key_member))
        };
        if level.at_key {
            Role::Key
        } else if self.places.iter().enumerate().any(is_target) {
            Role::Target
        } else if level.is_key_member {
            Role::KeyMember
        } else {
            Role::Other
        }
    }

    fn in_string(&mut self, mut text: Text, byte: u8, at: usize, out: &mut Output<'_>) {
        if byte == b'"' && !text.escaped {
            self.complete(text, at, out);
            return;
        }
        text.escaped = byte == b'\\' && !text.escaped;
        match text.role {
            Role::Other => {}
            Role::Key | Role::KeyMember if text.read.len() > KEY_LIMIT => {}
            Role::Key | Role::KeyMember => text.read.push(byte),
            Role::Target => {
                text.read.push(byte);
                if text.read.len() > STRING_LIMIT {
                    out.skip_to(at + 1);
                    out.insert(b"\"");
                    out.insert(&text.read);
                    text = Text { role: Role::Other, read: Vec::new(), ..text };
                }
            }
        }
        self.string = Some(text);
    }

    fn complete(&mut self, text: Text, at: usize, out: &mut Output<'_>) {
        match text.role {
            Role::Other => {}
            Role::Key => {
                let Some(level) = self.levels.last_mut() else { return };
                level.is_key_member = text.read == b"key";
                level.at_value = 0;
                for (index, place) in self.places.iter().enumerate() {
                    let continues = place
                        .path
                        .get(level.depth)
                        .is_some_and(|key| *key == "*" || key.as_bytes() == text.read.as_slice());
                    if level.open & (1 << index) != 0 && continues {
                        level.at_value |= 1 << index;
                    }
                }
            }
            Role::KeyMember => {
                if let Some(level) = self.levels.last_mut() {
                    level.key_member = text.read;
                }
            }
            Role::Target => {
                let quoted = [b"\"", text.read.as_slice(), b"\""].concat();
                let replaced = serde_json::from_slice::<String>(&quoted).ok().and_then(|value| (self.replace)(&value));
                out.skip_to(at + 1);
                match replaced {
                    Some(value) => out.insert(serde_json::Value::String(value).to_string().as_bytes()),
                    None => out.insert(&quoted),
                }
            }
        }
    }
}

/// The piece on its way out: all of it as it came, until something in it changes.
struct Output<'a> {
    piece: &'a [u8],
    copied: Option<BytesMut>,
    /// Bytes of the piece before this are dealt with.
    from: usize,
}

impl Output<'_> {
    fn copied(&mut self) -> &mut BytesMut {
        let capacity = self.piece.len() + 64;
        self.copied.get_or_insert_with(|| BytesMut::with_capacity(capacity))
    }

    /// Copies what has not been dealt with, up to `at`.
    fn copy_to(&mut self, at: usize) {
        let rest = &self.piece[self.from..at];
        self.copied().put_slice(rest);
        self.from = at;
    }

    fn skip_to(&mut self, at: usize) {
        self.copied();
        self.from = at;
    }

    fn insert(&mut self, bytes: &[u8]) {
        self.copied().put_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PLACES: &[Place] = &[
        Place::at(&["run", "info", "uri"]),
        Place::at(&["runs", "info", "uri"]),
        Place::at(&["data", "*", "uri"]),
        Place::at(&["tags", "loc.ation"]),
        Place { path: &["tags", "value"], if_key: &["loc.ation"] },
        Place::at(&["uri"]),
    ];

    fn replaced(value: &str) -> Option<String> {
        value.strip_prefix("s3:").map(|rest| format!("public:\"{rest}"))
    }

    /// Rewrites in pieces of `size` bytes.
    fn rewrite(text: &str, size: usize) -> String {
        let mut rewriter = Rewriter::new(PLACES, replaced);
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            out.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&rewriter.finish());
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn strings_at_known_places_are_replaced_however_the_text_is_cut() {
        for (text, expected) in [
            (r#"{"run":{"info":{"uri":"s3:a"}}}"#, r#"{"run":{"info":{"uri":"public:\"a"}}}"#),
            (
                r#"{"runs": [ {"info":{"x":1e3,"uri" : "s3:\u0061"}},{}]}"#,
                r#"{"runs": [ {"info":{"x":1e3,"uri" : "public:\"a"}},{}]}"#,
            ),
            (r#"{"data":{"any":[{"uri":"s3:"}]}}"#, r#"{"data":{"any":[{"uri":"public:\""}]}}"#),
            (r#"{"tags":{"loc.ation":"s3:a","b":"s3:b"}}"#, r#"{"tags":{"loc.ation":"public:\"a","b":"s3:b"}}"#),
            (
                r#"{"tags":[{"key":"loc.ation","value":"s3:a"},{"key":"x","value":"s3:b"},{"value":"s3:c"}]}"#,
                r#"{"tags":[{"key":"loc.ation","value":"public:\"a"},{"key":"x","value":"s3:b"},{"value":"s3:c"}]}"#,
            ),
            (r#"{"uri":"s3:a","run":{"uri":"s3:b"}}"#, r#"{"uri":"public:\"a","run":{"uri":"s3:b"}}"#),
        ] {
            for size in 1..=text.len() {
                assert_eq!(rewrite(text, size), expected, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn everything_else_is_left_byte_for_byte() {
        let long = format!(r#"{{"uri":"s3:{}"}}"#, "x".repeat(STRING_LIMIT + 10));
        let deep = format!("{}{}", "[{\"run\":".repeat(5000), "x");
        for text in [
            r#"{"uri":"https:a"}"#,
            r#"{"run":{"info":{"other":"s3:a","nested":{"uri":"s3:a"}},"data":{"uri":"s3:a"}}}"#,
            r#"{"x":"{\"uri\":\"s3:a\"}","\\":"\\\"","uri":{"uri":"s3:a"}}"#,
            r#"["s3:a",{"info":{"uri":"s3:a"}}]"#,
            r#"{"uri":123.4500e+10,"data":[1,2,{"uri":"s3:a"}]}"#,
            r#"{"uri":"s3:never closed"#,
            r#"}}]]{"run":}]"uri":"s3:a""#,
            "",
            "not json at all: \"uri\": {",
            &long,
            &deep,
        ] {
            for size in [1, 2, 7, text.len().max(1)] {
                assert_eq!(rewrite(text, size), text, "in pieces of {size}");
            }
        }
    }

    /// The same by parsing it all: what a streaming scanner must agree with.
    fn expected(value: &mut Value, path: &mut Vec<String>, key_member: Option<&str>) {
        match value {
            Value::Object(object) => {
                let key = object.get("key").and_then(Value::as_str).map(ToOwned::to_owned);
                for (name, member) in object.iter_mut() {
                    path.push(name.clone());
                    expected(member, path, key.as_deref());
                    path.pop();
                }
            }
            // A place is a member of an object; strings in arrays are none.
            Value::Array(array) => {
                array.iter_mut().filter(|item| !item.is_string()).for_each(|item| expected(item, path, None));
            }
            Value::String(text) => {
                let is_place = |place: &Place| {
                    place.path.len() == path.len()
                        && place.path.iter().zip(path.iter()).all(|(key, name)| *key == "*" || key == name)
                        && (place.if_key.is_empty() || key_member.is_some_and(|key| place.if_key.contains(&key)))
                };
                if let Some(new) = PLACES.iter().any(is_place).then(|| replaced(text)).flatten() {
                    *text = new;
                }
            }
            _ => {}
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!("s3:a")),
            Just(json!("loc.ation")),
            Just(json!("\\\"s3:{}[],:")),
            Just(json!(1.5)),
            Just(json!(null)),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            let keys = prop::sample::select(vec![
                "run",
                "runs",
                "info",
                "uri",
                "data",
                "tags",
                "key",
                "value",
                "loc.ation",
                "\"",
            ]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(keys.prop_map(ToOwned::to_owned), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_rewritten_as_if_it_had_been_parsed(value in values(), size in 1_usize..40) {
            let mut parsed = value.clone();
            expected(&mut parsed, &mut Vec::new(), None);
            let rewritten: Value = serde_json::from_str(&rewrite(&value.to_string(), size)).expect("still JSON");
            prop_assert_eq!(rewritten, parsed);
        }

        #[test]
        fn no_bytes_make_it_fail_and_without_a_replacement_none_change(text in "[\\[\\]{}:,\"\\\\ a-z.]{0,80}", size in 1_usize..20) {
            prop_assert_eq!(rewrite(&text, size), text);
        }
    }
}
