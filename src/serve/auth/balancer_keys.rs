//! The public keys of load balancers: fetched once by name, and cached.
//!
//! The name of a key comes from a statement that is not verified yet, so an unauthenticated client can make up any number of
//! names. There is one fetch at a time for a name and only a few fetches at once, and when too many wait, the oldest give way.
//! So the key of the next user is fetched soon, in spite of the requests of such clients.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::access::balancer_jwt::PublicKey;
use crate::http::client::Endpoint;
use crate::http::fields::Fields;
use crate::serve::auth::service_clients::ServiceClients;
use crate::serve::limits::lifo_semaphore::LifoSemaphore;
use crate::serve::limits::single_flight::SingleFlight;

/// The number of names that are cached. A load balancer signs with one or two keys at a time.
const CACHE_LIMIT: usize = 64;
/// The time after which a missing name is fetched again.
const MISSING_FOR: Duration = Duration::from_secs(10);
/// The longest time that a fetch may take, and that it waits for its permit. A user waits for both.
const DEADLINE: Duration = Duration::from_secs(5);
/// The number of fetches at once, of all workers.
const CONCURRENT_FETCHES: usize = 8;
/// The number of fetches that wait for a permit.
const QUEUE_LIMIT: usize = 64;
/// PEM of a key on P-256 has 178 bytes.
const SIZE_LIMIT: usize = 4096;

/// The keys, which all workers share.
pub(crate) struct BalancerKeys {
    endpoint: Endpoint,
    path: String,
    cache: Mutex<KeyCache>,
    fetches: SingleFlight<String>,
    fetch_permits: LifoSemaphore,
}

/// The keys by their names.
#[derive(Default)]
struct KeyCache(HashMap<String, CachedKey>);

struct CachedKey {
    /// Empty if there is no key of this name.
    key: Option<PublicKey>,
    /// The time when it was last used, or was found missing.
    when: Instant,
}

impl KeyCache {
    /// Returns a key, or the note that it was missing a moment ago.
    fn find(&mut self, id: &str) -> Option<&CachedKey> {
        let name = self.0.get_mut(id)?;
        if name.key.is_some() {
            name.when = Instant::now();
        } else if name.when.elapsed() >= MISSING_FOR {
            return None;
        }
        Some(name)
    }

    /// Stores a key. SECURITY: made-up names must neither fill memory nor evict keys that are in use.
    fn insert(&mut self, id: &str, key: Option<PublicKey>) {
        if self.0.len() >= CACHE_LIMIT && !self.0.contains_key(id) {
            let least = self.0.iter().min_by_key(|(_, name)| (name.key.is_some(), name.when));
            if let Some(least) = least.map(|(id, _)| id.clone()) {
                self.0.remove(&least);
            }
        }
        self.0.insert(id.to_owned(), CachedKey { key, when: Instant::now() });
    }
}

impl BalancerKeys {
    /// Returns an empty cache of the keys that are published below this path.
    pub(crate) fn new(endpoint: Endpoint, path: String) -> Self {
        Self {
            endpoint,
            path,
            cache: Mutex::default(),
            fetches: SingleFlight::default(),
            fetch_permits: LifoSemaphore::new(CONCURRENT_FETCHES, QUEUE_LIMIT),
        }
    }

    fn cache(&self) -> MutexGuard<'_, KeyCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the key of this name, which needs no encoding.
    pub(crate) async fn get(&self, id: &str, clients: &ServiceClients) -> Option<PublicKey> {
        timeout(2 * DEADLINE, self.obtain(id, clients)).await.ok().flatten()
    }

    async fn obtain(&self, id: &str, clients: &ServiceClients) -> Option<PublicKey> {
        let find = || self.cache().find(id).map(|cached| cached.key.clone());
        let _fetch = match self.fetches.find_or_begin(&id.to_owned(), find).await {
            Ok(known) => return known,
            Err(fetch) => fetch,
        };
        let _permit = timeout(DEADLINE, self.fetch_permits.acquire()).await.ok().flatten()?;
        let fetched = timeout(DEADLINE, self.fetch(id, clients))
            .await
            .unwrap_or_else(|_| Err(format!("no response within {} s", DEADLINE.as_secs())));
        match &fetched {
            Ok(_) => info!(key = id, "the load balancer's public key was fetched"),
            Err(error) => {
                let from = self.endpoint.url();
                let hint = "allow HTTPS to that host, or set `oidc-keys-url`";
                warn!(key = id, from, error, hint, "cannot fetch the load balancer's public key");
            }
        }
        let key = fetched.ok();
        self.cache().insert(id, key.clone());
        key
    }

    async fn fetch(&self, id: &str, clients: &ServiceClients) -> Result<PublicKey, String> {
        // The deadline of a fetch comes first, and its error says more.
        let limits = (2 * DEADLINE, SIZE_LIMIT);
        let response = clients.get(&self.endpoint, limits, &format!("{}{id}", self.path), Fields::new()).await?;
        if response.status != StatusCode::OK {
            return Err(format!("the response has the status {}", response.status));
        }
        let pem = std::str::from_utf8(&response.body).ok();
        pem.and_then(PublicKey::from_pem).ok_or_else(|| "the response is not a public key on P-256".to_owned())
    }
}
