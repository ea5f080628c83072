//! Networks, and whose request it is behind load balancers.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// A list of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads a comma-separated list of networks (`10.0.0.0/8`) and addresses.
    ///
    /// # Errors
    /// The part that is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let part = part.trim();
            let network = part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
            let network = network.map_err(|_| format!("`{}` is no network", part.escape_debug()))?;
            if network.network() == network.addr() {
                Ok(network)
            } else {
                Err(format!("`{part}` has bits beyond its prefix; the network is `{}`", network.trunc()))
            }
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }

    /// True if the address lies in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        // A socket for both families shows IPv4 peers as `::ffff:10.0.0.1`.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// True for a list with nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `X-Forwarded-For` of a trusted hop holds something that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`x-forwarded-for` of a trusted proxy cannot be read")]
pub struct Unreadable;

/// The address of the client: the last one on the way here that is not a trusted proxy.
///
/// `forwarded` holds the values of `X-Forwarded-For` in their order. Each hop appends whom it heard, so the list is read
/// from its end, and only as far as those who wrote it are trusted: what a client itself put there is never reached.
///
/// # Errors
/// [`Unreadable`].
pub fn client<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &Networks,
) -> Result<IpAddr, Unreadable> {
    let mut client = peer.to_canonical();
    let mut entries = forwarded.rev().flat_map(|value| value.rsplit(','));
    while trusted.contain(client) {
        let Some(entry) = entries.next() else { break };
        client = address(entry.trim()).ok_or(Unreadable)?.to_canonical();
    }
    Ok(client)
}

/// An address, perhaps with a port, as some load balancers add it.
fn address(text: &str) -> Option<IpAddr> {
    let without_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(without_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, forwarded: &[&str], trusted: &str) -> Result<String, Unreadable> {
        let trusted = if trusted.is_empty() { Networks::default() } else { Networks::parse(trusted).expect(trusted) };
        client(peer.parse().expect(peer), forwarded.iter().copied(), &trusted).map(|address| address.to_string())
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_hops() {
        let found = |peer, forwarded: &[&str], trusted| client_of(peer, forwarded, trusted).expect("readable");
        assert_eq!(found("203.0.113.9", &["10.0.0.1"], ""), "203.0.113.9", "nobody is trusted");
        assert_eq!(found("203.0.113.9", &["10.0.0.1"], "10.0.0.0/8"), "203.0.113.9", "the peer is not");
        assert_eq!(found("10.0.0.5", &["198.51.100.7"], "10.0.0.0/8"), "198.51.100.7");
        assert_eq!(
            found("10.0.0.5", &["1.1.1.1, 198.51.100.7"], "10.0.0.0/8"),
            "198.51.100.7",
            "the client's own entry"
        );
        assert_eq!(found("10.0.0.5", &["1.1.1.1", "198.51.100.7, 10.0.0.6"], "10.0.0.0/8"), "198.51.100.7");
        assert_eq!(found("10.0.0.5", &[], "10.0.0.0/8"), "10.0.0.5", "a health check of the proxy itself");
        assert_eq!(found("::ffff:10.0.0.5", &["198.51.100.7:4711"], "10.0.0.0/8"), "198.51.100.7");
        assert_eq!(found("10.0.0.5", &["[2001:db8::1]:443"], "10.0.0.0/8"), "2001:db8::1");
    }

    #[test]
    fn nonsense_from_a_trusted_hop_is_not_guessed_at() {
        for text in ["unknown", "", "1.2.3.4.5", "10.0.0.1 10.0.0.2", "localhost"] {
            assert_eq!(client_of("10.0.0.5", &[text], "10.0.0.0/8"), Err(Unreadable), "{text}");
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        let networks = Networks::parse("10.0.0.0/8, 192.0.2.1,2001:db8::/32").expect("networks");
        for (address, inside) in
            [("10.255.0.1", true), ("192.0.2.1", true), ("192.0.2.2", false), ("2001:db8::9", true), ("::1", false)]
        {
            assert_eq!(networks.contain(address.parse().expect(address)), inside, "{address}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "corp", "10.0.0.0/8,"] {
            assert!(Networks::parse(text).is_err(), "{text}");
        }
    }
}
