//! The search for span attributes from which MLflow makes trace tags of its own.
//!
//! SECURITY: MLflow 3.17 copies each attribute `mlflow.traceTag.<key>` of a root span that comes by OTLP into the tags of its trace,
//! `mlflow.trace.archiveLocation` among them, and then reads or deletes what lies there with its own role. MLflow's own client
//! sends no key that begins with `mlflow.` (`tracing/processor/otel.py`), so such a key is never needed.

use memchr::{memchr, memchr2, memmem};

/// The beginning of the attributes that are searched for. JSON has no short escape for any of its letters.
const PREFIX: &[u8] = b"mlflow.traceTag.mlflow.";
/// The most bytes of it that can stand at the end of a piece. Bytes.
const PARTIAL: usize = PREFIX.len() - 1;

/// The form of spans in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanFormat {
    /// Strings stand in it as they are.
    Protobuf,
    /// Strings can have escapes.
    Json,
}

/// The reason why a body must not reach MLflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanObjection {
    /// It has such an attribute.
    ReservedTag,
    /// It is not JSON in UTF-8, so the strings in it cannot be found.
    Unreadable,
}

/// The search in one body, which comes in pieces. It holds a few bytes of it.
pub struct TagSearch {
    /// The end of what has come, which can be the beginning of the text.
    end: Vec<u8>,
    json: Option<JsonStrings>,
}

impl TagSearch {
    /// Begins a search.
    #[must_use]
    pub fn new(format: SpanFormat) -> Self {
        Self { end: Vec::new(), json: (format == SpanFormat::Json).then(JsonStrings::default) }
    }

    /// Searches the next piece.
    ///
    /// # Errors
    /// [`SpanObjection`].
    pub fn push(&mut self, piece: &[u8]) -> Result<(), SpanObjection> {
        let begin = &piece[..piece.len().min(PARTIAL)];
        self.end.extend_from_slice(begin);
        let mut is_found = memmem::find(piece, PREFIX).is_some() || memmem::find(&self.end, PREFIX).is_some();
        let last = if begin.len() == PARTIAL { piece } else { &self.end };
        self.end = last[last.len().saturating_sub(PARTIAL)..].to_vec();
        if let Some(strings) = &mut self.json {
            // SECURITY: MLflow accepts UTF-16 and UTF-32 as well, in which each character of the syntax has such a byte.
            if memchr(0, piece).is_some() {
                return Err(SpanObjection::Unreadable);
            }
            is_found |= strings.push(piece);
        }
        if is_found { Err(SpanObjection::ReservedTag) } else { Ok(()) }
    }
}

/// Finds a string of JSON that begins with the text, whatever escapes it is written with.
#[derive(Default)]
struct JsonStrings {
    place: JsonPlace,
    /// The letters of the text with which the string begins; nothing if it begins otherwise.
    matching: Option<usize>,
}

#[derive(Clone, Copy, Default)]
enum JsonPlace {
    #[default]
    Between,
    InString,
    /// Behind a backslash.
    Escaped,
    /// Behind `\u`, with the value of the digits so far and their number.
    Digits(u32, u8),
}

