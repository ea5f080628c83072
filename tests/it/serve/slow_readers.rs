//! Callers that do not read their responses: the appliance disconnects them and releases their share of connections.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use socket2::{Domain, Socket, Type};

use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Caller;
use crate::support::http2::Http2;
use crate::support::http2_caller::{Http2Caller, tls, with_tls};
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::{OK, Upstream};
use crate::support::{Message as _, eventually, figure, settled};

/// More than sockets hold on both sides.
const LARGE: usize = 64 << 20;
/// Time in which a caller of HTTP/2 sends and receives, before the test looks again.
const MOMENT: Duration = Duration::from_millis(10);
/// The connections of the appliance to the upstream, and to S3.
const CONNECTIONS: usize = 16;

/// An upstream whose objects are large, and how many of them are on their way.
struct Scene {
    upstream: Upstream,
    running: Arc<AtomicUsize>,
    tokens: TokenFile,
    greedy: Token,
    other: Token,
}

impl Scene {
    fn new() -> Self {
        let running = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&running);
        let upstream = Upstream::start(move |request, wire| {
            if !request.target.contains("large") {
                return wire.send(OK);
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let result = wire
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))
                .and_then(|()| (0..LARGE >> 14).try_for_each(|_| wire.send([b'x'; 1 << 14])));
            counted.fetch_sub(1, Ordering::SeqCst);
            result
        });
        let tokens = TokenFile::new();
        let [greedy, other] = ["greedy", "other"].map(|name| tokens.add(name, "admin", &[]));
        Self { upstream, running, tokens, greedy, other }
    }

    fn builder(&self) -> Builder {
        self.builder_with("2s")
    }

    fn builder_with(&self, send_timeout: &str) -> Builder {
        let connections = CONNECTIONS.to_string();
        let limits = ["--send-timeout", send_timeout, "--upstream-connections", &connections];
        Builder::new(&self.upstream).with_tokens(&self.tokens).with(&limits)
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Another caller is served, and soon.
    #[track_caller]
    fn serves_others(&self, mut caller: Caller, path: &str) {
        let began = Instant::now();
        caller.send(request(&self.other, path)).unwrap();
        assert_eq!(caller.answer(false).unwrap().status, 200);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

fn request(token: &Token, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\r\n", token.bearer())
}

/// A connection with little room for what is not read.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// Waits until the other side has reset all of these, without reading: that would be a reader.
#[track_caller]
fn are_reset(connections: &[TcpStream]) {
    let mut is_reset = vec![false; connections.len()];
    eventually("all of them are let go", || {
        for (stream, is_reset) in connections.iter().zip(&mut is_reset) {
            *is_reset |=
                stream.take_error().unwrap().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
        }
        is_reset.iter().all(|is_reset| *is_reset)
    });
}

fn unread(scene: &Scene, appliance: &Appliance, path: &str, count: usize) -> Vec<TcpStream> {
    let connections: Vec<_> = (0..count).map(|_| narrow(appliance.address())).collect();
    for mut stream in &connections {
        io::Write::write_all(&mut stream, request(&scene.greedy, path).as_bytes()).unwrap();
    }
    connections
}

#[test]
fn a_caller_that_does_not_read_is_disconnected_and_others_are_served_meanwhile() {
    let scene = Scene::new();
    let appliance = scene.builder().start();
    let before = appliance.descriptors();
    let connections = unread(&scene, &appliance, "/large", CONNECTIONS);
    let began = Instant::now();
    eventually("the share is taken", || scene.running() == CONNECTIONS / 2);
    scene.serves_others(appliance.connect(), "/small");
    are_reset(&connections);
    let ended = began.elapsed();
    eventually("the upstream has its connections back", || scene.running() == 0);
    eventually("nothing is left open", || appliance.descriptors() <= before + CONNECTIONS);
    figure(&format!("{} answers that nobody reads, send-timeout 2 s: all ended after {ended:?}", connections.len()));
    appliance.saw("it is on record", |event| event["caller"] == "greedy" && event["outcome"] == "caller-gone");
}

#[test]
fn a_caller_that_does_not_read_an_object_of_s3_is_disconnected() {
    let scene = Scene::new();
    let url = scene.upstream.url();
    let store = ["--artifact-store", "s3://bucket/mlflow", "--s3-endpoint", &url];
    let appliance = scene.builder().with(&store).start();
    let path = "/api/2.0/mlflow-artifacts/artifacts/1/large";
    let connections = unread(&scene, &appliance, path, CONNECTIONS);
    eventually("the share is taken", || scene.running() == CONNECTIONS / 2);
    scene.serves_others(appliance.connect(), "/api/2.0/mlflow-artifacts/artifacts/1/small");
    scene.serves_others(appliance.connect(), "/small");
    are_reset(&connections);
    eventually("S3 has its connections back", || scene.running() == 0);
}

#[test]
fn a_caller_that_does_not_read_blocks_no_other_stream_of_an_http2_upstream() {
    let upstream = Http2::start();
    let appliance = Builder::to(&upstream.url()).start();
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| narrow(appliance.address())).collect();
    for mut stream in &connections {
        io::Write::write_all(&mut stream, b"GET /huge HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    eventually("all are asked for", || upstream.seen().len() >= CONNECTIONS);
    let unread = || connections.iter().map(|stream| rustix::io::ioctl_fionread(stream).unwrap()).collect::<Vec<_>>();
    eventually("all are answered", || unread().iter().all(|bytes| *bytes > 0));
    settled("nothing more has room", unread);
    assert_eq!(appliance.get("/large").body.len(), 5 << 20);
    assert_eq!(upstream.connections(), 1, "all share one connection");
}

#[test]
fn a_caller_that_waits_beyond_its_share_gets_a_429_in_the_end() {
    let scene = Scene::new();
    let appliance = scene.builder_with("1m").start();
    let _connections = unread(&scene, &appliance, "/large", CONNECTIONS);
    eventually("the share is taken", || scene.running() == CONNECTIONS / 2);
    let mut caller = appliance.connect();
    caller.send(request(&scene.greedy, "/small")).unwrap();
    let answer = caller.answer(false).unwrap();
    assert_eq!((answer.status, answer.header("x-appliance-error")), (429, "overloaded"));
    assert!(answer.has("retry-after"));
    scene.serves_others(appliance.connect(), "/small");
}

#[test]
fn a_caller_that_does_not_read_over_tls_is_disconnected() {
    let scene = Scene::new();
    let (appliance, _directory) = with_tls(scene.builder());
    let mut callers: Vec<_> = (0..CONNECTIONS / 2)
        .map(|_| {
            let mut caller = Caller::over(narrow(appliance.address()), tls(&["http/1.1"]));
            caller.send(request(&scene.greedy, "/large")).unwrap();
            caller
        })
        .collect();
    eventually("the share is taken", || scene.running() == CONNECTIONS / 2);
    eventually("the upstream has its connections back", || scene.running() == 0);
    for caller in &mut callers {
        assert!(caller.answer(false).is_err(), "it is not whole");
    }
}

#[test]
fn an_http2_stream_whose_window_stays_shut_is_reset_and_its_connection_goes_on() {
    let scene = Scene::new();
    let (appliance, _directory) = with_tls(scene.builder());
    let mut caller = Http2Caller::connect(appliance.address());
    let head = |path: &str| {
        Request::get(format!("https://localhost{path}"))
            .header("authorization", scene.greedy.bearer())
            .body(())
            .unwrap()
    };
    // Each takes what the window of its stream lets through and no more; the connection's would not be enough for two.
    let (answer, _) = caller.start(head("/large"), true);
    let (_, mut body) = caller.head(answer).unwrap().into_parts();
    let (answer, _) = caller.start(head("/small"), true);
    assert_eq!(caller.head(answer).unwrap().status(), 200, "others on the connection are answered");
    let error = caller.block_on(async {
        loop {
            match body.data().await {
                // Nothing of it is given back.
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("a body that was not read looks complete"),
            }
        }
    });
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    eventually("the upstream has its connection back", || scene.running() == 0);
}

#[test]
fn an_http2_connection_that_is_not_read_at_all_is_ended() {
    let scene = Scene::new();
    let (appliance, _directory) = with_tls(scene.builder());
    let mut caller = Http2Caller::with_buffer(appliance.address(), Some(4096));
    let mut started = Vec::new();
    for _ in 0..CONNECTIONS {
        let head = Request::get("https://localhost/large").header("authorization", scene.greedy.bearer());
        started.push(caller.start(head.body(()).unwrap(), true));
    }
    eventually("the share is taken", || {
        caller.go_on(MOMENT);
        scene.running() == CONNECTIONS / 2
    });
    eventually("the upstream has its connections back", || scene.running() == 0);
    let before = appliance.resident();
    figure(&format!("resident after a connection that read nothing of {CONNECTIONS} answers: {} KiB", before >> 10));
}

#[test]
fn a_request_that_its_caller_cancels_is_not_continued() {
    let scene = Scene::new();
    let (appliance, _directory) = with_tls(scene.builder());
    let mut caller = Http2Caller::connect(appliance.address());
    let head = Request::get("https://localhost/large").header("authorization", scene.greedy.bearer());
    let (answer, mut stream) = caller.start(head.body(()).unwrap(), true);
    let head = caller.head(answer).unwrap();
    eventually("it is on its way", || scene.running() == 1);
    stream.send_reset(h2::Reason::CANCEL);
    eventually("the upstream has its connection back", || {
        caller.go_on(MOMENT);
        scene.running() == 0
    });
    drop(head);
}
