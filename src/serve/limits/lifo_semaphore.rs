//! A semaphore that serves its newest waiter first, with a bounded queue.
//!
//! SECURITY: it protects work that unauthenticated clients can cause. A permit goes to the waiter that came last, and when the
//! queue is full, the waiter that came first leaves it. So a flood displaces itself, and a user who comes after it does not
//! wait for its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The semaphore. Its clones share permits and queue.
#[derive(Clone)]
pub(crate) struct LifoSemaphore(Arc<SemaphoreState>);

struct SemaphoreState {
    permits: usize,
    queue_limit: usize,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    /// The number of permits that are held.
    held: usize,
    queue: VecDeque<oneshot::Sender<LifoPermit>>,
}

/// A permit, which goes to the next waiter when it is dropped.
pub(crate) struct LifoPermit(Option<LifoSemaphore>);

impl LifoSemaphore {
    /// Returns a semaphore with this many permits and room for this many waiters.
    pub(crate) fn new(permits: usize, queue_limit: usize) -> Self {
        Self(Arc::new(SemaphoreState { permits, queue_limit, waiters: Mutex::default() }))
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if no permit is held.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiters().held == 0
    }

    /// Waits for a permit. Returns nothing if too many waiters came later.
    pub(crate) async fn acquire(&self) -> Option<LifoPermit> {
        let granted = {
            let mut waiters = self.waiters();
            if waiters.held < self.0.permits {
                waiters.held += 1;
                return Some(LifoPermit(Some(self.clone())));
            }
            let (sender, receiver) = oneshot::channel();
            waiters.queue.push_back(sender);
            if waiters.queue.len() > self.0.queue_limit {
                waiters.queue.pop_front();
            }
            receiver
        };
        granted.await.ok()
    }
}

impl Drop for LifoPermit {
    fn drop(&mut self) {
        let Some(semaphore) = self.0.take() else { return };
        loop {
            let next = {
                let mut waiters = semaphore.waiters();
                let next = waiters.queue.pop_back();
                if next.is_none() {
                    waiters.held -= 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Self(Some(semaphore.clone()))) {
                Ok(()) => return,
                // This waiter has left, so the permit goes to the next one.
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

    fn waits(permit: Pin<&mut impl Future<Output = Option<LifoPermit>>>) -> bool {
        permit.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn the_newest_waiter_is_served_first_and_the_oldest_leaves_a_full_queue() {
        let semaphore = LifoSemaphore::new(1, 2);
        let held = semaphore.acquire().await.expect("a permit");
        let mut first = Box::pin(semaphore.acquire());
        let mut second = Box::pin(semaphore.acquire());
        let mut third = Box::pin(semaphore.acquire());
        for waiting in [&mut first, &mut second, &mut third] {
            assert!(waits(waiting.as_mut()));
        }
        assert!(first.await.is_none(), "two waiters came later");
        drop(held);
        let third = third.await.expect("the newest waiter");
        assert!(waits(second.as_mut()));
        drop(third);
        assert!(second.await.is_some());
    }

    #[tokio::test]
    async fn a_waiter_that_leaves_takes_no_permit_with_it() {
        let semaphore = LifoSemaphore::new(1, 8);
        let held = semaphore.acquire().await.expect("a permit");
        let mut gone: Vec<_> = (0..3).map(|_| Box::pin(semaphore.acquire())).collect();
        for waiting in &mut gone {
            assert!(waits(waiting.as_mut()));
        }
        let stays = semaphore.acquire();
        gone.pop();
        drop(held);
        drop(gone);
        assert!(stays.await.is_some());
        assert_eq!(semaphore.waiters().held, 0);
        let all = join_all((0..5).map(|_| async { semaphore.acquire().await.is_some() })).await;
        assert_eq!(all, [true; 5]);
    }
}
