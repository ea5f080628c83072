//! Waits until the appliance on this machine says that it is ready.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep};

use crate::api::{ApiError, Transport};
use crate::error_chain;
use crate::http::client::{ClientError, Dialer, Endpoint};
use crate::http::fields::Fields;
use crate::http::tls::pinned;

const PATH: &str = "/_appliance/readyz";
const INTERVAL: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(5);

/// Where the appliance listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The address.
    pub address: SocketAddr,
    /// The certificate that it presents there, if it speaks TLS.
    pub certificate: Option<CertificateDer<'static>>,
    /// Whether it answers only to holders of certificates, of which we are none.
    pub is_closed_to_us: bool,
}

impl fmt::Display for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", if self.certificate.is_some() { "https" } else { "http" }, self.address)
    }
}

/// Waits.
///
/// # Errors
/// What the appliance said last, after the deadline.
pub(super) async fn wait(door: &Door, transport: &Transport, deadline: Instant) -> Result<(), String> {
    let host = match door.address.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    let endpoint = Endpoint { tls: door.certificate.is_some(), host: host.to_string(), port: door.address.port() };
    let mut transport = transport.clone();
    if let Some(certificate) = &door.certificate {
        let tls = pinned::client_config(certificate.clone());
        transport.dialer = Dialer::new(endpoint.clone(), &tls, LIMIT, LIMIT);
    }
    loop {
        let reason = match transport.exchange(&endpoint, Method::GET, PATH, Fields::new(), Bytes::new()).await {
            Ok(answer) if answer.status == StatusCode::OK => return Ok(()),
            Ok(answer) => said(&answer.body),
            // Nobody else has its key, so it is there; more it does not tell us. systemd runs this after it was ready.
            Err(ApiError::Client(error)) if door.is_closed_to_us && !matches!(error, ClientError::Dial(_)) => {
                return Ok(());
            }
            Err(error) => error_chain::joined(&error),
        };
        if Instant::now() + INTERVAL >= deadline {
            return Err(format!("the appliance is not ready: {reason}"));
        }
        sleep(INTERVAL).await;
    }
}

fn said(body: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    answer["reason"].as_str().unwrap_or("it does not say why").to_owned()
}
