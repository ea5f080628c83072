//! A forward proxy that records the heads of all requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// This name does not resolve, so it is reached only through a proxy.
pub(super) const HOST: &str = "mlflow.corp.invalid";
pub(super) const SECRET: &str = "pr0xy-password";

/// A proxy that records the heads of all requests, and connects every host to one address, or rejects them.
pub(super) struct ForwardProxy {
    address: SocketAddr,
    pub(super) heads: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    pub(super) fn to(target: SocketAddr) -> Self {
        Self::answering(Some(target), "200 Connection established")
    }

    pub(super) fn answering(target: Option<SocketAddr>, status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&heads);
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                thread::spawn(move || {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        client.read_exact(&mut byte).ok()?;
                        head.push(byte[0]);
                    }
                    noted.lock().unwrap().push(String::from_utf8(head).unwrap());
                    client.write_all(format!("HTTP/1.1 {status}\r\nVia: 1.1 test\r\n\r\n").as_bytes()).ok()?;
                    let upstream = TcpStream::connect(target?).ok()?;
                    let (mut from, mut to) = (client.try_clone().ok()?, upstream.try_clone().ok()?);
                    thread::spawn(move || std::io::copy(&mut from, &mut to));
                    std::io::copy(&mut &upstream, &mut client).ok()
                });
            }
        });
        Self { address, heads }
    }

    pub(super) fn url(&self) -> String {
        format!("http://ada:{SECRET}@{}", self.address)
    }

    /// Returns its URL without the password.
    pub(super) fn shown(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns each requested host and port once, in order of names.
    pub(super) fn asked(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let mut asked: Vec<_> = heads
            .iter()
            .map(|head| {
                let first = head.lines().next().unwrap();
                first
                    .strip_prefix("CONNECT ")
                    .and_then(|rest| rest.strip_suffix(" HTTP/1.1"))
                    .unwrap_or(head)
                    .to_owned()
            })
            .collect();
        asked.sort();
        asked.dedup();
        asked
    }
}
