//! A body on disk: an unlinked temporary file, written and read away from the event loop.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::budget::Reservation;

/// A file being filled. Hashing happens on the thread that writes, so the event loop does neither.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    hash: Sha256,
    len: u64,
}

impl Writer {
    /// Creates an unlinked file in `directory`: it has no name, and vanishes with the process.
    ///
    /// # Errors
    /// The directory is missing, read-only or out of inodes.
    pub(super) async fn create(directory: Arc<Path>) -> io::Result<Self> {
        on_blocking_thread(move || {
            let file = tempfile::tempfile_in(directory)?;
            Ok(Self { file, hash: Sha256::new(), len: 0 })
        })
        .await
    }

    /// Appends `chunks`.
    ///
    /// # Errors
    /// Usually a full disk. The file is gone then.
    pub(super) async fn append(mut self, chunks: Vec<Bytes>) -> io::Result<Self> {
        on_blocking_thread(move || {
            for chunk in chunks {
                self.hash.update(&chunk);
                self.file.write_all(&chunk)?;
                self.len += chunk.len() as u64;
            }
            Ok(self)
        })
        .await
    }

    /// The finished file and its SHA-256.
    pub(super) fn finish(self, reservation: Reservation) -> (SpooledFile, [u8; 32]) {
        let file = SpooledFile { file: Arc::new(self.file), len: self.len, _reservation: reservation };
        (file, self.hash.finalize().into())
    }
}

/// A finished file; its share of the disk budget is returned when it is dropped.
#[derive(Debug)]
pub struct SpooledFile {
    file: Arc<File>,
    len: u64,
    _reservation: Reservation,
}

impl SpooledFile {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The open file, for positioned reads that share no cursor.
    pub fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// Reads up to `length` bytes at `offset`.
///
/// # Errors
/// The disk failed, or the file is shorter than it was written.
pub(super) async fn read_at(file: Arc<File>, offset: u64, length: usize) -> io::Result<Bytes> {
    on_blocking_thread(move || {
        let mut chunk = vec![0; length];
        file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk.into())
    })
    .await
}

async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
