//! TLS towards callers: the reload of certificates, client certificates as callers, HTTP/2.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::SanType;
use rustix::process::Signal;
use rustls::ClientConfig;

use crate::support::appliance::{Appliance, Builder, TRACKING_ARN};
use crate::support::authority::{Authority, authority};
use crate::support::caller::Caller;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually};

mod files;

const GRANTS: &str = "
[[caller]]
certificate = \"uri:spiffe://corp/ci\"
name = \"ci\"
role = \"write\"
[[caller]]
certificate = \"dns:dashboard.corp\"
role = \"read\"
";

/// The files of a listener, and the appliance that uses them.
struct Listener {
    directory: tempfile::TempDir,
    appliance: Appliance,
}

fn uri(text: &str) -> Vec<SanType> {
    vec![SanType::URI(text.try_into().unwrap())]
}

fn dns(name: &str) -> Vec<SanType> {
    vec![SanType::DnsName(name.try_into().unwrap())]
}

impl Listener {
    fn start(upstream: &Upstream, options: &str) -> Self {
        Self::reading_every("1h", upstream, options)
    }

    fn reading_every(interval: &str, upstream: &Upstream, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        present(&directory, authority());
        let config = format!(
            "resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{}\"\nca-file = \"{ca}\"\ntls-certificate = \"{}\"\n\
             tls-key = \"{}\"\nreload-interval = \"{interval}\"\n{}",
            upstream.url(),
            path("certificate.pem").display(),
            path("key.pem").display(),
            options.replace("{ca}", &authority().file().display().to_string()),
            ca = authority().file().display(),
        );
        std::fs::write(path("appliance.toml"), config).unwrap();
        let appliance = Builder::from_file(&path("appliance.toml")).without_waiting().start();
        eventually("credentials are there", || appliance.log().contains("the AWS credentials were obtained"));
        Self { directory, appliance }
    }

    fn caller(&self, config: &Arc<ClientConfig>) -> Caller {
        Caller::connect_with_tls(self.appliance.address(), Arc::clone(config))
    }

    /// The status of a request over a new connection; nothing if there is none.
    fn status(&self, config: &Arc<ClientConfig>, method: &str, path: &str) -> Option<u16> {
        let mut caller = self.caller(config);
        let body = if method == "GET" { "" } else { "Content-Length: 2\r\n" };
        let text = if method == "GET" { "" } else { "{}" };
        caller.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{body}\r\n{text}")).ok()?;
        caller.answer(false).ok().map(|answer| answer.status)
    }
}

/// Puts a new certificate of an authority in the place of the listener's.
fn present(directory: &tempfile::TempDir, authority: &Authority) {
    let (certificate, key) = authority.pair(dns("localhost"));
    let path = |name: &str| -> PathBuf { directory.path().join(name) };
    std::fs::write(path("certificate.pem"), certificate).unwrap();
    std::fs::write(path("key.pem"), key).unwrap();
}

#[test]
fn certificates_are_renewed_without_dropping_a_connection() {
    let upstream = Upstream::ok();
    let listener = Listener::start(&upstream, "");
    let (old, new) = (authority().client(None, &[]), Authority::new());
    let new_client = new.client(None, &[]);
    let mut kept = listener.caller(&old);
    assert_eq!(kept.get("/version").status, 200);
    assert_eq!(listener.status(&new_client, "GET", "/version"), None, "not trusted yet");

    std::fs::write(listener.directory.path().join("key.pem"), "broken").unwrap();
    listener.appliance.signal(Signal::HUP);
    eventually("a broken key is reported", || listener.appliance.log().contains("cannot reload the certificate"));
    assert_eq!(listener.status(&old, "GET", "/version"), Some(200), "the old one stays in use");

    present(&listener.directory, &new);
    listener.appliance.signal(Signal::HUP);
    eventually("the new one is used", || listener.status(&new_client, "GET", "/version") == Some(200));
    assert_eq!(listener.status(&old, "GET", "/version"), None);
    assert_eq!(kept.get("/version").status, 200, "the connection from before goes on");
}

