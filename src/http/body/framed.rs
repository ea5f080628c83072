//! A streamed body in chunks, each behind a line that is known only when the chunk is complete.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use super::error::RequestBodyError;
use super::streaming::StreamingBody;

/// Smaller pieces are copied into one buffer, because a caller who sends single bytes must not make us hold thousands of buffers.
const SMALL: usize = 4096;
/// Between chunks, only a multiple of this leaves: the size of a TLS record. The line of a chunk would otherwise take a record, a
/// system call and a packet of its own. Bytes.
const SENT_AT_ONCE: usize = 16 * 1024;

/// Writes what stands before and after the chunks of one body, in their order.
pub trait ChunkFraming {
    /// Adds a piece to the current chunk.
    fn update(&mut self, piece: &[u8]);
    /// Ends the current chunk of `size` bytes, and returns the line before it.
    fn chunk(&mut self, size: usize) -> String;
    /// Returns the text after the last chunk.
    fn end(&mut self) -> String;
}

/// A streamed body that is sent in chunks.
#[derive(Clone)]
pub struct FramedBody {
    /// The body itself.
    pub body: StreamingBody,
    /// The size of each chunk but the last. Bytes; the body holds as many while it is sent.
    pub chunk_size: usize,
    /// The number of bytes of all chunks with their lines.
    pub encoded_length: u64,
    /// Begins the framing of one attempt to send the body.
    pub framing: Rc<dyn Fn() -> Box<dyn ChunkFraming>>,
}

impl fmt::Debug for FramedBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FramedBody").field("body", &self.body).finish_non_exhaustive()
    }
}

/// The chunks of a body on their way. Large pieces are passed on as they arrived, without a copy.
pub(super) struct FramedStream {
    body: StreamingBody,
    framing: Box<dyn ChunkFraming>,
    encoded_length: u64,
    chunk_size: usize,
    /// The pieces of the current chunk.
    gathered: VecDeque<Bytes>,
    /// The small pieces that follow them, in one buffer.
    small: BytesMut,
    gathered_size: usize,
    /// The bytes of the body that belong to later chunks.
    rest: Bytes,
    /// The bytes of the body that have not arrived yet.
    left: u64,
    /// The chunk that is being sent, with its line.
    ready: VecDeque<Bytes>,
    /// The end of a finished chunk, which leaves with the next one.
    held: VecDeque<Bytes>,
    has_chunk: bool,
    has_ended: bool,
}

impl FramedStream {
    pub(super) fn new(framed: &FramedBody) -> Self {
        Self {
            left: framed.body.length(),
            body: framed.body.clone(),
            framing: (framed.framing)(),
            encoded_length: framed.encoded_length,
            chunk_size: framed.chunk_size,
            gathered: VecDeque::new(),
            small: BytesMut::new(),
            gathered_size: 0,
            rest: Bytes::new(),
            ready: VecDeque::new(),
            held: VecDeque::new(),
            has_chunk: false,
            has_ended: false,
        }
    }

    pub(super) fn encoded_length(&self) -> u64 {
        self.encoded_length
    }

