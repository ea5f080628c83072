//! A request body that can be sent, in memory, in a file, or still with its caller.

use bytes::Bytes;

use super::budget::Reservation;
use super::framed::FramedBody;
use super::outgoing::Outgoing;
use super::spool::SpooledFile;
use super::streaming::StreamingBody;

/// A body that can be sent, more than once unless it is streamed.
#[derive(Debug)]
pub enum Body {
    /// The message has no body and announces none.
    None,
    /// The body is in memory; an empty value is a body of zero bytes, announced as such.
    Memory(Bytes, Option<Reservation>),
    /// The body is in an unlinked file.
    File(SpooledFile),
    /// The body is streamed from the caller.
    Streaming(StreamingBody),
    /// The body is streamed from the caller in chunks.
    Framed(FramedBody),
}

impl Body {
    /// Makes a body of bytes that no caller sent.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self::Memory(bytes, None)
    }

    /// The body, if it is in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Memory(bytes, _) => Some(bytes),
            Self::None | Self::File(_) | Self::Streaming(_) | Self::Framed(_) => None,
        }
    }

    /// The body as a stream to send; may be called again for another attempt.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        match self {
            Self::None => Outgoing::none(),
            Self::Memory(bytes, _) => Outgoing::memory(bytes.clone()),
            Self::File(file) => Outgoing::file(file),
            Self::Streaming(streaming) => Outgoing::streaming(streaming.clone()),
            Self::Framed(framed) => Outgoing::framed(framed),
        }
    }

    /// True if it cannot be sent any more.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        match self {
            Self::Streaming(body) | Self::Framed(FramedBody { body, .. }) => body.has_begun(),
            Self::None | Self::Memory(..) | Self::File(_) => false,
        }
    }
}
