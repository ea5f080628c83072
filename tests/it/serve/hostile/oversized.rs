//! Floods: the appliance does not keep endless input.

use super::echo;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Caller;
use crate::support::figure;

const CHUNKED: &str = "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
/// Sent in each flood, or as much of it as the appliance takes.
const FLOOD: usize = 64 << 20;
/// The limit for the growth of memory meanwhile: a connection's buffers, and what the allocator keeps of them. Some take pages in
/// blocks of several megabytes.
const GROWTH: u64 = 16 << 20;
/// The listener reads some 8 KiB and makes requests of all of it, some 5 KiB for each. The rest waits in the socket.
const PIPELINE_GROWTH: u64 = 16 << 20;

/// Sends `piece` until the flood is over or refused; says how much went out.
fn flood(caller: &mut Caller, piece: &str, appliance: &Appliance, most: &mut u64) -> usize {
    let block = piece.repeat((256 << 10) / piece.len());
    let mut sent = 0;
    while sent < FLOOD && caller.send(&block).is_ok() {
        sent += block.len();
        *most = (*most).max(appliance.resident());
    }
    sent
}

#[test]
fn memory_does_not_grow_with_oversized_heads() {
    let upstream = echo();
    let appliance = Builder::new(&upstream).with(&["--body-size-limit", "1 MiB"]).start();
    // Every kind of request once, so that what is allocated for good is there.
    assert_eq!(appliance.connect().request("POST", "/x", &[], Some(&vec![b'a'; 100_000])).status, 200);
    let before = appliance.resident();
    let mut most = before;
    for (what, start, piece) in [
        ("a chunk extension", format!("{CHUNKED}2;"), "a"),
        ("zeros of a chunk size", CHUNKED.to_owned(), "0"),
        ("a trailer", format!("{CHUNKED}0\r\nX-A: "), "a"),
        ("trailers", format!("{CHUNKED}0\r\n"), "X-A: b\r\n"),
        ("chunks after a rejected path", CHUNKED.replace("/x", "/a/../b"), "1\r\na\r\n"),
        ("a request line", "GET /".to_owned(), "a"),
        ("a header", "GET /x HTTP/1.1\r\nHost: localhost\r\nX-A: ".to_owned(), "a"),
        ("headers", "GET /x HTTP/1.1\r\nHost: localhost\r\n".to_owned(), "X-A: b\r\n"),
        ("chunks of one byte", CHUNKED.to_owned(), "1\r\na\r\n"),
    ] {
        let mut caller = appliance.connect();
        caller.send(start).unwrap();
        let sent = flood(&mut caller, piece, &appliance, &mut most);
        assert!(upstream.requests().len() == 1, "{what}: no part of it is forwarded");
        let grown = most - before;
        assert!(grown < GROWTH, "{what}: {grown} bytes more after {sent}");
    }
    let (grown, sent) = ((most - before) >> 10, FLOOD >> 20);
    figure(&format!("floods of up to {sent} MiB in 9 places that are no body: resident grew by at most {grown} KiB"));
}

#[test]
fn pipelined_requests_are_all_answered_and_most_wait_in_the_socket() {
    let upstream = echo();
    let appliance = Appliance::before(&upstream);
    let before = appliance.resident();
    let request = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let count = 5_000;
    let mut caller = appliance.connect();
    let mut most = before;
    std::thread::scope(|scope| {
        let mut sender = caller.another();
        let sending = scope.spawn(move || (0..count).take_while(|_| sender.send(request).is_ok()).count());
        for number in 0..count {
            assert_eq!(caller.answer(false).unwrap().status, 200);
            if number % 100 == 0 {
                most = most.max(appliance.resident());
            }
        }
        assert_eq!(sending.join().unwrap(), count);
    });
    assert_eq!(upstream.requests().len(), count);
    let grown = most.saturating_sub(before);
    figure(&format!("{count} requests at once on one connection: resident grew by at most {} KiB", grown >> 10));
    assert!(grown < PIPELINE_GROWTH, "{grown} bytes more for {count} requests at once");
}
