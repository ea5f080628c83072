//! `appliance healthcheck`: asks the appliance on this machine whether it is alive, for containers and service managers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;

use super::command_error::{CommandError, ExitClass};
use super::options::RawValue;
use super::output::show;
use super::problems::Problems;
use super::trust::Trust;
use super::{examples, file, values};
use crate::api::Transport;
use crate::error_chain;
use crate::http::client::{Dialer, Endpoint};
use crate::http::fields::Fields;

const ADMIN_LISTEN: &str = "127.0.0.1:5090";
const LISTEN: &str = "127.0.0.1:5000";
/// The pages of the admin listener for liveness and readiness.
const ADMIN_PAGES: [&str; 2] = ["/livez", "/readyz"];
/// The same at the listener for callers.
const PAGES: [&str; 2] = ["/_appliance/healthz", "/_appliance/readyz"];
const HINT_URL: &str = "write a URL like `http://127.0.0.1:5090/livez`";

/// Ask the running appliance whether it is alive, as the health check of a container
///
/// Without a URL, the command asks the appliance of this machine, by the file and the variables of `appliance serve`: at its
/// admin listener if that has an address of its own, otherwise at its listener.
#[derive(Debug, clap::Args)]
#[command(after_help = examples::HEALTHCHECK)]
pub(super) struct Healthcheck {
    /// The URL to ask, with or without a path
    url: Option<String>,
    /// Ask whether requests can be signed and forwarded, instead of whether the process answers
    #[arg(long, conflicts_with = "url")]
    ready: bool,
    /// The longest wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = values::duration)]
    timeout: Duration,
    /// The TOML file with the options of `appliance serve`
    #[arg(long, env = "APPLIANCE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address of the listener, as in `serve --listen`
    #[arg(long, env = "APPLIANCE_LISTEN", hide = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The address of the admin listener, as in `serve --admin-listen`
    #[arg(long, env = "APPLIANCE_ADMIN_LISTEN", hide = true, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// The PEM file of certificate authorities to trust in addition to the system's
    #[arg(long, env = "APPLIANCE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Healthcheck {
    /// Asks once. The exit code says whether the answer was 200.
    pub(super) fn run(self) -> Result<(), CommandError> {
        let (endpoint, path) = self.question()?;
        let Trust { tls, .. } = Trust::read(self.ca_file.as_deref())?;
        // No proxy is on the way to this machine.
        let dialer = Dialer::new(endpoint.clone(), &tls, self.timeout, self.timeout);
        let transport = Transport { dialer, exchange_timeout: self.timeout };
        let exchange = transport.exchange(&endpoint, Method::GET, &path, Fields::new(), Bytes::new());
        let place = format!("{}://{}{path}", if endpoint.tls { "https" } else { "http" }, endpoint.authority());
        let failed =
            |what: String, hint: &str| CommandError::of(ExitClass::Failed, &format!("{place}: {what}"), Some(hint));
        match actix_web::rt::System::new().block_on(exchange) {
            Ok(answer) if answer.status == StatusCode::OK => {
                show("ok");
                Ok(())
            }
            Ok(answer) => {
                let body: String = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
                let hint = "read the log of the appliance; `appliance check` finds out what is missing";
                Err(failed(format!("{} {body}", answer.status.as_u16()), hint))
            }
            Err(error) => {
                let hint = "start `appliance serve`, or name the URL of its admin listener";
                Err(failed(error_chain::joined(&error), hint))
            }
        }
    }

    /// The endpoint and the path to ask.
    fn question(&self) -> Result<(Endpoint, String), CommandError> {
        let wrong = |what: &str, hint: &str| CommandError::of(ExitClass::Usage, what, Some(hint));
        if let Some(url) = &self.url {
            let path = url.find("://").and_then(|at| url[at + 3..].find('/').map(|slash| at + 3 + slash));
            let (base, path) = path.map_or((url.as_str(), PAGES[0]), |at| url.split_at(at));
            let endpoint = values::endpoint(base).map_err(|what| wrong(&format!("`{url}`: {what}"), HINT_URL))?;
            let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
            return if is_plain {
                Ok((endpoint, path.to_owned()))
            } else {
                Err(wrong("the path is invalid", HINT_URL))
            };
        }
        let mut problems = Problems::default();
        let file = file::read(self.config.as_deref(), &mut problems);
        let file = file.map_err(|problems| CommandError::configuration(&problems))?;
        let set = |text: Option<String>, file: Option<RawValue>| {
            text.or(file.map(|given| given.text)).filter(|text| !text.is_empty())
        };
        let admin = set(self.admin_listen.clone(), file.telemetry.admin_listen);
        let has_tls = set(std::env::var("APPLIANCE_TLS_CERTIFICATE").ok(), file.listener.tls_certificate).is_some();
        let page = |pages: [&'static str; 2]| pages[usize::from(self.ready)].to_owned();
        let (address, path) = match admin {
            Some(address) if address != "off" => (address, page(ADMIN_PAGES)),
            // The usual port of the admin listener may belong to another appliance of this machine.
            _ if !has_tls => {
                let listen = set(self.listen.clone(), file.listener.listen);
                (listen.unwrap_or_else(|| LISTEN.to_owned()), page(PAGES))
            }
            Some(_) => {
                let hint = "turn the admin listener on, or name the URL with the host of its certificate";
                return Err(wrong("the admin listener is off, and the listener has TLS", hint));
            }
            None => (ADMIN_LISTEN.to_owned(), page(ADMIN_PAGES)),
        };
        let address = values::address(&address).map_err(|what| wrong(&format!("`{address}`: {what}"), HINT_URL))?;
        Ok((Endpoint { tls: false, host: reachable(address).to_string(), port: address.port() }, path))
    }
}

/// The address by which this machine reaches a listener.
fn reachable(address: SocketAddr) -> IpAddr {
    match address.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}
