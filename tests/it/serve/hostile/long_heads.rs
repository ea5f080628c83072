//! Heads beyond the limit, behind every kind of request: they end their own connection, and only after the answers to the
//! requests before them.

use std::time::Duration;

use super::echo;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Caller;
use crate::support::http2_caller::{tls, with_tls};
use crate::support::upstream::Upstream;
use crate::support::{Message as _, figure};

const GET: &str = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POST: &str = "POST /x HTTP/1.1\r\nHost: localhost\r\n";

/// Requests that precede a long head: a description, the pieces in which they are sent, and their number.
fn before() -> Vec<(String, Vec<String>, usize)> {
    let chunked =
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-A: b\r\n\r\n");
    let sized = format!("{POST}Content-Length: 5\r\n\r\nhello");
    let mut cases = vec![
        ("nothing".to_owned(), vec![String::new()], 0),
        ("a chunked body".to_owned(), vec![chunked.clone()], 1),
        ("a body with a length".to_owned(), vec![sized.clone()], 1),
        ("a chunked body and pipelined requests".to_owned(), vec![format!("{chunked}{GET}{sized}{chunked}")], 4),
    ];
    for count in [1, 30, 200] {
        cases.push((format!("{count} pipelined requests"), vec![GET.repeat(count)], count));
        cases.push((format!("{count} pipelined chunked bodies"), vec![chunked.repeat(count)], count));
    }
    // The end of a body is in the packet of the long head.
    for left in [1, 2, 3, 4, 5, 6, 9, 12, 14, 20, 30] {
        let (begin, end) = chunked.split_at(chunked.len() - left);
        let pieces = vec![begin.to_owned(), end.to_owned()];
        cases.push((format!("the last {left} bytes of a chunked body"), pieces, 1));
    }
    let (begin, end) = sized.split_at(sized.len() - 2);
    cases.push(("the last bytes of a body with a length".to_owned(), vec![begin.to_owned(), end.to_owned()], 1));
    cases
}

/// Sends the requests and a head with a name of `length` bytes, and returns the statuses until the connection ends.
#[track_caller]
fn statuses(caller: &mut Caller, pieces: &[String], length: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    let (last, first) = pieces.split_last().unwrap();
    for piece in first {
        caller.send(piece).unwrap();
        // Most pieces are read by themselves then. The result is the same for those that are not.
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = caller.send(format!("{last}GET /x HTTP/1.1\r\nHost: localhost\r\n{}: b\r\n\r\n{GET}", "a".repeat(length)));
    while let Ok(answer) = caller.answer(false) {
        if answer.status == 431 {
            assert_eq!(answer.header("x-appliance-error"), "head-too-large");
            // The appliance waits for a while, because the end of the connection could overtake the answer.
            caller.finish();
        }
        statuses.push(answer.status);
    }
    statuses
}

#[test]
fn a_long_head_behind_any_request_is_rejected_after_the_answers_to_those_before_it() {
    let upstream = echo();
    let appliance = Appliance::before(&upstream);
    let (secure, _directory) = with_tls(Builder::new(&upstream));
    let mut other = appliance.connect();
    assert_eq!(other.get("/x").status, 200);
    let mut count = 0;
    for (what, pieces, answers) in before() {
        for length in [64 << 10, 70 << 10, 100 << 10] {
            for is_secure in [false, true] {
                let name = format!("{length} bytes behind {what}, TLS: {is_secure}");
                let mut caller = if is_secure {
                    Caller::connect_with_tls(secure.address(), tls(&["http/1.1"]))
                } else {
                    appliance.connect()
                };
                let seen = upstream.requests().len();
                let mut statuses = statuses(&mut caller, &pieces, length);
                assert_eq!(statuses.pop(), Some(431), "{name}");
                assert_eq!(statuses, vec![200; answers], "{name}");
                assert_eq!(upstream.requests().len() - seen, answers, "{name}: nothing behind it is forwarded");
                assert!(!appliance.has_panicked() && !secure.has_panicked(), "{name}");
                count += 1;
            }
        }
    }
    assert_eq!(other.get("/x").status, 200, "the connection of another caller goes on");
    figure(&format!("{count} heads of 64 to 100 KiB behind other requests: all rejected, no panic"));
}

#[test]
fn a_long_head_waits_for_a_response_that_the_client_has_not_read() {
    let body = "b".repeat(8 << 20);
    let upstream = Upstream::plain(move |_, wire| wire.answer("200 OK", &body));
    let appliance = Appliance::before(&upstream);
    let mut caller = appliance.connect();
    let _ = caller.send(format!("{GET}{GET}GET /x HTTP/1.1\r\nHost: localhost\r\n{}: b\r\n\r\n", "a".repeat(70_000)));
    for _ in 0..2 {
        // The response is far larger than the buffers of both sockets, so it waits for this reader.
        let answer = caller.answer(false).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 8 << 20));
        assert!(answer.body.iter().all(|byte| *byte == b'b'), "nothing is in the middle of the response");
    }
    assert_eq!(caller.answer(false).unwrap().status, 431);
    caller.finish();
    assert_eq!(caller.rest().unwrap(), b"");
}

