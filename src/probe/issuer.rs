//! Tests a trusted issuer: its discovery document, its keys, and the difference between its clock and ours.

use std::time::{Duration, SystemTime};

use super::finding::Finding;
use crate::http::client::{ClientError, DialError, Dialer, ServiceClientError};
use crate::issuer::{FetchedKeys, IssuerError, KeySource, TrustedIssuer, fetch};
use crate::{clock, error_chain};

const CHECK: &str = "issuer";

/// Probes one issuer.
pub(super) async fn probe(trusted: &TrustedIssuer, dialer: &Dialer) -> Finding {
    let name = &*trusted.issuer.name;
    match fetch(trusted, dialer).await {
        Ok(fetched) => finding(trusted, &fetched, clock::now()),
        Err(error) => Finding::failure(CHECK, name, error_chain::joined(&error), fix(&error)),
    }
}

fn finding(trusted: &TrustedIssuer, fetched: &FetchedKeys, here: SystemTime) -> Finding {
    let name = &*trusted.issuer.name;
    let from = match &trusted.keys {
        KeySource::Discovery(location) => format!("by way of {}", location.discovery().url()),
        KeySource::Address(location) => format!("at {}", location.url()),
        KeySource::File(path) => format!("in {}", path.display()),
    };
    let count = fetched.keys.len();
    let keys = format!("{count} usable key{} {from}", if count == 1 { "" } else { "s" });
    let skew = fetched.date.map(|there| here.duration_since(there).or_else(|_| there.duration_since(here)));
    let skew = skew.and_then(Result::ok).unwrap_or_default();
    if skew > trusted.issuer.leeway {
        let shown = humantime::format_duration(Duration::from_secs(skew.as_secs()));
        let text = format!("{keys}, but the clocks differ by {shown}, and `leeway` tolerates less");
        return Finding::failure(CHECK, name, text, "synchronise this machine's clock (on EC2 with 169.254.169.123)");
    }
    Finding::ok(CHECK, name, keys)
}

/// Returns the instruction that removes the cause.
fn fix(error: &IssuerError) -> &'static str {
    match error {
        IssuerError::Exchange { source, .. } => match source {
            ServiceClientError::Client(ClientError::Dial(DialError::Tls { .. })) => {
                "set `ca-file` to the certificate authority of the issuer or of the proxy that intercepts TLS"
            }
            ServiceClientError::Client(ClientError::Dial(DialError::Proxy { .. })) => {
                "allow CONNECT to this host in the proxy, or name the host in `NO_PROXY`"
            }
            ServiceClientError::Client(_) => "check `url`, and allow this machine to reach that host",
            ServiceClientError::Body(_) => "check that `url` is an issuer; its documents have up to 256 KiB",
        },
        IssuerError::Timeout { .. } => "check `url`, and allow this machine to reach that host",
        IssuerError::Status { .. } | IssuerError::NotDiscovery => {
            "check `url`; if the issuer has no discovery document, set `keys-url` or `keys-file`"
        }
        IssuerError::OtherIssuer(_) => "set `url` to that issuer, which is also the `iss` of its tokens",
        IssuerError::Location { .. } => "set `keys-url` to the address of the issuer's key set",
        IssuerError::Keys { .. } => "check that `url`, `keys-url` or `keys-file` leads to the issuer's public keys",
        IssuerError::OtherAlgorithms(_) => "set `algorithms` to those with which the issuer signs",
        IssuerError::File { .. } => "save the issuer's key set there, and let this user read it",
    }
}
