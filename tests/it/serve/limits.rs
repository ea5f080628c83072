//! The limits of heads: they are the same for each version of HTTP, and no head ends a shared connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use http::Request;
use rustls::{ClientConnection, StreamOwned};

use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Caller;
use crate::support::http2::Http2;
use crate::support::http2_caller::{Http2Caller, tls, with_tls};
use crate::support::upstream::Upstream;
use crate::support::{Message as _, PATIENCE, eventually, figure};

/// Frames of HTTP/2.
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// A frame's usual limit, less its head.
const FRAME: usize = 16_000;
/// `:method: POST`, `:scheme: https`, `:path: /`, `:authority: localhost` in HPACK.
const PSEUDO: &[u8] = b"\x83\x87\x84\x41\x09localhost";

/// A connection whose frames are made by hand.
struct Wire(StreamOwned<ClientConnection, TcpStream>);

impl Wire {
    fn connect(appliance: &Appliance) -> Self {
        let stream = TcpStream::connect(appliance.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = ClientConnection::new(tls(&["h2"]), "localhost".try_into().unwrap()).unwrap();
        let mut wire = Self(StreamOwned::new(session, stream));
        wire.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        wire.send(SETTINGS, 0, 0, &[]);
        wire
    }

    /// Sends a frame, and ignores an error: a peer that no longer reads has ended the connection.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        let _ = self.0.write_all(&frame).and_then(|()| self.0.flush());
    }

    /// Sends a block of header fields in as many frames as it takes.
    fn send_block(&mut self, stream: u32, flags: u8, block: &[u8]) {
        let mut pieces = block.chunks(FRAME).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == HEADERS { flags } else { 0 };
            self.send(kind, flags | end, stream, piece);
            kind = CONTINUATION;
        }
    }

    /// The next frame: kind, stream and payload; nothing at the end of the connection.
    fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// The head of the answer on a stream; nothing if the connection ends instead.
    fn answer(&mut self, stream: u32) -> Option<Vec<u8>> {
        loop {
            let (kind, of, payload) = self.next()?;
            if kind == HEADERS && of == stream {
                return Some(payload);
            }
        }
    }
}

/// A literal field in HPACK, to be remembered or not.
fn literal(name: &str, value: &str, is_remembered: bool) -> Vec<u8> {
    let mut field = vec![if is_remembered { 0x40 } else { 0 }];
    for text in [name, value] {
        field.push(u8::try_from(text.len()).unwrap());
        field.extend_from_slice(text.as_bytes());
    }
    field
}

