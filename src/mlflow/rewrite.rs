//! Replaces the strings at known places of a JSON text as it streams by, and touches nothing else.
//!
//! A place is a path of object keys; arrays on the way do not count. The text is scanned once, byte by byte, and
//! copied only where something is replaced: numbers, white space, the order of keys and everything that looks like an
//! artifact's URI but is somebody's data stay as they are. Memory is bounded by one string and by the longest place,
//! whatever the text is. Pure.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::places::{Kind, Places};

/// A longer string is nobody's artifact URI; it is passed on as it is. Bytes.
const STRING_LIMIT: usize = 16 * 1024;
/// A longer key is none of ours, even if each of its characters is written as an escape. Bytes.
const KEY_LIMIT: usize = 256;

/// Scans one JSON text.
pub struct Rewriter<F> {
    places: Places,
    /// A bit for each of them.
    all: u64,
    replace: F,
    levels: Vec<Level>,
    /// Containers below the last level, in which there is no place.
    barren: usize,
    string: Option<Text>,
}

/// An object or an array that leads to a place.
struct Level {
    is_object: bool,
    /// In an array, this counts the arrays that are open directly in it, one within the other. They need no level of their own, or a
    /// text of nothing but `[` would fill the memory.
    nested: usize,
    /// Places whose path leads through here, one bit for each.
    open: u64,
    /// How many keys of those paths lie above.
    depth: usize,
    /// In an object: whether the next string is a key.
    at_key: bool,
    /// In an object: the places that the current key continues.
    at_value: u64,
    /// In an object: the value of its member `key`.
    key_member: Vec<u8>,
    is_key_member: bool,
    /// In an object, these are the places whose string came before the key that they depend on.
    early: u64,
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
    Target(Kind),
    Other,
}

impl<F: FnMut(Kind, &str) -> Option<String>> Rewriter<F> {
    /// A scanner that replaces what `replace` has an answer for.
    ///
    /// # Panics
    /// With more than [`Places::LIMIT`] places, which is a mistake of the program.
    #[must_use]
    pub fn new(places: impl Into<Places>, replace: F) -> Self {
        let places = places.into();
        assert!(places.len() <= Places::LIMIT, "each place needs a bit");
        let all = (0..places.len()).fold(0, |all, place| all | 1 << place);
        Self { places, all, replace, levels: Vec::new(), barren: 0, string: None }
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
        if let Some(Text { role: Role::Target(_), .. }) = &self.string {
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
            Some(Text { role: Role::Target(_), read, .. }) => [b"\"", read.as_slice()].concat().into(),
            _ => Bytes::new(),
        }
    }

    /// Bytes of memory that it holds between two pieces.
    #[cfg(test)]
    fn held(&self) -> usize {
        let keys: usize = self.levels.iter().map(|level| level.key_member.capacity()).sum();
        let string = self.string.as_ref().map_or(0, |text| text.read.capacity());
        self.levels.capacity() * size_of::<Level>() + keys + string
    }

