//! The boundaries of the requests of an HTTP/1.1 connection, found in its bytes as they arrive.
//!
//! actix-http reads as many bytes as it gets before it parses a head, and panics over a field whose name alone has 64 KiB. So
//! the bytes are followed here before it sees them, and none is given to it behind the limit of a head.
//!
//! SECURITY: an error about a boundary would take a head for a body, whose bytes have no limit. So this follows the rules of
//! actix-http's decoder, and properties compare the two (`tests/system/fuzz/framing.rs`). It judges no head:
//! what the decoder rejects ends the connection, and so it does not matter which boundary is assumed behind it.

mod chunks;
mod head;

use chunks::{ChunkEnd, Chunks};
use head::{BodyFraming, Head};

/// The maximum size of a head, with the empty lines before it. It is below the 65,535 bytes of the longest field name that
/// actix-http parses. Bytes.
pub const HEAD_LIMIT: usize = 62 * 1024;

/// The state of one connection between two of its bytes.
#[derive(Debug, Default)]
pub struct RequestFraming {
    heads: usize,
    part: Part,
    head: Head,
    /// The number of bytes of a body that are still to come.
    length: u64,
    /// The number of bytes of that body so far.
    passed: u64,
    chunks: Chunks,
}

/// The part of a request to which the next byte belongs.
#[derive(Debug, Default, Clone, Copy)]
enum Part {
    #[default]
    Head,
    Body,
    Chunks,
    /// Everything to the connection's end is the body: `CONNECT`, or a WebSocket's handshake.
    Rest,
    /// No more bytes may be parsed.
    Over,
}

/// No byte from a certain one on may be parsed.
#[derive(Debug, PartialEq, Eq)]
pub enum FramingError {
    /// A head is larger than [`HEAD_LIMIT`]. Its bytes from this position on have to be dropped.
    HeadTooLarge(usize),
    /// The chunks of a body are malformed, or the lines around them too long. The byte at this position is the first that must
    /// not be parsed.
    Chunks(usize),
}

impl RequestFraming {
    /// The number of heads that are complete so far.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// The number of bytes of the current head, if it is incomplete, with the empty lines before it.
    #[must_use]
    pub fn incomplete_head(&self) -> usize {
        if matches!(self.part, Part::Head) { self.head.size() } else { 0 }
    }

    /// True if the bytes so far end with a request.
    #[must_use]
    pub fn is_between(&self) -> bool {
        matches!(self.part, Part::Head) && self.head.size() == 0
    }

    /// The number of bytes up to the next multiple of `block` in a body of known length, if the next byte belongs to one.
    #[must_use]
    pub fn left_of_block(&self, block: u64) -> Option<u64> {
        matches!(self.part, Part::Body).then(|| block - self.passed % block)
    }

    /// Follows the next bytes of the connection.
    ///
    /// # Errors
    /// [`FramingError`], with a position in `bytes`. Later bytes must not be parsed either.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.part {
                Part::Head => {
                    let end = self.head.advance(rest);
                    if self.head.size() > HEAD_LIMIT {
                        self.part = Part::Over;
                        return Err(FramingError::HeadTooLarge(at));
                    }
                    let Some(end) = end else { return Ok(()) };
                    self.end_head();
                    end
                }
                Part::Body => {
                    let passed = rest.len().min(usize::try_from(self.length).unwrap_or(usize::MAX));
                    self.length -= passed as u64;
                    self.passed += passed as u64;
                    if self.length == 0 {
                        self.part = Part::Head;
                    }
                    passed
                }
                Part::Chunks => match self.chunks.advance(rest) {
                    ChunkEnd::None => return Ok(()),
                    ChunkEnd::At(end) => {
                        self.part = Part::Head;
                        end
                    }
                    ChunkEnd::Invalid(end) => {
                        self.part = Part::Over;
                        return Err(FramingError::Chunks(at + end));
                    }
                },
                Part::Rest => return Ok(()),
                Part::Over => return Err(FramingError::Chunks(at)),
            };
        }
        Ok(())
    }

    /// Goes on to the body of the head that has ended.
    fn end_head(&mut self) {
        self.heads += 1;
        self.part = match self.head.body() {
            BodyFraming::Length(0) => Part::Head,
            BodyFraming::Length(length) => {
                (self.length, self.passed) = (length, 0);
                Part::Body
            }
            BodyFraming::Chunks => {
                self.chunks = Chunks::default();
                Part::Chunks
            }
            BodyFraming::Rest => Part::Rest,
        };
        self.head.restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_from_the_beginning_of_a_body() {
        let mut framing = RequestFraming::default();
        for (bytes, left) in [
            (&b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n"[..], None),
            (b"\r\n", Some(4)),
            (b"abc", Some(1)),
            (b"d", Some(4)),
            (b"efghi", Some(3)),
            (b"j", None),
            (b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab", Some(2)),
            (b"cdefghij", None),
            (b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\na\r\nab", None),
        ] {
            framing.advance(bytes).expect("valid");
            assert_eq!(framing.left_of_block(4), left, "after {}", bytes.escape_ascii());
        }
    }
}