#[test]
fn a_renewal_by_acme_needs_neither_a_signal_nor_a_restart() {
    let upstream = Upstream::ok();
    let listener = Listener::reading_every("500ms", &upstream, "");
    let (old, new) = (authority().client(None, &[]), Authority::new());
    let new_client = new.client(None, &[]);
    assert_eq!(listener.status(&old, "GET", "/version"), Some(200));
    // NixOS's client copies one file after the other over the old ones. In between, they do not belong together.
    let (certificate, key) = new.pair(dns("localhost"));
    std::fs::write(listener.directory.path().join("certificate.pem"), certificate).unwrap();
    eventually("the first file alone is reported", || listener.appliance.log().contains("does not belong to"));
    assert_eq!(listener.status(&old, "GET", "/version"), Some(200), "the old ones stay in use");
    std::fs::write(listener.directory.path().join("key.pem"), key).unwrap();
    eventually("the new one is used", || listener.status(&new_client, "GET", "/version") == Some(200));
}

#[test]
fn the_holder_of_a_client_certificate_is_a_caller() {
    let upstream = Upstream::ok();
    let options = format!("tls-client-ca = \"{{ca}}\"\n{GRANTS}");
    let listener = Listener::start(&upstream, &options);
    let with = |pair| authority().client(Some(&pair), &[]);
    let ci = with(authority().pair(uri("spiffe://corp/ci")));
    let dashboard = with(authority().pair(dns("dashboard.corp")));
    let unknown = with(authority().pair(uri("spiffe://corp/other")));
    let stranger = with(Authority::new().pair(uri("spiffe://corp/ci")));
    let nobody = authority().client(None, &[]);
    let (search, create) = ("/api/2.0/mlflow/runs/search", "/api/2.0/mlflow/runs/create");
    for (who, config, expected) in [
        ("ci", &ci, [Some(200), Some(200)]),
        ("dashboard", &dashboard, [Some(200), Some(403)]),
        ("a name without a grant", &unknown, [Some(401), Some(401)]),
        ("another authority", &stranger, [None, None]),
        ("nobody", &nobody, [Some(401), Some(401)]),
    ] {
        let statuses = [search, create].map(|path| listener.status(config, "POST", path));
        assert_eq!(statuses, expected, "{who}");
    }
    assert_eq!(listener.status(&nobody, "GET", "/_appliance/healthz"), Some(200), "a load balancer has no certificate");
    for caller in ["ci", "dns:dashboard.corp"] {
        listener.appliance.saw(caller, |event| event["caller"] == caller && event["status"] == 200);
    }
    // Headers in which a caller names its certificate prove nothing.
    let mut caller = listener.caller(&nobody);
    let headers = [("X-Amzn-Mtls-Clientcert-Subject", "CN=ci"), ("X-Client-Cert", "uri:spiffe://corp/ci")];
    assert_eq!(caller.request("GET", "/version", &headers, None).status, 401);

    let required = Listener::start(
        &upstream,
        &format!("{}\ntls-client-certificate = \"required\"\n{GRANTS}", "tls-client-ca = \"{ca}\""),
    );
    assert_eq!(required.status(&ci, "GET", "/version"), Some(200));
    assert_eq!(required.status(&nobody, "GET", "/_appliance/healthz"), None, "there is no connection without one");
}

