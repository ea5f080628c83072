//! A buffered body as something to read, for work that is done on another thread.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::sendable::Body;

/// Bytes that are read from the disk at once.
const READ_SIZE: usize = 64 * 1024;

impl Body {
    /// A reader of the body from its beginning; nothing if the body is still with its caller. A body on disk blocks its thread.
    #[must_use]
    pub fn reader(&self) -> Option<Box<dyn BufRead + Send>> {
        match self {
            Self::None => Some(Box::new(io::empty())),
            Self::Memory(bytes, _) => Some(Box::new(Cursor::new(bytes.clone()))),
            Self::File(file) => {
                let reader = PositionedReader { file: file.handle(), offset: 0 };
                Some(Box::new(BufReader::with_capacity(READ_SIZE, reader)))
            }
            Self::Streaming(_) | Self::Framed(_) => None,
        }
    }
}

/// Reads a file without its cursor, which other readers of the same file would move.
struct PositionedReader {
    file: Arc<File>,
    offset: u64,
}

impl Read for PositionedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
