//! The upstream's name: some of its addresses are dead, or it gets other ones.
//!
//! The appliance runs with an `/etc/hosts` of its own, which a test changes meanwhile.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::OWN_MOUNTS;
use crate::support::appliance::{Appliance, Builder};
use crate::support::authority::authority;
use crate::support::upstream::{OK, Upstream, Wire};
use crate::support::{Message as _, eventually, figure};

const NAME: &str = "mlflow.test";

/// A file of addresses that the appliance takes for the machine's.
struct Hosts(tempfile::NamedTempFile);

impl Hosts {
    fn new(addresses: &[&str]) -> Self {
        let hosts = Self(tempfile::NamedTempFile::new().unwrap());
        hosts.set(addresses);
        hosts
    }

    /// Written in place: the file is mounted, and another one would not be seen.
    fn set(&self, addresses: &[&str]) {
        let lines: String = addresses.iter().map(|address| format!("{address} {NAME}\n")).collect();
        let mut file = std::fs::File::create(self.0.path()).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    fn appliance(&self, port: u16, arguments: &[&str]) -> Appliance {
        let mount = format!("mount --bind {} /etc/hosts && exec \"$@\"", self.0.path().display());
        let under = [OWN_MOUNTS, &["sh", "-c", &mount, "sh"]].concat();
        Builder::to(&format!("https://{NAME}:{port}")).with(arguments).under(&under).start()
    }
}

fn server(address: &str, port: u16) -> Upstream {
    let tls = authority().server(NAME, &[]);
    let handler = |_: &_, wire: &mut Wire| wire.send(OK);
    Upstream::at(format!("{address}:{port}").parse().unwrap(), Some(tls), Arc::new(handler))
}

#[track_caller]
fn all_succeed(appliance: &Appliance, count: usize) {
    for number in 0..count {
        let answer = appliance.connect().request("POST", "/x", &[], Some(b"{}"));
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
}

#[test]
#[ignore = "needs tests/run: mount namespaces"]
fn a_dead_address_among_several_is_skipped() {
    let live = server("127.0.0.3", 0);
    let port = live.address().port();
    for addresses in [["127.0.0.2", "127.0.0.3"], ["127.0.0.3", "127.0.0.2"]] {
        all_succeed(&Hosts::new(&addresses).appliance(port, &[]), 5);
    }
    assert_eq!(live.requests().len(), 10, "each was sent once");
}

#[test]
#[ignore = "needs tests/run: mount namespaces"]
fn an_address_that_does_not_respond_costs_a_quarter_of_a_second() {
    let live = server("127.0.0.3", 0);
    let port = live.address().port();
    let silent = Silent::at(format!("127.0.0.2:{port}").parse().unwrap());
    let appliance = Hosts::new(&["127.0.0.2", "127.0.0.3"]).appliance(port, &[]);
    let began = Instant::now();
    all_succeed(&appliance, 1);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    all_succeed(&appliance, 20);
    drop(silent);
    figure(&format!("addresses: one of two swallows everything, the first request took {took:.1?}, none of 21 failed"));
}

#[test]
#[ignore = "needs tests/run: mount namespaces"]
fn a_changed_dns_record_is_followed() {
    let old = server("127.0.0.2", 0);
    let port = old.address().port();
    let new = server("127.0.0.3", port);
    let hosts = Hosts::new(&["127.0.0.2"]);
    let appliance = hosts.appliance(port, &["--upstream-lifetime", "1s"]);
    all_succeed(&appliance, 5);
    assert_eq!((old.requests().len(), new.requests().len()), (5, 0));

    // The old address goes on answering: connections to it are left when they have lived long enough.
    hosts.set(&["127.0.0.3"]);
    let mut sent = 5;
    eventually("requests go to the new address", || {
        all_succeed(&appliance, 1);
        sent += 1;
        !new.requests().is_empty()
    });
    // And one that ends is not missed.
    hosts.set(&["127.0.0.4"]);
    let newest = server("127.0.0.4", port);
    new.stop();
    all_succeed(&appliance, 10);
    sent += 10;
    assert_eq!(newest.requests().len(), 10);
    assert_eq!(old.requests().len() + new.requests().len() + newest.requests().len(), sent, "each was sent once");
    figure(&format!("addresses: a name moved twice, {sent} POSTs, none failed and none was sent twice"));
}

#[test]
#[ignore = "needs tests/run: mount namespaces"]
fn a_name_without_an_address_is_resolved_again_after_a_moment() {
    let live = server("127.0.0.3", 0);
    let hosts = Hosts::new(&[]);
    let appliance = hosts.appliance(live.address().port(), &[]);
    let answer = appliance.get("/x");
    assert_eq!((answer.status, answer.header("x-appliance-error")), (502, "upstream-unresolved"));
    hosts.set(&["127.0.0.3"]);
    all_succeed(&appliance, 5);
    assert_eq!(live.requests().len(), 5);
}

/// An address that takes no connection and refuses none: its queue is full.
struct Silent {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Silent {
    fn at(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(0).unwrap();
        let patience = Duration::from_millis(200);
        let queue = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok()).collect();
        Self { _listener: socket.into(), _queue: queue }
    }
}
