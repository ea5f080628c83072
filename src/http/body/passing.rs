//! A body that is passed on while it arrives: neither held nor hashed, so it goes out once.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

use super::receive::ReceiveError;
use crate::http::silence::Silence;

/// A caller's body on its way through. Its length is known, since it was announced.
#[derive(Clone)]
pub struct Passing(Rc<State>);

struct State {
    flow: RefCell<Flow>,
    len: u64,
    passed: Cell<u64>,
    has_begun: Cell<bool>,
}

struct Flow {
    payload: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>,
    silence: Silence,
}

impl Passing {
    /// A body of `len` bytes whose pieces are never further apart than `idle_timeout`.
    #[must_use]
    pub fn new<S>(payload: S, len: u64, idle_timeout: Duration) -> Self
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + 'static,
    {
        let flow = RefCell::new(Flow { payload: Box::pin(payload), silence: Silence::new(idle_timeout) });
        Self(Rc::new(State { flow, len, passed: Cell::new(0), has_begun: Cell::new(false) }))
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.len
    }

    /// Bytes that have been passed on.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.0.passed.get()
    }

    /// True once a piece was asked for: what has gone out is not here any more.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.has_begun.get()
    }

    /// The next piece; nothing after the end.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReceiveError>>> {
        let Self(state) = self;
        state.has_begun.set(true);
        let mut flow = state.flow.borrow_mut();
        let Poll::Ready(piece) = flow.payload.as_mut().poll_next(context) else {
            ready!(flow.silence.poll(context));
            return Poll::Ready(Some(Err(ReceiveError::Stalled(flow.silence.limit()))));
        };
        flow.silence.end();
        Poll::Ready(match piece {
            Some(Ok(piece)) => {
                state.passed.set(state.passed.get() + piece.len() as u64);
                Some(Ok(piece))
            }
            Some(Err(error)) => Some(Err(ReceiveError::Broken(error))),
            // The listener holds callers to what they have announced; an upstream must never wait for the rest.
            None if state.passed.get() < state.len => Some(Err(ReceiveError::Broken(PayloadError::Incomplete(None)))),
            None => None,
        })
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Passing").field("len", &self.length()).field("passed", &self.passed()).finish()
    }
}
