//! The end of a chunked body.

/// The maximum number of bytes around the chunks of a body, trailers among them, beyond those that [`PER_CHUNK`] and
/// [`PER_BYTE`] allow. Bytes.
///
/// SECURITY: the bytes around the chunks are discarded, so a sender could keep the appliance busy for ever without reaching any
/// limit of a body. The three limits are those of Go's server, but for the size of this one, which is that of a head's fields.
const EXCESS_LIMIT: u64 = 32 * 1024;
/// The number of bytes that each chunk may have around it: its size and its line ends.
const PER_CHUNK: u64 = 16;
/// The number of bytes that a chunk may have around it for each byte in it.
const PER_BYTE: u64 = 2;

/// A chunked body that arrives.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    place: ChunkPlace,
    /// The size of the current chunk, and then the number of its bytes that are still to come.
    size: u64,
    /// The number of bytes around chunks that are not allowed for so far.
    excess: u64,
}

/// The place of the next byte. These are the states of actix-http's decoder.
#[derive(Debug, Default, Clone, Copy)]
enum ChunkPlace {
    #[default]
    SizeFirst,
    SizeRest,
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a line behind the last chunk.
    LineFirst,
    Trailer,
    TrailerLf,
    EndLf,
}

/// The end of a body within some bytes.
pub(super) enum ChunkEnd {
    None,
    /// The body ends before this position.
    At(usize),
    /// The body is invalid, or has too much around its chunks. The byte at this position is the first that must not be parsed.
    Invalid(usize),
}

impl Chunks {
    /// Follows bytes of the body.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> ChunkEnd {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if matches!(self.place, ChunkPlace::Data) {
                let passed = (bytes.len() - at).min(usize::try_from(self.size).unwrap_or(usize::MAX));
                at += passed;
                self.size -= passed as u64;
                if self.size == 0 {
                    self.place = ChunkPlace::DataCr;
                }
                continue;
            }
            if self.excess >= EXCESS_LIMIT {
                return ChunkEnd::Invalid(at);
            }
            at += 1;
            self.excess += 1;
            self.place = match (self.place, byte) {
                (ChunkPlace::EndLf, b'\n') => return ChunkEnd::At(at),
                (place, byte) => match self.next(place, byte) {
                    Some(place) => place,
                    // The decoder has to see this byte, because it tells the application.
                    None => return ChunkEnd::Invalid(at),
                },
            };
        }
        ChunkEnd::None
    }

    /// Returns the place behind a byte outside of chunks, or nothing if the decoder rejects it there.
    fn next(&mut self, place: ChunkPlace, byte: u8) -> Option<ChunkPlace> {
        Some(match (place, byte) {
            (ChunkPlace::SizeFirst, _) => {
                self.size = digit(byte)?;
                ChunkPlace::SizeRest
            }
            (ChunkPlace::SizeRest | ChunkPlace::SizeSpace, b' ' | b'\t') => ChunkPlace::SizeSpace,
            (ChunkPlace::SizeRest | ChunkPlace::SizeSpace, b';') => ChunkPlace::Extension,
            (ChunkPlace::SizeRest | ChunkPlace::SizeSpace | ChunkPlace::Extension, b'\r') => ChunkPlace::SizeLf,
            (ChunkPlace::SizeRest, _) => {
                self.size = self.size.checked_mul(16)? + digit(byte)?;
                ChunkPlace::SizeRest
            }
            (ChunkPlace::Extension, b'\t' | b' '..=b'~' | 0x80..) => ChunkPlace::Extension,
            (ChunkPlace::SizeLf, b'\n') if self.size == 0 => ChunkPlace::LineFirst,
            (ChunkPlace::SizeLf, b'\n') => {
                let allowed = self.size.saturating_mul(PER_BYTE).saturating_add(PER_CHUNK);
                self.excess = self.excess.saturating_sub(allowed);
                ChunkPlace::Data
            }
            (ChunkPlace::DataCr, b'\r') => ChunkPlace::DataLf,
            (ChunkPlace::DataLf, b'\n') => ChunkPlace::SizeFirst,
            (ChunkPlace::LineFirst, b'\r') => ChunkPlace::EndLf,
            (ChunkPlace::Trailer, b'\r') => ChunkPlace::TrailerLf,
            // The decoder takes any other byte for a part of a trailer, a line feed as well.
            (ChunkPlace::LineFirst | ChunkPlace::Trailer, _) => ChunkPlace::Trailer,
            (ChunkPlace::TrailerLf, b'\n') => ChunkPlace::LineFirst,
            _ => return None,
        })
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}
