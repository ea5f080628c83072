//! Tests an endpoint: its name, a connection, TLS, and the difference between its clock and ours.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use actix_web::http::Method;
use actix_web::http::header;
use bytes::Bytes;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use super::finding::Finding;
use super::settings::PROBE_LIMIT;
use crate::api::{ApiError, Transport};
use crate::http::client::{ClientError, DialError, Endpoint, TunnelError};
use crate::http::fields::Fields;
use crate::{clock, error_chain};

/// AWS rejects older signatures.
const SKEW_LIMIT: Duration = Duration::from_mins(5);
/// A skew of this size deserves a warning, because it grows by itself.
const SKEW_WARNING: Duration = Duration::from_secs(30);

/// Probes one endpoint. After a step that fails, the later ones do not run.
pub(super) async fn probe(purpose: &str, endpoint: &Endpoint, transport: &Transport) -> Vec<Finding> {
    let host = endpoint.host.as_str();
    let began = Instant::now();
    let mut findings = Vec::new();
    let mut note = |finding: Finding, began: Instant| findings.push(Finding { took: began.elapsed(), ..finding });

    let proxy = transport.dialer.to(endpoint.clone()).proxy().cloned();
    if let Some(proxy) = &proxy {
        // The proxy resolves the name.
        note(Finding::ok("proxy", host, format!("{purpose}: through the proxy {proxy}")), began);
    } else {
        let addresses = match timeout(PROBE_LIMIT, lookup_host((host, endpoint.port))).await {
            Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect::<Vec<_>>(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        if addresses.is_empty() {
            let text = format!("{purpose}: that name has no address");
            let fix =
                "check the region in the ARN, and that this machine can resolve names (in a VPC: `enableDnsSupport`)";
            note(Finding::failure("name", host, text, fix), began);
            return findings;
        }
        note(Finding::ok("name", host, format!("{purpose}: {}", described(&addresses))), began);
    }

    let began = Instant::now();
    let request = transport.exchange(endpoint, Method::GET, "/", Fields::new(), Bytes::new());
    let (here, answer) = match timeout(PROBE_LIMIT, request).await {
        Ok(Ok(answer)) => (clock::now(), answer),
        Ok(Err(error)) => {
            note(unreachable(host, &error), began);
            return findings;
        }
        Err(_) => {
            let fix = "allow connections to this port in this machine's security group and routes";
            note(Finding::failure("connection", host, format!("no answer within {PROBE_LIMIT:?}"), fix), began);
            return findings;
        }
    };
    let how = if endpoint.tls { "answers over TLS, with a certificate that is trusted" } else { "answers" };
    note(Finding::ok("connection", host, how), began);

    let date = answer.headers.get(header::DATE).and_then(|date| date.to_str().ok());
    if let Some(there) = date.and_then(|date| httpdate::parse_http_date(date).ok()) {
        note(clocks(host, here, there), began);
    }
    findings
}

/// Describes the addresses and the route to them.
fn described(addresses: &[IpAddr]) -> String {
    let is_private = |address: &IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local(),
    };
    let shown = addresses.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if addresses.iter().all(IpAddr::is_loopback) {
        format!("this machine ({shown})")
    } else if addresses.iter().all(is_private) {
        format!("private addresses, by a VPC endpoint ({shown})")
    } else {
        format!("public addresses, by the internet ({shown})")
    }
}

fn unreachable(host: &str, error: &ApiError) -> Finding {
    let text = error_chain::joined(error);
    let fix = match error {
        ApiError::Client(ClientError::Dial(DialError::Tls { .. })) => {
            "set `ca-file` to the certificate authority of the proxy that intercepts TLS, and check this machine's clock"
        }
        ApiError::Client(ClientError::Dial(DialError::Proxy { source: TunnelError::Unreachable(_), .. })) => {
            "check `HTTPS_PROXY` and that the proxy runs, or name the host in `NO_PROXY`"
        }
        ApiError::Client(ClientError::Dial(DialError::Proxy { .. })) => {
            "allow CONNECT to this host in the proxy, put user and password into `HTTPS_PROXY` if it requires them, or name the \
             host in `NO_PROXY`"
        }
        ApiError::Client(ClientError::Dial(_)) if is_this_machine(host) => {
            "start the server that listens there, or correct the address"
        }
        ApiError::Client(ClientError::Dial(_)) => {
            "allow connections to this port in this machine's security group and routes; for a VPC endpoint, check its \
             own security group as well"
        }
        _ => "check for a proxy or a firewall between this machine and AWS that closes connections",
    };
    Finding::failure("connection", host, text, fix)
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn clocks(host: &str, here: SystemTime, there: SystemTime) -> Finding {
    let skew = here.duration_since(there).or_else(|_| there.duration_since(here)).unwrap_or_default();
    // `Date` has whole seconds, and the response took time to arrive.
    let shown = humantime::format_duration(Duration::from_secs(skew.as_secs()));
    let fix = "synchronise this machine's clock (on EC2 with 169.254.169.123)";
    if skew >= SKEW_LIMIT {
        let text = format!("this machine's clock is off by {shown}; AWS refuses signatures beyond 5 minutes");
        Finding::failure("clock", host, text, fix)
    } else if skew >= SKEW_WARNING {
        Finding::warning("clock", host, format!("this machine's clock is off by {shown}"), fix)
    } else {
        Finding::ok("clock", host, "this machine's clock agrees")
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::ProbeOutcome;
    use super::*;

    #[test]
    fn addresses_are_described_by_their_route() {
        let described = |text: &str| {
            let addresses: Vec<IpAddr> = text.split(' ').map(|text| text.parse().expect(text)).collect();
            super::described(&addresses).split(' ').next().unwrap_or_default().to_owned()
        };
        assert_eq!(described("10.0.1.7 10.0.2.9"), "private");
        assert_eq!(described("fd00::1"), "private");
        assert_eq!(described("127.0.0.1"), "this");
        assert_eq!(described("52.1.2.3"), "public");
        assert_eq!(described("10.0.0.1 52.1.2.3"), "public");
    }

    #[test]
    fn clock_skew_is_compared_with_the_life_of_a_signature() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        for (seconds, expected) in [
            (0, ProbeOutcome::Ok),
            (29, ProbeOutcome::Ok),
            (30, ProbeOutcome::Warning),
            (299, ProbeOutcome::Warning),
            (300, ProbeOutcome::Failure),
        ] {
            let skew = Duration::from_secs(seconds);
            assert_eq!(clocks("h", now + skew, now).outcome, expected, "{seconds} ahead");
            assert_eq!(clocks("h", now, now + skew).outcome, expected, "{seconds} behind");
        }
    }
}