impl JsonStrings {
    /// Returns true if such a string begins or goes on in the piece.
    fn push(&mut self, mut piece: &[u8]) -> bool {
        loop {
            // Most bytes are of no interest, and found in large steps.
            let skipped = match (self.place, self.matching) {
                (JsonPlace::Between, _) => memchr(b'"', piece),
                (JsonPlace::InString, None) => memchr2(b'"', b'\\', piece),
                _ => Some(0),
            };
            let Some((byte, rest)) = skipped.and_then(|skipped| piece[skipped..].split_first()) else { return false };
            piece = rest;
            if self.take(*byte) {
                return true;
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let letter = match (self.place, byte) {
            (JsonPlace::Between, _) => {
                (self.place, self.matching) = (JsonPlace::InString, Some(0));
                return false;
            }
            (JsonPlace::InString, b'"') => {
                self.place = JsonPlace::Between;
                return false;
            }
            (JsonPlace::InString, b'\\') => {
                self.place = JsonPlace::Escaped;
                return false;
            }
            (JsonPlace::InString, letter) => letter,
            (JsonPlace::Escaped, b'u') => {
                self.place = JsonPlace::Digits(0, 0);
                return false;
            }
            // A short escape stands for a character that the text has not.
            (JsonPlace::Escaped, _) => 0,
            (JsonPlace::Digits(value, count), digit) => {
                let value = value << 4 | char::from(digit).to_digit(16).unwrap_or(0);
                if count < 3 {
                    self.place = JsonPlace::Digits(value, count + 1);
                    return false;
                }
                u8::try_from(value).unwrap_or(0)
            }
        };
        self.place = JsonPlace::InString;
        self.matching = self.matching.filter(|count| PREFIX[*count] == letter).map(|count| count + 1);
        self.matching == Some(PREFIX.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "mlflow.traceTag.mlflow.trace.archiveLocation";

    /// Searches a body that comes in pieces of this size.
    fn search(format: SpanFormat, body: &[u8], size: usize) -> Result<(), SpanObjection> {
        let mut search = TagSearch::new(format);
        body.chunks(size).try_for_each(|piece| search.push(piece))
    }

    #[track_caller]
    fn check(format: SpanFormat, body: &[u8], expected: Result<(), SpanObjection>) {
        for size in [1, 2, 7, PARTIAL, PARTIAL + 1, 1000] {
            assert_eq!(search(format, body, size), expected, "{size}: {}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_reserved_tag_is_found_in_protobuf_wherever_it_stands() {
        for before in 0..60 {
            let mut body = vec![b'm'; before];
            body.extend_from_slice(b"\x0a\x2c");
            body.extend_from_slice(TAG.as_bytes());
            check(SpanFormat::Protobuf, &body, Err(SpanObjection::ReservedTag));
            body.extend_from_slice(&[0; 40]);
            check(SpanFormat::Protobuf, &body, Err(SpanObjection::ReservedTag));
        }
        for other in ["mlflow.traceTag.team", "mlflow.traceTag.mlflow", "mlflow.trace.archiveLocation", ""] {
            check(SpanFormat::Protobuf, format!("\0\x0a{other}\0\0").as_bytes(), Ok(()));
        }
    }

    #[test]
    fn a_reserved_tag_is_found_in_json_however_it_is_written() {
        let escaped: String = TAG.bytes().map(|byte| format!("\\u{byte:04X}")).collect();
        for key in [TAG.to_owned(), TAG.replacen('m', "\\u006d", 1), TAG.replace('.', "\\u002e"), escaped] {
            let body = format!(r#"{{"a\"\\": ["x\u0022", 1], "attributes": [{{"key": "{key}", "value": {{}}}}]}}"#);
            check(SpanFormat::Json, body.as_bytes(), Err(SpanObjection::ReservedTag));
        }
        for other in [
            r#"{"key": "mlflow.traceTag.team", "x": "mlflow.\u0074raceTag.mlflow"}"#,
            // These are other texts.
            r#"{"key": "\\u006dlflow.traceTag.mlflow.x", "y": "\mlflow.traceTag.m\u006cflow.x"}"#,
            r#"{"key": "\u016dlflow.traceTag.m\u006cflow.x", "y": ".\u006dlflow.traceTag.m\u006cflow.x"}"#,
            "",
        ] {
            check(SpanFormat::Json, other.as_bytes(), Ok(()));
        }
    }

    #[test]
    fn json_in_another_encoding_cannot_be_searched() {
        for body in [&b"{\0\"\0a\0"[..], b"\xff\xfe{\0", b"\0\0\0{"] {
            check(SpanFormat::Json, body, Err(SpanObjection::Unreadable));
        }
    }
}
