//! Sockets that systemd opened before it started us, so that a restart refuses nobody.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use super::failure::{Class, Failure};

/// The sockets that were passed to this process; none if it was started in another way.
pub(super) fn listeners(listen: SocketAddr) -> Result<Vec<TcpListener>, Failure> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let listener = passed.take_tcp_listener(index).and_then(|listener| {
            listener.iter().try_for_each(|listener| listener.set_nonblocking(true)).map(|()| listener)
        });
        listeners
            .extend(listener.map_err(|error| unusable(&format!("a socket that was passed cannot be used: {error}")))?);
    }
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    // Who may come in depends on the configured address, so it must be the one that is listened on.
    if !addresses.is_empty() && !addresses.contains(&listen) {
        let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        return Err(unusable(&format!(
            "`listen` is {listen}, but the sockets that were passed are {}",
            shown.join(", ")
        )));
    }
    Ok(listeners)
}

fn unusable(what: &str) -> Failure {
    let hint = "make `ListenStream=` of the socket unit and `listen` the same, as in `0.0.0.0:5000`";
    Failure::said(Class::Configuration, what, Some(hint))
}