#[test]
fn a_connection_ends_when_its_certificate_expires_or_is_no_longer_trusted() {
    let upstream = Upstream::ok();
    let directory = tempfile::tempdir().unwrap();
    let trusted = directory.path().join("clients.pem");
    let trust = |authority: &Authority| std::fs::copy(authority.file(), &trusted).unwrap();
    trust(authority());
    for how in ["optional", "required"] {
        let listener = Listener::start(
            &upstream,
            &format!("tls-client-ca = \"{}\"\ntls-client-certificate = \"{how}\"\n{GRANTS}", trusted.display()),
        );
        let soon = authority().pair_for(uri("spiffe://corp/ci"), Some(Duration::from_secs(4)));
        let mut soon = listener.caller(&authority().client(Some(&soon), &[]));
        let later = authority().pair(uri("spiffe://corp/ci"));
        let mut later = listener.caller(&authority().client(Some(&later), &[]));
        assert_eq!((soon.get("/version").status, later.get("/version").status), (200, 200));
        let mut refused = None;
        eventually("the certificate ends", || {
            let answer = soon.get("/version");
            refused = (answer.status != 200).then_some(answer);
            refused.is_some()
        });
        let refused = refused.unwrap();
        assert_eq!((refused.status, refused.header("x-appliance-error")), (401, "unauthenticated"), "{how}");
        assert!(refused.text().contains("certificate") && soon.rest().is_ok_and(|rest| rest.is_empty()), "{how}");
        assert_eq!(later.get("/version").status, 200);

        // One comes after the other, so the first is over once the second begins.
        for number in 1..=2 {
            listener.appliance.signal(Signal::HUP);
            let begun = || listener.appliance.log().matches("\"reloading\"").count();
            eventually("the reload begins", || begun() == number);
        }
        assert_eq!(later.get("/version").status, 200, "the same authorities, read again");
        trust(&Authority::new());
        listener.appliance.signal(Signal::HUP);
        eventually("the authority is not trusted any more", || {
            let answer = later.get("/version");
            assert!(matches!(answer.status, 200 | 401), "{}", answer.text());
            answer.status == 401
        });
        trust(authority());
    }
}

#[test]
fn clients_that_offer_http2_get_it_without_any_other_change() {
    let upstream = Upstream::ok();
    let listener = Listener::start(&upstream, "deny = \"runs:delete\"\nallowed-hosts = \"mlflow.corp\"\n");
    let config = authority().client(None, &["h2"]);
    let address = listener.appliance.address();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |method: &'static str,
               uri: &'static str,
               headers: &'static [(&'static str, &'static str)],
               body: &'static str| {
        runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
            let tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
            let (mut client, connection) = h2::client::handshake(tls).await.unwrap();
            tokio::spawn(connection);
            let mut request = http::Request::builder().method(method).uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (response, mut stream) = client.send_request(request.body(()).unwrap(), body.is_empty()).unwrap();
            if !body.is_empty() {
                stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
            }
            response.await.map(|response| response.status().as_u16())
        })
    };
    assert_eq!(ask("GET", "https://localhost/api/2.0/mlflow/runs/get?run_id=a+b", &[], "").unwrap(), 200);
    let seen = upstream.requests().pop().unwrap();
    assert_eq!(seen.target, "/api/2.0/mlflow/runs/get?run_id=a%20b");
    assert_eq!(seen.header("host"), upstream.authority());
    assert!(seen.body.is_empty() && !seen.has("transfer-encoding"));
    assert_eq!(ask("POST", "https://mlflow.corp/api/2.0/mlflow/runs/create", &[], "{\"a\":1}").unwrap(), 200);
    assert_eq!(upstream.requests().pop().unwrap().body, b"{\"a\":1}", "a body needs no announcement here");
    let before = upstream.requests().len();
    for (why, method, uri, headers) in [
        ("a rule", "POST", "https://localhost/api/2.0/mlflow/runs/delete", &[][..]),
        ("a foreign name", "GET", "https://evil.example/version", &[]),
        (
            "a foreign page",
            "POST",
            "https://localhost/api/2.0/mlflow/runs/create",
            &[("origin", "https://evil.example")],
        ),
    ] {
        assert_eq!(ask(method, uri, headers, "{}").unwrap(), 403, "{why}");
    }
    assert_eq!(upstream.requests().len(), before);
}
