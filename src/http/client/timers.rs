//! The response timeouts of a client's requests.
//!
//! Nearly every request ends long before its timeout. So its timer stays set, and the next request uses the same timer and moves it
//! only when it fires. Setting and removing a timer for each request would cost more than looking up its target.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;

use crate::http::body::Progress;
use crate::http::idle_timer::IdleTimer;

/// The maximum number of timers that are kept. Each may keep the memory of the last task that used it until it fires.
const KEPT: usize = 128;

/// The timers that no request uses.
pub(super) struct ResponseTimers {
    limit: Duration,
    free: RefCell<Vec<Pin<Box<Sleep>>>>,
}

/// A timer that returns to the others when its request has ended.
struct LentTimer<'a> {
    timer: IdleTimer,
    home: &'a ResponseTimers,
}

impl Drop for LentTimer<'_> {
    fn drop(&mut self) {
        let mut free = self.home.free.borrow_mut();
        if free.len() < KEPT {
            free.extend(self.timer.take_timer());
        }
    }
}

/// The upload and the response have made no progress for the whole limit.
pub(super) struct NoProgress;

impl ResponseTimers {
    /// Creates timers for this timeout.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, free: RefCell::default() }
    }

    /// Waits for an exchange, as long as the upload makes progress or waits for the caller.
    ///
    /// # Errors
    /// [`NoProgress`].
    pub(super) async fn limit<T>(
        &self,
        mut exchange: Pin<&mut impl Future<Output = T>>,
        progress: &Progress,
    ) -> Result<T, NoProgress> {
        let mut lent = LentTimer { timer: IdleTimer::with_timer(self.limit, self.free.borrow_mut().pop()), home: self };
        let mut sent = progress.bytes();
        poll_fn(|context| {
            loop {
                if let Poll::Ready(ended) = exchange.as_mut().poll(context) {
                    return Poll::Ready(Ok(ended));
                }
                if lent.timer.poll(context).is_pending() {
                    return Poll::Pending;
                }
                // A large upload may take long; only one that no longer moves has failed.
                if progress.bytes() == sent && !progress.waits_for_caller() {
                    return Poll::Ready(Err(NoProgress));
                }
                sent = progress.bytes();
                lent.timer.note_progress();
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Instant;

    use tokio::time::sleep;

    use super::*;
    use crate::http::body::Body;

    #[tokio::test]
    async fn a_timer_is_used_again_and_each_request_has_the_whole_limit() {
        let limit = Duration::from_millis(300);
        let timers = ResponseTimers::new(limit);
        let progress = Body::None.outgoing().progress();
        for _ in 0..3 {
            let exchange = pin!(sleep(limit / 2));
            assert!(
                timers.limit(exchange, &progress).await.is_ok(),
                "the timer of an earlier request does not end this one"
            );
            assert_eq!(timers.free.borrow().len(), 1, "it is kept");
        }
        let began = Instant::now();
        assert!(timers.limit(pin!(std::future::pending::<()>()), &progress).await.is_err());
        assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
        assert_eq!(timers.free.borrow().len(), 1);
    }

    #[tokio::test]
    async fn an_exchange_that_needs_no_wait_needs_no_timer() {
        let timers = ResponseTimers::new(Duration::from_secs(60));
        let progress = Body::None.outgoing().progress();
        assert!(timers.limit(pin!(std::future::ready(())), &progress).await.is_ok());
        assert!(timers.free.borrow().is_empty());
    }
}
