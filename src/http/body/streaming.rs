//! A body that is streamed to the upstream while it arrives: neither held nor hashed, so it can be sent once.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

use super::budget::{BodyOwner, Reservation};
use super::error::RequestBodyError;
use super::limits::{BodyLimits, LISTENER_SHARE};
use super::pace::Pace;

/// A caller's body that is streamed. Its length is known, since it was announced.
#[derive(Clone)]
pub struct StreamingBody(Rc<StreamingState>);

struct StreamingState {
    flow: RefCell<Flow>,
    len: u64,
    has_begun: Cell<bool>,
    /// The listener's buffers hold as much of it as of one that goes to disk.
    _arriving: Reservation,
}

struct Flow {
    payload: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>,
    pace: Pace,
}

impl StreamingBody {
    /// Begins to stream a body of `len` bytes, which counts against `body_owner`.
    ///
    /// # Errors
    /// [`RequestBodyError::NoRoom`] if too many large bodies arrive already.
    pub fn begin<S>(
        payload: S,
        len: u64,
        body_limits: &BodyLimits,
        body_owner: &BodyOwner,
    ) -> Result<Self, RequestBodyError>
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + 'static,
    {
        let arriving = body_limits.arriving.reserve(LISTENER_SHARE, body_owner).ok_or(RequestBodyError::NoRoom)?;
        let flow = RefCell::new(Flow { payload: Box::pin(payload), pace: Pace::new(body_limits.timing) });
        Ok(Self(Rc::new(StreamingState { flow, len, has_begun: Cell::new(false), _arriving: arriving })))
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.len
    }

    /// The number of bytes that have been sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.flow.borrow().pace.received()
    }

    /// True once a piece was asked for, so that the body can no longer be sent from its beginning.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.has_begun.get()
    }

    /// The next piece; nothing after the end.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, RequestBodyError>>> {
        let Self(state) = self;
        state.has_begun.set(true);
        let Flow { payload, pace } = &mut *state.flow.borrow_mut();
        let piece = ready!(pace.poll_next(payload.as_mut(), context));
        // The listener checks the announced length, too; an upstream must never wait for the rest.
        if matches!(piece, Ok(None)) && pace.received() < state.len {
            return Poll::Ready(Some(Err(RequestBodyError::Broken(PayloadError::Incomplete(None)))));
        }
        Poll::Ready(piece.transpose())
    }
}

impl fmt::Debug for StreamingBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StreamingBody").field("len", &self.length()).field("sent", &self.sent()).finish()
    }
}
