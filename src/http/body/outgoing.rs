//! A body on its way out.

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

use super::spool::{SpooledFile, read_at};

/// Bytes read from disk at a time: large enough to amortise the trip to another thread, small enough that
/// many uploads at once stay within tens of megabytes.
const READ_SIZE: u64 = 256 * 1024;

/// One sending of a body. Knows its size, so it is never sent chunked.
pub struct Outgoing {
    source: Source,
    progress: Progress,
}

enum Source {
    None,
    Memory(Bytes),
    File { file: Arc<File>, offset: u64, len: u64, reading: Option<Reading> },
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>>>>;

/// How many bytes of a body have been handed to the connection; lets a watcher tell a slow upload from a stuck one.
#[derive(Clone, Debug, Default)]
pub struct Progress(Rc<Cell<u64>>);

impl Progress {
    /// Bytes handed over so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.get()
    }
}

impl Outgoing {
    pub(super) fn none() -> Self {
        Self { source: Source::None, progress: Progress::default() }
    }

    pub(super) fn memory(bytes: Bytes) -> Self {
        Self { source: Source::Memory(bytes), progress: Progress::default() }
    }

    pub(super) fn file(file: &SpooledFile) -> Self {
        let source = Source::File { file: file.handle(), offset: 0, len: file.len(), reading: None };
        Self { source, progress: Progress::default() }
    }

    /// A view of how far the sending has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl MessageBody for Outgoing {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        match &self.source {
            Source::None => BodySize::None,
            Source::Memory(bytes) => BodySize::Sized(bytes.len() as u64),
            Source::File { len, .. } => BodySize::Sized(*len),
        }
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        let this = self.get_mut();
        let chunk = match &mut this.source {
            Source::None => None,
            Source::Memory(bytes) if bytes.is_empty() => None,
            Source::Memory(bytes) => Some(std::mem::take(bytes)),
            Source::File { file, offset, len, reading } => {
                if offset == len {
                    None
                } else {
                    let read = reading.get_or_insert_with(|| {
                        let size = usize::try_from((*len - *offset).min(READ_SIZE)).expect("at most READ_SIZE");
                        Box::pin(read_at(Arc::clone(file), *offset, size))
                    });
                    let chunk = ready!(read.as_mut().poll(context))?;
                    *reading = None;
                    *offset += chunk.len() as u64;
                    Some(chunk)
                }
            }
        };
        if let Some(chunk) = &chunk {
            this.progress.0.set(this.progress.0.get() + chunk.len() as u64);
        }
        Poll::Ready(chunk.map(Ok))
    }
}
