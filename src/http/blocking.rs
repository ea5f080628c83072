//! Work that would keep a worker from its other requests: it runs on another thread, little of it at a time.

use std::sync::LazyLock;
use std::thread;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The number of such pieces of work that run at once for all workers: one for every two processors. More would take the
/// processors away from the workers, and new memory as well: threads wait for one another when the kernel gives them pages.
static PERMITS: LazyLock<Semaphore> = LazyLock::new(|| {
    Semaphore::new(thread::available_parallelism().map_or(1, |processors| processors.get() / 2).max(1))
});

/// Runs `work` on another thread. Returns nothing while the process stops.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let permit = PERMITS.acquire().await.ok()?;
    let work = move || {
        // The work goes on if its request ends, and so it keeps the permit.
        let _permit = permit;
        work()
    };
    spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_whose_request_has_ended_counts_against_the_limit() {
        let limit = PERMITS.available_permits();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::park_timeout(Duration::from_millis(5));
                running.fetch_sub(1, Ordering::SeqCst);
            })
        };
        for _ in 0..3 * limit {
            // The request ends at once, after its work has begun.
            let _ = tokio::time::timeout(Duration::from_millis(1), work()).await;
        }
        for _ in 0..3 * limit {
            work().await.expect("the process goes on");
        }
        assert!((1..=limit).contains(&most.load(Ordering::SeqCst)), "{most:?} of {limit}");
    }
}
