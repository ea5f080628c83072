//! The in-flight limit: sheds load before bodies are read, once more requests wait for a target than it can take.
//!
//! A target can process as many requests at a time as there are connections to it, and a few times as many may wait. A request
//! above that limit would wait longer than its client does, and hold memory and disk meanwhile. It is rejected with 429 at
//! once, and MLflow's clients then retry with a backoff. Each worker has one count for each target, so no lock is needed.
//!
//! A request counts only once its body is complete: a caller that sends slowly holds a connection of its own and none of
//! the target's, and must not keep others out. `http::body` limits what all uploads may hold together.

use std::cell::Cell;
use std::rc::Rc;

/// The number of requests for each connection that may run or wait. A request above that would wait longer than its client does.
pub(super) const FOR_EACH_CONNECTION: usize = 4;

/// The limit of a worker's requests to one target.
#[derive(Debug)]
pub(crate) struct InFlightLimit {
    limit: usize,
    in_flight: Cell<usize>,
}

/// The permit of one request, which counts until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Rc<InFlightLimit>);

impl InFlightLimit {
    /// Returns the limit for a target with at most `connections` connections.
    pub(crate) fn new(connections: usize) -> Rc<Self> {
        Rc::new(Self { limit: connections.saturating_mul(FOR_EACH_CONNECTION), in_flight: Cell::new(0) })
    }

    /// Returns true if there is room for another request.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.get() < self.limit
    }

    /// Counts a request.
    #[must_use]
    pub(crate) fn enter(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(Rc::clone(self))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_makes_room_for_another_request() {
        let limit = InFlightLimit::new(2);
        let mut held: Vec<_> = (0..2 * FOR_EACH_CONNECTION).map(|_| limit.enter()).collect();
        assert!(!limit.has_room());
        held.pop();
        assert!(limit.has_room());
        held.clear();
        assert_eq!(limit.in_flight.get(), 0);
    }
}
