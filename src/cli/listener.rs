//! The settings of the listeners: the one for callers, its TLS, and the admin listener.

use std::net::{Ipv4Addr, SocketAddr};

use super::options::{ListenerOptions, RawValue, TelemetryOptions, ValueOrigin};
use super::problems::Problems;
use super::values;
use crate::access::address::Networks;
use crate::error_chain;
use crate::http::tls::server::{ServerFiles, ServerTls};
use crate::serve::AdminSettings;

/// The address of AWS's sample and of MLflow itself.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);
/// A port close to it that no other known program uses.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5090);

/// The address for callers.
pub(super) fn listen(options: &ListenerOptions, problems: &mut Problems) -> SocketAddr {
    const HINT: &str = "write an address and a port, as in `127.0.0.1:5000`, `0.0.0.0:5000` or `[::1]:5000`";
    problems.read(options.listen.as_ref(), HINT, values::address).unwrap_or(DEFAULT_LISTEN)
}

/// The admin listener; none if it is switched off.
pub(super) fn admin(options: &TelemetryOptions, listen: SocketAddr, problems: &mut Problems) -> Option<AdminSettings> {
    const HINT: &str = "write an address and a port, as in `127.0.0.1:5090`, or `off`";
    let given = options.admin_listen.as_ref();
    let is_off = given.is_some_and(|given| given.text == "off");
    let explicit = if is_off { None } else { problems.read(given, HINT, values::address) };
    let networks =
        problems.read(options.admin_networks.as_ref(), "write networks like `10.0.0.0/8,192.0.2.1`", Networks::parse);
    let address = explicit.unwrap_or(DEFAULT_ADMIN);
    if let Some(given) = given.filter(|_| !is_off) {
        if networks.is_none() && options.admin_networks.is_none() && !address.ip().is_loopback() {
            // SECURITY: paths and names of targets are for operators, not for everyone who can connect.
            problems.add(
                &given.origin,
                format!("other machines can connect to `{address}`, and `admin-networks` does not limit which"),
                "set `admin-networks` to those of your monitoring, or listen on 127.0.0.1",
            );
        }
        if address == listen && address.port() != 0 {
            problems.add(&given.origin, "this is the same address as `listen`", HINT);
        }
    }
    if let (Some(given), true) = (&options.admin_networks, is_off || address.ip().is_loopback()) {
        let text = "this has no effect, because other machines cannot connect to the admin listener";
        let hint = "set `admin-listen` to an address that those networks can reach, or remove `admin-networks`";
        problems.add(&given.origin, text, hint);
    }
    (!is_off).then(|| AdminSettings { listen: address, is_configured: explicit.is_some(), networks, names: Vec::new() })
}

/// The listener's TLS; none if it is off, or after adding a problem.
pub(super) fn tls(options: &ListenerOptions, problems: &mut Problems) -> Option<ServerTls> {
    let required =
        problems.read(options.tls_client_certificate.as_ref(), "write `optional` or `required`", |text| match text {
            "optional" => Ok(false),
            "required" => Ok(true),
            _ => Err("neither `optional` nor `required`".to_owned()),
        });
    let needs = |given: &Option<RawValue>, other: &Option<RawValue>, name: &str, problems: &mut Problems| {
        if let (Some(given), None) = (given, other) {
            let text = format!("this has no effect without `{name}`");
            problems.add(&given.origin, text, format!("set `{name}`, or remove this option"));
        }
    };
    needs(&options.tls_client_certificate, &options.tls_client_ca, "tls-client-ca", problems);
    needs(&options.tls_client_ca, &options.tls_certificate, "tls-certificate", problems);
    needs(&options.tls_key, &options.tls_certificate, "tls-certificate", problems);
    needs(&options.tls_certificate, &options.tls_key, "tls-key", problems);
    let mut path =
        |given: &Option<RawValue>| given.as_ref().and_then(|given| problems.file(given, "name a readable PEM file"));
    let files = ServerFiles {
        certificate: path(&options.tls_certificate)?,
        key: path(&options.tls_key)?,
        client_authorities: path(&options.tls_client_ca),
        is_client_certificate_required: required.unwrap_or(false),
    };
    let origin = ValueOrigin::of(options.tls_certificate.as_ref());
    let hint = "name PEM files that this user may read, and a key that belongs to the certificate";
    ServerTls::load(files).map_err(|error| problems.add_local(origin, error_chain::joined(&error), hint)).ok()
}
