//! Large uploads with `--unsigned-payload`: they are streamed at most once, and never look complete when they are truncated.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::appliance::{Appliance, Builder};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, PATIENCE, eventually};

const LENGTH: usize = 4 << 20;
const HEAD: &str = "PUT /artifact HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n";

/// An upstream that hands its connections to the test.
fn by_hand(arguments: &[&str]) -> (Appliance, Receiver<Connection>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, connections): (Sender<Connection>, _) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            if sender.send(Connection(BufReader::new(stream))).is_err() {
                return;
            }
        }
    });
    let appliance = Builder::to(&url).with(&["--unsigned-payload"]).with(arguments).start();
    (appliance, connections)
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "{head}");
        }
        head.to_lowercase()
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut piece = vec![0; length];
        self.0.read_exact(&mut piece).unwrap();
        piece
    }

    fn answer(&mut self, status: &str) {
        write!(self.0.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").unwrap();
    }
}

fn sample() -> Vec<u8> {
    (0_u32..).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).take(LENGTH).collect()
}

#[test]
fn a_large_body_is_streamed_while_it_arrives() {
    let (appliance, connections) = by_hand(&[]);
    let body = sample();
    let mut caller = appliance.connect();
    caller.send(HEAD).unwrap();
    caller.send(&body[..1 << 20]).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    let head = upstream.head();
    assert!(head.contains("x-amz-content-sha256: unsigned-payload\r\n"), "{head}");
    assert!(head.contains("content-length: 4194304\r\n") && !head.contains("transfer-encoding"), "{head}");
    assert!(upstream.take(1 << 20) == body[..1 << 20], "before the rest was there");
    caller.send(&body[1 << 20..]).unwrap();
    assert!(upstream.take(LENGTH - (1 << 20)) == body[1 << 20..]);
    upstream.answer("200 OK");
    assert_eq!(caller.answer(false).unwrap().status, 200);
    eventually("it is in the log", || appliance.access_log().len() == 1);
    assert_eq!(appliance.access_log()[0]["received"], LENGTH);
}

#[test]
fn small_and_chunked_bodies_are_buffered_and_hashed() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with(&["--unsigned-payload"]).start();
    let mut caller = appliance.connect();
    assert_eq!(caller.request("PUT", "/small", &[], Some(b"small")).status, 200);
    caller.send("PUT /chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    caller.send(format!("200000\r\n{}\r\n0\r\n\r\n", "x".repeat(2 << 20))).unwrap();
    assert_eq!(caller.answer(false).unwrap().status, 200);
    for request in upstream.requests() {
        assert_eq!(request.header("x-amz-content-sha256").len(), 64, "{}", request.target);
    }
    let large = appliance.connect().request("PUT", "/large", &[], Some(&sample()));
    assert_eq!(large.status, 200);
    assert!(upstream.requests()[2].body == sample());
    assert_eq!(upstream.requests()[2].header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
}

#[test]
fn a_body_that_the_policy_needs_is_buffered_first() {
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let reader = tokens.add("reader", "read", &[]);
    let appliance = Builder::new(&upstream)
        .with_tokens(&tokens)
        .with(&["--unsigned-payload", "--body-memory-limit", "100 B"])
        .start();
    let document = format!("{{\"query\": \"mutation {{ mlflowDeleteRun {{ x }} }}{}\"}}", " ".repeat(200));
    let token = reader.bearer();
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
    let answer = appliance.connect().request("POST", "/graphql", &headers, Some(document.as_bytes()));
    assert_eq!((answer.status, upstream.requests().len()), (403, 0), "{}", answer.text());
}

#[test]
fn a_caller_that_stalls_or_disconnects_ends_the_upstream_connection() {
    // The upstream's own limit is shorter: its patience is not for the caller.
    let (appliance, connections) = by_hand(&["--body-idle-timeout", "3s", "--upstream-response-timeout", "1s"]);
    let mut stalled = appliance.connect();
    stalled.send(HEAD).unwrap();
    stalled.send("begun").unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    upstream.head();
    let answer = stalled.answer(false).unwrap();
    assert_eq!((answer.status, answer.header("x-appliance-error")), (408, "body-stalled"));
    let mut rest = Vec::new();
    let _ = upstream.0.read_to_end(&mut rest);
    assert_eq!(rest, b"begun", "and then the end of the connection");

    let mut gone = appliance.connect();
    gone.send(HEAD).unwrap();
    gone.send("begun").unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    upstream.head();
    // He leaves when it has come this far; what was on the way then may be lost.
    let mut begun = [0; 5];
    upstream.0.read_exact(&mut begun).unwrap();
    drop(gone);
    let mut rest = Vec::new();
    let _ = upstream.0.read_to_end(&mut rest);
    assert_eq!((&begun, &*rest), (b"begun", b"".as_slice()), "and then the end of the connection");
    assert!(connections.recv_timeout(Duration::from_millis(500)).is_err(), "neither was tried again");
}

#[test]
fn a_streamed_body_is_sent_only_once() {
    let (appliance, connections) = by_hand(&[]);
    let mut caller = appliance.connect();
    caller.send(HEAD).unwrap();
    caller.send(&sample()[..1 << 20]).unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    upstream.head();
    upstream.0.get_ref().shutdown(Shutdown::Both).unwrap();
    drop(upstream);
    let _ = caller.send(&sample()[1 << 20..]);
    let answer = caller.answer(false).unwrap();
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(connections.recv_timeout(Duration::from_millis(500)).is_err(), "a PUT, but its body is gone");
}

#[test]
fn a_response_before_the_end_of_the_body_is_forwarded() {
    let (appliance, connections) = by_hand(&[]);
    let mut caller = appliance.connect();
    caller.send(HEAD).unwrap();
    caller.send("begun").unwrap();
    let mut upstream = connections.recv_timeout(PATIENCE).unwrap();
    upstream.head();
    upstream.answer("413 Payload Too Large");
    let answer = caller.answer(false).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, "{}"));
    // Neither connection is used again: there is no telling where the body ends.
    assert_eq!(upstream.take(5), b"begun");
    let mut rest = Vec::new();
    let _ = upstream.0.read_to_end(&mut rest);
    assert_eq!(rest, b"", "the upload ends with the answer");
    std::thread::spawn(move || connections.recv_timeout(PATIENCE).map(|mut next| (next.head(), next.answer("200 OK"))));
    assert_eq!(appliance.get("/next").status, 200);
}