#[test]
fn http2_announces_its_limits() {
    let upstream = Upstream::ok();
    let (appliance, _directory) = with_tls(Builder::new(&upstream));
    let (kind, _, settings) = Wire::connect(&appliance).next().unwrap();
    assert_eq!(kind, SETTINGS);
    let value = |name: u8| {
        let setting = settings.chunks(6).find(|setting| setting[..2] == [0, name])?;
        Some(u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!((value(3), value(6)), (Some(100), Some(65_536)), "streams, bytes of a head");
}

#[test]
fn a_head_has_the_same_limits_in_each_version_of_http() {
    let upstream = Upstream::ok();
    let (secure, _directory) = with_tls(Builder::new(&upstream));
    let appliance = Builder::new(&upstream).start();
    let before = upstream.requests().len();
    // With `Host`, which is `:authority` in HTTP/2.
    for (what, count, length, status, is_told) in [
        ("as many as may be", 94, 1, 200, false),
        ("one more than HTTP/1.1 is parsed with", 97, 1, 431, false),
        ("a few, long ones", 2, 15_000, 200, false),
        ("a few more of them", 3, 15_000, 431, true),
        ("a long one", 1, 33_000, 431, true),
        ("many of some length", 90, 400, 431, true),
        ("many that are all the same", 95, 400, 431, true),
        ("a very long one", 1, 100_000, 431, false),
    ] {
        let name = |number: usize| if what.contains("the same") { "x-a".to_owned() } else { format!("x-{number}") };
        let value = "a".repeat(length);
        let fields: Vec<_> = (0..count).map(|number| (name(number), value.clone())).collect();
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        for version in ["1.1", "1.0"] {
            let mut caller = appliance.connect();
            caller.send(format!("GET /x HTTP/{version}\r\nHost: localhost\r\n{lines}\r\n")).unwrap();
            let answer = caller.answer(false).unwrap();
            assert_eq!(answer.status, status, "HTTP/{version}: {what}");
            if is_told {
                assert_eq!(answer.header("x-appliance-error"), "head-too-large", "HTTP/{version}: {what}");
            }
        }
        let mut caller = Http2Caller::connect(secure.address());
        let mut head = Request::get("https://localhost/x");
        for (name, value) in &fields {
            head = head.header(name.as_str(), value.as_str());
        }
        let (answer, _) = caller.start(head.body(()).unwrap(), true);
        let answer = caller.whole(answer).unwrap();
        assert_eq!(answer.status, status, "HTTP/2: {what}");
        if is_told {
            assert_eq!(answer.headers["x-appliance-error"], "head-too-large", "HTTP/2: {what}");
        }
        assert_eq!(caller.request("GET", "/x").unwrap().status, 200, "HTTP/2: {what}: the connection goes on");
    }
    assert!(!secure.has_panicked() && !appliance.has_panicked());
    let most = upstream.requests()[before..].iter().map(|request| request.headers.len()).max().unwrap();
    assert!(most < 110, "{most}");
}

#[test]
fn a_peers_header_table_does_not_grow_our_memory() {
    let upstream = Upstream::ok();
    let (appliance, _directory) = with_tls(Builder::new(&upstream));
    assert_eq!(Http2Caller::connect(appliance.address()).request("GET", "/x").unwrap().status, 200);
    let before = appliance.resident();
    let form = [literal("content-length", "100", false), literal("origin", "https://localhost", false)].concat();
    let mut most = before;
    let mut held = Vec::new();
    let mut answers = Vec::new();
    // One byte for each field, in one frame and in as many as it takes.
    for count in [15_000, 60_000, 480_000] {
        let mut wire = Wire::connect(&appliance);
        for number in 0..20 {
            let mut block = [PSEUDO, &form].concat();
            if number == 0 {
                block.extend(literal("x-remembered", &"a".repeat(100), true));
            }
            block.extend(std::iter::repeat_n(0xbe, count));
            let stream = 2 * number + 1;
            wire.send_block(stream, 0, &block);
        }
        let answered = wire.answer(1);
        answers.push(answered.is_some());
        if let Some(head) = answered {
            // A literal `:status: 431`, its name being one of HPACK's own.
            assert!(head.windows(3).any(|text| text == b"431") || head.contains(&0x48), "{head:?}");
        }
        most = most.max(appliance.resident());
        held.push(wire);
    }
    // Tens of thousands of names, in the head and in trailers.
    for (what, is_trailer) in [("names", false), ("names in trailers", true)] {
        let mut wire = Wire::connect(&appliance);
        let names: Vec<u8> = (0..30_000).flat_map(|number| literal(&format!("x{number}"), "", false)).collect();
        for (stream, names) in [(1, &names[..60_000]), (3, &names[..])] {
            if is_trailer {
                wire.send_block(stream, 0, PSEUDO);
                wire.send_block(stream, END_STREAM, names);
            } else {
                wire.send_block(stream, END_STREAM, &[PSEUDO, names].concat());
            }
        }
        let _ = wire.answer(1);
        most = most.max(appliance.resident());
        assert!(!appliance.has_panicked(), "{what}");
        held.push(wire);
    }
    let grown = most.saturating_sub(before);
    figure(&format!(
        "60 requests with up to 480,000 remembered fields each, 9.6 MB on the wire: resident grew by {} KiB; answered: {answers:?}",
        grown >> 10
    ));
    assert!(grown < 32 << 20, "{grown}");
    assert_eq!(Http2Caller::connect(appliance.address()).request("GET", "/x").unwrap().status, 200);
}

#[test]
fn a_header_name_longer_than_the_limit_is_rejected() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).start();
    let (secure, _directory) = with_tls(Builder::new(&upstream));
    let long = "a".repeat(66_000);
    let body = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let first = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (what, before) in [("at once", ""), ("after another", first), ("after one with a body", body)] {
        for is_secure in [false, true] {
            let mut caller = if is_secure {
                Caller::connect_with_tls(secure.address(), tls(&["http/1.1"]))
            } else {
                appliance.connect()
            };
            if !before.is_empty() {
                caller.send(before).unwrap();
                assert_eq!(caller.answer(false).unwrap().status, 200, "{what}");
            }
            let _ = caller.send(format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{long}: b\r\n\r\n"));
            assert_eq!(caller.answer(false).map(|answer| answer.status).ok(), Some(431), "{what}, {is_secure}");
        }
    }
    assert!(!appliance.has_panicked() && !secure.has_panicked());
}

#[test]
fn many_requests_on_one_connection_do_not_reach_the_head_limit() {
    let upstream = Upstream::plain(|_, wire| wire.answer("200 OK", "ok"));
    let appliance = Builder::new(&upstream).start();
    let mut caller = appliance.connect();
    let fields: String = (0..30).map(|number| format!("x-{number}:   b\r\n")).collect();
    for _ in 0..2000 {
        caller
            .send(format!("\r\nPOST /x HTTP/1.1\r\nHost:  localhost\r\nContent-Length: 2\r\n{fields}\r\n{{}}"))
            .unwrap();
        assert_eq!(caller.answer(false).unwrap().status, 200);
    }
}

#[test]
fn a_large_head_of_one_caller_does_not_end_a_shared_upstream_connection() {
    for (limit, small, large) in [(Some(16 << 10), 10_000, 20_000), (None, 30_000, 40_000)] {
        let upstream = Http2::with_header_list_limit(limit);
        let appliance = Builder::to(&upstream.url()).start();
        thread::scope(|scope| {
            let held = scope.spawn(|| appliance.connect().request("POST", "/held", &[], Some(b"{}")));
            eventually("the upstream holds the request", || upstream.seen().len() == 1);
            for (length, status) in [(small, 200), (large, 431)] {
                let answer = appliance.connect().request("GET", "/x", &[("X-A", &"a".repeat(length))], None);
                assert_eq!(answer.status, status, "{limit:?} {length}");
                assert!(status == 200 || answer.header("x-appliance-error") == "head-too-large");
            }
            // A path counts, too, and grows when it is encoded.
            assert_eq!(appliance.get(&format!("/{}", "@".repeat(21_700))).status, 431);
            upstream.open(1);
            assert_eq!(held.join().unwrap().text(), "held");
        });
        assert_eq!(upstream.connections(), 1);
        assert!(upstream.seen().iter().all(|seen| seen.uri.path().len() < 100));
    }
}
