//! Sockets that systemd opened before it started this process. Clients can connect to them even during a restart.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use super::command_error::{CommandError, ExitClass};

/// The sockets that systemd passed to this process; none if the process was started in another way.
pub(super) fn listeners(listen: SocketAddr) -> Result<Vec<TcpListener>, CommandError> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let listener = passed.take_tcp_listener(index).and_then(|listener| {
            listener.iter().try_for_each(|listener| listener.set_nonblocking(true)).map(|()| listener)
        });
        listeners
            .extend(listener.map_err(|error| unusable(&format!("a socket that systemd passed is unusable: {error}")))?);
    }
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    // The rules for callers depend on the configured address, so it must be the one that the process listens on.
    if !addresses.is_empty() && !addresses.contains(&listen) {
        let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        return Err(unusable(&format!("`listen` is {listen}, but systemd passed sockets for {}", shown.join(", "))));
    }
    Ok(listeners)
}

fn unusable(what: &str) -> CommandError {
    let hint = "set `ListenStream=` of the socket unit and `listen` to the same address, as in `0.0.0.0:5000`";
    CommandError::of(ExitClass::Configuration, what, Some(hint))
}
