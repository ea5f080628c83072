//! A connection through an HTTP proxy (RFC 9110 §9.3.6). The traffic in it is encrypted from end to end, so the proxy sees
//! the name of the host and no more.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::dial_error::{DialError, TunnelError};
use super::endpoint::Endpoint;
use super::tcp::connect;
use crate::error_chain;
use crate::proxy::Proxy;

/// The longest head of an answer. Bytes.
const HEAD_LIMIT: usize = 8 * 1024;

/// Opens a connection to an endpoint through a proxy.
pub(super) async fn through(proxy: &Proxy, endpoint: &Endpoint) -> Result<TcpStream, DialError> {
    let Endpoint { host, port, .. } = endpoint;
    let opened = async {
        let reached = connect(&proxy.host, proxy.port).await;
        let mut tcp = reached.map_err(|error| TunnelError::Unreachable(error_chain::joined(&error)))?;
        tcp.write_all(proxy.connect(host, *port).as_bytes()).await.map_err(TunnelError::Broken)?;
        let head = head(&mut tcp).await?;
        match status(&head).ok_or(TunnelError::Invalid)? {
            (200..=299, _) => Ok(tcp),
            (status, reason) => Err(TunnelError::Refused { status, reason }),
        }
    };
    opened.await.map_err(|source| DialError::Proxy {
        proxy: proxy.to_string(),
        authority: format!("{host}:{port}"),
        source,
    })
}

/// The head of the answer. Nothing follows it: in TLS, the client speaks first.
async fn head(tcp: &mut TcpStream) -> Result<Vec<u8>, TunnelError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_LIMIT {
            return Err(TunnelError::Invalid);
        }
        // SECURITY: byte by byte, so that bytes behind the head are left to TLS and never taken for a part of the head.
        head.push(tcp.read_u8().await.map_err(TunnelError::Broken)?);
    }
    Ok(head)
}

/// Status and reason of an answer.
fn status(head: &[u8]) -> Option<(u16, String)> {
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next()?).into_owned();
    let rest = line.strip_prefix("HTTP/1.")?.get(1..)?.strip_prefix(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    // SECURITY: the proxy's text may contain control characters.
    let reason: String = reason.chars().filter(|one| !one.is_control()).take(100).collect();
    let reason = if reason.is_empty() { reason } else { format!(" {reason}") };
    is_status.then(|| status.parse().ok().map(|status| (status, reason))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_reason() {
        for (head, expected) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Some((200, " Connection established"))),
            (
                "HTTP/1.0 407 Proxy Authentication Required\r\nX: y\r\n\r\n",
                Some((407, " Proxy Authentication Required")),
            ),
            ("HTTP/1.1 403\r\n\r\n", Some((403, ""))),
            ("HTTP/1.1 503 a\u{1b}[2Jb\r\n\r\n", Some((503, " a[2Jb"))),
            ("HTTP/2 200 OK\r\n\r\n", None),
            ("HTTP/1.1 20 OK\r\n\r\n", None),
            ("HTTP/1.1 +20 OK\r\n\r\n", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("\r\n\r\n", None),
        ] {
            assert_eq!(status(head.as_bytes()), expected.map(|(status, reason)| (status, reason.to_owned())), "{head}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_read(line in "(HTTP/1[.][01 ]? ?)?[0-9+]{0,4}[ ]?.{0,200}", rest in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let head = [line.as_bytes(), &rest[..], b"\r\n\r\n"].concat();
            if let Some((status, reason)) = status(&head) {
                proptest::prop_assert!(head.starts_with(b"HTTP/1.") && status < 1000, "{}", status);
                proptest::prop_assert!(reason.chars().count() <= 101 && !reason.contains(char::is_control), "{}", reason);
            }
        }
    }
}
