//! A server that records what it receives byte by byte and answers byte by byte, well or badly.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
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
type Handler = dyn Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync;

/// The running server.
pub struct Upstream {
    port: u16,
    tls: bool,
    requests: Arc<Mutex<Vec<Recorded>>>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// A TLS server that answers with `handler`.
    pub fn start(handler: impl Fn(&Recorded, &mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::listen(Some(authority().server("localhost", &[])), Arc::new(handler))
    }

    /// The same without TLS.
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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<Mutex<Vec<Recorded>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let upstream =
            Self { port, tls: tls.is_some(), requests: Arc::clone(&requests), connections: Arc::clone(&connections) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, handler, requests) = (tls.clone(), Arc::clone(&handler), Arc::clone(&requests));
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let io = match tls {
                        None => Io::Plain(stream),
                        Some(config) => {
                            Io::Tls(Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)))
                        }
                    };
                    let _ = converse(&mut Wire { io }, &*handler, &requests);
                });
            }
        });
        upstream
    }

    /// The URL to reach it.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.port)
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
