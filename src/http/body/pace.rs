//! The pace at which a caller has to send a body: an idle timeout, a minimum rate, and a limit for the whole body.
//!
//! Only time spent waiting for the caller counts. A disk or an upstream that is slow to take the body is not the
//! caller's doing.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

use super::error::RequestBodyError;

/// Bytes per second that a caller has to send on average, over each period as long as the idle timeout. The slowest
/// uplinks in use, a modem's or one that thirty uploads share, are several times as fast.
const MINIMUM_RATE: u64 = 1024;

/// The time limits of a body.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The longest time between two pieces.
    pub idle_timeout: Duration,
    /// The longest time for the whole body.
    pub total: Duration,
}

/// The progress of one body.
pub(super) struct Pace {
    timing: Timing,
    received: u64,
    /// Time spent waiting for the caller, up to the last piece.
    waited: Duration,
    /// That time, and what had been received, at the beginning of the period in which the rate is measured.
    mark: (Duration, u64),
    /// True once a piece was asked for before it had arrived.
    has_waited: bool,
    /// When the wait for the next piece began.
    since: Option<Instant>,
    /// The timer is made when first needed, and set again only when it has fired: limits only move on, so it is never late.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) const fn new(timing: Timing) -> Self {
        let (waited, mark) = (Duration::ZERO, (Duration::ZERO, 0));
        Self { timing, received: 0, waited, mark, has_waited: false, since: None, timer: None }
    }

    /// Bytes that have come.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The next piece of the body; nothing after its end.
    ///
    /// # Errors
    /// [`RequestBodyError::Stalled`], [`RequestBodyError::Slow`], [`RequestBodyError::Late`], [`RequestBodyError::Broken`] and
    /// [`RequestBodyError::ForeignMd5`].
    pub(super) fn poll_next<S>(
        &mut self,
        payload: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, RequestBodyError>>
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + ?Sized,
    {
        let Poll::Ready(piece) = payload.poll_next(context) else {
            if !self.has_waited {
                // A body often comes right behind its head. Then it is there in the next turn, and needs no timer. Only the first wait
                // of a body has such a turn, so this is no busy loop.
                self.has_waited = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return self.poll_limits(context).map(Err);
        };
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        let piece = piece.transpose()?;
        if let Some(piece) = &piece {
            self.received += piece.len() as u64;
            // SECURITY: a caller that sends a byte before each idle timeout would hold memory and disk for ever.
            self.left(Duration::ZERO)?;
        }
        Poll::Ready(Ok(piece))
    }

    /// Returns the error once a limit has passed.
    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<RequestBodyError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        loop {
            let silence = since.elapsed();
            let left = match self.left(silence) {
                Ok(left) => left,
                Err(error) => return Poll::Ready(error),
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            ready!(timer.as_mut().poll(context));
            // The timer may have been set for an earlier piece.
            if let Some(due) = Instant::now().checked_add(left) {
                timer.as_mut().reset(due.into());
            }
        }
    }

    /// The time for which the caller may send nothing from now on, after it has sent nothing for `silence`.
    fn left(&mut self, silence: Duration) -> Result<Duration, RequestBodyError> {
        let Timing { idle_timeout: longest, total } = self.timing;
        let waited = self.waited + silence;
        if silence >= longest {
            return Err(RequestBodyError::Stalled(longest));
        }
        if waited >= total {
            return Err(RequestBodyError::Late(total));
        }
        let mut measured = waited.saturating_sub(self.mark.0);
        if measured >= longest {
            let least = longest.as_millis().saturating_mul(u128::from(MINIMUM_RATE)) / 1000;
            if u128::from(self.received - self.mark.1) < least {
                return Err(RequestBodyError::Slow(MINIMUM_RATE));
            }
            self.mark = (waited, self.received);
            measured = Duration::ZERO;
        }
        let within_period = longest.saturating_sub(measured);
        Ok(longest.saturating_sub(silence).min(total.saturating_sub(waited)).min(within_period))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use futures_util::stream;

    use super::*;

    /// Reads a body of which `piece` bytes come every `interval`, `count` times.
    async fn read(timing: Timing, piece: usize, interval: Duration, count: usize) -> Result<u64, RequestBodyError> {
        let mut payload = Box::pin(stream::unfold(0, |number| async move {
            if number == count {
                return None;
            }
            tokio::time::sleep(interval).await;
            Some((Ok(Bytes::from(vec![0; piece])), number + 1))
        }));
        let mut pace = Pace::new(timing);
        while std::future::poll_fn(|context| pace.poll_next(payload.as_mut(), context)).await?.is_some() {}
        Ok(pace.received())
    }

    fn timing(silence: u64, total: u64) -> Timing {
        Timing { idle_timeout: Duration::from_millis(silence), total: Duration::from_millis(total) }
    }

    #[tokio::test]
    async fn a_slow_caller_is_accepted_and_an_idle_dribbling_or_endless_one_is_rejected() {
        let interval = Duration::from_millis(20);
        // A busy machine makes a wait longer by much less than this.
        let quick = timing(1000, 60_000);
        assert_eq!(read(quick, 100, interval, 25).await.ok(), Some(2500), "5 kB per second");
        assert!(matches!(read(quick, 1, interval, 1000).await, Err(RequestBodyError::Slow(MINIMUM_RATE))));
        assert!(matches!(read(quick, 1, Duration::from_secs(5), 2).await, Err(RequestBodyError::Stalled(_))));
        assert!(matches!(read(timing(1000, 400), 1000, interval, 1000).await, Err(RequestBodyError::Late(_))));
        assert_eq!(read(quick, 1, interval, 5).await.ok(), Some(5), "a small body need not be fast");
    }

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_body_that_is_there_in_the_next_turn_needs_no_timer_and_one_that_is_not_is_no_busy_loop() {
        for is_there in [true, false] {
            let wakes = Arc::<Wakes>::default();
            let waker = wakes.clone().into();
            let mut context = Context::from_waker(&waker);
            let mut turn = 0;
            let mut payload = stream::poll_fn(|_| {
                turn += 1;
                if turn > 1 && is_there { Poll::Ready(Some(Ok(Bytes::from_static(b"x")))) } else { Poll::Pending }
            });
            let mut pace = Pace::new(timing(60_000, 60_000));
            let turns = [(); 4].map(|()| pace.poll_next(Pin::new(&mut payload), &mut context).is_ready());
            assert_eq!(turns, [false, is_there, is_there, is_there]);
            assert_eq!((wakes.0.load(Ordering::Relaxed), pace.timer.is_none()), (1, is_there), "{is_there}");
        }
    }

    #[tokio::test]
    async fn bytes_that_came_fast_do_not_excuse_a_dribble_later() {
        let pieces = stream::iter((0..100).map(|_| Ok(Bytes::from_static(&[0; 10_000]))));
        let dribble = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        let mut payload = Box::pin(futures_util::StreamExt::chain(pieces, dribble));
        let mut pace = Pace::new(timing(1000, 60_000));
        let began = Instant::now();
        let error = loop {
            let piece = std::future::poll_fn(|context| pace.poll_next(payload.as_mut(), context)).await;
            if let Err(error) = piece {
                break error;
            }
        };
        assert!(matches!(error, RequestBodyError::Slow(_)) && began.elapsed() < Duration::from_secs(5), "{error}");
    }

    #[tokio::test]
    async fn time_without_a_wait_for_the_caller_does_not_count() {
        let mut payload = Box::pin(stream::iter((0..5).map(|_| Ok::<_, PayloadError>(Bytes::from_static(b"x")))));
        let mut pace = Pace::new(timing(20, 40));
        while let Some(_piece) =
            std::future::poll_fn(|context| pace.poll_next(payload.as_mut(), context)).await.expect("in time")
        {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert_eq!(pace.received(), 5);
    }
}
