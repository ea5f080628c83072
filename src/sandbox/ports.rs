//! Ports for the programs that the sandbox starts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::error::SandboxError;

/// Returns a port for a program that takes seconds to listen on it. The port is below those that the system assigns by itself,
/// so that no other program gets it meanwhile.
pub(super) fn quiet_port() -> io::Result<u16> {
    const ATTEMPTS: usize = 100;
    const RANGE: std::ops::Range<u16> = 20_000..32_000;
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let mut bytes = [0; 2];
        SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no randomness"))?;
        match free_port(RANGE.start + u16::from_ne_bytes(bytes) % (RANGE.end - RANGE.start)) {
            Ok(port) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Returns a port, if no program listens on it.
pub(super) fn free_port(port: u16) -> io::Result<u16> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(TcpListener::bind(address)?.local_addr()?.port())
}

/// Returns the first of two ports for another appliance, a multiple of ten after `port`, so that it is easy to remember.
pub(super) fn free_pair(port: u16) -> Result<u16, SandboxError> {
    const ATTEMPTS: u16 = 50;
    let candidates =
        (1..=ATTEMPTS).filter_map(|number| port.checked_add(10 * number)).filter(|first| *first < u16::MAX);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for first in candidates {
        match free_port(first).and_then(|_| free_port(first + 1)) {
            Ok(_) => return Ok(first),
            Err(error) => last = error,
        }
    }
    Err(SandboxError::Port { port: port.saturating_add(10), source: last })
}
