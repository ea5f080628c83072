//! Permits for requests on a client's connections, and a bound on the wait for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::ClientError;

/// The longest wait for a connection. A request that has waited for longer fails instead of holding its buffered body here.
pub const CONNECTION_WAIT: Duration = Duration::from_secs(10);

/// The permits of one client.
pub(super) struct ConnectionPermits(Arc<Semaphore>);

/// A permit, until this is dropped.
pub(super) type ConnectionPermit = OwnedSemaphorePermit;

impl ConnectionPermits {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes a permit, in the order of asking.
    ///
    /// # Errors
    /// [`ClientError::Crowded`].
    pub(super) async fn take(&self) -> Result<ConnectionPermit, ClientError> {
        self.take_within(CONNECTION_WAIT).await
    }

    async fn take_within(&self, limit: Duration) -> Result<ConnectionPermit, ClientError> {
        // A free permit needs no timer.
        if let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() {
            return Ok(permit);
        }
        let permit = timeout(limit, Arc::clone(&self.0).acquire_owned()).await;
        let permit = permit.map_err(|_| ClientError::Crowded(limit))?;
        Ok(permit.expect("the semaphore is never closed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wait_for_a_permit_is_bounded_and_a_permit_is_given_back() {
        let permits = ConnectionPermits::new(1);
        let held = permits.take().await.expect("a permit");
        let limit = Duration::from_millis(10);
        assert!(matches!(permits.take_within(limit).await, Err(ClientError::Crowded(said)) if said == limit));
        drop(held);
        drop(permits.take_within(limit).await.expect("free again"));
    }
}
