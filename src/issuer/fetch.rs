//! Fetches an issuer's keys, by way of its discovery document if that names their address.

use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use tokio::time::timeout;

use super::discovery::DiscoveryDocument;
use super::error::IssuerError;
use super::location::Location;
use super::trusted::{KeySource, TrustedIssuer};
use crate::access::jwt::KeySet;
use crate::http::client::{Dialer, ServiceClient, ServiceLimits, ServiceResponse};
use crate::http::fields::Fields;
use crate::regular_file;

/// The longest time for one document.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest document. Key sets with certificates have up to 40 KiB.
const SIZE_LIMIT: usize = 256 * 1024;

/// An issuer's keys, and what else was learned on the way.
#[derive(Clone, Debug)]
pub struct FetchedKeys {
    /// The keys.
    pub keys: KeySet,
    /// The discovery document, if the keys were found through it.
    pub discovery: Option<DiscoveryDocument>,
    /// The time by the server's clock.
    pub date: Option<SystemTime>,
}

/// Fetches the keys of an issuer; `dialer` gives trust, proxies and deadlines of connections.
///
/// # Errors
/// [`IssuerError`].
pub async fn fetch(trusted: &TrustedIssuer, dialer: &Dialer) -> Result<FetchedKeys, IssuerError> {
    let (discovery, location) = match &trusted.keys {
        KeySource::File(path) => {
            let (shown, path) = (path.display().to_string(), path.clone());
            let reading = move || regular_file::check(&path).and_then(|()| read(&path));
            let text = tokio::task::spawn_blocking(reading).await.unwrap_or_else(|error| Err(error.into()));
            let text = text.map_err(|source| IssuerError::File { path: shown.clone(), source })?;
            return Ok(FetchedKeys { keys: usable(&text, trusted, shown)?, discovery: None, date: None });
        }
        KeySource::Address(location) => (None, location.clone()),
        KeySource::Discovery(location) => {
            let document = get(&location.discovery(), dialer).await?;
            let document = DiscoveryDocument::parse(&document.body, &trusted.issuer.url)?;
            let keys = document.location("jwks_uri")?;
            // SECURITY: an issuer elsewhere must not make the appliance send requests to services of this machine.
            if location.endpoint.tls && !keys.endpoint.tls {
                return Err(IssuerError::Location { name: "jwks_uri", why: "the URL must start with `https://`" });
            }
            (Some(document), keys)
        }
    };
    let response = get(&location, dialer).await?;
    let keys = usable(&response.body, trusted, location.url())?;
    Ok(FetchedKeys { keys, discovery, date: date(&response.headers) })
}

/// Reads the keys in a file.
///
/// # Errors
/// [`IssuerError`].
pub fn read_keys(path: &Path, trusted: &TrustedIssuer) -> Result<KeySet, IssuerError> {
    let shown = path.display().to_string();
    let text = read(path).map_err(|source| IssuerError::File { path: shown.clone(), source })?;
    usable(&text, trusted, shown)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut text)?;
    if text.len() > SIZE_LIMIT {
        return Err(io::Error::other(format!("it is larger than {SIZE_LIMIT} bytes")));
    }
    Ok(text)
}

fn usable(text: &[u8], trusted: &TrustedIssuer, from: String) -> Result<KeySet, IssuerError> {
    match KeySet::parse(text) {
        Ok(keys) if keys.has_key_for(&trusted.issuer.algorithms) => Ok(keys),
        Ok(_) => Err(IssuerError::OtherAlgorithms(from)),
        Err(source) => Err(IssuerError::Keys { from, source }),
    }
}

/// Requests the head of a page without credentials, and returns the status of the response, whatever it is.
///
/// # Errors
/// [`IssuerError::Timeout`] and [`IssuerError::Exchange`], if there was no response.
pub async fn reach(location: &Location, dialer: &Dialer) -> Result<StatusCode, IssuerError> {
    ask(Method::HEAD, location, dialer).await.map(|response| response.status)
}

async fn get(location: &Location, dialer: &Dialer) -> Result<ServiceResponse, IssuerError> {
    let response = ask(Method::GET, location, dialer).await?;
    match response.status {
        StatusCode::OK => Ok(response),
        status => Err(IssuerError::Status { url: location.url(), status }),
    }
}

async fn ask(method: Method, location: &Location, dialer: &Dialer) -> Result<ServiceResponse, IssuerError> {
    // Fetches are minutes apart, so each has a connection of its own. The deadline below comes first, and says more.
    let limits = ServiceLimits { exchange_timeout: 2 * DEADLINE, keep_alive: Duration::ZERO, body_limit: SIZE_LIMIT };
    let client = ServiceClient::new(dialer.to(location.endpoint.clone()), limits);
    let mut headers = Fields::new();
    headers.append(header::ACCEPT, header::HeaderValue::from_static("application/json"));
    let exchange = client.exchange(method, &location.target, headers, Bytes::new());
    let url = || location.url();
    let response =
        timeout(DEADLINE, exchange).await.map_err(|_| IssuerError::Timeout { url: url(), limit: DEADLINE })?;
    response.map_err(|source| IssuerError::Exchange { url: url(), source })
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}
