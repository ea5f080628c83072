//! A body that is being sent to an upstream.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::budget::Reservation;
use super::error::RequestBodyError;
use super::framed::{FramedBody, FramedStream};
use super::spool::{SpooledFile, Work, read_at};
use super::streaming::StreamingBody;

/// Bytes read from disk at a time: large enough to amortise the trip to another thread. While they are sent, as many
/// again are read.
const READ_SIZE: u64 = 256 * 1024;
/// Bytes that are read at a time, and none ahead, where the memory budget is used up.
const SMALL_READ_SIZE: u64 = 32 * 1024;

/// A body that is being sent. Its size is known, so it is never sent chunked.
pub struct Outgoing {
    source: OutgoingSource,
    progress: Progress,
}

enum OutgoingSource {
    None,
    Memory(Bytes),
    File { file: Arc<File>, offset: u64, len: u64, reading: Option<Work<Bytes>>, room: Option<Reservation> },
    Streaming(StreamingBody),
    Framed(Box<FramedStream>),
}

/// The reason why a body cannot be sent to its end.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The buffered body could not be read back.
    #[error("cannot read the request body back from disk")]
    Disk(#[source] io::Error),
    /// Its caller did not send the rest.
    #[error(transparent)]
    Caller(RequestBodyError),
}

/// The number of bytes of a body that the connection has taken. It shows whether an upload is slow or makes no progress.
#[derive(Clone, Debug, Default)]
pub struct Progress(Rc<ProgressCounts>);

#[derive(Debug, Default)]
struct ProgressCounts {
    bytes: Cell<u64>,
    waits_for_caller: Cell<bool>,
}

impl Progress {
    /// Bytes handed over so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }

    /// True while nothing can be handed over because the caller has not sent it yet.
    #[must_use]
    pub fn waits_for_caller(&self) -> bool {
        self.0.waits_for_caller.get()
    }

    /// Notes that the caller is waited for, or returns the caller's next piece.
    fn note(
        &self,
        polled: Poll<Option<Result<Bytes, RequestBodyError>>>,
    ) -> Poll<Result<Option<Bytes>, OutgoingError>> {
        self.0.waits_for_caller.set(polled.is_pending());
        polled.map(|piece| piece.transpose().map_err(OutgoingError::Caller))
    }
}

impl Outgoing {
    pub(super) fn none() -> Self {
        Self { source: OutgoingSource::None, progress: Progress::default() }
    }

    pub(super) fn memory(bytes: Bytes) -> Self {
        Self { source: OutgoingSource::Memory(bytes), progress: Progress::default() }
    }

    pub(super) fn file(file: &SpooledFile) -> Self {
        let room = file.room(2 * READ_SIZE);
        let source = OutgoingSource::File { file: file.handle(), offset: 0, len: file.len(), reading: None, room };
        Self { source, progress: Progress::default() }
    }

    pub(super) fn streaming(streaming: StreamingBody) -> Self {
        Self { source: OutgoingSource::Streaming(streaming), progress: Progress::default() }
    }

    pub(super) fn framed(framed: &FramedBody) -> Self {
        let source = OutgoingSource::Framed(Box::new(FramedStream::new(framed)));
        Self { source, progress: Progress::default() }
    }

    /// True if [`Self::next_at_hand`] has a piece.
    #[must_use]
    pub fn has_more_at_hand(&self) -> bool {
        matches!(&self.source, OutgoingSource::Framed(framed) if framed.has_more_at_hand())
    }

    /// The next piece, if it was made together with the one before it.
    pub fn next_at_hand(&mut self) -> Option<Bytes> {
        let OutgoingSource::Framed(framed) = &mut self.source else { return None };
        let piece = framed.next_at_hand()?;
        self.progress.0.bytes.set(self.progress.bytes() + piece.len() as u64);
        Some(piece)
    }

    /// Notes that the rest is not sent any more, so nobody waits for the caller to send it.
    pub fn abandon(&self) {
        self.progress.0.waits_for_caller.set(false);
    }

    /// A shared view of the progress.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl MessageBody for Outgoing {
    type Error = OutgoingError;

    fn size(&self) -> BodySize {
        match &self.source {
            OutgoingSource::None => BodySize::None,
            OutgoingSource::Memory(bytes) => BodySize::Sized(bytes.len() as u64),
            OutgoingSource::File { len, .. } => BodySize::Sized(*len),
            OutgoingSource::Streaming(streaming) => BodySize::Sized(streaming.length()),
            OutgoingSource::Framed(framed) => BodySize::Sized(framed.encoded_length()),
        }
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, OutgoingError>>> {
        let this = self.get_mut();
        let chunk = match &mut this.source {
            OutgoingSource::None => None,
            OutgoingSource::Memory(bytes) if bytes.is_empty() => None,
            OutgoingSource::Memory(bytes) => Some(std::mem::take(bytes)),
            OutgoingSource::File { file, offset, len, reading, room } => {
                let most = if room.is_some() { READ_SIZE } else { SMALL_READ_SIZE };
                let begin = |offset: u64| {
                    let size = usize::try_from((*len - offset).min(most)).expect("at most READ_SIZE");
                    (size > 0).then(|| read_at(Arc::clone(file), offset, size))
                };
                match reading.take().or_else(|| begin(*offset)) {
                    None => None,
                    Some(mut read) => {
                        let Poll::Ready(chunk) = Pin::new(&mut read).poll(context) else {
                            *reading = Some(read);
                            return Poll::Pending;
                        };
                        let chunk = chunk.map_err(OutgoingError::Disk)?;
                        *offset += chunk.len() as u64;
                        *reading = room.is_some().then(|| begin(*offset)).flatten();
                        Some(chunk)
                    }
                }
            }
            OutgoingSource::Streaming(streaming) => ready!(this.progress.note(streaming.poll_next(context)))?,
            OutgoingSource::Framed(framed) => ready!(this.progress.note(framed.poll_next(context)))?,
        };
        if let Some(chunk) = &chunk {
            this.progress.0.bytes.set(this.progress.bytes() + chunk.len() as u64);
        }
        Poll::Ready(chunk.map(Ok))
    }
}
