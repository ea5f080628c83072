//! The state that decides whether a connection may rest.
//!
//! SECURITY: a byte that was read and is lost when a connection begins to rest would shift the bounds of all later requests. So a
//! connection rests only where the bytes that were read end with a request.

use std::cell::Cell;
use std::task::{Context, Waker};

/// The state of one connection.
pub(super) struct RestState {
    /// The number of heads in the bytes that were read.
    heads: Cell<usize>,
    /// True if the bytes that were read end with a request.
    is_between: Cell<bool>,
    /// True once the connection is to rest, until its client sends something.
    rests: Cell<bool>,
    /// Wakes the task that serves the connection.
    task: Cell<Option<Waker>>,
}

impl Default for RestState {
    /// Returns the state of a new connection, whose first byte begins a request.
    fn default() -> Self {
        Self { heads: Cell::default(), is_between: Cell::new(true), rests: Cell::default(), task: Cell::default() }
    }
}

impl RestState {
    /// Notes where the bytes that were read end.
    pub(super) fn note_read(&self, heads: usize, is_between: bool) {
        self.heads.set(heads);
        self.is_between.set(is_between);
    }

    /// Returns the number of heads in the bytes that were read.
    pub(super) fn heads(&self) -> usize {
        self.heads.get()
    }

    /// True if the bytes that were read end with a request. It never is for HTTP/2.
    pub(super) fn is_between(&self) -> bool {
        self.heads() > 0 && self.is_between.get()
    }

    /// Lets an idle connection rest, if that is possible.
    pub(super) fn begin(&self) {
        if self.is_between.get()
            && let Some(task) = self.task.take()
        {
            self.rests.set(true);
            task.wake();
        }
    }

    /// Returns true if the connection is to rest. If it is not, its task is woken when it is.
    pub(super) fn poll(&self, context: &Context<'_>) -> bool {
        if self.rests.get() {
            return true;
        }
        // A task has one waker for its life.
        let known = self.task.take();
        self.task.set(known.or_else(|| Some(context.waker().clone())));
        false
    }

    /// Wakes the task that serves the connection.
    pub(super) fn wake(&self) {
        if let Some(task) = self.task.take() {
            task.wake_by_ref();
            self.task.set(Some(task));
        }
    }

    /// Notes that the client sends again.
    pub(super) fn end(&self) {
        self.rests.set(false);
    }
}
