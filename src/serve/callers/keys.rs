//! The public keys of load balancers: fetched once by name, and kept.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use tracing::{info, warn};

use crate::access::oidc::PublicKey;
use crate::causes;
use crate::http::body::Body;
use crate::http::client::{Client, ClientSettings, Dialer, Endpoint, Request};
use crate::http::fields::Fields;

/// A load balancer signs with one or two keys at a time.
const KEPT: usize = 64;
/// A name that was not found is not asked for again sooner.
const PATIENCE: Duration = Duration::from_secs(10);
/// A user waits for it.
const DEADLINE: Duration = Duration::from_secs(5);
/// PEM of a key on P-256 has 178 bytes.
const SIZE_LIMIT: usize = 4096;

/// What is known of the keys, by all workers.
pub(in crate::serve) struct Keys {
    endpoint: Endpoint,
    path: String,
    known: Mutex<HashMap<String, Known>>,
}

enum Known {
    Key(PublicKey),
    MissingSince(Instant),
}

/// A worker's own way to where keys are published.
pub(in crate::serve) struct KeyFetcher {
    dialer: Dialer,
    settings: ClientSettings,
    client: OnceCell<Client>,
}

impl KeyFetcher {
    /// Connects when it is first needed.
    #[must_use]
    pub(in crate::serve) fn new(dialer: Dialer, settings: ClientSettings) -> Self {
        Self { dialer, settings, client: OnceCell::new() }
    }
}

impl Keys {
    /// Keys that are published below this path.
    #[must_use]
    pub(super) fn new(endpoint: Endpoint, path: String) -> Self {
        Self { endpoint, path, known: Mutex::default() }
    }

    /// The key of this name, which is plain.
    pub(super) async fn get(&self, id: &str, fetcher: &KeyFetcher) -> Option<PublicKey> {
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            match known.get(id) {
                Some(Known::Key(key)) => return Some(key.clone()),
                Some(Known::MissingSince(when)) if when.elapsed() < PATIENCE => return None,
                // SECURITY: names that strangers make up must not fill memory, nor make us ask for each.
                None if known.len() >= KEPT && !known.values().any(Known::is_over) => return None,
                _ => {}
            }
        }
        let fetched = tokio::time::timeout(DEADLINE, self.fetch(id, fetcher))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", DEADLINE.as_secs())));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, key| !key.is_over());
        match fetched {
            Ok(key) => {
                info!(key = id, "load balancer's key obtained");
                known.insert(id.to_owned(), Known::Key(key.clone()));
                Some(key)
            }
            Err(error) => {
                let from = self.endpoint.url();
                warn!(
                    key = id,
                    from,
                    error,
                    hint = "allow HTTPS to that host, or set `oidc-keys-url`",
                    "key not obtained"
                );
                known.insert(id.to_owned(), Known::MissingSince(Instant::now()));
                None
            }
        }
    }

    async fn fetch(&self, id: &str, fetcher: &KeyFetcher) -> Result<PublicKey, String> {
        let client =
            fetcher.client.get_or_init(|| Client::new(fetcher.dialer.to(self.endpoint.clone()), fetcher.settings));
        let mut headers = Fields::new();
        let host = HeaderValue::try_from(self.endpoint.authority()).map_err(|error| error.to_string())?;
        headers.insert(header::HOST, host);
        let target = format!("{}{id}", self.path);
        let request = Request { method: Method::GET, target: &target, headers: &headers, body: &Body::None };
        let response = client.send(request).await.map_err(|error| causes::joined(&error))?;
        if response.status != StatusCode::OK {
            return Err(format!("the answer was {}", response.status));
        }
        let pem = response.body.collect(SIZE_LIMIT).await.map_err(|error| causes::joined(&error))?;
        let pem = std::str::from_utf8(&pem).ok();
        pem.and_then(PublicKey::from_pem).ok_or_else(|| "the answer is no key on P-256".to_owned())
    }
}

impl Known {
    fn is_over(&self) -> bool {
        matches!(self, Self::MissingSince(when) if when.elapsed() >= PATIENCE)
    }
}
