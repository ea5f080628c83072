//! No free file descriptors: existing connections stay, and new ones are accepted as soon as descriptors are free again.

use std::net::TcpStream;

use crate::support::appliance::{Appliance, Builder};
use crate::support::upstream::Upstream;
use crate::support::{eventually, figure};

const ROUNDS: usize = 3;

/// Returns the number of reports that there was no descriptor for a new connection.
fn complaints(appliance: &Appliance) -> usize {
    appliance.log().matches("cannot accept connections").count()
}

#[test]
fn a_process_without_free_descriptors_recovers() {
    let upstream = Upstream::ok();
    let limit = ["sh", "-c", "ulimit -n 96; exec \"$@\"", "sh"];
    let appliance = Builder::new(&upstream).under(&limit).start();
    let mut inside = appliance.connect();
    assert_eq!(inside.get("/x").status, 200);
    let lines = appliance.log().lines().count();
    let mut most = 0;
    for round in 0..ROUNDS {
        let crowd: Vec<TcpStream> = (0..120).map(|_| TcpStream::connect(appliance.address()).unwrap()).collect();
        eventually("there are none left", || appliance.descriptors() >= 94);
        most = most.max(appliance.descriptors());
        // The connected caller has a connection to the upstream already, and goes on.
        for _ in 0..20 {
            assert_eq!(inside.request("POST", "/x", &[], Some(b"{}")).status, 200, "{round}");
        }
        eventually("it reports the shortage", || complaints(&appliance) > round);
        drop(crowd);
        assert_eq!(appliance.get("/x").status, 200, "{round}: others get in again");
        eventually("they are given back", || appliance.descriptors() < 40);
    }
    let noise = appliance.log().lines().count() - lines;
    assert!(noise < 300, "{noise} lines in the log for {ROUNDS} shortages");
    figure(&format!(
        "descriptors: none left {ROUNDS} times ({most} of 96 open), {} requests went on; healed",
        20 * ROUNDS
    ));
}

#[test]
fn a_lack_of_descriptors_for_upstream_connections_causes_a_502_until_it_ends() {
    let upstream = Upstream::ok();
    let limit = ["sh", "-c", "ulimit -n 96; exec \"$@\"", "sh"];
    let appliance = Builder::new(&upstream).under(&limit).start();
    // It is in, and has no connection to the upstream yet: nothing that it could give back and take again.
    let mut inside = appliance.connect();
    assert_eq!(inside.get("/_appliance/healthz").status, 200);
    let crowd: Vec<TcpStream> = (0..120).map(|_| TcpStream::connect(appliance.address()).unwrap()).collect();
    // From then on, no worker is about to take a descriptor.
    eventually("there are none left", || complaints(&appliance) > 0);
    assert_eq!(inside.get("/x").status, 502);
    drop(crowd);
    eventually("it heals", || inside.get("/x").status == 200);
}
