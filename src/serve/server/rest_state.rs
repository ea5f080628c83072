//! The state that decides whether a connection may rest: the bounds of the requests in the bytes that were read.
//!
//! SECURITY: a byte that was read and is lost when a connection begins to rest would shift the bounds of all later requests. So a
//! connection rests only where the bytes that were read certainly end with the last request, and never where that is not known.

use std::cell::Cell;
use std::io::BufRead as _;
use std::task::{Context, Waker};

/// The bytes that follow the head of the last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// So many.
    Bytes(u64),
    /// None in this read, whatever came before: it ends with a head.
    HeadEnded,
    /// It is not known where the head ends.
    Unknown,
}

/// The state of one connection.
pub(super) struct RestState {
    behind: Cell<Behind>,
    /// The length of the last request's body, once that request has begun; nothing if its bounds are not known.
    body: Cell<Option<u64>>,
    /// True once the connection is to rest, until its client sends something.
    rests: Cell<bool>,
    /// Wakes the task that serves the connection.
    task: Cell<Option<Waker>>,
}

impl Default for RestState {
    /// Returns the state of a new connection, whose first byte begins a request.
    fn default() -> Self {
        Self {
            behind: Cell::new(Behind::Bytes(0)),
            body: Cell::new(Some(0)),
            rests: Cell::default(),
            task: Cell::default(),
        }
    }
}

impl RestState {
    /// Notes bytes that were read. `is_running` is true while a request runs.
    pub(super) fn note_read(&self, piece: &[u8], is_running: bool) {
        if piece.ends_with(b"\r\n\r\n") {
            // The usual case, and cheap. A body may end like this as well, but then it is not empty.
            self.behind.set(Behind::HeadEnded);
            self.body.set(None);
            return;
        }
        let length = piece.len() as u64;
        let is_between = !is_running && self.is_between();
        let behind = match self.behind.get() {
            _ if is_between => behind_head(piece).map_or(Behind::Unknown, Behind::Bytes),
            Behind::Bytes(before) => Behind::Bytes(before + length),
            Behind::HeadEnded | Behind::Unknown => Behind::Unknown,
        };
        if is_between || behind == Behind::Unknown {
            self.body.set(None);
        }
        self.behind.set(behind);
    }

    /// Notes that a request has begun, with a body of this length if that is known.
    pub(super) fn note_request(&self, body: Option<u64>) {
        match (self.behind.get(), self.body.get()) {
            (Behind::HeadEnded, _) => self.body.set(body.filter(|length| *length == 0)),
            (Behind::Bytes(_), None) => self.body.set(body),
            // Another request has begun since its head was found.
            (Behind::Bytes(_), Some(_)) => self.behind.set(Behind::Unknown),
            (Behind::Unknown, _) => {}
        }
    }

    /// True if the bytes that were read certainly end with the last request.
    ///
    /// What follows a head without a body in actix's buffer ends as a head does where the bytes that were read end with one. It would
    /// have become a request, unless it is an empty line, which means nothing.
    fn is_between(&self) -> bool {
        match (self.behind.get(), self.body.get()) {
            (Behind::HeadEnded, Some(_)) => true,
            (Behind::Bytes(behind), Some(body)) => behind == body,
            (Behind::Bytes(_) | Behind::HeadEnded, None) | (Behind::Unknown, _) => false,
        }
    }

    /// Lets an idle connection rest, if that is possible.
    pub(super) fn begin(&self) {
        if self.is_between()
            && let Some(task) = self.task.take()
        {
            self.rests.set(true);
            task.wake();
        }
    }

    /// Returns true if the connection is to rest. If it is not, its task is woken when it is.
    pub(super) fn poll(&self, context: &Context<'_>) -> bool {
        if self.rests.get() {
            return true;
        }
        // A task has one waker for its life.
        let known = self.task.take();
        self.task.set(known.or_else(|| Some(context.waker().clone())));
        false
    }

    /// Notes that the client sends again.
    pub(super) fn end(&self) {
        self.rests.set(false);
    }
}

