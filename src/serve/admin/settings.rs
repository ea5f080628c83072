//! The settings of the admin listener.

use std::net::SocketAddr;

use crate::access::address::Networks;

/// The settings of the admin listener.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// The address that it binds to.
    pub listen: SocketAddr,
    /// True if the operator configured the address. If not, another program may have the default port, and the appliance starts
    /// without the listener.
    pub is_configured: bool,
    /// The networks that may send requests; only this machine, if it is not set.
    pub networks: Option<Networks>,
    /// The host names that requests may use, besides those of this machine and IP addresses.
    pub names: Vec<String>,
}
