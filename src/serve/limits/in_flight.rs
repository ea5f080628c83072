//! Turns requests away before their bodies are read, once more of them wait for a target than it can take.
//!
//! A target takes as many requests at once as there are connections to it; a few times as many may wait. What comes on
//! top would wait longer than its caller does, and hold memory and disk meanwhile: it is answered 429 at once, which
//! MLflow's clients take as it is meant. One count for each worker and target, so nothing is shared.
//!
//! Only requests count whose bodies are there: a caller who sends slowly holds a connection of its own and none of the
//! target's, and must not shut others out. What uploads may hold together is `http::body`'s to limit.

use std::cell::Cell;
use std::rc::Rc;

/// Requests for each connection that are sent or wait.
const FOR_EACH_CONNECTION: usize = 4;

/// A worker's requests to one target.
#[derive(Debug)]
pub(crate) struct Load {
    limit: usize,
    running: Cell<usize>,
}

/// A request among them, until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot(Rc<Load>);

/// More wait already than make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overload;

impl Load {
    /// For a target that is connected to at most `connections` times.
    #[must_use]
    pub(crate) fn new(connections: usize) -> Rc<Self> {
        Rc::new(Self { limit: connections.saturating_mul(FOR_EACH_CONNECTION), running: Cell::new(0) })
    }

    /// Whether there is room for another.
    ///
    /// # Errors
    /// [`Overload`].
    pub(crate) fn check(&self) -> Result<(), Overload> {
        if self.running.get() < self.limit { Ok(()) } else { Err(Overload) }
    }

    /// Counts a request.
    #[must_use]
    pub(crate) fn enter(self: &Rc<Self>) -> Slot {
        self.running.set(self.running.get() + 1);
        Slot(Rc::clone(self))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let load = Load::new(2);
        let mut held: Vec<_> = (0..2 * FOR_EACH_CONNECTION).map(|_| load.enter()).collect();
        assert_eq!(load.check(), Err(Overload));
        held.pop();
        assert_eq!(load.check(), Ok(()));
        held.clear();
        assert_eq!(load.running.get(), 0);
    }
}