/// Returns the number of bytes behind the head with which a piece begins; nothing if the head does not end in the piece, or if a
/// line of it does not end with CR LF, since parsers differ about such lines.
fn behind_head(piece: &[u8]) -> Option<u64> {
    let start = piece.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut rest = &piece[start..];
    loop {
        let line = rest;
        let length = rest.skip_until(b'\n').ok()?;
        if line[..length].strip_suffix(b"\r\n")?.is_empty() {
            return Some(rest.len() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n";

    /// A step of a connection.
    enum Step {
        /// Bytes that are read while no request runs.
        Read(String),
        /// Bytes that are read while a request runs.
        ReadLater(&'static str),
        /// A request with a body of this length.
        Request(Option<u64>),
    }
    use Step::{Read, ReadLater, Request};

    fn read(parts: &[&str]) -> Step {
        Read(parts.concat())
    }

    #[test]
    fn a_connection_may_rest_only_where_the_bytes_end_with_the_last_request() {
        let get = || read(&[GET]);
        let cases: Vec<(&str, Vec<Step>, bool)> = vec![
            ("GET", vec![get(), Request(Some(0))], true),
            ("a head without its request", vec![get()], false),
            ("two GETs", vec![get(), Request(Some(0)), get(), Request(Some(0))], true),
            ("two GETs in one piece", vec![read(&[GET, GET]), Request(Some(0)), Request(Some(0))], true),
            ("the beginning of another GET", vec![read(&[GET, "GET /"]), Request(Some(0))], false),
            ("one in a later piece", vec![get(), Request(Some(0)), ReadLater("GET /")], false),
            ("POST", vec![read(&[POST, "body"]), Request(Some(4))], true),
            ("POST behind a GET", vec![get(), Request(Some(0)), read(&[POST, "body"]), Request(Some(4))], true),
            ("GET behind a POST", vec![read(&[POST, "body"]), Request(Some(4)), get(), Request(Some(0))], true),
            (
                "POST behind a POST",
                vec![read(&[POST, "body"]), Request(Some(4)), read(&[POST, "more"]), Request(Some(4))],
                true,
            ),
            ("POST behind empty lines", vec![read(&["\r\n\r\n", POST, "body"]), Request(Some(4))], true),
            ("a body that comes later", vec![read(&[POST, "b"]), Request(Some(4)), ReadLater("ody")], true),
            ("a body that has not come", vec![read(&[POST, "b"]), Request(Some(4))], false),
            ("bytes behind a body", vec![read(&[POST, "bodyGET"]), Request(Some(4))], false),
            ("bytes behind a later body", vec![read(&[POST, "b"]), Request(Some(4)), ReadLater("odyGET")], false),
            ("a head alone, and its body later", vec![read(&[POST]), Request(Some(4)), ReadLater("body")], false),
            ("a body that ends as a head does", vec![read(&[POST, "\r\n\r\n"]), Request(Some(4))], false),
            ("a body of unknown length", vec![read(&[POST, "0"]), Request(None)], false),
            (
                "two POSTs in one piece",
                vec![read(&[POST, "body", POST, "body"]), Request(Some(4)), Request(Some(4))],
                false,
            ),
            (
                "a head in two pieces",
                vec![read(&["POST /"]), read(&[" HTTP/1.1\r\n\r\nbody"]), Request(Some(4))],
                false,
            ),
            ("a line that ends with LF", vec![read(&["POST / HTTP/1.1\nA: b\r\n\r\nbody"]), Request(Some(4))], false),
            ("a head that ends with LF LF", vec![read(&["POST / HTTP/1.1\n\nbody\r\n\r\nx"]), Request(Some(4))], false),
            (
                "POST after what is not known",
                vec![read(&["GET /"]), Request(None), read(&[POST, "body"]), Request(Some(4))],
                false,
            ),
            ("GET after what is not known", vec![read(&["GET /"]), Request(None), get(), Request(Some(0))], true),
        ];
        for (what, steps, expected) in cases {
            let state = RestState::default();
            for step in steps {
                match step {
                    Read(text) => state.note_read(text.as_bytes(), false),
                    ReadLater(text) => state.note_read(text.as_bytes(), true),
                    Request(body) => state.note_request(body),
                }
            }
            assert_eq!(state.is_between(), expected, "{what}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_end_of_a_head_is_found_where_it_is(
            lines in proptest::collection::vec("[ -~]{1,40}", 1..10),
            body in proptest::collection::vec(proptest::num::u8::ANY, 0..100),
        ) {
            let head = lines.join("\r\n") + "\r\n\r\n";
            let piece = [head.as_bytes(), &body[..]].concat();
            proptest::prop_assert_eq!(behind_head(&piece), Some(body.len() as u64));
            for end in 0..head.len() {
                proptest::prop_assert_eq!(behind_head(&piece[..end]), None);
            }
        }
    }
}
