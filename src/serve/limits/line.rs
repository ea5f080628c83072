//! A few places, and a short line of those who wait for one.
//!
//! SECURITY: the line is for work that strangers can ask for. Whoever came last is served first, and when the line is too
//! long, whoever came first leaves it: a flood pushes itself out, and a user who comes after it does not wait for its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The places and the line. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Line(Arc<State>);

struct State {
    places: usize,
    length: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// A place, until this is dropped.
pub(crate) struct Turn(Option<Line>);

impl Line {
    /// So many places, and a line of this length at most.
    #[must_use]
    pub(crate) fn new(places: usize, length: usize) -> Self {
        Self(Arc::new(State { places, length, queue: Mutex::default() }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place; nothing if too many came later.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let turn = {
            let mut queue = self.queue();
            if queue.taken < self.0.places {
                queue.taken += 1;
                return Some(Turn(Some(self.clone())));
            }
            let (sender, receiver) = oneshot::channel();
            queue.waiting.push_back(sender);
            if queue.waiting.len() > self.0.length {
                queue.waiting.pop_front();
            }
            receiver
        };
        turn.await.ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(line) = self.0.take() else { return };
        loop {
            let next = {
                let mut queue = line.queue();
                let next = queue.waiting.pop_back();
                if next.is_none() {
                    queue.taken -= 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Self(Some(line.clone()))) {
                Ok(()) => return,
                // The one that waited has left, so the place goes to the next.
                Err(mut unused) => drop(unused.0.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use futures_util::future::join_all;

    use super::*;

    fn waits(turn: Pin<&mut impl Future<Output = Option<Turn>>>) -> bool {
        turn.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn the_last_is_served_first_and_the_first_gives_way() {
        let line = Line::new(1, 2);
        let held = line.turn().await.expect("a place");
        let mut first = Box::pin(line.turn());
        let mut second = Box::pin(line.turn());
        let mut third = Box::pin(line.turn());
        for waiting in [&mut first, &mut second, &mut third] {
            assert!(waits(waiting.as_mut()));
        }
        assert!(first.await.is_none(), "two came later");
        drop(held);
        let third = third.await.expect("the last");
        assert!(waits(second.as_mut()));
        drop(third);
        assert!(second.await.is_some());
    }

    #[tokio::test]
    async fn whoever_leaves_takes_no_place_along() {
        let line = Line::new(1, 8);
        let held = line.turn().await.expect("a place");
        let mut gone: Vec<_> = (0..3).map(|_| Box::pin(line.turn())).collect();
        for waiting in &mut gone {
            assert!(waits(waiting.as_mut()));
        }
        let stays = line.turn();
        gone.pop();
        drop(held);
        drop(gone);
        assert!(stays.await.is_some());
        assert_eq!(line.queue().taken, 0);
        let all = join_all((0..5).map(|_| async { line.turn().await.is_some() })).await;
        assert_eq!(all, [true; 5]);
    }
}
