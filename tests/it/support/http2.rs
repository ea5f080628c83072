//! An upstream that speaks HTTP/2 and nothing else, with a few ways to misbehave, chosen by path.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

use super::authority::authority;

/// More than sockets hold on both sides.
static HUGE: [u8; 16 << 20] = [0; 16 << 20];

/// Between two frames that are to arrive one by one.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(50);

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
    held: Arc<Held>,
}

/// The requests for `/held`, which wait until the test lets them through.
struct Held {
    now: AtomicUsize,
    most: AtomicUsize,
    gate: Semaphore,
}

/// The limits that the upstream announces.
#[derive(Clone, Copy, Default)]
struct Announced {
    header_list: Option<u32>,
    streams: Option<u32>,
    /// The number of connections that are greeted. Further ones are accepted, and then nothing happens on them.
    connections: Option<usize>,
}

impl Http2 {
    pub fn start() -> Self {
        Self::begin("localhost", Announced::default())
    }

    /// Starts the upstream with a certificate for another name.
    pub fn named(name: &str) -> Self {
        Self::begin(name, Announced::default())
    }

    /// One that announces how large a head it takes.
    pub fn with_header_list_limit(header_list: Option<u32>) -> Self {
        Self::begin("localhost", Announced { header_list, ..Announced::default() })
    }

    /// One that announces how many requests it takes at a time on one connection.
    pub fn with_stream_limit(streams: u32) -> Self {
        Self::begin("localhost", Announced { streams: Some(streams), ..Announced::default() })
    }

    /// One that takes this many requests, on its only connection. Further connections hang.
    pub fn with_one_connection(streams: u32) -> Self {
        Self::begin("localhost", Announced { streams: Some(streams), connections: Some(1), ..Announced::default() })
    }

    fn begin(name: &str, announced: Announced) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let held = Arc::new(Held { now: 0.into(), most: 0.into(), gate: Semaphore::new(0) });
        let (seen_too, connections_too, held_too) = (Arc::clone(&seen), Arc::clone(&connections), Arc::clone(&held));
        let server = Self { port, seen: seen_too, connections: connections_too, held: held_too };
        let tls = TlsAcceptor::from(authority().server(name, &["h2"]));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let mut hanging = Vec::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let earlier = connections.fetch_add(1, Ordering::SeqCst);
                    if announced.connections.is_some_and(|greeted| earlier >= greeted) {
                        hanging.push(stream);
                        continue;
                    }
                    let (tls, seen, held) = (tls.clone(), Arc::clone(&seen), Arc::clone(&held));
                    tokio::spawn(async move {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        let mut builder = h2::server::Builder::new();
                        if let Some(limit) = announced.header_list {
                            builder.max_header_list_size(limit);
                        }
                        if let Some(limit) = announced.streams {
                            builder.max_concurrent_streams(limit);
                        }
                        let mut connection = builder.handshake(stream).await.unwrap();
                        let (ends, mut ended) = mpsc::unbounded_channel();
                        loop {
                            let accepted = tokio::select! {
                                accepted = connection.accept() => accepted,
                                Some(end) = ended.recv() => match end {
                                    End::GoAway => {
                                        connection.abrupt_shutdown(Reason::NO_ERROR);
                                        continue;
                                    }
                                    End::Close => return,
                                },
                            };
                            let Some(Ok((request, respond))) = accepted else { return };
                            if request.uri().path() == "/goaway" {
                                connection.graceful_shutdown();
                            }
                            let ending = request.uri().path().strip_prefix("/end/").map(ToOwned::to_owned);
                            match ending {
                                Some(ending) => drop(tokio::spawn(end(ending, request, respond, ends.clone()))),
                                None => {
                                    drop(tokio::spawn(answer(request, respond, Arc::clone(&seen), Arc::clone(&held))));
                                }
                            }
                        }
                    });
                }
            });
        });
        server
    }

    /// The address of the upstream.
    pub fn address(&self) -> std::net::SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
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

    /// The most requests for `/held` that were here at the same time.
    pub fn most_at_once(&self) -> usize {
        self.held.most.load(Ordering::SeqCst)
    }

    /// Lets so many more of the requests for `/held` through.
    pub fn open(&self, count: usize) {
        self.held.gate.add_permits(count);
    }
}

/// The end of a connection.
enum End {
    GoAway,
    Close,
}

/// Sends `abcdef`, or the beginning of it, and ends it in one of many ways.
async fn end(
    how: String,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    ends: mpsc::UnboundedSender<End>,
) {
    let (how, length) = how.split_once('.').map_or((how.as_str(), None), |(how, length)| (how, Some(length)));
    let mut head = Response::builder().header("content-type", "text/plain");
    if let Some(length) = length {
        head = head.header("content-length", length);
    }
    let status = how.parse::<u16>().ok();
    let head = head.status(status.unwrap_or(200)).body(()).unwrap();
    let is_over = status.is_some() || how == "headers" || request.method() == http::Method::HEAD;
    let mut stream = respond.send_response(head, is_over).unwrap();
    if is_over {
        return;
    }
    let mut send = |text: &'static str, at_end| stream.send_data(Bytes::from_static(text.as_bytes()), at_end).unwrap();
    match how {
        "data" => send("abcdef", true),
        "empty" => {
            send("abcdef", false);
            tokio::time::sleep(MOMENT).await;
            send("", true);
        }
        "middle" => {
            for text in ["", "abc", "", "", "def", ""] {
                send(text, false);
                tokio::time::sleep(MOMENT / 10).await;
            }
            send("", true);
        }
        "trailers" => {
            send("abcdef", false);
            let trailers = [("x-checksum".parse().unwrap(), "1".parse().unwrap())];
            stream.send_trailers(trailers.into_iter().collect()).unwrap();
        }
        "nothing" => send("", true),
        "short" => send("abc", true),
        _ => {
            send("abc", false);
            tokio::time::sleep(MOMENT).await;
            match how {
                "reset" => stream.send_reset(Reason::INTERNAL_ERROR),
                "cancel" => stream.send_reset(Reason::CANCEL),
                "no-error" => stream.send_reset(Reason::NO_ERROR),
                "goaway" => drop(ends.send(End::GoAway)),
                "close" => drop(ends.send(End::Close)),
                _ => panic!("no such end: {how}"),
            }
            tokio::time::sleep(MOMENT).await;
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: Arc<Mutex<Vec<Seen>>>,
    held: Arc<Held>,
) {
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
        "/huge" => Bytes::from_static(&HUGE),
        "/large" => Bytes::from(vec![b'x'; 5 << 20]),
        "/truncated" => Bytes::from_static(b"only this"),
        "/held" => {
            let now = held.now.fetch_add(1, Ordering::SeqCst) + 1;
            held.most.fetch_max(now, Ordering::SeqCst);
            held.gate.acquire().await.unwrap().forget();
            held.now.fetch_sub(1, Ordering::SeqCst);
            Bytes::from_static(b"held")
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
