//! The building blocks of the black-box tests.

pub mod appliance;
pub mod authority;
pub mod browser;
pub mod caller;
pub mod collector;
pub mod gate;
pub mod http2;
pub mod http2_caller;
pub mod issuer;
pub mod log;
pub mod log_service;
pub mod openid_provider;
pub mod personal;
pub mod python;
pub mod sandbox;
pub mod scrape;
pub mod secrets;
pub mod tokens;
pub mod upstream;

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything under test takes, even on a busy machine; a wait that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The value of a variable that `tests/run` sets. Tests that need it are ignored under plain `cargo test`.
#[track_caller]
pub fn prepared(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run this test with `tests/run`"))
}

/// A port that is free, as is its successor, for something that listens on it later. It is below those that the system
/// gives to other tests meanwhile.
pub fn quiet_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + u16::try_from(std::process::id() % 4_000).unwrap() * 2;
    loop {
        let port = start + NEXT.fetch_add(2, Ordering::Relaxed);
        if [port, port + 1].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
}

/// Waits until `holds` does.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a value has not changed for half a second, and returns it.
pub fn settled<T: PartialEq>(what: &str, mut value: impl FnMut() -> T) -> T {
    let (mut last, mut since) = (value(), Instant::now());
    eventually(what, || {
        let now = value();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(500)
    });
    last
}

/// Notes a measured figure: on standard error, and in the file that `APPLIANCE_TEST_FIGURES` names.
pub fn figure(text: &str) {
    eprintln!("{text}");
    if let Some(file) = std::env::var_os("APPLIANCE_TEST_FIGURES") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{text}").unwrap();
    }
}

/// Something with header fields, as they were on the wire.
pub trait Message {
    /// Names and values in order.
    fn fields(&self) -> &[(String, String)];

    /// The values of a header.
    fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields().iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// True if there is such a header.
    fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The only value of a header.
    #[track_caller]
    fn header(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "one `{name}` in {:?}", self.fields());
        all[0]
    }
}
