//! A piece of a text on its way out of the rewriter.

use bytes::{BufMut, BytesMut};

/// A piece of the text, which is copied only if something in it changes.
pub(super) struct RewrittenPiece<'a> {
    pub(super) piece: &'a [u8],
    pub(super) copied: Option<BytesMut>,
    /// The bytes of the piece before this index have been handled.
    pub(super) from: usize,
}

impl RewrittenPiece<'_> {
    /// Returns the copy, which begins empty.
    pub(super) fn copied(&mut self) -> &mut BytesMut {
        let capacity = self.piece.len() + 64;
        self.copied.get_or_insert_with(|| BytesMut::with_capacity(capacity))
    }

    /// Copies the bytes that have not been handled, up to `at`.
    pub(super) fn copy_to(&mut self, at: usize) {
        let rest = &self.piece[self.from..at];
        self.copied().put_slice(rest);
        self.from = at;
    }

    /// Leaves out the bytes up to `at`.
    pub(super) fn skip_to(&mut self, at: usize) {
        self.copied();
        self.from = at;
    }

    /// Adds other bytes.
    pub(super) fn insert(&mut self, bytes: &[u8]) {
        self.copied().put_slice(bytes);
    }
}
