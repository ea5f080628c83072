//! The corpus: hostile requests as text files, each with the expected result.
//!
//! A file is a list of `key: value` lines; `#` starts a comment. `class` holds for the cases that follow it:
//!
//! - `case`: what is tried, as a sentence; starts a case
//! - `wire`: bytes to send; several are put together. Line ends are written out: `\r`, `\n`, `\t`, `\0`, `\xNN`, `\\`
//! - `seen`: method and target of a request that the upstream must see, in this order; none if the case is refused
//! - `field`: a header of that request, besides the appliance's own; any other makes the case fail
//! - `body`: the body of that request
//! - `status`: what the caller hears where nothing is seen, if it is not 400; `none` where the answer may be lost, as
//!   when the connection is cut while the caller is sending
//! - `then`: `open` if the connection goes on to the next request, `closed` if not. Without it, a request that was seen
//!   leaves it open and a refusal closes it
//!
//! In `wire` and `body`, `{host}` is the usual Host line, `{smuggled}` a whole request that nobody may ever take for
//! one, and `{text*count}` repeats.

use std::collections::BTreeMap;

/// A hostile request.
#[derive(Debug)]
pub struct Case {
    pub class: String,
    pub name: String,
    pub wire: Vec<u8>,
    pub seen: Vec<Expected>,
    /// The status of a refusal; nothing if the answer may be lost.
    pub status: Option<u16>,
    /// True if the next request on the connection is answered.
    pub stays_open: bool,
}

/// A request in the one form in which the upstream may see it.
#[derive(Debug, Default)]
pub struct Expected {
    pub method: String,
    pub target: String,
    /// Names in lower case, sorted.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

const FILES: [(&str, &str); 8] = [
    ("framing.txt", include_str!("framing.txt")),
    ("codings.txt", include_str!("codings.txt")),
    ("chunks.txt", include_str!("chunks.txt")),
    ("lines.txt", include_str!("lines.txt")),
    ("targets.txt", include_str!("targets.txt")),
    ("identity.txt", include_str!("identity.txt")),
    ("upgrades.txt", include_str!("upgrades.txt")),
    ("oversized.txt", include_str!("oversized.txt")),
];

/// All cases, by file.
pub fn cases() -> Vec<Case> {
    FILES.iter().flat_map(|(file, text)| parse(file, text)).collect()
}

fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut class = String::new();
    let mut cases: Vec<(Case, BTreeMap<String, String>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("{place}: no key"));
        let value = value.strip_prefix(' ').unwrap_or(value);
        if key == "class" {
            value.clone_into(&mut class);
            continue;
        }
        if key == "case" {
            assert!(!class.is_empty(), "{place}: a case without a class");
            let case = Case {
                class: class.clone(),
                name: format!("{place}: {value}"),
                wire: Vec::new(),
                seen: Vec::new(),
                status: Some(400),
                stays_open: false,
            };
            cases.push((case, BTreeMap::new()));
            continue;
        }
        let (case, options) = cases.last_mut().unwrap_or_else(|| panic!("{place}: `{key}` before any case"));
        match key {
            "wire" => case.wire.extend(unescaped(value, &place)),
            "seen" => {
                let (method, target) = value.split_once(' ').unwrap_or_else(|| panic!("{place}: no target"));
                let (method, target) = (method.to_owned(), expanded(target, &place));
                case.seen.push(Expected { method, target, ..Expected::default() });
            }
            "field" | "body" => {
                let expected = case.seen.last_mut().unwrap_or_else(|| panic!("{place}: nothing is seen"));
                if key == "body" {
                    expected.body.extend(unescaped(value, &place));
                } else {
                    let (name, value) = value.split_once(": ").unwrap_or_else(|| panic!("{place}: no field"));
                    let value = String::from_utf8_lossy(&unescaped(value, &place)).into_owned();
                    expected.fields.push((name.to_owned(), value));
                    expected.fields.sort();
                }
            }
            "status" | "then" => assert!(options.insert(key.into(), value.into()).is_none(), "{place}: said twice"),
            _ => panic!("{place}: unknown key `{key}`"),
        }
    }
    let finished = cases.into_iter().map(|(mut case, options)| {
        assert!(!case.wire.is_empty(), "{}: nothing is sent", case.name);
        if let Some(status) = options.get("status") {
            assert!(case.seen.is_empty() || status == "none", "{}: forwarded and rejected", case.name);
            case.status = (status != "none").then(|| status.parse().unwrap());
        }
        case.stays_open = match options.get("then").map(String::as_str) {
            Some("open") => true,
            Some("closed") => false,
            Some(other) => panic!("{}: `{other}`", case.name),
            None => !case.seen.is_empty(),
        };
        case
    });
    finished.collect()
}

/// Replaces `{host}`, `{smuggled}` and `{text*count}`.
fn expanded(text: &str, place: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (inner, after) = after.split_once('}').unwrap_or_else(|| panic!("{place}: an open brace"));
        out.push_str(before);
        match inner {
            "host" => out.push_str("Host: localhost\\r\\n"),
            "smuggled" => out.push_str(&SMUGGLED.replace('\r', "\\r").replace('\n', "\\n")),
            "" => out.push_str("{}"),
            _ => {
                let (piece, count) = inner.rsplit_once('*').unwrap_or_else(|| panic!("{place}: `{inner}`"));
                out.push_str(&piece.repeat(count.parse().unwrap_or_else(|_| panic!("{place}: `{inner}`"))));
            }
        }
        rest = after;
    }
    out + rest
}

fn unescaped(text: &str, place: &str) -> Vec<u8> {
    let text = expanded(text, place);
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [bytes.next(), bytes.next()].map(|digit| char::from(digit.unwrap_or_default()));
                u8::from_str_radix(&String::from_iter(digits), 16).unwrap_or_else(|_| panic!("{place}: bad escape"))
            }
            _ => panic!("{place}: bad escape"),
        });
    }
    out
}
