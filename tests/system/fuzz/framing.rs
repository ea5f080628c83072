//! The property of request framing: it finds the boundaries that actix-http's decoder finds.

use actix_http::error::ParseError;
use actix_http::h1::{Codec, Message};
use appliance::http::request_framing::{FramingError, RequestFraming};
use bytes::BytesMut;
use tokio::task::LocalSet;
use tokio_util::codec::Decoder as _;

/// No limit applies to connections with fewer bytes.
const SMALL: usize = 16 * 1024;

/// Wherever the bytes of a connection are cut, heads and bodies end where the decoder ends them, for as long as it accepts
/// them. No byte is withheld from it that it would accept, unless there are very many.
pub fn request_framing(data: &[u8]) {
    let Some((&seed, wire)) = data.split_first() else { return };
    // The decoder has a clock, which is a task.
    let tasks = LocalSet::new();
    let _entered = tasks.enter();
    let (mut decoder, mut undecoded) = (Codec::default(), BytesMut::new());
    let (mut framing, mut requests) = (RequestFraming::default(), 0);
    for piece in pieces(wire, seed) {
        let followed = framing.advance(piece);
        let count = match followed {
            Ok(()) => piece.len(),
            Err(FramingError::HeadTooLarge(count) | FramingError::Chunks(count)) => count,
        };
        undecoded.extend_from_slice(&piece[..count]);
        loop {
            match decoder.decode(&mut undecoded) {
                Ok(Some(Message::Item(_))) => requests += 1,
                Ok(Some(Message::Chunk(_))) => {}
                Ok(None) => break,
                Err(ParseError::Io(error)) => {
                    assert!(matches!(followed, Err(FramingError::Chunks(_))), "{error}: the chunks are malformed");
                    return;
                }
                Err(_) => return,
            }
        }
        assert_eq!(framing.heads(), requests, "complete heads");
        if followed.is_err() {
            assert!(wire.len() > SMALL, "{followed:?}: the decoder accepts this");
            return;
        }
        assert_eq!(framing.incomplete_head(), undecoded.len(), "the bytes since the end of the last request");
    }
}

/// Cuts bytes into pieces of random sizes, which are small or large on the whole.
fn pieces(mut bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let largest = [1, 3, 20, 200, 2000][usize::from(seed) % 5];
    let mut random = u32::from(seed);
    std::iter::from_fn(move || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = 1 + (random >> 8) as usize % largest;
        let piece;
        (piece, bytes) = bytes.split_at(size.min(bytes.len()));
        (!piece.is_empty()).then_some(piece)
    })
}
