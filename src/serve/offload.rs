//! Moves work that would block a worker for too long to another thread.

use crate::http::blocking;
use crate::serve::error::ProxyError;

/// Larger documents are processed on another thread. The slowest parser, that of GraphQL, reads 15 MB a second, so a document
/// of this size takes four milliseconds; a change of threads takes 0.05.
const LARGE: usize = 64 << 10;

/// Runs `work` on a document of `size` bytes.
///
/// # Errors
/// [`ProxyError::MemoryOverBudget`] while the process stops.
pub(crate) async fn offload<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProxyError> {
    if size <= LARGE {
        return Ok(work());
    }
    blocking::run(work).await.ok_or(ProxyError::MemoryOverBudget)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_worker_has_time_for_others_while_a_large_document_is_read() {
        actix_web::rt::System::new().block_on(async {
            let here = thread::current().id();
            assert_eq!(offload(LARGE, move || thread::current().id() == here).await.ok(), Some(true));
            let ((begins, has_begun), (go_on, goes_on)) = (oneshot::channel(), mpsc::channel());
            let large = actix_web::rt::spawn(offload(LARGE + 1, move || {
                let _ = begins.send(());
                // Nothing comes if this thread is the one that is to send it.
                goes_on.recv_timeout(Duration::from_secs(5)).is_ok() && thread::current().id() != here
            }));
            has_begun.await.expect("it begins");
            let _ = go_on.send(());
            assert_eq!(large.await.expect("it ends").ok(), Some(true));
        });
    }
}
