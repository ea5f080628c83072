//! The upstream's certificate: renewed while connections are open, expired, and renewed too late.

use crate::support::appliance::Builder;
use crate::support::authority::authority;
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, figure};

#[test]
fn a_renewed_certificate_interrupts_no_request() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).start();
    let mut caller = appliance.connect();
    let mut sent = 0;
    for _ in 0..10 {
        upstream.present(authority().server("localhost", &[]));
        for _ in 0..5 {
            assert_eq!(caller.request("POST", "/x", &[], Some(b"{}")).status, 200);
            sent += 1;
        }
        // This is what happens after a deployment: the old connections end, and the next ones get the new certificate.
        upstream.disconnect();
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (sent, 10));
    figure(&format!("certificates: renewed 10 times, {sent} POSTs, none failed and none was sent twice"));
}

#[test]
fn an_expired_certificate_is_not_retried_and_a_renewal_ends_the_outage() {
    let upstream = Upstream::with_tls(authority().server_until("localhost", &[], 2024), |_, wire| wire.send(OK));
    let appliance = Builder::new(&upstream).start();
    for number in 1..=3 {
        let answer = appliance.get("/x");
        assert_eq!((answer.status, answer.header("x-appliance-error")), (502, "upstream-tls"));
        assert_eq!(upstream.connections(), number, "a request to an untrusted server is not retried");
    }
    assert!(appliance.log().contains("expired"), "the log says why: {}", appliance.log());
    assert_eq!(upstream.requests().len(), 0, "nothing was sent to it");
    upstream.present(authority().server("localhost", &[]));
    assert_eq!(appliance.get("/x").status, 200, "healed");
    assert_eq!(upstream.requests().len(), 1);
}
