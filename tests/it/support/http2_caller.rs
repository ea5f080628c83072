//! A caller that speaks HTTP/2 and takes a response for whole only once its stream has ended.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::PATIENCE;
use super::appliance::{Appliance, Builder};
use super::authority::authority;
use super::eventually;

/// A connection. It reads and writes only while something is waited for.
pub struct Http2Caller {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

/// An answer whose stream has ended.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Starts an appliance that speaks TLS.
#[track_caller]
pub fn with_tls(builder: Builder) -> (Appliance, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = authority().pair(vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())]);
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("certificate.pem"), certificate).unwrap();
    std::fs::write(path("key.pem"), key).unwrap();
    let files = ["--tls-certificate", &path("certificate.pem"), "--tls-key", &path("key.pem")];
    let appliance = builder.with(&files).without_waiting().start();
    eventually("credentials are there", || appliance.log().contains("the AWS credentials were obtained"));
    (appliance, directory)
}

/// TLS as such a caller speaks it.
pub fn tls(protocols: &[&str]) -> Arc<ClientConfig> {
    authority().client(None, protocols)
}

impl Http2Caller {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::with_buffer(address, None)
    }

    /// Connects, with a receive buffer of this size for responses that it does not read.
    pub fn with_buffer(address: SocketAddr, buffer: Option<u32>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            if let Some(buffer) = buffer {
                socket.set_recv_buffer_size(buffer).unwrap();
            }
            let stream: TcpStream = socket.connect(address).await.unwrap();
            let connector = TlsConnector::from(tls(&["h2"]));
            let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            let mut builder = h2::client::Builder::new();
            if buffer.is_some() {
                // Nothing but the buffer limits what may be sent.
                builder.initial_window_size(1 << 30).initial_connection_window_size(1 << 30);
            }
            let (sender, connection) = builder.handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// Starts a request. The response is read only if the test reads it.
    pub fn start(&mut self, head: Request<()>, at_end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let sender = &mut self.sender;
        self.runtime.block_on(async {
            let ready = poll_fn(|context| sender.poll_ready(context));
            timeout(PATIENCE, ready).await.expect("there is room for a stream").unwrap();
            sender.send_request(head, at_end).unwrap()
        })
    }

    /// Waits for the head of an answer.
    pub fn head(&self, answer: ResponseFuture) -> Result<http::Response<RecvStream>, h2::Error> {
        self.runtime.block_on(async { timeout(PATIENCE, answer).await.expect("an answer") })
    }

    /// Waits for the end of an answer, and panics if it does not come.
    #[track_caller]
    pub fn whole(&self, answer: ResponseFuture) -> Result<Answer, h2::Error> {
        let (head, mut body) = self.head(answer)?.into_parts();
        let all = async {
            let mut all = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                all.extend_from_slice(&piece);
            }
            assert!(body.trailers().await?.is_none(), "none are passed on");
            Ok::<_, h2::Error>(all)
        };
        let body = self.runtime.block_on(async { timeout(PATIENCE, all).await.expect("the end of the stream") })?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Sends a request without a body and waits for the end of its answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str) -> Result<Answer, h2::Error> {
        let head = Request::builder().method(method).uri(format!("https://localhost{path}")).body(()).unwrap();
        let (answer, _) = self.start(head, true);
        self.whole(answer)
    }

    /// Reads and writes for a while.
    pub fn go_on(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Reads and writes until something has happened.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}
