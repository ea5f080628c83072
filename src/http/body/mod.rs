//! Request bodies: received once while being hashed, held in memory or on disk, sent as often as needed.
//!
//! A signature needs the body's SHA-256 before the first byte goes out, so a body is taken in whole. Small ones stay
//! in memory, larger ones go to an unlinked file, and shared [`Budget`]s bound what all requests hold together:
//! memory does not grow with the size of a body or the number of uploads. Each caller and each address has a share of
//! them ([`Account`]), and a body has to arrive at a minimum rate ([`Timing`]). Only a body that is not to be signed
//! can be [`Passing`].

mod budget;
mod gathered;
mod outgoing;
mod pace;
mod passing;
mod receive;
mod spool;

pub use budget::{Account, Budget, Holdings, Resource};
pub use outgoing::{Outgoing, OutgoingError};
pub use pace::Timing;
pub use passing::Passing;
pub use receive::{Intake, ReceiveError, Received, receive};

use bytes::Bytes;

use budget::Reservation;
use spool::SpooledFile;

/// A body that has been received whole and can be sent, more than once if need be.
#[derive(Debug)]
pub enum Body {
    /// The message has no body and announces none.
    None,
    /// In memory; an empty value is a body of zero bytes, announced as such.
    Memory(Bytes, Option<Reservation>),
    /// In an unlinked file.
    File(SpooledFile),
    /// Still with the caller.
    Passing(Passing),
}

impl Body {
    /// A body that was not received but made here.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self::Memory(bytes, None)
    }

    /// The body, if it is in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Memory(bytes, _) => Some(bytes),
            Self::None | Self::File(_) | Self::Passing(_) => None,
        }
    }

    /// The body as a stream to send; may be called again for another attempt.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        match self {
            Self::None => Outgoing::none(),
            Self::Memory(bytes, _) => Outgoing::memory(bytes.clone()),
            Self::File(file) => Outgoing::file(file),
            Self::Passing(passing) => Outgoing::passing(passing.clone()),
        }
    }

    /// True if it cannot be sent any more.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        matches!(self, Self::Passing(passing) if passing.has_begun())
    }
}
