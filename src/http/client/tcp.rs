//! A TCP connection to a name that may have several addresses.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dial_error::DialError;

/// The head start of an address before the next one is tried beside it (RFC 8305 §8): of several addresses, one that does
/// not even refuse must not use up the time for all.
const HEAD_START: Duration = Duration::from_millis(250);
/// A dead peer is noticed after this long, even if nothing but acknowledgements is missing.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(30);
/// Idle connections are probed this often, so that middleboxes keep them and lost peers are noticed.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Opens a TCP connection.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|source| DialError::Resolve { host: host.to_owned(), source })?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut waiting = addresses.fuse();
    let mut attempts = FuturesUnordered::new();
    loop {
        let next = waiting.next();
        let is_last = next.is_none();
        attempts.extend(next.map(TcpStream::connect));
        let ended = if is_last {
            attempts.next().await
        } else {
            // An attempt that takes longer than its head start goes on beside the next one.
            let Ok(ended) = timeout(HEAD_START, attempts.next()).await else { continue };
            ended
        };
        match ended {
            Some(Ok(stream)) => {
                tune(&stream);
                return Ok(stream);
            }
            Some(Err(error)) => last = error,
            None => break,
        }
    }
    Err(DialError::Connect { authority: format!("{host}:{port}"), source: last })
}

/// Sets the socket options of a connection. If the kernel rejects one of them, the connection works without it.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(PROBE_INTERVAL).with_interval(PROBE_INTERVAL / 3);
    // Nagle would hold back the end of a request until the head is acknowledged.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
}
