//! The body of a response over HTTP/1.1, and the return of its connection to the pool.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::h1::ClientPayloadCodec;
use actix_web::error::PayloadError;
use bytes::Bytes;
use tokio_util::codec::Decoder as _;

use super::connection::Http1Connection;
use super::pool::Pool;
use crate::http::client::connection_permits::ConnectionPermit;
use crate::http::client::error::BodyError;
use crate::http::client::stream::{Closed, SMALL_READ};

/// The framing of a body, which determines its end.
pub(super) enum Framing {
    /// The length: so many bytes are still to come.
    Length(u64),
    /// The body ends with its last chunk.
    Chunked(ClientPayloadCodec),
    /// The body ends with the connection.
    Close,
}

/// A body being received.
pub(crate) struct Http1Body {
    /// Nothing once it is complete.
    connection: Option<Http1Connection>,
    framing: Framing,
    /// The pool to which the connection returns afterwards, if it can be used again.
    pool: Option<Rc<Pool>>,
    permit: Option<ConnectionPermit>,
}

impl Http1Body {
    /// A body whose beginning may have been read with the head. Without a pool the connection ends with it.
    pub(super) fn new(
        connection: Http1Connection,
        framing: Framing,
        pool: Option<Rc<Pool>>,
        permit: ConnectionPermit,
    ) -> Self {
        let mut body = Self { connection: Some(connection), framing, pool, permit: Some(permit) };
        // A body that is known to be empty is never polled.
        if matches!(body.framing, Framing::Length(0)) {
            body.complete();
        }
        body
    }

    /// The next piece; nothing after the end, and an error if the connection ends before that.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            let (piece, is_at_end) = match self.framing.piece(connection) {
                Ok(found) => found,
                Err(error) => return Poll::Ready(Some(Err(self.broken(error)))),
            };
            if is_at_end {
                self.complete();
                return Poll::Ready(piece.map(Ok));
            }
            if let Some(piece) = piece {
                return Poll::Ready(Some(Ok(piece)));
            }
            let is_large = !matches!(self.framing, Framing::Length(left) if left <= SMALL_READ as u64);
            if let Err(error) = ready!(connection.poll_more(context, is_large)) {
                let is_end = Closed::is(&error) && matches!(self.framing, Framing::Close);
                let error = self.broken(PayloadError::Io(error));
                return Poll::Ready((!is_end).then_some(Err(error)));
            }
        }
    }

    /// Gives connection and permit back.
    fn complete(&mut self) {
        if let (Some(connection), Some(pool)) = (self.connection.take(), self.pool.take()) {
            pool.put(connection);
        }
        self.permit = None;
    }

    fn broken(&mut self, error: PayloadError) -> BodyError {
        self.connection = None;
        match error {
            PayloadError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => BodyError::Truncated,
            PayloadError::Io(error) => BodyError::Broken(Box::new(error)),
            error => BodyError::Broken(Box::new(error)),
        }
    }
}

impl Framing {
    /// The bytes of the body that have been read, and whether the body ends with them.
    fn piece(&mut self, connection: &mut Http1Connection) -> Result<(Option<Bytes>, bool), PayloadError> {
        let unread = &mut connection.unread;
        match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
                *left -= here as u64;
                Ok(((here > 0).then(|| unread.split_to(here).freeze()), *left == 0))
            }
            Self::Close => Ok(((!unread.is_empty()).then(|| unread.split().freeze()), false)),
            Self::Chunked(_) if unread.is_empty() => Ok((None, false)),
            Self::Chunked(codec) => match codec.decode(unread)? {
                Some(Some(piece)) => Ok((Some(piece), false)),
                Some(None) => Ok((None, true)),
                None => Ok((None, false)),
            },
        }
    }
}
