//! Waits until the appliance on this machine reports that it is ready.

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

/// The address on which the appliance listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The IP address and the port.
    pub address: SocketAddr,
    /// The certificate that the appliance presents, if it uses TLS.
    pub certificate: Option<CertificateDer<'static>>,
    /// True if the appliance requires a client certificate, which bootstrap does not have.
    pub requires_client_certificate: bool,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", if self.certificate.is_some() { "https" } else { "http" }, self.address)
    }
}

/// Waits until the appliance is ready.
///
/// # Errors
/// The last reason that the appliance gave, after the deadline.
pub(super) async fn wait(listen: &ListenAddress, transport: &Transport, deadline: Instant) -> Result<(), String> {
    let host = match listen.address.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    let endpoint = Endpoint { tls: listen.certificate.is_some(), host: host.to_string(), port: listen.address.port() };
    let mut transport = transport.clone();
    if let Some(certificate) = &listen.certificate {
        let tls = pinned::client_config(certificate.clone());
        transport.dialer = Dialer::new(endpoint.clone(), &tls, LIMIT, LIMIT);
    }
    loop {
        let reason = match transport.exchange(&endpoint, Method::GET, PATH, Fields::new(), Bytes::new()).await {
            Ok(answer) if answer.status == StatusCode::OK => return Ok(()),
            Ok(answer) => reason_in(&answer.body),
            // Only the appliance has the key of the certificate, so it answers, although it rejects us. systemd runs this command
            // after the appliance was ready.
            Err(ApiError::Client(error))
                if listen.requires_client_certificate && !matches!(error, ClientError::Dial(_)) =>
            {
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

fn reason_in(body: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    answer["reason"].as_str().unwrap_or("no reason given").to_owned()
}
