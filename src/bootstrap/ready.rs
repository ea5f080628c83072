//! Waits until the appliance on this machine says that it is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::api::Transport;
use crate::causes;
use crate::http::client::Endpoint;

const PATH: &str = "/_appliance/readyz";
const INTERVAL: Duration = Duration::from_millis(100);

/// Where the appliance listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// The address.
    pub address: SocketAddr,
    /// Whether it speaks TLS there. Its certificate is for others' names, so it is only connected to then: systemd starts
    /// `bootstrap signal` after the appliance has said that it is ready.
    pub tls: bool,
}

/// Waits.
///
/// # Errors
/// What the appliance said last, after the deadline.
pub(super) async fn wait(door: &Door, transport: &Transport, deadline: Instant) -> Result<(), String> {
    let here = match door.address.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    let port = door.address.port();
    loop {
        let reason = if door.tls {
            match TcpStream::connect((here, port)).await {
                Ok(_) => return Ok(()),
                Err(error) => error.to_string(),
            }
        } else {
            let endpoint = Endpoint { tls: false, host: here.to_string(), port };
            match transport.exchange(&endpoint, Method::GET, PATH, HeaderMap::new(), Bytes::new()).await {
                Ok(answer) if answer.status == StatusCode::OK => return Ok(()),
                Ok(answer) => said(&answer.body),
                Err(error) => causes::joined(&error),
            }
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
