//! The end of a head, and the kind of body that it announces.

use memchr::memchr;

/// The number of bytes at the beginning of a line that tell its field, as in `transfer-encoding:`.
const START: usize = 18;
const WEBSOCKET: &[u8] = b"websocket";

/// A head that arrives.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The number of bytes that have arrived, with the empty lines before the head.
    size: usize,
    length: u64,
    /// True once the request line has arrived.
    is_begun: bool,
    flags: Flags,
    /// The current line, if a part of it has arrived.
    line: Line,
}

/// The facts from which the kind of the body follows.
#[derive(Debug, Default)]
struct Flags {
    is_connect: bool,
    is_chunked: bool,
    is_websocket: bool,
}

/// A line that has arrived in part.
#[derive(Debug, Default)]
struct Line {
    size: usize,
    start: [u8; START],
    /// The value of the line, which is known once the line is as long as its `start`.
    value: Value,
}

/// The value of a field as far as it has arrived.
#[derive(Debug, Default, Clone, Copy)]
enum Value {
    Length,
    Coding,
    /// This many letters of `websocket` have arrived, or one more if white space follows them.
    Upgrade(usize),
    /// The header says nothing about the body.
    #[default]
    Other,
}

/// The end of a body.
pub(super) enum BodyFraming {
    /// The body has this many bytes, or none at all.
    Length(u64),
    Chunks,
    /// The end of the connection.
    Rest,
}

impl Head {
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Begins another head.
    pub(super) fn restart(&mut self) {
        // A line that has arrived in part was forgotten at its end.
        self.size = 0;
        self.length = 0;
        self.is_begun = false;
        self.flags = Flags::default();
    }

    /// Follows bytes of the head, and returns the position behind the head if it ends in them.
    ///
    /// The decoder takes a line feed for the end of a line, and skips empty lines before a head.
    #[inline]
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(length) = memchr(b'\n', &bytes[at..]) {
            let rest = &bytes[at..at + length];
            at += length + 1;
            // Nearly all lines arrive in one piece, and are fields that say nothing about the body.
            if length > 1 && self.is_begun && self.line.size == 0 && !may_concern_body(rest) {
                continue;
            }
            let is_end = if self.line.size == 0 { self.end_line(rest) } else { self.end_split_line(rest) };
            if is_end {
                self.size += at;
                return Some(at);
            }
        }
        self.begin_line(&bytes[at..]);
        self.size += bytes.len();
        None
    }

    /// Returns how the body ends that follows the head.
    ///
    /// The decoder rejects repeated lengths and codings, a length beside a coding, and values that it does not know.
    pub(super) fn body(&self) -> BodyFraming {
        if self.flags.is_chunked {
            BodyFraming::Chunks
        } else if self.flags.is_websocket || self.flags.is_connect && self.length == 0 {
            BodyFraming::Rest
        } else {
            BodyFraming::Length(self.length)
        }
    }

    /// Follows a whole line, and returns true if the head ends with it.
    #[inline(never)]
    fn end_line(&mut self, line: &[u8]) -> bool {
        if line.is_empty() || line == b"\r" {
            return self.is_begun;
        }
        if self.is_begun {
            let (value, text) = field(line);
            let value = self.follow(value, text);
            self.end_value(value);
        } else {
            self.begin(line);
        }
        false
    }

    /// Follows the end of a line that has arrived in part.
    #[cold]
    fn end_split_line(&mut self, rest: &[u8]) -> bool {
        self.begin_line(rest);
        let line = std::mem::take(&mut self.line);
        if line.size < START {
            return self.end_line(&line.start[..line.size]);
        }
        if self.is_begun {
            self.end_value(line.value);
        } else {
            self.begin(&line.start);
        }
        false
    }

    /// Follows a part of a line.
    fn begin_line(&mut self, mut part: &[u8]) {
        let known = self.line.size;
        self.line.size += part.len();
        if known < START {
            let (start, rest) = part.split_at(part.len().min(START - known));
            self.line.start[known..known + start.len()].copy_from_slice(start);
            if self.line.size < START || !self.is_begun {
                return;
            }
            let start = self.line.start;
            let (value, text) = field(&start);
            self.line.value = self.follow(value, text);
            part = rest;
        }
        self.line.value = self.follow(self.line.value, part);
    }

    fn begin(&mut self, request_line: &[u8]) {
        self.is_begun = true;
        self.flags.is_connect = request_line.starts_with(b"CONNECT ");
    }

    /// Follows a part of a value.
    fn follow(&mut self, value: Value, text: &[u8]) -> Value {
        match value {
            Value::Upgrade(count) => return follow_upgrade(count, text),
            Value::Coding => self.flags.is_chunked = true,
            Value::Length => {
                for digit in text.iter().filter(|byte| byte.is_ascii_digit()) {
                    self.length = self.length.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                }
            }
            Value::Other => {}
        }
        value
    }

    fn end_value(&mut self, value: Value) {
        self.flags.is_websocket |= matches!(value, Value::Upgrade(count) if count >= WEBSOCKET.len());
    }
}

/// False for nearly all lines that say nothing about the body. This costs less than to compare their names.
#[inline]
fn may_concern_body(line: &[u8]) -> bool {
    let colon = match line[0] | 0x20 {
        b'c' => "content-length".len(),
        b't' => "transfer-encoding".len(),
        b'u' => "upgrade".len(),
        _ => return false,
    };
    line.get(colon) == Some(&b':')
}

/// Returns the kind of a line's value, and where its text begins.
fn field(line: &[u8]) -> (Value, &[u8]) {
    let fields = [
        (b"content-length:".as_slice(), Value::Length),
        (b"transfer-encoding:", Value::Coding),
        (b"upgrade:", Value::Upgrade(0)),
    ];
    for (name, value) in fields {
        if let Some((start, text)) = line.split_at_checked(name.len())
            && start.eq_ignore_ascii_case(name)
        {
            return (value, text);
        }
    }
    (Value::Other, b"")
}

/// Follows a part of the value of `upgrade`, which is compared without the white space around it.
fn follow_upgrade(mut count: usize, text: &[u8]) -> Value {
    for byte in text {
        count = match byte {
            b' ' | b'\t' | b'\r' if count == 0 => 0,
            b' ' | b'\t' | b'\r' if count >= WEBSOCKET.len() => WEBSOCKET.len() + 1,
            letter if WEBSOCKET.get(count) == Some(&letter.to_ascii_lowercase()) => count + 1,
            _ => return Value::Other,
        }
    }
    Value::Upgrade(count)
}
