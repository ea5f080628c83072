//! The idle timeout of a body. Its timer is set when first needed and moved lazily, so that a body that flows costs no timer
//! work.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// The idle timeout between two pieces of a body.
pub(super) struct IdleTimer {
    limit: Duration,
    last_piece: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    /// Creates a timer with this limit; with [`Duration::MAX`] it never ends.
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, last_piece: None, timer: None }
    }

    /// Creates a timer with this limit that uses one of an earlier [`Self::take_timer`] again.
    pub(super) fn with_timer(limit: Duration, timer: Option<Pin<Box<Sleep>>>) -> Self {
        Self { timer, ..Self::new(limit) }
    }

    /// Takes the timer, if there was a wait for a piece. It goes on, and may still wake the task that waited.
    pub(super) fn take_timer(&mut self) -> Option<Pin<Box<Sleep>>> {
        self.timer.take()
    }

    /// The longest time without a piece.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Notes that a piece came.
    pub(super) fn note_progress(&mut self) {
        if self.timer.is_some() {
            self.last_piece = Some(Instant::now());
        }
    }

    /// Returns ready once no piece has come for too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let last_piece = *self.last_piece.get_or_insert_with(Instant::now);
        let Some(deadline) = last_piece.checked_add(self.limit) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= deadline.into() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline.into());
        }
    }
}
