//! The public keys of load balancers: fetched once by name, and kept.
//!
//! A key's name is read from a statement that nobody has verified yet, so strangers can make up as many as they like. One
//! fetch at a time is made for a name, only a few are made at once, and when too many wait, those that came first give
//! way. Whatever strangers ask for, the next user's key is therefore fetched soon.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::access::oidc::PublicKey;
use crate::error_chain;
use crate::http::client::{Dialer, Endpoint, ServiceClient, ServiceLimits};
use crate::http::fields::Fields;
use crate::serve::limits::line::Line;

/// Names that are remembered. A load balancer signs with one or two keys at a time.
const KEPT: usize = 64;
/// A name that was not found is not asked for again sooner.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest time that a fetch may take, and that a user waits for its turn. A user waits for both.
const DEADLINE: Duration = Duration::from_secs(5);
/// Fetches at once, of all workers.
const AT_ONCE: usize = 8;
/// Fetches that wait for their turn.
const WAITING: usize = 64;
/// PEM of a key on P-256 has 178 bytes.
const SIZE_LIMIT: usize = 4096;

/// What is known of the keys, by all workers.
pub(crate) struct Keys {
    endpoint: Endpoint,
    path: String,
    known: Mutex<Known>,
    line: Line,
}

#[derive(Default)]
struct Known {
    names: HashMap<String, Name>,
    /// The names that are being fetched. A request that needs the same one waits for the end of that fetch.
    fetches: HashMap<String, Arc<Notify>>,
}

struct Name {
    /// Nothing if there is no key of this name.
    key: Option<PublicKey>,
    /// When it was last used, or missed.
    when: Instant,
}

impl Known {
    /// A name whose key is known, or is known to have been missing a moment ago.
    fn find(&mut self, id: &str) -> Option<&Name> {
        let name = self.names.get_mut(id)?;
        if name.key.is_some() {
            name.when = Instant::now();
        } else if name.when.elapsed() >= PATIENCE {
            return None;
        }
        Some(name)
    }

    /// Remembers a name. SECURITY: names that strangers make up must not fill memory, nor push out keys that are used.
    fn insert(&mut self, id: &str, key: Option<PublicKey>) {
        if self.names.len() >= KEPT && !self.names.contains_key(id) {
            let least = self.names.iter().min_by_key(|(_, name)| (name.key.is_some(), name.when));
            if let Some(least) = least.map(|(id, _)| id.clone()) {
                self.names.remove(&least);
            }
        }
        self.names.insert(id.to_owned(), Name { key, when: Instant::now() });
    }
}

/// A fetch that has begun, until this is dropped.
struct Fetch<'a> {
    keys: &'a Keys,
    id: &'a str,
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.keys.known().fetches.remove(self.id) {
            end.notify_waiters();
        }
    }
}

/// A worker's own way to where keys are published.
pub(crate) struct KeyFetcher {
    dialer: Dialer,
    keep_alive: Duration,
    client: OnceCell<ServiceClient>,
}

impl KeyFetcher {
    /// Connects when it is first needed.
    #[must_use]
    pub(crate) fn new(dialer: Dialer, keep_alive: Duration) -> Self {
        Self { dialer, keep_alive, client: OnceCell::new() }
    }
}

impl Keys {
    /// Keys that are published below this path.
    #[must_use]
    pub(crate) fn new(endpoint: Endpoint, path: String) -> Self {
        Self { endpoint, path, known: Mutex::default(), line: Line::new(AT_ONCE, WAITING) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of this name, which is plain.
    pub(crate) async fn get(&self, id: &str, fetcher: &KeyFetcher) -> Option<PublicKey> {
        timeout(2 * DEADLINE, self.obtain(id, fetcher)).await.ok().flatten()
    }

    async fn obtain(&self, id: &str, fetcher: &KeyFetcher) -> Option<PublicKey> {
        let _fetch = loop {
            let other = {
                let mut known = self.known();
                if let Some(name) = known.find(id) {
                    return name.key.clone();
                }
                let other = known.fetches.get(id).map(|end| Arc::clone(end).notified_owned());
                if other.is_none() {
                    known.fetches.insert(id.to_owned(), Arc::default());
                }
                other
            };
            match other {
                None => break Fetch { keys: self, id },
                Some(end) => end.await,
            }
        };
        let _turn = timeout(DEADLINE, self.line.turn()).await.ok().flatten()?;
        let fetched = timeout(DEADLINE, self.fetch(id, fetcher))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", DEADLINE.as_secs())));
        match &fetched {
            Ok(_) => info!(key = id, "load balancer's key obtained"),
            Err(error) => {
                let from = self.endpoint.url();
                let hint = "allow HTTPS to that host, or set `oidc-keys-url`";
                warn!(key = id, from, error, hint, "key not obtained");
            }
        }
        let key = fetched.ok();
        self.known().insert(id, key.clone());
        key
    }

    async fn fetch(&self, id: &str, fetcher: &KeyFetcher) -> Result<PublicKey, String> {
        let client = fetcher.client.get_or_init(|| {
            // The deadline of a fetch comes first, and its error says more.
            let exchange_timeout = 2 * DEADLINE;
            let limits = ServiceLimits { exchange_timeout, keep_alive: fetcher.keep_alive, body_limit: SIZE_LIMIT };
            ServiceClient::new(fetcher.dialer.to(self.endpoint.clone()), limits)
        });
        let target = format!("{}{id}", self.path);
        let response = client.exchange(Method::GET, &target, Fields::new(), Bytes::new()).await;
        let response = response.map_err(|error| error_chain::joined(&error))?;
        if response.status != StatusCode::OK {
            return Err(format!("the answer was {}", response.status));
        }
        let pem = std::str::from_utf8(&response.body).ok();
        pem.and_then(PublicKey::from_pem).ok_or_else(|| "the answer is no key on P-256".to_owned())
    }
}
