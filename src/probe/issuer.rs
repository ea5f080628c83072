//! Tests a trusted issuer: its discovery document, its keys, its clock, and the addresses at which people sign in.

use std::time::{Duration, SystemTime};

use actix_web::http::StatusCode;
use tokio::time::Instant;

use super::finding::Finding;
use crate::counted::counted;
use crate::http::client::{ClientError, DialError, Dialer, ServiceClientError};
use crate::issuer::{DiscoveryDocument, FetchedKeys, IssuerError, KeySource, Location, TrustedIssuer, fetch, reach};
use crate::{clock, error_chain};

const CHECK: &str = "issuer";
const ENDPOINT: &str = "endpoint";

/// The keys in the discovery document with the addresses for people who sign in, and whether a sign-in needs them.
const ENDPOINTS: [(&str, bool); 4] = [
    ("authorization_endpoint", true),
    ("token_endpoint", true),
    ("userinfo_endpoint", false),
    ("end_session_endpoint", false),
];

/// Probes the keys of one issuer. Returns its discovery document as well, if there is one.
pub(super) async fn probe(trusted: &TrustedIssuer, dialer: &Dialer) -> (Finding, Option<DiscoveryDocument>) {
    let name = &*trusted.issuer.name;
    match fetch(trusted, dialer).await {
        Ok(fetched) => (finding(trusted, &fetched, clock::now()), fetched.discovery),
        Err(error) => (Finding::failure(CHECK, name, error_chain::joined(&error), fix(&error)), None),
    }
}

/// Probes the addresses that a sign-in needs, each with one request without credentials. A response of any status is fine, because
/// a request without the parameters of a sign-in is an error there.
pub(super) async fn probe_endpoints(name: &str, document: &DiscoveryDocument, dialer: &Dialer) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, is_needed) in ENDPOINTS {
        if !is_needed && document.get(key).is_none() {
            continue;
        }
        let began = Instant::now();
        let finding = match document.location(key) {
            Ok(location) => match reach(&location, dialer).await {
                Ok(status) => answered(name, key, &location, status),
                // Something answers there; a sign-in reads other responses than this one.
                Err(IssuerError::Exchange { source: ServiceClientError::Body(_), .. }) => {
                    Finding::ok(ENDPOINT, name, format!("{key}: {} answers", location.url()))
                }
                Err(error) => {
                    let hint = "allow this machine to reach that host, by HTTPS or by way of `HTTPS_PROXY`; people cannot sign in \
                                or out without it";
                    Finding::failure(ENDPOINT, name, format!("{key}: {}", error_chain::joined(&error)), hint)
                }
            },
            Err(error) => {
                let hint = "check the issuer's discovery document; people cannot sign in with it";
                Finding::failure(ENDPOINT, name, error_chain::joined(&error), hint)
            }
        };
        findings.push(Finding { took: began.elapsed(), ..finding });
    }
    findings
}

fn answered(name: &str, key: &str, location: &Location, status: StatusCode) -> Finding {
    Finding::ok(ENDPOINT, name, format!("{key}: {} answers ({})", location.url(), status.as_u16()))
}

fn finding(trusted: &TrustedIssuer, fetched: &FetchedKeys, here: SystemTime) -> Finding {
    let name = &*trusted.issuer.name;
    let from = match &trusted.keys {
        KeySource::Discovery(location) => format!("by way of {}", location.discovery().url()),
        KeySource::Address(location) => format!("at {}", location.url()),
        KeySource::File(path) => format!("in {}", path.display()),
    };
    let keys = format!("{} {from}", counted(fetched.keys.len(), "usable key"));
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