#[test]
fn long_lines_around_chunks_and_long_trailers_are_rejected() {
    let upstream = echo();
    let appliance = Builder::new(&upstream).with(&["--body-idle-timeout", "5s"]).start();
    let chunked = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    for (what, length) in [("short", 1000), ("long", 64 << 10), ("longer", 100 << 10), ("endless", 1 << 20)] {
        let text = "a".repeat(length);
        for (place, wire) in [
            ("an extension", format!("{chunked}5;{text}\r\nhello\r\n0\r\n\r\n")),
            ("the extension of a later chunk", format!("{chunked}5\r\nhello\r\n1;{text}\r\na\r\n0\r\n\r\n")),
            ("the extension of the last chunk", format!("{chunked}5\r\nhello\r\n0;{text}\r\n\r\n")),
            ("a size", format!("{chunked}{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(length))),
            ("the name of a trailer", format!("{chunked}5\r\nhello\r\n0\r\n{text}: b\r\n\r\n")),
            ("the value of a trailer", format!("{chunked}5\r\nhello\r\n0\r\nX-A: {text}\r\n\r\n")),
            ("trailers", format!("{chunked}5\r\nhello\r\n0\r\n{}\r\n", "X-A: b\r\n".repeat(length / 8))),
        ] {
            let seen = upstream.requests().len();
            let mut caller = appliance.connect();
            let _ = caller.send(wire + GET);
            let first = caller.answer(false).map(|answer| answer.status);
            let is_valid = length == 1000;
            // The answer to a request that is still being sent may be lost.
            let is_expected = first.as_ref().map_or(!is_valid, |status| *status == if is_valid { 200 } else { 400 });
            assert!(is_expected, "{place}, {what}: {first:?}");
            assert_eq!(caller.answer(false).is_ok(), is_valid, "{place}, {what}: the next request");
            assert_eq!(upstream.requests().len() - seen, if is_valid { 2 } else { 0 }, "{place}, {what}");
        }
    }
    assert!(!appliance.has_panicked());
}

#[test]
fn small_extensions_of_many_chunks_are_accepted() {
    let upstream = echo();
    let appliance = Appliance::before(&upstream);
    // 2 MB of extensions, and eight bytes around each byte of the body.
    for (what, chunk, count) in [
        ("of 64 bytes", format!("40;a={}\r\n{}\r\n", "b".repeat(60), "c".repeat(64)), 32_000),
        ("of a byte", "1\r\nc\r\n".to_owned(), 32_000),
    ] {
        let mut caller = appliance.connect();
        caller.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(count))).unwrap();
        assert_eq!(caller.answer(false).unwrap().status, 200, "chunks {what}");
    }
    let sizes: Vec<_> = upstream.requests().iter().map(|request| request.body.len()).collect();
    assert_eq!(sizes, [64 * 32_000, 32_000]);
}
