//! An upstream that speaks HTTP/2 and nothing else, with a few ways to misbehave, chosen by path.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio_rustls::TlsAcceptor;

use super::authority::authority;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub uri: http::Uri,
    pub headers: http::HeaderMap,
    pub body_len: usize,
}

/// The running server.
pub struct Http2 {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Http2 {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let server = Self { port, seen: Arc::clone(&seen), connections: Arc::clone(&connections) };
        let tls = TlsAcceptor::from(authority().server("localhost", &["h2"]));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (tls, seen) = (tls.clone(), Arc::clone(&seen));
                    tokio::spawn(async move {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        let mut connection = h2::server::handshake(stream).await.unwrap();
                        while let Some(Ok((request, respond))) = connection.accept().await {
                            if request.uri().path() == "/goaway" {
                                connection.graceful_shutdown();
                            }
                            tokio::spawn(answer(request, respond, Arc::clone(&seen)));
                        }
                    });
                }
            });
        });
        server
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn authority(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: Arc<Mutex<Vec<Seen>>>) {
    let (head, mut body) = request.into_parts();
    let mut note = Seen { uri: head.uri, headers: head.headers, body_len: 0 };
    let path = note.uri.path().to_owned();
    if path == "/early" {
        // Answers before the upload is complete; letting go of the body then resets the stream with NO_ERROR.
        seen.lock().unwrap().push(note);
        let response = Response::builder().status(413).header("content-length", "5").body(()).unwrap();
        let mut send = respond.send_response(response, false).unwrap();
        send.send_data(Bytes::from_static(b"early"), true).unwrap();
        return;
    }
    let first_refusal = path == "/refuse-once" && !seen.lock().unwrap().iter().any(|seen| seen.uri.path() == path);
    while let Some(Ok(piece)) = body.data().await {
        note.body_len += piece.len();
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let length = note.body_len;
    seen.lock().unwrap().push(note);
    if first_refusal {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let body = match path.as_str() {
        "/large" => Bytes::from(vec![b'x'; 5 << 20]),
        "/truncated" => Bytes::from_static(b"only this"),
        "/slow" => {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            Bytes::from_static(b"slow")
        }
        _ => Bytes::from(format!("{{\"received\":{length}}}")),
    };
    let response = Response::builder().header("content-type", "application/json").body(()).unwrap();
    let Ok(mut send) = respond.send_response(response, false) else { return };
    if path == "/truncated" {
        let _ = send.send_data(body, false);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        send.send_reset(Reason::INTERNAL_ERROR);
        return;
    }
    // The caller's window is respected by h2 itself; everything is queued here.
    let _ = send.send_data(body, true);
}
