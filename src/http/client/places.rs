//! Places for requests on a client's connections, and a bound on the wait for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::ClientError;

/// The longest wait for a place. Who has waited for longer had better come again later than hold a body here.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The places of one client.
pub(super) struct Places(Arc<Semaphore>);

/// A place, until this is dropped.
pub(super) type Place = OwnedSemaphorePermit;

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes a place, in the order of asking.
    ///
    /// # Errors
    /// [`ClientError::Crowded`].
    pub(super) async fn take(&self) -> Result<Place, ClientError> {
        self.take_within(LONGEST_WAIT).await
    }

    async fn take_within(&self, limit: Duration) -> Result<Place, ClientError> {
        // Without a timer where there is no need to wait.
        if let Ok(place) = Arc::clone(&self.0).try_acquire_owned() {
            return Ok(place);
        }
        let place = timeout(limit, Arc::clone(&self.0).acquire_owned()).await;
        let place = place.map_err(|_| ClientError::Crowded(limit))?;
        Ok(place.expect("nobody closes the semaphore"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wait_for_a_place_is_bounded_and_a_place_is_given_back() {
        let places = Places::new(1);
        let held = places.take().await.expect("a place");
        let limit = Duration::from_millis(10);
        assert!(matches!(places.take_within(limit).await, Err(ClientError::Crowded(said)) if said == limit));
        drop(held);
        drop(places.take_within(limit).await.expect("free again"));
    }
}
