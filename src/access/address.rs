//! Networks, and the client address behind load balancers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

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
            let network = network.map_err(|_| format!("`{}` is not a network", part.escape_debug()))?;
            if network.network() == network.addr() {
                Ok(network)
            } else {
                Err(format!("`{part}` has bits beyond its prefix; the network is `{}`", network.trunc()))
            }
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Returns true if the address lies in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        // A socket for both families shows IPv4 peers as `::ffff:10.0.0.1`.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns true for an empty list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `X-Forwarded-For` of a trusted hop holds something that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`x-forwarded-for` of a trusted proxy cannot be read")]
pub struct InvalidForwardedFor;

/// Returns the address of the client: the peer, or the address that trusted proxies state.
///
/// `forwarded` holds the values of `X-Forwarded-For` in their order. Each hop appends the address of its peer, so the list is read
/// from its end, as long as its authors are trusted and for `hops` entries at most.
///
/// SECURITY: a client can be within a trusted network itself. Without a limit of hops, an entry of such a client would be taken
/// for that of a proxy, and the client could choose its address.
///
/// # Errors
/// [`InvalidForwardedFor`].
pub fn client<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &Networks,
    hops: usize,
) -> Result<IpAddr, InvalidForwardedFor> {
    let mut client = peer.to_canonical();
    for entry in forwarded.rev().flat_map(|value| value.rsplit(',')).take(hops) {
        if !trusted.contain(client) {
            break;
        }
        client = address(entry.trim()).ok_or(InvalidForwardedFor)?.to_canonical();
    }
    Ok(client)
}

/// Returns the address by which a client is counted. A client with IPv6 has a network of 64 bits, and with it any number of
/// addresses.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Parses an address, perhaps with a port, as some load balancers add it.
fn address(text: &str) -> Option<IpAddr> {
    let without_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(without_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, forwarded: &[&str], trusted: &str, hops: usize) -> Result<String, InvalidForwardedFor> {
        let trusted = if trusted.is_empty() { Networks::default() } else { Networks::parse(trusted).expect(trusted) };
        client(peer.parse().expect(peer), forwarded.iter().copied(), &trusted, hops).map(|address| address.to_string())
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_hops() {
        let found = |peer, forwarded: &[&str], trusted| client_of(peer, forwarded, trusted, 1).expect("readable");
        assert_eq!(found("203.0.113.9", &["10.0.0.1"], ""), "203.0.113.9", "no proxy is trusted");
        assert_eq!(found("203.0.113.9", &["10.0.0.1"], "10.0.0.0/8"), "203.0.113.9", "the peer is not trusted");
        assert_eq!(found("10.0.0.5", &["198.51.100.7"], "10.0.0.0/8"), "198.51.100.7");
        assert_eq!(
            found("10.0.0.5", &["1.1.1.1, 198.51.100.7"], "10.0.0.0/8"),
            "198.51.100.7",
            "the client's own entry"
        );
        assert_eq!(found("10.0.0.5", &[], "10.0.0.0/8"), "10.0.0.5", "a health check of the proxy itself");
        assert_eq!(found("::ffff:10.0.0.5", &["198.51.100.7:4711"], "10.0.0.0/8"), "198.51.100.7");
        assert_eq!(found("10.0.0.5", &["[2001:db8::1]:443"], "10.0.0.0/8"), "2001:db8::1");
    }

    #[test]
    fn a_client_in_a_trusted_network_cannot_name_itself() {
        let found = |forwarded: &[&str], hops| client_of("10.0.0.5", forwarded, "10.0.0.0/8", hops).expect("readable");
        for forwarded in
            [&["203.0.113.9, 10.0.5.5"][..], &["203.0.113.9", "10.0.5.5"], &["203.0.113.9,10.0.7.7, 10.0.5.5"]]
        {
            assert_eq!(found(forwarded, 1), "10.0.5.5", "{forwarded:?}");
        }
        assert_eq!(found(&["unreadable, 10.0.5.5"], 1), "10.0.5.5", "what is not reached does not matter");
        let chain = ["1.1.1.1", "198.51.100.7, 10.0.0.6"];
        assert_eq!((found(&chain, 2).as_str(), found(&chain, 9).as_str()), ("198.51.100.7", "198.51.100.7"));
        assert_eq!(found(&["10.0.0.7, 10.0.0.6"], 9), "10.0.0.7", "the list may end before the hops do");
    }

    #[test]
    fn an_invalid_entry_of_a_trusted_hop_is_rejected() {
        for text in ["unknown", "", "1.2.3.4.5", "10.0.0.1 10.0.0.2", "localhost"] {
            assert_eq!(client_of("10.0.0.5", &[text], "10.0.0.0/8", 1), Err(InvalidForwardedFor), "{text}");
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
