//! `Content-MD5`: a caller's checksum of a body, which is verified while the body passes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::error::PayloadError;
use actix_web::http::header::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::Stream;
use md5::{Digest, Md5};

/// The size of an MD5. Bytes.
const SIZE: usize = 16;

/// The value of `Content-MD5` is not an MD5.
#[derive(Debug, thiserror::Error)]
#[error("`Content-MD5` must be absent, or occur once with the 16 bytes of an MD5 in base64")]
pub struct InvalidContentMd5;

/// The body is not the one that its caller announced.
#[derive(Debug, thiserror::Error)]
#[error("the MD5 of the body differs from its `Content-MD5`")]
pub(super) struct ForeignMd5;

/// A body that is verified while it is read.
pub struct VerifiedPayload<S> {
    payload: S,
    /// Nothing if the caller has sent no checksum, or once the body has been verified.
    check: Option<Md5Check>,
}

struct Md5Check {
    expected: [u8; SIZE],
    hash: Md5,
    /// The bytes that are still to come, if the caller has announced the length.
    left: Option<u64>,
}

impl<S> VerifiedPayload<S> {
    /// Prepares to verify a body with the checksum in these headers, if there is one. `declared` is its announced length.
    ///
    /// # Errors
    /// [`InvalidContentMd5`].
    pub fn new(payload: S, fields: &HeaderMap, declared: Option<u64>) -> Result<Self, InvalidContentMd5> {
        let mut values = fields.get_all("content-md5");
        let check = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(_), Some(_)) => return Err(InvalidContentMd5),
            (Some(value), None) => {
                let decoded = BASE64_STANDARD.decode(value.as_bytes()).map_err(|_| InvalidContentMd5)?;
                let expected = decoded.try_into().map_err(|_| InvalidContentMd5)?;
                Some(Md5Check { expected, hash: Md5::new(), left: declared })
            }
        };
        Ok(Self { payload, check })
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for VerifiedPayload<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let piece = ready!(Pin::new(&mut this.payload).poll_next(context));
        let is_last = match (&mut this.check, &piece) {
            (None, _) | (_, Some(Err(_))) => false,
            (Some(check), Some(Ok(piece))) => check.update(piece),
            (Some(_), None) => true,
        };
        if is_last && this.check.take().is_some_and(|check| !check.matches()) {
            // The last piece goes no further, so that nobody can take the body for complete.
            return Poll::Ready(Some(Err(PayloadError::Io(io::Error::other(ForeignMd5)))));
        }
        Poll::Ready(piece)
    }
}

impl Md5Check {
    /// Adds a piece; true if it is known to be the last.
    fn update(&mut self, piece: &[u8]) -> bool {
        self.hash.update(piece);
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        self.left == Some(0)
    }

    fn matches(self) -> bool {
        self.hash.finalize()[..] == self.expected
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use futures_util::{StreamExt as _, stream};

    use super::*;

    /// MD5 of `abc`, from RFC 1321.
    const ABC: &str = "kAFQmDzST7DWlj99KOF/cg==";

    fn verified(
        pieces: &'static [&'static str],
        values: &[&'static str],
        declared: Option<u64>,
    ) -> Result<Vec<bool>, InvalidContentMd5> {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(HeaderName::from_static("content-md5"), HeaderValue::from_static(value));
        }
        let payload = stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))));
        let payload = VerifiedPayload::new(payload, &fields, declared)?;
        let pieces = actix_web::rt::System::new().block_on(payload.collect::<Vec<_>>());
        Ok(pieces.iter().map(Result::is_ok).collect())
    }

    #[test]
    fn the_last_piece_passes_only_with_the_right_checksum() {
        for (pieces, declared, expected) in [
            (&["abc"][..], Some(3), &[true][..]),
            (&["a", "bc"], Some(3), &[true, true]),
            (&["a", "bc"], None, &[true, true]),
            (&["abd"], Some(3), &[false]),
            (&["ab", "d"], Some(3), &[true, false]),
            (&["ab", "d"], None, &[true, true, false]),
            (&[], Some(0), &[false]),
        ] {
            assert_eq!(verified(pieces, &[ABC], declared).unwrap(), expected, "{pieces:?} {declared:?}");
        }
        assert_eq!(verified(&["abd"], &[], Some(3)).unwrap(), [true], "there is nothing to verify");
        assert!(verified(&[], &["1B2M2Y8AsgTpgAmY7PhCfg=="], Some(0)).unwrap().is_empty(), "an empty body passes");
    }

    #[test]
    fn a_value_is_one_md5_in_base64() {
        for values in [&[""][..], &["x"], &["kAFQmDzST7DWlj99KOF/cg"], &["kAFQmDzST7DWlj99KOF/cgAA"], &[ABC, ABC]] {
            assert!(verified(&["abc"], values, Some(3)).is_err(), "{values:?}");
        }
    }
}
