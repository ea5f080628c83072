//! The pieces of a body in memory, put together.
//!
//! A body of one piece, the usual case, is kept as it came, without a copy. A buffer that grows copies all that it holds, which
//! for a document of many megabytes would delay all other requests of a worker. So no buffer grows beyond a segment,
//! and another thread joins the segments.

use bytes::{Bytes, BytesMut};

use super::error::RequestBodyError;
use crate::http::blocking;

/// The most that is copied at once on a worker, which takes less than half a millisecond. Bytes.
const SEGMENT: usize = 1 << 20;

/// A body that is arriving.
#[derive(Default)]
pub(super) enum Gathered {
    #[default]
    Nothing,
    One(Bytes),
    /// The segments that are full, and the one that is not. The first grows with what arrives, not with what was announced.
    Many(Vec<Bytes>, BytesMut),
}

impl Gathered {
    /// Adds a piece.
    pub(super) fn push(&mut self, piece: Bytes) {
        match self {
            Self::Nothing => *self = Self::One(piece),
            Self::One(first) => {
                *self = Self::Many(Vec::new(), BytesMut::from(std::mem::take(first)));
                self.push(piece);
            }
            Self::Many(full, last) => {
                if last.len() + piece.len() > SEGMENT {
                    // The next one is as large: a buffer that grows leaves its smaller ones to the allocator, twice as many bytes
                    // for the kernel to take back in one go. No page of it is used before something arrives.
                    full.push(std::mem::replace(last, BytesMut::with_capacity(SEGMENT)).freeze());
                }
                last.extend_from_slice(&piece);
            }
        }
    }

    /// Returns the segments in their order.
    pub(super) fn pieces(self) -> impl Iterator<Item = Bytes> {
        let (full, last) = match self {
            Self::Nothing => (Vec::new(), None),
            Self::One(only) => (Vec::new(), Some(only)),
            Self::Many(full, last) => (full, Some(last.freeze())),
        };
        full.into_iter().chain(last)
    }

    /// Returns the body as one.
    ///
    /// # Errors
    /// [`RequestBodyError::NoRoom`] while the process stops.
    pub(super) async fn joined(self) -> Result<Bytes, RequestBodyError> {
        let is_one = !matches!(&self, Self::Many(full, _) if !full.is_empty());
        let mut pieces = self.pieces();
        if is_one {
            return Ok(pieces.next().unwrap_or_default());
        }
        let pieces: Vec<_> = pieces.collect();
        blocking::run(move || Bytes::from(pieces.concat())).await.ok_or(RequestBodyError::NoRoom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_of_any_number_of_segments_comes_out_as_it_came() {
        for (size, count) in
            [(0, 0_u8), (1, 1), (SEGMENT, 1), (SEGMENT * 3, 1), (SEGMENT / 2, 2), (70_000, 100), (3, 5)]
        {
            let (mut gathered, mut expected) = (Gathered::default(), Vec::new());
            for number in 0..count {
                let piece = vec![number; size];
                expected.extend_from_slice(&piece);
                gathered.push(Bytes::from(piece));
            }
            if let Gathered::Many(full, last) = &gathered {
                assert!(full.iter().all(|one| one.len() <= SEGMENT) && last.len() <= SEGMENT, "{size} * {count}");
            }
            assert!(gathered.joined().await.expect("joined") == expected, "{size} * {count}");
        }
    }
}
