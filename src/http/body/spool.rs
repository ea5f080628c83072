//! A body on disk: an unlinked temporary file, written and read away from the event loop.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ring::digest;
use tokio::task::{JoinHandle, spawn_blocking};

use super::budget::{Budget, Reservation};

/// Work on another thread. It has begun, and goes on while something else is done.
#[derive(Debug)]
pub(super) struct Work<T>(JoinHandle<io::Result<T>>);

impl<T: Send + 'static> Work<T> {
    fn begin(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Self {
        Self(spawn_blocking(work))
    }
}

impl<T> Future for Work<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        Pin::new(&mut self.0).poll(context).map(|ended| ended.map_err(io::Error::other)?)
    }
}

/// A file being filled. Hashing happens on the thread that writes, so the event loop does neither.
pub(super) struct Writer {
    file: File,
    hash: digest::Context,
    len: u64,
}

impl Writer {
    /// Creates an unlinked file in `directory`: it has no name, and vanishes with the process.
    ///
    /// # Errors
    /// The directory is missing, read-only or out of inodes.
    fn create(directory: Arc<Path>) -> Work<Self> {
        Work::begin(move || {
            let file = tempfile::tempfile_in(directory)?;
            Ok(Self { file, hash: digest::Context::new(&digest::SHA256), len: 0 })
        })
    }

    /// Appends `chunks`.
    ///
    /// # Errors
    /// Usually a full disk. The file is gone then.
    fn append(mut self, chunks: Vec<Bytes>) -> Work<Self> {
        Work::begin(move || {
            for chunk in &chunks {
                self.hash.update(chunk);
                self.len += chunk.len() as u64;
            }
            write_all(&mut self.file, &chunks)?;
            Ok(self)
        })
    }

    fn finish(self, reservation: Reservation, memory: Budget) -> (SpooledFile, [u8; 32]) {
        let file = SpooledFile { file: Arc::new(self.file), len: self.len, memory, reservation };
        (file, finished(self.hash))
    }
}

/// A file being filled, while more for it is gathered.
pub(super) enum Spool {
    /// A piece is being written to the file; until that ends, the piece is held in memory.
    Writing(Work<Writer>, Option<Reservation>),
    /// There is nothing to write.
    Idle(Writer),
    /// The disk has failed.
    Failed,
}

impl Spool {
    /// Begins a file in `directory`.
    pub(super) fn create(directory: Arc<Path>) -> Self {
        Self::Writing(Writer::create(directory), None)
    }

    /// Begins to append `chunks`, for which `held` is reserved, once what was begun before is written.
    ///
    /// # Errors
    /// An earlier operation failed. The file is gone then.
    pub(super) async fn append(&mut self, chunks: Vec<Bytes>, held: Reservation) -> io::Result<()> {
        let writer = self.take().await?;
        *self = Self::Writing(writer.append(chunks), Some(held));
        Ok(())
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// Usually a full disk. The file is gone then.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        *self = Self::Idle(self.take().await?);
        Ok(())
    }

    /// The finished file and its SHA-256; `memory` is what reading it may draw on.
    ///
    /// # Errors
    /// As those of [`Self::flush`].
    pub(super) async fn finish(
        mut self,
        reservation: Reservation,
        memory: Budget,
    ) -> io::Result<(SpooledFile, [u8; 32])> {
        Ok(self.take().await?.finish(reservation, memory))
    }

    async fn take(&mut self) -> io::Result<Writer> {
        match std::mem::replace(self, Self::Failed) {
            Self::Writing(work, _held) => work.await,
            Self::Idle(writer) => Ok(writer),
            Self::Failed => Err(io::Error::other("the file could not be written before")),
        }
    }
}

/// A finished file; its share of the disk budget is returned when it is dropped.
#[derive(Debug)]
pub struct SpooledFile {
    file: Arc<File>,
    len: u64,
    memory: Budget,
    reservation: Reservation,
}

impl SpooledFile {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Memory to read `bytes` at a time; nothing if there is none to spare.
    pub(super) fn room(&self, bytes: u64) -> Option<Reservation> {
        self.memory.reserve(bytes, self.reservation.body_owner())
    }

    /// The open file, for positioned reads that share no cursor.
    pub fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// Returns the SHA-256 of what was hashed.
pub(super) fn finished(hash: digest::Context) -> [u8; 32] {
    hash.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// Reads up to `length` bytes at `offset`.
///
/// # Errors
/// The disk failed, or the file is shorter than it was written.
pub(super) fn read_at(file: Arc<File>, offset: u64, length: usize) -> Work<Bytes> {
    Work::begin(move || {
        let mut chunk = vec![0; length];
        file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk.into())
    })
}

/// Writes all of them with as few calls as the system allows.
fn write_all(file: &mut File, chunks: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
    let mut left = &mut slices[..];
    // Empty slices would look like a disk that takes nothing.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