    fn between(&mut self, byte: u8, at: usize, out: &mut Output<'_>) {
        match byte {
            b'"' => {
                let role = self.role();
                if matches!(role, Role::Target(_)) {
                    out.copy_to(at);
                }
                self.string = Some(Text { role, escaped: false, read: Vec::new() });
            }
            b'{' | b'[' => self.enter(byte == b'{'),
            b'}' | b']' => self.leave(),
            b',' | b':' if self.barren == 0 => {
                if let Some(level) = self.levels.last_mut() {
                    level.at_key = level.is_object && byte == b',';
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, is_object: bool) {
        if self.barren > 0 {
            self.barren += 1;
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
            self.barren = 1;
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
        if self.barren > 0 {
            self.barren -= 1;
            return;
        }
        match self.levels.last_mut() {
            Some(level) if level.nested > 0 => level.nested -= 1,
            _ => drop(self.levels.pop()),
        }
    }

    /// What the string that begins here is.
    fn role(&mut self) -> Role {
        if matches!(self.places, Places::Everywhere) {
            return Role::Target(Kind::Location);
        }
        let Some(level) = self.levels.last_mut().filter(|level| self.barren == 0 && level.is_object) else {
            return Role::Other;
        };
        if level.at_key {
            return Role::Key;
        }
        let mut candidates = level.at_value;
        while candidates != 0 {
            let place = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            if !self.places.key(place, level.depth).is_some_and(|(_, is_last)| is_last) {
                continue;
            }
            let keys = self.places.if_key(place);
            if keys.is_empty() || keys.iter().any(|key| key.as_bytes() == level.key_member) {
                return Role::Target(self.places.kind(place));
            }
            level.early |= 1 << place;
        }
        if level.is_key_member { Role::KeyMember } else { Role::Other }
    }

    fn in_string(&mut self, mut text: Text, byte: u8, at: usize, out: &mut Output<'_>) {
        if byte == b'"' && !text.escaped {
            self.complete(&text, at, out);
            return;
        }
        text.escaped = byte == b'\\' && !text.escaped;
        match text.role {
            Role::Other => {}
            Role::Key | Role::KeyMember if text.read.len() > KEY_LIMIT => {}
            Role::Key | Role::KeyMember => text.read.push(byte),
            Role::Target(kind) => {
                text.read.push(byte);
                if text.read.len() > STRING_LIMIT {
                    if kind == Kind::Location {
                        let _ = (self.replace)(Kind::Missed, &String::from_utf8_lossy(&text.read));
                    }
                    out.skip_to(at + 1);
                    out.insert(b"\"");
                    out.insert(&text.read);
                    text = Text { role: Role::Other, read: Vec::new(), ..text };
                }
            }
        }
        self.string = Some(text);
    }

    fn complete(&mut self, text: &Text, at: usize, out: &mut Output<'_>) {
        match text.role {
            Role::Other => {}
            Role::Key => {
                let Some(level) = self.levels.last_mut() else { return };
                let key = unescaped(&text.read);
                level.is_key_member = *key == *b"key";
                level.at_value = 0;
                let mut open = level.open;
                while open != 0 {
                    let place = open.trailing_zeros() as usize;
                    open &= open - 1;
                    let continues = |(name, _): (&str, bool)| name == "*" || name.as_bytes() == &*key;
                    if self.places.key(place, level.depth).is_some_and(continues) {
                        level.at_value |= 1 << place;
                    }
                }
            }
            Role::KeyMember => {
                let Some(level) = self.levels.last_mut() else { return };
                level.key_member = unescaped(&text.read).into_owned();
                let mut early = level.early;
                while early != 0 {
                    let keys = self.places.if_key(early.trailing_zeros() as usize);
                    early &= early - 1;
                    if let Some(key) = keys.iter().find(|key| key.as_bytes() == level.key_member) {
                        let _ = (self.replace)(Kind::Missed, key);
                    }
                }
            }
            Role::Target(kind) => {
                let quoted = [b"\"", text.read.as_slice(), b"\""].concat();
                let value = serde_json::from_slice::<String>(&quoted).ok();
                let replaced = value.and_then(|value| (self.replace)(kind, &value));
                out.skip_to(at + 1);
                match replaced {
                    Some(value) => out.insert(serde_json::Value::String(value).to_string().as_bytes()),
                    None => out.insert(&quoted),
                }
            }
        }
    }
}

/// A string without its escapes: `"\u0061"` is the key `a` for every parser of JSON.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let quoted = [b"\"", text, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).map_or(Cow::Borrowed(text), |text| Cow::Owned(text.into_bytes()))
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

    use super::super::places::Place;
    use super::*;

    const PLACES: &[Place] = &[
        Place::at(&["run", "info", "uri"]),
        Place::at(&["runs", "info", "uri"]),
        Place::at(&["data", "*", "uri"]),
        Place::at(&["tags", "loc.ation"]),
        Place { path: &["tags", "value"], if_key: &["loc.ation"], kind: Kind::Location },
        Place::at(&["uri"]),
    ];

    fn replaced(_: Kind, value: &str) -> Option<String> {
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
    fn keys_are_what_they_are_without_their_escapes() {
        for (text, expected) in [
            (r#"{"\u0075r\u0069":"s3:a"}"#, r#"{"\u0075r\u0069":"public:\"a"}"#),
            (
                r#"{"tags":[{"k\u0065y":"loc\u002eation","value":"s3:a"}]}"#,
                r#"{"tags":[{"k\u0065y":"loc\u002eation","value":"public:\"a"}]}"#,
            ),
        ] {
            for size in 1..=text.len() {
                assert_eq!(rewrite(text, size), expected, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_location_that_cannot_be_replaced_is_told() {
        let long = format!(r#"{{"uri":"{}"}}"#, "x".repeat(STRING_LIMIT + 10));
        for (text, expected) in [
            (r#"{"tags":[{"value":"s3:a","key":"loc.ation"}]}"#, true),
            (r#"{"tags":[{"key":"x","value":"s3:a","key":"loc.ation"}]}"#, true),
            (&long, true),
            (r#"{"tags":[{"value":"s3:a","key":"x"},{"key":"loc.ation"}]}"#, false),
            (r#"{"tags":[{"key":"loc.ation","value":"s3:a"}]}"#, false),
        ] {
            let mut missed = false;
            let mut rewriter = Rewriter::new(PLACES, |kind, _: &str| {
                missed |= kind == Kind::Missed;
                None
            });
            let _ = rewriter.push(Bytes::copy_from_slice(text.as_bytes()));
            drop(rewriter);
            assert_eq!(missed, expected, "{}", &text[..text.len().min(80)]);
        }
    }

    #[test]
    fn everywhere_is_every_string() {
        let mut rewriter = Rewriter::new(Places::Everywhere, replaced);
        let out = rewriter.push(Bytes::from_static(br#"["s3:a",{"x":[["s3:b"]],"s3":1,"y":"z"}]"#));
        assert_eq!(out, br#"["public:\"a",{"x":[["public:\"b"]],"s3":1,"y":"z"}]"#.as_slice());
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
                if let Some(new) = PLACES.iter().any(is_place).then(|| replaced(Kind::Location, text)).flatten() {
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

        /// SECURITY: 48 bytes for each `[` of a caller's body are 5 GiB for a body of 100 MiB.
        #[test]
        fn memory_depends_on_the_longest_place_alone(
            unit in "(\\[|\\{|\\]|\\}|,|:|\"|\\\\|\"run\":|\"info\":|\"uri\":|\"data\":|\"tags\":|\"key\":|\"loc.ation\"|\"value\":|1| ){1,12}",
            tail in "[a-z\\[{]{0,20}",
        ) {
            let text = unit.repeat(100_000 / unit.len()) + &tail.repeat(2_000);
            for places in [Places::Known(PLACES), Places::Asked(vec![vec!["run".into(), "uri".into()]]), Places::Everywhere] {
                let mut rewriter = Rewriter::new(places, replaced);
                let mut most = 0;
                for piece in text.as_bytes().chunks(1000) {
                    let _ = rewriter.push(Bytes::copy_from_slice(piece));
                    most = most.max(rewriter.held());
                }
                prop_assert!(most <= 2 * STRING_LIMIT + 16 * 1024, "{} bytes for {unit:?}", most);
            }
        }

        #[test]
        fn no_bytes_make_it_fail_and_without_a_replacement_none_change(text in "[\\[\\]{}:,\"\\\\ a-z.]{0,80}", size in 1_usize..20) {
            prop_assert_eq!(rewrite(&text, size), text);
        }
    }
}
