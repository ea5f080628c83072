//! A caller's body on its way to S3, in chunks that are signed one by one.

use std::rc::Rc;

use crate::aws::s3::{CHUNK_SIZE, ChunkSigner, encoded_length};
use crate::http::body::{Body, ChunkFraming, FramedBody};

/// Returns the caller's streamed body in chunks that this signer signs.
pub(super) fn of(body: &Body, signer: Option<ChunkSigner>) -> Option<Body> {
    let (Some(signer), Body::Streaming(body)) = (signer, body) else { return None };
    Some(Body::Framed(FramedBody {
        body: body.clone(),
        chunk_size: CHUNK_SIZE,
        encoded_length: encoded_length(body.length()),
        framing: Rc::new(move || Box::new(SignedFraming(signer.clone()))),
    }))
}

/// The signatures before and after the chunks of a body.
struct SignedFraming(ChunkSigner);

impl ChunkFraming for SignedFraming {
    fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    fn chunk(&mut self, size: usize) -> String {
        self.0.chunk(size)
    }

    fn end(&mut self) -> String {
        self.0.end()
    }
}
