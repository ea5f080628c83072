//! Request bodies: buffered once while being hashed, held in memory or on disk, sent as often as needed.
//!
//! A signature needs the body's SHA-256 before the first byte goes out, so a body is buffered first. Small ones stay
//! in memory, larger ones go to an unlinked file, and shared [`Budget`]s bound what all requests hold together:
//! memory does not grow with the size of a body or the number of uploads. Each caller and each address has a share of
//! them ([`BodyOwner`]), and a body has to arrive at a minimum rate ([`Timing`]). A body that is not signed, or whose chunks
//! are signed one by one ([`FramedBody`]), is streamed ([`StreamingBody`]).

mod budget;
mod buffer;
mod content_md5;
mod error;
mod framed;
mod gathered;
mod limits;
mod outgoing;
mod pace;
mod reader;
mod sendable;
mod spool;
mod streaming;

pub use budget::{BodyOwner, Budget, BudgetKind, Holdings};
pub use buffer::{BufferedBody, buffer};
pub use content_md5::{InvalidContentMd5, VerifiedPayload};
pub use error::RequestBodyError;
pub use framed::{ChunkFraming, FramedBody};
pub use limits::BodyLimits;
pub use outgoing::{Outgoing, OutgoingError, Progress};
pub use pace::Timing;
pub use sendable::Body;
pub use streaming::StreamingBody;