    pub(super) fn has_more_at_hand(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Returns a piece that needs no wait for the caller.
    pub(super) fn next_at_hand(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, RequestBodyError>>> {
        loop {
            if let Some(bytes) = self.next_at_hand() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.has_ended {
                return Poll::Ready(None);
            }
            if self.rest.is_empty() && self.left > 0 {
                match ready!(self.body.poll_next(context)) {
                    Some(Ok(piece)) => {
                        self.left = self.left.saturating_sub(piece.len() as u64);
                        self.rest = piece;
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => self.left = 0,
                }
            }
            let piece = self.rest.split_to(self.rest.len().min(self.chunk_size - self.gathered_size));
            if !piece.is_empty() {
                self.framing.update(&piece);
                self.gather(piece);
            }
            let is_last = self.left == 0 && self.rest.is_empty();
            if self.gathered_size == self.chunk_size || (is_last && self.gathered_size > 0) {
                self.finish_chunk();
            }
            if is_last {
                self.has_ended = true;
                self.ready.append(&mut self.held);
                let line_end = if self.has_chunk { "\r\n" } else { "" };
                self.ready.push_back(format!("{line_end}{}", self.framing.end()).into());
            }
        }
    }

    fn gather(&mut self, piece: Bytes) {
        self.gathered_size += piece.len();
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.gather_small();
            self.gathered.push_back(piece);
        }
    }

    fn gather_small(&mut self) {
        if !self.small.is_empty() {
            self.gathered.push_back(self.small.split().freeze());
        }
    }

    fn finish_chunk(&mut self) {
        self.gather_small();
        let line_end = if self.has_chunk { "\r\n" } else { "" };
        self.ready.append(&mut self.held);
        self.ready.push_back(format!("{line_end}{}", self.framing.chunk(self.gathered_size)).into());
        self.ready.append(&mut self.gathered);
        (self.gathered_size, self.has_chunk) = (0, true);
        self.hold_the_rest();
    }

    /// Holds what is more than a multiple of [`SENT_AT_ONCE`], as a copy: while a slice of its buffer is held, the listener cannot read
    /// into that again, and would make another for each block of the body.
    fn hold_the_rest(&mut self) {
        let mut more = self.ready.iter().map(Bytes::len).sum::<usize>() % SENT_AT_ONCE;
        while more > 0
            && let Some(mut last) = self.ready.pop_back()
        {
            let start = last.len().saturating_sub(more);
            more -= last.len() - start;
            self.held.push_front(Bytes::copy_from_slice(&last[start..]));
            last.truncate(start);
            if !last.is_empty() {
                self.ready.push_back(last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::path::Path;
    use std::task::Waker;

    use actix_web::error::PayloadError;
    use futures_util::{Stream, StreamExt as _, stream};

    use super::*;
    use crate::http::body::BodyOwner;
    use crate::http::body::limits;

    /// Writes the size of each chunk before it and the sum of all bytes at the end.
    struct Sums(u64);

    impl ChunkFraming for Sums {
        fn update(&mut self, piece: &[u8]) {
            self.0 += piece.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }

        fn chunk(&mut self, size: usize) -> String {
            format!("[{size}]")
        }

        fn end(&mut self) -> String {
            format!("[sum {}]", self.0)
        }
    }

    fn stream_of<S>(payload: S, announced: usize, chunk_size: usize) -> Result<FramedStream, RequestBodyError>
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + 'static,
    {
        let limits = limits::small(Path::new("/"));
        let body = StreamingBody::begin(payload, announced as u64, &limits, &BodyOwner::default())?;
        let framing: Rc<dyn Fn() -> Box<dyn ChunkFraming>> = Rc::new(|| Box::new(Sums(0)));
        Ok(FramedStream::new(&FramedBody { body, chunk_size, encoded_length: 0, framing }))
    }

    /// Returns the bytes that leave together, for a body that arrives in these pieces.
    async fn batches(pieces: &[usize], announced: usize, chunk_size: usize) -> Result<Vec<Vec<u8>>, RequestBodyError> {
        let pieces: Vec<_> =
            pieces.iter().map(|size| Ok::<_, PayloadError>(Bytes::from("\u{1}".repeat(*size)))).collect();
        let mut stream = stream_of(stream::iter(pieces), announced, chunk_size)?;
        let mut batches = Vec::new();
        while let Some(piece) = poll_fn(|context| stream.poll_next(context)).await {
            let mut batch = piece?.to_vec();
            while let Some(piece) = stream.next_at_hand() {
                batch.extend(piece);
            }
            batches.push(batch);
        }
        Ok(batches)
    }

    async fn framed(pieces: &[usize], announced: usize) -> Result<String, RequestBodyError> {
        let text = batches(pieces, announced, 4).await?.concat();
        Ok(String::from_utf8(text).expect("text").replace('\u{1}', "x"))
    }

    #[test]
    fn what_leaves_between_chunks_fills_tls_records_whole() {
        actix_web::rt::System::new().block_on(async {
            let whole = batches(&[400_000], 400_000, 40_000).await.expect("whole").concat();
            for pieces in
                [vec![400_000], vec![1000; 400], vec![8192; 48].into_iter().chain([400_000 - 48 * 8192]).collect()]
            {
                let sent = batches(&pieces, 400_000, 40_000).await.expect("whole");
                let (_, before) = sent.split_last().expect("some");
                assert!(before.len() > 3 && before.iter().all(|batch| batch.len() % SENT_AT_ONCE == 0), "{pieces:?}");
                assert!(sent.concat() == whole, "{pieces:?}");
            }
        });
    }

    #[test]
    fn what_is_held_back_does_not_hold_the_buffer_in_which_it_arrived() {
        actix_web::rt::System::new().block_on(async {
            let mut buffer = BytesMut::zeroed(80_000);
            let payload = stream::iter([Ok(buffer.split().freeze())]).chain(stream::pending());
            let mut stream = stream_of(payload, 400_000, 40_000).expect("room");
            let mut sent = 0;
            while let Poll::Ready(Some(piece)) = stream.poll_next(&mut Context::from_waker(Waker::noop())) {
                sent += piece.expect("a piece").len();
            }
            assert_eq!(sent, 4 * SENT_AT_ONCE, "the rest is held");
            assert!(buffer.try_reclaim(80_000), "nothing else refers to the buffer");
        });
    }

    #[test]
    fn chunks_have_one_size_in_whatever_pieces_the_body_arrives() {
        actix_web::rt::System::new().block_on(async {
            let whole = "[4]xxxx\r\n[4]xxxx\r\n[1]x\r\n[sum 9]";
            for pieces in [&[9][..], &[1, 8], &[4, 4, 1], &[3, 3, 3], &[1; 9]] {
                assert_eq!(framed(pieces, 9).await.expect("whole"), whole, "{pieces:?}");
            }
            assert_eq!(framed(&[8], 8).await.expect("whole"), "[4]xxxx\r\n[4]xxxx\r\n[sum 8]");
        });
    }

    #[test]
    fn a_body_that_ends_early_never_gets_its_end() {
        actix_web::rt::System::new().block_on(async {
            for pieces in [&[][..], &[4], &[8]] {
                assert!(framed(pieces, 9).await.is_err(), "{pieces:?}");
            }
        });
    }
}
