//! A server that records each byte that it receives, and answers with any bytes, valid or not.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::Message;
use super::authority::authority;

/// A request as it came over the wire.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    pub method: String,
    pub target: String,
    /// Names as sent; values trimmed.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message for Recorded {
    fn fields(&self) -> &[(String, String)] {
        &self.headers
    }
}

/// The answering side of a connection.
pub struct Wire {
    io: Io,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    /// Writes bytes as they are and flushes them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(stream) => stream.write_all(bytes.as_ref()),
            Io::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        }
    }

    /// Answers with a status and a body.
    pub fn answer(&mut self, status: &str, body: impl AsRef<[u8]>) -> io::Result<()> {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat())
    }

    /// Ends the connection without TLS's goodbye and with a TCP reset.
    pub fn reset(&mut self) -> io::Error {
        let _ = socket2::SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
        io::Error::other("reset on purpose")
    }

    /// Ends the connection in order.
    pub fn close(&mut self) -> io::Error {
        if let Io::Tls(stream) = &mut self.io {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Both);
        io::Error::other("closed on purpose")
    }

    fn tcp(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(stream) => stream,
            Io::Tls(stream) => &stream.sock,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.io {
            Io::Plain(stream) => stream.read(buffer),
            Io::Tls(stream) => stream.read(buffer),
        }
    }
}

/// Answers one request; an error ends the connection.
pub type Handler = dyn Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync;

/// The running server.
pub struct Upstream {
    address: SocketAddr,
    tls: Option<Arc<Mutex<Arc<ServerConfig>>>>,
    requests: Arc<Mutex<Vec<Recorded>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<Mutex<HashMap<usize, TcpStream>>>,
    is_stopped: Arc<AtomicBool>,
}

impl Upstream {
    /// A TLS server that answers with `handler`.
    pub fn start(handler: impl Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::listen(Some(authority().server("localhost", &[])), Arc::new(handler))
    }

    /// Starts an upstream without TLS.
    pub fn plain(handler: impl Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(handler))
    }

    /// A TLS server with a configuration of its own.
    pub fn with_tls(
        tls: Arc<ServerConfig>,
        handler: impl Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(tls), Arc::new(handler))
    }

    /// A TLS server that answers everything with a small JSON.
    pub fn ok() -> Self {
        Self::start(|_, wire| wire.send(OK))
    }

    fn listen(tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), tls, handler)
    }

    /// A server at an address of its own, with TLS or without.
    pub fn at(address: SocketAddr, tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let tls = tls.map(|tls| Arc::new(Mutex::new(tls)));
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            tls: tls.clone(),
            requests: Arc::default(),
            connections: Arc::default(),
            open: Arc::default(),
            is_stopped: Arc::default(),
        };
        let (requests, connections) = (Arc::clone(&upstream.requests), Arc::clone(&upstream.connections));
        let (open, is_stopped) = (Arc::clone(&upstream.open), Arc::clone(&upstream.is_stopped));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let number = connections.fetch_add(1, Ordering::SeqCst);
                open.lock().unwrap().extend(stream.try_clone().map(|stream| (number, stream)));
                let open = Arc::clone(&open);
                let tls = tls.as_ref().map(|tls| Arc::clone(&tls.lock().unwrap()));
                let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let io = match tls {
                        None => Io::Plain(stream),
                        Some(config) => {
                            Io::Tls(Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)))
                        }
                    };
                    let _ = converse(&mut Wire { io }, &*handler, &requests);
                    // With the last descriptor of it, the connection ends in the way that was chosen.
                    drop(open.lock().unwrap().remove(&number));
                });
            }
        });
        upstream
    }

    /// The URL to reach it.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.authority())
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// The address of the upstream.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Speaks TLS in another way on connections that come from now on.
    pub fn present(&self, tls: Arc<ServerConfig>) {
        *self.tls.as_ref().unwrap().lock().unwrap() = tls;
    }

    /// Ends all connections.
    pub fn disconnect(&self) {
        for (_, stream) in self.open.lock().unwrap().drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections and takes no more: its address refuses from then on.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        while TcpListener::bind(self.address).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        self.disconnect();
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap().clone()
    }

    /// The only request so far.
    #[track_caller]
    pub fn only_request(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A complete answer.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

fn converse(wire: &mut Wire, handler: &Handler, requests: &Mutex<Vec<Recorded>>) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            fill(wire, &mut buffer)?;
        };
        let head: Vec<u8> = buffer.drain(..head_end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
        let mut recorded = Recorded {
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            headers: lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
            body: Vec::new(),
        };
        assert!(recorded.all("transfer-encoding").is_empty(), "the appliance knows every body's length: {head}");
        let length = recorded.all("content-length").first().map_or(0, |length| length.parse().unwrap());
        while buffer.len() < length {
            fill(wire, &mut buffer)?;
        }
        recorded.body = buffer.drain(..length).collect();
        requests.lock().unwrap().push(recorded.clone());
        handler(&recorded, wire)?;
    }
}

fn fill(wire: &mut Wire, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    match wire.read(&mut piece)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        size => {
            buffer.extend_from_slice(&piece[..size]);
            Ok(())
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
