//! Runs an HTTP/2 connection, and gives it up when its peer is gone.

use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use crate::http::client::peer::Watched;

/// A connection that does not answer a ping in this time is given up, and with it every request on it.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a connection until it ends or no longer answers pings. Dropping it fails the requests that are on it.
pub(super) async fn drive(connection: Connection<Watched, Bytes>, mut pings: PingPong) {
    let watch = async {
        loop {
            sleep(PING_INTERVAL).await;
            if !matches!(timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
                return;
            }
        }
    };
    // Cancelling either side is the point: there is nothing left to do for the other.
    tokio::select! {
        _ = connection => {}
        () = watch => {}
    }
}
