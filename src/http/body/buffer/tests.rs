//! Buffering as callers meet it: memory or disk, budgets, limits and slow callers.

use actix_web::body::MessageBody;
use futures_util::stream;
use sha2::{Digest as _, Sha256};

use super::super::budget::{Budget, BudgetKind};
use super::super::limits::small as body_limits;
use super::*;

fn pieces(of: &[&[u8]]) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + use<> {
    stream::iter(of.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>())
}

async fn sent(body: &Body) -> Vec<u8> {
    let mut outgoing = Box::pin(body.outgoing());
    let mut all = Vec::new();
    while let Some(chunk) = std::future::poll_fn(|context| outgoing.as_mut().poll_next(context)).await {
        all.extend_from_slice(&chunk.expect("readable"));
    }
    all
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[tokio::test]
async fn any_body_is_sent_as_it_was_buffered_and_can_be_sent_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let large: Vec<u8> = (0..700_000_u32).map(|number| number.to_be_bytes()[3]).collect();
    let cases = [
        (vec![], Some(0), false),
        (vec![b"abc".as_slice()], Some(3), false),
        (vec![b"ab".as_slice(), b"", b"c", b"d"], None, false),
        (vec![&large[..600], &large[..600]], None, true),
        (large.chunks(10_000).collect(), Some(700_000), true),
    ];
    // With room to gather and to read ahead, and without.
    for (memory, (of, declared, on_disk)) in
        [1_500, 2_000_000].iter().flat_map(|memory| cases.iter().map(move |case| (*memory, case)))
    {
        let body_limits =
            BodyLimits { gathering: Budget::new(BudgetKind::Gathering, memory), ..body_limits(directory.path()) };
        let expected = of.concat();
        let received = buffer(pieces(of), *declared, &body_limits, &BodyOwner::default()).await.expect("received");
        assert_eq!(matches!(received.body, Body::File(_)), *on_disk, "{} bytes", expected.len());
        assert_eq!((received.sha256, received.len), (sha256(&expected), expected.len() as u64));
        assert_eq!(sent(&received.body).await, expected);
        assert_eq!(sent(&received.body).await, expected);
        drop(received);
        assert_eq!((body_limits.memory.used(), body_limits.disk.used()), (0, 0));
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 0, "spool files have no name");
}

#[tokio::test]
async fn bodies_over_the_memory_budget_go_to_disk_and_over_the_disk_budget_are_rejected() {
    let directory = tempfile::tempdir().expect("a directory");
    let body_limits = body_limits(directory.path());
    let first = buffer(pieces(&[&[1; 900]]), Some(900), &body_limits, &BodyOwner::default()).await.expect("received");
    let second = buffer(pieces(&[&[2; 900]]), Some(900), &body_limits, &BodyOwner::default()).await.expect("received");
    assert!(matches!((&first.body, &second.body), (Body::Memory(..), Body::File(_))));
    let held = body_limits.disk.reserve(750_000, &BodyOwner::default()).expect("room");
    let third = buffer(pieces(&[&vec![3; 60_000]]), None, &body_limits, &BodyOwner::default()).await;
    assert!(matches!(third, Err(RequestBodyError::NoRoom)), "{third:?}");
    drop((first, second, held));
    assert_eq!((body_limits.memory.used(), body_limits.disk.used()), (0, 0));
}

#[tokio::test]
async fn the_listener_limits_the_bodies_that_are_on_their_way_to_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let body_limits = body_limits(directory.path());
    let held = [
        body_limits.arriving.reserve(LISTENER_SHARE, &BodyOwner::default()),
        body_limits.arriving.reserve(LISTENER_SHARE, &BodyOwner::default()),
    ];
    let refused = buffer(pieces(&[&[1; 2000]]), Some(2000), &body_limits, &BodyOwner::default()).await;
    assert!(matches!(refused, Err(RequestBodyError::NoRoom)), "{refused:?}");
    assert!(
        buffer(pieces(&[&[1; 900]]), Some(900), &body_limits, &BodyOwner::default()).await.is_ok(),
        "small ones need no such room"
    );
    drop(held);
    assert!(buffer(pieces(&[&[1; 2000]]), Some(2000), &body_limits, &BodyOwner::default()).await.is_ok());
    assert_eq!(body_limits.arriving.used(), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_rejected_before_or_while_it_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let body_limits = body_limits(directory.path());
    let unread = stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, PayloadError>>> {
        panic!("a declared oversize must not be read")
    });
    assert!(matches!(
        buffer(unread, Some(1_000_001), &body_limits, &BodyOwner::default()).await,
        Err(RequestBodyError::TooLarge { .. })
    ));
    let large = vec![0; 1_000_001];
    let endless = pieces(&large.chunks(100_000).collect::<Vec<_>>());
    let small_disk = BodyLimits { disk: Budget::new(BudgetKind::Disk, u64::MAX), ..body_limits };
    assert!(matches!(
        buffer(endless, None, &small_disk, &BodyOwner::default()).await,
        Err(RequestBodyError::TooLarge { .. })
    ));
}

#[tokio::test]
async fn an_idle_caller_and_an_unusable_directory_are_different_errors() {
    let directory = tempfile::tempdir().expect("a directory");
    let body_limits = body_limits(directory.path());
    let silent = buffer(stream::pending(), Some(3), &body_limits, &BodyOwner::default()).await;
    assert!(matches!(silent, Err(RequestBodyError::Stalled(_))), "{silent:?}");
    let nowhere = BodyLimits { directory: directory.path().join("missing").into(), ..body_limits };
    let lost = buffer(pieces(&[&[1; 2000]]), Some(2000), &nowhere, &BodyOwner::default()).await;
    assert!(matches!(lost, Err(RequestBodyError::Disk(_))), "{lost:?}");
}
